"""Tests that share a hub stay on one worker of xdist, in their order.

`--dist loadgroup` means that by the mark `xdist_group`, which it writes into the names of tests. pytest 9.2 does not
let it: half of a module went to the other worker, where its hub was started again and knew nobody.
The mark stands at the top of a module here, so the module's name is enough.
"""

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]


@cache
def is_grouped(module: str) -> bool:
    return "pytest.mark.xdist_group(" in (ROOT / module).read_text(encoding="utf-8")


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # of an untyped library
    """Module by module where one is marked, test by test elsewhere."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if is_grouped(module) else nodeid
