"""agno's AgentOS with one agent that keeps its sessions in SQLite. Runs in its own virtualenv: `FD MODEL_URL`."""
# mypy: ignore-errors

import socket
import sys

import uvicorn
from agno.agent import Agent
from agno.db.sqlite import SqliteDb
from agno.models.openai.like import OpenAILike
from agno.os import AgentOS

agent = Agent(
    id="a1",
    model=OpenAILike(id="scripted", base_url=sys.argv[2], api_key="none"),
    db=SqliteDb(db_file="sessions.db"),
    add_history_to_context=True,
    telemetry=False,
)

if __name__ == "__main__":
    app = AgentOS(agents=[agent], telemetry=False).get_app()
    config = uvicorn.Config(app, log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
