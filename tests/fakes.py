"""Stand-ins for what a call needs from outside, over memory channels: a line, a responder, an observer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeAlias, TypeVar

import attrs
import trio

from actors.call_values import CallInfo, CallSummary, Reason, TurnRequest
from actors.commands import NoteTurn
from actors.errors import LineClosed, StoreFailed
from actors.events import CallerGone, PhoneEvent
from actors.ports import Answer
from actors.trace import TurnTimes

T = TypeVar("T")
Pipe: TypeAlias = tuple[trio.MemorySendChannel[T], trio.MemoryReceiveChannel[T]]

STARTED = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def call_info(**changes: object) -> CallInfo:
    """Make a call as the reception would, without a greeting unless asked for."""
    given: dict[str, object] = {
        "call_sid": "CA1",
        "agent_id": "my-client",
        "caller": "+15551230001",
        "called": "+15551230002",
        "started_at": STARTED,
    }
    return CallInfo(**(given | changes))  # type: ignore[arg-type]


@attrs.frozen(eq=False)
class Session:
    """A client session that is asked directly."""

    agent_id: str = "my-client"

    async def respond(self, request: TurnRequest, answer: Answer) -> None:
        await answer.say("asked")


@attrs.define(eq=False, slots=False)
class MemoryLine:
    """A `PhoneLine` whose carrier is the test: `carrier_says` in, `frames` out, `log` both."""

    frames: list[tuple[str, str | int, bool]] = attrs.field(factory=list)
    log: list[object] = attrs.field(factory=list)
    is_closed: bool = False
    breaks: bool = False
    stuck: trio.Event | None = None

    _carrier: Pipe[PhoneEvent] = attrs.field(factory=lambda: trio.open_memory_channel[PhoneEvent](1000))
    _heard: Pipe[str] = attrs.field(factory=lambda: trio.open_memory_channel[str](1000))

    def carrier_says(self, *events: PhoneEvent) -> None:
        """Put frames on the line."""
        for event in events:
            self._carrier[0].send_nowait(event)

    async def receive(self) -> PhoneEvent:
        if self.is_closed:
            return CallerGone()
        event = await self._carrier[1].receive()
        self.log.append(event)
        if isinstance(event, CallerGone):
            self.is_closed = True
        return event

    async def speak(self, text: str, *, last: bool, preemptible: bool = False) -> None:
        if self.stuck is not None:
            await self.stuck.wait()
        # Noted before anybody else runs: what a real line was given is on its way, whatever arrives meanwhile.
        self._note(("text", text, last))
        await trio.lowlevel.checkpoint()
        if last:
            self._heard[0].send_nowait(self.last_cycle())

    async def end(self, handoff: str = "") -> None:
        await trio.lowlevel.checkpoint()
        self._note(("end", handoff, True))

    async def close(self, code: int) -> None:
        await trio.lowlevel.checkpoint()
        self.frames.append(("close", code, True))
        self.is_closed = True

    def _note(self, frame: tuple[str, str | int, bool]) -> None:
        if self.is_closed or self.breaks:
            raise LineClosed
        self.frames.append(frame)
        self.log.append(frame)

    def last_cycle(self) -> str:
        """Return the words of the newest talk cycle."""
        words: list[str] = []
        texts = [(str(text), last) for kind, text, last in self.frames if kind == "text"]
        for index, (text, last) in enumerate(reversed(texts)):
            if last and index:
                break
            words.insert(0, text)
        return "".join(words)

    async def hear(self) -> str:
        """Wait for the next complete talk cycle."""
        return await self._heard[1].receive()

    @property
    def speech(self) -> str:
        """All that was said, in one string."""
        return "".join(str(text) for kind, text, _last in self.frames if kind == "text")

    @property
    def ended(self) -> bool:
        """Whether the session was ended by an `end` frame."""
        return any(kind == "end" for kind, _value, _last in self.frames)


Script = Callable[[TurnRequest, Answer], Awaitable[None]]


@attrs.define(eq=False)
class ScriptedResponder:
    """A `Responder` that does what the test says, and remembers what it was asked."""

    script: Script
    requests: list[TurnRequest] = attrs.field(factory=list)
    cancelled: list[int] = attrs.field(factory=list)

    async def respond(self, request: TurnRequest, answer: Answer) -> None:
        self.requests.append(request)
        try:
            await self.script(request, answer)
        except trio.Cancelled:
            self.cancelled.append(request.turn)
            raise


def saying(*pieces: str) -> Script:
    """Make a script that says these pieces at once."""

    async def script(_request: TurnRequest, answer: Answer) -> None:
        for piece in pieces:
            await answer.say(piece)

    return script


async def silent(_request: TurnRequest, _answer: Answer) -> None:
    """Never answer."""
    await trio.sleep_forever()


def failing(error: Exception) -> Script:
    """Make a script that fails at once."""

    async def script(_request: TurnRequest, _answer: Answer) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    return script


@attrs.define(eq=False)
class RecordingObserver:
    """An `Observer` that keeps what it hears."""

    changes: dict[str, int] = attrs.field(factory=dict)
    turns: list[NoteTurn] = attrs.field(factory=list)
    over: list[TurnTimes] = attrs.field(factory=list)
    left: list[tuple[str, Reason]] = attrs.field(factory=list)
    missed: list[tuple[str, bool]] = attrs.field(factory=list)
    not_kept: list[str] = attrs.field(factory=list)
    taken: list[str] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)
    rejected: list[str] = attrs.field(factory=list)
    unknown: list[str] = attrs.field(factory=list)
    ended: list[tuple[CallSummary, float]] = attrs.field(factory=list)
    crashes: list[tuple[str, BaseException]] = attrs.field(factory=list)

    def changed(self, call_sid: str) -> None:
        self.changes[call_sid] = self.changes.get(call_sid, 0) + 1

    def turn_ended(self, call: CallInfo, note: NoteTurn) -> None:
        self.turns.append(note)

    def turn_over(self, call: CallInfo, turn: TurnTimes) -> None:
        self.over.append(turn)

    def never_connected(self, call: CallInfo, *, is_placed: bool) -> None:
        self.missed.append((call.call_sid, is_placed))

    def call_taken(self, call: CallInfo) -> None:
        self.taken.append(call.call_sid)

    def not_stored(self, call: CallInfo, error: StoreFailed, what: str) -> None:
        self.not_kept.append(what)

    def message_left(self, call: CallInfo, reason: Reason, message_id: str) -> None:
        self.left.append((message_id, reason))

    def frame_unknown(self, call: CallInfo, kind: str) -> None:
        self.unknown.append(kind)

    def frame_rejected(self, call: CallInfo, why: str) -> None:
        self.rejected.append(why)

    def call_ended(self, call: CallInfo, summary: CallSummary, seconds: float) -> None:
        self.ended.append((summary, seconds))

    def carrier_failed(self, call: CallInfo, description: str) -> None:
        self.refused.append(description)

    def call_crashed(self, call: CallInfo, error: BaseException, stage: str) -> None:
        self.crashes.append((stage, error))

    def outcomes(self) -> Sequence[str]:
        """Return how the turns went, in order."""
        return [note.outcome for note in self.turns]
