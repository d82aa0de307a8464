"""Many dead letters sent again or purged behind the page that asked for it: a task, with its progress in Redis.

The task's arguments say which letters and who asked. Redis holds how far it has come, for a day: what is lost of it
costs the news alone, because every batch finds by the rows' status what is left to do. A task that is delivered again
goes on behind the last batch, or begins anew and changes nothing twice.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
import redis
from celery import shared_task
from django.conf import settings
from redis.exceptions import RedisError

from hub.replay import Batch, Cursor, Letters, purge_batch, replay_batch
from tenants.audit import Actor, record
from tenants.context import tenant_scope
from tenants.ids import uuid7
from tenants.redis import connect_sync, key

TASK: Final = "hub.letters"
REPLAY: Final = "replay"
PURGE: Final = "purge"
KEPT_SECONDS: Final = 24 * 3600
RUN_SECONDS: Final = 240.0
"""After so long a task sends itself again, so that none comes near the limit of tasks."""
SILENT_SECONDS: Final = 20.0
"""A piece of work that has told nothing for so long waits for a worker."""


def _purge(letters: Letters, cursor: Cursor | None, *, by: str) -> Batch:
    del by  # the trail says by whom
    return purge_batch(letters, cursor)


_BATCHES: Final[Mapping[str, Callable[..., Batch]]] = {
    REPLAY: replay_batch,
    PURGE: _purge,
}


class NotSent(Exception):
    """The queue of tasks does not answer, so nothing was begun."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of work has come. `total` is what was counted at its start, at most 10 000."""

    total: int
    seen: int
    changed: int
    done: bool
    told_at: float
    cursor: Cursor | None = None

    @property
    def silent(self) -> bool:
        """Whether no worker seems to be at it."""
        return not self.done and time.time() - self.told_at > SILENT_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be done, to which letters, and who asked; `filters` are their words for the audit trail."""

    doing: str
    letters: Letters
    actor: Actor
    filters: Mapping[str, str]

    def plain(self) -> dict[str, Any]:
        """As the task's argument: ids, times and reasons, never a message's text."""
        letters = self.letters
        return {
            "doing": self.doing,
            "statuses": [str(one) for one in letters.statuses],
            "connection": str(letters.connection_id or ""),
            "reason": letters.reason,
            "since": letters.since.isoformat() if letters.since else "",
            "until": letters.until.isoformat() if letters.until else "",
            "by": self.actor.name,
            "user": self.actor.user_id,
            "filters": dict(self.filters),
        }

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> "Order":
        """From the task's argument."""
        letters = Letters(
            statuses=found["statuses"],
            connection_id=UUID(found["connection"]) if found["connection"] else None,
            reason=found["reason"],
            since=datetime.fromisoformat(found["since"]) if found["since"] else None,
            until=datetime.fromisoformat(found["until"]) if found["until"] else None,
        )
        actor = Actor(found["by"], found["user"])
        return cls(doing=found["doing"], letters=letters, actor=actor, filters=found["filters"])


def step(tenant_id: UUID, order: Order, now: Progress) -> Progress:
    """Do the next batch and leave a line in the audit trail. In the tenant's scope."""
    batch = _BATCHES[order.doing](order.letters, now.cursor, by=order.actor.name)
    if batch.changed:
        verb = "delivery.replayed" if order.doing == REPLAY else "delivery.purged"
        after = {**order.filters, "count": batch.changed}
        record(tenant_id, verb, actor=order.actor, label="dead letters", after=after)
    seen = now.seen + batch.seen
    return Progress(
        max(now.total, seen),
        seen,
        now.changed + batch.changed,
        done=batch.cursor is None,
        told_at=time.time(),
        cursor=batch.cursor,
    )


def begin(tenant_id: UUID, order: Order, now: Progress) -> UUID:
    """Send off what is left to do and return the work's id. Raises NotSent."""
    from kombu.exceptions import OperationalError

    from hub.celery import app

    ident = uuid7()
    client = connect_sync(settings.HUB_ENV.redis, size=1)
    try:
        _tell(client, tenant_id, ident, now)
        app.send_task(TASK, args=[str(tenant_id), str(ident), order.plain()], retry=False)
    except (RedisError, OperationalError, OSError) as error:
        raise NotSent(type(error).__name__) from error
    finally:
        client.close()
    return ident


def progress(tenant_id: UUID, ident: UUID) -> Progress | None:
    """How far it has come; None for unknown work, or where Redis does not answer."""
    client = connect_sync(settings.HUB_ENV.redis, size=1)
    try:
        return _told(client, tenant_id, ident)
    except RedisError:
        return None
    finally:
        client.close()


@shared_task(name=TASK)
def work_through(tenant_id: str, ident: str, order: dict[str, Any]) -> int:
    """Work through the letters in batches; returns how many were changed by this run."""
    tenant, work = UUID(tenant_id), UUID(ident)
    client = connect_sync(settings.HUB_ENV.redis, size=1)
    try:
        now = _where(client, tenant, work)
        before = now.changed
        ends = time.monotonic() + RUN_SECONDS
        with tenant_scope(tenant):
            while not now.done and time.monotonic() < ends:
                now = step(tenant, Order.read(order), now)
                with suppress(RedisError):  # only the page's news is lost
                    _tell(client, tenant, work, now)
    finally:
        client.close()
    if not now.done:
        work_through.delay(tenant_id, ident, order)
    return now.changed - before


def _where(client: redis.Redis, tenant_id: UUID, ident: UUID) -> Progress:
    try:
        found = _told(client, tenant_id, ident)
    except RedisError:
        found = None
    return found or Progress(0, 0, 0, done=False, told_at=time.time())


def _name(tenant_id: UUID, ident: UUID) -> str:
    return key(tenant_id, "letters", ident)


def _tell(client: redis.Redis, tenant_id: UUID, ident: UUID, now: Progress) -> None:
    value: dict[str, Any] = {
        "total": now.total,
        "seen": now.seen,
        "changed": now.changed,
        "done": now.done,
        "told_at": now.told_at,
    }
    if now.cursor is not None:
        value |= {"created": now.cursor.created.isoformat(), "id": str(now.cursor.id)}
    client.set(_name(tenant_id, ident), orjson.dumps(value), ex=KEPT_SECONDS)


def _told(client: redis.Redis, tenant_id: UUID, ident: UUID) -> Progress | None:
    value: Any = client.get(_name(tenant_id, ident))
    if value is None:
        return None
    found = orjson.loads(value)
    created, last = found.pop("created", ""), found.pop("id", "")
    return Progress(**found, cursor=Cursor(datetime.fromisoformat(created), UUID(last)) if created else None)
