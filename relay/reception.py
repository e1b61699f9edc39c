"""The front desk: a call is announced, gets a ticket, comes to its line with it, and is seen off.

    voice webhook ──register──▶ place reserved, record opened, ticket minted ──TwiML──▶ carrier
    voice socket ───redeem────▶ ticket used up ──connect──▶ Switchboard, for as long as the call lasts
    action URL ─────ended─────▶ forgotten      (or register again, one attempt later: the call goes on)

One entry a call, from the announcement until the carrier says that it is over. It holds what a repeated webhook must be
answered with, and what was said, so that a call whose socket was lost goes on where it was. Entries whose ticket nobody
used, and those of calls that the carrier never closed, are removed by `run` when their time is over.
"""

from __future__ import annotations

import hmac
import math
import secrets
from collections.abc import Callable
from datetime import UTC, datetime

import attrs
import structlog
import trio

from actors.errors import CallRefused, StoreFailed
from actors.messages import CallInfo, CallSummary, Line
from actors.ports import PhoneLine
from actors.switchboard import Switchboard
from relay.config import Settings
from relay.speech.hygiene import clean
from relay.store.call_journal import CallJournal
from relay.web.ports import Admission, IncomingCall

log = structlog.get_logger(__name__)

# The carrier opens the socket within a second or two of the TwiML; a webhook may be repeated for 15 s before that.
TICKET_SECONDS = 60.0
# How long a lost call may take to come back, and how long a finished one waits for the carrier's last word on it.
RETURN_SECONDS = 60.0


@attrs.define(eq=False)
class _Entry:
    admission: Admission
    idempotency_token: str
    attempt: int
    expires: float
    used: bool = False
    # Whether the call ever came to a line, with this ticket or an earlier one.
    reached: bool = False
    said: tuple[Line, ...] = ()


def _now() -> datetime:
    return datetime.now(UTC)


@attrs.define(eq=False)
class Reception:
    """Admit calls and bring them to their line. One instance, with one task in `run`."""

    settings: Settings
    switchboard: Switchboard
    journal: CallJournal
    clock: Callable[[], datetime] = _now
    _entries: dict[str, _Entry] = attrs.field(factory=dict, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)
    _forgotten: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def register(self, call: IncomingCall) -> Admission:
        """Promise the call a place and give it a ticket; see `relay.web.ports.FrontDesk`.

        Raises `CallRefused` when no place can be had, also when the call's record cannot be opened.
        """
        known = self._entries.get(call.call_sid)
        if known is not None and self._is_repeat(known, call):
            return attrs.evolve(known.admission, repeat=True)
        self.switchboard.reserve(call.call_sid)
        info = self._describe(call)
        admission = Admission(ticket=secrets.token_urlsafe(32), call_info=info)
        entry = _Entry(admission, call.idempotency_token, call.attempt, trio.current_time() + TICKET_SECONDS)
        if known is not None:
            entry.reached = known.reached
            # What was said to one agent is no other agent's business, even when the carrier hands the call on.
            entry.said = known.said if known.admission.call_info.agent_id == info.agent_id else ()
        self._entries[call.call_sid] = entry
        self._wake.set()
        try:
            await self.journal.announce_call(
                call_sid=info.call_sid,
                agent_id=info.agent_id,
                direction=info.direction,
                caller=info.caller,
                called=info.called,
            )
        except StoreFailed as error:
            self.ended(call.call_sid)
            raise CallRefused("no_record", "the call's record could not be opened") from error
        return admission

    def redeem(self, agent_id: str, call_sid: str, ticket: str) -> CallInfo | None:
        """Take a ticket back, once; None when it is unknown, used, too old, or another call's or agent's.

        What was said is added here and not in `register`: the carrier often asks for a lost line's successor before we
        have noticed the loss.
        """
        entry = self._entries.get(call_sid)
        if entry is None or entry.used or entry.expires <= trio.current_time():
            return None
        info = entry.admission.call_info
        if info.agent_id != agent_id or not hmac.compare_digest(entry.admission.ticket.encode(), ticket.encode()):
            return None
        entry.used = entry.reached = True
        entry.expires = math.inf
        return attrs.evolve(info, started_at=self.clock(), opened_by=entry.said)

    async def connect(self, info: CallInfo, line: PhoneLine) -> None:
        """Run the call on its line; lets nothing out but a cancellation."""
        try:
            call = await self.switchboard.connect(info, line)
        except CallRefused as refusal:
            log.warning("call_refused", call_sid=info.call_sid, agent_id=info.agent_id, code=refusal.code)
            await line.close(1008)
            return
        entry = self._entries.get(info.call_sid)
        if entry is None:
            return
        latest = entry.admission.call_info
        if latest.agent_id == info.agent_id:
            entry.said = call.transcript
        if latest.connection <= info.connection:
            entry.expires = trio.current_time() + RETURN_SECONDS
            self._wake.set()

    def ended(self, call_sid: str) -> None:
        """Forget a call that the carrier says is over; the record of one that never had a line is closed by `run`."""
        self.switchboard.release(call_sid)
        entry = self._entries.get(call_sid)
        if entry is None:
            return
        if entry.used:
            self._forget(call_sid)
        else:
            entry.expires = trio.current_time()
            self._wake.set()

    async def all_ended(self) -> None:
        """Wait until the carrier has said its last word on every call, or is no longer expected to."""
        while self._entries:
            await self._forgotten.wait()

    async def run(self) -> None:
        """Remove what has expired. Runs until cancelled, and may be cancelled at any point."""
        while True:
            self._wake = trio.Event()
            await self._expire()
            with trio.move_on_at(min((entry.expires for entry in self._entries.values()), default=math.inf)):
                await self._wake.wait()

    async def _expire(self) -> None:
        now = trio.current_time()
        expired = [each for each in self._entries.items() if each[1].expires <= now]
        # All of them before the first record is closed: meanwhile a call may end or come back.
        for call_sid, _entry in expired:
            self._forget(call_sid)
            self.switchboard.release(call_sid)
        for call_sid, entry in expired:
            if entry.reached:
                continue
            log.warning("call_never_connected", call_sid=call_sid, agent_id=entry.admission.call_info.agent_id)
            try:
                await self.journal.close_call(call_sid, CallSummary(outcome="not_connected"))
            except StoreFailed:
                log.exception("record_not_closed", call_sid=call_sid)

    def _forget(self, call_sid: str) -> None:
        del self._entries[call_sid]
        forgotten, self._forgotten = self._forgotten, trio.Event()
        forgotten.set()

    def _is_repeat(self, known: _Entry, call: IncomingCall) -> bool:
        if known.admission.call_info.agent_id != call.agent.agent_id or known.attempt != call.attempt:
            return False
        if known.idempotency_token and known.idempotency_token == call.idempotency_token:
            return True
        return not known.used and not call.idempotency_token

    def _describe(self, call: IncomingCall) -> CallInfo:
        agent, settings = call.agent, self.settings
        language = agent.language or settings.default_voice_language
        greeting = call.greeting if call.greeting is not None else agent.greeting
        return CallInfo(
            call_sid=call.call_sid,
            agent_id=agent.agent_id,
            caller=call.caller,
            called=call.called,
            direction=call.direction,
            verified=call.verified,
            attestation=call.attestation,
            greeting=clean(settings.default_voice_greeting if greeting is None else greeting, language),
            system_prompt=agent.system_prompt or "",
            voice=agent.voice or settings.default_voice_id,
            language=language,
            started_at=self.clock(),
            connection=call.attempt + 1,
        )
