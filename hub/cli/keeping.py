"""What this data folder knows of its backups."""

from datetime import UTC, datetime
from pathlib import Path

import orjson

from hub.embedded.layout import Layout


def note_backup(layout: Layout, *, file: Path, made_at: str) -> bool:
    """Remember the newest backup, for `hub doctor`; False where this machine keeps no data folder."""
    draft = layout.root / "backup.json.part"
    try:
        layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_bytes(orjson.dumps({"path": str(file.absolute()), "made_at": made_at}))
        draft.replace(layout.root / "backup.json")
    except OSError:  # a container with a read-only root, beside a foreign database: the backup itself is complete
        return False
    return True


def newest_backup(layout: Layout) -> tuple[str, float] | None:
    """Where the newest backup was written and how old it is in seconds; None when none was taken from here."""
    try:
        found = orjson.loads((layout.root / "backup.json").read_bytes())
        made = datetime.fromisoformat(found["made_at"])
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError, ValueError):
        return None
    return str(found["path"]), (datetime.now(UTC) - made).total_seconds()
