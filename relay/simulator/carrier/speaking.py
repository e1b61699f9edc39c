"""Turns the relay's text into speech that takes time, so that a caller can talk over it.

    text frames ─▶ queue ─▶ the piece that is playing ─▶ what the caller has heard

No sound is made: a piece takes as long as its characters do at `rate`. That is enough to say, at any moment, how much
of an answer has come out of the telephone, which is what an interruption reports. How the carrier treats speech that
is queued when it is interrupted is not documented; here it is discarded, as every known application assumes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs
import trio


@attrs.frozen
class Cut:
    """What of a talk cycle came out before it was cut off, for how long it had been playing, and whether it was."""

    heard: str
    after_ms: int
    speaking: bool


@attrs.frozen
class Reports:
    """Whom playback tells: speech began or ended, a piece was played to its end, a cycle is over and this was heard."""

    speaking: Callable[[bool], Awaitable[None]]
    played: Callable[[str], Awaitable[None]]
    heard: Callable[[str], None]


class Earpiece(Protocol):
    """What a session plays the relay's text on: `Playback`, or `reported_speech.ReportedPlayback`."""

    def add(self, text: str, *, last: bool, preemptible: bool = False, announced: bool = True) -> None:
        """Queue a piece; `last` closes its cycle."""
        ...

    def cut(self) -> Cut:
        """Stop at once and discard what is queued; return what came out of the current cycle."""
        ...

    @property
    def can_be_cut(self) -> bool:
        """Whether something is playing or about to."""
        ...

    async def quiet(self) -> None:
        """Wait until all that was queued has been played."""
        ...

    async def run(self) -> None:
        """Play until cancelled."""
        ...


@attrs.define
class _Piece:
    text: str
    cycle: int
    preemptible: bool
    announced: bool


@attrs.define(eq=False)
class Playback:
    """The caller's earpiece: pieces of talk cycles go in, one cycle after the other comes out.

    `rate` is in characters per second; None plays in no time. Pieces wait in memory until they are played, which a
    session bounds by its message size and the relay by its own limits on an answer.
    """

    _rate: float | None
    _reports: Reports
    speaking: bool = False
    _queue: deque[_Piece] = attrs.field(factory=deque)
    _current: _Piece | None = None
    _playing: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _piece_began: float = 0.0
    _cycle: int = 0
    _playing_cycle: int = 0
    _cycle_began: float = 0.0
    _cycle_open: bool = False
    _out: str = ""
    _changed: trio.Event = attrs.field(factory=trio.Event)

    def add(self, text: str, *, last: bool, preemptible: bool = False, announced: bool = True) -> None:
        """Queue a piece; `last` closes its cycle. What is preemptible makes way for a newer cycle.

        A piece that is not `announced` is not reported as played: the carrier reports text frames, not its greeting.
        """
        if not self._cycle_open:
            self._cycle += 1
            self._drop_preemptible()
        self._cycle_open = not last
        if text:
            self._queue.append(_Piece(text, self._cycle, preemptible, announced))
        self._wake()

    def cut(self) -> Cut:
        """Stop at once and discard what is queued; say what came out of the current cycle.

        Pieces of that cycle which come later are played: the carrier speaks whatever it is sent after an interruption.
        """
        heard, spoke = self._out + self._part_played(), self.speaking
        after = round((trio.current_time() - self._cycle_began) * 1000) if spoke else 0
        self.speaking = False
        self._queue.clear()
        self._stop_piece()
        self._close_line(heard)
        return Cut(heard, after, spoke)

    @property
    def can_be_cut(self) -> bool:
        """Whether something is playing or about to, so that a caller would talk over it."""
        return self.speaking or self._current is not None or bool(self._queue)

    async def quiet(self) -> None:
        """Wait until all that was queued has been played."""
        while self._queue or self._current or (self.speaking and not self._cycle_open):
            await self._changed.wait()

    async def run(self) -> None:
        """Play until cancelled."""
        while True:
            if self._queue:
                await self._play(self._queue.popleft())
            elif self.speaking and not self._cycle_open:
                await self._fall_silent()
            else:
                await self._changed.wait()

    async def _play(self, piece: _Piece) -> None:
        if piece.cycle != self._playing_cycle:
            self._close_line(self._out)
            self._playing_cycle, self._cycle_began = piece.cycle, trio.current_time()
        self._current, self._piece_began = piece, trio.current_time()
        self._playing = playing = trio.CancelScope()
        if not self.speaking:
            self.speaking = True
            await self._reports.speaking(True)
        with playing:
            await trio.sleep(len(piece.text) / self._rate if self._rate else 0)
        if self._current is not piece:
            return  # it was cut short, and accounted for
        self._current = None
        self._out += piece.text
        self._wake()
        if piece.announced:
            await self._reports.played(piece.text)

    async def _fall_silent(self) -> None:
        self._close_line(self._out)
        self.speaking = False
        self._wake()
        await self._reports.speaking(False)

    def _part_played(self) -> str:
        if not self._current or not self._rate:
            return ""
        said = self._current.text[: int((trio.current_time() - self._piece_began) * self._rate)]
        # Half a word is not reported: the carrier counts words.
        return said if said == self._current.text else said[: said.rfind(" ") + 1]

    def _drop_preemptible(self) -> None:
        self._queue = deque(piece for piece in self._queue if not piece.preemptible)
        if self._current and self._current.preemptible:
            self._close_line(self._out + self._part_played())
            self._stop_piece()

    def _stop_piece(self) -> None:
        self._current = None
        self._playing.cancel()
        self._wake()

    def _close_line(self, heard: str) -> None:
        if heard.strip():
            self._reports.heard(heard.strip())
        self._out = ""

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
