"""`hub chat`: talk to an agent from the terminal, over the same socket as the chat page."""

import asyncio
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import click

from hub.cli import lookup
from hub.cli.output import CommandFailed, Output, with_output
from hub.embedded import folders
from hub.env import env

if TYPE_CHECKING:
    from hub.cli.talk import Talk

WORDS_OF_LEAVING = ("/quit", "/exit", "/bye")


@click.command()
@click.option("--once", metavar="TEXT", help="Say one thing, print the answer and end: for scripts.")
@click.option("--url", help="Where the hub is; this data folder's hub unless given.")
@click.option("--connection", "named", help="A web connection's public id; the tenant's first one unless given.")
@click.option("--tenant", "slug", default="demo", show_default=True)
@click.option("--wait", type=click.FloatRange(1, 3600), default=600.0, show_default=True, help="Seconds for an answer.")
@with_output
def command(output: Output, once: str | None, url: str | None, named: str | None, slug: str, wait: float) -> None:
    """Talk to an agent of a running hub. /quit ends it, Ctrl-C stops a running answer."""
    if output.as_json and once is None:
        raise CommandFailed("--json goes with --once TEXT")
    address = _socket_address(url or _running_hub(), named or _web_connection(slug))
    try:
        if once is None:
            _converse(address, wait=wait)
        else:
            _print(output, asyncio.run(_ask_once(address, once, wait=wait)))
    except TimeoutError:
        raise CommandFailed(f"no answer within {wait:g} s") from None


def _running_hub() -> str:
    """The address of the hub on this data folder, as `hub status` tells it."""
    found = env()
    if not found.embedded_postgres:
        return found.site_url
    held = folders.holder(found.layout)
    if held is None or held[1] != folders.HUB or not found.layout.address_file.exists():
        raise CommandFailed("the hub does not run here: start it with hub up, or give --url")
    return found.layout.address_file.read_text().strip()


def _web_connection(slug: str) -> str:
    with lookup.work("hub chat"):
        from hub.models import Connection
        from tenants.context import tenant_scope

        with tenant_scope(lookup.tenant(slug).id):
            found = Connection.objects.filter(channel="web", status="active").order_by("id").first()
    if found is None:
        raise CommandFailed(f"tenant {slug!r} has no web connection: hub connection create web --tenant {slug}")
    return str(found.public_id)


def _socket_address(base: str, public_id: str) -> str:
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise CommandFailed("--url: an address such as http://127.0.0.1:8000")
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/ws/chat/{public_id}", "", ""))


async def _ask_once(address: str, text: str, *, wait: float) -> dict[str, Any]:
    from hub.cli.talk import talk

    async with asyncio.timeout(wait), talk(address) as open_talk:
        answer = await open_talk.ask(text, lambda _kind, _frame: None)
        return {**answer, "session": open_talk.session}


def _print(output: Output, answer: dict[str, Any]) -> None:
    output.result(answer, str(answer["text"]))


def _converse(address: str, *, wait: float) -> None:
    """Ask in turns. Reading a line blocks, so it happens between runs of the loop; the socket can wait or be remade."""
    from hub.cli.talk import Talk

    open_talk = Talk(address)
    with asyncio.Runner() as runner:
        runner.run(_enter(open_talk))
        click.secho("you are connected; Ctrl-C stops an answer, /quit ends the conversation", dim=True)
        try:
            while (text := _line()) not in WORDS_OF_LEAVING:
                if text:
                    runner.run(_one_answer(open_talk, text, wait=wait))
        finally:
            runner.run(open_talk.__aexit__(None, None, None))


async def _enter(open_talk: "Talk") -> None:
    await open_talk.__aenter__()


def _line() -> str:
    try:
        return input(click.style("you   ", fg="cyan")).strip()
    except (EOFError, KeyboardInterrupt):
        click.echo()
        return WORDS_OF_LEAVING[0]


async def _one_answer(open_talk: "Talk", text: str, *, wait: float) -> None:
    screen = _Screen()
    asked = asyncio.create_task(open_talk.ask(text, screen.show))
    try:
        async with asyncio.timeout(wait):
            answer = await asyncio.shield(asked)
    except asyncio.CancelledError:
        # Ctrl-C while the agent speaks: it stops, and what it said so far is its answer.
        current = asyncio.current_task()
        if current is not None:
            current.uncancel()
        await open_talk.stop()
        answer = await asked
    except TimeoutError:
        asked.cancel()
        raise
    screen.end(answer)


class _Screen:
    """Shows an answer while it is written."""

    def __init__(self) -> None:
        self._shown = ""
        self._begun = False

    def show(self, kind: str, frame: dict[str, Any]) -> None:
        """One frame on the way to the answer."""
        if kind == "delta":
            self._write(frame["text"])
        elif kind == "gap":
            self._again("")
            self._write(frame["text"])
        elif kind in ("restart", "reset"):
            self._again("starting again")
        elif kind == "lost":
            self._again("the connection was lost, trying again")

    def end(self, answer: dict[str, Any]) -> None:
        """The stored answer decides: what was not shown yet is shown now."""
        text = str(answer["text"])
        if not text.startswith(self._shown):
            self._again("")
        self._write(text[len(self._shown) :])
        sys.stdout.write("\n")
        for choice in answer.get("quick_replies", ()):
            click.secho(f"        › {choice}", dim=True)
        if answer.get("finish") == "stopped":
            click.secho("        (stopped)", dim=True)

    def _write(self, text: str) -> None:
        if not self._begun:
            sys.stdout.write(click.style("agent ", fg="green"))
            self._begun = True
        sys.stdout.write(text)
        sys.stdout.flush()
        self._shown += text

    def _again(self, why: str) -> None:
        if self._shown:
            sys.stdout.write("\n")
        if why:
            click.secho(f"        ({why})", dim=True)
        self._shown, self._begun = "", False
