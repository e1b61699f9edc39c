"""A turn that a client was asked for, on its way: what came of it so far, and whether more will come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import trio

from actors.errors import ResponderError
from relay.mcp.pieces import Pieces


@attrs.define(eq=False)
class Turn:
    """One sampling request. Two tasks share it: one asks, within `asking`, the other speaks what `next_text` gives."""

    pieces: Pieces = attrs.field(factory=Pieces, init=False)
    result: Mapping[str, Any] = attrs.field(factory=dict, init=False)
    failure: ResponderError | None = attrs.field(default=None, init=False)
    over: bool = attrs.field(default=False, init=False)
    asking: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def take_piece(self, progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG002 - the SDK names it
        """Note a piece; the dispatcher calls this from tasks of its own, in any order."""
        self.pieces.add(progress, message or "")
        self._changed.set()

    def finish(self) -> None:
        """Note that the result or the failure is there."""
        self.over = True
        self._changed.set()

    def lose(self, failure: ResponderError) -> None:
        """Give up waiting for the result; one that is there already stays."""
        if not self.over:
            self.failure = failure
            self.asking.cancel("the stream ended")
            self.finish()

    async def next_text(self) -> str:
        """Wait for what can be spoken next; empty when the request is over, because the result then says the rest."""
        while not self.over:
            if text := self.pieces.take():
                return text
            self._changed = trio.Event()
            await self._changed.wait()
        return ""
