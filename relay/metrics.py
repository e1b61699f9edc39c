"""Metrics and log lines of calls: the `Observer` that every call reports to, and the registry behind `/metrics`."""

from __future__ import annotations

import logging
from functools import cache

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from actors.call_values import CallInfo, CallOutcome, CallSummary, Reason
from actors.commands import NoteTurn, TurnOutcome
from actors.errors import StoreFailed
from actors.events import SeatLeft, SeatTaken
from actors.trace import TurnTimes
from relay.logs import report
from relay.seconds import SecondsHistogram
from relay.turn_metrics import TurnMeter

log = structlog.get_logger(__name__)

# How many lines of one kind a call may write about its frames; how many more there would be is said at its end.
# A carrier that sends a bad frame after each good one, for an hour, would fill the disk.
LINES_PER_CALL = 5

# From a fast answer on the same machine to the default time limit of eight seconds.
_LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 8, 10)
_STORE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_DURATION_BUCKETS = (5, 15, 30, 60, 120, 300, 600, 1200, 3600)


class CallMeter:
    """Count what happens in calls, and log it by the call's id. Plain functions: nothing here waits."""

    def __init__(self) -> None:
        """Make the registry, with nothing counted."""
        # By call SID, then by the event's name: how often it happened. An entry lasts as long as its call.
        self._happened: dict[str, dict[str, int]] = {}
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.live_calls = Gauge("relay_live_calls", "Calls that are live now, at this node", registry=self.registry)
        self.places_taken = Gauge(
            "relay_places_taken",
            "Calls that are live or announced, at this node, out of its RELAY_MAX_CALLS",
            registry=self.registry,
        )
        self.client_sessions = Gauge(
            "relay_client_sessions", "Client sessions connected now, at this node", registry=self.registry
        )
        self._calls = Counter("relay_calls", "Calls that ended, by outcome", ["outcome"], registry=self.registry)
        # From 0 on, so that the first one of a kind is an increase.
        for outcome in CallOutcome:
            self._calls.labels(outcome)
        self._seconds = Histogram(
            "relay_call_seconds", "How long calls lasted", buckets=_DURATION_BUCKETS, registry=self.registry
        )
        self._turns = Counter(
            "relay_turns", "Turns that ended, by who answered and how", ["by", "outcome"], registry=self.registry
        )
        self._first_word = SecondsHistogram(
            "relay_first_word_seconds",
            "From the caller's last word to the first one of the answer",
            ["by"],
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        # A look-up by labels makes strings of them and takes a lock, for every turn; there are a dozen sets of them.
        self._turns_of, self._first_word_of = cache(self._turns.labels), cache(self._first_word.labels)
        self._turns_over = TurnMeter(self.registry)
        self._refusals = Counter(
            "relay_refusals",
            "What was turned away, by door and why; calls and voice messages that were not dialled are in relay_dials",
            ["door", "code"],
            registry=self.registry,
        )
        for code in ("unsigned", "webhook", "upgrade"):
            self._refusals.labels("signature", code)
        self._passed = Counter(
            "relay_passed_requests",
            "Requests and sockets passed on to another node of the cluster, by outcome",
            ["outcome"],
            registry=self.registry,
        )
        self._actions = Counter(
            "relay_operator_actions",
            "What operators did in the console, by outcome",
            ["action", "outcome"],
            registry=self.registry,
        )
        self._store = Histogram(
            "relay_store_seconds",
            "How long the database took: for a commit with all its writes, a look-up, a list",
            ["op"],
            buckets=_STORE_BUCKETS,
            registry=self.registry,
        )
        self._store_of = cache(self._store.labels)
        self._left = Counter(
            "relay_messages_left", "Waiting messages stored, by reason", ["reason"], registry=self.registry
        )
        self._dials = Counter(
            "relay_dials",
            "Numbers dialled, by what for and what came of it",
            ["kind", "outcome"],
            registry=self.registry,
        )
        self._transfers = Counter(
            "relay_transfers", "Transfers that are over, by outcome", ["outcome"], registry=self.registry
        )
        self._rejected = Counter("relay_frames_rejected", "Frames dropped as not of their form", registry=self.registry)
        self._unknown = Counter(
            "relay_frames_unknown", "Frames of a type that is not known, which change nothing", registry=self.registry
        )
        self._refused = Counter("relay_carrier_errors", "Frames that the carrier refused", registry=self.registry)
        self._crashes = Counter(
            "relay_crashes", "Errors stopped at a call's firewall, by stage", ["stage"], registry=self.registry
        )

    def changed(self, call_sid: str) -> None:
        """Count nothing: what an event led to is reported by itself."""

    def turn_ended(self, call: CallInfo, note: NoteTurn) -> None:
        """Count a turn, and log it."""
        self._turns_of(note.by, note.outcome).inc()
        if note.first_word is not None:
            self._first_word_of(note.by).observe(note.first_word)
        # Answered turns are the normal case: counted above, and logged at debug level only.
        level = logging.DEBUG if note.outcome is TurnOutcome.ANSWERED else logging.INFO
        if log.is_enabled_for(level):
            log.log(
                level,
                "turn_ended",
                call_sid=call.call_sid,
                agent_id=call.agent_id,
                turn=note.turn,
                by=note.by.value,
                outcome=str(note.outcome),
                first_word=None if note.first_word is None else round(note.first_word, 3),
            )

    def seat_taken(self, news: SeatTaken) -> None:
        """Log that an operator has taken a call over."""
        log.info("seat_taken", call_sid=news.call_sid, agent_id=news.agent_id, operator=news.operator)

    def seat_left(self, news: SeatLeft) -> None:
        """Log that an operator does not have a call any more."""
        log.info(
            "seat_left", call_sid=news.call_sid, agent_id=news.agent_id, operator=news.operator, why=news.why.value
        )

    def turn_over(self, call: CallInfo, turn: TurnTimes) -> None:
        """Measure the parts of a turn."""
        self._turns_over.turn_over(call.call_sid, turn)

    def never_connected(self, call: CallInfo, *, is_placed: bool) -> None:
        """Log a call that never had a session; one that is not placed has no call SID."""
        if is_placed:
            log.warning("call_never_connected", call_sid=call.call_sid, agent_id=call.agent_id)
        else:
            log.warning("call_never_placed", agent_id=call.agent_id)

    def message_left(self, call: CallInfo, reason: Reason, message_id: str) -> None:
        """Count a waiting message, and log it."""
        self._left.labels(reason).inc()
        log.info("message_left", call_sid=call.call_sid, agent_id=call.agent_id, message_id=message_id, reason=reason)

    def dialled(self, kind: str, outcome: str) -> None:
        """Count an attempt to dial: `kind` is what for (a call, a voice message), `outcome` what came of it."""
        self._dials.labels(kind, outcome).inc()

    def transfer_over(self, outcome: str) -> None:
        """Count a transfer whose outcome is known."""
        self._transfers.labels(outcome).inc()

    def refused(self, door: str, code: str) -> None:
        """Count what was turned away at a door; both are snake_case words."""
        self._refusals.labels(door, code).inc()

    def passed(self, outcome: str) -> None:
        """Count a request that was passed on to another node."""
        self._passed.labels(outcome).inc()

    def operator_acted(self, action: str, outcome: str) -> None:
        """Count what an operator did."""
        self._actions.labels(action, outcome).inc()

    def store_took(self, op: str, seconds: float) -> None:
        """Measure a commit, a look-up or a list."""
        self._store_of(op).observe(seconds)

    @property
    def calls(self) -> frozenset[str]:
        """The call SIDs of which something is kept here until the call's end."""
        return frozenset(self._happened) | self._turns_over.calls

    def frame_rejected(self, call: CallInfo, why: str) -> None:
        """Count a dropped frame, and log it if it is one of the call's first."""
        self._rejected.inc()
        if self._is_early(call, "frame_rejected"):
            log.warning("frame_rejected", call_sid=call.call_sid, why=why)

    def frame_unknown(self, call: CallInfo, kind: str) -> None:
        """Count a frame of a type that is not known, and log it as `frame_rejected`: the carrier has something new."""
        self._unknown.inc()
        if self._is_early(call, "frame_unknown"):
            log.info("frame_unknown", call_sid=call.call_sid, kind=kind)

    def carrier_failed(self, call: CallInfo, description: str) -> None:
        """Count what the carrier refused, and log a call's first ones: a wrong voice or provider shows up only here."""
        self._refused.inc()
        if self._is_early(call, "carrier_error"):
            log.error("carrier_error", call_sid=call.call_sid, description=description[:300])

    def call_ended(self, call: CallInfo, summary: CallSummary, seconds: float) -> None:
        """Count a call, and log it."""
        self._calls.labels(summary.outcome).inc()
        self._seconds.observe(seconds)
        log.info(
            "call_ended",
            call_sid=call.call_sid,
            agent_id=call.agent_id,
            outcome=summary.outcome,
            seconds=round(seconds, 3),
            turns=dict(summary.turns_by),
        )
        self._turns_over.forget(call.call_sid)
        happened = self._happened.pop(call.call_sid, {})
        more = {event: times - LINES_PER_CALL for event, times in happened.items() if times > LINES_PER_CALL}
        if more:
            log.warning("frames_not_logged", call_sid=call.call_sid, **more)

    def call_crashed(self, call: CallInfo, error: BaseException, stage: str) -> None:
        """Count an error that stopped at the firewall, and log its kind and place."""
        self._crashes.labels(stage).inc()
        report("call_crashed", error, call_sid=call.call_sid, agent_id=call.agent_id, stage=stage)

    def call_taken(self, call: CallInfo) -> None:
        """Log that another run of the relay has the call, so that this session stops."""
        log.warning("call_taken", call_sid=call.call_sid, agent_id=call.agent_id, attempt=call.attempt)

    def not_stored(self, call: CallInfo, error: StoreFailed, what: str) -> None:
        """Log what could not be stored of a call that is over: its `record` or its `message`."""
        report("record_not_closed" if what == "record" else "message_not_left", error, call_sid=call.call_sid)

    def _is_early(self, call: CallInfo, event: str) -> bool:
        """Count an event of a call; return whether it is one of the first, which are logged one by one."""
        happened = self._happened.setdefault(call.call_sid, {})
        happened[event] = happened.get(event, 0) + 1
        return happened[event] <= LINES_PER_CALL
