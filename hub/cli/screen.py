"""What a conversation looks like in a terminal: the answer as it is written, and what goes on before it."""

import sys
from typing import Any

import click

from hub.cli.prose import Prose
from hub.cli.terminal import columns, cut, dim, pad, safe
from hub.cli.words import Phrase, _, told

_STATES = {
    "thinking": Phrase("thinking"),
    "recalling": Phrase("looking into memory"),
    "tool": Phrase("using"),
}
_WORKING = Phrase("working")


def speaker(role: str) -> str:
    """Who speaks, in a column of its own."""
    names = [_("agent"), _("you")]
    return pad(names[role != "assistant"], max(map(columns, names)) + 1)


class Screen:
    """Shows one answer. `styled` is whether a terminal sees it and may have colours; otherwise plain text only."""

    def __init__(self, *, styled: bool) -> None:
        self._styled = styled
        self._name = speaker("assistant")
        self._prose = Prose(styled=styled, indent=columns(self._name))
        self._shown = ""
        self._begun = False
        self._aside = False

    def show(self, kind: str, frame: dict[str, Any]) -> None:
        """One frame on the way to the answer."""
        if kind == "delta":
            self._write(frame["text"])
        elif kind == "gap":
            self._again("")
            self._write(frame["text"])
        elif kind in ("restart", "reset"):
            self._again(_("starting again"))
        elif kind == "lost":
            self._again(_("the connection was lost, trying again"))
        elif kind == "status" and not self._begun:
            self._tell_aside(frame)

    def end(self, answer: dict[str, Any]) -> None:
        """The stored answer decides: what was not shown yet is shown now."""
        text = str(answer["text"])
        if not text.startswith(self._shown):
            self._again("")
        self._write(text[len(self._shown) :])
        sys.stdout.write(f"{self._prose.end()}\n")
        for choice in answer.get("quick_replies", ()):
            self._note(f"› {safe(str(choice))}")
        for one in answer.get("attachments", ()):
            named = (safe(str(one.get("name") or "")), safe(str(one.get("url") or "")))
            self._note(_("file: {name} {url}", name=named[0], url=named[1]))
        if answer.get("finish") == "stopped":
            self._note(_("(stopped; what was said so far stays)"))
        sys.stdout.flush()

    def _write(self, text: str) -> None:
        self._clear_aside()
        if not self._begun:
            sys.stdout.write(click.style(self._name, fg="green", bold=True) if self._styled else self._name)
            self._begun = True
        sys.stdout.write(self._prose.feed(text))
        sys.stdout.flush()
        self._shown += text

    def _tell_aside(self, frame: dict[str, Any]) -> None:
        """What goes on, on a line that goes away when the answer begins."""
        if not self._styled:
            return
        detail = frame.get("label") or frame.get("detail") or ""
        state = told(_STATES.get(str(frame.get("state")), _WORKING))
        self._clear_aside()
        sys.stdout.write(dim(f"{'':{columns(self._name)}}{cut(f'{state} {safe(str(detail))}'.strip(), 60)} …"))
        sys.stdout.flush()
        self._aside = True

    def _clear_aside(self) -> None:
        if self._aside:
            sys.stdout.write("\r\x1b[K")
            self._aside = False

    def _again(self, why: str) -> None:
        self._clear_aside()
        if self._shown:
            sys.stdout.write("\n")
        if why:
            self._note(f"({why})")
        self._shown, self._begun = "", False
        self._prose = Prose(styled=self._styled, indent=columns(self._name))

    def _note(self, text: str) -> None:
        sys.stdout.write(f"{'':{columns(self._name)}}{dim(text) if self._styled else text}\n")
        sys.stdout.flush()
