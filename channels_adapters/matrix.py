"""Writes `docs/channels/matrix.md` from what the adapters say they can do.

python -m channels_adapters.matrix            # print it
python -m channels_adapters.matrix PATH       # write it
"""

import sys
from collections.abc import Callable
from pathlib import Path

from channels_adapters.registry import AdapterType, adapters
from channels_adapters.types import Capabilities

UNITS = {"chars": "characters", "utf8_bytes": "bytes", "utf16": "UTF-16 units"}
STREAMS = {
    "none": "–",
    "edit": "by edits",
    "append": "native, appended",
    "replace": "native, replaced",
    "draft": "draft, then message",
}
IN, OUT = "Messages in and out", "Delivery"
COLUMNS: dict[str, dict[str, Callable[[Capabilities], str]]] = {
    IN: {
        "text limit": lambda able: f"{able.text_limit:,} {UNITS[able.length_unit]}".replace(",", " "),
        "markup": lambda able: able.markup,
        "images": lambda able: _tick(able.images),
        "files": lambda able: _tick(able.files),
        "buttons": lambda able: str(able.buttons or "as text"),
        "threads": lambda able: _tick(able.threads),
        "typing": lambda able: _tick(able.typing),
        "streaming": lambda able: STREAMS[able.stream],
        "receipts": lambda able: _tick(able.receipts),
    },
    OUT: {
        "other side": lambda able: "program" if able.machine else "person",
        "delivered by": lambda able: "the client fetches" if able.pull else "we send",
        "a repeated send": lambda able: "is recognised" if able.idempotency != "none" else "shows twice",
        "unknown outcome": lambda able: "is looked up" if able.reconcile else _unknown(able),
        "answer in the response": lambda able: "–" if able.sync_reply == "none" else able.sync_reply,
        "sends per second": lambda able: f"{able.sends_per_second:g}",
        "in one conversation": lambda able: f"{able.sends_per_second_per_conversation:g}",
        "a reply is given up after": lambda able: f"{able.delivery_window / 60:g} min",
        "signature covers the body": lambda able: _tick(able.auth_covers_body),
    },
}


def matrix() -> str:
    """The whole page."""
    found = adapters().values()
    sections = [_section(title, columns, list(found)) for title, columns in COLUMNS.items()]
    origin = "Made by `python -m channels_adapters.matrix docs/channels/matrix.md`; do not edit."
    return "\n\n".join(["# What each channel can do", origin, *sections]) + "\n"


def _section(title: str, columns: dict[str, Callable[[Capabilities], str]], found: list[AdapterType]) -> str:
    rows = [["channel", *columns], ["---"] * (len(columns) + 1)]
    for kind in found:
        name = f"[{kind.name}]({kind.docs_url}) `{kind.slug}`"
        rows.append([name, *(read(kind.capabilities) for read in columns.values())])
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"## {title}\n\n{lines}"


def _tick(able: bool) -> str:  # noqa: FBT001 (the value shown)
    return "yes" if able else "–"


def _unknown(able: Capabilities) -> str:
    return "is sent again" if able.idempotency != "none" else "is flagged"


def main(arguments: list[str]) -> None:
    """Print the page, or write it to the one path given."""
    if arguments:
        Path(arguments[0]).write_text(matrix(), encoding="utf-8")
    else:
        sys.stdout.write(matrix())


if __name__ == "__main__":
    main(sys.argv[1:])
