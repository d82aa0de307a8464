"""What `hub doctor` says of one thing that it looked at."""

from dataclasses import dataclass
from typing import Literal

from hub.cli.words import Words

Level = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, by an English name. A note has a remedy too, but nothing is broken."""

    name: str
    detail: Words
    remedy: Words = ""
    """What to do; empty when all is well."""
    level: Level = "ok"

    @property
    def good(self) -> bool:
        """Whether nothing is broken."""
        return self.level != "bad"


def bad(name: str, detail: Words, remedy: Words) -> Finding:
    """Something is broken."""
    return Finding(name, detail, remedy, "bad")


def note(name: str, detail: Words, remedy: Words) -> Finding:
    """Something that works, and that somebody should look at."""
    return Finding(name, detail, remedy, "note")
