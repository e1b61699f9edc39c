"""The front desk: a call is announced, gets a ticket, comes to its line with it, and is seen off.

    voice webhook ──register──▶ place reserved, record opened, ticket minted ──TwiML──▶ carrier
    call to be made ──expect──▶ the same, under an order's name ──placed──▶ under the name that the carrier gave it
    voice socket ───redeem────▶ ticket used up ──connect──▶ Switchboard, for as long as the call lasts
    any webhook ──progressed──▶ record; forgotten when it is over  (or register again: the call goes on)

One entry a call, from the announcement until the carrier says that it is over. It holds what a repeated webhook must be
answered with, and what was said, so that a call whose socket was lost goes on where it was. Entries whose ticket nobody
used, and those of calls that the carrier never closed, are removed by `run` when their time is over.

The question that a lost line leaves unanswered goes to the next line; it becomes a message when the call is over, or
when nobody is back in time. Its words are held in the journal meanwhile, so that a crash loses none.

A call that we make has no name until the carrier has taken it on, and the carrier may report on it, or even connect it,
before it has answered our request. So it is expected under an order of ours, and whichever comes first gives it its
name: the answer, a status callback that carries the order, or the ticket.
"""

from __future__ import annotations

import hmac
import math
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import attrs
import structlog
import trio

from actors.call_values import Callee, CallInfo, CallSummary, Line, MessageDraft, Speaker
from actors.calls import Switchboard
from actors.commands import StoreMessage
from actors.errors import CallRefused, StoreFailed
from actors.ports import PhoneLine
from relay.agent import Agent
from relay.call_details import of_incoming, of_outgoing
from relay.calls import CallProgress, OutgoingCall
from relay.expected_calls import ExpectedCall, ExpectedCalls
from relay.faults import report
from relay.settings import Settings
from relay.store.call_journal import CallJournal
from relay.store.call_record import CallRecord
from relay.twilio.ports import Admission, IncomingCall

log = structlog.get_logger(__name__)

# The carrier opens the socket within a second or two of the TwiML; a webhook may be repeated for 15 s before that.
TICKET_SECONDS = 60.0
# How long a lost call may take to come back, and how long a finished one waits for the carrier's last word on it.
RETURN_SECONDS = 60.0
# The carrier's last word on a call is often said twice, to the action URL and to the status callback after it.
LAST_WORD_SECONDS = 0.5
# A message that could not be stored is tried again after this.
RETRY_SECONDS = 1.0


@attrs.define(eq=False)
class _Entry:
    agent: Agent
    admission: Admission
    idempotency_token: str = attrs.field(repr=False)
    attempt: int
    expires: float
    used: bool = False
    # Whether the call ever came to a line, with this ticket or an earlier one.
    reached: bool = False
    said: tuple[Line, ...] = ()
    # What its lost line left unanswered: asked again on the next line, else a message.
    owed: StoreMessage | None = None
    # Until when the caller may come back from a transfer.
    stays: float = 0.0


def _now() -> datetime:
    return datetime.now(UTC)


def _nobody(_id: str) -> None:
    return None


def _forgets_nothing(_agent_id: str, _call_sid: str) -> None:
    return None


def _nothing(_record: CallRecord, _progress: CallProgress) -> MessageDraft | None:
    return None


@attrs.define(eq=False)
class Reception:
    """Admit calls and bring them to their line. One instance, with one task in `run`."""

    settings: Settings
    switchboard: Switchboard
    journal: CallJournal
    clock: Callable[[], datetime] = _now
    # Told of every call that the carrier says is over. Must not wait, and must not raise.
    on_over: Callable[[str], None] = _nobody
    # Told at least once of every call that has no line any more and gets no other. Must not wait, and must not raise.
    on_no_return: Callable[[str, str], None] = _forgets_nothing
    # What a call leaves for its client that the carrier says is over. Must not raise.
    message_for: Callable[[CallRecord, CallProgress], MessageDraft | None] = _nothing
    # Told of whose message was left after a call. Must not wait, and must not raise.
    on_left: Callable[[str], None] = _nobody
    _entries: dict[str, _Entry] = attrs.field(factory=dict, init=False)
    _expected: ExpectedCalls = attrs.field(factory=ExpectedCalls, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)
    _forgotten: trio.Event = attrs.field(factory=trio.Event, init=False)
    # Messages of callers who are not coming back, until they are stored. One a call that has just ended, so few.
    _to_leave: list[tuple[CallInfo, StoreMessage]] = attrs.field(factory=list, init=False)
    _stored: trio.Event = attrs.field(factory=trio.Event, init=False)
    _last_word_by: float = attrs.field(default=-math.inf, init=False)

    async def register(self, call: IncomingCall) -> Admission:
        """Promise the call a place and give it a ticket; see `relay.twilio.ports.FrontDesk`.

        Raises `CallRefused` when no place can be had, also when the record of a new call cannot be opened.
        """
        known = self._entries.get(call.call_sid)
        if known is not None and self._is_repeat(known, call):
            return attrs.evolve(known.admission, repeat=True)
        self.switchboard.reserve(call.call_sid)
        earlier = None if known is None else known.admission.call_info
        if known is not None and any(each.speaker is Speaker.CALLER and not each.is_note for each in known.said):
            # Somebody answered what was said, so it was heard.
            call = attrs.evolve(call, is_unheard=False)
        info = of_incoming(call, self.settings, earlier, at=self.clock())
        admission = Admission(ticket=secrets.token_urlsafe(32), call_info=info)
        expires = trio.current_time() + TICKET_SECONDS
        entry = _Entry(call.agent, admission, call.idempotency_token, call.attempt, expires)
        if known is not None:
            entry.reached = known.reached
            entry.stays = known.stays
            # What was said to one agent is no other agent's business, even when the carrier hands the call on.
            if known.admission.call_info.agent_id == info.agent_id:
                entry.said, entry.owed = known.said, known.owed
            else:
                self._leave(known)
                self._note_no_return(known.admission.call_info.agent_id, call.call_sid)
        self._entries[call.call_sid] = entry
        self._wake.set()
        try:
            before = await self._announce(info)
        except StoreFailed as error:
            if known is not None and known.reached:  # the record is there, and so is the caller
                report("record_not_announced", error, call_sid=call.call_sid)
                return admission
            self._end(info.agent_id, call.call_sid)
            raise CallRefused("no_record", "the call's record could not be opened") from error
        if known is None and before is not None and before.is_over(call.attempt):
            self._end(info.agent_id, call.call_sid)
            raise CallRefused("over", "the call has ended")
        return admission

    def expect(self, call: OutgoingCall) -> str:
        """Promise a place to a call that is about to be made, and give its ticket. Raises `CallRefused`.

        It is expected for `call.expires_in` seconds, and for as long again once it is placed.
        """
        self.switchboard.reserve(call.order)
        expected = self._expected.add(call, trio.current_time())
        self._wake.set()
        return expected.ticket

    async def placed(self, order: str, call_sid: str) -> None:
        """Take note that the carrier has taken on an expected call under this name. Raises `StoreFailed`.

        Harmless when the call was heard of before, and even when it is over already.
        """
        if (expected := self._expected.take(order)) is not None:
            self._name(expected, call_sid)
        entry = self._entries.get(call_sid)
        if entry is not None:
            await self._announce(entry.admission.call_info)

    def withdraw(self, order: str) -> None:
        """Expect a call no more: it was not placed, or nobody wants it. Harmless when it has its name already."""
        if self._expected.take(order) is not None:
            self.switchboard.release(order)

    def stay(self, call_sid: str, seconds: float) -> None:
        """Keep what was said in a call that is being passed on, for so long: its caller may come back."""
        entry = self._entries.get(call_sid)
        if entry is not None:
            entry.stays = trio.current_time() + seconds
            entry.expires = max(entry.expires, entry.stays)

    def is_known(self, agent_id: str, call_sid: str) -> bool:
        """Tell whether a call of this agent is up, as far as the carrier has said, with or without its line."""
        entry = self._entries.get(call_sid)
        return entry is not None and entry.reached and entry.admission.call_info.agent_id == agent_id

    def agent_of(self, call_sid: str) -> Agent | None:
        """Return the agent of a call as it was when the call was announced; None for an unknown one."""
        entry = self._entries.get(call_sid)
        return None if entry is None else entry.agent

    def redeem(self, agent_id: str, call_sid: str, ticket: str) -> CallInfo | None:
        """Take a ticket back, once; None when it is unknown, used, too old, or another call's or agent's.

        What was said is added here and not in `register`: the carrier often asks for a lost line's successor before we
        have noticed the loss.
        """
        entry = self._entries.get(call_sid)
        if entry is None and (expected := self._expected.take_by_ticket(ticket, agent_id)) is not None:
            # The line of a call that we make may come before the carrier's answer.
            entry = self._name(expected, call_sid)
        if entry is None or entry.used or entry.expires <= trio.current_time():
            return None
        info = entry.admission.call_info
        if info.agent_id != agent_id or not hmac.compare_digest(entry.admission.ticket.encode(), ticket.encode()):
            return None
        entry.used = entry.reached = True
        entry.expires = math.inf
        owed, entry.owed = entry.owed, None
        unanswered = () if owed is None or owed.unless_back is None else owed.unless_back
        return attrs.evolve(info, started_at=self.clock(), opened_by=entry.said, unanswered=unanswered)

    async def connect(self, info: CallInfo, line: PhoneLine) -> None:
        """Run the call on its line; lets nothing out but a cancellation."""
        try:
            call = await self.switchboard.connect(info, line)
        except CallRefused as refusal:
            log.warning("call_refused", call_sid=info.call_sid, agent_id=info.agent_id, code=refusal.code)
            await line.close(1008)
            return
        entry = self._entries.get(info.call_sid)
        if entry is None or entry.admission.call_info.agent_id != info.agent_id:
            self._leave_later(info, call.unanswered)
            self.on_no_return(info.agent_id, info.call_sid)
            return
        if not call.may_return:
            self.on_no_return(info.agent_id, info.call_sid)
        latest = entry.admission.call_info
        entry.said = call.transcript
        if latest.connection <= info.connection:
            entry.expires = max(trio.current_time() + RETURN_SECONDS, entry.stays)
            self._wake.set()
        if latest.connection <= info.connection or not entry.used:
            entry.owed = call.unanswered
            if call.may_return:
                self.switchboard.keep_place(info.call_sid)
        # Else the next line has come before this one was known to be lost, and has taken the question with it.

    async def progressed(self, agent_id: str, progress: CallProgress) -> None:
        """Take note of what the carrier says of a call, and forget one that is over;
        see `relay.twilio.ports.FrontDesk`.

        Raises `StoreFailed` when it could not be written down; the place is free even then.
        """
        if (expected := self._expected.take(progress.order, agent_id)) is not None:
            self._name(expected, progress.call_sid)
        if progress.is_over:
            self._end(agent_id, progress.call_sid)
        await self.journal.note_progress(agent_id, progress, message_for=self.message_for, on_message_left=self.on_left)

    async def picked_up(self, agent_id: str, call_sid: str, callee: Callee) -> None:
        """Tell the call and its record who picked up. Raises `StoreFailed`; the call has been told by then."""
        self.switchboard.recognise(agent_id, call_sid, callee)
        await self.journal.note_picked_up(agent_id, call_sid, callee.value)

    async def all_ended(self) -> None:
        """Wait until the carrier has said its last word on every call, or is no longer expected to."""
        while self._entries:
            await self._forgotten.wait()
        await trio.sleep_until(self._last_word_by)

    async def settle(self) -> None:
        """Leave as messages what callers are owed who have not come back; for the end of the daemon.

        Waits until `run` has stored them all. Cancelled, the words that are still held become messages at the next
        start.
        """
        for entry in self._entries.values():
            self._leave(entry)
        while self._to_leave:
            await self._stored.wait()

    async def run(self) -> None:
        """Remove what has expired. Runs until cancelled, and may be cancelled at any point."""
        while True:
            self._wake = trio.Event()
            await self._expire()
            again = math.inf if await self._store_messages() else trio.current_time() + RETRY_SECONDS
            first = min((entry.expires for entry in self._entries.values()), default=math.inf)
            with trio.move_on_at(min(first, self._expected.next_expiry, again)):
                await self._wake.wait()

    async def _expire(self) -> None:
        now = trio.current_time()
        for each in self._expected.take_expired(now):
            log.warning("call_never_placed", agent_id=each.call.agent.agent_id)
            self.switchboard.release(each.call.order)
        expired = [each for each in self._entries.items() if each[1].expires <= now]
        # All of them before the first record is closed: meanwhile a call may end or come back.
        for call_sid, entry in expired:
            self._leave(entry)
            self._forget(call_sid)
            self.switchboard.release(call_sid)
            self._note_no_return(entry.admission.call_info.agent_id, call_sid)
        for call_sid, entry in expired:
            if entry.reached:
                continue
            log.warning("call_never_connected", call_sid=call_sid, agent_id=entry.admission.call_info.agent_id)
            try:
                await self.journal.close_call(call_sid, CallSummary(outcome="not_connected"))
            except StoreFailed as error:
                report("record_not_closed", error, call_sid=call_sid)

    async def _announce(self, info: CallInfo) -> CallRecord | None:
        return await self.journal.announce_call(info.call_sid, info.agent_id, info.direction, info.caller, info.called)

    def _end(self, agent_id: str, call_sid: str) -> None:
        """Forget a call that is over. Another agent's call is not: its carrier's webhooks come to its own address."""
        entry = self._entries.get(call_sid)
        if entry is not None and entry.admission.call_info.agent_id != agent_id:
            return
        self.switchboard.release(call_sid)
        if entry is not None:
            self._leave(entry)
            self._forget(call_sid)
        self._note_no_return(agent_id, call_sid)
        self.on_over(call_sid)

    def _note_no_return(self, agent_id: str, call_sid: str) -> None:
        """Tell that a call gets no other line; of one that has a line still, its end will tell."""
        if self.switchboard.find(agent_id, call_sid) is None:
            self.on_no_return(agent_id, call_sid)

    def _leave(self, entry: _Entry) -> None:
        """Let what a caller is owed become a message, because they are not coming back."""
        owed, entry.owed = entry.owed, None
        self._leave_later(entry.admission.call_info, owed)

    def _leave_later(self, info: CallInfo, owed: StoreMessage | None) -> None:
        if owed is not None:
            self._to_leave.append((info, owed))
            self._wake.set()

    async def _store_messages(self) -> bool:
        """Store the messages that are to be left; return whether none is left to do."""
        services = self.switchboard.services
        while self._to_leave:
            info, owed = self._to_leave[0]
            try:
                await services.messages.leave(owed.draft, partial(self._on_stored, info, owed))
            except StoreFailed as error:
                report("message_not_left", error, call_sid=info.call_sid)
                return False
            self._to_leave.pop(0)
            stored, self._stored = self._stored, trio.Event()
            stored.set()
        return True

    def _on_stored(self, info: CallInfo, owed: StoreMessage, message_id: str) -> None:
        self.switchboard.services.observer.message_left(info, owed.draft.reason, message_id)
        self.on_left(info.agent_id)

    def _name(self, expected: ExpectedCall, call_sid: str) -> _Entry:
        """Give an expected call its name; from then on it is like any other."""
        call = expected.call
        self.switchboard.rename(call.order, call_sid)
        info = of_outgoing(call, call_sid, at=self.clock())
        expires = trio.current_time() + call.expires_in
        entry = _Entry(call.agent, Admission(ticket=expected.ticket, call_info=info), "", 0, expires)
        self._entries[call_sid] = entry
        self._wake.set()
        return entry

    def _forget(self, call_sid: str) -> None:
        del self._entries[call_sid]
        self._last_word_by = trio.current_time() + LAST_WORD_SECONDS
        forgotten, self._forgotten = self._forgotten, trio.Event()
        forgotten.set()

    def _is_repeat(self, known: _Entry, call: IncomingCall) -> bool:
        if known.admission.call_info.agent_id != call.agent.agent_id or known.attempt != call.attempt:
            return False
        if known.idempotency_token and known.idempotency_token == call.idempotency_token:
            return True
        return not known.used and not call.idempotency_token
