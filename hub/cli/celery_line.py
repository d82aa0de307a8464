"""Celery's command lines, the same under `hub up` and in a container."""

from hub.env import Env


def celery_line(role: str, env: Env) -> list[str]:
    """The arguments after `celery --quiet --app=hub.celery` for `worker` or `beat`."""
    level = f"--loglevel={env.log_level}"
    if role == "beat":
        # No pid file: several beats do no harm, and a stale file would stop the only one.
        return ["beat", "--scheduler=hub.schedule:Slots", "--pidfile=", level]
    alone = ["--without-gossip", "--without-mingle"]  # workers need not know each other, rows decide
    return ["worker", f"--concurrency={env.workers}", level, *alone]
