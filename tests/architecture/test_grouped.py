"""Run by `test_groups`: eight tests that belong together."""

import pytest

pytestmark = pytest.mark.xdist_group("together")


@pytest.mark.parametrize("number", range(8))
def test_one_of_eight(number: int) -> None:
    assert number < 8
