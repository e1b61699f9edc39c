"""The supervisor of calls: admits them, knows the live ones, finds them for a tool, drains them.

    front desk ──reserve, connect──▶ ┌─────────────┐ ──HangUpRequested, TransferRequested, CalleeRecognised──▶ one call
    front desk ──recognise─────────▶ │ Switchboard │ ──DrainRequested──▶ every call
    tools ──────hang_up, transfer──▶ └─────────────┘

A place is reserved when the carrier announces a call and becomes the live call when its socket opens, so the limit is
exact: no more calls than places are ever promised. Calls run in the task that brings their line (`connect`), which is a
child of the listener's nursery; the switchboard holds no nursery and no call outlives its connection.
"""

from __future__ import annotations

import attrs
import trio

from actors.call_session import CallServices, CallSession
from actors.call_values import Callee, CallInfo
from actors.clients import Presence
from actors.errors import CallRefused, UnknownCall
from actors.events import (
    AvailabilityChanged,
    CallClaimed,
    CalleeRecognised,
    CallerGone,
    DrainRequested,
    HangUpRequested,
    TransferRequested,
)
from actors.ports import PhoneLine


@attrs.define(eq=False)
class Switchboard:
    """Know every live call. One instance, in one Trio thread."""

    services: CallServices
    presence: Presence  # type: ignore[type-arg]  # whatever a session is, only its availability matters here
    max_calls: int
    draining: bool = attrs.field(default=False, init=False)
    _says_farewell: bool = attrs.field(default=False, init=False)
    _calls: dict[str, CallSession] = attrs.field(factory=dict, init=False)
    _reserved: set[str] = attrs.field(factory=set, init=False)
    # Who picked up, of calls whose line is still to come.
    _recognised: dict[str, Callee] = attrs.field(factory=dict, init=False)
    _left: trio.Event = attrs.field(factory=trio.Event, init=False)

    def reserve(self, call_sid: str) -> None:
        """Promise a place to a call that was announced; twice is once. Raises `CallRefused` when none can be had.

        A live call keeps its own place for its next line, whichever of the two is noticed first: the loss of the old
        line or the announcement of the new one.
        """
        if call_sid not in self._reserved and call_sid not in self._calls:
            if self.draining:
                raise CallRefused("draining", "the relay is being stopped and takes no new calls")
            if self.occupied() >= self.max_calls:
                raise CallRefused(
                    "full", f"all {self.max_calls} places are taken; RELAY_MAX_CALLS says how many there are"
                )
        self._reserved.add(call_sid)

    def keep_place(self, call_sid: str) -> None:
        """Keep the place of a call whose line was lost, until `release`: its caller may be back in a moment.

        Also while draining: such a call is one of those that may finish.
        """
        self._reserved.add(call_sid)

    def release(self, call_sid: str) -> None:
        """Take a promise back: the call never opened its socket. Harmless when there was none."""
        self._reserved.discard(call_sid)
        self._recognised.pop(call_sid, None)
        self._note_left()

    def rename(self, order: str, call_sid: str) -> None:
        """Let a place that was promised to a call without a name yet be that of the named one."""
        if order in self._reserved:
            self._reserved.discard(order)
            self._reserved.add(call_sid)

    async def connect(self, info: CallInfo, line: PhoneLine) -> CallSession:
        """Run a call on its line, and return it when it is over and all it owes is stored.

        A newer connection of a live call takes over: its old line is lost, and the carrier knew it before we did.
        Raises `CallRefused` when the connection is no newer, else nothing but `trio.Cancelled` after the epilogue.
        """
        info = await self._succeed(info)
        with self.presence.watch(info.agent_id, lambda now: call.inbox.post(AvailabilityChanged(now))) as availability:
            call = CallSession(info, line, self.services, availability)
            self._calls[info.call_sid] = call
            self._reserved.discard(info.call_sid)
            if (callee := self._recognised.pop(info.call_sid, None)) is not None:
                call.inbox.post(CalleeRecognised(callee))
            if self._says_farewell:
                call.inbox.post(DrainRequested())
            try:
                await call.run()
            finally:
                del self._calls[info.call_sid]
                self._note_left()
        return call

    async def _succeed(self, info: CallInfo) -> CallInfo:
        """End the older connection of this call, if there is one, and go on with its transcript and its question."""
        while (old := self._calls.get(info.call_sid)) is not None:
            if info.connection <= old.info.connection:
                raise CallRefused("already_here", "this call has an open line already")
            old.inbox.post(CallerGone())
            await self._left.wait()
            owed = old.unanswered
            unanswered = owed.unless_back if owed is not None and owed.unless_back else info.unanswered
            info = attrs.evolve(info, opened_by=old.transcript, unanswered=unanswered)
        return info

    def live(self, agent_id: str | None = None) -> list[CallSession]:
        """Return the live calls, of one agent or of all, oldest first."""
        return [call for call in self._calls.values() if agent_id in {None, call.info.agent_id}]

    def occupied(self) -> int:
        """Count the places that are taken or promised."""
        return len(self._calls.keys() | self._reserved)

    def hang_up(self, agent_id: str, call_sid: str, say: str = "") -> None:
        """End a live call of this agent after saying `say`. Raises `UnknownCall`, also for another agent's call."""
        self._own(agent_id, call_sid).inbox.post(HangUpRequested(say))

    def transfer(self, agent_id: str, call_sid: str, handoff: str) -> None:
        """End the session of a live call of this agent with a handoff for the action URL. Raises `UnknownCall`."""
        self._own(agent_id, call_sid).inbox.post(TransferRequested(handoff))

    def claim(self, agent_id: str, call_sid: str) -> None:
        """Claim a live call of this agent for its client; the answering machine gives it up when its turn is over.

        A call that the client has already stays with it. Raises `UnknownCall`.
        """
        self._own(agent_id, call_sid).inbox.post(CallClaimed())

    def recognise(self, agent_id: str, call_sid: str, callee: Callee) -> None:
        """Tell a call who picked up, now or when its line is there. Harmless for any other call."""
        call = self.find(agent_id, call_sid)
        if call is not None:
            call.inbox.post(CalleeRecognised(callee))
        elif call_sid in self._reserved:
            self._recognised[call_sid] = callee

    def find(self, agent_id: str, call_sid: str) -> CallSession | None:
        """Return a live call of this agent, None for any other."""
        call = self._calls.get(call_sid)
        return call if call is not None and call.info.agent_id == agent_id else None

    def _own(self, agent_id: str, call_sid: str) -> CallSession:
        call = self.find(agent_id, call_sid)
        if call is None:
            raise UnknownCall(call_sid)
        return call

    async def drain(self, patience: float, farewell: float) -> bool:
        """Take no new calls, let the live ones finish for `patience` seconds, then say farewell to the rest.

        A call that was promised a place is waited for like a live one: its socket is on its way, and its caller would
        hear an error of the carrier's. Returns whether all calls were over within `farewell` seconds after that. Safe
        to cancel at any point.
        """
        self.draining = True
        with trio.move_on_after(patience):
            while self.occupied():
                await self._left.wait()
        self._says_farewell = True
        for call in self.live():
            call.inbox.post(DrainRequested())
        with trio.move_on_after(farewell):
            while self._calls:
                await self._left.wait()
        return not self._calls

    def _note_left(self) -> None:
        left, self._left = self._left, trio.Event()
        left.set()
