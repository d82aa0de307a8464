"""What `hub doctor` looks at besides the places: the model, the clock, the disk, and the work that is under way."""

import asyncio
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg

from hub.cli import keeping
from hub.cli.facts import Facts, gather, looking
from hub.cli.finding import Finding, bad, note
from hub.cli.terminal import age, size
from hub.cli.words import Phrase, Words
from hub.env import Env

CLOCK_SECONDS = 2.0
FREE_BYTES = 1 << 30
FREE_SHARE = 0.05
DUE_SECONDS = 60.0
BACKUP_DAYS = 7
PINGS = (1.0, 2.0, 4.0, 8.0)
"""Seconds to wait for workers' answers, one question after another: a starting or busy one is heard too."""


def model(env: Env) -> Finding:
    """Ask the hub's own model for one token."""
    from hub.configured import default_route

    route = default_route(env)
    if route is None:
        return Finding("model", Phrase("none: answers are quoted from memory; HUB_LLM_BASE_URL plugs one in"))
    from hub.cli.asking import ask

    asked = asyncio.run(ask(env, route))
    values = {"model": asked.model, "url": asked.base_url, "detail": asked.detail}
    if asked.ok:
        return Finding("model", Phrase("{model} at {url}: {detail} in {ms} ms", ms=asked.ms, **values))
    return bad("model", Phrase("{model} at {url}: {detail}", **values), asked.remedy)


def disk(env: Env) -> Finding:
    """Room where the data folder is, or will be."""
    folder = env.layout.root
    while not folder.exists():
        folder = folder.parent
    found = shutil.disk_usage(folder)
    told = Phrase(
        "{free} of {total} are free at {folder}", free=size(found.free), total=size(found.total), folder=folder
    )
    if found.free < min(FREE_BYTES, FREE_SHARE * found.total):
        return bad("disk", told, Phrase("make room: a full disk stops PostgreSQL; old backups and logs go first"))
    return Finding("disk", told)


def clock(env: Env) -> Finding:
    """This machine's time against the database's, by which everything is decided."""
    with psycopg.connect(env.direct_dsn, connect_timeout=5) as conn:
        row = conn.execute("SELECT clock_timestamp()").fetchone()
    ours = datetime.now(UTC)
    apart = abs((ours - row[0]).total_seconds()) if row else 0.0
    if apart > CLOCK_SECONDS:
        told = Phrase("{time} apart from the database's", time=age(apart))
        return bad("clock", told, Phrase("let both machines follow NTP"))
    return Finding("clock", Phrase("within {seconds:.3f} s of the database's", seconds=max(apart, 0.001)))


def partitions(env: Env) -> Finding:
    """The coming month's partitions are there; later rows would fall into the default one."""
    with looking(env, reason="hub doctor: partitions") as conn:
        missing = conn.execute(
            "SELECT p.relname || to_char(now() + interval '1 month', '_YYYY_MM') AS name FROM pg_class p "
            "WHERE p.relkind = 'p' AND p.relnamespace = 'public'::regnamespace AND to_regclass("
            "format('public.%I', p.relname || to_char(now() + interval '1 month', '_YYYY_MM'))) IS NULL"
        ).fetchall()
    if missing:
        names = ", ".join(row["name"] for row in missing)
        remedy = Phrase("a worker needs HUB_DATABASE_OWNER_URL; or run: hub migrate")
        return bad("partitions", Phrase("missing: {names}", names=names), remedy)
    return Finding("partitions", Phrase("the coming month's are made"))


def work(env: Env, *, running: bool) -> Iterator[Finding]:
    """Processes, queues and dead letters, by the rows; `running` is whether a hub should be at work."""
    facts = gather(env, reason="hub doctor")
    yield _processes(facts, running=running)
    yield _due(facts, running=running)
    yield _letters(facts)
    if running:
        yield _celery(facts)


def _processes(facts: Facts, *, running: bool) -> Finding:
    alive = {role: count for role, count in facts.roles.items() if count}
    told: Words = ", ".join(f"{count} {role}" for role, count in alive.items()) or Phrase("none shows itself")
    if running and not ({"all", "runner"} & set(alive)):
        remedy = Phrase("start a runner: hub up, or HUB_ROLE=runner hub up")
        return bad("processes", Phrase("{living}: nobody runs turns", living=told), remedy)
    if not alive and facts.queues.due:
        told = Phrase("none lives, and {count} turns are due", count=facts.queues.due)
        return note("processes", told, Phrase("start the hub: hub up"))
    if gone := sum(not one.alive for one in facts.processes):
        told = Phrase("{living}; {count} ended without a word", living=told, count=gone)
    return Finding("processes", told)


def _due(facts: Facts, *, running: bool) -> Finding:
    queues = facts.queues
    told = Phrase(
        "{turns} turns due (oldest {age}), {deliveries} deliveries wait",
        turns=queues.due,
        age=age(queues.oldest_due),
        deliveries=queues.pending + queues.retry,
    )
    late = max(queues.oldest_due if queues.due else 0.0, queues.oldest_delivery)
    if late > DUE_SECONDS and running:
        told = Phrase("{told}; the oldest is {age} late", told=told, age=age(late))
        return bad("due work", told, Phrase("more runners, or see their logs for errors"))
    if late > DUE_SECONDS:
        return note("due work", told, Phrase("start the hub: it goes on where it was"))
    if queues.late_summaries:
        told = Phrase("{count} summaries are late", count=queues.late_summaries)
        return note("due work", told, Phrase("see the workers' logs: hub.celery"))
    return Finding("due work", told)


def _letters(facts: Facts) -> Finding:
    queues = facts.queues
    if queues.dead or queues.unknown:
        told = Phrase("{dead} dead, {unknown} of unknown outcome", dead=queues.dead, unknown=queues.unknown)
        remedy = Phrase("hub delivery list --tenant SLUG --status dead, then retry or purge")
        return note("dead letters", told, remedy)
    return Finding("dead letters", Phrase("none"))


def _celery(facts: Facts) -> Finding:
    """Whether a worker answers; tasks are only what rows can rebuild, so its absence delays summaries and upkeep."""
    from kombu.exceptions import OperationalError

    from hub.celery import app

    try:
        answers = next((found for seconds in PINGS if (found := app.control.ping(timeout=seconds))), [])
    except (OperationalError, OSError) as error:
        told = Phrase("the broker does not answer: {error}", error=error)
        return bad("celery", told, Phrase("check HUB_BROKER_URL or HUB_REDIS_URL"))
    told = Phrase("{count} workers answer", count=len(answers))
    if not answers:
        told = Phrase("no worker answers within {seconds:g} s", seconds=sum(PINGS))
    if facts.queues.tasks is not None:
        told = Phrase("{told}; {count} tasks wait", told=told, count=facts.queues.tasks)
    if not answers:
        remedy = Phrase("start one: HUB_ROLE=worker hub up; until then summaries and upkeep wait")
        return bad("celery", told, remedy)
    return Finding("celery", told)


def backup(env: Env) -> Finding:
    """How old the newest backup is that was taken with `hub backup` from here."""
    found = keeping.newest_backup(env.layout)
    if found is None:
        remedy = Phrase("hub backup FILE, daily; and a copy of the master key")
        return note("backup", Phrase("none was taken from here yet"), remedy)
    path, seconds = found
    told = Phrase("{age} old, in {path}", age=age(seconds), path=path)
    if seconds > BACKUP_DAYS * 86_400:
        return note("backup", told, Phrase("hub backup FILE, daily"))
    return Finding("backup", told)
