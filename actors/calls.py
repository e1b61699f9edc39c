"""The registry of calls: one object a call, from its announcement, or our order, to the carrier's last report.

    the carrier announces ──announce──▶ ┌───────┐ ──ticket──▶ TwiML ──▶ the voice socket ──redeem──▶ ┌───────┐
    we order ───────────────expect────▶ │ Calls │                                        ──connect─▶ │ Calls │
    the carrier names it ───name──────▶ │       │ ──CallNews──▶ listeners                            │       │
    the carrier's last word ─end──────▶ └───────┘                   tools ──hang_up, claim, …──▶ └───────┘

A place is taken when a call is announced and is kept while a session lasts, or may come back, so the limit is exact: no
more calls than places are ever promised. Sessions run in the task that brings their line (`connect`), which is a child
of the listener's nursery; the registry holds no nursery, and no session outlives its connection.

A call is kept until the carrier says that it is over, and its last session is. Calls whose ticket was never used, and
those whose end the carrier never reported, expire in `run`.

A call that moves is like one whose line was lost, but its session was ended on purpose. Where the process hands its
calls over, the next session is another one's: the call is forgotten here as soon as the carrier asks (`pass_on`).

The question that a lost session leaves unanswered goes to the next one; it becomes a message when the call is over, or
when the caller is not back in time. Its text is held in the journal meanwhile, so that a crash loses none.

A call that another run of the relay had is restored first (`restore`), from what that run has stored of it; then it is
like any other. What is unanswered in it is only known when its next session opens.

A call that we make has no call SID until the carrier has taken it on, and the carrier may report on it, or even connect
it, before it has answered our request. So it is kept under an order of ours, and whichever comes first names it: the
answer, a status callback that carries the order, or the ticket.
"""

from __future__ import annotations

import hmac
import math
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import attrs
import trio

from actors.call_session import CallServices, CallSession
from actors.call_values import NO_OWNER, Callee, CallInfo, CallMemory, CallSummary, Line, Owner, Speaker
from actors.clients import Presence
from actors.commands import StoreMessage
from actors.ended_calls import EndedCall, EndedCalls
from actors.errors import CallRefused, CallTaken, StoreFailed, UnknownCall
from actors.events import (
    AvailabilityChanged,
    CallClaimed,
    CalleeRecognised,
    CallEnded,
    CallerGone,
    CallGone,
    DrainRequested,
    HangUpRequested,
    MessageLeft,
    MoveDue,
    MoveRequested,
    OwnerChanged,
    TransferMoved,
    TransferRequested,
)
from actors.operator_seat import OperatorSeat
from actors.phases import Phase
from actors.policy import Policy
from actors.ports import PhoneLine
from actors.trace import Trace
from actors.transfer import Stage, Todo, Transfer

# The carrier opens the socket within a second or two of the TwiML; a webhook may be repeated for 15 s before that.
TICKET_SECONDS = 60.0
# How long a lost call may take to come back, and how long a finished one waits for the carrier's last report, unless
# the settings say otherwise.
RETURN_SECONDS = 60.0
# The carrier often reports the end of a call twice: to the action URL, and then by the status callback.
LAST_WORD_SECONDS = 0.5
# A message that could not be stored is tried again after this.
RETRY_SECONDS = 1.0


def _new_ticket() -> str:
    return secrets.token_urlsafe(32)


@attrs.define(eq=False, kw_only=True)
class Call:
    """One call, in all its sessions. On disk are its record, what it was told, and what was said in it (`Journal`).

    Made and changed by `Calls`, with two exceptions: the client in `owner`, and `memory`, are set by the turn queue,
    and `seat` by `Seats`. All others only read.

    The first group of fields is what another process would need to continue the call: its facts, its ticket, its
    transcript, its transfer. The second group has no meaning outside this process.
    """

    # ── of the call: what another process would need ──────────────────────────────────────────────────────────────────

    info: CallInfo
    """The facts for its newest session.

    `attempt` is the epoch: what an older session still does has no effect. The call SID is our order until the call is
    named.
    """
    order: str = ""
    """Our order, of a call that the carrier has not named yet; empty for every other."""
    ticket: str = attrs.field(factory=_new_ticket, repr=False)
    is_ticket_used: bool = False
    idempotency_token: str = attrs.field(default="", repr=False)
    """The carrier's, of the request that was answered with this ticket."""
    was_connected: bool = False
    """Whether the call ever had a session, by this ticket or an earlier one."""
    callee: Callee | None = None
    """Who picked up, if that was known before the call had a session."""
    transcript: tuple[Line, ...] = ()
    """The transcript of the sessions that are over."""
    was_screening: bool = False
    """Whether its last session was over before the callee was recognised."""
    unanswered: StoreMessage | None = None
    """What its lost session left unanswered: asked again in the next session, else stored as a message."""
    transfer: Transfer | None = None
    """Its last transfer, with the state of it; None if there was none."""
    is_over: bool = False
    """Whether the carrier has reported its end; it is then kept only until its session is over too."""
    is_passed_on: bool = False
    """Whether another process takes it on: here it is over, and its unanswered utterances are not left as a message."""

    # ── of this process: times are Trio's ───────────────────────────────────────────────────────────────────────────

    policy: Policy
    is_restored: bool = False
    """Whether another run of the relay had it, and it has had no session here yet."""
    session: CallSession | None = None
    """The call session that it has now."""
    hop: str = ""
    """The node by way of which the line of that session comes; empty if it comes straight here."""
    owner: Owner = NO_OWNER
    """Which client has it. A client that comes back on another session claims it again."""
    memory: CallMemory = attrs.field(factory=CallMemory)
    """What the turn queue remembers of it."""
    trace: Trace | None = None
    """The steps of the sessions that are over."""
    seat: OperatorSeat | None = None
    """The operator who has taken it over, through its sessions in this process; None if none has."""
    has_place: bool = True
    """Whether a place is kept for a session that is to come."""
    seconds_to_connect: float = 0.0
    """How long an expected call may take to be named, and how long then to be connected."""
    expires: float = math.inf
    """When it is removed, unless something happens before."""
    moves_away: MoveDue | None = None
    """What its next session is asked at once, because the agent's calls go on in another process."""
    returns_until: float = -math.inf
    """Until when the caller may return from a transfer."""

    @property
    def call_sid(self) -> str:
        """The call SID, or our order while the carrier has not given one."""
        return self.info.call_sid

    @property
    def agent_id(self) -> str:
        """The agent of the call."""
        return self.info.agent_id

    @property
    def is_occupying(self) -> bool:
        """Whether it counts against the limit of calls."""
        return self.has_place or self.session is not None

    @property
    def is_screening(self) -> bool:
        """Whether the callee of a screened call is still to be recognised, in this session or in the next."""
        return self.was_screening if self.session is None else self.session.is_screening

    @property
    def is_transferring(self) -> bool:
        """Whether it is being passed on, so that it cannot be passed on to somebody else."""
        return self.transfer is not None and self.transfer.is_under_way

    @property
    def is_away(self) -> bool:
        """Whether it has no session now, but had one, and may have another: a transfer, or a line that was lost."""
        transfer = self.transfer
        is_transferred = transfer is not None and transfer.may_return and transfer.attempt == self.info.attempt
        return self.was_connected and self.session is None and not self.is_over and (self.has_place or is_transferred)

    def is_of(self, agent_id: str) -> bool:
        """Whether it is this agent's call, and is not over."""
        return self.agent_id == agent_id and not self.is_over

    def is_announced_as(self, info: CallInfo, idempotency_token: str) -> bool:
        """Whether the carrier has announced this very session before, and still has no other answer."""
        if not self.is_of(info.agent_id) or self.info.attempt != info.attempt:
            return False
        if self.idempotency_token and self.idempotency_token == idempotency_token:
            return True
        return not self.is_ticket_used and not idempotency_token


def _now() -> datetime:
    return datetime.now(UTC)


@attrs.define(eq=False)
class Calls:
    """Know every call. One instance, in one Trio thread, with one task in `run`. `now` is the wall clock."""

    services: CallServices
    presence: Presence
    max_calls: int
    now: Callable[[], datetime] = _now
    return_seconds: float = RETURN_SECONDS
    draining: bool = attrs.field(default=False, init=False)
    # What was decided in the last calls that are over.
    ended: EndedCalls = attrs.field(factory=EndedCalls, init=False)
    # Whether the carrier asks another process how an agent's calls go on that are handed over here.
    _is_elsewhere: Callable[[str], bool] = attrs.field(default=lambda _agent_id: False, init=False)
    # What is asked of every session from now on, so that the process can stop.
    _parting: DrainRequested | MoveRequested | MoveDue | None = attrs.field(default=None, init=False)
    # By call SID, or by our order where there is none yet.
    _calls: dict[str, Call] = attrs.field(factory=dict, init=False)
    # Messages of callers who are not coming back, until they are stored. One a call that has just ended, so few.
    _to_leave: list[tuple[CallInfo, StoreMessage]] = attrs.field(factory=list, init=False)
    _last_word_by: float = attrs.field(default=-math.inf, init=False)
    # `_wake`: something expires sooner, or is to be stored. `_freed`: a place, a call or a message was released.
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)
    _freed: trio.Event = attrs.field(factory=trio.Event, init=False)

    # ── a call comes ────────────────────────────────────────────────────────────────────────────────────────────────

    def announce(self, info: CallInfo, policy: Policy, *, idempotency_token: str = "") -> Call:
        """Register a call, or another session of one, with a place and a new ticket. Raises `CallRefused`.

        A live call keeps its own place for its next session, whichever of the two is noticed first: the loss of the old
        one or the announcement of the new one. A call that the carrier passes on to another agent starts without the
        transcript: that is private to the first agent.
        """
        call = self._calls.get(info.call_sid)
        if call is None or not call.is_occupying:
            self._require_place()
        if call is None:
            call = self._calls[info.call_sid] = Call(info=info, policy=policy)
        elif not call.is_of(info.agent_id):
            self._leave(call)
            if not call.is_over:
                self._publish_if_gone(call.agent_id, call.call_sid)
            call.transcript, call.transfer, call.owner, call.memory = (), None, NO_OWNER, CallMemory()
            call.trace = None
            call.seat = None
            call.was_connected = call.was_connected and not call.is_over
            call.is_over = call.is_passed_on = False
        call.info, call.policy, call.idempotency_token = info, policy, idempotency_token
        call.ticket, call.is_ticket_used, call.has_place = _new_ticket(), False, True
        if call.moves_away is not None:  # and the carrier has asked before the end of its session was known
            call.seat = None
        call.expires, call.moves_away = trio.current_time() + TICKET_SECONDS, None
        self._wake.set()
        return call

    def restore(
        self, info: CallInfo, policy: Policy, *, transcript: tuple[Line, ...] = (), callee: Callee | None = None
    ) -> None:
        """Register a call that another run of the relay had, without a place or a ticket: `announce` gives it both.

        No-op if it is known here.
        """
        if info.call_sid not in self._calls:
            call = Call(info=info, policy=policy, transcript=transcript, callee=callee, is_ticket_used=True)
            call.is_restored = call.was_connected = True
            # A screened call is greeted when the screening is over.
            call.was_screening = info.screened and all(line.speaker is not Speaker.AGENT for line in transcript)
            call.has_place = False
            call.expires = trio.current_time() + TICKET_SECONDS
            self._calls[info.call_sid] = call
            self._wake.set()

    def expect(self, order: str, info: CallInfo, policy: Policy, *, seconds: float) -> Call:
        """Register a call that we are about to make, with a place and a ticket. Raises `CallRefused`.

        It is expected for so many seconds, and for as long again once it is named.
        """
        self._require_place()
        expires = trio.current_time() + seconds
        call = Call(info=info, policy=policy, order=order, seconds_to_connect=seconds, expires=expires)
        self._calls[order] = call
        self._wake.set()
        return call

    def name(self, order: str, call_sid: str, agent_id: str | None = None) -> None:
        """Store a call that we make under its call SID; it is then like any other.

        No-op where it has its name already, was withdrawn, or is not of the agent, if one is named.
        """
        call = self._calls.get(order)
        if call is None or not call.order or agent_id not in {None, call.agent_id}:
            return
        del self._calls[order]
        call.order, call.info = "", attrs.evolve(call.info, call_sid=call_sid, started_at=self.now())
        call.expires = trio.current_time() + call.seconds_to_connect
        self._calls.setdefault(call_sid, call)
        self._notify_freed()
        self._wake.set()

    def withdraw(self, order: str) -> None:
        """Remove an expected call that was not placed, or is not wanted. No-op if it has its call SID already."""
        call = self._calls.get(order)
        if call is not None and call.order:
            del self._calls[order]
            self._notify_freed()

    def redeem(self, agent_id: str, call_sid: str, ticket: str) -> CallInfo | None:
        """Redeem a ticket, once; None if it is unknown, used, too old, or another call's or agent's.

        What was said is added here and not when the session is announced: the carrier often asks for a lost session's
        successor before we have noticed the loss.
        """
        if self.find_call(call_sid) is None:
            # The socket of a call that we make may come before the carrier's answer.
            self._name_by_ticket(agent_id, call_sid, ticket)
        call = self.find_call(call_sid)
        if call is None or call.is_ticket_used or call.expires <= trio.current_time():
            return None
        if call.agent_id != agent_id or not hmac.compare_digest(call.ticket.encode(), ticket.encode()):
            return None
        call.is_ticket_used = call.was_connected = True
        call.expires = math.inf
        message, call.unanswered = call.unanswered, None
        unanswered = () if message is None or message.unless_back is None else message.unless_back
        return attrs.evolve(call.info, started_at=self.now(), opened_by=call.transcript, unanswered=unanswered)

    def _name_by_ticket(self, agent_id: str, call_sid: str, ticket: str) -> None:
        for call in [each for each in self._calls.values() if each.order and each.agent_id == agent_id]:
            if hmac.compare_digest(call.ticket.encode(), ticket.encode()):
                self.name(call.order, call_sid)

    def _require_place(self) -> None:
        if self.draining:
            raise CallRefused("draining", "the relay is stopping and takes no new calls; try again in a minute")
        if self.occupied() >= self.max_calls:
            raise CallRefused("full", f"all {self.max_calls} places are taken; RELAY_MAX_CALLS sets how many there are")

    # ── its sessions ────────────────────────────────────────────────────────────────────────────────────────────────

    async def connect(self, info: CallInfo, line: PhoneLine, *, hop: str = "") -> CallSession:
        """Run a session of a call on its line, and return it when it is over and everything of it is stored.

        `hop` is the node by way of which the line comes, empty if it comes straight here.

        A newer session of a live call takes over: its old line is lost, and the carrier knew it before we did. Raises
        `CallRefused` when the session is no newer, or the call unknown; else nothing but `trio.Cancelled`, after the
        epilogue.
        """
        call = self._calls.get(info.call_sid)
        if call is None:
            raise CallRefused("over", "the call has ended")
        info = await self._succeed(call, info)
        call = self._calls.setdefault(info.call_sid, call)
        with self.presence.watch(
            info.agent_id, lambda now: session.inbox.post(AvailabilityChanged(now))
        ) as availability:
            operator = "" if call.seat is None else call.seat.operator
            session = CallSession(
                info, line, self.services, call.policy, availability, operator, is_taken_over=call.is_restored
            )
            call.session, call.has_place, call.hop = session, False, hop
            if call.callee is not None:
                session.inbox.post(CalleeRecognised(call.callee))
                call.callee = None
            if self._parting is not None:
                session.inbox.post(self._parting)
            if call.moves_away is not None:
                session.inbox.post(call.moves_away)
            self._end_for_transfer(call)
            session.trace = call.trace
            try:
                await session.run()
            finally:
                call.session, call.trace = None, session.trace
                self._keep_ended(session)
                self.remove_if_over(call)
                self._notify_freed()
                if call.transfer is not None:
                    call.transfer.on_session_over(trio.current_time())
                    self.services.publish(TransferMoved(call.agent_id, call.call_sid))
        if session.is_taken:
            self._drop(call)
        else:
            call.is_restored = call.is_restored and not session.is_open
            self._session_ended(call, session)
            is_newest = call.info.attempt <= info.attempt
            if is_newest and session.may_return and self._is_elsewhere(info.agent_id):
                self.pass_on(info.agent_id, info.call_sid)
        return session

    def _keep_ended(self, session: CallSession) -> None:
        """Keep what a session was, for those who look at it when it has just ended."""
        if session.trace is not None:
            self.ended.keep(
                EndedCall.of(
                    session.info,
                    session.summary.outcome,
                    session.trace,
                    now=trio.current_time(),
                    words=session.policy.keep_transcript,
                )
            )

    def _drop(self, call: Call) -> None:
        """Remove a call that another run of the relay has now; what it has left is that run's.

        Unless it is announced anew: then the next session takes it back, with what the other run has left.
        """
        call.unanswered = None
        if call.has_place:
            call.is_restored = True
            return
        call.is_over = True
        self.remove_if_over(call)
        self._publish_if_gone(call.agent_id, call.call_sid)
        self._notify_freed()

    async def _succeed(self, call: Call, info: CallInfo) -> CallInfo:
        """End the older session of this call, if any; return `info` with its transcript and utterances."""
        while (old := call.session) is not None:
            if info.attempt <= old.info.attempt:
                raise CallRefused("already_here", "this call has a newer session already, and only one may be open")
            old.inbox.post(CallerGone())
            await self._freed.wait()
            message = old.unanswered
            unanswered = message.unless_back if message is not None and message.unless_back else info.unanswered
            info = attrs.evolve(info, opened_by=old.transcript, unanswered=unanswered)
        return info

    def _session_ended(self, call: Call, session: CallSession) -> None:
        info = session.info
        if not call.is_of(info.agent_id):
            if not call.is_passed_on:
                self._leave_later(info, session.unanswered)
            self.services.publish(CallGone(info.agent_id, info.call_sid))
            return
        if not session.may_return:
            call.owner, call.memory, call.seat = NO_OWNER, CallMemory(), None
            self.services.publish(CallGone(info.agent_id, info.call_sid))
        if call.moves_away is not None:
            call.seat = None  # where it goes on it is asked for as ever
        call.transcript, call.was_screening = session.transcript, session.is_screening
        is_newest = call.info.attempt <= info.attempt
        if is_newest:
            call.expires = max(trio.current_time() + self.return_seconds, call.returns_until)
            self._wake.set()
        # Else the next session started before this one was known to be lost, and has the unanswered utterances already.
        if is_newest or not call.is_ticket_used:
            call.unanswered = session.unanswered
            # Also while draining: a call that comes back is one of those that may finish.
            call.has_place = call.has_place or (session.may_return and call.moves_away is None)

    # ── look-ups ────────────────────────────────────────────────────────────────────────────────────────

    def find_call(self, call_sid: str, agent_id: str | None = None) -> Call | None:
        """Return a call that is not over, with or without a session; of this agent only, if one is named."""
        call = self._calls.get(call_sid)
        return call if call is not None and call.is_of(call.agent_id if agent_id is None else agent_id) else None

    def find_remembered(self, call_sid: str, agent_id: str) -> Call | None:
        """Return a call of this agent, even one that is over while the end of its session or transfer is awaited."""
        call = self._calls.get(call_sid)
        return call if call is not None and call.agent_id == agent_id else None

    def find_known(self, call_sid: str) -> Call | None:
        """Return a call, of whichever agent, even one that is over while the end of its session is awaited."""
        return self._calls.get(call_sid)

    def seat_of(self, info: CallInfo) -> OperatorSeat | None:
        """Return the operator who has taken a call over, None if none has."""
        call = self.find_remembered(info.call_sid, info.agent_id)
        return None if call is None else call.seat

    def taken_over(self) -> list[Call]:
        """Return the calls that operators have taken over."""
        return [call for call in self._calls.values() if call.seat is not None]

    def owner_of(self, info: CallInfo) -> Owner:
        """Return the owner of a call."""
        call = self.find_remembered(info.call_sid, info.agent_id)
        return NO_OWNER if call is None else call.owner

    def find_session(self, call_sid: str, agent_id: str) -> CallSession | None:
        """Return the session that a call of this agent has now, None where it has none."""
        call = self._calls.get(call_sid)
        session = None if call is None else call.session
        return session if session is not None and session.info.agent_id == agent_id else None

    def live(self, agent_id: str | None = None) -> list[CallSession]:
        """Return the sessions that calls have now, of one agent or of all, oldest call first."""
        sessions = (call.session for call in self._calls.values() if call.session is not None)
        return [session for session in sessions if agent_id in {None, session.info.agent_id}]

    def busy_agents(self) -> frozenset[str]:
        """Name the agents that have calls with a place, or calls that are being transferred."""
        return frozenset(call.agent_id for call in self._calls.values() if call.is_occupying or call.is_transferring)

    def left_over(self) -> int:
        """Count what is still kept of calls that are over: none of it is needed, and the next report removes it."""
        return sum(not (call.is_occupying or call.is_transferring) for call in self._calls.values())

    def occupied(self) -> int:
        """Count the places that are taken or promised."""
        return sum(call.is_occupying for call in self._calls.values())

    def __len__(self) -> int:
        """Count the calls that are known, expected ones too."""
        return len(self._calls)

    # ── requests to a call ────────────────────────────────────────────────────────────────────────────────────

    def hang_up(self, agent_id: str, call_sid: str, say: str = "") -> None:
        """End a live call of this agent after saying `say`. Raises `UnknownCall`, also for another agent's call."""
        self._require_session(agent_id, call_sid).inbox.post(HangUpRequested(say))

    @contextmanager
    def transferring(self, call: Call, transfer: Transfer) -> Iterator[None]:
        """Keep a call as transferring while the block checks the number; then end its session for the transfer.

        That is the session that it has now, or one that it gets soon. If the block raises, or the call is another
        agent's by then (`UnknownCall`), the call stays where it is and has no transfer.
        """
        call.transfer = transfer
        try:
            yield
            if call.transfer is not transfer:
                raise UnknownCall(call.call_sid)
            transfer.on_allowed(trio.current_time())
        finally:
            if transfer.stage is Stage.CHECKING and call.transfer is transfer:
                call.transfer = None
        self._end_for_transfer(call)

    def _end_for_transfer(self, call: Call) -> None:
        session, transfer = call.session, call.transfer
        if session is None or transfer is None:
            return
        if transfer.on_session_open(session.info.attempt) is Todo.END_SESSION:
            session.inbox.post(TransferRequested(transfer.handoff_data, transfer.operator))
            self.services.publish(TransferMoved(call.agent_id, call.call_sid))

    def claim(self, agent_id: str, call_sid: str, owner: Owner) -> None:
        """Make a client session the owner of a call; the answering machine hands it over when its turn is over.

        No-op for the state machine if the client has the call already. Raises `UnknownCall`.
        """
        call = self.find_remembered(call_sid, agent_id)
        if call is None or not call.is_occupying:
            raise UnknownCall(call_sid)
        before, call.owner = call.owner, owner
        self.services.publish(OwnerChanged(agent_id, call_sid, owner, before))
        if call.session is not None:
            call.session.inbox.post(CallClaimed())

    def recognise(self, agent_id: str, call_sid: str, callee: Callee) -> None:
        """Report who picked up to the call's session, now or when it has one. No-op for an unknown call."""
        session, call = self.find_session(call_sid, agent_id), self.find_call(call_sid, agent_id)
        if session is not None:
            session.inbox.post(CalleeRecognised(callee))
        is_to_come = session is not None and session.phase is Phase.MOVING
        if call is not None and (is_to_come or (session is None and call.has_place)):
            call.callee = callee

    def stay(self, call_sid: str, seconds: float) -> None:
        """Keep a call that is being transferred for `seconds`: its caller may come back."""
        call = self.find_call(call_sid)
        if call is not None:
            call.returns_until = trio.current_time() + seconds
            call.expires = max(call.expires, call.returns_until)

    def _require_session(self, agent_id: str, call_sid: str) -> CallSession:
        session = self.find_session(call_sid, agent_id)
        if session is None:
            raise UnknownCall(call_sid)
        return session

    # ── a call ends ─────────────────────────────────────────────────────────────────────────────────────────────────

    def end(self, agent_id: str, call_sid: str) -> None:
        """Remove a call that the carrier says is over.

        No-op for another agent's call: its webhooks come to that agent's own URL.
        """
        call = self.find_call(call_sid)
        if call is not None and call.agent_id != agent_id:
            return
        if call is not None:
            self._forget(call)
        self._publish_if_gone(agent_id, call_sid)
        remembered = self.find_remembered(call_sid, agent_id)
        if remembered is not None and remembered.transfer is not None:
            remembered.transfer.on_call_over(trio.current_time())
        self.services.publish(CallEnded(agent_id, call_sid))

    async def drain(self, patience: float, farewell: float) -> bool:
        """Refuse new calls, wait for the live ones for `patience` seconds, then say farewell to the rest.

        A call with a reserved place is waited for like a live one: its socket is on its way, and without us its caller
        would hear an error message of the carrier. Returns whether all sessions were over within `farewell` seconds
        after that. Safe to cancel at any point.
        """
        await self._let_finish(patience)
        return await self._part(DrainRequested(), farewell)

    async def hand_over(
        self,
        handoff: str,
        *,
        patience: float,
        moving: float,
        ending: float,
        is_elsewhere: Callable[[str], bool] = lambda _agent_id: False,
    ) -> bool:
        """Refuse new calls, wait for the live ones for `patience` seconds, then have the rest move to another process.

        For `moving` seconds each does so when its caller has finished speaking, then all at once. Their sessions end
        towards the carrier with `handoff`, and whatever it then asks about them is for `pass_on`. A call that comes
        meanwhile moves too. The calls of an agent that `is_elsewhere` go on there by themselves: they are forgotten
        here with the end of their session. Returns whether all sessions were over within `ending` seconds after that.
        Safe to cancel.
        """
        self._is_elsewhere = is_elsewhere
        await self._let_finish(patience)
        if self.occupied():
            await self._part(MoveRequested(handoff), moving)
            await self._part(MoveDue(handoff), ending)
        return not self.live()

    async def _let_finish(self, patience: float) -> None:
        self.draining = True
        with trio.move_on_after(patience):
            while self.occupied():
                await self._freed.wait()

    async def _part(self, request: DrainRequested | MoveRequested | MoveDue, within: float) -> bool:
        """Ask every session to end, those that are still to come too; return whether all are over in time."""
        self._parting = request
        for session in self.live():
            session.inbox.post(request)
        with trio.move_on_after(within):
            while self.live():
                await self._freed.wait()
        return not self.live()

    @property
    def _hands_over(self) -> bool:
        return isinstance(self._parting, MoveRequested | MoveDue)

    def pass_on(self, agent_id: str, call_sid: str) -> bool:
        """Pass a call that the carrier asks about to another process, if this one hands over; return whether it does.

        Its unanswered utterances stay held, for the process that the carrier asks next. Idempotent; True for a call
        that is not known here, too.
        """
        call = self.find_call(call_sid, agent_id)
        if call is not None and self._hands_over:
            call.unanswered, call.has_place = None, False
            call.is_over = call.is_passed_on = True
            self.remove_if_over(call)
            self._publish_if_gone(agent_id, call_sid)
            self._notify_freed()
        return self._hands_over

    def move_away(self, agent_id: str, handoff: str) -> None:
        """Move an agent's calls to another process, at once; those that are only announced move when they connect.

        Their sessions end towards the carrier with `handoff`. What is unanswered in a call that does not go on anywhere
        becomes a message here, when the caller is not back in time.
        """
        for call in self._calls.values():
            if call.agent_id == agent_id:
                call.moves_away = MoveDue(handoff)
                if call.session is not None:
                    call.session.inbox.post(call.moves_away)

    def move_lines(self, hops: Collection[str], handoff: str) -> Callable[[], None] | None:
        """Move calls whose lines come by way of these nodes to a new session, when their callers have spoken.

        Each call is asked once. Returns what has those move at once that have not by then; None if there are none.
        """
        passing = [call for call in self._calls.values() if call.session is not None and call.hop in hops]
        sessions = [call.session for call in passing if call.session is not None]
        for call in passing:
            call.hop = ""

        def post(request: MoveRequested | MoveDue) -> None:
            for session in sessions:
                session.inbox.post(request)

        post(MoveRequested(handoff))
        return partial(post, MoveDue(handoff)) if sessions else None

    async def all_ended(self) -> None:
        """Wait until the carrier has reported the end of every call, or is no longer expected to."""
        while any(self._named()):
            await self._freed.wait()
        await trio.sleep_until(self._last_word_by)

    async def settle(self) -> None:
        """Store as messages the unanswered utterances of callers who have not come back; for the end of the daemon.

        Waits until `run` has stored them all. If cancelled, the utterances that are still held become messages at the
        next start. After `hand_over` they stay held: the next process expects the callers who have not come back yet.
        """
        for call in () if self._hands_over else self._named():
            if call.moves_away is None:
                self._leave(call)
        while self._to_leave:
            await self._freed.wait()

    async def run(self) -> None:
        """Remove what has expired. Runs until cancelled, and may be cancelled at any point."""
        while True:
            self._wake = trio.Event()
            await self._expire()
            again = math.inf if await self._store_messages() else trio.current_time() + RETRY_SECONDS
            first = min((call.expires for call in self._calls.values() if not call.is_over), default=math.inf)
            with trio.move_on_at(min(first, again)):
                await self._wake.wait()

    async def _expire(self) -> None:
        now = trio.current_time()
        expired = [call for call in self._calls.values() if call.expires <= now and not call.is_over]
        # Collect all before closing the first record: a call may end or come back meanwhile.
        unconnected = [call.info for call in expired if not call.order and not call.was_connected]
        for call in expired:
            if call.order:
                self.services.observer.never_connected(call.info, is_placed=False)
                self.withdraw(call.order)
            else:
                self._forget(call)
                self._publish_if_gone(call.agent_id, call.call_sid)
        for info in unconnected:
            self.services.observer.never_connected(info, is_placed=True)
            try:
                await self.services.journal.close_call(info.call_sid, CallSummary(outcome="not_connected"))
            except CallTaken:
                self.services.observer.call_taken(info)
            except StoreFailed as error:
                self.services.observer.not_stored(info, error, "record")

    def _named(self) -> Iterator[Call]:
        """Yield the calls whose end the carrier has not reported yet."""
        return (call for call in self._calls.values() if not call.order and not call.is_over)

    def _publish_if_gone(self, agent_id: str, call_sid: str) -> None:
        """Publish that a call gets no other session; if it still has one, that is published at its end."""
        if self.find_session(call_sid, agent_id) is None:
            self.services.publish(CallGone(agent_id, call_sid))

    def _forget(self, call: Call) -> None:
        self._leave(call)
        call.is_over, call.has_place, call.callee = True, False, None
        self.remove_if_over(call)
        self._last_word_by = trio.current_time() + LAST_WORD_SECONDS
        self._notify_freed()

    def remove_if_over(self, call: Call) -> None:
        """Remove a call that is over, unless the end of a session or of a transfer is still awaited."""
        is_awaited = call.session is not None or call.is_transferring
        if call.is_over and not is_awaited and self._calls.get(call.call_sid) is call:
            del self._calls[call.call_sid]

    def _leave(self, call: Call) -> None:
        """Store a caller's unanswered utterances as a message, because the caller is not coming back."""
        message, call.unanswered = call.unanswered, None
        self._leave_later(call.info, message)

    def _leave_later(self, info: CallInfo, message: StoreMessage | None) -> None:
        if message is not None:
            self._to_leave.append((info, message))
            self._wake.set()

    async def _store_messages(self) -> bool:
        """Store the messages that are to be left; return whether all are stored."""
        while self._to_leave:
            info, message = self._to_leave[0]
            try:
                await self.services.messages.leave(message.draft, partial(self._on_stored, info, message))
            except CallTaken:
                self.services.observer.call_taken(info)
            except StoreFailed as error:
                self.services.observer.not_stored(info, error, "message")
                return False
            self._to_leave.pop(0)
            self._notify_freed()
        return True

    def _on_stored(self, info: CallInfo, message: StoreMessage, message_id: str) -> None:
        self.services.observer.message_left(info, message.draft.reason, message_id)
        self.services.publish(MessageLeft(info.agent_id))

    def _notify_freed(self) -> None:
        freed, self._freed = self._freed, trio.Event()
        freed.set()
