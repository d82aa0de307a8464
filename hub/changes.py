"""Tells every process of the hub what was changed through Django: admin, REST, commands, tasks.

Redis and Celery are imported at the first change: most commands make none.
"""

from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Model
from django.db.models.signals import post_delete, post_save

from hub.env import env

if TYPE_CHECKING:
    from redis import Redis

    from hub.pipeline.changed import Change, Kind

log = structlog.get_logger(__name__)

_clients: "dict[str, Redis]" = {}


def watch() -> None:
    """Connect to the signals; called once, when Django is ready."""
    from agents.models import Agent
    from hub.models import Connection
    from tenants.keys import revoked
    from tenants.models import ApiKey, Tenant

    kinds: dict[type[Model], Kind] = {Agent: "agent", Connection: "connection", ApiKey: "key", Tenant: "tenant"}
    for model, kind in kinds.items():
        for signal in (post_save, post_delete):
            signal.connect(partial(_row_changed, kind), sender=model, weak=False, dispatch_uid=f"changed-{kind}")
    revoked.connect(_key_revoked, dispatch_uid="changed-revoked")


def _row_changed(kind: "Kind", *, instance: Any, using: str, created: bool = False, **_: Any) -> None:
    if created:  # nobody remembers it yet
        return
    tenant_id = instance.id if kind == "tenant" else instance.tenant_id
    if kind == "tenant" and not instance.vectors:
        transaction.on_commit(partial(_drop_vectors, tenant_id), using=using)
    transaction.on_commit(partial(_tell, kind, tenant_id, instance.id), using=using)


def _key_revoked(*, tenant_id: UUID, key_id: UUID, **_: Any) -> None:
    transaction.on_commit(partial(_tell, "key", tenant_id, key_id))


def _tell(kind: "Kind", tenant_id: UUID, ident: UUID) -> None:
    from hub.pipeline.changed import Change

    tell(Change(kind, tenant_id, ident))


def _drop_vectors(tenant_id: UUID) -> None:
    from kombu.exceptions import OperationalError

    from hub.celery import app

    try:
        app.send_task("hub.upkeep.drop_vectors", args=[str(tenant_id)], retry=False)
    except (OperationalError, OSError) as error:  # the periodic task does it ten minutes later
        log.warning("vectors_not_dropped_yet", reason=type(error).__name__)


def tell(change: "Change") -> None:
    """Publish a change. Without Redis it counts when what was remembered ends, after five seconds."""
    from redis.exceptions import RedisError

    from hub.pipeline.changed import CHANNEL
    from tenants.redis import connect_sync

    url = env().redis
    client = _clients.get(url)
    if client is None:
        client = _clients[url] = connect_sync(url, size=2)
    try:
        client.publish(CHANNEL, change.pack())
    except (RedisError, OSError) as error:
        log.warning("change_not_told", kind=change.kind, reason=type(error).__name__)
