"""Metrics of turns that are over: what their time was spent on, and what their callers went through."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter

from actors.commands import By, TurnOutcome
from actors.trace import TurnTimes
from relay.seconds import SecondsHistogram

# What the relay itself takes of a turn is milliseconds, and an answer is spoken for up to half a minute.
_PART_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 15, 30)

PARTS = ("stored", "client", "out", "heard")
_FAILED = frozenset(
    {
        TurnOutcome.CLIENT_ABSENT,
        TurnOutcome.CLIENT_TIMEOUT,
        TurnOutcome.CLIENT_FAILED,
        TurnOutcome.CLIENT_LEFT,
        TurnOutcome.HUMAN_TIMEOUT,
    }
)
_TIMED_OUT = frozenset({TurnOutcome.CLIENT_TIMEOUT, TurnOutcome.HUMAN_TIMEOUT})
_FILLERS = ("filler", "long_filler")


class TurnMeter:
    """Count turns that are over. Owned by `CallMeter`. Plain functions: nothing here waits."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics, with nothing counted."""
        # By call SID, its newest turn that is over. An entry lasts as long as its session.
        self._before: dict[str, TurnTimes] = {}
        self._part = SecondsHistogram(
            "relay_turn_seconds",
            "What a turn's time was spent on: storing the words and asking (stored), waiting for the first "
            "piece of the answer (client), sending it (out), until the caller had heard all or broke in (heard)",
            ["part", "by"],
            buckets=_PART_BUCKETS,
            registry=registry,
        )
        self._parts_of = cache(lambda by: tuple(self._part.labels(part, by) for part in PARTS))
        self._interrupts = Counter(
            "relay_interrupts",
            "Answers that the caller broke off, before (none) or after (some) something of them was sent",
            ["heard"],
            registry=registry,
        )
        self._interrupts_of = cache(self._interrupts.labels)
        self._rungs = Counter(
            "relay_rungs",
            "How far waiting for an answer went: a filler was said, the long one too, the time limit had come",
            ["rung"],
            registry=registry,
        )
        self._rungs_of = cache(self._rungs.labels)
        self._step_downs = Counter(
            "relay_step_downs",
            "Calls that went on with the answering machine, by how the client's turn before ended",
            ["reason"],
            registry=registry,
        )
        self._taken_back = Counter(
            "relay_taken_back", "Calls that were taken back from the answering machine", ["by"], registry=registry
        )

    def turn_over(self, call_sid: str, turn: TurnTimes) -> None:
        """Measure the parts of a turn, and count what its caller went through. The parts sum to the whole."""
        if turn.asked is None:
            return
        stored, client, out, heard = self._parts_of(turn.by)
        stored.observe(turn.asked - turn.arrived)
        first = turn.last if turn.first is None else turn.first
        if first is not None:
            client.observe(first - turn.asked)
        if turn.out is not None and turn.first is not None:
            out.observe(turn.out - turn.first)
            heard.observe(max(turn.end - turn.out, 0))
        is_interrupted = turn.outcome is TurnOutcome.INTERRUPTED
        if is_interrupted or (turn.cut is not None and turn.outcome is TurnOutcome.ANSWERED):
            self._interrupts_of("none" if turn.out is None else "some").inc()
        for rung in _FILLERS[: len(turn.fillers)]:
            self._rungs_of(rung).inc()
        if turn.outcome in _TIMED_OUT:
            self._rungs_of("time_limit").inc()
        self._note_who_answers(call_sid, turn)

    def _note_who_answers(self, call_sid: str, turn: TurnTimes) -> None:
        before = self._before.get(call_sid)
        self._before[call_sid] = turn
        was_machine = before is not None and before.by is By.ANSWERING_MACHINE
        if turn.by is By.ANSWERING_MACHINE and not was_machine:
            outcome = None if before is None else before.outcome
            # Without a turn that failed no client was there to be asked.
            self._step_downs.labels(outcome if outcome in _FAILED else TurnOutcome.CLIENT_ABSENT).inc()
        elif was_machine and turn.by is not By.ANSWERING_MACHINE:
            self._taken_back.labels(turn.by).inc()

    def forget(self, call_sid: str) -> None:
        """Forget a session that is over. No-op if it had no turn."""
        self._before.pop(call_sid, None)

    @property
    def calls(self) -> frozenset[str]:
        """The call SIDs of which something is kept here."""
        return frozenset(self._before)
