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

*Waiting.* A tool call that waits is parked, and has neither a timer nor an event of its own: a turn that becomes free
wakes the one tool call that may have it, and the one task of `TurnQueues.run` wakes what has waited long enough, or has
to show its client that it goes on. So a turn costs the same however many tool calls wait.

*Answers.* An answer names its turn: for a turn that is over, or belongs to another client, it gets an error that says
so. A repeated answer is a no-op, because models repeat calls whose result they did not get.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
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


@attrs.frozen
class SignsOfLife:
    """What a client gets while it waits: the seconds that it has waited, each time after `interval` of them.

    Sent by the wait itself, which has no other task; an utterance that comes while it is sent is handed out after it.
    """

    interval: float
    send: Callable[[float], Awaitable[None]]


@attrs.define(eq=False)
class Wait:
    """A tool call that waits for an utterance, of one call if it names one, until a time. Woken, it looks for itself.

    `turn` is the turn that it was last woken for, None if it was woken to look around. `due` is when its time has come:
    that of its end, or of a sign of life before.
    """

    client: str
    call_sid: str
    until: float
    due: float = attrs.field(default=math.inf, init=False)
    turn: PendingTurn | None = attrs.field(default=None, init=False)
    _task: trio.lowlevel.Task | None = attrs.field(default=None, init=False)

    @property
    def is_parked(self) -> bool:
        """Whether it can be woken: not while it runs, nor between a wake-up and its run."""
        return self._task is not None

    def takes(self, call_sid: str) -> bool:
        """Whether it waits for the utterances of this call."""
        return not self.call_sid or self.call_sid == call_sid

    async def park(self) -> None:
        """Wait until woken."""
        self.turn, self._task = None, trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def wake(self, turn: PendingTurn | None = None) -> None:
        """Resume it. No-op if it is not parked."""
        if self._task is not None:
            task, self._task, self.turn = self._task, None, turn
            trio.lowlevel.reschedule(task)

    def _abort(self, _raise: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


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

    def next_gone_at(self) -> float:
        """Return when the next grace ends: `inf` if none runs.

        Also of clients that wait: were it not counted, each turn would put the next review forward again.
        """
        now = trio.current_time()
        return min((until for until in self._until.values() if until > now), default=math.inf)

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

    `_remind` is given times at which `review` is to be called; it must not wait.
    """

    agent_id: str
    _presence: Presence
    _calls: Calls
    _options: TurnQueueOptions
    _remind: Callable[[TurnQueue, float], None]
    _clients: ToolClients = attrs.field(init=False)
    # By call, in the order in which they were asked.
    _turns: dict[str, PendingTurn] = attrs.field(factory=dict, init=False)
    # In the order in which they came.
    _waits: dict[Wait, None] = attrs.field(factory=dict, init=False)

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
        self._turns.pop(call_sid, None)  # else the new turn would have the old one's place in the order
        turn = self._turns[call_sid] = PendingTurn(request, trio.current_time(), pieces)
        self._remind(self, math.inf)
        self._offer(turn)
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
            if self.is_idle:
                self._remind(self, trio.current_time())

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
        self._offer_all()

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
        for wait in self._waits:
            if wait.call_sid:
                wait.wake()

    # ── the client's side ───────────────────────────────────────────────────────────────────────────────────────────

    async def next_utterance(
        self, client: str, call_sid: str = "", *, within: float = math.inf, signs: SignsOfLife | None = None
    ) -> Utterance | None:
        """Wait for an utterance that this client may have, of one call if named, and return it.

        Returns None if there is none `within` so many seconds. Raises `CallOver` if the named call is over or unknown.
        The client gets `signs` of life meanwhile; what they raise comes out too.
        If cancelled, no utterance was handed out, and the client counts as gone, unless it has another utterance in
        hand: clients without a session may share a key, and one that leaves must not remove the others.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        wait = Wait(client, call_sid, trio.current_time() + within)
        self._waits[wait] = None
        self._clients.begin_wait(client)
        self._presence.arrive(self, Reachability.TURN_TOOL)
        utterance: Utterance | None = None
        was_cancelled = True
        try:
            utterance = await self._take(wait, signs)
            was_cancelled = False
        except CallOver:
            was_cancelled = False
            raise
        finally:
            del self._waits[wait]
            self._clients.end_wait(client)
            if was_cancelled and all(turn.taken_by != client for turn in self._turns.values()):
                self._clients.forget(client)
            if utterance is None:
                self._offer_all()
                self.settle(is_lost=not was_cancelled)
                if self.is_idle:
                    self._remind(self, trio.current_time())
            elif wait.turn is not None and not wait.turn.taken_by:
                self._offer(wait.turn)  # it found an older one
        return utterance

    async def _take(self, wait: Wait, signs: SignsOfLife | None) -> Utterance | None:
        began = trio.current_time()
        next_sign = math.inf if signs is None else began + signs.interval
        while True:
            turn, due = self._find(wait.client, wait.call_sid)
            if turn is not None:
                return self._hand_out(turn, wait.client)
            if wait.call_sid and self._call(wait.call_sid) is None:
                raise CallOver("this call is over; wait for the next call without naming one")
            now = trio.current_time()
            if wait.until <= now:
                return None
            if signs is not None and next_sign <= now:
                next_sign = now + signs.interval
                await signs.send(now - began)
                await trio.lowlevel.checkpoint_if_cancelled()
                continue
            wait.due = min(wait.until, next_sign)
            self._remind(self, min(due, wait.due))
            await wait.park()
            # It may have been cancelled after it was woken; then nothing may be handed out any more.
            await trio.lowlevel.checkpoint_if_cancelled()

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
                try:
                    asked.pieces.send_nowait((text, not more))
                except trio.WouldBlock:
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
        self._offer_all()
        self.settle()

    def detach(self, client: str) -> None:
        """Expect a client under another key next time. What it took stays with the agent for the grace.

        Idempotent; no-op if the client has taken or said nothing within the grace.
        """
        self._clients.detach(client)
        if self._clients.is_detached(client):  # who still waits is not, and only what the client had becomes free
            for call_sid, turn in self._turns.items():
                if self._leader(call_sid) == client:
                    self._offer(turn)

    def is_engaged(self, client: str) -> bool:
        """Whether a client waits, or has an utterance in hand."""
        return self._clients.waits(client) or any(turn.taken_by == client for turn in self._turns.values())

    def count_turns(self, client: str) -> int:
        """Count the utterances that a client has in hand."""
        return sum(turn.taken_by == client for turn in self._turns.values())

    def end_waits(self, client: str | None = None) -> None:
        """End the waits of a client, or of all: their clients go on elsewhere, and are back in a moment."""
        for wait in self._waits:
            if client in {None, wait.client}:
                wait.until = trio.current_time()
                wait.wake()

    @property
    def waiting_calls(self) -> int:
        """The number of calls with an utterance that no client has taken."""
        return sum(not turn.taken_by for turn in self._turns.values())

    def review(self) -> float:
        """Do what is due by now: end waits and graces, wake waits for turns that are free. Return when to look again.

        That is `inf` for never.
        """
        due, now = self._offer_all(), trio.current_time()
        for wait in self._waits:
            if wait.due <= now:
                wait.wake()
            elif wait.is_parked:
                due = min(due, wait.due)
        return min(due, self.settle(), self._clients.next_gone_at())

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
        for turn in self._turns.values():
            if call_sid and turn.request.call.call_sid != call_sid:
                continue
            at = self._free_at(turn, client, is_named=bool(call_sid))
            if at <= now:
                return turn, now
            due = min(due, at)
        return None, due

    def _offer_all(self) -> float:
        """Offer every turn; return when to look again."""
        return min([self._offer(turn) for turn in self._turns.values()], default=math.inf) if self._waits else math.inf

    def _offer(self, turn: PendingTurn) -> float:
        """Wake the tool call that may have this turn now, the call's own client first, then who waits longest.

        If there is none yet, ask to be reminded of when there will be, and return that; `inf` for never.
        """
        call_sid = turn.request.call.call_sid
        waits = [each for each in self._waits if each.is_parked and each.takes(call_sid)]
        if not waits:
            return math.inf
        now, due, leader = trio.current_time(), math.inf, self._leader(call_sid)
        for wait in sorted(waits, key=lambda each: each.client != leader):
            at = self._free_at(turn, wait.client, is_named=bool(wait.call_sid))
            if at <= now:
                wait.wake(turn)
                return math.inf
            due = min(due, at)
        self._remind(self, due)
        return due

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
        if any(wait.client == client and wait.is_parked for wait in self._waits):
            self._remind(self, turn.taken_at + self._options.again)
        return Utterance(request=turn.request, is_new=is_new, waiting=self.waiting_calls)

    def _call(self, call_sid: str) -> Call | None:
        return self._calls.find_remembered(call_sid, self.agent_id)

    def _owner(self, call_sid: str) -> Owner:
        call = self._call(call_sid)
        return NO_OWNER if call is None else call.owner

    def _mark_seen(self, client: str) -> None:
        self._clients.mark_seen(client)
        self._presence.arrive(self, Reachability.TURN_TOOL)
        self._remind(self, trio.current_time() + self._options.grace)


@attrs.define(eq=False)
class TurnQueues:
    """The turn queues by agent. One instance, with one task in `run`, which ends the graces."""

    presence: Presence
    calls: Calls
    options: TurnQueueOptions = attrs.field(factory=TurnQueueOptions)
    # Weak references: an agent has one queue as long as a reference to it exists; `_busy` refers to those with state.
    _known: WeakValueDictionary[str, TurnQueue] = attrs.field(factory=WeakValueDictionary, init=False)
    _busy: dict[str, TurnQueue] = attrs.field(factory=dict, init=False)
    # When the next review is due, and that this was put forward.
    _due: float = attrs.field(default=math.inf, init=False)
    _is_sooner: trio.Event = attrs.field(factory=trio.Event, init=False)

    def of(self, agent_id: str) -> TurnQueue:
        """Return the queue of an agent, making it on first use."""
        queue = self._known.get(agent_id)
        if queue is None:
            queue = self._known[agent_id] = TurnQueue(agent_id, self.presence, self.calls, self.options, self._remind)
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

    def count_turns(self, agent_id: str, client: str) -> int:
        """Count the utterances that a client has in hand."""
        queue = self._known.get(agent_id)
        return 0 if queue is None else queue.count_turns(client)

    def end_waits(self, agent_id: str, client: str | None = None) -> None:
        """See `TurnQueue.end_waits`."""
        queue = self._known.get(agent_id)
        if queue is not None:
            queue.end_waits(client)

    def end_all_waits(self) -> None:
        """End the waits of all clients of all agents."""
        for queue in list(self._known.values()):
            queue.end_waits()

    async def run(self) -> None:
        """Review each queue when it is due: end waits and graces. Runs until cancelled, at any point."""
        while True:
            self._review()
            self._is_sooner = trio.Event()
            with trio.move_on_at(self._due):
                await self._is_sooner.wait()

    def _review(self) -> None:
        self._due = math.inf  # the reviews put it forward
        for queue in tuple(self._busy.values()):
            self._remind(queue, queue.review())
        for agent_id in [agent_id for agent_id, queue in self._busy.items() if queue.is_idle]:
            del self._busy[agent_id]

    def __len__(self) -> int:
        """Return the number of queues with state."""
        return len(self._busy)

    def _remind(self, queue: TurnQueue, at: float) -> None:
        self._busy[queue.agent_id] = queue
        if at < self._due:
            self._due = at
            self._is_sooner.set()
