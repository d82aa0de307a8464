"""What a visitor can do through either chat door: come in, speak, stop the answer, watch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from hub.edges import frames, visitors
from hub.edges.doors import ARRIVALS, RATES
from hub.edges.frames import Hello, Say
from hub.edges.guard import Refused
from hub.edges.visitors import Visitor
from hub.pipeline.connections import LiveConnection
from hub.pipeline.errors import Unavailable
from hub.pipeline.stream import Cursor
from hub.runtime import get_runtime
from tenants.db.batching import Overloaded

if TYPE_CHECKING:
    from hub.pipeline.chat import Chat
    from hub.pipeline.stream import Watch

CHANNEL = "web"


async def find_connection(public_id: str, headers: dict[str, str]) -> LiveConnection:
    """The active chat connection behind a public id, its origins checked. Raises Refused (403, 404)."""
    runtime = await get_runtime()
    connection = await runtime.connections.find(CHANNEL, public_id)
    if connection is None or not connection.listening:
        raise Refused(404, "not_found", "there is no such chat")
    if not visitors.origin_allowed(headers, allowed_origins(connection)):
        raise Refused(403, "origin_refused", "this chat may not be opened from here")
    return connection


def allowed_origins(connection: LiveConnection) -> frozenset[str]:
    """The connection's own list and what its credentials add."""
    return frozenset(connection.allowed_origins) | getattr(connection.adapter.credentials, "origins", frozenset())


@dataclass(slots=True)
class Visit:
    """One visitor at one connection."""

    connection: LiveConnection
    visitor: Visitor
    session_id: UUID | None
    chat: "Chat"

    @classmethod
    async def begin(cls, connection: LiveConnection, token: str) -> "Visit":
        """Let in who the token names, or a new visitor where there is none. Raises Refused (401) for a bad token."""
        runtime = await get_runtime()
        visitor = visitors.admit(token, connection.id) if token else visitors.new_visitor(connection.id)
        if visitor is None:
            raise Refused(401, "bad_token", "the token is not valid here: say hello without one")
        with storage():
            session_id = await runtime.chat.session_id(connection, visitor.conversation) if token else None
        return cls(connection, visitors.renewed(visitor), session_id, runtime.chat)

    def welcome(self, cursor: Cursor) -> bytes:
        """The answer to hello."""
        token = visitors.issue(self.visitor)
        return frames.encode("welcome", token=token, session=self.session_id, cursor=str(cursor))

    def resume(self, hello: Hello) -> Cursor:
        """Where to go on: the client's cursor, unless it belongs to an earlier session or there is none yet."""
        if self.session_id is None or hello.session not in ("", str(self.session_id)):
            return Cursor.START
        return hello.cursor

    async def say(self, say: Say) -> dict[str, Any]:
        """Store a message and return its ack; `session_id` follows when a new session began. Raises Refused."""
        RATES.spend(self.connection.id, self.visitor.id)
        with storage():
            said = await self.chat.say(
                self.connection,
                conversation=self.visitor.conversation,
                sender_id=self.visitor.id,
                client_id=say.client_id,
                text=say.text,
                attachments=say.attachments,
            )
        # A repetition names the session it was said in, which may be over.
        if said.session_id != self.session_id and not (said.duplicate and self.session_id):
            self.session_id = said.session_id
            ARRIVALS.tell(self.connection.id, self.visitor.id, said.session_id)
            self.chat.announce(self.connection, self.visitor.conversation, said.session_id)
        return {
            "client_id": say.client_id,
            "seq": said.seq,
            "duplicate": said.duplicate,
            "status": said.status,
            "reason": said.reason,
        }

    async def find_session(self) -> UUID | None:
        """The visitor's session, if there is one by now."""
        with storage():
            return await self.chat.session_id(self.connection, self.visitor.conversation)

    async def stop(self) -> bool:
        """End the running answer; whether there was one."""
        if self.session_id is None:
            return False
        with storage():
            return await self.chat.stop(self.connection.tenant_id, self.session_id)

    @asynccontextmanager
    async def watch(self, session_id: UUID, cursor: Cursor) -> AsyncIterator["Watch"]:
        """The session's events after `cursor`."""
        async with self.chat.watch(self.connection.tenant_id, session_id, cursor) as events:
            yield events


class storage:  # noqa: N801 (reads as a statement)
    """Words what the pipeline may raise while nothing was stored."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Overloaded | Unavailable):
            raise Refused(503, "unavailable", "please try again shortly", wait=error.retry_after) from error
