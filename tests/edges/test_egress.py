"""What a tenant's URL may reach. No socket is ever opened to a tested address: connecting is a stub that notes it."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from yarl import URL

from agents.providers.wire import Target, WireFault
from channels_adapters.errors import ContentRefused, NotConnected, OutcomeUnknown, Permanent
from hub.egress import Egress, Keys, Policy, RedirectRefused, Refused, is_forbidden

FORBIDDEN = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1
172.31.255.255 192.0.0.8 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.1
203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16 :: ::1 ::ffff:127.0.0.1
::ffff:10.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1::1 3fff::1 fc00::1
fd00:ec2::254 fe80::1 fec0::1 ff02::1 ::7f00:1 5f00::1 2001:20::1
"""
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450:4001::200e"]

REFUSED_URLS = """
http://127.0.0.1/ http://127.0.0.1:8080/ http://localhost/ http://[::1]/ http://[::ffff:127.0.0.1]/ http://0/
http://0.0.0.0/ http://2130706433/ http://0x7f000001/ http://0177.0.0.1/ http://127.1/ http://127.0.1/
http://0x7f.1/ http://169.254.169.254/latest/meta-data/ http://[fd00:ec2::254]/ http://10.1.2.3/
http://192.168.0.1/admin http://user:pass@1.1.1.1/ http://1.1.1.1:22/ http://1.1.1.1:25/ https://1.1.1.1:993/
http://mixed.test/ http://inner.test/ http://nowhere.test/ http://[64:ff9b::7f00:1]/ http://[fe80::1]/
http://168.63.129.16/ http://127.0.0.1.nip.test/ http://100.100.100.200/ http://inner.test./
https://mixed.test:8443/
"""
NOT_ADDRESSES = [
    "file:///etc/passwd",
    "gopher://1.1.1.1/",
    "ftp://1.1.1.1/",
    "unix:///run/x",
    "//1.1.1.1/",
    "",
    "http://",
    "/x",
]

NAMES = {
    "public.test": ["1.1.1.1"],
    "mixed.test": ["1.1.1.1", "127.0.0.1"],
    "inner.test": ["10.0.0.7"],
    "localhost": ["127.0.0.1", "::1"],
    "127.0.0.1.nip.test": ["127.0.0.1"],
    "service.internal": ["10.0.0.7"],
}


async def find(host: str, port: int) -> list[str]:
    """The tests' names; old spellings of IPv4 are read as the system's resolver reads them."""
    known = NAMES.get(host.rstrip("."))
    if known is not None:
        return known
    try:
        return [socket.inet_ntoa(socket.inet_aton(host))]
    except OSError:
        raise OSError("no such name") from None


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Addresses for which a socket was about to be connected; none is."""
    noted: list[tuple[str, int]] = []

    async def start_connection(addr_infos: Any, *, socket_factory: Any, **_: Any) -> socket.socket:
        for info in addr_infos:
            socket_factory(info).close()
            noted.append(info[4][:2])
        raise OSError("the stub connects to nothing")

    async def sock_connect(_: Any, __: Any, address: tuple[str, int]) -> None:
        noted.append(address[:2])
        raise OSError("the stub connects to nothing")

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", start_connection)
    monkeypatch.setattr("asyncio.selector_events.BaseSelectorEventLoop.sock_connect", sock_connect)
    return noted


class Nothing:
    """A receiver of an answer that must not come."""

    finished = False

    def head(self, status: int, headers: Any) -> None:
        raise AssertionError("an answer came")

    data: Any = head


async def ask_model(egress: Egress, url: str) -> None:
    await egress.models.post(Target.of(URL(url), {}), b"{}", Nothing())


@pytest.mark.parametrize("address", FORBIDDEN.split())
def test_addresses_that_are_not_public(address: str) -> None:
    assert is_forbidden(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert not is_forbidden(ipaddress.ip_address(address))


@pytest.mark.parametrize("url", REFUSED_URLS.split())
async def test_bad_addresses_are_never_connected_to(url: str, opened: list[tuple[str, int]]) -> None:
    async with Egress(find=find) as egress:
        with pytest.raises((Permanent, NotConnected)):
            await egress.http.request("POST", url, json={})
        if "@" not in url:  # there the session sends them as credentials, to a public address
            with pytest.raises(aiohttp.ClientError):
                await egress.session.get(url)
        with pytest.raises((Refused, WireFault)):
            await ask_model(egress, url)
    assert opened == []


@pytest.mark.parametrize("url", NOT_ADDRESSES)
async def test_other_schemes_are_refused(url: str, opened: list[tuple[str, int]]) -> None:
    async with Egress(find=find) as egress:
        with pytest.raises(Permanent) as caught:
            await egress.http.request("GET", url)
    assert caught.value.code == "egress_refused"
    assert opened == []


@pytest.mark.parametrize("url", ["http://public.test/", "https://public.test:8443/x", "http://1.1.1.1/"])
async def test_public_addresses_are_connected_to_as_resolved(url: str, opened: list[tuple[str, int]]) -> None:
    async with Egress(find=find) as egress:
        with pytest.raises(NotConnected):
            await egress.http.request("GET", url)
        with pytest.raises(WireFault):
            await ask_model(egress, url)
    assert opened == [("1.1.1.1", URL(url).port)] * 2


async def test_a_bad_literal_is_refused_for_good(opened: list[tuple[str, int]]) -> None:
    async with Egress(find=find) as egress:
        for url in ("http://10.0.0.1/", "http://inner.test/"):
            with pytest.raises(Permanent) as caught:
                await egress.http.request("GET", url)
            assert caught.value.code == "egress_refused"


@pytest.mark.parametrize(
    ("allow", "url", "reached"),
    [
        (["10.0.0.0/8"], "http://inner.test/", True),
        (["10.0.0.0/8"], "http://10.9.9.9:8080/", True),
        (["10.0.0.0/8"], "http://192.168.0.1/", False),
        (["service.internal:8080"], "http://service.internal:8080/", True),
        (["service.internal:8080"], "http://service.internal:8081/", False),
        (["service.internal:8080"], "http://inner.test:8080/", False),
        (["10.0.0.7:25"], "http://10.0.0.7:25/", True),
        (["10.0.0.7:25"], "http://10.0.0.7:26/", False),
    ],
)
async def test_the_operators_exceptions(
    allow: list[str], url: str, reached: bool, opened: list[tuple[str, int]]
) -> None:
    async with Egress(allow=allow, find=find) as egress:
        with pytest.raises((NotConnected, Permanent)):
            await egress.http.request("GET", url)
        assert bool(opened) is reached
        opened.clear()
        with pytest.raises((Refused, WireFault)):
            await ask_model(egress, url)
        assert bool(opened) is reached


async def test_a_name_that_changes_its_mind_meets_the_sockets_own_check() -> None:
    policy = Policy()
    policy.check_answers("rebind.test", 80, ["1.1.1.1"])
    with pytest.raises(Refused):
        policy.check_address("127.0.0.1", 80)


# ---- against a server of our own, which the operator allows ----

Server = Callable[[web.Application], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Server]:
    runners: list[web.AppRunner] = []

    async def start(app: web.Application) -> str:
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


def allowing(*urls: str) -> Egress:
    return Egress(allow=[f"127.0.0.1:{URL(url).port}" for url in urls])


async def test_answers_come_back_whatever_their_status(serve: Server) -> None:
    seen: list[tuple[str, bytes]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.headers["content-type"].split(";")[0], await request.read()))
        return web.Response(status=429, headers={"Retry-After": "3"}, body=b"no")

    app = web.Application()
    app.router.add_post("/", handler)
    url = await serve(app)
    async with allowing(url) as egress:
        answer = await egress.http.request("POST", url, json={"a": 1})
        assert (answer.status, answer.headers["retry-after"], answer.body) == (429, "3", b"no")
        await egress.http.request("POST", url, form={"a": "b"})
        await egress.http.request("POST", url, form={"a": "b"}, files=[("f", "n.txt", "text/plain", b"x")])
    assert [kind for kind, _ in seen] == [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ]


async def test_redirects_are_checked_bounded_and_lose_credentials(serve: Server) -> None:
    seen: list[dict[str, str]] = []

    async def target(request: web.Request) -> web.Response:
        seen.append({name.lower(): value for name, value in request.headers.items()})
        return web.Response(text="there")

    other = web.Application()
    other.router.add_get("/", target)
    elsewhere = await serve(other)

    async def start(request: web.Request) -> web.Response:
        to = {"out": elsewhere, "in": "http://10.0.0.1/", "loop": "/loop", "file": "file:///etc/passwd"}
        return web.Response(status=302, headers={"Location": to[request.match_info["to"]]})

    app = web.Application()
    app.router.add_route("*", "/{to}", start)
    url = await serve(app)
    secret = {"Authorization": "Bearer s", "X-Api-Key": "s", "Accept": "text/plain"}
    async with allowing(url, elsewhere) as egress:
        answer = await egress.http.request("GET", f"{url}/out", headers=secret)
        assert answer.body == b"there"
        assert seen[0]["accept"] == "text/plain" and not {"authorization", "x-api-key"} & seen[0].keys()
        for path in ("in", "loop", "file"):
            with pytest.raises(Permanent):
                await egress.http.request("GET", f"{url}/{path}")
        assert (await egress.http.request("POST", f"{url}/out", json={})).status == 302
        with pytest.raises(RedirectRefused):
            await egress.session.get(f"{url}/out")
    assert len(seen) == 1


async def test_a_lost_answer_is_unknown_only_where_it_may_have_had_its_effect(serve: Server) -> None:
    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    app = web.Application()
    app.router.add_route("*", "/cut", cut)
    app.router.add_route("*", "/endless", endless)
    url = await serve(app)
    async with allowing(url) as egress:
        with pytest.raises(OutcomeUnknown):
            await egress.http.request("POST", f"{url}/cut", json={})
        with pytest.raises(NotConnected):
            await egress.http.request("GET", f"{url}/cut")
        with pytest.raises(ContentRefused):
            await egress.http.request("GET", f"{url}/endless", max_bytes=1 << 20)


async def test_no_proxy_of_the_environment_counts(serve: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=request.path)

    app = web.Application()
    app.router.add_get("/x", handler)
    url = await serve(app)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with allowing(url) as egress:
        assert (await egress.http.request("GET", f"{url}/x")).body == b"/x"


async def test_keys_are_fetched_once_for_many_and_not_for_every_forgery(serve: Server) -> None:
    asked = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response({"keys": [{"kid": str(asked)}]})

    app = web.Application()
    app.router.add_get("/jwks", handler)
    url = await serve(app) + "/jwks"
    now = 1000.0
    async with allowing(url) as egress:
        keys = Keys(egress.http, clock=lambda: now)
        assert keys.get(url) is None
        assert await keys.refresh()
        assert keys.get(url) == {"keys": [{"kid": "1"}]}
        assert await keys.refresh([url]) and asked == 1
        now += 31
        keys.forget_asked()
        keys.get(url)
        assert await keys.refresh() and asked == 2
        now += 3601
        assert keys.get(url) is None


# ---- models behind TLS ----


def certificate(folder: Path, name: str) -> ssl.SSLContext:
    """A server's context with a certificate for `name` that nobody has signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(secret + made.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


class Kept:
    finished = False
    body = b""

    def head(self, status: int, headers: Any) -> None:
        assert status == 200

    def data(self, data: bytes) -> None:
        self.body += data


async def test_a_models_certificate_is_checked_against_its_name(tmp_path: Path) -> None:
    context, asked = certificate(tmp_path, "model.test"), list[str]()
    context.sni_callback = lambda _, name, __: asked.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def here(_: str, __: int) -> list[str]:
        return ["127.0.0.1"]

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    allow = [f"{name}.test:{port}" for name in ("model", "other")]
    async with Egress(allow=allow, find=here) as egress:
        with pytest.raises(WireFault, match="CERTIFICATE_VERIFY_FAILED"):  # nobody we trust has signed it
            await ask_model(egress, f"https://model.test:{port}/v1")
        egress._tls = ssl.create_default_context(cafile=tmp_path / "server.pem")
        with pytest.raises(WireFault, match="CERTIFICATE_VERIFY_FAILED"):  # it is for another name
            await ask_model(egress, f"https://other.test:{port}/v1")
        said = Kept()
        await egress.models.post(Target.of(URL(f"https://model.test:{port}/v1"), {}), b"", said)
    assert said.body == b"ok"
    assert asked == ["model.test", "other.test", "model.test"]
    listening.close()
