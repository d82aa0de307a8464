"""Signed identity: tokens of another implementation, every way of being wrong, and what becomes of what was said."""

import base64
import time
from typing import Any

import aiohttp
import jwt
import orjson
import pytest
from websockets.exceptions import ConnectionClosed

from hub.edges.guard import Refused
from hub.edges.identity import verify
from tests.edges.conftest import ROOT, Gateway, House
from tests.edges.test_chat import opened
from tests.edges.test_rich_chat import said

SECRET = "0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000


def token(secret: str = SECRET, *, algorithm: str = "HS256", headers: Any = None, **claims: Any) -> str:
    given = {"sub": "u1", "aud": "chat", "exp": NOW + 60, **claims}
    return jwt.encode({k: v for k, v in given.items() if v is not None}, secret, algorithm=algorithm, headers=headers)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"aud": ["x", "chat"]},
        {"name": "Ada", "iat": NOW},
        {"nbf": NOW + 59},
        {"exp": NOW - 59},
        {"exp": NOW + 86_400.5},
        {"sub": "ü" * 64},
    ],
)
def test_a_genuine_token_is_accepted(claims: dict[str, Any]) -> None:
    found = verify(token(**claims), secret=SECRET, audience="chat", now=NOW)
    assert (found.subject, found.name) == (claims.get("sub", "u1"), claims.get("name", ""))


def test_the_document_shows_how_to_make_one() -> None:
    page = (ROOT / "docs" / "channels" / "web.md").read_text()
    shown: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], shown)
    found = verify(shown["identity_token"](SECRET, "chat", "ada", "Ada"), secret=SECRET, audience="chat")
    assert (found.subject, found.name) == ("ada", "Ada")


BAD: list[tuple[str, str]] = [
    ("", "no signed token"),
    ("a.b", "no signed token"),
    ("x" * 9000, "no signed token"),
    ("é.b.c", "no signed token"),
    (token("another secret of at least 32 char"), "signature"),
    (token("x" * 64, algorithm="HS512"), "HS256"),
    (token(headers={"crit": ["exp"]}), "HS256"),
    (jwt.encode({"sub": "u1", "aud": "chat", "exp": NOW + 60}, "", algorithm="none"), "HS256"),
    (token() + "AA", "no signed token"),
    (f"{token()[:-4]}AAAA", "signature"),
    (token(aud="other"), "another chat"),
    (token(aud=None), "another chat"),
    (token(exp=None), "exp is required"),
    (token(exp=NOW + 86_500), "24 hours"),
    (token(nbf=NOW + 61), "not valid yet"),
    (token(sub=None), "sub must"),
    (token(sub=" "), "sub must"),
    (token(sub="x" * 129), "sub must"),
]


@pytest.mark.parametrize(("given", "why"), BAD)
def test_anything_else_is_refused(given: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as caught:
        verify(given, secret=SECRET, audience="chat", now=NOW)
    assert caught.value.code == "bad_identity"


def test_one_that_is_over_says_so_and_without_a_secret_nobody_is_known() -> None:
    for given, secret, code in ((token(exp=NOW - 60), SECRET, "identity_expired"), (token(), "", "identity_off")):
        with pytest.raises(Refused) as caught:
            verify(given, secret=secret, audience="chat", now=NOW)
        assert caught.value.code == code


def test_claims_that_are_no_object() -> None:
    head, body = (base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', b"[]"))
    import hashlib
    import hmac

    mark = hmac.digest(SECRET.encode(), f"{head}.{body}".encode(), hashlib.sha256)
    with pytest.raises(Refused, match="no signed token"):
        verify(
            f"{head}.{body}.{base64.urlsafe_b64encode(mark).decode().rstrip('=')}",
            secret=SECRET,
            audience="chat",
            now=NOW,
        )


def pass_for(public_id: str, subject: str, **claims: Any) -> str:
    return token(sub=subject, aud=public_id, exp=int(time.time()) + 60, **claims)


async def test_a_conversation_follows_its_user_over_devices(gateway: Gateway, house: House) -> None:
    public_id = house.connect("web", identity_secret=SECRET)
    async with opened(gateway, public_id) as phone:
        await said(phone, "a", "My tortoise is called Leopold. [[echo]]")
        session = phone.session
        await phone.tell("identify", token=pass_for(public_id, "ada@shop", name="Ada"))
        answer = await phone.until("identified")
        assert (answer["joined"], answer["session"]) == (True, session)
        await said(phone, "b", "and I am Ada [[echo]]")
        assert phone.session == session
    async with opened(gateway, public_id) as desk:  # another device, where something was said before
        await desk.until("welcome")
        await said(desk, "a", "My cat is called Mimi. [[echo]]")
        anonymous, before = desk.session, desk.token
        await desk.tell("identify", token=pass_for(public_id, "ada@shop"))
        answer = await desk.until("identified")
        assert (answer["joined"], answer["session"]) == (False, session)
        assert (await desk.until("session"))["session"] == session != anonymous
        await desk.until("message", seq=4)
        _, reply = await said(desk, "c", "Do you remember what my cat is called? [[normal chunks=2]]")
        sources = reply["citations"]
        assert [entry["id"] for entry in sources] == [str(n + 1) for n in range(len(sources))]
        assert any("Mimi" in entry["text"] and entry["kind"] == "memory" and entry["title"] for entry in sources)
        current = desk.token
    assert current != before and len(current) < 512
    async with opened(gateway, public_id, token=current) as later:  # the token alone is enough from now on
        welcome = await later.until("welcome")
        assert (welcome["identified"], welcome["session"]) == (True, session)
    async with opened(gateway, public_id, token=before) as old:  # the anonymous conversation is over
        assert (await old.until("welcome"))["session"] is None
    assert house.run(lambda: _names(session, anonymous)) == ["Ada", "Ada"]


def _names(*sessions: str | None) -> list[str]:
    """What the contacts of these sessions are called."""
    from django.conf import settings

    from hub.models import Contact, Session
    from tenants.crypto import CellRef, MasterKeys, Vault

    vault = Vault(MasterKeys(*settings.HUB_ENV.master_keys()), None)
    found = []
    for session in (Session.objects.get(pk=ident) for ident in sessions):
        vault.load_sync(session.tenant_id)
        contact = Contact.objects.get(pk=session.contact_id)
        cell = CellRef(session.tenant_id, "content", "contact", "name", contact.id)
        found.append(vault.open(cell, bytes(contact.name)).decode())
    return found


async def test_a_site_may_say_who_it_is_with_hello(uvicorn_gateway: Gateway, house: House) -> None:
    public_id = house.connect("web", identity_secret=SECRET, form="email*: Your e-mail")
    async with opened(uvicorn_gateway, public_id, identity=pass_for(public_id, "bob")) as chat:
        assert (await chat.until("welcome"))["identified"] is True
        await said(chat, "a", "no form for me [[echo]]")
    async with opened(uvicorn_gateway, public_id, identity="nonsense") as chat:
        assert (await chat.until("welcome"))["identified"] is False
        assert (await chat.until("error"))["code"] == "bad_identity"
        await chat.tell("ping")
        await chat.until("pong")


async def test_while_an_answer_is_written_nothing_moves(uvicorn_gateway: Gateway, house: House) -> None:
    public_id = house.connect("web", identity_secret=SECRET)
    async with opened(uvicorn_gateway, public_id) as chat:
        await chat.tell("say", client_id="a", text="long [[normal chunks=300 delay=0.05]]")
        await chat.until("delta")
        await chat.tell("identify", token=pass_for(public_id, "eve"))
        error = await chat.until("error")
        assert (error["code"], error["retry_after"]) == ("busy", 1)
        await chat.tell("stop")
        await chat.until("message", role="assistant")
        await chat.tell("identify", token=pass_for(public_id, "eve"))
        assert (await chat.until("identified"))["joined"] is True


async def test_false_names_are_not_tried_without_end(uvicorn_gateway: Gateway, house: House) -> None:
    public_id = house.connect("web", identity_secret=SECRET)
    async with opened(uvicorn_gateway, public_id) as chat:
        await chat.until("welcome")
        for _ in range(3):
            await chat.tell("identify", token=token("x" * 32))
            assert (await chat.until("error"))["code"] == "bad_identity"
        with pytest.raises(ConnectionClosed) as caught:
            await chat.hear()
        assert caught.value.rcvd is not None and caught.value.rcvd.code == 1008
    url = f"{uvicorn_gateway.url}/sse/chat/{public_id}/identify"
    async with aiohttp.ClientSession() as http:
        codes = []
        for _ in range(4):
            async with http.post(url, json={"token": token("x" * 32)}) as answer:
                codes.append((answer.status, orjson.loads(await answer.read())["code"]))
        assert codes[:2] == [(403, "bad_identity")] * 2 and codes[3] == (429, "rate_limited")
