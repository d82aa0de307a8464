"""`hub up`: from a data folder to a hub that serves, and back down in order."""

import asyncio
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec

import structlog

from hub.cli.celery_line import celery_line
from hub.cli.children import Child, Children
from hub.cli.output import CommandFailed, Output
from hub.cli.terminal import pad
from hub.cli.words import _
from hub.embedded import Servers
from hub.env import Env, child_environment

log = structlog.get_logger(__name__)

BACKLOG = 4096
_ANSWER_SECONDS = 60.0


def open_port(env: Env) -> socket.socket:
    """Listen on the hub's address before anything starts; raises CommandFailed naming an address that is taken."""
    family = socket.AF_INET6 if ":" in env.bind else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((env.bind, env.port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise CommandFailed(
                "port {port} on {address} is in use by another program: stop it, or choose one with PORT=8001",
                port=env.port,
                address=env.bind,
            ) from error
        raise CommandFailed(
            "cannot listen on {address}:{port}: {reason}", address=env.bind, port=env.port, reason=error.strerror
        ) from error
    listener.listen(BACKLOG)
    listener.set_inheritable(True)
    return listener


class Supervisor:
    """Everything `hub up` runs."""

    def __init__(self, env: Env, *, output: Output) -> None:
        self._env = env
        self._output = output
        self._children = Children()
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Start everything, serve until asked to stop, stop everything."""
        serves = self._env.role in {"all", "gateway", "runner"}
        listener = open_port(self._env) if serves else None
        port = listener.getsockname()[1] if listener else self._env.port
        env = self._env.model_copy(update={"port": port})
        self._listen_to_signals()
        async with self._servers(env):
            try:
                shown = await self._serve(env, listener)
                if listener is not None:
                    await self._first_answer(env)
                    self._greet(env, shown)
                # People first: these would take the processors while the web process starts.
                for child in self._background(env) if not self._stop.is_set() else ():
                    await self._children.start(child)
                await self._stop.wait()
            finally:
                self._output.progress(_("stopping; press Ctrl-C again to skip waiting for open streams"))
                if listener is not None:
                    listener.close()
                await self._children.stop()

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self._asked_to_stop)

    def _asked_to_stop(self) -> None:
        if self._stop.is_set():
            self._children.hurry()
        self._stop.set()

    @asynccontextmanager
    async def _servers(self, env: Env) -> AsyncIterator[None]:
        """The embedded servers that this hub needs, watched while the block runs."""
        if not (env.embedded_postgres or env.embedded_valkey):
            yield
            return
        servers = Servers(env.layout)
        await asyncio.to_thread(servers.start, with_postgres=env.embedded_postgres, with_valkey=env.embedded_valkey)
        env.layout.address_file.write_text(env.site_url)
        if env.embedded_postgres:
            env.master_key_bytes()
        watcher = asyncio.create_task(servers.supervise(), name="supervise-servers")
        try:
            yield
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
            await asyncio.to_thread(servers.stop)

    async def _prepare(self, port: int) -> dict[str, object]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "hub.cli.prepare",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(PORT=str(port)),
            start_new_session=True,
        )
        out, err = await process.communicate()
        if process.returncode != 0:
            sys.stderr.write(err.decode(errors="replace"))
            raise CommandFailed("the database could not be prepared, see above")
        shown: dict[str, object] = json.loads(out.decode().splitlines()[-1])
        return shown

    async def _serve(self, env: Env, listener: socket.socket | None) -> dict[str, object]:
        """Make the database ready, and start who serves: it loads meanwhile and then begins."""
        if listener is None:
            return await self._prepare(env.port)
        waits, opens = os.pipe()
        descriptors = (listener.fileno(), waits)
        web = Child(
            "web",
            "hub.cli.web",
            list(map(str, descriptors)),
            patience=env.drain + 5,
            environment=child_environment(PORT=str(env.port)),
            pass_fds=descriptors,
        )
        await self._children.start(web)
        shown = await self._prepare(env.port)
        os.close(opens)  # also for each web process that is started again later: it finds the gate open
        return shown

    def _background(self, env: Env) -> list[Child]:
        """The other children of this role, in the order in which they are stopped."""
        if find_spec("hub.celery") is None:
            return []
        environment = child_environment(PORT=str(env.port))
        return [
            Child(role, "celery", ["--quiet", "--app=hub.celery", *celery_line(role, env)], environment=environment)
            for role in ("worker", "beat")
            if env.role in {"all", role}
        ]

    async def _first_answer(self, env: Env) -> None:
        """Wait until the web process answers a request; its port is open from the first moment."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                while not self._stop.is_set() and not await _answers(env):  # noqa: ASYNC110 - asks a process
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise CommandFailed(
                "the web process gave no answer within {seconds:.0f} s: see its log above", seconds=_ANSWER_SECONDS
            ) from None

    def _greet(self, env: Env, shown: dict[str, object]) -> None:
        site = env.site_url
        values = {"address": site, "chat": f"{site}/", "admin": f"{site}/admin/", **shown}
        self._output.result(values, "\n".join(["", *_greeting(env, shown), ""]))
        sys.stdout.flush()


def _greeting(env: Env, shown: dict[str, object]) -> list[str]:
    """Where people go, and which model answers, as lines under each other."""
    chat, admin, model = (f"  {pad(word, 7)}" for word in (_("chat"), _("admin"), _("model")))
    lines = [f"{chat}{env.site_url}/", f"{admin}{env.site_url}/admin/"]
    if shown.get("password"):
        account = {"user": shown.get("user", "admin"), "password": shown["password"]}
        lines.append(pad("", 9) + _("sign in as {user} / {password}  (shown once)", **account))
    if env.llm_model:
        return [*lines, model + _("{model} at {url}", model=env.llm_model, url=env.llm_base_url)]
    none = _("none yet: answers are quoted from memory. To plug one in, stop and start with")
    example = "HUB_LLM_BASE_URL=https://… HUB_LLM_API_KEY=… HUB_LLM_MODEL=…"
    return [*lines, model + none, pad("", 9) + _("{example} (anything OpenAI-compatible)", example=example)]


async def _answers(env: Env) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(env.bind, env.bind)  # noqa: S104 - compared, not bound
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(host, env.port)
            try:
                writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return (await reader.readline()).startswith(b"HTTP/1.1 ")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
