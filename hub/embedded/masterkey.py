"""The master key of an embedded hub: a file of its own beside the database, never inside a backup of it.

One key per line, the primary first; there is more than one line only while the key is being changed.
"""

import base64
import binascii
import os
import secrets
from pathlib import Path

from hub.embedded.errors import EmbeddedError
from hub.embedded.layout import Layout

_SIZE = 32  # bytes


def existing_master_keys(layout: Layout) -> tuple[bytes, ...]:
    """The keys of this data folder, the primary first; none when it is new. EmbeddedError when the file is damaged."""
    try:
        lines = layout.master_key_file.read_text().split()
    except FileNotFoundError:
        return ()
    keys = tuple(_decoded(line) for line in lines)
    if not keys or any(len(key) != _SIZE for key in keys):
        raise EmbeddedError("{file} is damaged: restore it from your copy", file=layout.master_key_file)
    return keys


def existing_master_key(layout: Layout) -> bytes | None:
    """The primary key of this data folder, or None when it has none yet; raises EmbeddedError as above."""
    keys = existing_master_keys(layout)
    return keys[0] if keys else None


def replace_master_keys(layout: Layout, *keys: bytes) -> None:
    """Write these keys, the primary first, in one step: a reader sees the old file or the new one."""
    draft = _draft(layout, b"".join(base64.b64encode(key) + b"\n" for key in keys))
    draft.replace(layout.master_key_file)


def _decoded(line: str) -> bytes:
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        return b""


def master_key(layout: Layout) -> bytes:
    """The key of this data folder, made when the folder is new.

    Raises EmbeddedError when the database is there and the key is not: a new key could read nothing of it.
    """
    key = existing_master_key(layout)
    if key is not None:
        return key
    if layout.master_key_expected_file.exists():
        raise EmbeddedError(
            "{file} is missing, and the database cannot be read without it: restore it", file=layout.master_key_file
        )
    layout.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(layout)
    found = existing_master_key(layout)
    if found is None:
        raise EmbeddedError("{file} cannot be written", file=layout.master_key_file)
    return found


def _write(layout: Layout) -> None:
    """Write a fresh key under a private name, then link it: two first starts agree on the key that came first."""
    draft = _draft(layout, base64.b64encode(secrets.token_bytes(_SIZE)) + b"\n")
    try:
        os.link(draft, layout.master_key_file)
    except FileExistsError:
        return  # another first start was quicker
    finally:
        draft.unlink()
    layout.master_key_expected_file.touch(mode=0o600)


def _draft(layout: Layout, content: bytes) -> Path:
    draft = layout.root / f"master.key.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft
