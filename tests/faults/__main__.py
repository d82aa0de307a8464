"""`python -m tests.faults [--only NAME] [--messages N] [--write]`: the faults in full dose; exits 1 on a failure."""

import argparse
import asyncio
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import django

from hub.env import select_settings

ROOT = Path(__file__).resolve().parents[2]
_HEAD = """# Faults

Written by `python -m tests.faults --write` on {date}: real processes on two cores, killed, stopped and starved while
messages flow. After each fault five ledgers are compared (what was acknowledged, inbox, turns, deliveries, what the
platform saw): a run passes with nothing lost, nothing twice, nothing out of order. How: `tests/faults/ledgers.py`.

"""


def main() -> int:
    select_settings()
    django.setup()
    from tests.faults.rig import Stack, new_folder
    from tests.faults.suite import ALONE, FAULTS, full, table

    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--only", action="append", choices=[*FAULTS, *ALONE], help="this fault; may be repeated")
    parser.add_argument("--messages", type=int, help="so many messages for each fault")
    parser.add_argument("--write", action="store_true", help="write docs/faults.md")
    options = parser.parse_args()
    folder, results = new_folder(), []
    try:
        with Stack(folder) as stack:
            for name in options.only or [*FAULTS, *ALONE]:
                result = asyncio.run(full(stack, name, messages=options.messages))
                results.append(result)
                print(f"{name}: {'passed' if result.passed else 'FAILED'} in {result.seconds:.0f} s", flush=True)
                print(f"  {result.report.json()}" if result.passed else f"  {result.told()}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(results))
    if options.write:
        head = _HEAD.format(date=datetime.now(tz=UTC).date().isoformat())
        (ROOT / "docs" / "faults.md").write_text(head + table(results) + "\n")
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
