"""The turn queue: clients that cannot be asked fetch utterances here, and bring their answers.

    call ──respond(request)──▶ ┌──────────────┐ ◀──next_utterance── a tool call that waits
                               │ queue of the │ ──Utterance───────▶ one of them
    call ◀──answer.say──────── │ agent        │ ◀──say(turn)─────── the next tool call
                               └──────────────┘

A client that has only tools hears a caller by a tool call that waits. So a waiting tool call is presence: the queue of
an agent is a session in `Presence` while a client waits in it, and for a grace after a client took an utterance,
because while it thinks about an answer it does not wait. A client whose wait ended without an utterance will most
likely be back in a moment, and is waited for; a client whose tool call was cancelled is not, because nothing reconnects
by itself.

Some clients have a new key in each tool call, because they open a session for each or have none. Between two calls such
a client is *detached*: nothing shows whether it is still there, so it counts as here for the grace, and the next client
of the agent that names its turn may answer it.

*Who gets which utterance.* A waiting client gets the utterance that has waited longest. For `patience` seconds a call
stays with the client that it last talked to, if that one is around: another client does not know the conversation. An
utterance that a client took and did not answer is handed out again: to the same client after `again` seconds or when it
asks for that call, to another client when the first is gone.

*Answers.* An answer names its turn: for a turn that is over, or belongs to another client, it gets an error that says
so. A repeated answer is a no-op, because models repeat calls whose result they did not get.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from weakref import WeakValueDictionary

import attrs
import trio
from attrs.validators import ge, gt

from actors.call_values import NO_OWNER, Owner, TurnRequest
from actors.calls import Call, Calls
from actors.clients import Presence, Reachability
from actors.errors import CallError, ClientLeft
from actors.events import OwnerChanged
from actors.ports import Answer
from actors.transcript import is_audible

# Pieces of one answer that may wait to be spoken; a client with more of them waits for the caller to hear some.
MAX_PIECES = 16


class TurnOver(CallError):
    """A turn takes no answer any more: it was not answered in time, or the caller has gone on."""


class TurnTaken(CallError):
    """Another client of the agent has the turn, or the whole call."""


class CallOver(CallError):
    """The call whose utterances the client waits for is over."""


@attrs.frozen(kw_only=True)
class Utterance:
    """An utterance that was handed to a client.

    `is_new` is true if this client was not the last one to answer in the call, so it does not know the conversation.
    `waiting` counts the other calls of the agent with an utterance that no client has taken yet.
    """

    request: TurnRequest
    is_new: bool
    waiting: int


@attrs.define(eq=False)
class PendingTurn:
    """A turn that a call waits for: which client has it, since when, and its state.

    It is begun with the first piece of an answer and answered with the last; abandoned, it will have none.
    """

    request: TurnRequest
    asked_at: float
    # A text, and whether it is the last one.
    pieces: trio.MemorySendChannel[tuple[str, bool]]
    taken_by: str = ""
    taken_at: float = -math.inf
    is_begun: bool = False
    is_answered: bool = False
    is_abandoned: bool = False

    def end(self) -> None:
        """Close the turn: its answer is complete."""
        self.is_answered = True
        self.pieces.close()

    def abandon(self) -> None:
        """Close the turn so that the call asks another client. No-op if the answer is complete."""
        if not self.is_answered:
            self.is_abandoned = True
            self.pieces.close()


@attrs.define(eq=False)
class ToolClients:
    """The clients of one queue, by key. A client is around while it waits, and for `grace` seconds after."""

    grace: float
    # The number of waiting tool calls of each client.
    _waits: dict[str, int] = attrs.field(factory=dict, init=False)
    # Until when a client that does not wait counts as around.
    _until: dict[str, float] = attrs.field(factory=dict, init=False)
    # Those of them that will come back under another key.
    _detached: set[str] = attrs.field(factory=set, init=False)

    def begin_wait(self, client: str) -> None:
        """Count a tool call that starts to wait."""
        self._waits[client] = self._waits.get(client, 0) + 1

    def end_wait(self, client: str) -> None:
        """Count a tool call that stops waiting."""
        self._waits[client] -= 1
        if not self._waits[client]:
            del self._waits[client]

    def mark_seen(self, client: str) -> None:
        """Record that a client was here just now, and has a reason to come back."""
        self._until[client] = trio.current_time() + self.grace
        self._detached.discard(client)

    def detach(self, client: str) -> None:
        """Expect a client under another key. No-op if it was not seen within the grace."""
        if client in self._until:
            self._detached.add(client)

    def forget(self, client: str) -> None:
        """Remove a client that will not come back. No-op if it waits."""
        self._until.pop(client, None)
        self._detached.discard(client)

    def waits(self, client: str) -> bool:
        """Whether a client waits."""
        return client in self._waits

    def is_around(self, client: str) -> bool:
        """Whether a client waits, or was here within the grace."""
        return self.gone_at(client) > trio.current_time()

    def is_detached(self, client: str) -> bool:
        """Whether a client that is around comes back under another key; not while it waits."""
        return client in self._detached and client not in self._waits

    def gone_at(self, client: str) -> float:
        """Return when a client is not around any more: `inf` while it waits, `-inf` for one never seen."""
        return math.inf if client in self._waits else self._until.get(client, -math.inf)

    def empty_at(self) -> float:
        """Return when no client is around any more if none comes: `inf` while one waits."""
        now = trio.current_time()
        self._until = {client: until for client, until in self._until.items() if until > now}
        self._detached &= self._until.keys()
        return math.inf if self._waits else max(self._until.values(), default=-math.inf)


@attrs.frozen(kw_only=True)
class TurnQueueOptions:
    """Times in seconds; see the module's text. `grace` is for how long a client that left with words is around."""

    grace: float = attrs.field(default=10.0, validator=gt(0))
    patience: float = attrs.field(default=2.0, validator=ge(0))
    again: float = attrs.field(default=4.0, validator=gt(0))


@attrs.define(eq=False)
class TurnQueue:
    """The queue of one agent, a session in `Presence`. A client's key is, for example, its session's id.

    `_on_change` is called when there may be something to settle; it must not wait.
    """

    agent_id: str
    _presence: Presence
    _calls: Calls
    _options: TurnQueueOptions
    _on_change: Callable[[TurnQueue], None]
    _clients: ToolClients = attrs.field(init=False)
    _turns: dict[str, PendingTurn] = attrs.field(factory=dict, init=False)
    _notified: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._clients = ToolClients(self._options.grace)

    # ── the call's side ─────────────────────────────────────────────────────────────────────────────────────────────

    async def respond(self, request: TurnRequest, answer: Answer) -> None:
        """Wait until a client has answered the turn, and speak the answer piece by piece.

        Raises `ClientLeft` if the client that took the utterance is gone. If cancelled, the turn takes no answer any
        more.
        """
        call_sid = request.call.call_sid
        pieces, spoken = trio.open_memory_channel[tuple[str, bool]](MAX_PIECES)
        turn = self._turns[call_sid] = PendingTurn(request, trio.current_time(), pieces)
        self._notify()
        try:
            async with spoken:
                async for text, last in spoken:
                    await answer.say(text, last=last)
            if turn.is_abandoned:
                raise ClientLeft("the client that took this utterance is gone; the next client may take it")
        finally:
            pieces.close()
            if self._turns.get(call_sid) is turn:
                del self._turns[call_sid]
            self._notify()

    def on_owner_changed(self, news: OwnerChanged) -> None:
        """Move a call to the client that claimed it: one of this queue, or a session that is asked directly.

        The former owner gets an error for a late answer. The pending utterance is handed to the new owner at once,
        unless another client has begun to answer it, because the caller has heard a part of that answer.
        """
        turn = self._turns.get(news.call_sid)
        if news.owner.session is self:
            self._on_claim(news, turn)
        elif turn is not None and turn.is_begun:
            turn.end()
        elif turn is not None:
            turn.abandon()
        self._notify()

    def _on_claim(self, news: OwnerChanged, turn: PendingTurn | None) -> None:
        client, leader = news.owner.client, (turn.taken_by if turn else "") or news.before.client
        call = self._call(news.call_sid)
        if call is not None and leader != client and not self._clients.is_detached(leader):
            call.memory.displaced = leader
        self._mark_seen(client)
        if turn is not None and turn.taken_by not in {"", client}:
            turn.taken_by, turn.taken_at = "", -math.inf
            if turn.is_begun:
                turn.end()

    def on_call_gone(self) -> None:
        """Wake the clients that wait for an utterance of a call: it is over."""
        self._notify()

    # ── the client's side ───────────────────────────────────────────────────────────────────────────────────────────

    async def next_utterance(self, client: str, call_sid: str = "", *, within: float = math.inf) -> Utterance | None:
        """Wait for an utterance that this client may have, of one call if named, and return it.

        Returns None if there is none `within` so many seconds. Raises `CallOver` if the named call is over or unknown.
        If cancelled, no utterance was handed out, and the client counts as gone, unless it has another utterance in
        hand: clients without a session may share a key, and one that leaves must not remove the others.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        until = trio.current_time() + within
        self._clients.begin_wait(client)
        self._presence.arrive(self, Reachability.TURN_TOOL)
        was_cancelled = True
        try:
            utterance = await self._wait(client, call_sid, until)
            was_cancelled = False
        except CallOver:
            was_cancelled = False
            raise
        finally:
            self._clients.end_wait(client)
            if was_cancelled and all(turn.taken_by != client for turn in self._turns.values()):
                self._clients.forget(client)
            self._notify()
            self.settle(is_lost=not was_cancelled)
        return utterance

    async def _wait(self, client: str, call_sid: str, until: float) -> Utterance | None:
        while True:
            notified = self._notified
            turn, due = self._find(client, call_sid)
            if turn is not None:
                return self._hand_out(turn, client)
            if call_sid and self._call(call_sid) is None:
                raise CallOver("this call is over; wait for the next call without naming one")
            if until <= trio.current_time():
                return None
            with trio.move_on_at(min(due, until)):
                await notified.wait()

    async def say(self, client: str, call_sid: str, turn: int, text: str, *, more: bool = False) -> bool:
        """Answer a turn; with `more` it stays open for another piece. Returns whether this was said now, or before.

        Raises `TurnOver` and `TurnTaken`. Waits only while `MAX_PIECES` of the answer are still to be spoken.
        """
        call, asked = self._call(call_sid), self._turns.get(call_sid)
        answered = None if call is None else call.memory.answered.get(turn)
        if answered is not None:
            if answered != client and not self._clients.is_detached(answered):
                raise TurnTaken("another client of your agent has answered this turn; wait for the next utterance")
            return False
        if self._is_owned_by_another(client, call_sid):
            raise TurnTaken("another client of your agent has this call; claim it first, or wait for another")
        self._mark_seen(client)
        if call is None or asked is None or asked.request.turn != turn or asked.is_abandoned:
            raise TurnOver("this turn takes no answer any more")
        asked.taken_by = client
        call.owner = attrs.evolve(call.owner, client=client)
        asked.taken_at = trio.current_time()
        try:
            if text.strip():
                asked.is_begun = asked.is_begun or is_audible(text)
                await asked.pieces.send((text, not more))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise TurnOver("this turn takes no answer any more") from None
        if not more:
            asked.end()
            call.memory.note_answer(turn, client)
        return True

    def leave(self, client: str) -> None:
        """Remove a client that is gone: its turns fail at once, and other clients may claim its calls."""
        self._clients.forget(client)
        for turn in self._turns.values():
            if turn.taken_by == client:
                turn.abandon()
        self._notify()
        self.settle()

    def detach(self, client: str) -> None:
        """Expect a client under another key next time. What it took stays with the agent for the grace.

        Idempotent; no-op if the client has taken or said nothing within the grace.
        """
        self._clients.detach(client)
        self._notify()

    def is_engaged(self, client: str) -> bool:
        """Whether a client waits, or has an utterance in hand."""
        return self._clients.waits(client) or any(turn.taken_by == client for turn in self._turns.values())

    @property
    def waiting_calls(self) -> int:
        """The number of calls with an utterance that no client has taken."""
        return sum(not turn.taken_by for turn in self._turns.values())

    def settle(self, *, is_lost: bool = False) -> float:
        """Leave presence if no client waits and none is around; return when to look again, `inf` for never.

        `is_lost` is true if a client has just left that may be back in a moment.
        """
        empty_at = self._clients.empty_at()
        if empty_at > trio.current_time():
            return empty_at
        self._presence.leave(self, is_lost=is_lost)
        return math.inf

    @property
    def is_idle(self) -> bool:
        """Whether the queue has no state and may be dropped."""
        return not self._turns and self._clients.empty_at() <= trio.current_time()

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
        """Return when a client may take this turn, or `inf` if it cannot."""
        if turn.is_answered or turn.is_abandoned:
            return math.inf
        is_detached = self._clients.is_detached
        if turn.taken_by == client or is_detached(turn.taken_by):
            return -math.inf if is_named else turn.taken_at + self._options.again
        if turn.taken_by:
            return self._clients.gone_at(turn.taken_by)
        owner = self._owner(turn.request.call.call_sid)
        if owner.client in {"", client} or is_detached(owner.client):
            return -math.inf
        gone = self._clients.gone_at(owner.client)
        return gone if owner.session is self else min(gone, turn.asked_at + self._options.patience)

    def _is_owned_by_another(self, client: str, call_sid: str) -> bool:
        """Whether another client has the call: one that is asked directly, or one that is around here."""
        claimed_by = self._owner(call_sid).session
        is_elsewhere = claimed_by is not None and claimed_by is not self
        if is_elsewhere and self._presence.newest(self.agent_id, claimed_by) is claimed_by:
            return True
        leader = self._leader(call_sid)
        if leader in {"", client} or not self._clients.is_around(leader):
            return False
        # The client from which the call was taken is not the one that took it and comes back under another key.
        call = self._call(call_sid)
        return not self._clients.is_detached(leader) or (call is not None and call.memory.displaced == client)

    def _leader(self, call_sid: str) -> str:
        """Return the client that has the open turn of a call, else the one that had the last; empty if none."""
        turn = self._turns.get(call_sid)
        return (turn.taken_by if turn else "") or self._owner(call_sid).client

    def _hand_out(self, turn: PendingTurn, client: str) -> Utterance:
        call = self._call(turn.request.call.call_sid)
        turn.taken_by, turn.taken_at = client, trio.current_time()
        is_new = True
        if call is not None:
            call.owner = attrs.evolve(call.owner, client=client)
            is_new = call.memory.last_client != client
        self._mark_seen(client)
        return Utterance(request=turn.request, is_new=is_new, waiting=self.waiting_calls)

    def _call(self, call_sid: str) -> Call | None:
        return self._calls.find_remembered(call_sid, self.agent_id)

    def _owner(self, call_sid: str) -> Owner:
        call = self._call(call_sid)
        return NO_OWNER if call is None else call.owner

    def _mark_seen(self, client: str) -> None:
        self._clients.mark_seen(client)
        self._presence.arrive(self, Reachability.TURN_TOOL)
        self._on_change(self)

    def _notify(self) -> None:
        notified, self._notified = self._notified, trio.Event()
        notified.set()
        self._on_change(self)


@attrs.define(eq=False)
class TurnQueues:
    """The turn queues by agent. One instance, with one task in `run`, which ends the graces."""

    presence: Presence
    calls: Calls
    options: TurnQueueOptions = attrs.field(factory=TurnQueueOptions)
    # Weak references: an agent has one queue as long as a reference to it exists; `_busy` refers to those with state.
    _known: WeakValueDictionary[str, TurnQueue] = attrs.field(factory=WeakValueDictionary, init=False)
    _busy: dict[str, TurnQueue] = attrs.field(factory=dict, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def of(self, agent_id: str) -> TurnQueue:
        """Return the queue of an agent, making it on first use."""
        queue = self._known.get(agent_id)
        if queue is None:
            queue = self._known[agent_id] = TurnQueue(agent_id, self.presence, self.calls, self.options, self._look_at)
        return queue

    def on_call_gone(self, agent_id: str) -> None:
        """Wake the clients of this agent that wait for an utterance of a call: it is over."""
        queue = self._known.get(agent_id)
        if queue is not None:
            queue.on_call_gone()

    def on_owner_changed(self, news: OwnerChanged) -> None:
        """See `TurnQueue.on_owner_changed`."""
        queue = self._known.get(news.agent_id)
        if queue is not None:
            queue.on_owner_changed(news)

    def leave(self, agent_id: str, client: str) -> None:
        """Remove a client that is gone. No-op if it never came to its queue."""
        queue = self._known.get(agent_id)
        if queue is not None:
            queue.leave(client)

    def detach(self, agent_id: str, client: str) -> None:
        """Expect a client under another key next time: see `TurnQueue.detach`."""
        queue = self._known.get(agent_id)
        if queue is not None:
            queue.detach(client)

    def is_engaged(self, agent_id: str, client: str) -> bool:
        """Whether a client waits in its queue, or has taken an utterance and not answered it."""
        queue = self._known.get(agent_id)
        return queue is not None and queue.is_engaged(client)

    async def run(self) -> None:
        """End the graces of clients that are not around any more. Runs until cancelled, at any point."""
        while True:
            self._changed = trio.Event()
            due = min((queue.settle() for queue in self._busy.values()), default=math.inf)
            for agent_id in [agent_id for agent_id, queue in self._busy.items() if queue.is_idle]:
                del self._busy[agent_id]
            with trio.move_on_at(due):
                await self._changed.wait()

    def __len__(self) -> int:
        """Return the number of queues with state."""
        return len(self._busy)

    def _look_at(self, queue: TurnQueue) -> None:
        self._busy[queue.agent_id] = queue
        self._changed.set()
