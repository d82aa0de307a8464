"""NoneBot2 with the OneBot v11 adapter and a plugin on the openai SDK. Runs in its own virtualenv: `FD MODEL_URL`.

NoneBot has no model calls of its own; the plugin is the shortest one that answers. It stores nothing.
"""
# mypy: ignore-errors

import socket
import sys

import nonebot
import uvicorn
from nonebot.adapters.onebot.v11 import Adapter, MessageEvent
from openai import AsyncOpenAI

nonebot.init(driver="~fastapi", log_level="ERROR", command_start=["/"])
nonebot.get_driver().register_adapter(Adapter)
client = AsyncOpenAI(base_url=sys.argv[2], api_key="none")
talk = nonebot.on_message()


@talk.handle()
async def answer(event: MessageEvent) -> None:
    """One turn."""
    messages = [{"role": "user", "content": event.get_plaintext()}]
    stream = await client.chat.completions.create(model="scripted", messages=messages, stream=True)
    parts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    await talk.finish("".join(parts))


if __name__ == "__main__":
    config = uvicorn.Config(nonebot.get_asgi(), log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
