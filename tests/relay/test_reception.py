"""The reception: tickets, places, records of calls that never came, and calls that come back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.call_record import CallProgress, CallRecord, CallState
from actors.call_session import CallServices
from actors.call_values import Callee, CallInfo, CallSummary, Direction, TranscriptChange, TurnRequest, Voicemail
from actors.calls import LAST_WORD_SECONDS, RETURN_SECONDS, TICKET_SECONDS, Calls
from actors.clients import Presence
from actors.commands import By
from actors.errors import CallRefused
from actors.events import CallEnded, CallerGone, CallGone, CallNews, MessageLeft, UtteranceHeard
from actors.phases import Phase
from actors.policy import Phrases, Policy
from actors.ports import Answer
from actors.trace import TurnRow
from relay.agent import Agent, CallDefaults
from relay.metrics import CallMeter
from relay.reception import Admission, IncomingCall, Reception
from relay.settings import Settings
from relay.store.call_journal import CallJournal
from relay.store.database import open_database
from tests.fakes import MemoryLine, RecordingObserver, Script, ScriptedResponder, Session, saying
from tests.fakes_store import MemoryJournal, MemoryMessageStore, WallClock
from tests.limits import HANGING

AGENT = Agent(agent_id="my-client", created_at=datetime(2026, 11, 1, tzinfo=UTC))
OTHER = Agent(agent_id="other", created_at=datetime(2026, 11, 1, tzinfo=UTC))


@attrs.define(eq=False, kw_only=True)
class Setup:
    """A reception with all that stands behind it; the client of both agents answers "Yes."."""

    journal: MemoryJournal
    store: MemoryMessageStore
    calls: Calls
    reception: Reception
    nursery: trio.Nursery
    news: list[CallNews]

    async def announce(self, call_sid: str = "CA1", **changes: object) -> Admission:
        return await self.reception.register(incoming(call_sid, **changes))

    async def bring(self, admission: Admission, *, hop: str = "") -> MemoryLine:
        """Come with the ticket, and return the line once the call is on it."""
        call = admission.call_info
        info = self.calls.redeem(call.agent_id, call.call_sid, admission.ticket)
        assert info is not None
        line = MemoryLine()
        self.nursery.start_soon(partial(self.calls.connect, info, line, hop=hop))
        await wait_all_tasks_blocked()
        return line

    async def talk(self, line: MemoryLine, words: str) -> None:
        line.carrier_says(UtteranceHeard(words))
        await line.hear()

    async def ask(self, line: MemoryLine, words: str) -> None:
        """Say something and wait for nothing: nobody answers."""
        line.carrier_says(UtteranceHeard(words))
        await wait_all_tasks_blocked()

    async def lose(self, line: MemoryLine) -> None:
        line.carrier_says(CallerGone(1006))
        await wait_all_tasks_blocked()

    def said(self) -> list[str]:
        """Return the transcript of the one live call."""
        (call,) = self.calls.live()
        return [each.text for each in call.transcript]

    def gone(self) -> list[CallNews]:
        """Return which calls were said to get no other session."""
        return [each for each in self.news if isinstance(each, CallGone)]

    def entries(self) -> tuple[int, int, int]:
        """Count what is kept: announcements, places, watchers of clients."""
        return len(self.calls), self.calls.occupied(), len(self.calls.presence._watchers)


def incoming(call_sid: str = "CA1", **changes: object) -> IncomingCall:
    given: dict[str, object] = {"agent": AGENT, "caller": "+15551230001", "called": "+15551230002"}
    return IncomingCall(call_sid=call_sid, **(given | changes))  # type: ignore[arg-type]


def over(call_sid: str, status: str = "completed", order: str = "") -> CallProgress:
    """Say that a call is over, as the carrier does."""
    return CallProgress(call_sid=call_sid, status=status, order=order)


def build_setup(
    nursery: trio.Nursery,
    *,
    journal: MemoryJournal | None = None,
    max_calls: int = 10,
    script: Script | None = None,
) -> Setup:
    journal = journal or MemoryJournal()
    store = MemoryMessageStore(journal)
    news: list[CallNews] = []
    services = CallServices(
        responders={By.CLIENT: ScriptedResponder(script or saying("Yes."))},
        messages=store,
        journal=journal,
        observer=RecordingObserver(),
        listeners=(news.append,),
    )
    presence = Presence(grace=10)
    for agent in (AGENT, OTHER):
        presence.arrive(Session(agent.agent_id))
    calls = Calls(services, presence, max_calls, WallClock())
    reception = reception_of(calls, cast("CallJournal", journal))
    nursery.start_soon(calls.run)
    return Setup(journal=journal, store=store, calls=calls, reception=reception, nursery=nursery, news=news)


def reception_of(calls: Calls, journal: CallJournal) -> Reception:
    settings = Settings()
    return Reception(
        calls=calls,
        journal=journal,
        policy_for=lambda _agent, _language: Policy(),
        defaults=CallDefaults(
            greeting=settings.default_voice_greeting,
            voice=settings.default_voice_id,
            language=settings.default_voice_language,
        ),
        observer=CallMeter(),
    )


async def never(_request: TurnRequest, _answer: Answer) -> None:
    await trio.sleep_forever()


@pytest.fixture
def setup(nursery: trio.Nursery) -> Setup:
    return build_setup(nursery)


# ── what a call is told ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_settings_speak_for_an_agent_that_says_nothing(setup: Setup) -> None:
    """Greeting, voice and language are the settings' own where the agent has none."""
    info = (await setup.announce()).call_info
    assert (info.greeting, info.voice, info.language, info.system_prompt) == (
        "Hello, how can I help you today?",
        "EXAVITQu4vr4xnSDxMaL",
        "en-US",
        "",
    )


async def test_an_agent_speaks_for_itself(setup: Setup) -> None:
    """What the agent was registered with goes before the settings."""
    agent = attrs.evolve(AGENT, greeting="Guten Tag.", voice="v1", language="de-DE", system_prompt="Be brief.")
    info = (await setup.announce(agent=agent)).call_info
    assert (info.greeting, info.voice, info.language, info.system_prompt) == ("Guten Tag.", "v1", "de-DE", "Be brief.")


async def test_an_agent_may_greet_with_nothing(setup: Setup) -> None:
    """An empty greeting is an agent's choice; the settings' own is not said in its place."""
    assert (await setup.announce(agent=attrs.evolve(AGENT, greeting=""))).call_info.greeting == ""


async def test_a_call_s_own_greeting_goes_first(setup: Setup) -> None:
    """A resumed call says what the web side wants said, not the agent's greeting again."""
    agent = attrs.evolve(AGENT, greeting="Good morning.")
    assert (await setup.announce(agent=agent, greeting="We were cut off.")).call_info.greeting == "We were cut off."


async def test_a_greeting_is_made_speakable_in_its_language(setup: Setup) -> None:
    """Markup is not read aloud, and what stands for a word becomes a word of the agent's language."""
    agent = attrs.evolve(AGENT, greeting="**Meier & Sohn**, guten Tag.", language="de-DE")
    assert (await setup.announce(agent=agent)).call_info.greeting == "Meier und Sohn, guten Tag."


async def test_a_call_is_described_as_the_carrier_describes_it(setup: Setup) -> None:
    """Numbers, direction and how far the caller is vouched for are the webhook's."""
    info = (await setup.announce(direction=Direction.OUTBOUND, attestation="A")).call_info
    assert (info.caller, info.called, info.direction) == ("+15551230001", "+15551230002", Direction.OUTBOUND)
    assert (info.verified, info.attestation) == (True, "A")


async def test_a_call_begins_when_its_line_does(nursery: trio.Nursery) -> None:
    """The time of the start is that of the socket, not of the announcement."""
    setup = build_setup(nursery)
    clock = cast("WallClock", setup.calls.now)
    admission = await setup.announce()
    clock.turn(seconds=3)
    info = setup.calls.redeem("my-client", "CA1", admission.ticket)
    assert info is not None
    assert info.started_at == clock.time


# ── tickets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_ticket_is_good_once(setup: Setup) -> None:
    """The second socket that shows a ticket is nobody."""
    admission = await setup.announce()
    assert setup.calls.redeem("my-client", "CA1", admission.ticket) is not None
    assert setup.calls.redeem("my-client", "CA1", admission.ticket) is None


@pytest.mark.parametrize(
    ("agent_id", "call_sid", "ticket"),
    [
        pytest.param("other", "CA1", None, id="another agent's socket"),
        pytest.param("my-client", "CA2", None, id="another call"),
        pytest.param("my-client", "CA3", None, id="an unknown call"),
        pytest.param("my-client", "CA1", "", id="no ticket"),
        pytest.param("my-client", "CA1", "tïcket", id="not ASCII"),
    ],
)
async def test_a_ticket_is_for_its_own_call_and_agent(
    setup: Setup, agent_id: str, call_sid: str, ticket: str | None
) -> None:
    """A ticket opens nothing but the call it was made for, and a failed attempt does not use it up."""
    admission = await setup.announce("CA1")
    await setup.announce("CA2")
    assert setup.calls.redeem(agent_id, call_sid, admission.ticket if ticket is None else ticket) is None
    assert setup.calls.redeem("my-client", "CA1", admission.ticket) is not None


async def test_a_ticket_expires(setup: Setup, autojump_clock: MockClock) -> None:
    """A ticket is good until its time is over, and no longer."""
    early, late = await setup.announce("CA1"), await setup.announce("CA2")
    await trio.sleep(TICKET_SECONDS - 0.01)
    assert setup.calls.redeem("my-client", "CA1", early.ticket) is not None
    await trio.sleep(0.01)
    assert setup.calls.redeem("my-client", "CA2", late.ticket) is None


async def test_a_ticket_does_not_show_in_a_repr(setup: Setup) -> None:
    """Whoever logs an admission does not log its ticket."""
    admission = await setup.announce()
    assert admission.ticket not in repr(admission)


# ── the same webhook again ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_repeated_webhook_gets_the_same_answer(setup: Setup) -> None:
    """The same idempotency token gives the same admission, also once connected, and takes no second place."""
    first = await setup.announce(idempotency_token="once")
    again = await setup.announce(idempotency_token="once")
    await setup.bring(first)
    late = await setup.announce(idempotency_token="once")
    assert again == late == attrs.evolve(first, repeat=True)
    assert setup.calls.occupied() == 1


async def test_a_webhook_without_a_token_is_repeated_while_its_ticket_is_unused(setup: Setup) -> None:
    """Where the carrier names no token, an unused ticket is given again, a used one never."""
    first = await setup.announce()
    again = await setup.announce()
    assert (again.ticket, again.repeat) == (first.ticket, True)
    await setup.bring(first)
    other = await setup.announce()
    assert other.ticket != first.ticket
    assert not other.repeat


async def test_another_token_is_another_request(setup: Setup) -> None:
    """A new request for a known call gets a new ticket, and the old one is void."""
    first = await setup.announce(idempotency_token="one")
    second = await setup.announce(idempotency_token="two")
    assert not second.repeat
    assert setup.calls.redeem("my-client", "CA1", first.ticket) is None
    assert setup.calls.redeem("my-client", "CA1", second.ticket) is not None


async def test_a_repeat_never_serves_another_agent(setup: Setup) -> None:
    """The same call and token at another agent's webhook is a new admission, for that agent."""
    first = await setup.announce(idempotency_token="once")
    second = await setup.announce(agent=OTHER, idempotency_token="once")
    assert (second.call_info.agent_id, second.repeat) == ("other", False)
    assert second.ticket != first.ticket


# ── places ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_no_more_calls_than_places_are_admitted(nursery: trio.Nursery) -> None:
    """A call too many is refused as `full` and leaves nothing behind; the one that was admitted does not notice."""
    setup = build_setup(nursery, max_calls=1)
    admission = await setup.announce("CA1")
    with pytest.raises(CallRefused) as refusal:
        await setup.announce("CA2")
    assert refusal.value.code == "full"
    assert setup.entries() == (1, 1, 0)
    await setup.bring(admission)
    assert [call.info.call_sid for call in setup.calls.live()] == ["CA1"]


async def test_no_call_is_admitted_while_draining(setup: Setup) -> None:
    """A relay that is being stopped takes no new calls, but one that was promised a place still comes."""
    admission = await setup.announce("CA1")
    setup.calls.draining = True
    with pytest.raises(CallRefused) as refusal:
        await setup.announce("CA2")
    assert refusal.value.code == "draining"
    await setup.bring(admission)
    assert len(setup.calls.live()) == 1


async def test_a_call_without_a_record_is_refused(nursery: trio.Nursery) -> None:
    """When the record cannot be opened the caller is told so at once, and the place is free again."""
    setup = build_setup(nursery, journal=MemoryJournal(failing=True), max_calls=1)
    with pytest.raises(CallRefused) as refusal:
        await setup.announce("CA1")
    assert refusal.value.code == "no_record"
    await wait_all_tasks_blocked()
    assert setup.entries() == (0, 0, 0)


async def test_a_caller_who_is_back_needs_no_record(slow: Setup) -> None:
    """Where no record can be written a new call is refused, but not the next line of one that was up."""
    line = await slow.bring(await slow.announce())
    await slow.ask(line, QUESTION)
    await slow.lose(line)
    slow.journal.failing = True
    await slow.bring(await slow.announce(attempt=1))
    (call,) = slow.calls.live()
    assert [each.text for each in call.info.unanswered] == [QUESTION]


async def test_a_live_call_keeps_its_place_for_its_next_line(nursery: trio.Nursery) -> None:
    """Between the loss of a line and the new one nobody else gets the place, whichever is noticed first."""
    setup = build_setup(nursery, max_calls=1)
    line = await setup.bring(await setup.announce("CA1"))
    await setup.announce("CA1", attempt=1)
    await setup.lose(line)
    with pytest.raises(CallRefused):
        await setup.announce("CA2")


async def test_a_call_whose_voice_was_refused_begins_as_it_would_have(setup: Setup) -> None:
    """Nothing was heard of the first session, so the next one greets; once somebody talked, it is a line that broke."""
    first = await setup.announce("CA1")
    line = await setup.bring(first)
    await setup.lose(line)
    again = await setup.announce("CA1", attempt=1, greeting="We were cut off.", is_unheard=True)
    assert (again.call_info.greeting, again.call_info.attempt) == (first.call_info.greeting, 1)
    line = await setup.bring(again)
    await setup.talk(line, "Hello?")
    await setup.lose(line)
    broken = await setup.announce("CA1", attempt=2, greeting="We were cut off.", is_unheard=True)
    assert broken.call_info.greeting == "We were cut off."


async def test_a_refused_voice_of_a_call_that_nobody_remembers_greets_too(setup: Setup) -> None:
    """A daemon that was started meanwhile greets as for a new call."""
    told = await setup.announce("CA1", attempt=1, greeting="We were cut off.", is_unheard=True)
    assert told.call_info.greeting == (await setup.announce("CA2")).call_info.greeting


# ── calls that never come ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_call_that_never_connects_is_closed(setup: Setup, autojump_clock: MockClock) -> None:
    """When the ticket's time is over, the place is free and the record says `not_connected`."""
    await setup.announce()
    await trio.sleep(TICKET_SECONDS + 1)
    assert setup.journal.closed == {"CA1": CallSummary(outcome="not_connected")}
    assert setup.entries() == (0, 0, 0)


async def test_the_record_of_a_call_that_never_connects(tmp_path: Path, nursery: trio.Nursery) -> None:
    """In the database it is an ended call of its agent that lasted no time and that nobody answered."""
    async with open_database(f"sqlite:///{tmp_path / 'relay.db'}") as database:
        journal = CallJournal(database)
        calls = build_setup(nursery).calls
        reception = reception_of(calls, journal)
        async with trio.open_nursery() as tasks:
            await reception.register(incoming())
            assert (await _record(journal)).state is CallState.LIVE
            await reception.progressed("my-client", over("CA1"))
            tasks.cancel_scope.cancel()
        record = await _record(journal)
    assert (record.agent_id, record.outcome, record.duration_seconds) == ("my-client", "not_connected", 0)
    assert record.answered_by == {}


async def _record(journal: CallJournal) -> CallRecord:
    record = await journal.get("CA1")
    assert record is not None
    return record


async def test_a_record_that_cannot_be_closed_harms_no_other(setup: Setup, autojump_clock: MockClock) -> None:
    """A failing journal costs the record its outcome, and the reception goes on."""
    await setup.announce("CA1")
    setup.journal.failing = True
    await trio.sleep(TICKET_SECONDS + 1)
    setup.journal.failing = False
    await setup.announce("CA2")
    await trio.sleep(TICKET_SECONDS + 1)
    assert list(setup.journal.closed) == ["CA2"]
    assert setup.entries() == (0, 0, 0)


async def test_an_unused_second_ticket_does_not_close_a_live_call(setup: Setup, autojump_clock: MockClock) -> None:
    """Only a call that never came to any line is recorded as not connected."""
    admission = await setup.announce()
    line = await setup.bring(admission)
    setup.nursery.start_soon(_keep_talking, line)
    await setup.announce()
    await trio.sleep(TICKET_SECONDS + 1)
    assert len(setup.calls.live()) == 1
    assert setup.journal.closed == {}


async def _keep_talking(line: MemoryLine) -> None:
    """Speak before the relay takes the silence for the end."""
    while True:
        line.carrier_says(UtteranceHeard("And another thing."))
        await trio.sleep(10)


@attrs.define(eq=False)
class SlowJournal(MemoryJournal):
    """A journal that closes a record only when it is told to."""

    may_close: trio.Event = attrs.field(factory=trio.Event)

    async def close_call(
        self,
        call_sid: str,
        summary: CallSummary,
        said: TranscriptChange | None = None,
        turns: Sequence[TurnRow] = (),
    ) -> None:
        await self.may_close.wait()
        await super().close_call(call_sid, summary, said, turns)


async def test_what_happens_while_a_record_is_closed_is_not_lost(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A call that comes back while the journal is awaited has its new ticket, not the expired one's fate."""
    journal = SlowJournal()
    setup = build_setup(nursery, journal=journal)
    await setup.announce("CA1")
    await setup.announce("CA2")
    await trio.sleep(TICKET_SECONDS)
    await wait_all_tasks_blocked()
    admission = await setup.announce("CA2")
    journal.may_close.set()
    await wait_all_tasks_blocked()
    assert setup.calls.redeem("my-client", "CA2", admission.ticket) is not None


# ── calls that come back ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_reconnected_call_goes_on_where_it_was(setup: Setup) -> None:
    """The next session is connection 2, has a new ticket, and knows what was said."""
    first = await setup.announce(idempotency_token="one")
    line = await setup.bring(first)
    await setup.talk(line, "My name is Ada.")
    await setup.lose(line)
    second = await setup.announce(idempotency_token="two", attempt=1, greeting="We were cut off.")
    assert second.ticket != first.ticket
    await setup.bring(second)
    (call,) = setup.calls.live()
    assert call.info.attempt == 1
    assert setup.said() == ["Hello, how can I help you today?", "My name is Ada.", "Yes.", "We were cut off."]


async def test_the_carrier_may_ask_before_the_loss_is_noticed(setup: Setup) -> None:
    """A line that ends between the new announcement and the new socket has its words carried over all the same."""
    line = await setup.bring(await setup.announce(agent=attrs.evolve(AGENT, greeting="")))
    await setup.talk(line, "My name is Ada.")
    second = await setup.announce(attempt=1, greeting="")
    await setup.lose(line)
    await setup.bring(second)
    assert setup.said() == ["My name is Ada.", "Yes."]


async def test_a_new_line_takes_over_from_one_that_seems_alive(setup: Setup) -> None:
    """The old line is closed, and its words are carried over, when the new socket comes first."""
    line = await setup.bring(await setup.announce(agent=attrs.evolve(AGENT, greeting="")))
    await setup.talk(line, "My name is Ada.")
    await setup.bring(await setup.announce(attempt=1, greeting=""))
    assert line.is_closed
    assert setup.said() == ["My name is Ada.", "Yes."]


async def test_a_call_that_came_back_is_remembered_as_long_as_it_lasts(setup: Setup, autojump_clock: MockClock) -> None:
    """What the old line's end set in motion does not make the registry forget the new one."""
    silent = attrs.evolve(AGENT, greeting="")
    line = await setup.bring(await setup.announce(agent=silent))
    await setup.talk(line, "My name is Ada.")
    newer = await setup.bring(await setup.announce(attempt=1, greeting=""))
    async with trio.open_nursery() as talking:
        talking.start_soon(_keep_talking, newer)
        await trio.sleep(2 * RETURN_SECONDS)
        talking.cancel_scope.cancel()
    await setup.lose(newer)
    await setup.bring(await setup.announce(attempt=2, greeting=""))
    assert setup.said()[0] == "My name is Ada."


async def test_another_agent_does_not_learn_what_was_said(setup: Setup) -> None:
    """A call that the carrier hands to another agent begins there with nothing said."""
    line = await setup.bring(await setup.announce())
    await setup.talk(line, "My name is Ada.")
    early = await setup.announce(agent=OTHER, greeting="")
    await setup.lose(line)
    await setup.bring(early)
    assert setup.said() == []


async def test_one_line_too_many_is_refused(setup: Setup) -> None:
    """A second socket of the same session is nobody, and the call on the first goes on."""
    first = await setup.bring(await setup.announce(idempotency_token="one"))
    second = await setup.announce(idempotency_token="two")
    info = setup.calls.redeem("my-client", "CA1", second.ticket)
    assert info is not None
    with pytest.raises(CallRefused) as refusal:
        await setup.calls.connect(info, MemoryLine())
    assert refusal.value.code == "already_here"
    await setup.talk(first, "Hello?")
    assert len(setup.calls.live()) == 1


# ── what a lost line left unanswered ────────────────────────────────────────────────────────────────────────────────


QUESTION = "Which day is the delivery?"


@pytest.fixture
def slow(nursery: trio.Nursery) -> Setup:
    """A reception whose client never answers."""
    return build_setup(nursery, script=never)


def messages_at(setup: Setup) -> list[str]:
    return [draft.body for draft in setup.store.messages.values()]


async def test_a_question_goes_to_the_next_line(slow: Setup) -> None:
    """The new session has it in hand from the start, its words stay durable, and nothing is left as a message."""
    line = await slow.bring(await slow.announce())
    await slow.ask(line, QUESTION)
    await slow.lose(line)
    await slow.bring(await slow.announce(attempt=1))
    (call,) = slow.calls.live()
    assert [each.text for each in call.info.unanswered] == [QUESTION]
    assert call.phase is Phase.CLIENT_ANSWERING
    assert list(slow.journal.held["CA1"].values()) == [QUESTION]
    assert messages_at(slow) == []


@pytest.mark.parametrize("when", ["announced first", "both lines open"])
async def test_a_question_goes_along_in_whatever_order_the_lines_change(slow: Setup, when: str) -> None:
    """The carrier often asks for the next line, or opens it, before the old one is known to be lost."""
    line = await slow.bring(await slow.announce())
    await slow.ask(line, QUESTION)
    second = await slow.announce(attempt=1)
    if when == "announced first":
        await slow.lose(line)
    await slow.bring(second)
    (call,) = slow.calls.live()
    assert [each.text for each in call.info.unanswered] == [QUESTION]
    assert messages_at(slow) == []


async def test_a_question_whose_caller_hung_up_becomes_a_message_at_once(slow: Setup) -> None:
    """As soon as the carrier says that the call is over, and the client is told."""
    line = await slow.bring(await slow.announce())
    await slow.ask(line, QUESTION)
    await slow.lose(line)
    assert messages_at(slow) == []
    await slow.reception.progressed("my-client", over("CA1"))
    await wait_all_tasks_blocked()
    assert messages_at(slow) == [QUESTION]
    assert slow.journal.held["CA1"] == {}
    assert MessageLeft("my-client") in slow.news


async def test_the_carrier_may_say_that_it_is_over_before_the_loss_is_noticed(slow: Setup) -> None:
    """Then there is nothing to wait for when it is."""
    line = await slow.bring(await slow.announce())
    await slow.ask(line, QUESTION)
    await slow.reception.progressed("my-client", over("CA1"))
    await slow.lose(line)
    assert messages_at(slow) == [QUESTION]


async def test_a_question_of_a_caller_who_is_not_back_in_time_becomes_a_message(
    slow: Setup, autojump_clock: MockClock
) -> None:
    """The carrier said nothing for a minute: the caller is taken for gone."""
    line = await slow.bring(await slow.announce())
    await slow.ask(line, QUESTION)
    await slow.lose(line)
    await trio.sleep(RETURN_SECONDS - 1)
    assert messages_at(slow) == []
    await trio.sleep(2)
    assert messages_at(slow) == [QUESTION]


async def test_a_question_is_not_asked_of_another_agent(slow: Setup) -> None:
    """A call that the carrier hands to another agent leaves what it asked with the first one."""
    line = await slow.bring(await slow.announce())
    await slow.ask(line, QUESTION)
    await slow.lose(line)
    await slow.bring(await slow.announce(agent=OTHER))
    (call,) = slow.calls.live()
    assert call.info.unanswered == ()
    assert messages_at(slow) == [QUESTION]


async def test_a_message_that_cannot_be_stored_is_tried_again(slow: Setup, autojump_clock: MockClock) -> None:
    """A database that is away for a moment loses nothing."""
    line = await slow.bring(await slow.announce())
    await slow.ask(line, QUESTION)
    await slow.lose(line)
    slow.store.failing = True
    await slow.reception.progressed("my-client", over("CA1"))
    await trio.sleep(5)
    assert messages_at(slow) == []
    slow.store.failing = False
    with trio.fail_after(HANGING):
        await slow.calls.settle()
    assert messages_at(slow) == [QUESTION]


async def test_unanswered_utterances_are_left_when_the_daemon_stops(slow: Setup) -> None:
    """Who is not back by then comes back to a relay that knows nothing of the call."""
    line = await slow.bring(await slow.announce())
    await slow.ask(line, QUESTION)
    await slow.lose(line)
    await slow.calls.settle()
    assert messages_at(slow) == [QUESTION]


async def test_a_lost_call_keeps_its_place(nursery: trio.Nursery) -> None:
    """Whoever was cut off goes before whoever calls now."""
    setup = build_setup(nursery, max_calls=1)
    line = await setup.bring(await setup.announce())
    await setup.lose(line)
    with pytest.raises(CallRefused) as refused:
        await setup.announce("CA2")
    assert refused.value.code == "full"
    assert (await setup.announce(attempt=1)).call_info.attempt == 1


async def test_a_line_that_is_lost_while_draining_is_resumed(setup: Setup, autojump_clock: MockClock) -> None:
    """Live calls may finish, on whatever line; new ones are refused; the drain waits for the one that comes back."""
    line = await setup.bring(await setup.announce())
    drained: list[bool] = []

    async def drain() -> None:
        drained.append(await setup.calls.drain(patience=20, farewell=20))

    setup.nursery.start_soon(drain)
    await wait_all_tasks_blocked()
    await setup.lose(line)
    await trio.sleep(1)
    assert drained == []
    back = await setup.bring(await setup.announce(attempt=1))
    await setup.talk(back, "Are you there?")
    assert setup.said()[-1] == "Yes."
    with pytest.raises(CallRefused):
        await setup.announce("CA2")
    await setup.lose(back)
    await setup.reception.progressed("my-client", over("CA1"))
    await wait_all_tasks_blocked()
    assert drained == [True]


async def test_a_call_that_comes_back_during_the_farewell_hears_it_too(setup: Setup, autojump_clock: MockClock) -> None:
    """Nobody is left on a line that is about to be cut."""
    line = await setup.bring(await setup.announce())
    second = await setup.announce(attempt=1)
    setup.nursery.start_soon(partial(setup.calls.drain, patience=0, farewell=20))
    await wait_all_tasks_blocked()
    await setup.lose(line)
    back = await setup.bring(second)
    assert Phrases().drain_goodbye in [text for kind, text, _last in back.frames if kind == "text"]


# ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_call_that_is_over_is_forgotten(setup: Setup) -> None:
    """After the carrier's last word nothing is left of a call."""
    await setup.lose(await setup.bring(await setup.announce()))
    await setup.reception.progressed("my-client", over("CA1"))
    assert setup.entries() == (0, 0, 0)


async def test_a_call_that_is_over_before_it_came_is_forgotten(setup: Setup) -> None:
    """A caller who hangs up first frees the place at once, makes the ticket void, and leaves a closed record."""
    admission = await setup.announce()
    await setup.reception.progressed("my-client", over("CA1"))
    assert setup.calls.occupied() == 0
    assert setup.calls.redeem("my-client", "CA1", admission.ticket) is None
    await wait_all_tasks_blocked()
    assert setup.entries() == (0, 0, 0)
    assert setup.journal.closed["CA1"].outcome == "not_connected"


async def test_a_call_that_was_to_come_back_is_closed_once(setup: Setup) -> None:
    """When the caller hangs up before the new line is there, the record keeps the outcome that it has."""
    await setup.lose(await setup.bring(await setup.announce()))
    await setup.announce(attempt=1)
    await setup.reception.progressed("my-client", over("CA1"))
    await wait_all_tasks_blocked()
    assert setup.journal.closed["CA1"].outcome != "not_connected"
    assert setup.entries() == (0, 0, 0)


async def test_a_call_that_the_carrier_never_closes_is_forgotten(setup: Setup, autojump_clock: MockClock) -> None:
    """A lost call may come back for a while, to its place; then it is gone even without the carrier's word."""
    await setup.lose(await setup.bring(await setup.announce()))
    await trio.sleep(RETURN_SECONDS - 1)
    assert setup.entries() == (1, 1, 0)
    await trio.sleep(2)
    assert setup.entries() == (0, 0, 0)


async def test_all_have_ended_when_the_carrier_has_said_so_of_each(setup: Setup, autojump_clock: MockClock) -> None:
    """Whoever waits for the end of all calls waits for the carrier's word on them, or until none is expected."""
    await setup.calls.all_ended()
    line = await setup.bring(await setup.announce("CA1"))
    await setup.announce("CA2")
    await setup.lose(line)
    with trio.move_on_after(1) as waiting:
        await setup.calls.all_ended()
    assert waiting.cancelled_caught
    await setup.reception.progressed("my-client", over("CA1"))
    began = trio.current_time()
    await setup.calls.all_ended()
    assert trio.current_time() - began == pytest.approx(TICKET_SECONDS - 1 + LAST_WORD_SECONDS)


async def test_the_end_of_an_unknown_call_is_no_error(setup: Setup) -> None:
    """The carrier may report calls that an earlier run of the daemon had."""
    await setup.reception.progressed("my-client", over("CA9"))
    assert setup.entries() == (0, 0, 0)


async def test_a_thousand_calls_leave_nothing_behind(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After many calls of every fate all tables are empty."""
    setup = build_setup(nursery, max_calls=1000)
    for number in range(1000):
        admission = await setup.announce(f"CA{number}")
        if number % 4:
            line = await setup.bring(admission)
            await setup.lose(line)
        if number % 2:
            await setup.reception.progressed("my-client", over(f"CA{number}"))
    await trio.sleep(TICKET_SECONDS + RETURN_SECONDS)
    assert setup.entries() == (0, 0, 0)
    assert len(setup.journal.closed) == 1000


# ── calls that we make ──────────────────────────────────────────────────────────────────────────────────────────────

ORDER = "order-0123456789abcdef"


def expect(setup: Setup, **changes: object) -> str:
    """Have a call expected for 100 seconds, and return its ticket."""
    given: dict[str, object] = {
        "call_sid": ORDER,
        "agent_id": AGENT.agent_id,
        "caller": "+15550001111",
        "called": "+15559876543",
        "direction": Direction.OUTBOUND,
        "greeting": "Hello, this is Ada's office.",
        "system_prompt": "Be brief.",
        "voice": "a-voice",
        "language": "de-DE",
        "started_at": setup.calls.now(),
    }
    return setup.reception.expect(AGENT, CallInfo(**(given | changes)), seconds=100.0)  # type: ignore[arg-type]


async def test_a_call_that_we_make_has_its_own_settings(setup: Setup) -> None:
    """What was chosen for the call is what its line is told, under the name that the carrier gave it."""
    ticket = expect(setup, screened=True, voicemail=Voicemail.GO_ON)
    await setup.reception.placed(ORDER, "CA7")
    info = setup.calls.redeem("my-client", "CA7", ticket)
    assert info is not None
    assert (info.call_sid, info.direction, info.caller, info.called) == (
        "CA7",
        Direction.OUTBOUND,
        "+15550001111",
        "+15559876543",
    )
    assert (info.greeting, info.system_prompt, info.voice, info.language) == (
        "Hello, this is Ada's office.",
        "Be brief.",
        "a-voice",
        "de-DE",
    )
    assert (info.screened, info.voicemail) == (True, Voicemail.GO_ON)
    assert setup.journal.announced == {"CA7": "my-client"}


@pytest.mark.parametrize("first", ["answer", "report", "line"])
async def test_the_first_report_names_the_call(setup: Setup, first: str) -> None:
    """The carrier's answer, its first report and the line itself may come in any order: it is one call in one place."""
    ticket = expect(setup)
    assert setup.calls.occupied() == 1
    if first == "answer":
        await setup.reception.placed(ORDER, "CA7")
    elif first == "report":
        await setup.reception.progressed("my-client", over("CA7", "ringing", ORDER))
    info = setup.calls.redeem("my-client", "CA7", ticket)
    await setup.reception.placed(ORDER, "CA7")
    await setup.reception.progressed("my-client", over("CA7", "in-progress", ORDER))
    assert info is not None
    assert setup.calls.occupied() == 1
    assert setup.calls.redeem("my-client", "CA7", ticket) is None
    await setup.reception.progressed("my-client", over("CA7", "completed", ORDER))
    assert setup.entries() == (0, 0, 0)


async def test_a_ticket_of_a_call_that_we_make_is_its_agent_s_own(setup: Setup) -> None:
    """Another agent's line does not get the call, nor does a wrong ticket, and neither names it."""
    ticket = expect(setup)
    assert setup.calls.redeem("other", "CA7", ticket) is None
    assert setup.calls.redeem("my-client", "CA7", "guessed") is None
    assert setup.calls.redeem("my-client", "CA7", ticket) is not None


async def test_another_agent_s_report_neither_names_nor_ends_a_call(setup: Setup) -> None:
    """An order counts only at its own agent's address, and so does the end of a call."""
    ticket = expect(setup)
    await setup.reception.progressed("other", over("CA7", "ringing", ORDER))
    await setup.reception.placed(ORDER, "CA8")
    await setup.reception.progressed("other", over("CA8", "completed"))
    assert setup.calls.redeem("my-client", "CA8", ticket) is not None


async def test_a_withdrawn_call_gives_its_place_back(setup: Setup) -> None:
    """What was not placed is expected no more, and its ticket opens nothing."""
    ticket = expect(setup)
    setup.calls.withdraw(ORDER)
    setup.calls.withdraw(ORDER)
    assert setup.calls.occupied() == 0
    assert setup.calls.redeem("my-client", "CA7", ticket) is None


async def test_a_call_that_nobody_reports_on_is_given_up(setup: Setup, autojump_clock: MockClock) -> None:
    """An order that the carrier never answers, and a call that never connects, take no place for ever."""
    expect(setup)
    await trio.sleep(99)
    assert setup.calls.occupied() == 1
    await trio.sleep(2)
    assert setup.calls.occupied() == 0
    expect(setup)
    await setup.reception.placed(ORDER, "CA7")
    await trio.sleep(101)
    assert setup.entries() == (0, 0, 0)
    assert setup.journal.closed["CA7"].outcome == "not_connected"


async def test_no_call_is_made_without_a_place(nursery: trio.Nursery) -> None:
    """A full relay refuses to call out as it refuses callers."""
    setup = build_setup(nursery, max_calls=1)
    await setup.announce()
    with pytest.raises(CallRefused) as refusal:
        expect(setup)
    assert refusal.value.code == "full"


async def test_who_picked_up_is_reported_to_the_call_even_before_its_line(setup: Setup) -> None:
    """A verdict that comes before the socket waits for it, and is on record at once."""
    ticket = expect(setup, screened=True)
    await setup.reception.placed(ORDER, "CA7")
    await setup.reception.picked_up("my-client", "CA7", Callee.HUMAN)
    assert setup.journal.picked_up == {"CA7": "human"}
    info = setup.calls.redeem("my-client", "CA7", ticket)
    assert info is not None
    line = MemoryLine()
    setup.nursery.start_soon(setup.calls.connect, info, line)
    assert await line.hear() == "Hello, this is Ada's office."


# ── transfers ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_caller_who_comes_back_from_a_transfer_goes_on(setup: Setup, autojump_clock: MockClock) -> None:
    """What was said is kept for as long as a transfer may take, and the note is told to whoever answers."""
    line = await setup.bring(await setup.announce())
    await setup.talk(line, "I want a human.")
    setup.calls.stay("CA1", RETURN_SECONDS * 3)
    await setup.lose(line)
    known = setup.calls.find_call("CA1", "my-client")
    assert known is not None
    assert known.was_connected
    assert setup.calls.find_call("CA1", "other") is None
    await trio.sleep(RETURN_SECONDS * 2)
    back = await setup.announce(attempt=1, greeting="", note="The transfer was not answered.")
    assert back.call_info.greeting == ""
    line = await setup.bring(back)
    assert await line.hear() == "Yes."
    assert setup.said() == [
        "Hello, how can I help you today?",
        "I want a human.",
        "Yes.",
        "The transfer was not answered.",
        "Yes.",
    ]


async def test_what_was_chosen_for_a_call_holds_after_a_lost_line(setup: Setup) -> None:
    """A call that we made is resumed in its own language and with its own prompt, and is not screened again."""
    ticket = expect(setup, screened=True)
    await setup.reception.placed(ORDER, "CA7")
    assert setup.calls.redeem("my-client", "CA7", ticket) is not None
    resumed = (
        await setup.announce("CA7", attempt=1, greeting="We were cut off.", direction=Direction.OUTBOUND)
    ).call_info
    assert (resumed.language, resumed.system_prompt, resumed.voice) == ("de-DE", "Be brief.", "a-voice")
    assert (resumed.greeting, resumed.screened, resumed.attempt) == ("We were cut off.", False, 1)


async def test_others_are_reported_that_a_call_is_over(setup: Setup) -> None:
    """Whoever asked for it hears of the end of each call once the carrier has said so."""
    await setup.announce()
    await setup.reception.progressed("my-client", over("CA1"))
    assert [each for each in setup.news if isinstance(each, CallEnded)] == [CallEnded("my-client", "CA1")]


@pytest.mark.parametrize("end", ["hung up", "not back in time", "ended by the client", "never came"])
async def test_a_call_is_forgotten_when_it_gets_no_other_line(end: str, slow: Setup, autojump_clock: MockClock) -> None:
    """Whose call it was is remembered while its caller may be back, and no longer."""
    admission = await slow.announce()
    if end == "never came":
        await trio.sleep(TICKET_SECONDS + 1)
    else:
        line = await slow.bring(admission)
        if end == "ended by the client":
            slow.calls.hang_up("my-client", "CA1")
            await wait_all_tasks_blocked()
        await slow.lose(line)
    if end == "hung up":
        assert slow.gone() == []
        await slow.reception.progressed("my-client", over("CA1"))
    if end == "not back in time":
        assert slow.gone() == []
        await trio.sleep(RETURN_SECONDS + 1)
    assert slow.gone() == [CallGone("my-client", "CA1")]


async def test_a_call_that_has_a_new_line_is_not_forgotten(slow: Setup) -> None:
    """Neither the loss of the old line nor a ticket that nobody uses is its end."""
    line = await slow.bring(await slow.announce())
    await slow.bring(await slow.announce(attempt=1))
    await slow.lose(line)
    assert slow.gone() == []
