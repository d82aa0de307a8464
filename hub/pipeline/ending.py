"""End a turn: its reply, usage, checkpoint, memory and deliveries in one transaction, refused when the fence is old."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from agents.runtime import AgentRuntime
from agents.types import TurnResult
from channels_adapters.types import Part
from hub.ledger.claim import Claimed
from hub.ledger.commit import Commit, Committed, Committer, PartRow
from hub.pipeline import crash, metrics, notices
from hub.pipeline.bodies import Body, body_cell, pack, pack_address, tool_texts_cell
from hub.pipeline.editing import supersede
from hub.pipeline.generations import begin_anew
from hub.pipeline.live import left_behind
from hub.pipeline.messages import message_chunk
from hub.pipeline.outbox import Outbox, Ready
from hub.pipeline.places import Places
from hub.pipeline.record import pack_part, reply_body, reply_of, spent, status, tool_texts, trace
from hub.pipeline.run import Fenced, Run
from hub.pipeline.streams import Streams
from tenants import usage
from tenants.crypto import CellRef, Vault
from tenants.db.batching import Batcher
from tenants.db.pools import Pools
from tenants.ids import uuid7

_WAITING_NODES = frozenset({"core", "tools", "condense"})
"""Steps that wait for models and tools; the rest of a turn is our own handling."""
_TITLE_CHARS = 60


class Ending:
    """Commits runs in batches, and does what follows a commit."""

    def __init__(
        self,
        *,
        pools: Pools,
        vault: Vault,
        agents: AgentRuntime,
        streams: Streams,
        outbox: Outbox,
        places: Places,
        worker_id: UUID,
    ) -> None:
        self._vault, self._agents, self._streams, self._outbox = vault, agents, streams, outbox
        self._places = places
        self._ending: dict[UUID, Run] = {}
        self.summarise: Callable[[UUID, UUID], None] = lambda *_: None
        """Gets the batch that a committed turn has frozen; what is lost here is found by the sweep."""
        committer = Committer(
            pools.app, lease=outbox.lease, worker_id=worker_id, companions=[self._save], followers=[self._renew]
        )
        self._commits: Batcher[Commit, Committed | None] = Batcher(committer.write, max_items=64)

    async def close(self) -> None:
        """Write what waits."""
        await self._commits.close()

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

    async def commit(self, run: Run) -> Committed:
        """Store the run's result as the turn's end, tell watchers, send its parts. Raises Fenced."""
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
            # Who changed the session meanwhile, or had it forgotten, wants nothing kept of what this turn began with.
            if committed.version == result.state.version:
                self._agents.after_commit([(run.input, result)])
        if result.batch is not None:
            self.summarise(result.batch.key.tenant_id, result.batch.id)
        return committed

    def _told(self, run: Run, result: TurnResult, committed: Committed) -> None:
        chunk = message_chunk(
            run.message_id,
            committed.seq,
            role="assistant",
            body=reply_body(result),
            turn_id=run.claimed.turn_id,
            status="final",
            model=result.model,
        )
        if run.publisher is not None:
            run.publisher.close()
        self._streams.stored(run.claimed.tenant_id, run.claimed.session_id, chunk)
        self._places.committed(run.claimed.session_id, seq=committed.seq, version=committed.version)
        metrics.TURNS.labels(status(run, result)).inc()
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
        return run.connection.adapter.render(reply_of(run, result, text))

    def _row(self, run: Run, result: TurnResult, parts: Sequence[Part]) -> Commit:
        claimed, usages = run.claimed, result.usage
        body = self._vault.seal(body_cell(claimed.tenant_id, run.message_id), pack(reply_body(result)))
        texts = tool_texts(result)
        rows = self._part_rows(run, parts)
        return Commit(
            tenant_id=claimed.tenant_id,
            session_id=claimed.session_id,
            turn_id=claimed.turn_id,
            fence=claimed.fence,
            message_id=run.message_id,
            body=body,
            status=status(run, result),
            tokens=sum(item.output_tokens for item in usages),
            model=result.model,
            input_tokens=sum(item.input_tokens for item in usages),
            output_tokens=sum(item.output_tokens for item in usages),
            error=result.error,
            trace=trace(result),
            tool_texts=texts and self._vault.seal(tool_texts_cell(claimed.tenant_id, claimed.turn_id), texts),
            title=self._title(run) if claimed.version == 0 and run.bodies else None,
            spent=sum(item.input_tokens + item.output_tokens for item in usages),
            first_token_at=run.first_token,
            parts=rows,
            send=not any(row.due for row in rows),
        )

    def _part_rows(self, run: Run, parts: Sequence[Part]) -> list[PartRow]:
        if not parts:
            return []
        tenant_id = run.claimed.tenant_id
        address = orjson.dumps(pack_address(run.address))
        expires = datetime.now(UTC) + timedelta(seconds=run.connection.delivery_window)
        shown, held = run.shown, run.held_until
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
                    part=self._vault.seal(
                        CellRef(tenant_id, "content", "delivery", "part", delivery_id), pack_part(part)
                    ),
                    expires=expires,
                    live=live,
                    due=held,
                )
            )
        return rows

    async def _save(self, conn: Any, rows: Sequence[Commit]) -> None:
        """What agents, memory and tenants write in the commit's transaction."""
        runs = [self._ending[row.turn_id] for row in rows if row.turn_id in self._ending]
        pairs = [(run.input, run.result) for run in runs if run.input is not None and run.result is not None]
        if pairs:
            await self._agents.save(conn, pairs)
        await usage.note(conn, [item for run in runs for item in spent(run)])

    async def _renew(self, conn: Any, rows: Sequence[Commit]) -> None:
        """Sessions that begin anew, and messages said anew, after the turn's end was written."""
        for run in [self._ending[row.turn_id] for row in rows if row.turn_id in self._ending]:
            if run.renews:
                await begin_anew(conn, self._vault, run)
            await supersede(conn, run)

    def _title(self, run: Run) -> bytes:
        """A new session's title: the beginning of what was first asked."""
        words = " ".join(next((body.text for body in run.bodies if body.text.strip()), "").split())
        title = words if len(words) <= _TITLE_CHARS else f"{words[: _TITLE_CHARS - 1].rstrip()}…"
        cell = CellRef(run.claimed.tenant_id, "content", "session", "title", run.claimed.session_id)
        return self._vault.seal(cell, title.encode())


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
