"""Sending deliveries again, as `hub delivery retry` and `hub replay retry` ask for it."""

from collections.abc import Sequence

from hub.cli import lookup
from hub.cli.output import CommandFailed


def send_again(slug: str, ids: Sequence[str], *, all_dead: bool, by: str) -> list[str]:
    """Make these deliveries (or everything dead) due at once; the ids of what will be sent."""
    if bool(ids) == all_dead:
        raise CommandFailed("name the deliveries, or give --all-dead")
    with lookup.work("hub delivery retry"):
        from hub import replay

        tenant = lookup.tenant(slug)
        chosen = (
            [one.id for one in replay.waiting(tenant.id, statuses=["dead"], limit=replay.MOST)]
            if all_dead
            else [lookup.need_uuid(text, "delivery") for text in ids]
        )
        sent = replay.replay(tenant.id, chosen, by=by)
    if ids and not sent:
        raise CommandFailed("none of these deliveries is dead or unknown")
    return [str(one) for one in sent]
