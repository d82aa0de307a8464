"""Every fault in a small dose against one hub of real processes; `make faults` gives the full doses."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.canaries import canaries
from tests.faults.growing import growing
from tests.faults.rig import Stack, new_folder
from tests.faults.rounds import rounds
from tests.faults.suite import small

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def folder() -> Iterator[Path]:
    made = new_folder()
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_nothing_is_lost_repeated_or_disordered(folder: Path) -> None:
    with Stack(folder) as stack:
        results = asyncio.run(small(stack))
    wrong = [result.told() for result in results if not result.passed]
    assert not wrong, "\n".join(wrong)


def test_planted_texts_are_nowhere_and_answers_survive_halfway(folder: Path) -> None:
    with Stack(folder) as stack:
        results = [
            asyncio.run(canaries(stack)),
            asyncio.run(growing(stack, points=("live.after_open",))),
            asyncio.run(rounds(stack, places=("round.kept:1", "round.kept:2"))),
        ]
    wrong = [result.told() for result in results if not result.passed]
    assert not wrong, "\n".join(wrong)
