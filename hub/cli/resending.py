"""Sending deliveries again, as `hub delivery retry` and `hub replay retry` ask for it."""

from collections.abc import Sequence
from datetime import UTC, datetime

from hub.cli import lookup
from hub.cli.output import CommandFailed


def send_again(slug: str, ids: Sequence[str], *, all_dead: bool, by: str) -> list[str]:
    """Make these deliveries (or everything dead) due at once; the ids of what will be sent."""
    if bool(ids) == all_dead:
        raise CommandFailed("name the deliveries, or give --all-dead")
    with lookup.work("hub delivery retry"):
        from hub import replay
        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        if all_dead:
            with tenant_scope(tenant.id):
                dead = replay.Letters(statuses=("dead",), until=datetime.now(UTC))
                sent = replay.replay_all(dead, by=by)
        else:
            sent = replay.replay(tenant.id, [lookup.need_uuid(text, "delivery") for text in ids], by=by)
    if ids and not sent:
        raise CommandFailed("none of these deliveries is dead or unknown")
    return [str(one) for one in sent]
