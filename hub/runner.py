"""`python -m hub.runner`: a process that only runs turns and sends deliveries; at SIGTERM it drains and ends."""

import asyncio
import signal

import django
import structlog
import uvloop

from hub.env import env, select_settings
from hub.settings.logs import configure

log = structlog.get_logger(__name__)


async def run() -> None:
    """Work until asked to stop. Raises what `Runtime.start` raises."""
    from hub.runtime import get_runtime  # models may be imported once Django is set up

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    runtime = await get_runtime()
    await stop.wait()
    log.info("runner_stopping", active=runtime.runner.active if runtime.runner is not None else 0)
    await runtime.stop()


def main() -> None:
    """Set up the process and run."""
    select_settings()
    found = env()
    django.setup()
    configure(level=found.log_level, form=found.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


if __name__ == "__main__":
    main()
