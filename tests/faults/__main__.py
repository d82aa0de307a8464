"""`python -m tests.faults [--only NAME] [--messages N] [--write]`: the faults in full dose; exits 1 on a failure.

`--soak SECONDS [--rate N]` mixes them under one load instead and prints one JSON object.
"""

import argparse
import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django

from hub.env import select_settings

if TYPE_CHECKING:
    from tests.faults.rig import Stack

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- table: written by `python -m tests.faults --write` -->", "<!-- end of table -->"


def rewritten(page: str, table: str) -> str:
    """The page with this table between its marks; its prose stays. Raises ValueError where the marks are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no marks for the table: {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def main() -> int:
    select_settings()
    django.setup()
    from tests.faults.rig import Stack, new_folder
    from tests.faults.suite import ALONE, FAULTS

    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--only", action="append", choices=[*FAULTS, *ALONE], help="this fault; may be repeated")
    parser.add_argument("--messages", type=int, help="so many messages for each fault")
    parser.add_argument("--write", action="store_true", help="write the table of docs/faults.md")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="mixed strikes under one load, one JSON report")
    parser.add_argument("--rate", type=float, default=70.0, help="messages a second of the soak")
    options = parser.parse_args()
    folder = new_folder()
    try:
        with Stack(folder) as stack:
            return _soak(stack, options) if options.soak else _each(stack, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _soak(stack: "Stack", options: argparse.Namespace) -> int:
    from tests.faults.rig import Rig
    from tests.faults.soak import soak

    async def run() -> dict[str, Any]:
        async with asyncio.timeout(options.soak + 400), Rig(stack) as rig:
            return await soak(rig, seconds=options.soak, rate=options.rate)

    report = asyncio.run(run())
    print(json.dumps(report, indent=1, ensure_ascii=False))
    return 0 if report["passed"] else 1


def _each(stack: "Stack", options: argparse.Namespace) -> int:
    from tests.faults.outcome import Result
    from tests.faults.suite import ALONE, FAULTS, full, table

    results: list[Result] = []
    try:
        for name in options.only or [*FAULTS, *ALONE]:
            result = asyncio.run(full(stack, name, messages=options.messages))
            results.append(result)
            print(f"{name}: {'passed' if result.passed else 'FAILED'} in {result.seconds:.0f} s", flush=True)
            print(f"  {result.report.json()}" if result.passed else f"  {result.told()}", flush=True)
    finally:  # also what an hour has shown before something broke
        print(table(results), flush=True)
    if options.write:
        PAGE.write_text(rewritten(PAGE.read_text(), table(results)))
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
