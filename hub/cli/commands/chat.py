"""`hub chat`: talk to an agent from the terminal, over the same socket as the chat page."""

import asyncio
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import click

from hub.cli import arguments, lookup
from hub.cli.helping import Command, examples
from hub.cli.output import CommandFailed, Output, Unreachable, with_output
from hub.cli.terminal import columns, dim, fields, pad, safe
from hub.cli.words import Phrase, _, told

if TYPE_CHECKING:
    from hub.cli.talk import Talk
    from hub.cli.visitors import Remembered

LEAVING = ("/quit", "/exit", "/bye")
_COMMANDS = {
    "/new": Phrase("a new conversation, as somebody new"),
    "/history": Phrase("what was said here"),
    "/help": Phrase("this"),
    "/quit": Phrase("leave (also Ctrl-D)"),
}
_KEYS = (
    Phrase("Ctrl-C while the agent speaks: it stops, what it said stays."),
    Phrase("A line that ends in \\ goes on in the next."),
)


@click.command(
    cls=Command,
    epilog=examples(
        "hub chat",
        ("hub chat --as ann", "go on as ann where you were"),
        "hub chat --once 'What is my order?' --json | jq -r .text",
        "hub chat --url https://hub.example.org --connection Ab3dE6gH…",
    ),
)
@click.option("--once", metavar="TEXT", help="Say one thing, print the answer and end: for scripts.")
@click.option("--as", "name", help="Be the visitor of this NAME: the same conversation, the same memory.")
@click.option("--url", help="Where the hub is; this data folder's hub unless given.")
@click.option("--connection", "named", help="A web connection's public id; the tenant's first one unless given.")
@click.option(
    "--tenant", "slug", default="demo", show_default=True, shell_complete=arguments.tenants, help="Whose chat."
)
@click.option("--wait", type=click.FloatRange(1, 3600), default=600.0, show_default=True, help="Seconds for an answer.")
@with_output
def command(
    output: Output, once: str | None, name: str | None, url: str | None, named: str | None, **given: Any
) -> None:
    """Talk to an agent of a running hub; answers appear while they are written.

    /help in the chat lists what else there is. A lost connection is made again, and nothing is lost or doubled.
    """
    from hub.cli.talk import Talk
    from hub.cli.visitors import Remembered
    from hub.env import env

    if output.as_json and once is None:
        raise CommandFailed("--json goes with --once TEXT")
    talk = Talk(_socket_address(url or _running_hub(), named or _web_connection(given["slug"])))
    kept = Remembered(env().layout.root, name) if name else None
    known = kept.bring(talk) if kept else False
    try:
        if once is None:
            _Conversation(talk, kept=kept, wait=given["wait"]).run(known=known)
        else:
            answer = asyncio.run(_ask_once(talk, once, wait=given["wait"], kept=kept))
            output.result(answer, str(answer["text"]))
    except TimeoutError:
        raise CommandFailed("no answer within {seconds:g} s", seconds=given["wait"]) from None


def _running_hub() -> str:
    """The address of the hub on this data folder, as `hub status` tells it."""
    from hub.embedded import folders
    from hub.env import env

    found = env()
    if not found.embedded_postgres:
        return found.site_url
    held = folders.holder(found.layout)
    if held is None or held[1] != folders.HUB or not found.layout.address_file.exists():
        raise Unreachable("the hub does not run here: start it with hub up, or give --url")
    return found.layout.address_file.read_text().strip()


def _web_connection(slug: str) -> str:
    with lookup.work("hub chat"):
        from hub.models import Connection
        from tenants.context import tenant_scope

        with tenant_scope(lookup.tenant(slug).id):
            found = Connection.objects.filter(channel="web", status="active").order_by("id").first()
    if found is None:
        raise CommandFailed(
            "tenant {slug!r} has no web connection: hub connection create web --tenant {slug}", slug=slug
        )
    return str(found.public_id)


def _socket_address(base: str, public_id: str) -> str:
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise CommandFailed("--url: an address such as http://127.0.0.1:8000")
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/ws/chat/{public_id}", "", ""))


async def _ask_once(talk: "Talk", text: str, *, wait: float, kept: "Remembered | None") -> dict[str, Any]:
    async with asyncio.timeout(wait), talk as open_talk:
        answer = await open_talk.ask(text, lambda _kind, _frame: None)
        if kept is not None:
            kept.keep(open_talk)
        return {**answer, "session": open_talk.session}


class _Conversation:
    """Asks in turns. Reading a line blocks, so it happens between runs of the loop; the socket waits or is remade."""

    def __init__(self, talk: "Talk", *, kept: "Remembered | None", wait: float) -> None:
        self._talk, self._kept, self._wait = talk, kept, wait
        self._said: list[tuple[str, str]] = []
        context = click.get_current_context(silent=True)
        self._styled = sys.stdout.isatty() and not (context is not None and context.color is False)

    def run(self, *, known: bool) -> None:
        """Until the person leaves."""
        if sys.stdin.isatty():
            _edit_lines()
        with asyncio.Runner() as runner:
            runner.run(self._enter())
            try:
                self._greet(runner.run(self._talk.backlog()) if known else [])
                while (text := self._line()) not in LEAVING:
                    runner.run(self._react(text))
            finally:
                runner.run(self._leave())

    async def _enter(self) -> None:
        await self._talk.__aenter__()

    async def _leave(self) -> None:
        if self._kept is not None and self._talk.token:
            self._kept.keep(self._talk)
        await self._talk.__aexit__(None, None, None)

    def _greet(self, messages: list[dict[str, Any]]) -> None:
        self._said = [(str(one["role"]), str(one["text"])) for one in messages]
        self._history(self._said[-6:])
        self._aside(_("you are connected; /help lists what there is, Ctrl-C stops an answer, /quit ends"))

    async def _react(self, text: str) -> None:
        if text == "/help":
            click.echo(_help())
        elif text == "/history":
            self._history(self._said)
        elif text == "/new":
            await self._talk.anew()
            self._said.clear()
            self._aside(_("a new conversation; nobody knows you here"))
        elif text:
            await self._ask(text)

    async def _ask(self, text: str) -> None:
        from hub.cli.screen import Screen

        screen = Screen(styled=self._styled)
        asked = asyncio.create_task(self._talk.ask(text, screen.show))
        try:
            async with asyncio.timeout(self._wait):
                answer = await asyncio.shield(asked)
        except asyncio.CancelledError:
            # Ctrl-C while the agent speaks: it stops, and what it said so far is its answer.
            current = asyncio.current_task()
            if current is not None:
                current.uncancel()
            await self._talk.stop()
            answer = await asked
        except TimeoutError:
            asked.cancel()
            raise
        screen.end(answer)
        self._said += [("user", text), ("assistant", str(answer["text"]))]

    def _line(self) -> str:
        """A line, or several where each but the last ends in a backslash."""
        from hub.cli.screen import speaker

        name = speaker("user")
        prompt, lines = self._prompt(name), list[str]()
        try:
            while (line := input(prompt)).endswith("\\"):
                lines.append(line[:-1])
                prompt = self._prompt(pad("  …", columns(name)))
        except (EOFError, KeyboardInterrupt):
            click.echo()
            return LEAVING[0]
        return "\n".join([*lines, line]).strip()

    def _prompt(self, text: str) -> str:
        """Coloured on a terminal; the marks tell the line editor that colours take no room."""
        if not self._styled:
            return text
        before, after = click.style("\0", fg="cyan", bold=True).split("\0")
        return f"\x01{before}\x02{text}\x01{after}\x02" if sys.stdin.isatty() else f"{before}{text}{after}"

    def _history(self, said: list[tuple[str, str]]) -> None:
        from hub.cli.screen import speaker

        for role, text in said:
            self._aside(f"{speaker(role)}{safe(text)}")

    def _aside(self, text: str) -> None:
        click.echo(dim(text) if self._styled else text)


def _help() -> str:
    return "\n".join([*fields(_COMMANDS), *(f"  {told(line)}" for line in _KEYS)])


def _edit_lines() -> None:
    """Give input() line editing and history.

    Where the system does not have the person's locale, the editor would take the bytes of a character for commands.
    """
    import locale

    if locale.setlocale(locale.LC_CTYPE) in ("C", "POSIX"):
        try:
            locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
        except locale.Error:  # a system without it: characters beyond ASCII cannot be edited there
            return
    import readline  # noqa: F401 - its import is all
