"""Erase what is remembered of a subject, for good. What is stored as messages stays.

Synchronous, for Django code, under the tenant's scope of the caller.
"""

from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction
from redis.exceptions import RedisError

from memory.models import MemoryBatch, MemoryLine, Summary
from tenants.redis import connect_sync

log = structlog.get_logger(__name__)

_LOCK = "SELECT id FROM session WHERE subject_id = %s ORDER BY id FOR UPDATE"
_RAISE = "UPDATE session SET version = version + 1 WHERE id = ANY(%s)"


def forget_subject(tenant_id: UUID, subject_id: UUID) -> dict[str, int]:
    """Delete a subject's lines, summaries and waiting orders; returns how many there were.

    Sessions' versions rise, so that no warm copy counts any more. Copies in Redis go at once, or with their own end of
    two hours where Redis does not answer.
    """
    with transaction.atomic():
        sessions = _locked_sessions(subject_id)
        # Orders first: a worker that is summarising finds its order gone and stores nothing.
        MemoryBatch.objects.filter(subject_id=subject_id).delete()
        gone = MemoryLine.objects.filter(subject_id=subject_id).delete()[0]
        told = Summary.objects.filter(subject_id=subject_id).delete()[0]
        transaction.on_commit(lambda: _drop_copies(tenant_id, subject_id, sessions))
    return {"lines": gone, "summaries": told, "sessions": len(sessions)}


def _locked_sessions(subject_id: UUID) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, (subject_id,))
        found: list[tuple[Any, ...]] = cursor.fetchall()
        ids = [row[0] for row in found]
        cursor.execute(_RAISE, (ids,))
    return ids


def _drop_copies(tenant_id: UUID, subject_id: UUID, sessions: list[UUID]) -> None:
    names = [f"memory:{tenant_id}:buffer:{session_id}" for session_id in sessions]
    client = connect_sync(settings.HUB_REDIS_URL, size=1)
    try:
        client.delete(f"memory:{tenant_id}:recall:{subject_id}", *names)
    except RedisError as error:
        log.info("memory_copies_left_to_expire", reason=type(error).__name__)
    finally:
        client.close()
