"""Run one turn: read what it answers, let the agent work, commit the reply, hand its parts to the outbox."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from agents.runtime import AgentRuntime
from agents.tools import BUILT_IN
from agents.types import AgentSpec, InputMessage, SessionState, TurnInput, TurnResult
from hub.ledger.accept import Accept
from hub.ledger.claim import Claimed
from hub.ledger.commit import Committed
from hub.pipeline import crash, editing, notices
from hub.pipeline.bodies import Body
from hub.pipeline.connections import Connections, LiveConnection
from hub.pipeline.ending import Ending
from hub.pipeline.errors import ConnectionUnknown
from hub.pipeline.generations import asks_anew
from hub.pipeline.inputs import Inputs, input_options, read_bodies
from hub.pipeline.journal import Journals
from hub.pipeline.live import LiveWriter
from hub.pipeline.outbox import Outbox
from hub.pipeline.partials import Partials, Progressing
from hub.pipeline.places import Place, Places
from hub.pipeline.record import spent
from hub.pipeline.rows import Recent
from hub.pipeline.run import MOST_ATTEMPTS, Run
from hub.pipeline.streams import Streams
from hub.pipeline.uploads import Uploads
from memory.types import Buffer, Key
from tenants import usage
from tenants.crypto import Vault
from tenants.db.pools import Pools

TURN_LIMIT = 600.0
"""Seconds after which a turn is ended, whatever it does."""


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
        self.ending = Ending(
            pools=pools,
            vault=vault,
            agents=agents,
            streams=streams,
            outbox=outbox,
            places=places,
            worker_id=worker_id,
        )
        self._partials = Partials(pools, vault)
        self._uploads = Uploads(pools, vault)
        self._journals = Journals(pools, vault)

    async def close(self) -> None:
        """Write what waits."""
        await self.ending.close()
        await self._partials.close()
        await self._journals.close()

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
        if asks_anew(run):
            return await self._renew(run)
        spec = await self._agents.spec(claimed.tenant_id, claimed.agent_id or run.connection.agent_id)
        run.input = await self._input(run, spec)
        await self._work(run, run.input)
        return await self.ending.commit(run)

    async def stop(self, run: Run) -> Committed:
        """After `run` was cancelled for a stop button: what was said so far is the answer."""
        if run.input is None:  # stopped before the agent began
            state = SessionState(version=run.claimed.version + 1, buffer=Buffer())
            run.result = TurnResult(text="", finish="stopped", state=state)
        else:
            run.result = self._agents.stopped(run.input)
        return await self.ending.commit(run)

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
        if not all(name in BUILT_IN and BUILT_IN[name].effect == "none" for name in spec.tools):
            await run.adopted.wait()  # a tool must not act for a message that may never be committed
        await self._work(run, run.input)

    async def adopt(self, run: Run, claimed: Claimed, task: "asyncio.Task[None]") -> Committed:
        """The guess was right: show what was held, go on, commit under the fence that the accept gave."""
        run.claimed = claimed
        run.adopted.set()
        for _, message_id in claimed.messages:
            self._recent.take(message_id)
        if run.publisher is not None:
            run.publisher.release(claimed.fence)
        await task
        return await self.ending.commit(run)

    async def discard(self, run: Run, task: "asyncio.Task[None]") -> None:
        """The guess was wrong: stop, and book what the model call has cost."""
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if run.input is None:
            return
        run.result = run.result or self._agents.stopped(run.input)
        costs = [replace(item, kind="retry") for item in spent(run)]
        if costs:
            async with self._pools.app(run.claimed.tenant_id) as conn:
                await usage.settle(conn, costs)

    # ---- before ------------------------------------------------------------------------------------------------

    async def _input(self, run: Run, spec: AgentSpec) -> TurnInput:
        claimed = run.claimed
        key = Key(tenant_id=claimed.tenant_id, session_id=claimed.session_id, subject_id=claimed.subject_id)
        if claimed.newcomer:
            self._agents.meet(key)
        options = input_options(run.bodies)
        if options.history is None:
            state = await self._agents.load_state(key, claimed.version, spec.policy)
        else:
            state = SessionState(version=claimed.version, buffer=Buffer())
        state = editing.rewound(state, claimed.messages, run.bodies)
        inputs = Inputs(run.connection.adapter, uploads=self._uploads, tenant_id=claimed.tenant_id)
        messages = await inputs.messages(*editing.standing(claimed.messages, run.bodies))
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
        grows = not run.connection.adapter.capabilities.pull and run.held_until is None
        run.live = LiveWriter.for_run(self._outbox, run) if grows else None
        progressing = Progressing(self._partials, run, run.publisher)
        try:
            async with asyncio.timeout(TURN_LIMIT):
                run.result = await self._agents.run(turn, progressing.emit, self._journals.of(run))
        except TimeoutError:
            run.result = _failed(self._agents.stopped(turn), notices.text("failed", run.connection.language))
        finally:
            if run.live is not None:
                await run.live.pause()

    # ---- without an agent ----------------------------------------------------------------------------------------

    async def _renew(self, run: Run) -> Committed:
        run.renews = True
        run.result = TurnResult(
            text=notices.text("new", run.connection.language),
            finish="stop",
            state=SessionState(version=run.claimed.version + 1, buffer=Buffer()),
        )
        return await self.ending.commit(run)

    async def _notify(self, run: Run) -> Committed:
        """A turn without an agent: a refusal said politely, or the end of one that keeps failing."""
        reason = run.claimed.reason if run.claimed.kind == "notice" else "failed"
        version = run.claimed.version + 1
        run.result = TurnResult(
            text=notices.text(reason, run.connection.language),
            finish="stop" if run.claimed.kind == "notice" else "error",
            state=SessionState(version=version, buffer=Buffer()),
            error="" if run.claimed.kind == "notice" else f"given up after {run.claimed.attempts - 1} attempts",
        )
        return await self.ending.commit(run)


def _reply_seq(messages: Sequence[InputMessage]) -> int | None:
    """Memory's line of the answer: one after the last line it answers (see `hub.pipeline.inputs`)."""
    return messages[-1].seq + 1 if messages else None


def _failed(result: TurnResult, text: str) -> TurnResult:
    return replace(result, text=text, finish="error", error="the turn took too long")
