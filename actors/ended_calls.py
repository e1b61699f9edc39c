"""The last calls that are over, as they were decided: for those who look at a call when it has just ended. Pure.

What a call leaves for ever is in the database: its record, the times of its turns, its transcript where it is kept. Its
steps are here only, as sentences, until the process ends or newer calls push them out. Without a kept transcript no
sentence quotes anybody.
"""

from __future__ import annotations

import attrs

from actors.call_values import CallInfo, CallOutcome
from actors.narration import Decision, decide
from actors.trace import Trace, TurnTimes, WallClock

MAX_CALLS = 200
MAX_BYTES = 8_000_000
# Roughly what one takes beside its text.
_DECISION_BYTES, _TURN_BYTES, _CALL_BYTES = 200, 400, 500


@attrs.frozen(kw_only=True)
class EndedCall:
    """A call whose session is over, perhaps to be followed by another one: what was decided in it, and its turns.

    `clock` turns the monotonic times of both into wall-clock times. `left_out` counts the steps that were not kept.
    """

    call_sid: str
    agent_id: str
    outcome: CallOutcome
    ended: float
    clock: WallClock
    decisions: tuple[Decision, ...] = attrs.field(repr=False)
    turns: tuple[TurnTimes, ...] = ()
    left_out: int = 0
    turns_left_out: int = 0

    @classmethod
    def of(cls, info: CallInfo, outcome: CallOutcome, trace: Trace, *, now: float, words: bool) -> EndedCall:
        """Make it of a call's trace. Without `words` nothing that a party said is in it."""
        decided = (decide(step, direction=info.direction, words=words) for step in trace.steps)
        return cls(
            call_sid=info.call_sid,
            agent_id=info.agent_id,
            outcome=outcome,
            ended=now,
            clock=trace.clock,
            decisions=tuple(each for each in decided if each is not None),
            turns=tuple(trace.turns),
            left_out=trace.left_out,
            turns_left_out=trace.turns_left_out,
        )

    @property
    def size(self) -> int:
        """Roughly how many bytes it takes."""
        text = sum(len(each.text) for each in self.decisions)
        return text + len(self.decisions) * _DECISION_BYTES + len(self.turns) * _TURN_BYTES + _CALL_BYTES


@attrs.define(eq=False)
class EndedCalls:
    """The newest `max_calls` ended calls, in at most `max_bytes`."""

    max_calls: int = MAX_CALLS
    max_bytes: int = MAX_BYTES
    _calls: dict[str, EndedCall] = attrs.field(factory=dict, init=False)
    _bytes: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._calls)

    def keep(self, call: EndedCall) -> None:
        """Keep a call, in place of what was kept of its earlier sessions; the oldest ones make room."""
        self._drop(call.call_sid)
        self._calls[call.call_sid] = call
        self._bytes += call.size
        while len(self._calls) > self.max_calls or self._bytes > self.max_bytes:
            self._drop(next(iter(self._calls)))

    def find(self, call_sid: str) -> EndedCall | None:
        """Return an ended call; None for one that is not known, or not any more."""
        return self._calls.get(call_sid)

    def newest_first(self) -> tuple[EndedCall, ...]:
        """Return all that are kept."""
        return tuple(reversed(self._calls.values()))

    def _drop(self, call_sid: str) -> None:
        call = self._calls.pop(call_sid, None)
        if call is not None:
            self._bytes -= call.size
