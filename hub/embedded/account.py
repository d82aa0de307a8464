"""The unprivileged account the servers run as when root starts them; PostgreSQL refuses to run as root."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from hub.embedded.errors import EmbeddedError

ACCOUNT = "agent-hub"


class SpawnAs(TypedDict, total=False):
    """The part of subprocess arguments that changes the account."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs the servers: `None` for both ids means whoever we are."""

    uid: int | None = None
    gid: int | None = None

    @property
    def spawn(self) -> SpawnAs:
        """Arguments for subprocess; supplementary groups are dropped with the account."""
        if self.uid is None or self.gid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give a path of ours to the account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can_run(self, program: Path) -> bool:
        """Whether the account may enter every folder above `program` and execute it."""
        try:
            finished = subprocess.run(
                [program, "--version"], check=False, capture_output=True, timeout=30, cwd="/", **self.spawn
            )
        except PermissionError:
            return False
        return finished.returncode == 0


def server_account() -> Account:
    """The account for the servers: our own when unprivileged, else a system account made once.

    A shared account such as `nobody` would do for PostgreSQL, but would let its other processes into the sockets.
    """
    if os.geteuid() != 0:
        return Account()
    entry = _lookup() or _create()
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def _lookup() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        return None


def _create() -> pwd.struct_passwd:
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise EmbeddedError(
            "PostgreSQL does not run as root and there is no useradd: add a system account named {account}, "
            "or start the hub as another user",
            account=ACCOUNT,
        )
    command = [program, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    finished = subprocess.run(
        [*command, "--shell", "/usr/sbin/nologin", ACCOUNT], check=False, capture_output=True, text=True, timeout=60
    )
    entry = _lookup()  # another hub may have made it at the same moment, so the outcome counts, not the exit code
    if entry is None:
        raise EmbeddedError(
            "cannot make the system account {account}: {reason}", account=ACCOUNT, reason=finished.stderr.strip()
        )
    return entry
