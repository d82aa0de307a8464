"""Show an answer on the platform while it is written: typing, then one message that grows, where the channel can.

The first send is committed as a delivery before the network, so that a crash leaves one message to go on with and
never two. Updates in between are not worth keeping: the commit's last text is what counts.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import orjson
import structlog

from channels_adapters.errors import ChannelError, Permanent, Transient
from channels_adapters.types import Part, Reply, SentMessage, streamed
from hub.ledger.live import LiveRow, find_live, open_live
from hub.ledger.settle import Settle, SettledStatus
from hub.pipeline import crash
from hub.pipeline.bodies import pack_address
from tenants.crypto import CellRef
from tenants.ids import uuid7

if TYPE_CHECKING:
    from hub.pipeline.outbox import Outbox
    from hub.pipeline.run import Run

log = structlog.get_logger(__name__)

_FIRST_CHARS = 24
"""Text that is worth showing first."""
_STEP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Shown:
    """The visible message and its delivery."""

    delivery_id: UUID
    sent: SentMessage


class LiveWriter:
    """Typing and streaming of one turn; a fault here only makes the answer appear at once at the end."""

    def __init__(self, outbox: "Outbox", run: "Run") -> None:
        self._outbox = outbox
        self._run = run
        self.shown: Shown | None = None
        self._typing: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._opening = False
        self._over = False
        capabilities = run.connection.adapter.capabilities
        if capabilities.typing:
            self._typing = asyncio.get_running_loop().create_task(self._type(capabilities.typing_seconds))

    @classmethod
    def for_run(cls, outbox: "Outbox", run: "Run") -> "LiveWriter | None":
        """A writer where the channel can show something before the answer is ready."""
        capabilities = run.connection.adapter.capabilities
        return cls(outbox, run) if capabilities.typing or capabilities.stream != "none" else None

    def start(self) -> None:
        """The first text has come."""
        if self._run.connection.adapter.capabilities.stream != "none" and self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def pause(self) -> None:
        """End typing and writing; what is shown stays for the commit's last text.

        A first send that is under way is waited for (15 seconds at most): cut off, its message might be visible and
        the answer would come as a second one.
        """
        self._over = True
        tasks = [task for task in (self._typing, self._writing) if task is not None]
        for task in tasks:
            if task is not self._writing or not self._opening:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _paused(self) -> bool:
        return self._over

    async def _type(self, every: float) -> None:
        while True:
            try:
                async with asyncio.timeout(_STEP_SECONDS):
                    await self._run.connection.adapter.show_typing(self._run.address)
            except (ChannelError, TimeoutError):
                return
            await asyncio.sleep(every)

    async def _write(self) -> None:
        run, capabilities = self._run, self._run.connection.adapter.capabilities
        seen = ""
        while True:
            text = run.publisher.text if run.publisher is not None else ""
            if text != seen and len(text) >= _FIRST_CHARS:
                try:
                    async with asyncio.timeout(_STEP_SECONDS):
                        if not await self._show(text):
                            return
                except Transient as error:
                    if self._paused():
                        return
                    await asyncio.sleep(error.retry_after or capabilities.stream_interval)
                except (ChannelError, TimeoutError) as error:
                    log.info("streaming_given_up", reason=type(error).__name__, turn_id=str(run.claimed.turn_id))
                    return
                seen = text
            if self._paused():
                return
            await asyncio.sleep(capabilities.stream_interval)

    async def _show(self, text: str) -> bool:
        adapter = self._run.connection.adapter
        part = adapter.render(Reply(text=text))[0]
        if self.shown is None:
            self._opening = True
            try:
                return await self._open(part)
            finally:
                self._opening = False
        sent = await adapter.update(self._run.address, self.shown.sent, part, key=self.shown.delivery_id.hex)
        self.shown = Shown(self.shown.delivery_id, sent)
        return True

    async def _open(self, part: Part) -> bool:
        """Send the message that will grow, or go on with the one that an earlier attempt left."""
        run, claimed = self._run, self._run.claimed
        if claimed.attempts > 1:
            self.shown = await left_behind(self._outbox, run)
            if self.shown is not None:
                return True
        delivery_id = uuid7()
        async with self._outbox.pools.app(claimed.tenant_id) as conn:
            if not await open_live(
                conn, self._row(delivery_id, part), worker_id=self._outbox.worker_id, lease=self._outbox.lease
            ):
                return False
        crash.point("live.after_open")
        try:
            sent = await run.connection.adapter.send(run.address, streamed(part), key=delivery_id.hex)
        except BaseException as error:
            # The answer then comes as an ordinary message at the end; this one has the end that it had. It is settled
            # before the commit, which would otherwise put the answer's parts behind a dead one.
            status: SettledStatus = "dead" if isinstance(error, Permanent | Transient) else "unknown"
            await self._outbox.settle(self._settle(delivery_id, status, detail=type(error).__name__))
            raise
        crash.point("live.after_send")
        self.shown = Shown(delivery_id, sent)
        await self._outbox.settle(self._settle(delivery_id, "live", sent))
        return True

    def _settle(
        self, delivery_id: UUID, status: SettledStatus, sent: SentMessage | None = None, *, detail: str = ""
    ) -> Settle:
        return Settle(
            delivery_id=delivery_id,
            session_id=self._run.claimed.session_id,
            status=status,
            platform_id=sent.platform_id if sent else "",
            platform_extra=packed_extra(sent) if sent else "{}",
            detail=detail,
        )

    def _row(self, delivery_id: UUID, part: Part) -> LiveRow:
        run, claimed, vault = self._run, self._run.claimed, self._outbox.vault
        packed = orjson.dumps({"kind": part.kind, "payload": part.payload, "text": part.text}, default=dict)
        address = orjson.dumps(pack_address(run.address))
        return LiveRow(
            delivery_id=delivery_id,
            session_id=claimed.session_id,
            connection_id=run.connection.id,
            turn_id=claimed.turn_id,
            message_id=run.message_id,
            fence=claimed.fence,
            address=vault.seal(CellRef(claimed.tenant_id, "content", "delivery", "address", delivery_id), address),
            part=vault.seal(CellRef(claimed.tenant_id, "content", "delivery", "part", delivery_id), packed),
            expires=datetime.now(UTC) + timedelta(seconds=run.connection.delivery_window),
        )


async def left_behind(outbox: "Outbox", run: "Run") -> Shown | None:
    """The growing message that an earlier attempt of this turn left on the platform."""
    claimed = run.claimed
    async with outbox.pools.app(claimed.tenant_id) as conn:
        left = await find_live(conn, claimed.session_id, claimed.turn_id)
    if left is None:
        return None
    delivery_id, platform_id, extra = left
    return Shown(delivery_id, from_row(platform_id, extra))


def from_row(platform_id: str, extra: Mapping[str, str]) -> SentMessage:
    """A visible message as its row has it: updates since the first send were not noted, so it may show more by now."""
    return SentMessage(platform_id=platform_id, extra={**extra, "stale": "1"})


def packed_extra(sent: SentMessage) -> str:
    """What the platform gave with a message, as JSON that PostgreSQL takes (it refuses an escaped NUL)."""
    return orjson.dumps(dict(sent.extra)).decode().replace("\\u0000", "")
