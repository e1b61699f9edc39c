"""Transfers on the real registry, gate and store: what is ordered and recorded, and what the caller comes back to.

How long what is waited for is a matter of `actors.transfer`, and tested there without waiting.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree as ET

import attrs
import pytest
import structlog
import trio
from quart_trio import QuartTrio
from sqlalchemy import text

from actors.call_record import CallRecord
from actors.call_session import CallServices
from actors.call_values import CallInfo, Direction
from actors.calls import Call, Calls
from actors.clients import Presence
from actors.errors import StoreFailed, UnknownCall
from actors.events import CallEnded, CallerGone, TransferMoved
from actors.policy import Policy
from actors.transfer import TransferOrder, TransferOutcome
from relay.dialling.calling_hours import CallingHours
from relay.dialling.dial_check import DiallingGate
from relay.dialling.requests import TransferRequest
from relay.dialling.transfers import Transfers
from relay.dialling.verdict import GateRules
from relay.errors import DatabaseError, OutboundRefused
from relay.http.pages import build_app
from relay.known_agents import KnownAgents
from relay.metrics import CallMeter
from relay.reception import Reception
from relay.speech.locales import locale_for
from relay.store.agent_registry import AgentRegistry
from relay.store.call_journal import CallJournal
from relay.store.database import Database, open_database
from relay.twilio.handoff_data import read_handoff_data
from relay.twilio.rest import CarrierCalls
from relay.twilio.rest_errors import CarrierRefused
from relay.twilio.signatures import SignatureChecker
from relay.twilio.urls import RETRIES, CarrierUrls
from relay.twilio.webhooks import CarrierWebhooks
from tests.fakes import MemoryLine, RecordingObserver, call_info
from tests.fakes_store import MemoryMessageStore
from tests.limits import HANGING
from tests.relay.dialling.parties import DEFAULTS, OURS, PERSON, PUBLIC_URL, THEIRS, FakeCarrier, FakeObserver, agent
from tests.relay.http.asgi_driver import ORIGIN, TOKEN, post_form
from tests.sids import sid

RULES = GateRules(calling_hours=CallingHours(0, 24 * 60), allow_unassigned=True)
UP = {"call_sid": sid(), "caller": THEIRS, "called": OURS, "language": "de-DE", "voice": "Polly.Vicki"}


def wish(**changes: Any) -> TransferRequest:
    """Wish for an ordinary transfer."""
    return TransferRequest(**({"call_sid": sid(), "to": PERSON, "announcement": "One moment."} | changes))


@attrs.define(eq=False)
class Exchange:
    """Calls and their transfers, on a database of their own."""

    database: Database
    nursery: trio.Nursery
    rules: GateRules = RULES
    carrier: FakeCarrier | None = attrs.field(factory=lambda: FakeCarrier([]))
    observer: FakeObserver = attrs.field(factory=FakeObserver)
    journal: CallJournal = attrs.field(init=False)
    calls: Calls = attrs.field(init=False)
    reception: Reception = attrs.field(init=False)
    transfers: Transfers = attrs.field(init=False)
    webhooks: QuartTrio = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.journal = CallJournal(self.database)
        services = CallServices(
            responders={},
            messages=MemoryMessageStore(),
            journal=self.journal,
            observer=RecordingObserver(),
            listeners=(lambda news: self.transfers.notify() if isinstance(news, CallEnded | TransferMoved) else None,),
        )
        self.calls = Calls(services, Presence(grace=10), max_calls=9)
        self.reception = Reception(
            calls=self.calls,
            journal=self.journal,
            policy_for=lambda _agent, _language: Policy(),
            defaults=DEFAULTS,
            observer=cast("CallMeter", self.observer),
        )
        self.transfers = Transfers(
            calls=self.calls,
            reception=self.reception,
            journal=self.journal,
            gate=DiallingGate(self.database, self.rules),
            carrier=cast("CarrierCalls | None", self.carrier),
            urls=CarrierUrls(PUBLIC_URL),
            defaults=DEFAULTS,
        )
        webhooks = CarrierWebhooks(
            checker=SignatureChecker(TOKEN, ORIGIN),
            agents=KnownAgents(AgentRegistry(self.database)),
            reception=self.reception,
            phrases=lambda language: locale_for(language).carrier,
            urls=CarrierUrls(PUBLIC_URL),
        )
        self.webhooks = build_app([webhooks.blueprint()])

    async def connect(self, **changes: object) -> MemoryLine:
        """Bring a call to its line."""
        info: CallInfo = call_info(**(UP | changes))
        line = MemoryLine()
        ticket = self.calls.announce(info, Policy()).ticket
        told = self.calls.redeem(info.agent_id, info.call_sid, ticket)
        assert told is not None
        self.nursery.start_soon(self.calls.connect, told, line)
        await until(lambda: self.call(info.call_sid).session)
        while await self.journal.get(info.call_sid) is None:
            pass
        return line

    def call(self, call_sid: str = sid()) -> Call:
        found = self.calls.find_call(call_sid)
        assert found is not None
        return found

    async def lose(self, line: MemoryLine, call_sid: str = sid()) -> None:
        """Take a call's line away."""
        line.carrier_says(CallerGone())
        await until(lambda: self.call(call_sid).session is None)

    async def hand_off(self, line: MemoryLine, **changes: Any) -> ET.Element:
        """Wait for the session to be ended, ask what comes next, and return the carrier's orders."""
        data = await handoff_data(line)
        await self.lose(line)
        return ET.fromstring(await self.orders_after(data, **changes))

    async def orders_after(
        self,
        data: str,
        *,
        agent_id: str = "my-client",
        attempt: int = 0,
        caller: str = THEIRS,
        called: str = OURS,
        direction: Direction = Direction.INBOUND,
    ) -> str:
        """Ask what comes after a session that ended with this handoff data, as the carrier does; return the TwiML."""
        form = {"CallSid": sid(), "CallStatus": "in-progress", "From": caller, "To": called, "Direction": direction}
        form |= {"SessionStatus": "ended", "HandoffData": data}
        target = f"/webhooks/{agent_id}/voice-ended?attempt={attempt}&lost=0"
        answer = await post_form(self.webhooks, target, form)
        assert answer.status == 200
        return answer.body.decode()

    async def rename(self, table: str, name: str) -> None:
        await self.database.write(lambda connection: connection.execute(text(f"ALTER TABLE {table} RENAME TO {name}")))

    async def record(self, call_sid: str = sid()) -> CallRecord:
        found = await self.journal.get(call_sid)
        assert found is not None
        return found

    async def outcome(self) -> TransferOutcome:
        """Wait until the outcome is on record."""
        while True:
            found = (await self.record()).transfer_outcome
            if found is not None and found is not TransferOutcome.DIALLING:
                return found


async def handoff_data(line: MemoryLine) -> str:
    """Wait until a session is ended, and return what it ends with."""
    await until(lambda: line.frames)
    ((kind, data, _), *_) = line.frames
    assert kind == "end"
    return str(data)


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    while True:
        if condition():
            return
        await trio.sleep(0.001)


@asynccontextmanager
async def transferring(path: Path, *, is_running: bool = True, **parts: Any) -> AsyncIterator[Exchange]:
    """Have transfers seen through for the length of the block."""
    with trio.fail_after(HANGING):
        async with open_database(f"sqlite:///{path / 'relay.db'}") as database, trio.open_nursery() as nursery:
            here = Exchange(database, nursery, **parts)
            registry = AgentRegistry(database)
            for agent_id in {"my-client", "another"} - {each.agent_id for each in await registry.list()}:
                await registry.add(agent_id)
            if is_running:
                await nursery.start(here.transfers.run)
            yield here
            nursery.cancel_scope.cancel()


# ── the wish ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_live_call_is_passed_on(tmp_path: Path) -> None:
    """The client hears at once that it is under way; the call is asked to end its session, and the record says so."""
    async with transferring(tmp_path) as here:
        line = await here.connect()
        answer = await here.transfers.transfer_call(agent(), wish(to="+1 555 123 4567"))
        assert answer == {"callSid": sid(), "status": "transferring", "to": PERSON}
        order = read_handoff_data(await handoff_data(line), call_sid=sid())
        assert isinstance(order, TransferOrder)
        assert (order.to, order.announcement, order.confirm, order.ring_seconds) == (PERSON, "One moment.", False, 25)
        record = await here.record()
        assert (record.transfer_to, record.transfer_outcome) == (PERSON, TransferOutcome.DIALLING)


@pytest.mark.parametrize(
    ("operator", "whose"), [("ada", {"by": "operator", "operator": "ada"}), ("", {"by": "client"})]
)
async def test_the_log_says_whose_transfer_it_is(tmp_path: Path, operator: str, whose: dict[str, str]) -> None:
    """An operator's passes the same gate as a client's."""
    async with transferring(tmp_path) as here:
        await here.connect()
        with structlog.testing.capture_logs() as logged:
            await here.transfers.transfer_call(agent(), wish(), operator=operator)
        (entry,) = [each for each in logged if each["event"] == "transfer_asked"]
        assert whose.items() <= entry.items()
        assert ("operator" in entry) == bool(operator)


async def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    """The verdict comes back, and the call stays where it is."""
    async with transferring(tmp_path) as here:
        line = await here.connect()
        answer = await here.transfers.transfer_call(agent(), wish(dry_run=True))
        assert (answer["dryRun"], answer["allowed"]) == (True, True)
        assert (line.frames, here.call().transfer, (await here.record()).transfer_to) == ([], None, None)


@pytest.mark.parametrize("dry_run", [False, True])
async def test_nothing_is_learnt_of_other_agents_calls(tmp_path: Path, *, dry_run: bool) -> None:
    """A call of another agent looks like one that never was."""
    async with transferring(tmp_path) as here:
        await here.connect(agent_id="another")
        for call_sid in (sid(), sid(2)):
            with pytest.raises(UnknownCall):
                await here.transfers.transfer_call(agent(), wish(call_sid=call_sid, dry_run=dry_run))


async def test_the_gate_refuses_the_number(tmp_path: Path) -> None:
    """The target of a transfer passes the same gate as any number, and a refusal leaves the call as it is."""
    async with transferring(tmp_path) as here:
        line = await here.connect()
        await here.transfers.gate.stop_calling(PERSON, agent_id="my-client", reason="", added_by="test")
        with pytest.raises(OutboundRefused) as caught:
            await here.transfers.transfer_call(agent(), wish())
        assert caught.value.code == "do_not_call"
        assert (line.frames, here.call().transfer, (await here.record()).transfer_to) == ([], None, None)


async def test_of_two_calls_that_want_the_last_place_one_stays(tmp_path: Path) -> None:
    """The gate may change its mind between its first word and the one that counts; that call stays where it is."""
    async with transferring(tmp_path, rules=attrs.evolve(RULES, transfers_per_number_per_day=1)) as here:
        lines = {call_sid: await here.connect(call_sid=call_sid) for call_sid in (sid(), sid(2))}
        refused = []

        async def ask(call_sid: str) -> None:
            try:
                await here.transfers.transfer_call(agent(), wish(call_sid=call_sid))
            except OutboundRefused as refusal:
                refused.append((call_sid, refusal.code))

        async with trio.open_nursery() as nursery:
            for call_sid in lines:
                nursery.start_soon(ask, call_sid)
        ((stayed, code),) = refused
        assert code == "number_daily_limit"
        assert (lines[stayed].frames, here.call(stayed).transfer) == ([], None)


async def test_a_call_is_transferred_once_at_a_time(tmp_path: Path) -> None:
    """A second wish is refused while the first is under way, and allowed when that has come to nothing."""
    async with transferring(tmp_path) as here:
        line = await here.connect()
        await here.transfers.transfer_call(agent(), wish())
        with pytest.raises(OutboundRefused) as caught:
            await here.transfers.transfer_call(agent(), wish())
        assert caught.value.code == "already_transferring"
        await here.hand_off(line)
        with pytest.raises(OutboundRefused):
            await here.transfers.transfer_call(agent(), wish())
        await here.reception.transfer_dialled("my-client", sid(), TransferOutcome.BUSY)
        await here.connect(attempt=1)
        await here.transfers.transfer_call(agent(), wish())


async def test_of_two_requests_at_once_one_is_refused(tmp_path: Path) -> None:
    """Also while the first is still being looked at."""
    async with transferring(tmp_path) as here:
        await here.connect()
        refused = []

        async def ask() -> None:
            try:
                await here.transfers.transfer_call(agent(), wish())
            except OutboundRefused as refusal:
                refused.append(refusal.code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
        assert refused == ["already_transferring"]


@pytest.mark.parametrize("table", ["dials", "calls"])
async def test_without_a_database_the_call_stays_where_it_is(tmp_path: Path, table: str) -> None:
    """The error comes out as it is, and the next wish is free to try."""
    async with transferring(tmp_path) as here:
        line = await here.connect()
        await here.rename(table, "gone")
        with pytest.raises((StoreFailed, DatabaseError)):
            await here.transfers.transfer_call(agent(), wish())
        assert (line.frames, here.call().transfer) == ([], None)
        await here.rename("gone", table)
        await here.transfers.transfer_call(agent(), wish())


async def test_a_cancelled_request_leaves_the_call_where_it_is(tmp_path: Path) -> None:
    """Nobody is connected to anybody, and the next wish is free to try."""
    async with transferring(tmp_path) as here:
        line = await here.connect()
        with trio.CancelScope() as scope:
            scope.cancel()
            await here.transfers.transfer_call(agent(), wish())
        assert (line.frames, here.call().transfer) == ([], None)
        await here.transfers.transfer_call(agent(), wish())


async def test_an_announcement_that_does_not_fit_is_named(tmp_path: Path) -> None:
    """It is refused before anything is counted."""
    async with transferring(tmp_path) as here:
        await here.connect()
        with pytest.raises(OutboundRefused, match="announcementText") as caught:
            await here.transfers.transfer_call(agent(), wish(announcement="Hold on. " * 500))
        assert (caught.value.code, (await here.record()).transfer_to) == ("too_long", None)


async def test_a_relay_that_is_stopped_transfers_nothing(tmp_path: Path) -> None:
    """Where nobody would see it through, a transfer is refused, and the call stays where it is."""
    async with transferring(tmp_path, is_running=False) as here:
        line = await here.connect()
        with pytest.raises(OutboundRefused) as caught:
            await here.transfers.transfer_call(agent(), wish())
        assert (caught.value.code, line.frames, here.call().transfer) == ("draining", [], None)


# ── the carrier's orders ────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_caller_hears_an_announcement_and_then_it_rings(tmp_path: Path) -> None:
    """In the language of the call, with a number of ours for the callee to see; the call is kept while it rings."""
    async with transferring(tmp_path) as here:
        line = await here.connect()
        await here.transfers.transfer_call(agent(), wish(ring_seconds=40))
        say, dial = await here.hand_off(line)
        assert (say.tag, say.text, say.get("voice")) == ("Say", "One moment.", "Polly.Vicki")
        assert (dial.tag, dial.get("timeout"), dial.get("callerId")) == ("Dial", "40", OURS)
        assert [each.text for each in dial] == [PERSON]
        assert here.call().expires - trio.current_time() > 40 + 60


async def test_a_caller_whom_we_called_is_shown_our_number_too(tmp_path: Path) -> None:
    """In a call that we made, ours is the number that it came from."""
    async with transferring(tmp_path) as here:
        ours = {"direction": Direction.OUTBOUND, "caller": OURS, "called": THEIRS}
        line = await here.connect(**ours)
        await here.transfers.transfer_call(agent(), wish())
        assert (await here.hand_off(line, **ours))[1].get("callerId") == OURS


@pytest.mark.parametrize(
    ("confirm", "query", "whisper"),
    [
        (False, "attempt=2&lost=0", None),
        (True, "attempt=2&lost=0&confirm=1", f"{PUBLIC_URL}/webhooks/my-client/whisper{RETRIES}"),
    ],
)
async def test_the_callee_may_be_asked_first(tmp_path: Path, *, confirm: bool, query: str, whisper: str | None) -> None:
    """With `confirm` the callee hears a whisper; the address that hears how it went carries what it must know."""
    async with transferring(tmp_path) as here:
        line = await here.connect()
        await here.transfers.transfer_call(agent(), wish(confirm=confirm))
        dial = (await here.hand_off(line, attempt=2))[1]
    assert dial.get("action") == f"{PUBLIC_URL}/webhooks/my-client/transfer-ended?{query}" + RETRIES
    assert dial[0].get("url") == whisper


async def test_a_hostile_announcement_stays_text(tmp_path: Path) -> None:
    """Markup in it is neither an order nor read aloud."""
    async with transferring(tmp_path) as here:
        line = await here.connect()
        hostile = "</Say><Dial>+15550000000</Dial><Say>\x00 **Bye**"
        await here.transfers.transfer_call(agent(), wish(announcement=hostile))
        orders = await here.hand_off(line)
    assert [each.tag for each in orders] == ["Say", "Dial"]
    assert "Bye" in (orders[0].text or "")
    assert "*" not in (orders[0].text or "")


async def test_a_repeated_webhook_gets_the_same_orders(tmp_path: Path) -> None:
    """Also when the daemon was started between the two."""
    async with transferring(tmp_path) as here:
        line = await here.connect()
        await here.transfers.transfer_call(agent(), wish())
        data = await handoff_data(line)
        first = await here.orders_after(data)
        assert await here.orders_after(data) == first
    async with transferring(tmp_path) as others:
        assert await others.orders_after(data) == first


@pytest.mark.parametrize("data", ["", "{}", "null", '{"transfer": {"to": "+15551', '{"transfer": {"to": "911"}}'])
async def test_a_session_that_ended_for_another_reason_ends_its_call(tmp_path: Path, data: str) -> None:
    """No handoff data, or some that cannot be understood, is no transfer."""
    async with transferring(tmp_path) as here:
        assert list(ET.fromstring(await here.orders_after(data))) == []


# ── how it went ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("outcome", "error", "says"),
    [
        (TransferOutcome.ANSWERED, "", None),
        (TransferOutcome.BUSY, "", "busy"),
        (TransferOutcome.NO_ANSWER, "", "not answered"),
        (TransferOutcome.FAILED, "13224", "could not be reached"),
        (TransferOutcome.DECLINED, "", "did not press"),
        (TransferOutcome.CALLER_GONE, "", None),
    ],
)
async def test_the_outcome_is_recorded_and_told(
    tmp_path: Path, outcome: TransferOutcome, error: str, says: str | None
) -> None:
    """The record has the outcome, once counted; a caller who is still there comes back with a note."""
    async with transferring(tmp_path) as here:
        line = await here.connect()
        await here.transfers.transfer_call(agent(), wish())
        await here.hand_off(line)
        notes = [await here.reception.transfer_dialled("my-client", sid(), outcome, error) for _ in range(2)]
        record = await here.record()
        assert (record.transfer_to, record.transfer_outcome, record.carrier_error) == (PERSON, outcome, error or None)
    assert notes[0] == notes[1]
    assert (notes[0] is None) == (says is None)
    assert (says or "") in (notes[0] or "")
    assert (PERSON in (notes[0] or "")) == (says is not None)
    assert here.observer.transfers == [outcome.value]


async def test_an_outcome_that_comes_after_a_restart_is_understood(tmp_path: Path) -> None:
    """The number is known from the record, and the outcome is counted once."""
    async with transferring(tmp_path) as here:
        await here.connect()
        await here.transfers.transfer_call(agent(), wish())
    async with transferring(tmp_path) as later:
        await later.journal.recover()
        for _ in range(2):
            note = await later.reception.transfer_dialled("my-client", sid(), TransferOutcome.NO_ANSWER)
            assert PERSON in (note or "")
        assert (await later.record()).transfer_outcome is TransferOutcome.NO_ANSWER
    assert later.observer.transfers == ["no_answer"]


async def test_without_a_database_the_caller_comes_back_all_the_same(tmp_path: Path) -> None:
    """Nobody is left in silence because the outcome cannot be written down, or the number read."""
    async with transferring(tmp_path) as here:
        await here.rename("calls", "gone")
        note = await here.reception.transfer_dialled("my-client", sid(), TransferOutcome.NO_ANSWER)
    assert note == "The transfer was not answered. The caller is back on the line."


@pytest.mark.usefixtures("quick")
async def test_another_agents_webhook_does_not_move_a_transfer(tmp_path: Path) -> None:
    """What comes to another agent's address leaves this transfer to be asked for, and learns no number of it."""
    async with transferring(tmp_path) as here:
        line = await here.connect()
        await here.transfers.transfer_call(agent(), wish())
        data = await handoff_data(line)
        await here.orders_after(data, agent_id="another")
        note = await here.reception.transfer_dialled("another", sid(), TransferOutcome.NO_ANSWER)
        assert note == "The transfer was not answered. The caller is back on the line."
        assert here.observer.transfers == []
        assert here.carrier is not None
        await here.carrier.was_redirected.wait()


# ── a line that is lost, or hangs, and a caller who hangs up ────────────────────────────────────────────────────────


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("is_lost_before", [True, False])
async def test_a_call_whose_line_is_lost_is_redirected(tmp_path: Path, *, is_lost_before: bool) -> None:
    """The carrier is told directly, in the name of the newest session, and what it then reports counts as ever."""
    async with transferring(tmp_path) as here:
        line = await here.connect(attempt=2)
        if is_lost_before:
            await here.lose(line)
        await here.transfers.transfer_call(agent(), wish())
        assert here.carrier is not None
        await here.carrier.was_redirected.wait()
        ((call_sid, document),) = here.carrier.redirected
        dial = ET.fromstring(document)[1]
        assert (call_sid, dial[0].text, dial.get("callerId")) == (sid(), PERSON, OURS)
        assert "attempt=2&" in (dial.get("action") or "")
        assert "busy" in (await here.reception.transfer_dialled("my-client", sid(), TransferOutcome.BUSY) or "")
        assert await here.outcome() is TransferOutcome.BUSY


async def test_the_successor_of_a_lost_line_is_asked_again(tmp_path: Path) -> None:
    """A new session of the call knows nothing of what the old one was asked."""
    async with transferring(tmp_path) as here:
        line = await here.connect()
        await here.transfers.transfer_call(agent(), wish())
        first = await handoff_data(line)
        await here.lose(line)
        assert await handoff_data(await here.connect(attempt=1)) == first
        assert here.carrier is not None
        assert here.carrier.redirected == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("call_over", TransferOutcome.CALLER_GONE),
        ("unknown_call", TransferOutcome.CALLER_GONE),
        ("carrier_silent", TransferOutcome.LOST),
        (None, TransferOutcome.LOST),
    ],
)
async def test_a_call_that_cannot_be_redirected_is_lost(
    tmp_path: Path, code: str | None, expected: TransferOutcome
) -> None:
    """Where the carrier says that the call is over the caller has gone; else, or without access to it, it is lost."""
    carrier = FakeCarrier([], redirect_failure=CarrierRefused(code, None, "No.", False)) if code else None
    async with transferring(tmp_path, carrier=carrier) as here:
        line = await here.connect()
        await here.transfers.transfer_call(agent(), wish())
        await handoff_data(line)
        await here.lose(line)
        assert await here.outcome() is expected
        await here.connect(attempt=1)
        await here.transfers.transfer_call(agent(), wish())
    assert here.observer.transfers == [expected.value]


@pytest.mark.usefixtures("quick")
async def test_the_webhook_may_come_while_the_carrier_is_being_asked(tmp_path: Path) -> None:
    """The orders are the same both ways, so a refusal of the second way changes nothing."""
    failure = CarrierRefused("carrier_silent", None, "No.", False)
    carrier = FakeCarrier([], held=trio.Event(), redirect_failure=failure)
    async with transferring(tmp_path, carrier=carrier) as here:
        line = await here.connect()
        await here.transfers.transfer_call(agent(), wish())
        data = await handoff_data(line)
        await carrier.was_redirected.wait()
        document = await here.orders_after(data)
        assert carrier.held is not None
        carrier.held.set()
        assert document == carrier.redirected[0][1]
        await here.reception.transfer_dialled("my-client", sid(), TransferOutcome.ANSWERED)
        assert await here.outcome() is TransferOutcome.ANSWERED


@pytest.mark.parametrize("is_handed", [False, True])
async def test_a_caller_who_hangs_up_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_handed: bool
) -> None:
    """When the carrier says that the call is over, and no more, the transfer is over too; nothing is kept of it."""
    monkeypatch.setattr("actors.transfer.OUTCOME_SECONDS", 0.05)
    async with transferring(tmp_path) as here:
        line = await here.connect()
        await here.transfers.transfer_call(agent(), wish())
        if is_handed:
            await here.hand_off(line)
        else:
            await handoff_data(line)
            await here.lose(line)
        here.calls.end("my-client", sid())
        assert await here.outcome() is TransferOutcome.CALLER_GONE
        await until(lambda: len(here.calls) == 0)
        assert here.carrier is not None
        assert here.carrier.redirected == []
    assert here.observer.transfers == ["caller_gone"]


async def test_the_end_of_the_call_may_be_reported_before_that_of_the_transfer(tmp_path: Path) -> None:
    """Of two who have spoken the outcome is `answered`, whichever webhook comes first."""
    async with transferring(tmp_path) as here:
        line = await here.connect()
        await here.transfers.transfer_call(agent(), wish())
        await here.hand_off(line)
        here.calls.end("my-client", sid())
        await here.reception.transfer_dialled("my-client", sid(), TransferOutcome.ANSWERED)
        assert await here.outcome() is TransferOutcome.ANSWERED
        await until(lambda: len(here.calls) == 0)
    assert here.observer.transfers == ["answered"]


# ── what goes wrong here ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("quick")
async def test_one_transfer_that_goes_wrong_does_not_end_the_others(tmp_path: Path) -> None:
    """A fault in one is logged and loses that one; the next is seen through."""
    carrier = FakeCarrier([])
    async with transferring(tmp_path, carrier=carrier) as here:
        line = await here.connect()
        here.transfers.carrier = object()  # type: ignore[assignment]
        await here.transfers.transfer_call(agent(), wish())
        await handoff_data(line)
        await here.lose(line)
        assert await here.outcome() is TransferOutcome.LOST
        here.transfers.carrier = cast("CarrierCalls", carrier)
        await here.connect(attempt=1)
        await here.transfers.transfer_call(agent(), wish())
        await carrier.was_redirected.wait()


async def test_when_the_daemon_stops_nothing_new_is_begun(tmp_path: Path) -> None:
    """What is under way is let go of at once."""
    async with transferring(tmp_path, is_running=False) as here:
        async with trio.open_nursery() as nursery:
            await nursery.start(here.transfers.run)
            await here.connect()
            await here.transfers.transfer_call(agent(), wish())
            await here.connect(call_sid=sid(2))
            nursery.cancel_scope.cancel()
        with pytest.raises(OutboundRefused) as caught:
            await here.transfers.transfer_call(agent(), wish(call_sid=sid(2)))
        assert (caught.value.code, here.call(sid(2)).transfer) == ("draining", None)
