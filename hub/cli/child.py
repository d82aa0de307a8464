"""`python -m hub.cli.child PARENT MODULE …`: run a module as a child that does not outlive its supervisor.

A killed supervisor cannot stop anything, and a web process left behind would hold the port. The kernel ends the child
with its parent instead; everything that matters is in PostgreSQL, so a hard end is as good as a soft one.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _end_with_parent(parent: int) -> None:
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the request
        sys.exit(1)


if __name__ == "__main__":
    _end_with_parent(int(sys.argv[1]))
    module, sys.argv = sys.argv[2], sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
