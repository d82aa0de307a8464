"""Cryptography that platforms ask for. Nothing here raises on foreign input except SignatureInvalid.

Every comparison first checks the shape (charset and length) and then compares in constant time, so that malformed
input is refused and never decoded into an exception.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence

from pydantic import SecretStr

from channels_adapters.errors import SignatureInvalid

WINDOW = 300.0
"""Seconds that a signed timestamp may lie off our clock (Slack and Standard Webhooks both name five minutes)."""

_DIGITS = re.compile(r"[0-9]{1,12}")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,256}")
_BASE64_SHA256 = re.compile(r"[A-Za-z0-9+/]{43}=")
_WEBHOOK_ID = re.compile(r"[!-\-/-~]{1,256}")  # visible ASCII without the full stop, which separates the signed fields
_MOST_SIGNATURES = 16
_EXPECTED_FORM = (
    "a webhook secret is whsec_ and 24 to 64 bytes in base64; `openssl rand -base64 32` makes the second part"
)


def secrets_of(value: SecretStr) -> tuple[str, ...]:
    """The secrets in one field, separated by white space or commas: the first signs, every one verifies (rotation)."""
    return tuple(value.get_secret_value().replace(",", " ").split())


def header(headers: Mapping[str, str], name: str) -> str:
    """A header that must be there, and once. Raises SignatureInvalid."""
    value = headers.get(name)
    if not value:
        raise SignatureInvalid(f"the header {name} is missing")
    return value


def check_window(stamp: str, now: float, *, window: float = WINDOW) -> int:
    """The timestamp, when it is plain digits and at most `window` seconds from `now` (exactly `window` passes)."""
    if not _DIGITS.fullmatch(stamp):
        raise SignatureInvalid("the timestamp is not a number of seconds")
    value = int(stamp)
    if abs(now - value) > window:
        raise SignatureInvalid("the timestamp is outside the window")
    return value


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256."""
    return hmac.digest(key, message, "sha256")  # without an object, in half the time


def check_hex_sha256(given: str, keys: Iterable[str], message: bytes, *, prefix: str = "") -> None:
    """Pass when `given` is `prefix` + lower-case hex HMAC-SHA256 of `message` under any key; else SignatureInvalid."""
    if not given.startswith(prefix) or not _HEX64.fullmatch(given[len(prefix) :]):
        raise SignatureInvalid("the signature has the wrong form")
    digest = bytes.fromhex(given[len(prefix) :])
    matches = [hmac.compare_digest(digest, hmac_sha256(key.encode(), message)) for key in keys]
    if not any(matches):
        raise SignatureInvalid("the signature does not match")


def check_token(given: str, tokens: Iterable[str]) -> None:
    """Pass when `given` is one of `tokens` (1 to 256 of A-Z a-z 0-9 _ -); else SignatureInvalid."""
    if not _TOKEN.fullmatch(given):
        raise SignatureInvalid("the token has the wrong form")
    matches = [hmac.compare_digest(given.encode(), token.encode()) for token in tokens]
    if not any(matches):
        raise SignatureInvalid("the token does not match")


# ---- Standard Webhooks: https://github.com/standard-webhooks/standard-webhooks ------------------------------------


def standard_key(secret: str) -> bytes:
    """The signing key in `whsec_` + base64; prefix and padding may be missing. Raises ValueError when it is not one."""
    encoded = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        raise ValueError(_EXPECTED_FORM) from None
    if not 16 <= len(key) <= 256:
        raise ValueError(_EXPECTED_FORM)
    return key


def standard_keys(value: SecretStr) -> tuple[bytes, ...]:
    """The signing keys of all secrets in one field, the current one first. Raises ValueError."""
    return tuple(standard_key(secret) for secret in secrets_of(value))


def standard_headers(keys: Sequence[bytes], *, message_id: str, stamp: int, body: bytes) -> dict[str, str]:
    """The three headers of Standard Webhooks, with one `v1` signature per key (rotation)."""
    signed = b".".join((message_id.encode(), str(stamp).encode(), body))
    entries = [base64.b64encode(hmac_sha256(key, signed)).decode() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": " ".join(f"v1,{entry}" for entry in entries),
    }


def check_standard(headers: Mapping[str, str], body: bytes, keys: Sequence[bytes], *, now: float) -> str:
    """The `webhook-id` of an authentic, fresh request; SignatureInvalid otherwise.

    Any `v1` entry may match under any key; unknown versions are skipped. Timestamps must be plain digits and ids
    must not hold a full stop: both are joined by full stops, so looser forms could be shifted into one another.
    """
    message_id = header(headers, "webhook-id")
    stamp = header(headers, "webhook-timestamp")
    if not _WEBHOOK_ID.fullmatch(message_id):
        raise SignatureInvalid("the webhook-id has the wrong form")
    check_window(stamp, now)
    given = list(_given_signatures(header(headers, "webhook-signature")))
    signed = b".".join((message_id.encode(), stamp.encode(), body))
    matches = [
        hmac.compare_digest(digest, signature)
        for digest in [hmac_sha256(key, signed) for key in keys]
        for signature in given
    ]
    if not any(matches):
        raise SignatureInvalid("no signature matches")
    return message_id


def _given_signatures(value: str) -> Iterable[bytes]:
    for entry in value[:4096].split(" ")[:_MOST_SIGNATURES]:
        version, _, encoded = entry.partition(",")
        if version == "v1" and _BASE64_SHA256.fullmatch(encoded):
            yield base64.b64decode(encoded)
