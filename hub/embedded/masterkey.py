"""The master key of an embedded hub: a file of its own beside the database, never inside a backup of it."""

import base64
import os
import secrets

from hub.embedded.errors import EmbeddedError
from hub.embedded.layout import Layout

_SIZE = 32  # bytes


def existing_master_key(layout: Layout) -> bytes | None:
    """The key of this data folder, or None when it has none yet; raises EmbeddedError when the file is damaged."""
    try:
        text = layout.master_key_file.read_text()
    except FileNotFoundError:
        return None
    key = base64.b64decode(text)
    if len(key) != _SIZE:
        raise EmbeddedError(f"{layout.master_key_file} is damaged: restore it from your copy")
    return key


def master_key(layout: Layout) -> bytes:
    """The key of this data folder, made when the folder is new.

    Raises EmbeddedError when the database is there and the key is not: a new key could read nothing of it.
    """
    key = existing_master_key(layout)
    if key is not None:
        return key
    if layout.master_key_expected_file.exists():
        raise EmbeddedError(
            f"{layout.master_key_file} is missing, and the database cannot be read without it: restore it"
        )
    layout.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(layout)
    found = existing_master_key(layout)
    if found is None:
        raise EmbeddedError(f"{layout.master_key_file} cannot be written")
    return found


def _write(layout: Layout) -> None:
    """Write a fresh key under a private name, then link it: two first starts agree on the key that came first."""
    draft = layout.root / f"master.key.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(_SIZE)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, layout.master_key_file)
        except FileExistsError:
            return  # another first start was quicker
    finally:
        draft.unlink()
    layout.master_key_expected_file.touch(mode=0o600)
