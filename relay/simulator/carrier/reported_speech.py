"""Speech that is played elsewhere, such as by a browser's voice: how far it has come is reported, not computed.

    text frames ─▶ queue ─▶ a voice elsewhere, in sentences ──"this was played"──▶ what the caller has heard

The voice cuts the text in other places than the relay does, so that progress is counted in characters, blanks left
out. What is reported beyond what was sent counts for nothing.
"""

from __future__ import annotations

from collections import deque

import attrs
import trio

from relay.simulator.carrier.speaking import Cut, Reports


@attrs.frozen
class _Piece:
    text: str
    cycle: int
    preemptible: bool
    announced: bool

    @property
    def weight(self) -> int:
        """Its characters without blanks."""
        return _weight(self.text)


@attrs.define(eq=False)
class ReportedPlayback:
    """The caller's earpiece where the sound is made elsewhere: `note_speaking`, `note_played` and `note_heard`."""

    _reports: Reports
    _queue: deque[_Piece] = attrs.field(factory=deque, init=False)
    _speaking: bool = attrs.field(default=False, init=False)
    _began: float = attrs.field(default=0.0, init=False)
    _cycle: int = attrs.field(default=0, init=False)
    _playing_cycle: int = attrs.field(default=0, init=False)
    _cycle_open: bool = attrs.field(default=False, init=False)
    _out: str = attrs.field(default="", init=False)
    # Characters that were played of the first piece in the queue.
    _begun: int = attrs.field(default=0, init=False)
    _heard: str | None = attrs.field(default=None, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def add(self, text: str, *, last: bool, preemptible: bool = False, announced: bool = True) -> None:
        """Queue a piece, as `Playback.add` does."""
        if not self._cycle_open:
            self._cycle += 1
            self._drop_preemptible()
        self._cycle_open = not last
        if text:
            self._queue.append(_Piece(text, self._cycle, preemptible, announced))

    def cut(self) -> Cut:
        """Discard what is queued; return what was reported to be heard of the current cycle."""
        heard, spoke = self._out if self._heard is None else self._heard, self._speaking
        after = round((trio.current_time() - self._began) * 1000) if spoke else 0
        self._queue.clear()
        self._begun, self._speaking = 0, False
        self._close_line(heard)
        return Cut(heard, after, spoke)

    @property
    def can_be_cut(self) -> bool:
        """Whether something is being spoken, or waits to be."""
        return self._speaking or bool(self._queue)

    async def quiet(self) -> None:
        """Wait until all that was queued is reported as played."""
        while self._queue or self._speaking:
            await self._changed.wait()

    async def run(self) -> None:
        """Wait until cancelled: others play."""
        await trio.sleep_forever()

    # ── what is reported ────────────────────────────────────────────────────────────────────────────────────────────

    async def note_speaking(self, on: bool) -> None:
        """Note that the voice has begun, or has nothing more to speak."""
        if on == self._speaking:
            await trio.lowlevel.checkpoint()
            return
        self._speaking = on
        if on:
            self._began = trio.current_time()
        elif not self._queue and not self._cycle_open:
            self._close_line(self._out)
        self._wake()
        await self._reports.speaking(on)

    async def note_played(self, text: str) -> None:
        """Note that this was spoken to its end."""
        await trio.lowlevel.checkpoint()
        played = self._begun + _weight(text)
        done: list[_Piece] = []
        while self._queue and self._queue[0].weight <= played:
            piece = self._queue.popleft()
            played -= piece.weight
            if piece.cycle != self._playing_cycle:
                self._close_line(self._out)
                self._playing_cycle = piece.cycle
            self._out += piece.text
            done.append(piece)
        self._begun = played if self._queue else 0
        self._wake()
        for piece in done:
            if piece.announced:
                await self._reports.played(piece.text)

    def note_heard(self, text: str) -> None:
        """Note what has come out of the current cycle, for the cut that follows: no more than was sent of it."""
        sent = self._out + "".join(each.text for each in self._queue)
        self._heard = text[: len(sent)]

    # ── what follows from it ────────────────────────────────────────────────────────────────────────────────────────

    def _drop_preemptible(self) -> None:
        kept = deque(each for each in self._queue if not each.preemptible)
        if self._queue and self._queue[0].preemptible:
            self._begun = 0
        self._queue = kept

    def _close_line(self, heard: str) -> None:
        if heard.strip():
            self._reports.heard(heard.strip())
        self._out, self._heard = "", None
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _weight(text: str) -> int:
    return sum(not each.isspace() for each in text)
