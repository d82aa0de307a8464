"""Named places where a test may end the process as a power cut would: nothing is flushed, nobody is told.

`HUB_CRASH_AT=<name>:<n>` ends the process at the nth passage. Without it a passage costs one comparison.
"""

import os

POINTS = (
    "accept.before_commit",
    "accept.after_commit",
    "webhook.before_answer",
    "claim.after_commit",
    "inline.before_settle",
    "turn.before_run",
    "turn.first_delta",
    "round.before_keep",
    "round.kept",
    "turn.before_commit",
    "commit.after",
    "send.before",
    "send.after",
    "settle.after",
    "live.after_open",
    "live.after_send",
    "checkpoint.after",
    "after_commit.before_cache",
    "renew.before",
)
"""Every place, so that the fault suite can visit them all."""

_armed: tuple[str, int] | None = None
_passed = 0


def arm(setting: str | None) -> None:
    """Arm the place named by `name:n`; None disarms. Raises ValueError for a name that is not in POINTS."""
    global _armed, _passed
    _passed = 0
    if setting is None:
        _armed = None
        return
    name, _, count = setting.partition(":")
    if name not in POINTS:
        raise ValueError(f"no crash point is called {name!r}; there are: {', '.join(POINTS)}")
    _armed = (name, int(count))


def point(name: str) -> None:
    """Pass a named place."""
    global _passed
    if _armed is None or _armed[0] != name:
        return
    _passed += 1
    if _passed >= _armed[1]:
        os._exit(137)
