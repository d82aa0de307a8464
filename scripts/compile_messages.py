"""Compile the .po files to .mo without gettext's tools: `python scripts/compile_messages.py`.

The console's are in hub/locale, the command's in hub/cli/locale. `--check` only says whether the committed files are up
to date. Contexts are not used here and refused.
"""

import ast
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (ROOT / "hub" / "locale", ROOT / "hub" / "cli" / "locale")


def read(path: Path) -> dict[str, str]:
    """The translated messages of a catalogue; fuzzy and empty ones are left out, as gettext does.

    One with a plural is found under both of its texts, parted by a zero byte, and has one form: Chinese needs no more.
    """
    found: dict[str, str] = {}
    for entry in path.read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in entry.splitlines() if not line.startswith("#")]
        fuzzy = any(line.startswith("#,") and "fuzzy" in line for line in entry.splitlines())
        parts = {"msgid": "", "msgid_plural": "", "msgstr": "", "msgstr[0]": ""}
        name = ""
        for line in lines:
            if not line.startswith('"'):
                name, _, line = line.partition(" ")  # noqa: PLW2901
            if name not in parts:
                raise ValueError(f"{path}: {name} is not supported")
            parts[name] += ast.literal_eval(line)
        plural, said = parts["msgid_plural"], parts["msgstr"] or parts["msgstr[0]"]
        if lines and said and (not fuzzy or not parts["msgid"]):
            found[f"{parts['msgid']}\0{plural}" if plural else parts["msgid"]] = said
    return found


def pack(messages: dict[str, str]) -> bytes:
    """The binary form: a header, two tables of (length, place), then all texts, each ended by a zero byte."""
    items = sorted((key.encode(), value.encode()) for key, value in messages.items())
    count, head = len(items), 28
    texts, places = b"", []
    base = head + 16 * count
    for column in (0, 1):
        for item in items:
            places.append((len(item[column]), base + len(texts)))
            texts += item[column] + b"\0"
    table = b"".join(struct.pack("<II", *place) for place in places)
    return struct.pack("<7I", 0x950412DE, 0, count, head, head + 8 * count, 0, head + 16 * count) + table + texts


def main(arguments: list[str]) -> int:
    stale = []
    for path in sorted(path for folder in FOLDERS for path in folder.glob("*/LC_MESSAGES/*.po")):
        compiled, target = pack(read(path)), path.with_suffix(".mo")
        if target.exists() and target.read_bytes() == compiled:
            continue
        stale.append(str(target.relative_to(ROOT)))
        if "--check" not in arguments:
            target.write_bytes(compiled)
    print("\n".join(stale) or "all catalogues are compiled")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
