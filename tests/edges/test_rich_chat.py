"""What a rich page asks of the chat: its looks, looking back, saying anew, reading positions, states and sources."""

import asyncio
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed

from tests.edges.conftest import Gateway, House
from tests.edges.test_chat import Socket, Stream, opened
from tests.support.patience import PATIENCE

LOGO = "data:image/png;base64,iVBORw0KGgo="
LOOKS: dict[str, Any] = {
    "title": "Acme",
    "greeting": "Hello!",
    "suggestions": "Prices?\n\nOpening hours?",
    "colour": "#0A7D5A",
    "theme": "dark",
    "logo": LOGO,
    "position": "left",
    "language": "zh",
    "form": "name: Your name\nemail*: Your e-mail\ntopic(Sales|Support): About",
    "remote_images": True,
    "upload_megabytes": 2,
    "upload_types": "image/png application/pdf",
}
ASKED = [
    {"name": "name", "label": "Your name", "kind": "text", "required": False, "options": []},
    {"name": "email", "label": "Your e-mail", "kind": "email", "required": True, "options": []},
    {"name": "topic", "label": "About", "kind": "choice", "required": False, "options": ["Sales", "Support"]},
]


async def said(chat: Socket, client_id: str, text: str, **fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ack of a message and its answer."""
    await chat.tell("say", client_id=client_id, text=text, **fields)
    ack = await chat.until("ack")
    return ack, (await chat.until("message", role="assistant"))["message"]


async def test_a_page_knows_its_looks_before_and_in_welcome(gateway: Gateway, house: House) -> None:
    public_id = house.connect("web", origins=("https://shop.example",), **LOOKS)
    url, shop = f"{gateway.url}/sse/chat/{public_id}", {"Origin": "https://shop.example"}
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{url}/settings", headers=shop) as answer:
            found = await answer.json()
            assert answer.status == 200 and answer.headers["Access-Control-Allow-Origin"] == shop["Origin"]
            assert answer.headers["Cache-Control"] == "private, max-age=30"
        async with http.get(f"{gateway.url}{found['logo']}") as answer:
            assert (answer.content_type, await answer.read()) == ("image/png", b"\x89PNG\r\n\x1a\n")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        async with http.get(f"{url}/settings", headers={"Origin": "https://evil.example"}) as answer:
            assert answer.status == 403
        plain = house.connect("web")
        async with http.get(f"{gateway.url}/sse/chat/{plain}/settings") as answer:
            bare = await answer.json()
    assert found.pop("type") == bare.pop("type") == "settings"
    assert found["logo"].startswith(f"/sse/chat/{public_id}/logo?v=")
    assert {name: found[name] for name in ("title", "agent", "greeting", "suggestions", "colour", "theme")} == {
        "title": "Acme",
        "agent": "helper",
        "greeting": "Hello!",
        "suggestions": ["Prices?", "Opening hours?"],
        "colour": "#0a7d5a",
        "theme": "dark",
    }
    assert (found["form"], found["position"], found["remote_images"]) == (ASKED, "left", True)
    assert found["uploads"] == {"max_bytes": 2 << 20, "max_files": 10, "types": ["image/png", "application/pdf"]}
    assert (bare["form"], bare["logo"], bare["identity"], bare.keys()) == ([], "", False, found.keys())
    async with opened(gateway, public_id) as chat:
        welcome = await chat.until("welcome")
        assert welcome["settings"] == found
        assert (welcome["read"], welcome["unread"], welcome["identified"]) == (0, 0, False)


async def test_looks_are_not_asked_without_end(uvicorn_gateway: Gateway, house: House) -> None:
    url = f"{uvicorn_gateway.url}/sse/chat/{house.connect('web')}/settings"
    async with aiohttp.ClientSession() as http:

        async def ask() -> tuple[int, str]:
            async with http.get(url) as answer:
                return answer.status, answer.headers.get("Retry-After", "")

        answers = await asyncio.gather(*(ask() for _ in range(90)))
        assert answers.count((200, "")) >= 60 and (429, "1") in answers


async def test_the_form_comes_with_the_first_message(uvicorn_gateway: Gateway, house: House) -> None:
    async with opened(uvicorn_gateway, house.connect("web", **LOOKS)) as chat:
        await chat.until("welcome")
        for form, code, param in (
            ({}, "form_required", "email"),
            ({"email": "nobody"}, "form_invalid", "email"),
            ({"email": "a@b.example", "topic": "Cake"}, "form_invalid", "topic"),
        ):
            await chat.tell("say", client_id="a", text="hi", form=form)
            error = await chat.until("error")
            assert (error["code"], error["param"], error["client_id"]) == (code, param, "a")
        form = {"name": "Ada", "email": "a@b.example", "more": "ignored"}
        _, answer = await said(chat, "a", "hi there [[echo]]", form=form)
        assert chat.messages[0]["form"] == {"name": "Ada", "email": "a@b.example"}
        assert chat.messages[0]["sender_name"] == "Ada"
        assert "[email: a@b.example]" in answer["text"]  # the agent was told
        _, answer = await said(chat, "b", "again [[echo]]")
        assert "email" not in answer["text"]


async def test_saying_anew_supersedes_and_retry_says_the_same_again(gateway: Gateway, house: House) -> None:
    public_id = house.connect("web")
    async with opened(gateway, public_id) as chat:
        first, _ = await said(chat, "a", "one [[echo]]")
        await said(chat, "b", "two [[echo]]")
        await chat.tell("say", client_id="c", text="long [[normal chunks=400 delay=0.05]]")
        await chat.until("delta")
        ack, answer = await said(chat, "d", "three [[echo]]", edits=first["id"])
        if answer["finish"] == "stopped":  # the running answer ended first
            answer = (await chat.until("message", role="assistant"))["message"]
        assert "three" in answer["text"]
        edit = next(message for message in chat.messages if message["seq"] == ack["seq"])
        assert edit["edits"] == first["id"]
        retry, answer = await said(chat, "e", "", edits=ack["id"])
        assert answer["text"] == "three [[echo]]"
        await chat.tell("say", client_id="e", text="", edits=ack["id"])
        assert (await chat.until("ack"))["duplicate"] is True
        for edits, code in ((first["id"], "not_editable"), (str(uuid4()), "unknown_message"), ("x", "malformed")):
            await chat.tell("say", client_id=f"no-{code}", text="no", edits=edits)
            assert (await chat.until("error"))["code"] == code
        token = chat.token
    async with opened(gateway, public_id, token=token) as again:
        await again.until("message", seq=answer["seq"])
        standing = [message["seq"] for message in again.messages if not message.get("superseded")]
        assert standing == [retry["seq"], answer["seq"]]
    async with opened(gateway, public_id) as other:
        await said(other, "a", "mine [[echo]]")
        await other.tell("say", client_id="b", text="theirs", edits=first["id"])
        assert (await other.until("error"))["code"] == "unknown_message"


async def test_looking_back_and_being_away_too_long(uvicorn_gateway: Gateway, house: House) -> None:
    public_id = house.connect("web")
    async with opened(uvicorn_gateway, public_id) as chat:
        await said(chat, "a", "one [[echo]]")
        token, cursor, session = chat.token, chat.cursor, chat.session
    house.run(lambda: _stuff(session, 300))
    async with opened(uvicorn_gateway, public_id, token=token) as chat:
        welcome = await chat.until("welcome")
        assert welcome["unread"] == 100
        await chat.until("message", seq=302)
        assert chat.messages[0]["seq"] == 253 and len(chat.messages) == 50
        await chat.tell("history", before=253)
        page = await chat.until("history")
        assert [message["seq"] for message in page["messages"]] == list(range(203, 253)) and page["more"] is True
        assert page["messages"][0]["created"]
        await chat.tell("history", before=30, limit=100)
        page = await chat.until("history")
        assert [message["seq"] for message in page["messages"]] == list(range(1, 30)) and page["more"] is False
    async with opened(uvicorn_gateway, public_id, token=token, cursor=cursor) as chat:
        missed = await chat.until("missed")
        assert (missed["after"], missed["before"]) == (2, 253)
        await chat.until("message", seq=302)
        assert len(chat.messages) == 50
    url = f"{uvicorn_gateway.url}/sse/chat/{public_id}/history"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        async with http.get(url, params={"before": "4", "limit": "2"}) as answer:
            page = await answer.json()
            assert [message["seq"] for message in page["messages"]] == [2, 3] and page["more"] is True
        async with http.get(url, params={"before": "x"}) as answer:
            assert (answer.status, (await answer.json())["param"]) == (400, "before")


def _stuff(session_id: str | None, count: int) -> None:
    """A long conversation in no time."""
    from datetime import UTC, datetime

    from django.conf import settings

    from hub.models import Message, Session
    from hub.pipeline.bodies import Body, body_cell, pack
    from tenants.crypto import MasterKeys, Vault
    from tenants.ids import uuid7

    vault = Vault(MasterKeys(*settings.HUB_ENV.master_keys()), None)
    session = Session.objects.get(pk=session_id)
    vault.load_sync(session.tenant_id)
    rows = []
    for seq in range(session.last_seq + 1, session.last_seq + 1 + count):
        ident = uuid7()
        body = vault.seal(body_cell(session.tenant_id, ident), pack(Body(text=f"line {seq}")))
        role, status = ("user", "noted") if seq % 2 else ("assistant", "final")
        rows.append(
            Message(
                id=ident,
                tenant_id=session.tenant_id,
                session_id=session.id,
                seq=seq,
                role=role,
                status=status,
                body=body,
                created=datetime.now(UTC),
            )
        )
    Message.objects.bulk_create(rows)
    Session.objects.filter(pk=session_id).update(last_seq=session.last_seq + count)


async def test_a_page_that_was_read_tells_the_others(
    uvicorn_gateway: Gateway, daphne_gateway: Gateway, house: House
) -> None:
    public_id = house.connect("web")
    async with opened(uvicorn_gateway, public_id) as first:
        _, answer = await said(first, "a", "one [[echo]]")
        async with opened(daphne_gateway, public_id, token=first.token) as second:
            assert (await second.until("welcome"))["unread"] == 1
            await second.until("message", role="assistant")
            await second.tell("read", seq=10_000)
            assert (await first.until("read"))["seq"] == answer["seq"]
            await first.tell("read", seq=1)  # it only rises
            assert (await second.until("read"))["seq"] == answer["seq"]
    async with opened(uvicorn_gateway, public_id, token=first.token) as third:
        welcome = await third.until("welcome")
        assert (welcome["read"], welcome["unread"]) == (answer["seq"], 0)


async def test_the_calls_of_tools_are_shown(uvicorn_gateway: Gateway, house: House) -> None:
    from agents.models import Agent

    house.run(lambda: Agent.objects.filter(pk=house.agent_id).update(tools=["current_time", "search_memory"]))
    async with opened(uvicorn_gateway, house.connect("web")) as chat:
        await said(chat, "a", "My tortoise is called Leopold. [[echo]]")
        states: list[dict[str, Any]] = []
        ask = 'What is my tortoise called? [[tool name=search_memory args={"query":"tortoise"}]]'
        await chat.tell("say", client_id="b", text=ask)
        while (frame := await chat.hear())["type"] != "message" or frame["message"]["role"] == "user":
            if frame["type"] == "reset":  # another process began the answer again, and shows its calls again
                states.clear()
            if frame["type"] == "status":
                states.append(frame)
        tool = [state for state in states if state["state"] == "tool"]
        assert [state["phase"] for state in tool] == ["started", "finished"]
        assert {(state["detail"], state["label"]) for state in tool} == {("search_memory", "search memory")}
        assert len({state["call"] for state in tool}) == 1
        await chat.tell("say", client_id="c", text="What time is it? [[tool name=current_time]]")
        answer = (await chat.until("message", role="assistant"))["message"]
        assert "citations" not in answer  # a tool's result is for the model unless it says otherwise


async def test_replies_are_offered(uvicorn_gateway: Gateway, house: House) -> None:
    from agents.models import Agent

    house.run(lambda: Agent.objects.filter(pk=house.agent_id).update(tools=["offer_replies"]))
    async with opened(uvicorn_gateway, house.connect("web")) as chat:
        ask = '[[tool name=offer_replies args={"replies":["Yes","No"]} text="Shall_we?"]]'
        _, answer = await said(chat, "a", ask)
        assert answer["quick_replies"] == ["Yes", "No"]
        _, answer = await said(chat, "b", "[[echo]]")
        assert "quick_replies" not in answer


async def test_a_visitor_opens_only_so_many_pages(uvicorn_gateway: Gateway, house: House) -> None:
    from contextlib import AsyncExitStack

    from hub.edges.doors import MAX_OF_VISITOR

    public_id = house.connect("web")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(opened(uvicorn_gateway, public_id))
        await first.until("welcome")
        for _ in range(MAX_OF_VISITOR - 1):
            page = await stack.enter_async_context(opened(uvicorn_gateway, public_id, token=first.token))
            await page.until("welcome")
        async with opened(uvicorn_gateway, public_id, token=first.token) as late:
            assert (await late.hear())["code"] == "too_many_pages"
            with pytest.raises(ConnectionClosed) as caught:
                await late.hear()
            assert caught.value.rcvd is not None and caught.value.rcvd.code == 4429
        async with opened(uvicorn_gateway, public_id) as other:
            await other.until("welcome")
        await page.raw.close()
        async with opened(uvicorn_gateway, public_id, token=first.token) as another:
            await another.until("welcome")


async def test_the_same_words_over_requests(uvicorn_gateway: Gateway, house: House) -> None:
    async with aiohttp.ClientSession() as http:
        page = Stream(http, uvicorn_gateway, house.connect("web"))
        page.token = (await page.say("one [[echo]]", "a"))["token"]
        async with asyncio.timeout(PATIENCE):
            async for frame in page.events():
                if frame["type"] == "message" and frame["message"]["role"] == "assistant":
                    break
        async with http.post(f"{page.url}/read", json={"seq": 2}, headers=page.headers) as answer:
            assert await answer.json() == {"type": "read", "seq": 2}
        body = {"client_id": "b", "text": "two [[echo]]", "edits": page.messages[0]["id"]}
        async with http.post(f"{page.url}/messages", json=body, headers=page.headers) as answer:
            assert (answer.status, (await answer.json())["seq"]) == (202, 3)
        async with asyncio.timeout(PATIENCE):
            async for frame in page.events():
                if frame["type"] == "message" and frame["message"]["role"] == "assistant":
                    break
        async with http.get(f"{page.url}/history?before=5", headers=page.headers) as answer:
            history = await answer.json()
        assert [message.get("superseded", False) for message in history["messages"]] == [True, True, False, False]
