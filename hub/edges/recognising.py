"""A visitor turns out to be a user of the site that shows the chat."""

from typing import TYPE_CHECKING, Any

from hub.edges import identity, looks, visitors
from hub.edges.doors import FALSE_NAMES
from hub.edges.guard import Refused
from hub.pipeline.pages import Busy

if TYPE_CHECKING:
    from hub.edges.visit import Visit


async def recognise(visit: "Visit", token: str) -> bool:
    """Become the user that a site names; whether the anonymous conversation came along.

    An address that brings false tokens is slowed down. Raises Refused, Unavailable.
    """
    connection, before = visit.connection, visit.visitor
    FALSE_NAMES.check(connection.id, visit.address)
    try:
        secret = looks.options_of(connection).identity_secret.get_secret_value()
        claims = identity.verify(token, secret=secret, audience=connection.public_id)
    except Refused as refused:
        if refused.code == "bad_identity":
            FALSE_NAMES.spend(connection.id, visit.address)
        raise
    user, pages, joined = visitors.known_visitor(connection.id, claims.subject), visit.chat.pages, False
    if before.known:
        session_id = await visit.chat.session_id(connection, user.conversation)
    else:
        try:
            session_id, joined = await pages.join(
                connection, before=before.conversation, after=user.conversation, name=claims.name
            )
        except Busy:
            raise Refused(409, "busy", "an answer is being written", wait=1.0) from None
    visit.visitor, visit.session_id, visit.name = user, session_id, claims.name
    return joined


def identified(visit: "Visit", *, joined: bool) -> dict[str, Any]:
    """The answer to identify."""
    session = None if visit.session_id is None else str(visit.session_id)
    return {"token": visitors.issue(visit.visitor), "session": session, "joined": joined}
