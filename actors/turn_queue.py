"""The turn desk: where clients that cannot be asked come for a caller's words, and bring their answers.

    call ──respond(request)──▶ ┌──────────────┐ ◀──next_words── a tool call that waits
                               │ desk of the  │ ──Utterance───▶ one of them
    call ◀──answer.say──────── │ agent        │ ◀──say(turn)─── the next tool call
                               └──────────────┘

A model that works with tools alone hears a caller by calling a tool that waits. So a waiting tool call is presence: the
desk of an agent is a session in `Presence` while somebody waits at it, and for a grace after somebody left with words,
because whoever thinks about an answer is not at the desk. Who stops waiting without words will most likely be back in a
moment, and is waited for; whose tool call was cut off is not, because nothing reconnects by itself there.

Some clients come under a new key with each tool call, because they open a session for each or have none. Between two
of them such a client has *parted*: nothing shows whether it is there, so it is believed to be for the grace, and the
next client of the agent that names its turn may answer it.

*Who gets what.* Whoever waits gets the words of the call that has waited longest. A call stays with the client that it
last talked to while that one is around, for `patience` seconds: another has not followed the memory. Words that
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

from actors.attendance import Attendance
from actors.call_values import TurnRequest
from actors.clients import AnsweringSession, Presence
from actors.errors import ClientLeft
from actors.pending_turns import CallMemory, CallOver, PendingTurn, TurnOver, TurnTaken, Utterance
from actors.ports import Answer
from actors.routing import Reachability
from actors.transcript import is_audible

# Pieces of one answer that may wait to be spoken; a client with more of them waits for the caller to hear some.
MAX_PIECES = 16


@attrs.frozen(kw_only=True)
class DeskOptions:
    """Times in seconds; see the module's text. `grace` is for how long a client that left with words is around."""

    grace: float = attrs.field(default=10.0, validator=gt(0))
    patience: float = attrs.field(default=2.0, validator=ge(0))
    again: float = attrs.field(default=4.0, validator=gt(0))


@attrs.define(eq=False)
class TurnQueue:
    """The desk of one agent, a session in `Presence`. Clients are told apart by a key, such as their session's id.

    `_on_change` is told when there may be something to settle; it must not wait.
    """

    agent_id: str
    _presence: Presence[AnsweringSession]
    _options: DeskOptions
    _on_change: Callable[[TurnQueue], None]
    _attendance: Attendance = attrs.field(init=False)
    _turns: dict[str, PendingTurn] = attrs.field(factory=dict, init=False)
    _memories: dict[str, CallMemory] = attrs.field(factory=dict, init=False)
    _stirred: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._attendance = Attendance(self._options.grace)

    # ── the call's side ─────────────────────────────────────────────────────────────────────────────────────────────

    async def respond(self, request: TurnRequest, answer: Answer) -> None:
        """Wait until a client has answered the turn, and speak what it says, piece by piece.

        Raises `ClientLeft` when the client that had taken the words is gone. Cancelled, the turn takes no answer.
        """
        call_sid = request.call.call_sid
        pieces, spoken = trio.open_memory_channel[str](MAX_PIECES)
        turn = self._turns[call_sid] = PendingTurn(request, trio.current_time(), pieces)
        self._memories.setdefault(call_sid, CallMemory())
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
        self._memories.setdefault(call_sid, CallMemory())
        self._stir()

    def remembers(self, call_sid: str) -> bool:
        """Whether a call is not over, as far as is known here: one whose line was lost may come back on another."""
        return call_sid in self._memories

    def forget(self, call_sid: str) -> None:
        """Let go of what is remembered of a call, because it is over."""
        self._memories.pop(call_sid, None)
        self._stir()

    def hand_over(self, call_sid: str) -> None:
        """Let go of a call that has been claimed by a session that is asked directly: it is asked at once.

        What was begun here is not asked again: the caller has heard the half of it.
        """
        memory = self._memories.get(call_sid)
        if memory is not None:
            memory.owner, memory.is_claimed = "", False
        turn = self._turns.get(call_sid)
        if turn is None:
            return
        if turn.is_begun:
            turn.end()
        else:
            turn.abandon()

    # ── the client's side ───────────────────────────────────────────────────────────────────────────────────────────

    async def next_words(self, client: str, call_sid: str = "", *, within: float = math.inf) -> Utterance | None:
        """Wait for words that this client may have, of one call if named, and give them to it.

        Returns None when there are none within so many seconds. Raises `CallOver` when the named call is over, or was
        never opened here. Cancelled, nothing was given, and the client is taken for gone, unless it has other words in
        hand: clients without a session may share a key, and one of them that goes must not take the others along.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        until = trio.current_time() + within
        self._attendance.begin_wait(client)
        self._presence.arrive(self, Reachability.TURN_TOOL)
        is_cut_off = True
        try:
            words = await self._wait(client, call_sid, until)
            is_cut_off = False
        except CallOver:
            is_cut_off = False
            raise
        finally:
            self._attendance.end_wait(client)
            if is_cut_off and all(turn.holder != client for turn in self._turns.values()):
                self._attendance.forget(client)
            self._stir()
            self.settle(is_lost=not is_cut_off)
        return words

    async def _wait(self, client: str, call_sid: str, until: float) -> Utterance | None:
        while True:
            stirred = self._stirred
            turn, due = self._find(client, call_sid)
            if turn is not None:
                return self._give(turn, client)
            if call_sid and call_sid not in self._memories:
                raise CallOver("the call is over")
            if until <= trio.current_time():
                return None
            with trio.move_on_at(min(due, until)):
                await stirred.wait()

    async def say(self, client: str, call_sid: str, turn: int, text: str, *, more: bool = False) -> bool:
        """Answer a turn; with `more` it stays open for another piece. Returns whether this was said now, or before.

        Raises `TurnOver` and `TurnTaken`. Waits only while `MAX_PIECES` of the answer are still to be spoken.
        """
        memory = self._memories.get(call_sid)
        asked = self._turns.get(call_sid)
        if memory is not None and turn in memory.answered:
            if memory.answered[turn] != client and not self._attendance.has_parted(memory.answered[turn]):
                raise TurnTaken("another client of your agent has answered this turn")
            return False
        if self._is_others(client, call_sid):
            raise TurnTaken("another client of your agent has this call")
        self._see(client)
        if memory is None or asked is None or asked.request.turn != turn or asked.is_abandoned:
            raise TurnOver("this turn takes no answer any more")
        asked.holder = memory.owner = client
        asked.given_at = trio.current_time()
        try:
            if text.strip():
                asked.is_begun = asked.is_begun or is_audible(text)
                await asked.pieces.send(text)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise TurnOver("this turn takes no answer any more") from None
        if not more:
            asked.end()
            memory.note_answer(turn, client)
        return True

    def claim(self, client: str, call_sid: str) -> None:
        """Let a client have a call from now on; whoever had it gets an error for what it still says.

        The words that are waited for are the client's too, unless another one has begun to answer them. The client
        counts as around, so that the answering machine can hand the call over. To be forgotten later, as with `open`.
        """
        memory = self._memories.setdefault(call_sid, CallMemory())
        turn = self._turns.get(call_sid)
        if (leader := self._leader(call_sid)) != client and not self._attendance.has_parted(leader):
            memory.displaced = leader
        memory.owner, memory.is_claimed = client, True
        self._presence.claim(self, call_sid)
        self._see(client)
        if turn is not None and turn.holder not in {"", client}:
            turn.holder, turn.given_at = "", -math.inf
            if turn.is_begun:
                turn.end()
        self._stir()

    def leave(self, client: str) -> None:
        """Take note that a client is gone: its turns fail at once, and its calls may be had by others."""
        self._attendance.forget(client)
        for turn in self._turns.values():
            if turn.holder == client:
                turn.abandon()
        self._stir()
        self.settle()

    def part(self, client: str) -> None:
        """Take note that a client comes under another key next time. What it took stays with the agent for the grace.

        Idempotent; no-op if the client has taken or said nothing within the grace.
        """
        self._attendance.part(client)
        self._stir()

    def is_engaged(self, client: str) -> bool:
        """Whether a client waits, or has words in hand."""
        return self._attendance.waits(client) or any(turn.holder == client for turn in self._turns.values())

    @property
    def waiting_calls(self) -> int:
        """How many calls have words that nobody has taken."""
        return sum(not turn.holder for turn in self._turns.values())

    def settle(self, *, is_lost: bool = False) -> float:
        """Leave presence when nobody waits and nobody is around; return when to look again, infinite for never.

        `is_lost` says that somebody has just left who may be back in a moment.
        """
        empty_at = self._attendance.empty_at()
        if empty_at > trio.current_time():
            return empty_at
        self._presence.leave(self, is_lost=is_lost)
        return math.inf

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left that would be missed."""
        return not (self._turns or self._memories) and self._attendance.empty_at() <= trio.current_time()

    # ── who gets what ───────────────────────────────────────────────────────────────────────────────────────────────

    def _find(self, client: str, call_sid: str) -> tuple[PendingTurn | None, float]:
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

    def _free_at(self, turn: PendingTurn, client: str, *, is_named: bool) -> float:
        """Say from when on a client may have a turn; infinite for not as things are."""
        if turn.is_answered or turn.is_abandoned:
            return math.inf
        has_parted = self._attendance.has_parted
        if turn.holder == client or has_parted(turn.holder):
            return -math.inf if is_named else turn.given_at + self._options.again
        if turn.holder:
            return self._attendance.gone_at(turn.holder)
        memory = self._memory(turn)
        if memory.owner in {"", client} or has_parted(memory.owner):
            return -math.inf
        gone = self._attendance.gone_at(memory.owner)
        return gone if memory.is_claimed else min(gone, turn.asked_at + self._options.patience)

    def _is_others(self, client: str, call_sid: str) -> bool:
        """Whether a call is that of another client: of one that is asked directly, or of one around here."""
        if self._presence.claimant(self.agent_id, call_sid) not in {None, self}:
            return True
        leader = self._leader(call_sid)
        if leader in {"", client} or not self._attendance.is_around(leader):
            return False
        # From whom the call was taken is not the one who took it and comes back under another key.
        memory = self._memories.get(call_sid)
        return not self._attendance.has_parted(leader) or (memory is not None and memory.displaced == client)

    def _leader(self, call_sid: str) -> str:
        """Return who has the words of a call that are waited for, else who had the last ones; empty for nobody."""
        turn, memory = self._turns.get(call_sid), self._memories.get(call_sid)
        return (turn.holder if turn else "") or (memory.owner if memory else "")

    def _give(self, turn: PendingTurn, client: str) -> Utterance:
        memory = self._memory(turn)
        turn.holder, turn.given_at = client, trio.current_time()
        memory.owner = client
        self._see(client)
        return Utterance(request=turn.request, is_new=memory.follower != client, waiting=self.waiting_calls)

    def _memory(self, turn: PendingTurn) -> CallMemory:
        # Made anew for a turn that is asked after its call was said to be over.
        return self._memories.setdefault(turn.request.call.call_sid, CallMemory())

    def _see(self, client: str) -> None:
        self._attendance.see(client)
        self._presence.arrive(self, Reachability.TURN_TOOL)
        self._on_change(self)

    def _stir(self) -> None:
        stirred, self._stirred = self._stirred, trio.Event()
        stirred.set()
        self._on_change(self)
