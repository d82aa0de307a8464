"""A site vouches for its signed-in users: JSON Web Tokens, HS256 only (RFC 7519, RFC 7515 section 3).

The algorithm is ours to decide: a header that names any other is refused before anything is computed.
"""

import base64
import binascii
import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Any, Final

import orjson

from hub.edges.guard import Refused

MAX_TOKEN: Final = 8192
MAX_SUBJECT: Final = 128
LONGEST_SECONDS: Final = 24 * 3600
LEEWAY_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Claims:
    """Who somebody is on the site that embeds the chat."""

    subject: str
    name: str


def verify(token: str, *, secret: str, audience: str, now: float | None = None) -> Claims:
    """The claims of a token that is genuine, for this connection and valid now. Raises Refused (403)."""
    if not secret:
        raise Refused(403, "identity_off", "this chat knows no signed identities")
    claims = _signed(token, secret)
    moment = time.time() if now is None else now
    _check_times(claims, moment)
    named = claims.get("aud")
    if audience not in (named if isinstance(named, list) else [named]):
        raise _bad("it is meant for another chat")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject.strip() or not _fits(subject):
        raise _bad(f"sub must be a text of 1 to {MAX_SUBJECT} bytes")
    name = claims.get("name")
    return Claims(subject, name[:200] if isinstance(name, str) else "")


def _signed(token: str, secret: str) -> dict[str, Any]:
    parts = token.split(".") if len(token) <= MAX_TOKEN and token.isascii() else []
    if len(parts) != 3:
        raise _bad("it is no signed token")
    header = _object(parts[0])
    if header.get("alg") != "HS256" or "crit" in header:
        raise _bad("it must be signed with HS256")
    expected = hmac.digest(secret.encode(), f"{parts[0]}.{parts[1]}".encode(), hashlib.sha256)
    if not hmac.compare_digest(expected, _decoded(parts[2])):
        raise _bad("the signature is wrong")
    return _object(parts[1])


def _check_times(claims: dict[str, Any], now: float) -> None:
    expires, begins = claims.get("exp"), claims.get("nbf", 0)
    for value in (expires, begins):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _bad("exp is required, in seconds since 1970; nbf likewise where it is given")
    assert isinstance(expires, int | float) and isinstance(begins, int | float)  # noqa: S101 (just checked)
    if expires <= now - LEEWAY_SECONDS:
        raise Refused(403, "identity_expired", "the identity token is over: ask the site for a new one")
    if expires > now + LONGEST_SECONDS + LEEWAY_SECONDS:
        raise _bad("exp is more than 24 hours ahead")
    if begins > now + LEEWAY_SECONDS:
        raise _bad("it is not valid yet")


def _object(part: str) -> dict[str, Any]:
    try:
        found = orjson.loads(_decoded(part))
    except orjson.JSONDecodeError:
        raise _bad("it is no signed token") from None
    if not isinstance(found, dict):
        raise _bad("it is no signed token")
    return found


def _decoded(part: str) -> bytes:
    try:
        return base64.b64decode(part.encode() + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _bad("it is no signed token") from None


def _fits(subject: str) -> bool:
    try:
        return len(subject.encode()) <= MAX_SUBJECT and "\0" not in subject
    except UnicodeEncodeError:
        return False


def _bad(why: str) -> Refused:
    return Refused(403, "bad_identity", f"the identity token is not accepted: {why}")
