"""The clients of the documentation do what it says, against a real hub."""

import asyncio
import importlib.util
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.edges.conftest import ROOT, Gateway, House
from tests.support.patience import PATIENCE

EXAMPLES = ROOT / "docs" / "examples"
NODE = shutil.which("node")


async def printed(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE):
            output, errors = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def test_the_python_client_talks(uvicorn_gateway: Gateway, house: House) -> None:
    script = str(EXAMPLES / "chat_client.py")
    said = ("one [[echo]]", "two [[echo]]")
    output = await printed(sys.executable, script, uvicorn_gateway.url, house.connect("web"), *said)
    assert output.splitlines() == list(said)


async def test_the_python_client_survives_a_drop(uvicorn_gateway: Gateway, house: House) -> None:
    spec = importlib.util.spec_from_file_location("chat_client", EXAMPLES / "chat_client.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    client: Any = module.ChatClient(uvicorn_gateway.url, house.connect("web"))
    await client.say("long [[normal chunks=40 delay=0.05]]")
    deltas, messages = 0, []
    async with asyncio.timeout(PATIENCE):
        async for frame in client.events():
            deltas += frame["type"] == "delta"
            if deltas == 3 and frame["type"] == "delta":
                client.socket.transport.abort()
            if frame["type"] == "message":
                messages.append(frame["message"])
                if frame["message"]["role"] == "assistant":
                    break
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert client.running == messages[-1]["text"] and len(client.running.split()) >= 40
    assert client.unsaid == {}


@pytest.mark.skipif(NODE is None, reason="the JavaScript example needs Node 20 or later")
async def test_the_javascript_client_talks_and_sends_a_file(
    uvicorn_gateway: Gateway, house: House, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.txt"
    plan.write_text("a plan")
    script, public_id = str(EXAMPLES / "chat_client.mjs"), house.connect("web")
    output = await printed(str(NODE), script, uvicorn_gateway.url, public_id, "hello [[echo]]", str(plan))
    assert output.splitlines() == ["hello [[echo]]", "[file: plan.txt]"]


async def test_the_webhook_page_signs_as_it_says(uvicorn_gateway: Gateway, house: House) -> None:
    """The shell lines of `docs/channels/webhook.md`, as they stand there."""
    if not (shutil.which("openssl") and shutil.which("curl")):
        pytest.skip("the page's lines need openssl and curl")
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/channels/webhook.md").read_text("utf-8"), re.DOTALL)
    secret, send = blocks[0].splitlines()[0], blocks[1]
    made = (await printed("sh", "-c", f'{secret}; echo "$SECRET"')).strip()
    row = house.connect_row("webhook", secret=made, answer="inline")
    again = "\n".join(send.splitlines()[-2:])
    script = f"SECRET={made}\nHUB={uvicorn_gateway.url}{row.webhook_path}\n{send}\n{again}"
    first, second = [orjson.loads(f"{line}}}") for line in (await printed("sh", "-c", script)).split("}")[:2]]
    assert (first["outcome"], second["outcome"]) == ("new", "duplicate")
    assert first["reply"]
