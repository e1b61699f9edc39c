"""What a call needs from the outside, as protocols that `relay/` implements and tests fake.

A fake passes the same checks as the real thing: see `tests/contracts/`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from actors.call_values import CallInfo, CallSummary, MessageDraft, Reason, TakenOver, TranscriptChange, TurnRequest
from actors.commands import NoteTurn
from actors.errors import StoreFailed
from actors.events import PhoneEvent
from actors.trace import TurnRow, TurnTimes


class PhoneLine(Protocol):
    """The line to one caller: events in, speech out. One task receives, one task sends."""

    async def receive(self) -> PhoneEvent:
        """Wait for what the carrier says next.

        Never raises for anything that comes over the line: a bad frame is `FrameRejected`, every end is `CallerGone`,
        and after `CallerGone` it is returned again. Cancelling loses nothing.
        """
        ...

    async def speak(self, text: str, *, last: bool, preemptible: bool = False) -> None:
        """Send a piece of speech; `last` closes the talk cycle (the text may then be empty).

        The next talk cycle cuts short what is `preemptible`, and waits for the end of what is not. Raises `LineClosed`
        when the line no longer takes it.
        """
        ...

    async def end(self, handoff: str = "") -> None:
        """Ask the carrier to end the session, handing `handoff` (a JSON text or empty) to the action URL.

        Raises `LineClosed`.
        """
        ...

    async def close(self, code: int) -> None:
        """Close the line with a WebSocket close code. No-op if it is closed already. Raises nothing."""
        ...


class Answer(Protocol):
    """The sink for an answer, piece by piece. Each method may wait for the call session to catch up."""

    async def say(self, text: str, *, last: bool = False) -> None:
        """Speak the next piece, as it comes: no need for whole words, markdown is taken out later.

        `last` says that nothing follows, which a responder need not know; the turn is answered with this piece then.
        """
        ...

    async def take_message(self, body: str, preferences: str) -> bool:
        """Record the caller's message; return whether it is durable. If not, nothing may be said that claims it."""
        ...

    async def say_goodbye(self) -> None:
        """End the call once what was said has been heard."""
        ...


class Responder(Protocol):
    """Answers turns: the client, or the answering machine."""

    async def respond(self, request: TurnRequest, answer: Answer) -> None:
        """Answer one turn through `answer`, and return when all is said.

        Has no deadline of its own: the call cancels it on a barge-in, or when it takes too long.
        Raises a `ResponderError` when it will not answer; what it has said until then is kept.
        """
        ...


class AnsweringSession(Protocol):
    """A session of a client, which is asked by sampling or waits in a tool call."""

    @property
    def agent_id(self) -> str:
        """The agent it acts for."""
        ...

    async def respond(self, request: TurnRequest, answer: Answer) -> None:
        """Answer one turn through `answer`. Raises a `ResponderError`; cancelled, the question is withdrawn."""
        ...


class MessageStore(Protocol):
    """Where what a caller leaves is kept until the client has confirmed it."""

    async def leave(self, draft: MessageDraft, on_stored: Callable[[str], None] | None = None) -> str:
        """Make a message durable and return its id; an empty one when that takes longer than a caller should wait.

        Then the store keeps the message until it can make it durable. `on_stored` gets the id once it is, also when the
        call is over by then; it must neither wait nor raise. The same key (`call_sid`, `part`) again replaces the
        stored one and keeps its id, unless a client was shown it already: then it becomes a new message. In the same
        transaction the journal releases the call's utterances up to `draft.through_turn`, and stores `draft.said`.
        Raises `StoreFailed` when the message is not even kept, and `CallTaken` when another run of the relay has the
        call; cancelling leaves nothing half done.
        """
        ...


class OptOuts(Protocol):
    """The do-not-call list."""

    async def stop_calling(self, call: CallInfo) -> None:
        """Put the other party of this call on the do-not-call list. Idempotent. Raises `StoreFailed`."""
        ...


class Journal(Protocol):
    """What is in flight: open calls and unanswered utterances. Read again after a restart.

    Each method makes something durable. When that takes too long for a caller to wait, it returns, and the journal
    writes it later, in order. `StoreFailed` means that it is not even kept, and `CallTaken` that another run of the
    relay has the call, whose business it is now.
    """

    async def open_call(self, call: CallInfo, *, must_answer: bool = False) -> TakenOver | None:
        """Open the record of a call, for the first time or again, and make the call this run's.

        Returns what another run has left of it, None if this run had it already. With `must_answer` nothing is written
        later: it is done when it returns. Raises `StoreFailed`, and `CallTaken` if a newer session has the call.
        """
        ...

    async def hold_utterance(self, call_sid: str, turn: int, text: str, said: TranscriptChange | None = None) -> None:
        """Make an utterance durable before a client is asked, with what else was `said`. Raises `StoreFailed`."""
        ...

    async def release_utterances(self, call_sid: str, through_turn: int, said: TranscriptChange | None = None) -> None:
        """Release utterances that were answered, up to and with this turn; store what was `said` until then.

        Raises `StoreFailed`.
        """
        ...

    async def close_call(
        self,
        call_sid: str,
        summary: CallSummary,
        said: TranscriptChange | None = None,
        turns: Sequence[TurnRow] = (),
    ) -> None:
        """Close the call's record, and store the last that was `said` and the times of the session's `turns`.

        Utterances that are still held stay, for the session or the run that is next. Raises `StoreFailed`.
        """
        ...


class Observer(Protocol):
    """Measures and logs calls. Plain functions that neither wait nor raise."""

    def changed(self, call_sid: str) -> None:
        """Record that a call has had another event. Called for each, so it must cost next to nothing."""
        ...

    def turn_ended(self, call: CallInfo, note: NoteTurn) -> None:
        """Record how a turn ended."""
        ...

    def turn_over(self, call: CallInfo, turn: TurnTimes) -> None:
        """Record the times of a turn, which do not change any more: the next one was asked, or the session is over."""
        ...

    def never_connected(self, call: CallInfo, *, is_placed: bool) -> None:
        """Record that a call never had a session; unless it `is_placed`, the carrier never took it on."""
        ...

    def message_left(self, call: CallInfo, reason: Reason, message_id: str) -> None:
        """Record that a waiting message is durable."""
        ...

    def frame_rejected(self, call: CallInfo, why: str) -> None:
        """Record a frame that was dropped."""
        ...

    def frame_unknown(self, call: CallInfo, kind: str) -> None:
        """Record a frame of an unknown type; `kind` may be empty."""
        ...

    def carrier_failed(self, call: CallInfo, description: str) -> None:
        """Record what the carrier refused."""
        ...

    def call_ended(self, call: CallInfo, summary: CallSummary, seconds: float) -> None:
        """Record that a session is over, and how long it lasted."""
        ...

    def call_crashed(self, call: CallInfo, error: BaseException, stage: str) -> None:
        """Record an error that stopped at the firewall (`stage`: `call`, `turn`, `store`, `epilogue`)."""
        ...

    def call_taken(self, call: CallInfo) -> None:
        """Record that another run of the relay has the call, so that this session stops."""
        ...

    def not_stored(self, call: CallInfo, error: StoreFailed, what: str) -> None:
        """Record that something of a call that is over could not be stored (`what`: `message`, `record`)."""
        ...
