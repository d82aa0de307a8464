"""Show an answer on the platform while it is written: typing, then one message that grows, where the channel can.

The first send is committed as a delivery before the network, so that a crash leaves one message to go on with and
never two. Updates in between are not worth keeping: the commit's last text is what counts.
"""

import asyncio
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
    from hub.pipeline.turns import Run

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
        """End typing and writing; what is shown stays for the commit's last text."""
        for task in (self._typing, self._writing):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in (self._typing, self._writing) if task), return_exceptions=True)

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
                    await asyncio.sleep(error.retry_after or capabilities.stream_interval)
                except (ChannelError, TimeoutError) as error:
                    log.info("streaming_given_up", reason=type(error).__name__, turn_id=str(run.claimed.turn_id))
                    return
                seen = text
            await asyncio.sleep(capabilities.stream_interval)

    async def _show(self, text: str) -> bool:
        adapter = self._run.connection.adapter
        part = adapter.render(Reply(text=text))[0]
        if self.shown is None:
            return await self._open(part)
        sent = await adapter.update(self._run.address, self.shown.sent, part, key=self.shown.delivery_id.hex)
        self.shown = Shown(self.shown.delivery_id, sent)
        return True

    async def _open(self, part: Part) -> bool:
        """Send the message that will grow, or go on with the one that an earlier attempt left."""
        run, claimed = self._run, self._run.claimed
        if claimed.attempts > 1:
            async with self._outbox.pools.app(claimed.tenant_id) as conn:
                left = await find_live(conn, claimed.session_id, claimed.turn_id)
            if left is not None:
                return self._take_over(left)
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
            # The answer then comes as an ordinary message at the end; this one has the end that it had.
            status: SettledStatus = "dead" if isinstance(error, Permanent | Transient) else "unknown"
            self._outbox.settle_soon(self._settle(delivery_id, status, detail=type(error).__name__))
            raise
        crash.point("live.after_send")
        self.shown = Shown(delivery_id, sent)
        self._outbox.settle_soon(self._settle(delivery_id, "live", sent))
        return True

    def _take_over(self, left: tuple[UUID, str, str, dict[str, str]]) -> bool:
        delivery_id, status, platform_id, extra = left
        if status != "live":
            return False
        self.shown = Shown(delivery_id, SentMessage(platform_id=platform_id, extra=extra))
        return True

    def _settle(
        self, delivery_id: UUID, status: SettledStatus, sent: SentMessage | None = None, *, detail: str = ""
    ) -> Settle:
        return Settle(
            delivery_id=delivery_id,
            session_id=self._run.claimed.session_id,
            status=status,
            platform_id=sent.platform_id if sent else "",
            platform_extra=orjson.dumps(dict(sent.extra)).decode() if sent else "{}",
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
