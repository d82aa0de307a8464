"""Who the terminal was last time: a visitor's token and conversation, kept under a name of the person's choice."""

import os
import re
from pathlib import Path

import orjson

from hub.cli.output import CommandFailed
from hub.cli.talk import Talk

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


class Remembered:
    """A file in the data folder, readable by its owner alone: the token in it is as good as the visitor."""

    def __init__(self, folder: Path, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise CommandFailed("--as: a name of letters, digits, dots, dashes")
        self._file = folder / "visitors" / f"{name}.json"

    def bring(self, talk: Talk) -> bool:
        """Go on as who one was; False for somebody new, or where the visitor belongs to another chat."""
        try:
            held = orjson.loads(self._file.read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return False
        if held.get("chat") != _chat(talk):
            return False
        talk.token, talk.session = held["token"], held["session"]
        return True

    def keep(self, talk: Talk) -> None:
        """Remember who one is now."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._file.with_suffix(".part")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(orjson.dumps({"chat": _chat(talk), "token": talk.token, "session": talk.session}))
        draft.replace(self._file)


def _chat(talk: Talk) -> str:
    """The chat's public id: a hub may serve at another address the next time."""
    return talk.address.rpartition("/")[2]
