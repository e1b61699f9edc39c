"""The call session: one nursery, three tasks, a firewall and an epilogue. On the mock clock, over memory channels."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from actors.call_session import EPILOGUE_SECONDS, CallServices, CallSession
from actors.call_values import Availability, CallInfo, MessageDraft, Reason, TurnRequest
from actors.commands import By
from actors.errors import AnsweringMachineFailed, ClientLeft, StoreFailed
from actors.events import (
    AvailabilityChanged,
    CallClaimed,
    CallerBargedIn,
    CallerGone,
    CallNews,
    CarrierFailed,
    ClientWanted,
    FrameRejected,
    HangUpRequested,
    MessageLeft,
    SpeechPlayed,
    UtteranceHeard,
)
from actors.inbox import CAPACITY
from actors.phases import Phase
from actors.policy import Phrases, Policy
from actors.ports import Answer
from actors.turn_task import RECEIPT_SECONDS
from tests.fakes import (
    MemoryLine,
    RecordingObserver,
    Script,
    ScriptedResponder,
    call_info,
    failing,
    saying,
    silent,
)
from tests.fakes_store import MemoryJournal, MemoryMessageStore


@attrs.define(eq=False)
class SlowStore(MemoryMessageStore):
    """A store that takes its time, and says when it was asked. With `later` it keeps messages and stores them there."""

    seconds: float = 0
    later: trio.Nursery | None = None
    asked: trio.Event = attrs.field(factory=trio.Event)

    async def leave(self, draft: MessageDraft, on_stored: Callable[[str], None] | None = None) -> str:
        self.asked.set()
        if self.later is not None:
            self.later.start_soon(self._store, draft, on_stored)
            return ""
        return await self._store(draft, on_stored)

    async def _store(self, draft: MessageDraft, on_stored: Callable[[str], None] | None) -> str:
        await trio.sleep(self.seconds)
        return await super().leave(draft, on_stored)


@attrs.define(eq=False, slots=False)
class MemoryOptOuts:
    """A list of calls whose other party opted out. With `failing` set, it refuses everything."""

    failing: bool = False
    calls: list[str] = attrs.field(factory=list)

    async def stop_calling(self, call: CallInfo) -> None:
        await trio.lowlevel.checkpoint()
        if self.failing:
            raise StoreFailed("the list is told to fail")
        self.calls.append(call.call_sid)


@attrs.define(eq=False)
class Harness:
    """Everything a call needs, with the test on the other side of each port."""

    client: ScriptedResponder
    machine: ScriptedResponder
    policy: Policy = attrs.field(factory=lambda: Policy(has_answering_machine=True))
    line: MemoryLine = attrs.field(factory=MemoryLine)
    observer: RecordingObserver = attrs.field(factory=RecordingObserver)
    journal: MemoryJournal = attrs.field(factory=MemoryJournal)
    messages: SlowStore = attrs.field(default=attrs.Factory(lambda self: SlowStore(self.journal), takes_self=True))
    opt_outs: MemoryOptOuts = attrs.field(factory=MemoryOptOuts)
    news: list[CallNews] = attrs.field(factory=list)

    def call(self, availability: Availability = Availability.HERE, **info: object) -> CallSession:
        services = CallServices(
            responders={By.CLIENT: self.client, By.ANSWERING_MACHINE: self.machine},
            messages=self.messages,
            journal=self.journal,
            observer=self.observer,
            opt_outs=self.opt_outs,
            listeners=(self.news.append,),
        )
        return CallSession(call_info(**info), self.line, services, self.policy, availability)

    def bodies(self) -> list[str]:
        return [draft.body for draft in self.messages.messages.values()]


def harness(client: Script = silent, machine: Script | None = None, **knobs: object) -> Harness:
    policy = Policy(has_answering_machine=True, **knobs)  # type: ignore[arg-type]
    return Harness(ScriptedResponder(client), ScriptedResponder(machine or saying("May I take a message?")), policy)


async def test_a_turn_from_the_utterance_to_speech(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The words go to the client, the pieces to the line, and the words are settled in the journal."""
    here = harness(saying("Good ", "morning."))
    call = here.call()
    nursery.start_soon(call.run)
    here.line.carrier_says(UtteranceHeard("Hello?"))
    assert await here.line.hear() == "Good morning."
    here.line.carrier_says(CallerGone(1000))
    await trio.testing.wait_all_tasks_blocked()
    assert [line.text for line in here.client.requests[0].history] == ["Hello?"]
    assert here.journal.held == {"CA1": {}}
    assert here.journal.closed["CA1"].turns_by == {"client": 1}
    assert here.bodies() == []


async def test_an_answer_whose_last_piece_is_known_is_one_frame(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The turn is answered with it, whatever its responder does afterwards."""

    async def client(_request: TurnRequest, answer: Answer) -> None:
        await answer.say("Good morning.", last=True)
        raise ClientLeft("too late to matter")

    here = harness(client)
    nursery.start_soon(here.call().run)
    for turn in (1, 2):
        here.line.carrier_says(UtteranceHeard("Hello?"))
        assert await here.line.hear() == "Good morning."
        await trio.testing.wait_all_tasks_blocked()
        assert here.line.frames == [("text", "Good morning.", True)] * turn
        assert [note.outcome for note in here.observer.turns] == ["answered"] * turn
        assert here.journal.held == {"CA1": {}}
    assert here.observer.crashes == []
    nursery.cancel_scope.cancel()


async def test_a_last_piece_that_the_line_does_not_take_is_no_answer(autojump_clock: MockClock) -> None:
    """The caller may be back on another line, and is then answered."""

    async def client(_request: TurnRequest, answer: Answer) -> None:
        await answer.say("Good morning.", last=True)

    here = harness(client)
    here.line.breaks = True
    here.line.carrier_says(UtteranceHeard("Hello?"))
    call = here.call()
    await call.run()
    assert call.may_return
    assert call.unanswered is not None
    assert call.unanswered.unless_back is not None
    assert [each.text for each in call.unanswered.unless_back] == ["Hello?"]


async def test_a_silent_client_is_relieved_after_exactly_eight_seconds(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The client's turn is cancelled and the machine's first word comes at once; on this clock it takes no time."""
    here = harness(silent)
    began = trio.current_time()
    nursery.start_soon(here.call().run)
    here.line.carrier_says(UtteranceHeard("Are you there?"))
    spoken = await here.line.hear()
    assert trio.current_time() - began == pytest.approx(8.0)
    assert spoken.startswith(here.policy.phrases.apology)
    assert spoken.endswith("May I take a message?")
    assert here.client.cancelled == [1]
    assert here.observer.left[0][1] is Reason.CLIENT_TIMEOUT
    nursery.cancel_scope.cancel()


async def test_an_answer_around_the_limit_is_heard_or_relieved_never_both_never_neither(
    autojump_clock: MockClock,
) -> None:
    """A thousand answers within a tenth of a second around the limit: up to it the client is heard, after it not."""
    dice = random.Random(8)
    ladder = Phrases(filler=("One moment.", "Let me see."), long_filler="I am still looking into it.")

    async def one_call(number: int, takes: float) -> None:
        async def client(_request: TurnRequest, answer: Answer) -> None:
            await trio.sleep(takes)
            await answer.say("Good ")
            await answer.say("morning.")

        here = harness(client, phrases=ladder)
        async with trio.open_nursery() as both:
            both.start_soon(here.call(call_sid=f"CA{number}").run)
            here.line.carrier_says(UtteranceHeard("Hello?"))
            await trio.sleep(20)
            here.line.carrier_says(CallerGone(1000))
        answered, relieved = "Good morning." in here.line.speech, ladder.apology in here.line.speech
        assert answered != relieved, f"after {takes} s the caller heard {here.line.speech!r}"
        if takes != 8.0:
            assert answered == (takes < 8.0)
        assert here.bodies() == ([] if answered else ["Hello?"])
        assert ladder.long_filler in here.line.speech

    async with trio.open_nursery() as calls:
        for number in range(1000):
            takes = dice.choice([7.9, 8.0, 8.1, dice.uniform(7.9, 8.1)])
            calls.start_soon(one_call, number, takes)


async def test_a_filler_is_said_so_that_the_answer_can_cut_it_short(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The line is told that it may be cut, and the answer is not held up by it."""
    spoken: list[tuple[float, str, bool]] = []

    async def client(_request: TurnRequest, answer: Answer) -> None:
        await trio.sleep(3)
        await answer.say("Good morning.")

    here = harness(client, phrases=Phrases(filler=("One moment.",)))
    speak = here.line.speak

    async def listening(text: str, *, last: bool, preemptible: bool = False) -> None:
        spoken.append((trio.current_time() - began, text, preemptible))
        await speak(text, last=last, preemptible=preemptible)

    here.line.speak = listening  # type: ignore[method-assign]
    began = trio.current_time()
    nursery.start_soon(here.call().run)
    here.line.carrier_says(UtteranceHeard("Hello?"))
    await trio.sleep(5)
    assert spoken == [(2.5, "One moment.", True), (3.0, "Good morning.", False), (3.0, "", False)]
    nursery.cancel_scope.cancel()


async def test_an_absent_client_means_the_machine_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """No time passes between the words and the machine's answer."""
    here = harness()
    began = trio.current_time()
    nursery.start_soon(here.call(Availability.AWAY).run)
    here.line.carrier_says(UtteranceHeard("Hello?"))
    await here.line.hear()
    assert trio.current_time() == began
    assert here.client.requests == []
    nursery.cancel_scope.cancel()


async def test_what_is_left_is_durable_before_it_is_spoken_about(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """While the store is slow the caller hears nothing, and then the store has it."""
    here = harness()
    stored_at_first_word: list[list[str]] = []
    here.messages.seconds = 3
    speak = here.line.speak

    async def listening(text: str, *, last: bool, preemptible: bool = False) -> None:
        stored_at_first_word.append(here.bodies())
        await speak(text, last=last, preemptible=preemptible)

    here.line.speak = listening  # type: ignore[method-assign]
    nursery.start_soon(here.call(Availability.AWAY).run)
    here.line.carrier_says(UtteranceHeard("Remember me."))
    await here.line.hear()
    assert stored_at_first_word[0] == ["Remember me."]
    nursery.cancel_scope.cancel()


async def test_hanging_up_cancels_the_turn_and_leaves_the_utterance(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The client is told to stop, and the unanswered words wait for it."""
    here = harness(silent)
    call = here.call()
    with trio.fail_after(1):
        here.line.carrier_says(UtteranceHeard("Call me back."), CallerGone(1000))
        await call.run()
    assert here.bodies() == ["Call me back."]
    assert here.observer.left[0][1] is Reason.UNANSWERED
    assert call.phase is Phase.OVER


async def test_a_hang_up_is_noticed_while_our_speech_is_stuck(autojump_clock: MockClock) -> None:
    """The reader goes on reading whatever the loop waits for, so the call ends when the line lets go."""
    here = harness(saying("Hello."))
    here.line.stuck = trio.Event()
    call = here.call()

    async def caller() -> None:
        here.line.carrier_says(UtteranceHeard("Hi."))
        await trio.sleep(1)
        here.line.carrier_says(CallerGone(1006))
        await trio.testing.wait_all_tasks_blocked()
        assert here.line.is_closed
        assert here.line.stuck is not None
        here.line.stuck.set()

    with trio.fail_after(5):
        async with trio.open_nursery() as both:
            both.start_soon(call.run)
            both.start_soon(caller)


@pytest.mark.parametrize("seed", range(20))
async def test_not_one_word_is_spoken_after_an_interruption(seed: int, autojump_clock: MockClock) -> None:
    """In fifty interruptions a seed, at random moments of random answers, nothing of the turn follows."""
    dice = random.Random(seed)

    async def chatter(request: TurnRequest, answer: Answer) -> None:
        for number in range(1000):
            await answer.say(f"{request.turn}-{number} ")
            if dice.random() < 0.3:
                await trio.sleep(dice.random() / 10)

    here = harness(chatter, answer_characters=10**9)
    call = here.call()
    async with trio.open_nursery() as both:
        both.start_soon(call.run)
        for turn in range(1, 51):
            here.line.carrier_says(UtteranceHeard(f"Question {turn}?"))
            # Not by time: on the mock clock it passes only while everybody rests, and an interruption must also come
            # while a piece is on its way.
            for _ in range(dice.randrange(80)):
                await trio.lowlevel.checkpoint()
            here.line.carrier_says(CallerBargedIn(""))
            await trio.testing.wait_all_tasks_blocked()
        here.line.carrier_says(CallerGone(1000))
    silent_since = None
    for entry in here.line.log:
        match entry:
            case CallerBargedIn():
                silent_since = entry
            case UtteranceHeard():
                silent_since = None
            case ("text", text, _last):
                assert silent_since is None, f"{text!r} was spoken after an interruption"
            case _:
                pass
    assert len([each for each in here.line.log if isinstance(each, CallerBargedIn)]) == 50


async def test_a_responder_that_crashes_is_a_failed_turn_not_a_failed_call(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its error is reported, and the machine answers."""
    here = harness(failing(ZeroDivisionError("our bug")))
    nursery.start_soon(here.call().run)
    here.line.carrier_says(UtteranceHeard("Hello?"))
    assert (await here.line.hear()).endswith("May I take a message?")
    assert [stage for stage, _error in here.observer.crashes] == ["turn"]
    nursery.cancel_scope.cancel()


async def test_a_client_that_leaves_is_replaced_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The error that ends its turn starts the machine's, in the same instant."""

    async def leave(_request: TurnRequest, _answer: Answer) -> None:
        await trio.sleep(2)
        raise ClientLeft

    here = harness(leave)
    began = trio.current_time()
    call = here.call()
    nursery.start_soon(call.run)
    here.line.carrier_says(UtteranceHeard("Hello?"))
    await trio.sleep(1.5)
    call.inbox.post(AvailabilityChanged(Availability.JUST_LOST))
    await here.line.hear()
    assert trio.current_time() - began == pytest.approx(2.0)
    assert here.observer.left[0][1] is Reason.CLIENT_LEFT
    nursery.cancel_scope.cancel()


async def test_a_failing_machine_means_the_fixed_sentence_and_the_end(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The caller is told, the session is ended when it was heard, and the message is there."""
    here = harness(machine=failing(AnsweringMachineFailed("overloaded")))
    nursery.start_soon(here.call(Availability.AWAY).run)
    here.line.carrier_says(UtteranceHeard("Hello?"))
    assert (await here.line.hear()).endswith(here.policy.phrases.unavailable)
    await trio.sleep(30)
    assert here.line.ended
    assert here.bodies() == ["Hello?"]
    nursery.cancel_scope.cancel()


async def test_the_machine_s_tools_store_and_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What it records becomes the message, and its goodbye ends the call once it was heard."""

    async def machine(_request: TurnRequest, answer: Answer) -> None:
        await answer.take_message("The parcel is here.", "after 8")
        await answer.say("Noted. Goodbye.")
        await answer.say_goodbye()

    here = harness(machine=machine)
    nursery.start_soon(here.call(Availability.AWAY).run)
    here.line.carrier_says(UtteranceHeard("Tell her the parcel is here, call after eight."))
    await here.line.hear()
    (draft,) = here.messages.messages.values()
    assert (draft.body, draft.preferences) == ("The parcel is here.", "after 8")
    assert not here.line.ended
    here.line.carrier_says(SpeechPlayed(here.policy.phrases.apology), SpeechPlayed("Noted. Goodbye."))
    await trio.testing.wait_all_tasks_blocked()
    assert here.line.ended
    nursery.cancel_scope.cancel()


async def test_the_client_s_tool_ends_the_call(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It is posted to the inbox like anything else, says its sentence and ends."""
    here = harness(saying("Hello."))
    call = here.call()
    nursery.start_soon(call.run)
    call.inbox.post(HangUpRequested("Goodbye."))
    assert await here.line.hear() == "Goodbye."
    await trio.sleep(5)
    assert here.line.ended
    nursery.cancel_scope.cancel()


async def test_a_client_that_can_only_be_woken_is_notified_of_the_call(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It is woken as soon as words wait for it, once, and answers when it comes."""
    here = harness(saying("Good morning."))
    call = here.call(Availability.WAKEABLE)
    nursery.start_soon(call.run)
    here.line.carrier_says(UtteranceHeard("Hello?"))
    await trio.testing.wait_all_tasks_blocked()
    assert here.news == [ClientWanted(call.info)]
    await trio.sleep(2)
    call.inbox.post(AvailabilityChanged(Availability.HERE))
    assert await here.line.hear() == "Good morning."
    nursery.cancel_scope.cancel()


async def test_a_client_that_comes_back_takes_the_call(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While the machine talks, the claim waits for the end of its turn; then the client speaks first."""

    async def machine(_request: TurnRequest, answer: Answer) -> None:
        await answer.say("May I ")
        await trio.sleep(2)
        await answer.say("take a message?")

    here = harness(saying("Here I am."), machine)
    call = here.call(Availability.AWAY)
    nursery.start_soon(call.run)
    here.line.carrier_says(UtteranceHeard("Hello?"))
    await trio.sleep(1)
    call.inbox.post(AvailabilityChanged(Availability.HERE))
    call.inbox.post(CallClaimed())
    assert (await here.line.hear()).endswith("May I take a message?")
    assert await here.line.hear() == "Here I am."
    assert trio.current_time() == pytest.approx(2.0, abs=0.1)
    here.line.carrier_says(CallerGone(1000))
    await trio.testing.wait_all_tasks_blocked()
    assert here.journal.closed["CA1"].turns_by == {"machine": 1, "client": 1}


# ── who asks not to be called ───────────────────────────────────────────────────────────────────────────────────────


def asks(words: str) -> bool:
    return "stop calling" in words.lower()


PLEASE = UtteranceHeard("Stop calling me!")


async def test_who_asks_not_to_be_called_is_on_the_list_before_the_client_hears_of_it(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """When the client answers, it is so already."""
    on_the_list: list[str] = []

    async def answer(_request: TurnRequest, answer: Answer) -> None:
        on_the_list.extend(here.opt_outs.calls)
        await answer.say("Understood.")

    here = harness(answer, asks_not_to_be_called=asks)
    nursery.start_soon(here.call().run)
    here.line.carrier_says(PLEASE)
    assert await here.line.hear() == "Understood."
    assert on_the_list == ["CA1"]
    nursery.cancel_scope.cancel()


async def test_a_list_that_fails_for_a_while_does_not_end_the_call(autojump_clock: MockClock) -> None:
    """The failure is reported, the caller talks on, and the wish is on the list when the call is over."""
    here = harness(saying("Understood."), asks_not_to_be_called=asks)
    here.opt_outs.failing = True
    async with trio.open_nursery() as both:
        both.start_soon(here.call().run)
        here.line.carrier_says(PLEASE)
        assert await here.line.hear() == "Understood."
        assert [stage for stage, _error in here.observer.crashes] == ["store"]
        here.opt_outs.failing = False
        here.line.carrier_says(CallerGone(1000))
    assert here.opt_outs.calls == ["CA1"]
    assert here.journal.closed["CA1"].outcome == "completed"


async def test_a_list_that_never_works_takes_nothing_else_down(autojump_clock: MockClock) -> None:
    """Messages are stored and the record is closed; the list is tried until the epilogue's time is over."""
    here = harness(silent, asks_not_to_be_called=asks)
    here.opt_outs.failing = True
    began = trio.current_time()
    here.line.carrier_says(PLEASE, CallerGone(1000))
    await here.call().run()
    assert here.bodies() == ["Stop calling me!"]
    assert "CA1" in here.journal.closed
    assert here.line.frames[-1] == ("close", 1000, True)
    assert trio.current_time() - began == pytest.approx(EPILOGUE_SECONDS)


async def test_cancelling_while_the_opt_out_is_stored_stores_it_in_the_epilogue(autojump_clock: MockClock) -> None:
    """A daemon that stops in that moment does not lose it."""
    here = harness(silent, asks_not_to_be_called=asks)
    stop_calling = here.opt_outs.stop_calling
    asked = trio.Event()

    async def slowly(call: CallInfo) -> None:
        asked.set()
        await trio.sleep(1)
        await stop_calling(call)

    here.opt_outs.stop_calling = slowly  # type: ignore[method-assign]
    async with trio.open_nursery() as around:
        around.start_soon(here.call().run)
        here.line.carrier_says(PLEASE)
        await asked.wait()
        around.cancel_scope.cancel()
    assert here.opt_outs.calls == ["CA1"]


async def test_without_a_list_and_an_alarm_clock_a_call_goes_on(autojump_clock: MockClock) -> None:
    """Both are optional: nobody is put anywhere, nobody is woken, and nothing breaks."""
    here = harness(asks_not_to_be_called=asks)
    call = here.call(Availability.WAKEABLE)
    call.services = attrs.evolve(call.services, opt_outs=None, listeners=())
    here.line.carrier_says(PLEASE, CallerGone(1000))
    await call.run()
    assert here.observer.crashes == []


# ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_carrier_that_never_closes_is_closed(autojump_clock: MockClock) -> None:
    """After `end` the call waits a bounded time for the line to go, then it is over."""
    here = harness()
    call = here.call()
    call.inbox.post(HangUpRequested())
    with trio.fail_after(here.policy.line_close_cap + 1):
        await call.run()
    assert ("close", 1000, True) in here.line.frames


# ── the firewall and the epilogue ───────────────────────────────────────────────────────────────────────────────────


async def test_a_flood_ends_this_call_and_keeps_its_words(autojump_clock: MockClock) -> None:
    """More events than the inbox holds: the call ends at its firewall with 1011, and what was owed is stored."""
    here = harness(silent)
    call = here.call()
    async with trio.open_nursery() as both:
        both.start_soon(call.run)
        here.line.carrier_says(UtteranceHeard("Remember me."))
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(CAPACITY + 1):
            call.inbox.post(SpeechPlayed("x"))
    assert here.line.frames[-1] == ("close", 1011, True)
    assert [stage for stage, _error in here.observer.crashes] == ["call"]
    assert here.bodies() == ["Remember me."]
    assert here.journal.closed["CA1"].outcome == "failed"


async def test_a_store_that_fails_once_loses_nothing(autojump_clock: MockClock) -> None:
    """The caller is told that nobody is there, as ever, and the epilogue stores what was said."""
    here = harness()
    call = here.call(Availability.AWAY)
    here.messages.failing = True
    async with trio.open_nursery() as both:
        both.start_soon(call.run)
        here.line.carrier_says(UtteranceHeard("Remember me."))
        await trio.testing.wait_all_tasks_blocked()
        here.messages.failing = False
    assert here.line.speech.startswith(here.policy.phrases.apology)
    assert here.bodies() == ["Remember me."]


async def test_a_message_that_was_refused_does_not_take_the_place_of_a_later_one(autojump_clock: MockClock) -> None:
    """The store has room again when the caller adds something: the message that is kept has both in it."""
    here = harness()
    call = here.call(Availability.AWAY)
    here.messages.failing = True
    async with trio.open_nursery() as both:
        both.start_soon(call.run)
        here.line.carrier_says(UtteranceHeard("The key is under the mat."))
        await trio.testing.wait_all_tasks_blocked()
        here.messages.failing = False
        here.line.carrier_says(UtteranceHeard("And feed the cat."))
        await trio.testing.wait_all_tasks_blocked()
        here.line.carrier_says(CallerGone(1000))
    assert here.bodies() == ["The key is under the mat.\nAnd feed the cat."]


async def test_a_store_that_refuses_everything_cuts_nobody(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Without a record, and without its words held, the client is asked and the caller hears the answer."""
    here = harness(saying("Here I am."))
    here.journal.failing = here.messages.failing = True
    nursery.start_soon(here.call().run)
    for words in ("Hello?", "Still there?", "And now?"):
        here.line.carrier_says(UtteranceHeard(words))
        assert await here.line.hear() == "Here I am."
    assert {stage for stage, _error in here.observer.crashes} == {"store"}
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seconds", [0.0, 1.0, 2.9, 3.1, 60.0])
async def test_only_a_durable_message_is_confirmed(
    nursery: trio.Nursery, autojump_clock: MockClock, seconds: float
) -> None:
    """The answering machine hears whether its message is durable, and is not kept waiting longer than a caller is."""
    heard: list[bool] = []

    async def record(_request: TurnRequest, answer: Answer) -> None:
        heard.append(await answer.take_message("Call me.", ""))
        await answer.say("Done." if heard[-1] else "I try.")

    here = harness(machine=record)
    here.messages.seconds, here.messages.later = seconds, nursery
    nursery.start_soon(here.call(Availability.AWAY).run)
    here.line.carrier_says(UtteranceHeard("Call me."))
    expected = "Done." if seconds < RECEIPT_SECONDS else "I try."
    assert (await here.line.hear()).endswith(expected)
    assert heard == [seconds < RECEIPT_SECONDS]
    await trio.sleep(seconds)
    assert here.bodies() == ["Call me."]
    nursery.cancel_scope.cancel()


async def test_a_message_is_announced_when_the_call_is_over(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The agent is told when nothing is added to the message any more, and not by calls that left none."""
    here = harness()
    nursery.start_soon(here.call(Availability.AWAY).run)
    here.line.carrier_says(UtteranceHeard("Remember me."))
    await here.line.hear()
    assert here.bodies() == ["Remember me."]
    assert here.news == []
    here.line.carrier_says(CallerGone(1000))
    await trio.testing.wait_all_tasks_blocked()
    assert here.news == [MessageLeft("my-client")]
    silent_one = harness()
    silent_one.line.carrier_says(CallerGone(1000))
    await silent_one.call().run()
    assert silent_one.news == []


async def test_a_message_that_is_stored_after_the_call_is_announced_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Who looked when the call was over found nothing yet."""
    here = harness()
    here.messages.seconds, here.messages.later = 60, nursery
    here.line.carrier_says(UtteranceHeard("Remember me."), CallerGone(1000))
    await here.call(Availability.AWAY).run()
    assert here.news == [MessageLeft("my-client")]
    await trio.sleep(61)
    assert here.news == [MessageLeft("my-client"), MessageLeft("my-client")]


async def test_a_store_that_never_answers_holds_the_end_for_a_bounded_time(autojump_clock: MockClock) -> None:
    """The epilogue gives up after its time and says so."""
    here = harness()
    here.messages.failing = True
    call = here.call(Availability.AWAY)
    here.line.carrier_says(UtteranceHeard("Remember me."), CallerGone(1000))
    began = trio.current_time()
    await call.run()
    assert trio.current_time() - began == pytest.approx(EPILOGUE_SECONDS)
    assert isinstance(here.observer.crashes[-1][1], StoreFailed)


async def test_cancelling_the_call_stores_unanswered_utterances(autojump_clock: MockClock) -> None:
    """A daemon that is stopped at once around a live call still keeps the caller's words."""
    here = harness(silent)
    async with trio.open_nursery() as around:
        around.start_soon(here.call().run)
        here.line.carrier_says(UtteranceHeard("Remember me."))
        await trio.testing.wait_all_tasks_blocked()
        around.cancel_scope.cancel()
    assert here.bodies() == ["Remember me."]
    assert "CA1" in here.journal.closed


async def test_cancelling_in_the_middle_of_a_write_stores_it_once(autojump_clock: MockClock) -> None:
    """The command that was under way is performed again in the epilogue; its key makes that harmless."""
    here = harness()
    here.messages.seconds = 1
    async with trio.open_nursery() as around:
        around.start_soon(here.call(Availability.AWAY).run)
        here.line.carrier_says(UtteranceHeard("Remember me."))
        await here.messages.asked.wait()
        around.cancel_scope.cancel()
    assert here.bodies() == ["Remember me."]


async def test_a_line_that_breaks_while_we_speak_ends_the_call(autojump_clock: MockClock) -> None:
    """A write that fails is a hang-up, even before the reader learns of it."""
    here = harness(saying("Hello."))
    here.line.breaks = True
    here.line.carrier_says(UtteranceHeard("Hi."))
    with trio.fail_after(1):
        await here.call().run()
    assert here.observer.crashes == []


async def test_refusals_of_the_carrier_and_rejected_frames_are_reported(autojump_clock: MockClock) -> None:
    """They reach whoever logs and counts, and change nothing else."""
    here = harness()
    here.line.carrier_says(CarrierFailed("Invalid voice"), FrameRejected("not_json"), CallerGone(1000))
    await here.call().run()
    assert (here.observer.refused, here.observer.rejected) == (["Invalid voice"], ["not_json"])
    ((summary, _seconds),) = here.observer.ended
    assert summary.outcome == "completed"
