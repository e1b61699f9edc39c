"""Sampling requests to one client: its turns in hand, their pieces in order, its refusals.

    TurnRequest ──encode──▶ put ──▶ the client
    the client ──▶ take_piece, settle ──by the request's id──▶ Turn ──▶ say

The SDK's dispatcher knows nothing of these requests: with its models, a pair of streams, a tracing span and a task a
piece it costs several times what the rest of the asking does. A turn is asked and spoken by the task that called
`sample`; what the client posts about it ends up here by its id, which no request of the dispatcher ever has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import anyio
import attrs
import structlog
import trio
from mcp_types import (
    CONNECTION_CLOSED,
    METHOD_NOT_FOUND,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCResponse,
    RequestId,
)

from actors.call_values import TurnRequest
from actors.errors import ClientAbsent, ClientFailed, ClientLeft, ResponderError
from relay.mcp.pieces import Pieces, text_of, unsaid
from relay.mcp.sampling_request import encode_request
from relay.mcp.transports.outbox import encode_plain, message_event
from relay.speech.asides import without_lead

log = structlog.get_logger(__name__)


class Say(Protocol):
    """Speak the next piece of an answer; `last` says that nothing follows. See `actors.ports.Answer.say`."""

    async def __call__(self, text: str, *, last: bool = False) -> None: ...


# How long a client may take to stop a cancelled turn. One that handles one request at a time (the 1.x Python SDK) goes
# on with it to its end and answers nothing before, so then it is asked for a sign of life.
CANCEL_SECONDS = 1.0


@attrs.define(eq=False)
class Turn:
    """One sampling request, in the hands of one task. `text` is that of the result, None if it holds none.

    It is `over` when nothing more will come: the client has answered, with a result or an error (`is_answered`), or
    there is none to answer any more.
    """

    pieces: Pieces = attrs.field(factory=Pieces, init=False)
    text: str | None = attrs.field(default=None, init=False)
    failure: ResponderError | None = attrs.field(default=None, init=False)
    over: bool = attrs.field(default=False, init=False)
    is_answered: bool = attrs.field(default=False, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def take_piece(self, number: float, text: str) -> None:
        """Note a piece, in whatever order they come."""
        self.pieces.add(number, text)
        self._changed.set()

    def finish(self, text: str | None, failure: ResponderError | None = None) -> None:
        """Note what the client answered. No-op if the turn is over."""
        if not self.over:
            self.text, self.failure = text, failure
            self.over = self.is_answered = True
            self._changed.set()

    def lose(self, failure: ResponderError) -> None:
        """Stop waiting for the answer. No-op if the turn is over."""
        if not self.over:
            self.failure = failure
            self.over = True
            self._changed.set()

    async def next_text(self) -> str:
        """Wait for the next text to speak; empty when the request is over, because the result then has the rest."""
        while not self.over:
            if text := self.pieces.take():
                return text
            if self._changed.is_set():
                self._changed = trio.Event()
            await self._changed.wait()
        return ""


@attrs.define(eq=False)
class Sampler:
    """The sampling requests to one client. `on_refusal` is called when it turns out that it cannot; see `is_refused`.

    `put` queues a ready event for the client and raises as `Outbox.put` does. `session` is the name of its session for
    logs, and `request_id` makes an id that was never used.
    """

    _put: Callable[[bytes], None]
    _session: str
    _request_id: Callable[[], str]
    _on_refusal: Callable[[], None]
    is_refused: bool = attrs.field(default=False, init=False)
    _turns: dict[RequestId | None, Turn] = attrs.field(factory=dict, init=False)
    _abandoned_at: float | None = attrs.field(default=None, init=False)
    _abandoned: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def is_busy(self) -> bool:
        """Whether the client works on a turn, or may still work on a cancelled one."""
        return bool(self._turns) or trio.current_time() < self.free_at

    @property
    def free_at(self) -> float:
        """When it should have stopped a cancelled turn; `-inf` if it has answered since."""
        return -math.inf if self._abandoned_at is None else self._abandoned_at + CANCEL_SECONDS

    @property
    def turns_in_hand(self) -> int:
        """How many turns its client is asked for now."""
        return len(self._turns)

    def note_answer(self) -> None:
        """Record that the client has answered something: it is done with turns that were cancelled."""
        self._abandoned_at = None

    async def wait_for_cancelled_turn(self) -> None:
        """Wait until a turn is cancelled whose answer is not there. Cancelling loses nothing: see `free_at`."""
        self._abandoned = trio.Event()
        await self._abandoned.wait()

    async def sample(self, request: TurnRequest, say: Say) -> None:
        """Ask the client for one answer and speak it: the pieces in order as they come, then the rest of the result.

        The result is authoritative: when it does not continue the pieces, it is said whole. Raises `ClientLeft` when
        the session ends, `ClientFailed` for an error or an answer without text, and what `say` raises. Whenever it ends
        without an answer, cancelled too, the client gets `notifications/cancelled`, and nobody waits for that.
        """
        # A turn that is cancelled by now is not asked at all.
        await trio.lowlevel.checkpoint_if_cancelled()
        request_id = self._request_id()
        try:
            self._put(message_event(encode_request(request_id, request)))
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            raise self._failure_of(CONNECTION_CLOSED) from None
        turn = self._turns[request_id] = Turn()
        try:
            while text := await turn.next_text():
                await say(text)
        finally:
            del self._turns[request_id]
            if not turn.over:
                self._abandoned_at = trio.current_time()
                self._abandoned.set()
            if not turn.is_answered:
                self._withdraw(request_id)
        if turn.failure is not None:
            raise turn.failure
        final, said = turn.text, turn.pieces.said
        if final is None or not (final.strip() or said.strip()):
            raise ClientFailed("the client's answer holds nothing that can be spoken")
        rest = unsaid(final, said).rstrip() if said else without_lead(final)
        if rest:
            await say(rest, last=True)

    def _withdraw(self, request_id: str) -> None:
        params = {"requestId": request_id, "reason": "caller cancelled"}
        message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
        # When its stream is gone nobody is there to learn of it. A stream that has taken its place meanwhile brings it
        # to a client that still works on the turn.
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._put(message_event(encode_plain(message)))

    # ── what the client posts ───────────────────────────────────────────────────────────────────────────────────────

    def take(self, message: JSONRPCMessage) -> bool:
        """Take a message about a turn in hand; return whether it is one. Never waits."""
        match message:
            case JSONRPCResponse():
                turn = self._turns.get(message.id)
                if turn is not None:
                    turn.finish(text_of(message.result))
            case JSONRPCError():
                turn = self._turns.get(message.id)
                if turn is not None and not turn.over:
                    turn.finish(None, self._failure_of(message.error.code))
            case JSONRPCNotification(
                method="notifications/progress",
                params={"progressToken": str(token), "progress": int() | float() as number, **others},
            ) if not isinstance(number, bool):
                turn = self._turns.get(token)
                text = others.get("message")
                if turn is not None:
                    turn.take_piece(number, text if isinstance(text, str) else "")
            case _:
                return False
        return turn is not None

    def find(self, request_id: str) -> Turn | None:
        """Return the turn in hand that was asked under this id."""
        return self._turns.get(request_id)

    def lose_turns(self, *, is_expected: bool = False) -> None:
        """Fail all turns in hand: their stream has ended. Ask again if the client `is_expected` back. Never waits."""
        failure = ClientAbsent if is_expected else ClientLeft
        for turn in self._turns.values():
            turn.lose(failure("the client's stream ended while it had the turn in hand"))

    def _failure_of(self, code: int) -> ResponderError:
        if code == CONNECTION_CLOSED:
            return ClientLeft("the client's session ended while it had the turn in hand")
        log.info("turn_refused", session=self._session, code=code)
        if code == METHOD_NOT_FOUND:  # recognised wrongly: it never could
            self.is_refused = True
            self._on_refusal()
        return ClientFailed(f"the client answered with error {code}")
