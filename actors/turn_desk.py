"""The turn desk: where clients that cannot be asked come for a caller's words, and bring their answers.

    call ──respond(request)──▶ ┌──────────────┐ ◀──next_words── a tool call that waits
                               │ desk of the  │ ──Utterance───▶ one of them
    call ◀──answer.say──────── │ agent        │ ◀──say(turn)─── the next tool call
                               └──────────────┘

A model that works with tools alone hears a caller by calling a tool that waits. So a waiting tool call is presence: the
desk of an agent is a session in `Presence` while somebody waits at it, and for a grace after somebody left with words,
because whoever thinks about an answer is not at the desk.

*Who gets what.* Whoever waits gets the words of the call that has waited longest. A call stays with the client that it
last talked to while that one is around, for `patience` seconds: another has not followed the conversation. Words that
were given to a client are not lost with it: unanswered, they are given again, to the same client after `again` seconds
or when it asks for that very call, to another one when the first is gone.

*What is said.* An answer names the turn, and that is the fence: for a turn that is over, or is another client's, it is
an error that says so; the same answer twice is harmless, because models repeat calls whose result they did not get.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import trio
from attrs.validators import ge, gt

from actors.errors import CallError, ClientLeft
from actors.messages import TurnRequest
from actors.ports import Answer
from actors.presence import Presence
from actors.routing import Way

# Pieces of one answer that may wait to be spoken; a client with more of them waits for the caller to hear some.
MAX_PIECES = 16
# How many answered turns of a call are remembered, to know a repeated answer when it comes.
REMEMBERED_TURNS = 16


class TurnOver(CallError):
    """Say that a turn takes no answer any more: it was answered in time by nobody, or the caller has gone on."""


class TurnTaken(CallError):
    """Say that another client of the agent has the turn, or the whole call."""


class CallOver(CallError):
    """Say that the call whose words were waited for is over."""


@attrs.frozen(kw_only=True)
class DeskOptions:
    """Times in seconds; see the module's text. `grace` is for how long a client that left with words is around."""

    grace: float = attrs.field(default=10.0, validator=gt(0))
    patience: float = attrs.field(default=2.0, validator=ge(0))
    again: float = attrs.field(default=4.0, validator=gt(0))


@attrs.frozen(kw_only=True)
class Utterance:
    """Words of a caller that were given to a client.

    `is_new` says that this client has had no turn of the call before this one. `waiting` counts the other calls of the
    agent whose words nobody has taken yet.
    """

    request: TurnRequest
    is_new: bool
    waiting: int


@attrs.define(eq=False)
class _Turn:
    """A turn that a call waits for."""

    request: TurnRequest
    asked_at: float
    pieces: trio.MemorySendChannel[str]
    holder: str = ""
    given_at: float = -math.inf
    is_abandoned: bool = False


@attrs.define(eq=False)
class _Conversation:
    """What is remembered of a call beyond its turns: who leads it, and what was answered."""

    owner: str = ""
    is_claimed: bool = False
    answered: dict[int, str] = attrs.field(factory=dict)


@attrs.define(eq=False)
class AgentDesk:
    """The desk of one agent, a session in `Presence`. Clients are told apart by a key, such as their session's id."""

    agent_id: str
    _presence: Presence[AgentDesk]
    _options: DeskOptions
    _look_again: Callable[[], None]
    _turns: dict[str, _Turn] = attrs.field(factory=dict, init=False)
    _conversations: dict[str, _Conversation] = attrs.field(factory=dict, init=False)
    _waiting: dict[str, int] = attrs.field(factory=dict, init=False)
    # Until when a client that is not waiting counts as around.
    _around: dict[str, float] = attrs.field(factory=dict, init=False)
    _stirred: trio.Event = attrs.field(factory=trio.Event, init=False)

    # ── the call's side ─────────────────────────────────────────────────────────────────────────────────────────────

    async def respond(self, request: TurnRequest, answer: Answer) -> None:
        """Wait until a client has answered the turn, and speak what it says, piece by piece.

        Raises `ClientLeft` when the client that had taken the words is gone. Cancelled, the turn takes no answer.
        """
        call_sid = request.call.call_sid
        pieces, spoken = trio.open_memory_channel[str](MAX_PIECES)
        turn = self._turns[call_sid] = _Turn(request, trio.current_time(), pieces)
        self._conversations.setdefault(call_sid, _Conversation())
        self._stir()
        try:
            async with spoken:
                async for piece in spoken:
                    await answer.say(piece)
            if turn.is_abandoned:
                raise ClientLeft("the client that had taken the words is gone")
        finally:
            pieces.close()
            if self._turns.get(call_sid) is turn:
                del self._turns[call_sid]
            self._stir()

    def open(self, call_sid: str) -> None:
        """Take note of a call whose words may be waited for before it has said any. It must be forgotten later."""
        self._conversations.setdefault(call_sid, _Conversation())

    def forget(self, call_sid: str) -> None:
        """Let go of what is remembered of a call, because it is over."""
        self._conversations.pop(call_sid, None)
        self._stir()

    # ── the client's side ───────────────────────────────────────────────────────────────────────────────────────────

    async def next_words(self, client: str, call_sid: str = "") -> Utterance:
        """Wait for words that this client may have, of one call if named, and give them to it.

        Raises `CallOver` when the named call is over, or was never opened here. Cancelled, nothing was given.
        """
        self._waiting[client] = self._waiting.get(client, 0) + 1
        self._presence.arrive(self, Way.TURN_TOOL)
        try:
            while True:
                stirred = self._stirred
                turn, due = self._find(client, call_sid)
                if turn is not None:
                    return self._give(turn, client)
                if call_sid and call_sid not in self._conversations:
                    raise CallOver("the call is over")
                with trio.move_on_at(due):
                    await stirred.wait()
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]
            self._look_again()
            self.settle()

    async def say(self, client: str, call_sid: str, turn: int, text: str, *, more: bool = False) -> bool:
        """Answer a turn; with `more` it stays open for another piece. Returns whether this was said now, or before.

        Raises `TurnOver` and `TurnTaken`. Waits only while `MAX_PIECES` of the answer are still to be spoken.
        """
        conversation = self._conversations.get(call_sid)
        asked = self._turns.get(call_sid)
        if conversation is not None and turn in conversation.answered:
            if conversation.answered[turn] != client:
                raise TurnTaken("another client of your agent has answered this turn")
            return False
        if conversation is None or asked is None or asked.request.turn != turn:
            raise TurnOver("this turn takes no answer any more")
        leader = asked.holder or conversation.owner
        if leader not in {"", client} and self._is_around(leader):
            raise TurnTaken("another client of your agent has this call")
        asked.holder = conversation.owner = client
        self._around[client] = trio.current_time() + self._options.grace
        try:
            if text.strip():
                await asked.pieces.send(text)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise TurnOver("this turn takes no answer any more") from None
        if not more:
            asked.pieces.close()
            conversation.answered[turn] = client
            while len(conversation.answered) > REMEMBERED_TURNS:
                del conversation.answered[next(iter(conversation.answered))]
        return True

    def claim(self, client: str, call_sid: str) -> None:
        """Let a client have a call from now on; whoever had it gets an error for what it still says."""
        conversation = self._conversations.setdefault(call_sid, _Conversation())
        conversation.owner, conversation.is_claimed = client, True
        self._around[client] = trio.current_time() + self._options.grace
        turn = self._turns.get(call_sid)
        if turn is not None and turn.holder not in {"", client}:
            turn.holder, turn.given_at = "", -math.inf
        self._stir()

    def leave(self, client: str) -> None:
        """Take note that a client is gone: its turns fail at once, and its calls may be had by others."""
        self._around.pop(client, None)
        for turn in self._turns.values():
            if turn.holder == client:
                turn.is_abandoned = True
                turn.pieces.close()
        self.settle()

    @property
    def waiting_calls(self) -> int:
        """How many calls have words that nobody has taken."""
        return sum(not turn.holder for turn in self._turns.values())

    def settle(self) -> float:
        """Leave presence when nobody waits and nobody is around; return when to look again, infinite for never."""
        now = trio.current_time()
        self._around = {client: until for client, until in self._around.items() if until > now}
        if self._waiting:
            return math.inf
        if self._around:
            return max(self._around.values())
        self._presence.leave(self)
        self._stir()
        return math.inf

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left that would be missed."""
        return not (self._waiting or self._around or self._turns or self._conversations)

    # ── who gets what ───────────────────────────────────────────────────────────────────────────────────────────────

    def _find(self, client: str, call_sid: str) -> tuple[_Turn | None, float]:
        """Find the turn that this client may have now, the longest waiting first; else when to look again."""
        now, due = trio.current_time(), math.inf
        for turn in sorted(self._turns.values(), key=lambda each: each.asked_at):
            if call_sid and turn.request.call.call_sid != call_sid:
                continue
            at = self._free_at(turn, client, is_named=bool(call_sid))
            if at <= now:
                return turn, now
            due = min(due, at)
        return None, due

    def _free_at(self, turn: _Turn, client: str, *, is_named: bool) -> float:
        """Say from when on a client may have a turn; infinite for not as things are."""
        if turn.holder == client:
            return -math.inf if is_named else turn.given_at + self._options.again
        if turn.holder:
            return self._gone_at(turn.holder)
        conversation = self._conversations[turn.request.call.call_sid]
        if conversation.owner in {"", client}:
            return -math.inf
        gone = self._gone_at(conversation.owner)
        return gone if conversation.is_claimed else min(gone, turn.asked_at + self._options.patience)

    def _gone_at(self, client: str) -> float:
        return math.inf if client in self._waiting else self._around.get(client, -math.inf)

    def _is_around(self, client: str) -> bool:
        return self._gone_at(client) > trio.current_time()

    def _give(self, turn: _Turn, client: str) -> Utterance:
        now = trio.current_time()
        conversation = self._conversations[turn.request.call.call_sid]
        is_new = conversation.owner != client or not conversation.answered
        turn.holder, turn.given_at = client, now
        conversation.owner = client
        self._around[client] = now + self._options.grace
        return Utterance(request=turn.request, is_new=is_new, waiting=self.waiting_calls)

    def _stir(self) -> None:
        stirred, self._stirred = self._stirred, trio.Event()
        stirred.set()


@attrs.define(eq=False)
class TurnDesk:
    """The desks of all agents. One instance, with one task in `run`, which ends the graces."""

    presence: Presence[AgentDesk]
    options: DeskOptions = attrs.field(factory=DeskOptions)
    _desks: dict[str, AgentDesk] = attrs.field(factory=dict, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)

    def of(self, agent_id: str) -> AgentDesk:
        """Return the desk of an agent, making it on first use."""
        desk = self._desks.get(agent_id)
        if desk is None:
            desk = self._desks[agent_id] = AgentDesk(agent_id, self.presence, self.options, self._stir)
        return desk

    def forget(self, agent_id: str, call_sid: str) -> None:
        """Let go of a call that is over. Harmless where nothing is known of it."""
        if agent_id in self._desks:
            self._desks[agent_id].forget(call_sid)
            self._wake.set()

    def leave(self, agent_id: str, client: str) -> None:
        """Take note that a client is gone. Harmless for one that never came to the desk."""
        if agent_id in self._desks:
            self._desks[agent_id].leave(client)

    async def run(self) -> None:
        """End the graces of clients that are not around any more. Runs until cancelled, at any point."""
        while True:
            self._wake = trio.Event()
            due = min((desk.settle() for desk in self._desks.values()), default=math.inf)
            for agent_id in [agent_id for agent_id, desk in self._desks.items() if desk.is_idle]:
                del self._desks[agent_id]
            with trio.move_on_at(due):
                await self._wake.wait()

    def _stir(self) -> None:
        self._wake.set()
