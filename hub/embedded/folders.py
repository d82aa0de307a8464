"""The data folder and the runtime folder: private, ours, and held by one supervisor at a time."""

import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub.embedded.account import Account
from hub.embedded.errors import EmbeddedError, FolderInUse
from hub.embedded.layout import Layout
from hub.phrase import marked

HUB = marked("a running hub")  # the purpose that commands join instead of waiting for


def prepare(layout: Layout, account: Account) -> None:
    """Make the folders that are missing; folders above the data folder are created if needed and never changed."""
    layout.valkey_dir.mkdir(mode=0o700, exist_ok=True)
    layout.log_dir.mkdir(mode=0o700, exist_ok=True)
    layout.run_dir.mkdir(mode=0o700, exist_ok=True)
    held = layout.run_dir.lstat()
    if not stat.S_ISDIR(held.st_mode) or held.st_uid not in {os.geteuid(), account.uid}:
        raise EmbeddedError(
            "{folder} belongs to somebody else: remove it, or choose another HUB_DATA_DIR", folder=layout.run_dir
        )
    layout.run_dir.chmod(0o700)
    account.own(layout.run_dir)
    account.own(layout.valkey_dir)


def remove_runtime(layout: Layout) -> None:
    """Remove the socket folder after a clean stop."""
    shutil.rmtree(layout.run_dir, ignore_errors=True)


@contextmanager
def hold(layout: Layout, *, purpose: str) -> Iterator[None]:
    """Hold the data folder until the block ends; raises FolderInUse at once when somebody else does.

    The kernel drops the lock with its holder, however that ends, and children do not inherit it.
    """
    _make_data_dir(layout.data_dir)
    descriptor = os.open(layout.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(layout) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "purpose": purpose}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def holder(layout: Layout) -> tuple[int, str] | None:
    """Pid and purpose of whoever holds the folder, or None."""
    try:
        descriptor = os.open(layout.lock_file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        error = _in_use(layout)
        return error.pid, error.purpose
    else:
        return None
    finally:
        os.close(descriptor)


def _make_data_dir(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise EmbeddedError(
            "HUB_DATA_DIR={folder} cannot be used: {reason}", folder=folder, reason=error.strerror
        ) from error
    if found.st_uid != os.geteuid():
        raise EmbeddedError("HUB_DATA_DIR={folder} belongs to another user: choose your own folder", folder=folder)


def _in_use(layout: Layout) -> FolderInUse:
    try:
        held = json.loads(layout.lock_file.read_text())
        pid, purpose = int(held["pid"]), str(held["purpose"])
    except (ValueError, KeyError):  # taken this moment and not yet written
        pid, purpose = 0, marked("another process")
    return FolderInUse(
        "{folder} is in use by {purpose} (process {pid}): stop it, or set another HUB_DATA_DIR",
        folder=layout.data_dir,
        pid=pid,
        purpose=purpose,
    )
