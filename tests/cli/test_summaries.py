"""The worker's summariser: the agent's own model over a real socket, its tokens booked, its failures given back."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from agents.calls import CallPolicy, ModelCalls
from agents.providers import providers
from hub.egress import Egress
from hub.env import env
from hub.models import Session
from hub.summaries import AgentSummariser, pools_of
from memory.summarise import SummaryFailed
from memory.types import Batch, Key, Line, Policy
from tenants.context import tenant_scope
from tenants.crypto import MasterKeys, Vault
from tenants.ids import uuid7
from tenants.models import Usage
from tests.cli.conftest import Hub

CHUNK = (
    'data: {"choices":[{"index":0,"delta":{"content":"Ann has a dog."},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":30,"completion_tokens":5}}\n\ndata: [DONE]\n\n'
)


def summarise(session: Session, hub: Hub | None, *, status: int) -> tuple[str | None, list[dict[str, Any]]]:
    """Ask for one summary; with a `hub` the agent first gets the scripted model as its own."""
    asked: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.Response(status=status, text=CHUNK if status == 200 else "no", content_type="text/event-stream")

    async def work(port: int) -> str | None:
        pools = pools_of(env())
        await pools.open()
        try:
            async with Egress(allow=[f"127.0.0.1:{port}"]) as egress:
                summariser = AgentSummariser(
                    pools=pools,
                    vault=Vault(MasterKeys(*env().master_keys()), pools),
                    calls=ModelCalls(providers(egress.models), policy=CallPolicy(retries=0)),
                    default=None,
                )
                key = Key(tenant_id=session.tenant_id, session_id=session.id, subject_id=session.subject_id)
                batch = Batch(id=uuid7(), key=key, first_seq=1, last_seq=1, policy=Policy(granularity="brief"))
                return await summariser(batch, [Line(1, "user", "I have a dog", "Ann", datetime.now(UTC))])
        finally:
            await pools.close()

    async def serve() -> str | None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            if hub is not None:
                await asyncio.to_thread(give_model, hub, port)
            return await work(port)
        finally:
            await runner.cleanup()

    return asyncio.run(serve()), asked


def give_model(hub: Hub, port: int) -> None:
    url = f"http://127.0.0.1:{port}/v1"
    done = hub("agent", "set", "helper", "--tenant", "acme", "--model-url", url, "--model", "m1", "--model-key", "sk-1")
    assert done.code == 0, done.err
    from django.db import connections

    connections.close_all()


def test_the_agents_own_model_writes_and_is_booked(acme: Hub, session: Session) -> None:
    text, (asked,) = summarise(session, acme, status=200)
    assert text == "Ann has a dog."
    assert asked["model"] == "m1"
    assert asked["messages"][-1]["content"] == "Ann: I have a dog"
    with tenant_scope(session.tenant_id):
        (used,) = Usage.objects.all()
    assert (used.kind, used.input_tokens, used.output_tokens) == ("summary", 30, 5)
    assert used.session_id == session.id


def test_a_model_that_fails_is_tried_again_later(acme: Hub, session: Session) -> None:
    with pytest.raises(SummaryFailed):
        summarise(session, acme, status=500)


def test_without_a_model_rules_write_it(session: Session) -> None:
    text, asked = summarise(session, None, status=200)
    assert text is None
    assert asked == []
