"""What becomes of a delivery: sent, tried again, dead or unknown. One policy for every channel.

Adapters classify what went wrong; what follows is decided here and nowhere else.
"""

import random
from datetime import UTC, datetime

from channels_adapters.errors import Permanent, Transient
from hub.ledger.settle import Settle, SettledStatus
from hub.pipeline.deliveries import Ready

_FIRST_RETRY = 1.0
_LONGEST_RETRY = 60.0
_FIXED_RETRY = 5.0
_RESENT_ATTEMPTS = 2
"""The attempt that `resend_once` allows after one whose outcome nobody knows."""


def verdict(ready: Ready, status: SettledStatus, *, detail: str = "") -> Settle:
    """The outcome of this attempt."""
    return Settle(delivery_id=ready.delivery_id, session_id=ready.session_id, status=status, detail=detail)


def without_attempt(ready: Ready) -> Settle | None:
    """The end of a delivery that must not be sent any more; None for all others."""
    if datetime.now(UTC) >= ready.expires_at:
        return verdict(ready, "dead", detail="too late: the delivery window is over")
    if not ready.connection.listening:
        return verdict(ready, "dead", detail=f"the connection is {ready.connection.status}")
    return None


def unseen(ready: Ready) -> Settle | None:
    """After an attempt whose end nobody saw and nobody can be asked about: None where sending once more is allowed."""
    if ready.connection.on_unknown == "resend_once" and ready.attempts <= _RESENT_ATTEMPTS:
        return None
    return verdict(ready, "unknown", detail="the process ended while the message was under way")


def after_failure(ready: Ready, error: Exception, *, fixed_retries: bool) -> Settle:
    """What follows from what the adapter raised. `fixed_retries`: the same wait before each try, not a doubled one."""
    detail = f"{type(error).__name__}: {getattr(error, 'detail', '')}".rstrip(": ")
    if isinstance(error, Permanent):
        return verdict(ready, "dead", detail=detail)
    if isinstance(error, Transient):
        return _retry(ready, detail, error.retry_after, fixed=fixed_retries)
    capabilities = ready.connection.adapter.capabilities
    once_more = ready.connection.on_unknown == "resend_once" and ready.attempts < _RESENT_ATTEMPTS
    if capabilities.idempotency != "none" or once_more:
        return _retry(ready, detail or "no answer", None, fixed=fixed_retries)
    return verdict(ready, "unknown", detail=detail or "no answer")


def _retry(ready: Ready, detail: str, retry_after: float | None, *, fixed: bool) -> Settle:
    base = _FIXED_RETRY if fixed else min(_FIRST_RETRY * 2 ** (ready.attempts - 1), _LONGEST_RETRY)
    wait = max(base * random.uniform(0.8, 1.2), retry_after or 0.0)  # noqa: S311 (jitter, not a secret)
    left = (ready.expires_at - datetime.now(UTC)).total_seconds()
    if wait >= left:
        return verdict(ready, "dead", detail=f"{detail}; the delivery window is over")
    return Settle(
        delivery_id=ready.delivery_id, session_id=ready.session_id, status="retry", detail=detail, retry_after=wait
    )
