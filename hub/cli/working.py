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
        return Finding("model", "none: answers are quoted from memory; HUB_LLM_BASE_URL plugs one in")
    from hub.cli.asking import ask

    asked = asyncio.run(ask(env, route))
    told = f"{asked.model} at {asked.base_url}: {asked.detail}"
    return Finding("model", f"{told} in {asked.ms} ms") if asked.ok else bad("model", told, asked.remedy)


def disk(env: Env) -> Finding:
    """Room where the data folder is, or will be."""
    folder = env.layout.root
    while not folder.exists():
        folder = folder.parent
    found = shutil.disk_usage(folder)
    told = f"{size(found.free)} of {size(found.total)} are free at {folder}"
    if found.free < min(FREE_BYTES, FREE_SHARE * found.total):
        return bad("disk", told, "make room: a full disk stops PostgreSQL; old backups and logs go first")
    return Finding("disk", told)


def clock(env: Env) -> Finding:
    """This machine's time against the database's, by which everything is decided."""
    with psycopg.connect(env.direct_dsn, connect_timeout=5) as conn:
        row = conn.execute("SELECT clock_timestamp()").fetchone()
    ours = datetime.now(UTC)
    apart = abs((ours - row[0]).total_seconds()) if row else 0.0
    if apart > CLOCK_SECONDS:
        return bad("clock", f"{age(apart)} apart from the database's", "let both machines follow NTP")
    return Finding("clock", f"within {max(apart, 0.001):.3f} s of the database's")


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
        return bad("partitions", f"missing: {names}", "a worker needs HUB_DATABASE_OWNER_URL; or run: hub migrate")
    return Finding("partitions", "the coming month's are made")


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
    told = ", ".join(f"{count} {role}" for role, count in alive.items()) or "none shows itself"
    if running and not ({"all", "runner"} & set(alive)):
        return bad("processes", f"{told}: nobody runs turns", "start a runner: hub up, or HUB_ROLE=runner hub up")
    if not alive and facts.queues.due:
        return note("processes", f"none lives, and {facts.queues.due} turns are due", "start the hub: hub up")
    gone = sum(not one.alive for one in facts.processes)
    return Finding("processes", f"{told}{f'; {gone} ended without a word' if gone else ''}")


def _due(facts: Facts, *, running: bool) -> Finding:
    queues = facts.queues
    told = f"{queues.due} turns due (oldest {age(queues.oldest_due)}), {queues.pending + queues.retry} deliveries wait"
    late = max(queues.oldest_due if queues.due else 0.0, queues.oldest_delivery)
    if late > DUE_SECONDS and running:
        return bad("due work", f"{told}; the oldest is {age(late)} late", "more runners, or see their logs for errors")
    if late > DUE_SECONDS:
        return note("due work", told, "start the hub: it goes on where it was")
    if queues.late_summaries:
        return note("due work", f"{queues.late_summaries} summaries are late", "see the workers' logs: hub.celery")
    return Finding("due work", told)


def _letters(facts: Facts) -> Finding:
    queues = facts.queues
    if queues.dead or queues.unknown:
        told = f"{queues.dead} dead, {queues.unknown} of unknown outcome"
        return note("dead letters", told, "hub delivery list --tenant SLUG --status dead, then retry or purge")
    return Finding("dead letters", "none")


def _celery(facts: Facts) -> Finding:
    """Whether a worker answers; tasks are only what rows can rebuild, so its absence delays summaries and upkeep."""
    from kombu.exceptions import OperationalError

    from hub.celery import app

    waiting = "" if facts.queues.tasks is None else f"; {facts.queues.tasks} tasks wait"
    try:
        answers = next((found for seconds in PINGS if (found := app.control.ping(timeout=seconds))), [])
    except (OperationalError, OSError) as error:
        return bad("celery", f"the broker does not answer: {error}", "check HUB_BROKER_URL or HUB_REDIS_URL")
    if not answers:
        remedy = "start one: HUB_ROLE=worker hub up; until then summaries and upkeep wait"
        return bad("celery", f"no worker answers within {sum(PINGS):g} s{waiting}", remedy)
    return Finding("celery", f"{len(answers)} workers answer{waiting}")


def backup(env: Env) -> Finding:
    """How old the newest backup is that was taken with `hub backup` from here."""
    found = keeping.newest_backup(env.layout)
    if found is None:
        return note("backup", "none was taken from here yet", "hub backup FILE, daily; and a copy of the master key")
    path, seconds = found
    told = f"{age(seconds)} old, in {path}"
    if seconds > BACKUP_DAYS * 86_400:
        return note("backup", told, "hub backup FILE, daily")
    return Finding("backup", told)
