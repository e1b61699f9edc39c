"""The thread in which everything is written: it takes one batch after the other, and reports each to the event loop.

    settle ──batch──▶ queue ──▶ the thread: `Connections.settle` ──run_sync_soon──▶ batch.settled

It is there for as long as the database is served. A job for one of Trio's threads for each batch lost: it takes twice
the CPU time, and most batches of a busy daemon are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from queue import SimpleQueue

import attrs
import trio

from relay.store.connections import Connections, Outcome, Work
from relay.store.trouble import DatabaseInTrouble


@attrs.define(eq=False)
class _Batch:
    writes: Sequence[Work]
    settled: trio.Event = attrs.field(factory=trio.Event)
    result: tuple[list[Outcome | None], DatabaseInTrouble | None] = ([], None)


class WriterThread:
    """The thread of one database; its actor owns it, and settles one batch at a time.

    `limiter` is held until the thread has ended: only then may another one use the connections.
    """

    def __init__(self, connections: Connections, limiter: trio.CapacityLimiter) -> None:
        self._connections = connections
        self._limiter = limiter
        # One batch at most, and the end.
        self._batches: SimpleQueue[_Batch | None] = SimpleQueue()

    async def run(self) -> None:
        """Run the thread until cancelled. It ends by itself once the batch that it has in hand is settled."""
        try:
            await trio.to_thread.run_sync(
                self._settle_all, trio.lowlevel.current_trio_token(), limiter=self._limiter, abandon_on_cancel=True
            )
        finally:
            self._batches.put(None)

    async def settle(self, writes: Sequence[Work]) -> tuple[list[Outcome | None], DatabaseInTrouble | None]:
        """Settle the writes as `Connections.settle` does. Cancelled, the thread goes on with them by itself."""
        batch = _Batch(writes)
        self._batches.put(batch)
        await batch.settled.wait()
        return batch.result

    def _settle_all(self, token: trio.lowlevel.TrioToken) -> None:
        while (batch := self._batches.get()) is not None:
            batch.result = self._connections.settle(batch.writes)
            with suppress(trio.RunFinishedError):  # nobody waits for it any more
                token.run_sync_soon(batch.settled.set)
