"""What operators do in live calls: on the registry, over memory channels, on the mock clock."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.call_session import CallServices
from actors.call_values import CallInfo, Speaker
from actors.calls import Calls
from actors.clients import Presence
from actors.commands import By
from actors.events import CallerBargedIn, CallerGone, CallNews, MoveDue, SeatEnd, SeatLeft, SeatTaken, UtteranceHeard
from actors.operator_seat import GONE_SECONDS, OperatorResponder, OperatorSeat
from actors.phases import Phase
from actors.policy import Phrases, Policy
from actors.seats import SeatOutcome, SeatResult, Seats
from actors.take_over import MOST_WAITING, SPOKE_NOTE
from tests.fakes import (
    MemoryLine,
    RecordingObserver,
    Script,
    ScriptedResponder,
    Session,
    call_info,
    saying,
    silent,
)
from tests.fakes_store import MemoryJournal, MemoryMessageStore

POLICY = Policy(has_answering_machine=True, phrases=Phrases(apology=""))


@attrs.define(eq=False)
class House:
    """A registry with its seats, a client that does what the test says, and one call's line."""

    calls: Calls
    seats: Seats
    client: ScriptedResponder
    machine: ScriptedResponder
    store: MemoryMessageStore
    observer: RecordingObserver
    news: list[CallNews]
    nursery: trio.Nursery
    line: MemoryLine = attrs.field(factory=MemoryLine)

    async def ring(self, info: CallInfo | None = None, policy: Policy = POLICY) -> MemoryLine:
        """Connect a call, or another session of it, and return its line."""
        info = info or call_info()
        call = self.calls.announce(info, policy)
        redeemed = self.calls.redeem(info.agent_id, info.call_sid, call.ticket)
        assert redeemed is not None
        line = MemoryLine()
        self.nursery.start_soon(self.calls.connect, redeemed, line)
        await wait_all_tasks_blocked()
        return line

    async def asks(self, line: MemoryLine, words: str = "Are you a person?") -> None:
        line.carrier_says(UtteranceHeard(words))
        await wait_all_tasks_blocked()

    def left(self) -> list[SeatEnd]:
        return [each.why for each in self.news if isinstance(each, SeatLeft)]

    @property
    def phase(self) -> Phase:
        (session,) = self.calls.live()
        return session.phase


def house(nursery: trio.Nursery, script: Script = silent, *, is_client_here: bool = True) -> House:
    journal, news = MemoryJournal(), list[CallNews]()
    store, observer, client = MemoryMessageStore(journal), RecordingObserver(), ScriptedResponder(script)
    machine = ScriptedResponder(saying("May I take a message?"))

    def seat_of(call: CallInfo) -> OperatorSeat | None:
        return calls.seat_of(call)

    def on_news(each: CallNews) -> None:
        news.append(each)
        if isinstance(each, SeatLeft):
            seats.on_seat_left(each)

    services = CallServices(
        responders={
            By.CLIENT: client,
            By.ANSWERING_MACHINE: machine,
            By.HUMAN: OperatorResponder(seat_of),
        },
        messages=store,
        journal=journal,
        observer=observer,
        listeners=(on_news,),
    )
    presence = Presence(grace=10)
    if is_client_here:
        presence.arrive(Session("my-client"))
    calls = Calls(services, presence, 5)
    seats = Seats(calls, lambda text, language: text.replace("*", "") if language else text)
    nursery.start_soon(seats.run)
    nursery.start_soon(calls.run)
    return House(calls, seats, client, machine, store, observer, news, nursery)


@pytest.fixture
async def here(nursery: trio.Nursery) -> AsyncIterator[House]:
    """A house whose client is here and never answers."""
    yield house(nursery)
    nursery.cancel_scope.cancel()


# ── a call is taken, spoken in, handed back ─────────────────────────────────────────────────────────────────────────


async def test_the_operator_is_asked_and_heard(here: House) -> None:
    """From taking to handing back: the client is not asked meanwhile, and then gets all that was said."""
    line = await here.ring()
    result = here.seats.take("CA1", "ada")
    assert (result.is_done, result.operator, result.since is not None) == (True, "ada", True)
    await here.asks(line)
    seat = here.seats.find("CA1")
    assert seat is not None
    assert seat.request is not None
    assert seat.request.history[-1].text == "Are you a person?"
    assert here.seats.say("CA1", "ada", "Yes, I *am* Ada.").is_done
    assert await line.hear() == "Yes, I am Ada."
    await wait_all_tasks_blocked()
    assert seat.request is None
    assert here.seats.hand_back("CA1", "ada").is_done
    await here.asks(line, "Thank you.")
    (request,) = here.client.requests
    assert [(each.speaker, each.text) for each in request.history][-3:] == [
        (Speaker.OPERATOR, "Yes, I am Ada."),
        (Speaker.RELAY, SPOKE_NOTE),
        (Speaker.CALLER, "Thank you."),
    ]
    assert here.news[0] == SeatTaken("my-client", "CA1", "ada")
    assert here.left() == [SeatEnd.HANDED_BACK]


async def test_now_withdraws_the_clients_turn(here: House) -> None:
    """The client's request is cancelled at once, and its words are not heard."""
    line = await here.ring()
    await here.asks(line)
    here.seats.take("CA1", "ada", now=True)
    await wait_all_tasks_blocked()
    assert here.client.cancelled == [1]
    here.seats.say("CA1", "ada", "Yes.")
    assert await line.hear() == "Yes."
    assert here.observer.outcomes() == ["taken_over", "answered"]


async def test_what_is_typed_while_the_caller_speaks_is_not_lost(here: House) -> None:
    """The turn that it was to answer is over in the same moment; it is said in the next one."""
    line = await here.ring()
    here.seats.take("CA1", "ada")
    await here.asks(line)
    line.carrier_says(UtteranceHeard("Hello?"))
    here.seats.say("CA1", "ada", "Yes, I am.")
    assert await line.hear() == "Yes, I am."


async def test_the_call_is_over_for_the_operator_too(here: House) -> None:
    """Nothing of the seat is left, and each action says that the call is not known."""
    line = await here.ring()
    here.seats.take("CA1", "ada")
    line.carrier_says(CallerGone(1000))
    await wait_all_tasks_blocked()
    assert here.seats.find("CA1") is None
    assert here.seats.say("CA1", "ada", "Hello?").outcome is SeatOutcome.NO_LINE
    here.calls.end("my-client", "CA1")
    assert here.seats.say("CA1", "ada", "Hello?").outcome is SeatOutcome.NOT_FOUND


async def test_an_operator_hangs_up(here: House) -> None:
    """Last words are heard, and what comes then is refused."""
    line = await here.ring()
    assert here.seats.hang_up("CA1", "ada", "Good*bye*.").is_done
    assert await line.hear() == "Goodbye."
    assert here.seats.take("CA1", "ada").outcome is SeatOutcome.CALL_ENDING
    assert here.seats.say("CA1", "ada", "Wait!").outcome is SeatOutcome.CALL_ENDING
    assert here.seats.hang_up("CA1", "ada").outcome is SeatOutcome.CALL_ENDING


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_newest_claim_wins(here: House) -> None:
    """The operator who had the call is refused with the name of who has it, and since when."""
    line = await here.ring()
    here.seats.take("CA1", "ada")
    await here.asks(line)
    taken = here.seats.take("CA1", "ben")
    assert here.left() == [SeatEnd.TAKEN]
    for refused in (
        here.seats.say("CA1", "ada", "Hello?"),
        here.seats.typing("CA1", "ada"),
        here.seats.hand_back("CA1", "ada"),
        here.seats.hang_up("CA1", "ada"),
    ):
        assert refused == SeatResult(SeatOutcome.TAKEN_BY, "ben", taken.since)
    here.seats.say("CA1", "ben", "This is Ben.")
    assert await line.hear() == "This is Ben."


async def test_a_double_click_is_one_claim(here: House) -> None:
    """Taking again changes nothing, nor does it say so twice."""
    line = await here.ring()
    first = here.seats.take("CA1", "ada")
    assert here.seats.take("CA1", "ada") == first
    await here.asks(line)
    assert len([each for each in here.news if isinstance(each, SeatTaken)]) == 1


async def test_what_is_for_the_one_who_has_the_call(here: House) -> None:
    """Without a claim there is nothing to hand back, and no limit to renew; anybody may say something."""
    line = await here.ring()
    assert here.seats.hand_back("CA1", "ada").outcome is SeatOutcome.NOT_TAKEN
    assert here.seats.typing("CA1", "ada").outcome is SeatOutcome.NOT_TAKEN
    assert here.seats.say("CA1", "ada", "We close soon.").is_done
    assert await line.hear() == "We close soon."


async def test_what_cannot_be_said_is_refused(here: House) -> None:
    """Dots have no sound, and more lines than a caller would listen to do not wait."""
    line = await here.ring()
    assert here.seats.say("CA1", "ada", "***").outcome is SeatOutcome.NOTHING_TO_SAY
    await here.asks(line)
    for _ in range(MOST_WAITING):
        assert here.seats.say("CA1", "ada", "One more thing.").is_done
        await wait_all_tasks_blocked()
    assert here.seats.say("CA1", "ada", "One more thing.").outcome is SeatOutcome.TOO_MANY


async def test_a_call_without_a_line_cannot_be_taken(here: House) -> None:
    """It is announced, or moves; one that nobody knows is not found."""
    assert here.seats.take("CA9", "ada").outcome is SeatOutcome.NOT_FOUND
    here.calls.announce(call_info(), POLICY)
    assert here.seats.take("CA1", "ada").outcome is SeatOutcome.NO_LINE
    await here.ring()
    (session,) = here.calls.live()
    session.inbox.post(MoveDue("{}"))
    await wait_all_tasks_blocked()
    assert here.seats.take("CA1", "ada").outcome is SeatOutcome.NO_LINE
    here.calls.end("my-client", "CA1")
    assert here.seats.take("CA1", "ada").outcome is SeatOutcome.ENDED


# ── an operator who is gone ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_client_here", [True, False])
async def test_a_vanished_operator_leaves_the_caller_for_ten_seconds(
    nursery: trio.Nursery, autojump_clock: MockClock, *, is_client_here: bool
) -> None:
    """Then the words are asked again of the client, or the answering machine has them; they are a message before."""
    here = house(nursery, saying("I am the client."), is_client_here=is_client_here)
    line = await here.ring()
    with here.seats.watching("CA1", "ada"):
        here.seats.take("CA1", "ada")
        await here.asks(line)
        await trio.sleep(20)
        assert here.left() == []
    began = trio.current_time()
    assert await line.hear() == ("I am the client." if is_client_here else "May I take a message?")
    assert trio.current_time() - began == pytest.approx(GONE_SECONDS)
    assert here.left() == [SeatEnd.GONE]
    assert [draft.body for draft in here.store.messages.values()] == ([] if is_client_here else ["Are you a person?"])
    nursery.cancel_scope.cancel()


async def test_any_action_is_a_sign_of_the_operator(here: House, autojump_clock: MockClock) -> None:
    """Typing, saying something, and taking the call again keep it; a page that is open keeps it by itself."""
    line = await here.ring()
    here.seats.take("CA1", "ada")
    for _ in range(3):
        await trio.sleep(GONE_SECONDS - 1)
        here.seats.typing("CA1", "ada")
        await trio.sleep(GONE_SECONDS - 1)
        here.seats.say("CA1", "ada", "I am looking it up.")
        await trio.sleep(GONE_SECONDS - 1)
        here.seats.take("CA1", "ada")
    with here.seats.watching("CA1", "ada"), here.seats.watching("CA1", "ada"):
        await trio.sleep(5)
    assert here.left() == []
    with here.seats.watching("CA1", "ben"):
        await trio.sleep(GONE_SECONDS + 1)
    assert here.left() == [SeatEnd.GONE]
    assert line.speech


async def test_typing_gives_more_time_and_then_the_call_is_lost(here: House, autojump_clock: MockClock) -> None:
    """The operator's page is open, but nothing comes: the client has the words, and the operator is refused."""
    line = await here.ring()
    with here.seats.watching("CA1", "ada"):
        here.seats.take("CA1", "ada")
        await here.asks(line)
        for _ in range(4):
            await trio.sleep(40)
            here.seats.typing("CA1", "ada")
            assert not here.seats.typing("CA1", "ada").outcome.startswith("taken")
            await wait_all_tasks_blocked()
        assert here.client.requests == []
        await trio.sleep(46)
        assert len(here.client.requests) == 1
        assert here.left() == [SeatEnd.TIMEOUT]
        assert here.seats.hand_back("CA1", "ada").outcome is SeatOutcome.NOT_TAKEN


async def test_a_vanished_operator_of_a_lost_line_has_handed_back(here: House, autojump_clock: MockClock) -> None:
    """The next session is the client's, with a note that a person has spoken."""
    line = await here.ring()
    here.seats.take("CA1", "ada")
    await here.asks(line)
    line.carrier_says(CallerGone(1006))
    await trio.sleep(GONE_SECONDS + 1)
    assert here.left() == [SeatEnd.GONE]
    await here.ring(call_info(attempt=1))
    (request,) = here.client.requests
    assert [each.text for each in request.history][-2:] == [SPOKE_NOTE, "Are you a person?"]


# ── through the sessions of a call ──────────────────────────────────────────────────────────────────────────────────


async def test_a_line_that_is_lost_and_back_is_still_the_operators(here: House) -> None:
    """What is unanswered is asked of the operator again."""
    line = await here.ring()
    with here.seats.watching("CA1", "ada"):
        here.seats.take("CA1", "ada")
        await here.asks(line)
        line.carrier_says(CallerGone(1006))
        await wait_all_tasks_blocked()
        line = await here.ring(call_info(attempt=1))
        seat = here.seats.find("CA1")
        assert seat is not None
        assert seat.request is not None
        assert seat.request.history[-1].text == "Are you a person?"
        here.seats.say("CA1", "ada", "Yes.")
        assert await line.hear() == "Yes."
    assert here.client.requests == []


async def test_a_call_that_moves_away_has_no_operator_here(here: House) -> None:
    """Where it goes on its client is asked as ever; here nothing is left of the seat."""
    line = await here.ring()
    here.seats.take("CA1", "ada")
    await here.asks(line)
    here.calls.move_away("my-client", "{}")
    await wait_all_tasks_blocked()
    line.carrier_says(CallerGone(1000))
    await wait_all_tasks_blocked()
    assert here.seats.find("CA1") is None
    call = here.calls.find_call("CA1")
    assert call is not None
    assert call.unanswered is not None
    assert [each.text for each in call.unanswered.unless_back or ()] == ["Are you a person?"]


async def test_a_call_of_another_agent_has_no_operator(here: House) -> None:
    """The carrier passes it on: the one who took it from the first agent does not have it there."""
    line = await here.ring()
    here.seats.take("CA1", "ada")
    line.carrier_says(CallerGone(1006))
    await wait_all_tasks_blocked()
    await here.ring(call_info(agent_id="other", attempt=1))
    assert here.seats.find("CA1") is None


async def test_a_barge_in_stops_what_the_operator_says(here: House) -> None:
    """The transcript keeps what was heard of it."""
    line = await here.ring()
    here.seats.take("CA1", "ada")
    await here.asks(line)
    here.seats.say("CA1", "ada", "Yes, I am Ada from the shop.")
    await line.hear()
    line.carrier_says(CallerBargedIn("Yes, I am"))
    await wait_all_tasks_blocked()
    (session,) = here.calls.live()
    assert session.transcript[-1].text == "Yes, I am"
    assert session.answering is By.HUMAN
