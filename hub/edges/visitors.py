"""Who a chat visitor is, and from which pages the chat may be opened.

A token names the visitor, the connection it was made for and its end, signed under a key derived from Django's
SECRET_KEY. It is sent in a frame or in the Authorization header, never in an address, and no cookie is ever read: a
foreign page has nothing to ride on. The origin check decides which sites may show a connection's chat.
"""

import base64
import secrets
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.http.request import split_domain_port, validate_host

TOKEN_SECONDS: Final = 30 * 24 * 3600
RENEW_SECONDS: Final = 24 * 3600
"""A token this much nearer to its end is replaced in the next welcome."""
MAX_TOKEN: Final = 512
KNOWN: Final = "user:"
"""What the id of a signed-in user begins with; random ids hold no colon."""
_KNOWN_MARK: Final = "~"
_SALT: Final = "hub.edges.visitor"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Someone at a chat page. `id` is random and names nobody, unless a site has said who it is."""

    id: str
    connection_id: UUID
    expires: int

    @property
    def conversation(self) -> str:
        """The visitor's conversation on the connection."""
        return self.id

    @property
    def known(self) -> bool:
        """Whether a site has vouched for who it is."""
        return self.id.startswith(KNOWN)


def new_visitor(connection_id: UUID) -> Visitor:
    """Somebody who was never here before."""
    return Visitor(secrets.token_urlsafe(18), connection_id, int(time.time()) + TOKEN_SECONDS)


def known_visitor(connection_id: UUID, subject: str) -> Visitor:
    """The user that a site names."""
    return Visitor(f"{KNOWN}{subject}", connection_id, int(time.time()) + TOKEN_SECONDS)


def renewed(visitor: Visitor) -> Visitor:
    """The same visitor, with a full life ahead when a day of it is gone."""
    end = int(time.time()) + TOKEN_SECONDS
    return Visitor(visitor.id, visitor.connection_id, end) if end - visitor.expires > RENEW_SECONDS else visitor


def issue(visitor: Visitor) -> str:
    """The visitor's token."""
    return _signer().sign(f"{_packed(visitor.id)}.{visitor.connection_id.hex}.{visitor.expires}")


def admit(token: str, connection_id: UUID) -> Visitor | None:
    """The visitor of a token that is ours, for this connection, and not over; None otherwise."""
    if len(token) > MAX_TOKEN or not token.isascii():
        return None
    try:
        ident, connection, expires = _signer().unsign(token).split(".")
    except (BadSignature, ValueError):
        return None
    if connection != connection_id.hex or int(expires) < time.time():
        return None
    return Visitor(_unpacked(ident), connection_id, int(expires))


def _packed(ident: str) -> str:
    # A site's own names may hold anything: they travel as base64, marked by a sign that no random id holds.
    if not ident.startswith(KNOWN):
        return ident
    return _KNOWN_MARK + base64.urlsafe_b64encode(ident.removeprefix(KNOWN).encode()).decode().rstrip("=")


def _unpacked(text: str) -> str:
    if not text.startswith(_KNOWN_MARK):
        return text
    packed = text.removeprefix(_KNOWN_MARK)
    return KNOWN + base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()


def _signer() -> Signer:
    # ":" parts the signature from the value; no part of the value can hold one.
    return Signer(salt=_SALT, algorithm="sha256")


def origin_allowed(headers: dict[str, str], allowed: frozenset[str] | tuple[str, ...]) -> bool:
    """Whether a page of the request's origin may open this chat.

    Browsers always name the origin on sockets and on requests across origins. A request without one comes from the
    same origin or from no browser at all; where the browser says which (Sec-Fetch-Site), it is believed.
    """
    origin = headers.get("origin", "").lower()
    if not origin:
        return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    if "*" in allowed or origin in {entry.lower().rstrip("/") for entry in allowed}:
        return True
    return origin == _site() or _same_origin(origin, headers.get("host", "").lower())


def _site() -> str:
    parts = urlsplit(settings.HUB_PUBLIC_URL)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _same_origin(origin: str, host: str) -> bool:
    # The Host header counts only when it is one of ours: else a name that is made to lead here would be its own origin.
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or parts.netloc != host:
        return False
    return validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS)
