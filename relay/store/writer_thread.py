"""The thread in which everything is written: it takes one batch after the other, and reports each to the event loop.

    settle ──batch──▶ queue ──▶ the thread: `Connections.settle` ──run_sync_soon──▶ on_settled

It is there for as long as the database is served. A job for one of Trio's threads for each batch lost: it takes twice
the CPU time, and most batches of a busy daemon are small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeAlias

import trio

from relay.store.connections import Connections, Outcome, Work
from relay.store.trouble import DatabaseInTrouble

OnSettled: TypeAlias = Callable[[list[Outcome], DatabaseInTrouble | None], None]
"""Gets what `Connections.settle` returns, in the event loop but in no task; it must neither wait nor raise."""


class WriterThread:
    """The thread of one database; its actor owns it, and gives it one batch at a time.

    `limiter` is held until the thread has ended: only then may another one use the connections.
    """

    def __init__(self, connections: Connections, limiter: trio.CapacityLimiter, on_settled: OnSettled) -> None:
        self._connections = connections
        self._limiter = limiter
        self._on_settled = on_settled
        self._is_over = False
        # One batch at most, and the end.
        self._batches: SimpleQueue[Sequence[Work] | None] = SimpleQueue()

    async def run(self) -> None:
        """Run the thread until cancelled. It ends by itself once the batch that it has in hand is settled.

        What comes of that batch is not reported.
        """
        try:
            await trio.to_thread.run_sync(
                self._settle_all, trio.lowlevel.current_trio_token(), limiter=self._limiter, abandon_on_cancel=True
            )
        finally:
            self._is_over = True
            self._batches.put(None)

    def settle(self, writes: Sequence[Work]) -> None:
        """Start to settle the writes as `Connections.settle` does; `on_settled` gets what came of it. Never waits."""
        self._batches.put(writes)

    def _settle_all(self, token: trio.lowlevel.TrioToken) -> None:
        while (writes := self._batches.get()) is not None:
            outcomes, trouble = self._connections.settle(writes)
            with suppress(trio.RunFinishedError):  # nobody waits for it any more
                token.run_sync_soon(self._report, outcomes, trouble)

    def _report(self, outcomes: list[Outcome], trouble: DatabaseInTrouble | None) -> None:
        if not self._is_over:
            self._on_settled(outcomes, trouble)
