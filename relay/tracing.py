"""Traces of calls, for a collector: made when a turn is over, of the times that are known by then.

    TurnRequest ──traced──▶ traceparent ──▶ the client, whose spans hang below ours
    turn over, session over ──▶ Tracer ──spans──▶ BatchSpanProcessor, its thread ──OTLP over HTTP──▶ collector

    call ─┬─ turn ─┬─ stored     the relay makes the words durable, and asks
          │        ├─ client     until the first piece of the answer came
          │        ├─ out        until it was sent
          │        └─ speech     until the caller had heard all, or broke in
          └─ turn …

The ids are made of the call SID and the turn's number: so they are known before there is a span, need not be kept, and
are the same in every process that a call passes through. A span has ids, times and outcomes, no words and no numbers.

Only where OTEL_EXPORTER_OTLP_ENDPOINT is set is this imported. Spans that are opened and closed around the work lost:
each costs a tenth of a millisecond in the middle of a turn, when a caller waits.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import attrs
import structlog
import trio
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from actors.call_values import CallInfo, CallSummary, TurnRequest
from actors.ports import Answer, Observer, Responder
from actors.trace import TurnTimes
from relay import __version__

log = structlog.get_logger(__name__)

# How long one delivery may take, and how long the last one at the end.
EXPORT_SECONDS = 3.0
STOP_SECONDS = 4.0

_BILLION = 1_000_000_000
_NO_FACTS: Mapping[str, str | int] = {}
_KINDS = {"call": SpanKind.SERVER, "client": SpanKind.CLIENT}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def traceparent_of(call_sid: str, turn: int) -> str:
    """Return the context of a turn's request to its client, in the form of the W3C's Trace Context."""
    return f"00-{_trace_id(call_sid):032x}-{_span_id(call_sid, 'client', turn):016x}-01"


def _trace_id(call_sid: str) -> int:
    return int.from_bytes(hashlib.sha256(call_sid.encode()).digest()[:16], "big")


def _span_id(*of: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(of).encode()).digest()[:8], "big")


@attrs.frozen
class TracedResponder:
    """Hand each turn on with its `traceparent`. A Responder."""

    responder: Responder

    async def respond(self, request: TurnRequest, answer: Answer) -> None:
        """Answer one turn, as the inner responder does."""
        traced = attrs.evolve(request, traceparent=traceparent_of(request.call.call_sid, request.turn))
        await self.responder.respond(traced, answer)


@attrs.frozen(eq=False)
class Tracer(Observer):
    """Makes spans of turns and sessions that are over; of all else that an observer hears it makes nothing.

    `take` gets each span, and `shutdown` delivers what is left; the first must neither wait nor raise.
    """

    take: Callable[[ReadableSpan], None]
    shutdown: Callable[[], None]
    _resource: Resource = attrs.field(factory=lambda: Resource.create(_service()))
    _scope: InstrumentationScope = attrs.field(factory=lambda: InstrumentationScope("relay", __version__))

    @classmethod
    def to(cls, endpoint: str) -> Tracer:
        """Return a tracer for the collector at `endpoint`; its thread begins at once. Other variables are the SDK's."""
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
        processor = BatchSpanProcessor(exporter)
        return cls(processor.on_end, processor.shutdown)

    def traced(self, responder: Responder) -> Responder:
        """Return `responder`, which from now on knows the context of each turn."""
        return TracedResponder(responder)

    def turn_over(self, call: CallInfo, turn: TurnTimes) -> None:
        """Make the spans of a turn."""
        at, of_turn = _since_epoch(), _context(call, "turn", turn.turn)
        for name, began, ended in _parts(turn):
            self._make(name, _context(call, name, turn.turn), of_turn, (at(began), at(ended)))
        outcome = "unknown" if turn.outcome is None else turn.outcome.value
        facts = {"relay.turn": turn.turn, "relay.by": turn.by.value, "relay.outcome": outcome}
        of_call = _context(call, "call", call.attempt)
        self._make("turn", of_turn, of_call, (at(turn.arrived), at(turn.end)), facts)

    def call_ended(self, call: CallInfo, summary: CallSummary, seconds: float) -> None:
        """Make the span of a session of a call; a call that was resumed has several."""
        facts = {
            "relay.call_sid": call.call_sid,
            "relay.agent_id": call.agent_id,
            "relay.direction": call.direction.value,
            "relay.outcome": summary.outcome.value,
            "relay.session": call.attempt,
        }
        now, context = time.time_ns(), _context(call, "call", call.attempt)
        self._make("call", context, None, (now - int(seconds * _BILLION), now), facts)

    def _make(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        times: tuple[int, int],
        facts: Mapping[str, str | int] = _NO_FACTS,
    ) -> None:
        span = ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            facts,
            kind=_KINDS.get(name, SpanKind.INTERNAL),
            start_time=times[0],
            end_time=times[1],
            instrumentation_scope=self._scope,
        )
        self.take(span)

    async def stop(self, within: float = STOP_SECONDS) -> None:
        """Deliver what is left, for `within` seconds at most: what a dead collector does not take then is lost."""
        with trio.move_on_after(min(within, STOP_SECONDS)) as scope:
            await trio.to_thread.run_sync(self.shutdown, abandon_on_cancel=True)
        if scope.cancelled_caught:
            log.warning("traces_lost", why="The collector did not take the last ones in time.")


def _service() -> dict[str, str]:
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence: `create` would have it the other way round.
    named = Resource.create().attributes.get(SERVICE_NAME, "")
    is_named = isinstance(named, str) and named and not named.startswith("unknown_service")
    return {SERVICE_NAME: str(named) if is_named else "relay", SERVICE_VERSION: __version__}


def _context(call: CallInfo, name: str, number: int) -> SpanContext:
    sid = call.call_sid
    return SpanContext(_trace_id(sid), _span_id(sid, name, number), is_remote=False, trace_flags=_SAMPLED)


def _parts(turn: TurnTimes) -> Iterator[tuple[str, float, float]]:
    """Return the parts of a turn that there were, with their monotonic times; together they are the whole."""
    if turn.asked is None:
        return
    yield "stored", turn.arrived, turn.asked
    first = turn.last if turn.first is None else turn.first
    if first is not None:
        yield "client", turn.asked, first
    if turn.out is not None and turn.first is not None:
        yield "out", turn.first, turn.out
        yield "speech", turn.out, max(turn.end, turn.out)


def _since_epoch() -> Callable[[float], int]:
    """Return what makes nanoseconds since the epoch of monotonic seconds."""
    return partial(_nanoseconds, time.time_ns(), trio.current_time())


def _nanoseconds(wall: int, monotonic: float, at: float) -> int:
    return wall - int((monotonic - at) * _BILLION)
