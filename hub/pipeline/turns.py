"""Run one turn: read what it answers, let the agent work, commit the reply, hand its parts to the outbox."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import structlog

from agents.runtime import AgentRuntime
from agents.types import (
    AgentSpec,
    InputMessage,
    Progress,
    Restarted,
    SessionState,
    TextDelta,
    TurnInput,
    TurnResult,
)
from channels_adapters.types import Address, Part, Reply
from hub.ledger.accept import Accept
from hub.ledger.batching import Batcher
from hub.ledger.claim import Claimed
from hub.ledger.commit import Commit, Committed, Committer, PartRow
from hub.ledger.live import save_partials
from hub.pipeline import crash, metrics, notices
from hub.pipeline.bodies import Body, body_cell, pack, pack_address, unpack_address
from hub.pipeline.connections import Connections, LiveConnection
from hub.pipeline.errors import ConnectionUnknown
from hub.pipeline.inbox import Recent
from hub.pipeline.inline import Inline
from hub.pipeline.inputs import Inputs, input_options, read_bodies
from hub.pipeline.live import LiveWriter, Shown, left_behind
from hub.pipeline.messages import message_chunk
from hub.pipeline.outbox import Outbox, Ready
from hub.pipeline.places import Place, Places
from hub.pipeline.streams import Publisher, Streams
from memory.types import Key
from tenants import usage
from tenants.crypto import CellRef, Vault
from tenants.db import literals
from tenants.db.pools import Pools
from tenants.ids import uuid7

log = structlog.get_logger(__name__)

_WAITING_NODES = frozenset({"core", "tools", "condense"})
"""Steps that wait for models and tools; the rest of a turn is our own handling."""
_TITLE_CHARS = 60
_TITLE = """
UPDATE session s SET title = i.title FROM unnest(%(id)s::uuid[], %(title)s::bytea[]) AS i(id, title)
WHERE s.id = i.id AND s.title IS NULL
"""

TURN_LIMIT = 600.0
"""Seconds after which a turn is ended, whatever it does."""
MOST_ATTEMPTS = 5
_CHECKPOINT_SECONDS = 1.0
_CHECKPOINT_CHARS = 800


class Fenced(Exception):
    """Somebody else holds the session now: nothing of this run counts."""


@dataclass(slots=True)
class Run:
    """One turn at work in this process."""

    claimed: Claimed
    connection: LiveConnection
    started: float = field(default_factory=time.monotonic)
    input: TurnInput | None = None
    result: TurnResult | None = None
    bodies: Sequence[Body] = ()
    publisher: Publisher | None = None
    message_id: UUID = field(default_factory=uuid7)
    first_token: datetime | None = None
    live: LiveWriter | None = None
    shown: Shown | None = None
    """What is visible on the platform when the turn ends."""
    stopping: bool = False
    ending: bool = False
    """Its commit is under way: the fence decides now, and a cancelled task could not send what is committed."""
    committed: bool = False
    """The turn's end is stored: its lease is over, and that is no loss."""

    def fits(self, claimed: Claimed) -> bool:
        """Whether a guessed run is the one that was leased."""
        mine = self.claimed
        return (mine.session_id, mine.version, mine.messages, mine.attempts, mine.kind) == (
            claimed.session_id,
            claimed.version,
            tuple(claimed.messages),
            claimed.attempts,
            claimed.kind,
        )

    @property
    def address(self) -> Address:
        """Where this turn's answer goes: the address of the last message it answers."""
        for body in reversed(self.bodies):
            if body.address:
                return unpack_address(body.address)
        return Address(conversation="")


class Turns:
    """Runs turns. Holds no database connection and no transaction while a model, a tool or a platform works."""

    def __init__(
        self,
        *,
        pools: Pools,
        vault: Vault,
        connections: Connections,
        agents: AgentRuntime,
        streams: Streams,
        outbox: Outbox,
        recent: Recent,
        places: Places,
        worker_id: UUID,
    ) -> None:
        self._pools, self._vault, self._agents = pools, vault, agents
        self._connections, self._streams, self._outbox, self._recent = connections, streams, outbox, recent
        self.places = places
        self._ending: dict[UUID, Run] = {}
        self.inline = Inline()
        self.summarise: Callable[[UUID, UUID], None] = lambda *_: None
        """Gets the batch that a committed turn has frozen; what is lost here is found by the sweep."""
        committer = Committer(pools.app, lease=outbox.lease, worker_id=worker_id, companions=[self._save])
        self._commits: Batcher[Commit, Committed | None] = Batcher(committer.write, max_items=64)
        self._partials: Batcher[tuple[UUID, UUID, int, bytes], None] = Batcher(self._write_partials, max_items=64)

    async def close(self) -> None:
        """Write what waits."""
        await self._commits.close()
        await self._partials.close()

    async def prepare(self, claimed: Claimed) -> Run:
        """A run for a leased turn; raises ConnectionUnknown when its connection is gone."""
        connection = await self._connections.by_id(claimed.tenant_id, claimed.connection_id)
        if connection is None:
            raise ConnectionUnknown(f"connection {claimed.connection_id} is gone")
        await self._vault.load(claimed.tenant_id)
        return Run(claimed, connection)

    async def run(self, run: Run) -> Committed:
        """Work on the turn until it is committed. Raises Fenced; CancelledError stops it without a trace."""
        crash.point("turn.before_run")
        claimed = run.claimed
        run.bodies = await read_bodies(self._pools, self._vault, self._recent, claimed)
        if claimed.kind == "notice" or claimed.attempts > MOST_ATTEMPTS:
            return await self._notify(run)
        spec = await self._agents.spec(claimed.tenant_id, claimed.agent_id or run.connection.agent_id)
        run.input = await self._input(run, spec)
        await self._work(run, run.input)
        return await self._commit(run)

    async def stop(self, run: Run) -> Committed:
        """After `run` was cancelled for a stop button: what was said so far is the answer."""
        if run.input is None:  # stopped before the agent began
            state = SessionState(version=run.claimed.version + 1, buffer=_empty())
            run.result = TurnResult(text="", finish="stopped", state=state)
        else:
            run.result = self._agents.stopped(run.input)
        return await self._commit(run)

    async def bury(self, claimed: Claimed, reason: str) -> Committed:
        """End a turn that cannot be run at all: a stored apology that is sent nowhere. Raises Fenced."""
        await self._vault.load(claimed.tenant_id)
        message_id, body = uuid7(), Body(text=notices.text("failed", "en"), finish="error")
        committed = await self._commits.submit(
            Commit(
                tenant_id=claimed.tenant_id,
                session_id=claimed.session_id,
                turn_id=claimed.turn_id,
                fence=claimed.fence,
                message_id=message_id,
                body=self._vault.seal(body_cell(claimed.tenant_id, message_id), pack(body)),
                status="dead",
                error=f"given up after {claimed.attempts} attempts: {reason}",
            )
        )
        if committed is None:
            raise Fenced
        chunk = message_chunk(
            message_id, committed.seq, role="assistant", body=body, turn_id=claimed.turn_id, status="final"
        )
        self._streams.stored(claimed.tenant_id, claimed.session_id, chunk)
        metrics.TURNS.labels("dead").inc()
        return committed

    # ---- while the message commits -----------------------------------------------------------------------------

    def is_warm(self, place: Place) -> bool:
        """Whether the session's state is in L1, so that a turn can start without reading anything."""
        return self._agents.warm.holds(place.session_id, place.version)

    def guess(self, connection: LiveConnection, row: Accept, body: Body, place: Place) -> Run:
        """The run that this message will most likely get."""
        claimed = Claimed(
            session_id=place.session_id,
            tenant_id=row.tenant_id,
            connection_id=row.connection_id,
            agent_id=place.agent_id,
            subject_id=place.subject_id,
            fence=0,
            version=place.version,
            unsettled=0,
            turn_id=row.turn_id,
            kind="reply",
            reason="",
            attempts=1,
            messages=((place.seq + 1, row.message_id),),
        )
        return Run(claimed, connection, bodies=[body])

    async def early(self, run: Run) -> None:
        """Work on a guessed turn; what it says is held until `adopt`."""
        spec = await self._agents.spec(run.claimed.tenant_id, run.claimed.agent_id or run.connection.agent_id)
        run.input = await self._input(run, spec)
        await self._work(run, run.input)

    async def adopt(self, run: Run, claimed: Claimed, task: "asyncio.Task[None]") -> Committed:
        """The guess was right: show what was held, go on, commit under the fence that the accept gave."""
        run.claimed = claimed
        for _, message_id in claimed.messages:
            self._recent.take(message_id)
        if run.publisher is not None:
            run.publisher.release(claimed.fence)
        await task
        return await self._commit(run)

    async def discard(self, run: Run, task: "asyncio.Task[None]") -> None:
        """The guess was wrong: stop, and book what the model call has cost."""
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if run.input is None:
            return
        run.result = run.result or self._agents.stopped(run.input)
        spent = [replace(item, kind="retry") for item in _spent(run)]
        if spent:
            async with self._pools.app(run.claimed.tenant_id) as conn:
                await usage.settle(conn, spent)

    # ---- before ------------------------------------------------------------------------------------------------

    async def _input(self, run: Run, spec: AgentSpec) -> TurnInput:
        claimed = run.claimed
        key = Key(tenant_id=claimed.tenant_id, session_id=claimed.session_id, subject_id=claimed.subject_id)
        options = input_options(run.bodies)
        if options.history is None:
            state = await self._agents.load_state(key, claimed.version, spec.policy)
        else:
            state = SessionState(version=claimed.version, buffer=_empty())
        messages = await Inputs(run.connection.adapter).messages(claimed.messages, run.bodies)
        return TurnInput(
            key=key,
            turn_id=claimed.turn_id,
            agent=spec,
            messages=messages,
            state=state,
            attempt=claimed.attempts,
            history=options.history,
            client_tools=options.tools,
            tool_choice=options.tool_choice,
            max_tokens=options.max_tokens,
            temperature=options.temperature,
            language="" if run.connection.language == "en" else run.connection.language,
            reply_seq=_reply_seq(messages),
        )

    async def _work(self, run: Run, turn: TurnInput) -> None:
        claimed = run.claimed
        run.publisher = self._streams.publisher(
            claimed.tenant_id,
            claimed.session_id,
            turn_id=claimed.turn_id,
            epoch=claimed.fence,
            held=claimed.fence == 0,
        )
        run.live = LiveWriter.for_run(self._outbox, run) if not run.connection.adapter.capabilities.pull else None
        checkpoint = _Checkpoint(self, run)
        try:
            async with asyncio.timeout(TURN_LIMIT):
                run.result = await self._agents.run(turn, checkpoint.emit)
        except TimeoutError:
            run.result = _failed(self._agents.stopped(turn), notices.text("failed", run.connection.language))
        finally:
            if run.live is not None:
                await run.live.pause()

    # ---- after -------------------------------------------------------------------------------------------------

    async def _notify(self, run: Run) -> Committed:
        """A turn without an agent: a refusal said politely, or the end of one that keeps failing."""
        reason = run.claimed.reason if run.claimed.kind == "notice" else "failed"
        version = run.claimed.version + 1
        run.result = TurnResult(
            text=notices.text(reason, run.connection.language),
            finish="stop" if run.claimed.kind == "notice" else "error",
            state=SessionState(version=version, buffer=_empty()),
            error="" if run.claimed.kind == "notice" else f"given up after {run.claimed.attempts - 1} attempts",
        )
        return await self._commit(run)

    async def _commit(self, run: Run) -> Committed:
        claimed, result = run.claimed, run.result
        assert result is not None  # noqa: S101 (set by every path that leads here)
        await self._find_shown(run)
        parts = self._parts(run, result)
        crash.point("turn.before_commit")
        run.ending = True
        self._ending[claimed.turn_id] = run
        try:
            committed = await self._commits.submit(self._row(run, result, parts))
        finally:
            del self._ending[claimed.turn_id]
        crash.point("commit.after")
        if committed is None:
            metrics.FENCED.inc()
            raise Fenced
        run.committed = True
        self._told(run, result, committed)
        if committed.sending is not None:
            self._outbox.send_soon(_ready(run, committed, parts))
        if run.input is not None:
            crash.point("after_commit.before_cache")
            await self._agents.after_commit([(run.input, result)])
        if result.batch is not None:
            self.summarise(result.batch.key.tenant_id, result.batch.id)
        return committed

    def _told(self, run: Run, result: TurnResult, committed: Committed) -> None:
        chunk = message_chunk(
            run.message_id,
            committed.seq,
            role="assistant",
            body=_reply_body(result),
            turn_id=run.claimed.turn_id,
            status="final",
            model=result.model,
        )
        if run.publisher is not None:
            run.publisher.close()
        self._streams.stored(run.claimed.tenant_id, run.claimed.session_id, chunk)
        self.places.committed(run.claimed.session_id, seq=committed.seq, version=committed.version)
        metrics.TURNS.labels(_status(run, result)).inc()
        seconds = time.monotonic() - run.started
        metrics.TURN_SECONDS.observe(seconds)
        waited = sum(step.duration_ms for step in result.steps if step.node in _WAITING_NODES) / 1000
        metrics.HANDLING.observe(max(seconds - waited, 0.0))

    async def _find_shown(self, run: Run) -> None:
        """The message that grew on the platform gets the last text, also where only an earlier attempt wrote to it."""
        if run.live is not None and run.live.shown is not None:
            run.shown = run.live.shown
        elif run.claimed.attempts > 1 and not run.connection.adapter.capabilities.pull:
            run.shown = await left_behind(self._outbox, run)

    def _parts(self, run: Run, result: TurnResult) -> Sequence[Part]:
        text = result.text
        if run.shown is not None and not text:  # people see the beginning of something: it gets an end
            text = notices.text("failed", run.connection.language)
        abilities = run.connection.adapter.capabilities
        if abilities.pull or not text:
            return ()
        asked = [body.external_id for body in run.bodies]
        if abilities.sync_reply != "none" and self.inline.hand_over(run.connection.id, asked):
            return ()  # the answer goes out in the response that waits for it
        reply = Reply(
            text=text,
            in_reply_to=tuple(body.external_id for body in run.bodies if body.external_id),
        )
        return run.connection.adapter.render(reply)

    def _row(self, run: Run, result: TurnResult, parts: Sequence[Part]) -> Commit:
        claimed, usages = run.claimed, result.usage
        body = self._vault.seal(body_cell(claimed.tenant_id, run.message_id), pack(_reply_body(result)))
        return Commit(
            tenant_id=claimed.tenant_id,
            session_id=claimed.session_id,
            turn_id=claimed.turn_id,
            fence=claimed.fence,
            message_id=run.message_id,
            body=body,
            status=_status(run, result),
            tokens=sum(item.output_tokens for item in usages),
            model=result.model,
            input_tokens=sum(item.input_tokens for item in usages),
            output_tokens=sum(item.output_tokens for item in usages),
            error=result.error,
            trace=_trace(result),
            first_token_at=run.first_token,
            parts=self._part_rows(run, parts),
        )

    def _part_rows(self, run: Run, parts: Sequence[Part]) -> list[PartRow]:
        if not parts:
            return []
        tenant_id = run.claimed.tenant_id
        address = orjson.dumps(pack_address(run.address))
        expires = datetime.now(UTC) + timedelta(seconds=run.connection.delivery_window)
        shown = run.shown
        rows = []
        for index, part in enumerate(parts):
            live = index == 0 and shown is not None
            delivery_id = shown.delivery_id if live and shown is not None else uuid7()
            rows.append(
                PartRow(
                    delivery_id=delivery_id,
                    connection_id=run.connection.id,
                    index=index,
                    final=index == len(parts) - 1,
                    address=self._vault.seal(
                        CellRef(tenant_id, "content", "delivery", "address", delivery_id), address
                    ),
                    part=self._vault.seal(CellRef(tenant_id, "content", "delivery", "part", delivery_id), _pack(part)),
                    expires=expires,
                    live=live,
                )
            )
        return rows

    async def _save(self, conn: Any, rows: Sequence[Commit]) -> None:
        """What agents, memory and tenants write in the commit's transaction."""
        runs = [self._ending[row.turn_id] for row in rows if row.turn_id in self._ending]
        pairs = [(run.input, run.result) for run in runs if run.input is not None and run.result is not None]
        if pairs:
            await self._agents.save(conn, pairs)
        titles = [(run.claimed.session_id, self._title(run)) for run in runs if run.claimed.version == 0 and run.bodies]
        if titles:
            await conn.execute(
                _TITLE, {"id": literals.uuids(i for i, _ in titles), "title": literals.blobs(t for _, t in titles)}
            )
        spent = [item for run in runs for item in _spent(run)]
        if spent:
            await usage.settle(conn, spent)

    def _title(self, run: Run) -> bytes:
        """A new session's title: the beginning of what was first asked."""
        words = " ".join(next((body.text for body in run.bodies if body.text.strip()), "").split())
        title = words if len(words) <= _TITLE_CHARS else f"{words[: _TITLE_CHARS - 1].rstrip()}…"
        cell = CellRef(run.claimed.tenant_id, "content", "session", "title", run.claimed.session_id)
        return self._vault.seal(cell, title.encode())

    def checkpoint(self, run: Run, text: str) -> None:
        """Store the text so far, behind the stream; a failure costs only what a crash would lose."""
        claimed = run.claimed
        cell = CellRef(claimed.tenant_id, "content", "turn", "partial", claimed.turn_id)
        sealed = self._vault.seal(cell, text.encode())
        future = self._partials.enqueue((claimed.tenant_id, claimed.turn_id, claimed.fence, sealed), size=len(sealed))
        future.add_done_callback(_log_failure)

    async def _write_partials(self, rows: Sequence[tuple[UUID, UUID, int, bytes]]) -> Sequence[None]:
        by_tenant: dict[UUID, list[tuple[UUID, int, bytes]]] = {}
        for tenant_id, *row in rows:
            by_tenant.setdefault(tenant_id, []).append(tuple(row))  # type: ignore[arg-type]
        for tenant_id, group in by_tenant.items():
            async with self._pools.app(tenant_id) as conn:
                await save_partials(conn, group)
        crash.point("checkpoint.after")
        return [None] * len(rows)


class _Checkpoint:
    """Passes progress on, notes the first token, and stores the text each second or 200 tokens."""

    def __init__(self, turns: Turns, run: Run) -> None:
        self._turns = turns
        self._run = run
        self._at = time.monotonic()
        self._chars = 0

    def emit(self, progress: Progress) -> None:
        run, publisher = self._run, self._run.publisher
        assert publisher is not None  # noqa: S101 (made before the agent runs)
        publisher.emit(progress)
        if isinstance(progress, Restarted):
            self._chars = 0
        if not isinstance(progress, TextDelta):
            return
        if run.first_token is None:
            run.first_token = datetime.now(UTC)
            metrics.FIRST_TOKEN.observe(time.monotonic() - run.started)
            crash.point("turn.first_delta")
            if run.live is not None:
                run.live.start()
        self._chars += len(progress.text)
        now = time.monotonic()
        if now - self._at >= _CHECKPOINT_SECONDS or (self._chars >= _CHECKPOINT_CHARS and now - self._at >= 0.1):
            self._at, self._chars = now, 0
            self._turns.checkpoint(run, publisher.text)


def _log_failure(future: "asyncio.Future[None]") -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("partial_not_saved", reason=type(error).__name__)


def _empty() -> Any:
    from memory.types import Buffer

    return Buffer()


def _reply_seq(messages: Sequence[InputMessage]) -> int | None:
    """Memory's line of the answer: one after the last line it answers (see `hub.pipeline.inputs`)."""
    return messages[-1].seq + 1 if messages else None


def _status(run: Run, result: TurnResult) -> str:
    if run.claimed.attempts > MOST_ATTEMPTS and run.input is None:
        return "dead"
    return {"error": "failed", "stopped": "stopped"}.get(result.finish, "finished")


def _failed(result: TurnResult, text: str) -> TurnResult:
    return replace(result, text=text, finish="error", error="the turn took too long")


def _reply_body(result: TurnResult) -> Body:
    usages = result.usage
    return Body(
        text=result.text,
        quick_replies=tuple(result.quick_replies),
        tool_calls=[{"id": c.id, "name": c.name, "arguments": c.arguments} for c in result.tool_calls],
        finish=result.finish,
        usage={
            "input": sum(item.input_tokens for item in usages),
            "output": sum(item.output_tokens for item in usages),
            "cached": sum(item.cached_tokens for item in usages),
        }
        if usages
        else {},
    )


def _trace(result: TurnResult) -> str:
    steps = [
        {
            "node": step.node,
            "at": round(step.started_ms, 2),
            "ms": round(step.duration_ms, 2),
            "outcome": step.outcome,
            **({"detail": dict(step.detail)} if step.detail else {}),
        }
        for step in result.steps
    ]
    recalled = [{"kind": item.kind, "score": round(item.score, 3), "seqs": list(item.seqs)} for item in result.recalled]
    found: dict[str, Any] = {"steps": steps, "finish": result.finish}
    if recalled:
        found["recalled"] = recalled
    if result.tool_calls:
        found["tools"] = [call.name for call in result.tool_calls]
    return orjson.dumps(found, default=str).decode()


def _spent(run: Run) -> list[usage.Spent]:
    if run.result is None:
        return []
    return [
        usage.Spent(
            tenant_id=run.claimed.tenant_id,
            kind=item.kind,
            provider=item.provider,
            model=item.model,
            input_tokens=item.input_tokens,
            output_tokens=item.output_tokens,
            cached_tokens=item.cached_tokens,
            cost=Decimal(repr(item.cost)),
            estimated=item.estimated,
            session_id=run.claimed.session_id,
            turn_id=run.claimed.turn_id,
            agent_id=run.input.agent.id if run.input else None,
        )
        for item in run.result.usage
    ]


def _pack(part: Part) -> bytes:
    return orjson.dumps({"kind": part.kind, "payload": part.payload, "text": part.text}, default=dict)


def _ready(run: Run, committed: Committed, parts: Sequence[Part]) -> Ready:
    assert committed.sending is not None  # noqa: S101 (asked by the caller)
    shown = run.shown
    return Ready(
        delivery_id=committed.sending,
        tenant_id=run.claimed.tenant_id,
        session_id=run.claimed.session_id,
        connection=run.connection,
        attempts=1,
        expires_at=datetime.now(UTC) + timedelta(seconds=run.connection.delivery_window),
        address=run.address,
        part=parts[0],
        shown=shown.sent if shown is not None else None,
        stale=False,
    )
