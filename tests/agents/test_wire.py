"""The connections to model servers, against a server that says byte by byte what it is told to say."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from yarl import URL

from agents.providers.wire import Line, Target, Wire, WireFault
from tests.support.patience import PATIENCE
from tests.support.wire import dial, open_wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Said:
    """A receiver that keeps what it got. After `enough` it wants no more; `raises` comes at its first data."""

    enough: bytes = b"never"
    raises: Exception | None = None
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    reads: list[bytes] = field(default_factory=list)
    finished: bool = False

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        assert not self.status, "the head is told once"
        self.status, self.headers = status, dict(headers)

    def data(self, data: bytes) -> None:
        assert self.status and not self.finished
        self.reads.append(data)
        if self.raises is not None:
            raise self.raises
        self.finished = self.enough in self.body

    @property
    def body(self) -> bytes:
        return b"".join(self.reads)


class Scripted:
    """Answers each request with the next script, whatever connection it comes on.

    A script is pieces to write, each in a read of its own; None closes the connection, a number waits.
    """

    def __init__(self) -> None:
        self.scripts: list[Sequence[bytes | float | None]] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.closed = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                if not await self._play(writer, self.scripts.pop(0)):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.closed += 1
            writer.close()

    async def _play(self, writer: asyncio.StreamWriter, script: Sequence[bytes | float | None]) -> bool:
        for piece in script:
            if piece is None:
                return False
            if isinstance(piece, bytes):
                writer.write(piece)
                await writer.drain()
            await asyncio.sleep(0.005 if isinstance(piece, bytes) else piece)
        return True


@dataclass
class Pair:
    server: Scripted
    wire: Wire
    url: str

    async def ask(self, *script: bytes | float | None, said: Said | None = None, body: bytes = b"{}") -> Said:
        self.server.scripts.append(script)
        said = said or Said()
        await self.wire.post(Target.of(URL(self.url), {"X-A": "b"}), body, said)
        return said


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    server = Scripted()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with open_wire() as wire:
        yield Pair(server, wire, f"http://127.0.0.1:{port}/v1/chat/completions?a=b")
    listening.close()


async def _until(condition: object) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def test_a_request_and_its_answer(pair: Pair) -> None:
    said = await pair.ask(b"HTTP/1.1 429 Slow\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\nno", body=b'{"a":1}')
    assert (said.status, said.headers["retry-after"], said.body) == (429, "3", b"no")
    port = URL(pair.url).port
    head = f"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-A: b\r\nContent-Length: 7\r\n\r\n"
    assert pair.server.requests == [head.encode() + b'{"a":1}']


async def test_whatever_cuts_the_network_makes(pair: Pair) -> None:
    whole = CHUNKED + b"3\r\none\r\n4\r\n two\r\n0\r\nX-Trailer: t\r\n\r\n"
    said = await pair.ask(*(whole[n : n + 1] for n in range(len(whole))))
    assert said.body == b"one two"
    assert (await pair.ask(whole)).reads == [b"one two"], "what one read holds is handed on as one"
    assert pair.server.connections == 1


async def test_a_connection_is_kept_where_http_allows_it(pair: Pair) -> None:
    for _ in range(3):
        assert (await pair.ask(OK)).body == b"ok"
    assert pair.server.connections == 1
    await pair.ask(OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"))
    await pair.ask(OK)
    assert pair.server.connections == 2
    await asyncio.gather(*(pair.ask(0.05, OK) for _ in range(4)))
    assert pair.server.connections == 5


async def test_an_answer_that_ends_with_its_connection(pair: Pair) -> None:
    said = await pair.ask(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", b"data: x\n\n", None)
    assert said.body == b"data: x\n\n"


async def test_announcements_before_the_answer_are_skipped(pair: Pair) -> None:
    said = await pair.ask(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert (said.status, said.body, "link" in said.headers) == (200, b"ok", False)


async def test_a_kept_connection_that_was_closed_costs_an_unseen_second_try(pair: Pair) -> None:
    await pair.ask(OK)
    pair.server.scripts += [[None], [OK]]
    assert (await pair.ask(said=(said := Said()))) is said, "the first script closes without a word"
    assert said.body == b"ok"
    assert (pair.server.connections, len(pair.server.requests)) == (2, 3)
    pair.server.scripts.clear()
    with pytest.raises(WireFault) as fault:  # a new one that closes is a fault: who waits decides about trying again
        await pair.ask(None, said=Said())
    await _until(lambda: pair.server.connections == 3)
    assert not fault.value.begun


async def test_one_that_went_silently_is_not_taken(pair: Pair) -> None:
    await pair.ask(OK)
    pair.server.writers[0].close()
    await _until(lambda: not next(iter(pair.wire._idle.values()))[-1].usable)
    assert (await pair.ask(OK)).body == b"ok"
    assert len(pair.server.requests) == 2


@pytest.mark.parametrize(
    "script",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", None),
        (CHUNKED + b"5\r\nab", None),
        (b"SSH-2.0-OpenSSH_9\r\n",),
        (CHUNKED + b"zz\r\n",),
        (b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 900) for n in range(80)) + b"\r\n",),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",),
    ],
)
async def test_what_is_no_whole_answer_is_a_fault(pair: Pair, script: tuple[bytes | None, ...]) -> None:
    with pytest.raises(WireFault) as fault:
        await pair.ask(*script)
    assert fault.value.begun
    await _until(lambda: pair.server.closed == 1)
    assert not pair.wire._idle


async def test_a_receiver_that_raises_ends_the_connection(pair: Pair) -> None:
    with pytest.raises(LookupError, match="mine"):
        await pair.ask(CHUNKED, b"1\r\na\r\n", 30.0, said=Said(raises=LookupError("mine")))
    pair.server.writers[0].close()
    await _until(lambda: not pair.wire._open)


async def test_a_receiver_with_enough_does_not_wait_for_the_end(pair: Pair) -> None:
    said = await pair.ask(CHUNKED, b"4\r\nDONE\r\n", b"0\r\n\r\n", said=Said(enough=b"DONE"))
    assert said.body == b"DONE"
    await _until(lambda: pair.wire._idle)
    assert (await pair.ask(OK)).body == b"ok"
    assert pair.server.connections == 1, "its end came in time, so the connection is kept"
    await pair.ask(CHUNKED, b"4\r\nDONE\r\n", 30.0, said=Said(enough=b"DONE"))
    await _until(lambda: not pair.wire._open)


async def test_a_cancelled_request_closes_its_connection_at_once(pair: Pair) -> None:
    task = asyncio.create_task(pair.ask(CHUNKED, *[b"1\r\na\r\n"] * 10_000))
    await _until(lambda: pair.server.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _until(lambda: pair.server.closed == 1)
    assert not pair.wire._open


async def test_words_that_nobody_asked_for_end_a_kept_connection(pair: Pair) -> None:
    await pair.ask(OK, OK)
    await _until(lambda: pair.server.closed == 1)
    assert (await pair.ask(OK)).body == b"ok"


async def test_connections_are_bounded_and_old_ones_go(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.providers.wire.IDLE_SECONDS", 0.02)
    pair.wire._most = 2
    asking = [asyncio.create_task(pair.ask(0.2, OK)) for _ in range(3)]
    done = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(one) for one in done].count(WireFault) == 1
    await _until(lambda: not pair.wire._open)
    assert not pair.wire._idle


async def test_nothing_is_sent_where_nobody_may_go(pair: Pair) -> None:
    def check(url: URL) -> None:
        raise PermissionError(str(url.host))

    with pytest.raises(PermissionError):
        await Pair(pair.server, Wire(dial, check=check), pair.url).ask(OK)
    assert pair.server.connections == 0


async def test_a_closed_wire_opens_nothing(pair: Pair) -> None:
    await pair.ask(OK)
    await pair.wire.close()
    with pytest.raises(WireFault):
        await pair.ask(OK)
    assert (pair.server.connections, len(pair.wire._open)) == (1, 0)


async def test_nobody_listens() -> None:
    async with open_wire() as wire:
        with pytest.raises(WireFault) as fault:
            await wire.post(Target.of(URL("http://127.0.0.1:9/"), {}), b"", Said())
    assert not fault.value.begun


@pytest.mark.parametrize("url", ["ftp://a/", "/x", "", "http://"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|port|host"):
        Target.of(URL(url), {})


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\x00", "密码"])
def test_a_header_that_would_be_two_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"HTTP cannot carry|codec"):
        Target.of(URL("http://a/"), {"Authorization": value})


def test_hosts_are_named_as_http_wants_them() -> None:
    assert b"Host: a\r\n" in Target.of(URL("https://a:443/"), {}).head
    assert b"Host: [::1]:81\r\n" in Target.of(URL("http://[::1]:81/"), {}).head
    assert b"Host: xn--fsq.test\r\n" in Target.of(URL("http://例.test/"), {}).head


async def test_a_line_alone_holds_nothing() -> None:
    line = Line(lambda _: None, lambda _: None)
    line.abort()
    assert not line.usable


async def test_what_comes_faster_than_anybody_sees_is_read_together(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.providers.wire.GATHER_SECONDS", 0.25)  # a busy machine delays no piece by so much
    pieces = [b"4\r\n%04d\r\n" % number for number in range(100)]
    said = await pair.ask(CHUNKED, *pieces, b"0\r\n\r\n")  # a piece every five milliseconds
    assert said.body == b"".join(b"%04d" % number for number in range(100))
    assert len(said.reads) < 60
    again = await pair.ask(OK)
    assert (again.body, pair.server.connections) == (b"ok", 1)


async def test_a_caller_that_leaves_while_an_answer_gathers_closes_it(pair: Pair) -> None:
    piece = b"4\r\nword\r\n"
    pair.server.scripts.append([CHUNKED, *[piece] * 2000])
    said = Said()
    asking = asyncio.create_task(pair.wire.post(Target.of(URL(pair.url), {}), b"{}", said))
    await _until(lambda: len(said.body) > 100)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await _until(lambda: pair.server.closed)
    read = len(said.body)
    await asyncio.sleep(0.05)  # as long as a read that was put off would take to come
    assert len(said.body) == read


async def test_an_answer_that_breaks_off_while_it_gathers_is_told_so(pair: Pair) -> None:
    said = Said()
    with pytest.raises(WireFault) as caught:
        await pair.ask(CHUNKED, *[b"4\r\nword\r\n"] * 40, None, said=said)
    assert caught.value.begun
    assert said.body == b"word" * 40
