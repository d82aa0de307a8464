"""Run every check; the exit code says whether all is well."""

import sys
from collections.abc import Iterator

from scripts.deploycheck import compose, image, kubernetes, monitoring


def faults() -> Iterator[str]:
    """All that is wrong."""
    for check in (*image.CHECKS, *compose.CHECKS, *kubernetes.CHECKS, *monitoring.CHECKS):
        yield from check()


if __name__ == "__main__":
    found = list(faults())
    for fault in found:
        print(f"deploy: {fault}", file=sys.stderr)
    sys.exit(int(bool(found)))
