"""One role in one process, as a container runs it: no supervisor, no embedded servers, no migrations, no demo."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from hub.cli.celery_line import celery_line
from hub.cli.supervisor import open_port
from hub.env import Env, child_environment


def _serving(_role: str, env: Env) -> tuple[list[str], dict[str, str]]:
    """The module with its arguments, and what changes in its environment: the port is open before it begins."""
    listener = open_port(env)
    port = str(listener.getsockname()[1])
    return ["hub.cli.web", str(listener.detach())], {"PORT": port}


def _celery(role: str, env: Env) -> tuple[list[str], dict[str, str]]:
    return ["hub.background", role, *celery_line(role, env)], {}


ROLES: Final[Mapping[str, Callable[[str, Env], tuple[list[str], dict[str, str]]]]] = {
    "gateway": _serving,
    "runner": _serving,
    "worker": _celery,
    "beat": _celery,
}
"""What a container can be."""


def become(role: str, env: Env) -> NoReturn:
    """Go on as this role under the same process id, which gets the container's signals."""
    module, changes = ROLES[role](role, env)
    environment = child_environment(HUB_ROLE=role, **changes)
    os.execve(sys.executable, [sys.executable, "-m", *module], environment)  # noqa: S606 - no shell is wanted
