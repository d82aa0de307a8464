"""Erase what is remembered of a subject or in a session, for good. What is stored as messages stays.

Synchronous, for Django code, under the tenant's scope of the caller.
"""

from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction
from redis.exceptions import RedisError

from memory.models import MemoryBatch, MemoryLine, Summary
from memory.redis_cache import buffer_key, results_key
from tenants.redis import connect_sync

log = structlog.get_logger(__name__)

_LOCK = """
SELECT id, subject_id FROM session WHERE id = %(session)s OR (%(session)s::uuid IS NULL AND subject_id = %(subject)s)
ORDER BY id FOR UPDATE"""
_RAISE = "UPDATE session SET version = version + 1 WHERE id = ANY(%s)"


def forget(tenant_id: UUID, *, subject_id: UUID | None = None, session_id: UUID | None = None) -> dict[str, int]:
    """Delete the lines, summaries and waiting orders of a subject or of a session (one is named); how many there were.

    Sessions' versions rise, so that no warm copy counts any more. Copies in Redis go at once, or with their own end of
    two hours where Redis does not answer.
    """
    if (subject_id is None) == (session_id is None):
        raise ValueError("name a subject or a session")
    whose = {"session_id": session_id} if subject_id is None else {"subject_id": subject_id}
    with transaction.atomic():
        sessions = _voided(session_id, subject_id)
        copies = set(sessions)  # and those whose session is gone
        for kind in (MemoryLine, Summary):
            copies.update(kind.objects.filter(**whose).values_list("session_id", "subject_id").distinct())
        # Orders first: a worker that is summarising finds its order gone and stores nothing.
        MemoryBatch.objects.filter(**whose).delete()
        gone = MemoryLine.objects.filter(**whose).delete()[0]
        told = Summary.objects.filter(**whose).delete()[0]
        transaction.on_commit(lambda: _drop_copies(tenant_id, subject_id, copies))
    return {"lines": gone, "summaries": told, "sessions": len(sessions)}


def _voided(session_id: UUID | None, subject_id: UUID | None) -> list[tuple[UUID, UUID]]:
    """The (session, subject) pairs that are meant, with a new version and locked: sessions before lines, everywhere."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, {"session": session_id, "subject": subject_id})
        found: list[tuple[Any, ...]] = cursor.fetchall()
        cursor.execute(_RAISE, ([row[0] for row in found],))
    return [(row[0], row[1]) for row in found]


def _drop_copies(tenant_id: UUID, subject_id: UUID | None, copies: set[tuple[UUID, UUID]]) -> None:
    subjects = {subject for _, subject in copies} | ({subject_id} if subject_id else set())
    names = [buffer_key(tenant_id, session) for session, _ in copies]
    names += [results_key(tenant_id, subject) for subject in subjects]
    if not names:
        return
    client = connect_sync(settings.HUB_REDIS_URL, size=1)
    try:
        client.delete(*names)
    except RedisError as error:
        log.warning("memory_copies_left_to_expire", tenant_id=str(tenant_id), reason=type(error).__name__)
    finally:
        client.close()
