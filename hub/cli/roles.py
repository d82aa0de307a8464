"""One role in one process, as a container runs it: no supervisor, no embedded servers, no migrations, no demo."""

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from hub.env import child_environment

if TYPE_CHECKING:
    from hub.env import Env

ROLES: Final = ("gateway", "runner", "worker", "beat")
"""What a container can be."""


@dataclass(frozen=True, slots=True)
class Start:
    """A role about to begin: its module with arguments, and the port that it will answer on."""

    role: str
    module: tuple[str, ...]
    port: int


def prepare(role: str, env: "Env") -> Start:
    """Open the role's port, so that an address in use is told before anything begins. Raises CommandFailed."""
    from hub.cli.celery_line import celery_line
    from hub.cli.supervisor import open_port

    listener = open_port(env)
    port, descriptor = int(listener.getsockname()[1]), str(listener.detach())
    if role in ("gateway", "runner"):
        return Start(role, ("hub.cli.web", descriptor), port)
    return Start(role, ("hub.background", descriptor, role, *celery_line(role, env)), port)


def become(start: Start) -> NoReturn:
    """Go on as this role under the same process id, which gets the container's signals."""
    environment = child_environment(HUB_ROLE=start.role, PORT=str(start.port))
    os.execve(sys.executable, [sys.executable, "-m", *start.module], environment)  # noqa: S606 - no shell is wanted
