"""The file that `hub backup` writes: a zip of PostgreSQL's own dump, stored as it is, and a manifest that describes it.

The dump is written first and the manifest last, in one pass, so that nothing is staged anywhere. A file without a
manifest is the remains of a backup that was interrupted.
"""

import hashlib
import hmac
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from hub.cli.output import CommandFailed

FORMAT = 1
DUMP, MANIFEST = "database.dump", "manifest.json"
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup holds. `key_prints` tell the master keys apart without revealing them; no key is in the file."""

    made_at: str
    """When its snapshot was taken, by the database clock."""
    hub_version: str
    postgres: str
    role_prefix: str
    migrations: tuple[str, ...]
    tables: Mapping[str, int]
    """Rows of each table in the snapshot; a partitioned table counts as one."""
    key_prints: tuple[str, ...]
    dump_bytes: int
    dump_sha256: str
    format: int = FORMAT

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(self.tables.values())


def key_print(key: bytes) -> str:
    """Eight bytes that say whether two master keys are the same; 256 random bits are not to be found by them."""
    return hmac.new(key, b"hub: which master key a backup needs", hashlib.sha256).hexdigest()[:16]


class Measured:
    """Counts and digests what goes through it."""

    def __init__(self, told: Callable[[int], None]) -> None:
        self.bytes = 0
        self._digest = hashlib.sha256()
        self._told = told

    def pump(self, source: IO[bytes], sink: IO[bytes] | None = None) -> None:
        """Read `source` to its end, into `sink` where there is one."""
        while chunk := source.read(CHUNK):
            self.bytes += len(chunk)
            self._digest.update(chunk)
            if sink is not None:
                sink.write(chunk)
            self._told(len(chunk))

    @property
    def sha256(self) -> str:
        """Of all that went through."""
        return self._digest.hexdigest()


@contextmanager
def writing(path: Path) -> Iterator[zipfile.ZipFile]:
    """A new archive: readable by its owner alone, and under its name only once it is complete and on disk."""
    draft = path.with_name(f"{path.name}.part")
    try:
        file = os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
    except FileExistsError:
        raise CommandFailed(
            "{file} is there: another backup is being written, or one was interrupted", file=draft
        ) from None
    except OSError as error:
        raise CommandFailed("{file} cannot be written: {reason}", file=draft, reason=error.strerror) from error
    try:
        with file:
            with zipfile.ZipFile(file, "w", compression=zipfile.ZIP_STORED, allowZip64=True) as archive:
                yield archive
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def describe(archive: zipfile.ZipFile, manifest: Manifest) -> None:
    """Write the manifest: the last thing that a backup does."""
    archive.writestr(MANIFEST, orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2))


@contextmanager
def reading(path: Path) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """An archive and its manifest. Raises CommandFailed for what is no complete backup."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive, _manifest(archive, path)
    except (zipfile.BadZipFile, OSError) as error:
        raise CommandFailed("{file} is no complete backup of a hub: {reason}", file=path, reason=error) from error


def _manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    try:
        held: dict[str, Any] = orjson.loads(archive.read(MANIFEST))
    except (KeyError, orjson.JSONDecodeError):
        raise CommandFailed("{file} is no complete backup of a hub: it has no manifest", file=path) from None
    if held.get("format") != FORMAT:
        raise CommandFailed(
            "{file} has format {found}, this release reads {own}: use a newer one",
            file=path,
            found=held.get("format"),
            own=FORMAT,
        )
    lists = {name: tuple(held[name]) for name in ("migrations", "key_prints")}
    return Manifest(**{**held, **lists})
