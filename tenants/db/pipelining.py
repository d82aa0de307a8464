"""A pipeline that sends once.

psycopg's pipeline hands each statement to the network as it comes: two system calls here, and a server process that is
woken for each statement instead of once. Nobody waits for the statements in between, so this one keeps them until an
answer is wanted (the block's end, a sync, a fetch) or many have come together, and sends them in one piece.
"""

from collections.abc import Generator
from typing import Any

from psycopg import AsyncPipeline
from psycopg._pipeline_base import BasePipeline

MOST_WAITING = 64
"""Statements after which what waits is sent in any case."""


class OneSendPipeline(AsyncPipeline):
    """As psycopg's, for the statements of one transaction. Made by `HubConnection.pipeline` alone."""

    def __init__(self, conn: Any) -> None:
        super().__init__(conn)
        self._wanted = False

    def _enqueue_sync(self) -> None:
        super()._enqueue_sync()
        self._wanted = True

    def _communicate_gen(self) -> Generator[Any, Any, None]:
        queue = self.command_queue
        if not self._wanted and len(queue) < MOST_WAITING:
            return
        self._wanted = False
        while len(queue) > 1:  # into libpq's buffer; the last one goes psycopg's way and takes all with it
            queue.popleft()()
        yield from BasePipeline._communicate_gen(self)

    def _fetch_gen(self, *, flush: bool) -> Generator[Any, Any, None]:
        if self.command_queue:
            self._wanted = True
            yield from self._communicate_gen()
        yield from BasePipeline._fetch_gen(self, flush=flush)
