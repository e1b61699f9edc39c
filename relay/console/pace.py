"""How the console works beside the calls: a little at a time.

A turn is a dozen short steps of the daemon's loop, one after another. Whatever works on for long delays each of them;
and what merely lets the others have their turn between two pieces is back before the turn's next step, a dozen times.
So the console rests for longer than a turn takes, after less than one notices.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import attrs
import trio

WORK = 0.0003
"""Seconds of work in a row; one piece more may begin in them."""
REST = 0.003
"""Seconds in which a turn is over, if nothing but the relay takes its time."""


@attrs.define(eq=False)
class Pace:
    """One for all that the console makes; `breathe` is called between pieces of work. `now` is in seconds."""

    now: Callable[[], float] = perf_counter
    _since: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._since = self.now()

    async def breathe(self) -> None:
        """Rest if it is time to; without waiting, else. A checkpoint only if it rests."""
        if self.now() - self._since > WORK:
            await trio.sleep(REST)
            self._since = self.now()
