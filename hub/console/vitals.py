"""How the hub's services are right now: asked, not remembered, each within seconds, and worded for people."""

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from redis import Redis
from redis.exceptions import RedisError

from hub.circuits import told_circuits
from hub.console.words import PROCESSES
from tenants.redis import connect_sync

ALIVE_SECONDS: Final = 30
LATE_SECONDS: Final = 5.0
VERY_LATE_SECONDS: Final = 60.0
MOST_DUE: Final = 10_000
QUEUE: Final = "hub"
MANY_TASKS: Final = 1_000
Text = str | Promise


@dataclass(frozen=True, slots=True)
class Vital:
    """One service: how it is (good, warn, bad, info) and what there is to say."""

    name: Text
    tone: str
    text: Text
    remedy: Text = ""


def vitals(tenant_id: UUID | None, *, staff: bool) -> list[Vital]:
    """What waits; for the platform's own people the services too."""
    started = time.perf_counter()
    due = _due(tenant_id)
    took = (time.perf_counter() - started) * 1000
    if not staff:
        return [due]
    return [
        Vital("PostgreSQL", "good", _("answers in %(ms).1f ms") % {"ms": took}),
        *_redis(),
        *_workers(),
        due,
        _breakers(),
    ]


def _due(tenant_id: UUID | None) -> Vital:
    """Turns that a runner should have taken by now; the partial index holds them alone."""
    mine = "tenant_id = %s AND" if tenant_id else ""
    query = (
        "SELECT count(*), extract(epoch FROM now() - min(due_at))::float FROM (SELECT due_at FROM session "  # noqa: S608
        f"WHERE {mine} due_at <= now() AND turn_id IS NULL LIMIT %s) waiting"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, [tenant_id, MOST_DUE] if tenant_id else [MOST_DUE])
        count, age = cursor.fetchone()
    name = _("Waiting turns")
    if not count:
        return Vital(name, "good", _("none waits"))
    tone = "bad" if age > VERY_LATE_SECONDS else "warn" if age > LATE_SECONDS else "good"
    text = _("%(count)s waiting, the oldest for %(age).0f s") % {"count": f"{count:,}", "age": age}
    remedy = "" if tone == "good" else _("Runners are busy or gone: look at the processes and the tenants' limits.")
    return Vital(name, tone, text, remedy)


def _workers() -> list[Vital]:
    query = "SELECT role, count(*) FROM worker WHERE seen_at > now() - make_interval(secs => %s) GROUP BY 1 ORDER BY 1"
    with connection.cursor() as cursor:
        cursor.execute(query, [ALIVE_SECONDS])
        rows = cursor.fetchall()
    if not rows:
        return [Vital(_("Processes"), "bad", _("no runner is alive"), _("Start one: hub up, or HUB_ROLE=runner."))]
    return [Vital(_("Processes"), "good", ", ".join(f"{count} × {PROCESSES.get(role, role)}" for role, count in rows))]


@lru_cache(maxsize=1)
def _client(url: str) -> Redis:
    return connect_sync(url, size=4)


def _redis() -> list[Vital]:
    env = settings.HUB_ENV
    try:
        client = _client(env.redis)
        client.ping()  # may have to connect, which is not what is measured
        started = time.perf_counter()
        client.ping()
        took = (time.perf_counter() - started) * 1000
        waiting = client.llen(QUEUE) if env.broker_url is None else None
    except RedisError as error:
        lost = _("does not answer (%(reason)s)") % {"reason": type(error).__name__}
        return [Vital("Redis", "bad", lost, _("Nothing is lost: turns are found by polling until it is back."))]
    found = [Vital("Redis", "good", _("answers in %(ms).1f ms") % {"ms": took})]
    if waiting is not None:
        tone = "warn" if int(str(waiting)) > MANY_TASKS else "good"
        found.append(Vital(_("Background tasks"), tone, _("%(count)s in the queue") % {"count": f"{waiting:,}"}))
    return found


def _breakers() -> Vital:
    """Circuit breakers of all processes' model routes, as each of them tells; with the number of processes."""
    name = _("Models")
    try:
        away = told_circuits(_client(settings.HUB_ENV.redis))
    except RedisError:
        return Vital(name, "info", _("unknown while Redis does not answer"))
    if not away:
        return Vital(name, "good", _("no model is left alone after failures"))
    shown = [f"{model} ({address}) × {count}" for (model, address), count in list(away.items())[:5]]
    text = _("left alone after failures: %(models)s") % {"models": "; ".join(shown)}
    return Vital(name, "bad", text, _("Calls go to the fall-back until one works again."))
