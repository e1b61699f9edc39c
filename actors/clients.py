"""The presence supervisor: which client sessions are here, for which agent.

    MCP session ready ──arrive──▶ ┌──────────┐ ──AvailabilityChanged──▶ the inbox of each live call of the agent
    MCP session over  ──leave───▶ │ Presence │
                                  └──────────┘ ◀──newest(agent)──────── the client responder, once a turn

An agent may have several sessions, reachable in different ways. They are tried in the order in which they can answer: a
session that can be asked by sampling, then a client that waits in a tool call, then a client that has to be woken by a
notification and must call a tool first. When none is left the turn goes to the answering machine; `conversation`
decides that. Closing one session never touches another.

An agent whose last session went away counts as just lost for `grace` seconds, so that a client which reconnects is
waited for, while a caller of an agent that has been away longer is not kept waiting.

`arrive` and `leave` are plain functions, not messages: a session must be usable the moment it is ready, and must be
gone the moment its connection is, even when its task is being cancelled and cannot wait for room in a channel. Only the
end of the grace needs a task: `run`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TypeVar

import attrs
import trio

from actors.call_values import NO_OWNER, Availability, CallInfo, Owner, TurnRequest
from actors.errors import ClientAbsent
from actors.ports import Answer, AnsweringSession


class Reachability(StrEnum):
    """How a client can be reached, the best first."""

    SAMPLING = "sampling"
    TURN_TOOL = "turn_tool"
    WAKE_UP = "wake_up"


T = TypeVar("T")

_ORDER = tuple(Reachability)
_ANSWERS = frozenset({Reachability.SAMPLING, Reachability.TURN_TOOL})


def choose(reachable: Sequence[tuple[T, Reachability]], claimed_by: object | None = None) -> T | None:
    """Return the session that gets the next turn of a call, or None if none can answer.

    `reachable` is in the order of arrival. The session that has claimed the call gets it as long as it can answer;
    otherwise the best reachability goes first, and among equals the newest.
    """
    able = [(each, how) for each, how in reachable if how in _ANSWERS]
    for each, _how in able:
        if each is claimed_by:
            return each
    best = min((_ORDER.index(how) for _each, how in able), default=None)
    return next((each for each, how in reversed(able) if _ORDER.index(how) == best), None)


def availability_of(reachabilities: Iterable[Reachability], *, just_lost: bool) -> Availability:
    """Return whether a turn can be answered now, perhaps within a moment, or not at all."""
    found = frozenset(reachabilities)
    if found & _ANSWERS:
        return Availability.HERE
    if just_lost:
        return Availability.JUST_LOST
    return Availability.WAKEABLE if Reachability.WAKE_UP in found else Availability.AWAY


Watcher = Callable[[Availability], None]


def _unheeded(_agent_id: str) -> None:
    pass


@attrs.define(eq=False)
class Presence:
    """The registry of the sessions that are here. One instance, in one Trio thread, with one task in `run`."""

    grace: float
    # Is told of an agent whose client has come; must neither wait nor raise.
    note_here: Callable[[str], None] = _unheeded
    _sessions: dict[str, list[tuple[AnsweringSession, Reachability]]] = attrs.field(factory=dict, init=False)
    _lost_until: dict[str, float] = attrs.field(factory=dict, init=False)
    _watchers: dict[str, set[Watcher]] = attrs.field(factory=dict, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)

    def arrive(self, session: AnsweringSession, reachability: Reachability = Reachability.SAMPLING) -> None:
        """Register a session; it becomes its agent's newest. Idempotent.

        A session whose reachability has changed keeps its place.
        """
        before = self.availability(session.agent_id)
        sessions = self._sessions.setdefault(session.agent_id, [])
        for place, (each, known) in enumerate(sessions):
            if each is session:
                if known is reachability:
                    return
                sessions[place] = (session, reachability)
                break
        else:
            sessions.append((session, reachability))
        if reachability is not Reachability.WAKE_UP:
            self._lost_until.pop(session.agent_id, None)
        if (now := self.availability(session.agent_id)) is not before:
            self._publish(session.agent_id)
            if now is Availability.HERE:
                self.note_here(session.agent_id)

    def leave(self, session: AnsweringSession, *, is_lost: bool = True) -> None:
        """Remove a session. No-op if it is not registered.

        With `is_lost` it may be back in a moment and is waited for; else it has left on purpose.
        """
        agent_id = session.agent_id
        sessions = self._sessions.get(agent_id, [])
        if all(each is not session for each, _how in sessions):
            return
        before = self.availability(agent_id)
        sessions[:] = [(each, reachability) for each, reachability in sessions if each is not session]
        if not sessions:
            del self._sessions[agent_id]
        if self.grace > 0 and is_lost and before is Availability.HERE and self.newest(agent_id) is None:
            self._lost_until[agent_id] = trio.current_time() + self.grace
            self._wake.set()
        if self.availability(agent_id) is not before:
            self._publish(agent_id)

    def expect(self, agent_id: str) -> None:
        """Count the agent's client as lost a moment ago: another run of the relay had it. No-op if one is here."""
        if self.grace > 0 and self.newest(agent_id) is None:
            before = self.availability(agent_id)
            self._lost_until[agent_id] = trio.current_time() + self.grace
            self._wake.set()
            if self.availability(agent_id) is not before:
                self._publish(agent_id)

    def newest(self, agent_id: str, claimed_by: object | None = None) -> AnsweringSession | None:
        """Return the session that gets the agent's next turn, or None when none can answer.

        That is the one that has claimed the turn's call (`Owner.session`), as long as it is here and can answer.
        """
        return choose(self._sessions.get(agent_id, ()), claimed_by)

    def availability(self, agent_id: str) -> Availability:
        """Return whether the agent's client is here, was lost within the grace, can only be woken, or is away."""
        just_lost = self._lost_until.get(agent_id, -math.inf) > trio.current_time()
        return availability_of((how for _each, how in self._sessions.get(agent_id, ())), just_lost=just_lost)

    @contextmanager
    def watch(self, agent_id: str, watcher: Watcher) -> Iterator[Availability]:
        """Call `watcher` at each change inside the block, and yield the availability at its start.

        `watcher` is called by the session that arrives or leaves: it must neither wait nor raise (`Inbox.post` fits).
        """
        self._watchers.setdefault(agent_id, set()).add(watcher)
        try:
            yield self.availability(agent_id)
        finally:
            watchers = self._watchers[agent_id]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[agent_id]

    async def run(self) -> None:
        """Change availability from just lost to away when the grace is over.

        Runs until cancelled, and may be cancelled at any point.
        """
        while True:
            self._wake = trio.Event()
            self._expire()
            with trio.move_on_at(min(self._lost_until.values(), default=math.inf)):
                await self._wake.wait()

    def _expire(self) -> None:
        now = trio.current_time()
        for agent_id in [each for each, until in self._lost_until.items() if until <= now]:
            del self._lost_until[agent_id]
            self._publish(agent_id)

    def _publish(self, agent_id: str) -> None:
        availability = self.availability(agent_id)
        for watcher in tuple(self._watchers.get(agent_id, ())):
            watcher(availability)


def _no_owner(_call: CallInfo) -> Owner:
    return NO_OWNER


def _not_noted(_request: TurnRequest, _session: AnsweringSession) -> None:
    pass


@attrs.frozen
class ClientResponder:
    """Answer turns through an agent's best session, or the one that has claimed the call. A Responder."""

    presence: Presence
    owner_of: Callable[[CallInfo], Owner] = _no_owner
    # Gets each turn, and the session that is asked to answer it; must neither wait nor raise.
    note_asked: Callable[[TurnRequest, AnsweringSession], None] = _not_noted

    async def respond(self, request: TurnRequest, answer: Answer) -> None:
        """Ask the client, and speak its answer as it comes.

        Raises `ClientAbsent` when no session can take the turn, `ClientLeft`, `ClientFailed`. Has no deadline of its
        own: cancelling withdraws the request and returns at once.
        """
        session = self.presence.newest(request.call.agent_id, self.owner_of(request.call).session)
        if session is None:
            raise ClientAbsent("no session of the agent can take the turn")
        self.note_asked(request, session)
        await session.respond(request, answer)
