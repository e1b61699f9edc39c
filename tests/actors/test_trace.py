"""What a call keeps of its steps, and the times of its turns. On the mock clock, through the call session."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.call_session import CallServices, CallSession
from actors.call_values import Availability, TurnRequest
from actors.commands import By, NoteTurn, Speak, StartTurn, TurnOutcome
from actors.errors import ClientLeft
from actors.events import (
    AgentSpeaking,
    CallerBargedIn,
    CallerGone,
    DigitPressed,
    FrameRejected,
    PartialPromptHeard,
    PieceSaid,
    SpeechPlayed,
    UtteranceHeard,
)
from actors.narration import narrate
from actors.phases import Phase
from actors.policy import Phrases, Policy
from actors.ports import Answer
from actors.trace import LONGEST_TEXT, MAX_STEPS, MAX_TURNS, Asked, Trace, WallClock
from actors.turns import TURNS_PER_SESSION
from tests.fakes import STARTED, MemoryLine, RecordingObserver, Script, ScriptedResponder, call_info, saying, silent
from tests.fakes_store import MemoryJournal, MemoryMessageStore


class SlowJournal(MemoryJournal):
    """A journal that takes a quarter of a second for an utterance."""

    async def hold_utterance(self, call_sid: str, turn: int, text: str, said: object = None) -> None:
        await trio.sleep(0.25)
        self.held.setdefault(call_sid, {})[turn] = text


class Call:
    """A call session, with the test on the line."""

    def __init__(self, client: Script, machine: Script | None = None, **info: object) -> None:
        self.line, self.journal, self.observer = MemoryLine(), SlowJournal(), RecordingObserver()
        responders = {By.CLIENT: ScriptedResponder(client), By.ANSWERING_MACHINE: ScriptedResponder(machine or silent)}
        services = CallServices(
            responders=responders,
            messages=MemoryMessageStore(self.journal),
            journal=self.journal,
            observer=self.observer,
        )
        policy = Policy(
            has_answering_machine=True,
            phrases=Phrases(filler=("One moment, please.",), long_filler="I am still looking.", apology="I am sorry."),
        )
        self.session = CallSession(call_info(**info), self.line, services, policy, Availability.HERE)

    async def say(self, *events: object) -> None:
        self.line.carrier_says(*events)  # type: ignore[arg-type]
        await wait_all_tasks_blocked()

    def sentences(self) -> list[str]:
        return [sentence for step in self.session.view().steps if (sentence := narrate(step)) is not None]


def slowly(*pieces: str, first: float = 0.5, between: float = 1.0) -> Script:
    async def script(_request: TurnRequest, answer: Answer) -> None:
        await trio.sleep(first)
        for piece in pieces:
            await answer.say(piece)
            await trio.sleep(between)

    return script


async def test_the_times_of_a_turn_come_from_one_clock(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """From the words being read to the answer being heard; its parts are the whole."""
    call = Call(slowly("On ", "Thursday."))
    nursery.start_soon(call.session.run)
    await trio.sleep(3)
    call.line.carrier_says(UtteranceHeard("When?"))
    began = trio.current_time()
    await trio.sleep(5)
    call.line.carrier_says(SpeechPlayed("On "), SpeechPlayed("Thursday."))
    await wait_all_tasks_blocked()
    (turn,) = call.session.view().turns
    stamps = [turn.arrived, turn.stored, turn.asked, turn.first, turn.out, turn.last, turn.heard]
    assert [None if at is None else round(at - began, 3) for at in stamps] == [0, 0.25, 0.25, 0.75, 0.75, 2.75, 5]
    assert (turn.cut, turn.outcome, turn.by) == (None, TurnOutcome.ANSWERED, By.CLIENT)
    assert [part.name for part in turn.parts()] == ["storing", "asking", "thinking", "sending", "speaking", "playing"]
    assert sum(part.seconds for part in turn.parts()) == pytest.approx(turn.seconds, abs=1e-9)
    assert turn.first_word == pytest.approx(0.75)


async def test_a_turn_that_is_talked_over_ends_where_it_was_cut(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """While it runs, and after its last piece; what was not heard of it is kept with the step."""
    call = Call(slowly("Thursday at ten, ", "or Friday."))
    nursery.start_soon(call.session.run)
    await call.say(UtteranceHeard("When?"))
    await trio.sleep(1)
    await call.say(CallerBargedIn("Thursday at"))
    (turn,) = call.session.view().turns
    assert (turn.outcome, turn.heard, turn.cut) == (TurnOutcome.INTERRUPTED, None, turn.last)
    assert call.sentences()[-1] == "The caller talked over: turn 1 stopped after 'Thursday at'."
    (cut,) = [step.cut for step in call.session.view().steps if step.cut]
    assert (cut.heard, cut.unheard.strip()) == ("Thursday at", "ten,")
    await call.say(UtteranceHeard("And then?"))
    await trio.sleep(4)
    await call.say(AgentSpeaking(on=False), CallerBargedIn("Thursday at ten"))
    turn = call.session.view().turns[-1]
    assert (turn.outcome, turn.heard) == (TurnOutcome.ANSWERED, None)
    assert turn.cut is not None
    assert turn.last is not None
    assert turn.cut > turn.last


async def test_a_call_s_decisions_are_there_in_words_and_in_order(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A client that says nothing: the filler, the second filler, the message, the answering machine."""
    call = Call(silent, saying("May I take a message?"))
    nursery.start_soon(call.session.run)
    await call.say(UtteranceHeard("Is anybody there?"))
    await wait_all_tasks_blocked()
    await trio.sleep(0.5)
    call.session.note_client(1, Asked("claude-desktop", "asked directly"))
    await trio.sleep(9)
    await call.say(CallerGone(1000))
    (message_id,) = {step.message_id for step in call.session.view().steps if step.message_id}
    assert [sentence for sentence in call.sentences() if "durable" not in sentence] == [
        "The caller said 3 words; asked claude-desktop (asked directly).",
        "No word for 2.5 s: said 'One moment, please.'",
        "No word for 5 s: said 'I am still looking.'",
        f"Silent for 8 s: words left as message {message_id}, said 'I am sorry.', the answering machine took over.",
        "The answering machine began to answer after 0.00 s.",
        "The answering machine finished turn 2.",
        "The line was closed.",
    ]
    client, machine = call.session.view().turns
    assert (client.outcome, machine.outcome) == (TurnOutcome.CLIENT_TIMEOUT, TurnOutcome.ANSWERED)
    assert [round(at - client.arrived, 1) for at in client.fillers] == [2.5, 5.0]


async def test_a_live_call_shows_what_grows(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What the caller is saying, the answer as it comes, who answers; and its version changes with every event."""
    call = Call(slowly("On ", "Thursday."))
    nursery.start_soon(call.session.run)
    await wait_all_tasks_blocked()
    before = call.session.view()
    await call.say(PartialPromptHeard("When do"))
    hearing = call.session.view()
    assert (hearing.hearing, hearing.phase, hearing.by) == ("When do", Phase.CLIENT_LISTENING, By.CLIENT)
    assert hearing.version > before.version
    await call.say(UtteranceHeard("When do you open?"))
    await trio.sleep(1)
    growing = call.session.view()
    assert ([line.text for line in growing.transcript], growing.hearing) == (["When do you open?", "On"], "")
    await trio.sleep(1)
    assert call.session.view().transcript[-1].text == "On Thursday."
    assert call.observer.changes == {"CA1": call.session.version}
    assert growing.clock.time_of(growing.clock.zero) == STARTED


async def test_nothing_is_copied_or_formatted_for_a_call_that_is_not_watched(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its steps are the very events that came, without a transcript; and a call that only listens keeps none."""
    call = Call(saying("On Thursday."))
    nursery.start_soon(call.session.run)
    await call.say(AgentSpeaking(on=True), PartialPromptHeard("When"), SpeechPlayed("Hello."), AgentSpeaking(on=False))
    assert call.session.trace is None
    utterance = UtteranceHeard("When?")
    await call.say(utterance)
    await trio.sleep(1)
    trace = call.session.trace
    assert trace is not None
    assert trace.steps[0].event is utterance
    assert not [each for step in trace.steps for each in step.commands if isinstance(each, StartTurn)]


async def test_a_flood_of_one_kind_is_one_step(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """So it cannot push out what happened before it; keys are counted and never shown."""
    call = Call(saying("On Thursday."))
    nursery.start_soon(call.session.run)
    await call.say(UtteranceHeard("When?"))
    await trio.sleep(1)
    for _ in range(5):
        await call.say(FrameRejected("not_json"), PartialPromptHeard("x"))
    await call.say(DigitPressed("4"), DigitPressed("2"))
    assert call.sentences()[-2:] == ["A bad frame was dropped 5 times (not_json).", "The caller pressed 2 keys."]


async def test_a_turn_that_moves_on_keeps_its_own_times(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A client that leaves with a turn ends it; the next one's begins there."""
    asked = []

    async def client(_request: TurnRequest, answer: Answer) -> None:
        asked.append(trio.current_time())
        await trio.sleep(1)
        if len(asked) == 1:
            raise ClientLeft("gone")
        await answer.say("Here.")

    call = Call(client)
    nursery.start_soon(call.session.run)
    await call.say(UtteranceHeard("When?"))
    await trio.sleep(4)
    first, second = call.session.view().turns
    assert (first.outcome, first.last) == (TurnOutcome.CLIENT_LEFT, second.arrived)
    assert "The client left with turn 1 in hand; asked the client." in call.sentences()


async def test_a_later_session_goes_on_with_the_trace_and_stores_its_own_turns(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What the earlier session had is shown with it, and is not stored twice."""
    call = Call(saying("On Thursday."))
    nursery.start_soon(call.session.run)
    await call.say(UtteranceHeard("When?"))
    await trio.sleep(1)
    await call.say(CallerGone(1006))
    await trio.sleep(1)
    later = Call(saying("On Friday."), attempt=1)
    later.session.trace = call.session.trace
    nursery.start_soon(later.session.run)
    await later.say(UtteranceHeard("And when else?"))
    await trio.sleep(1)
    assert [turn.turn for turn in later.session.view().turns] == [1, TURNS_PER_SESSION + 1]
    assert later.session.version > call.session.version
    await later.say(CallerGone(1000))
    await trio.sleep(1)
    assert [row.turn for row in call.journal.turns["CA1"]] == [1]
    (row,) = later.journal.turns["CA1"]
    assert (row.turn, row.by, row.outcome) == (TURNS_PER_SESSION + 1, By.CLIENT, TurnOutcome.ANSWERED)
    assert row.arrived_ms < (row.stored_ms or 0) <= (row.first_ms or 0)


def test_what_is_kept_is_bounded() -> None:
    """In steps, in turns, and in the length of a text; what is left out is counted."""
    trace = Trace(WallClock(0.0, STARTED))
    request = TurnRequest(call=call_info(), turn=1, history=())
    for number in range(1, 1001):
        start = StartTurn(By.CLIENT, TurnRequest(call=request.call, turn=number, history=()))
        trace.note(UtteranceHeard("x" * 5000), [start], float(number), Phase.CLIENT_ANSWERING, float(number))
    assert (len(trace.steps), trace.left_out) == (MAX_STEPS, 1000 - MAX_STEPS)
    assert (len(trace.turns), trace.turns_left_out) == (MAX_TURNS, 1000 - MAX_TURNS)
    event = trace.steps[-1].event
    assert isinstance(event, UtteranceHeard)
    assert len(event.text) == LONGEST_TEXT


def test_an_answer_of_one_piece_is_not_over_before_it_was_sent() -> None:
    """A piece that is cut as too long ends its turn in the step in which it begins."""
    trace = Trace(WallClock(0.0, STARTED))
    start = StartTurn(By.CLIENT, TurnRequest(call=call_info(), turn=1, history=()))
    trace.note(UtteranceHeard("When?"), [start], 1.0, Phase.CLIENT_ANSWERING, 0.5)
    trace.note_asked(1, 1.0)
    ended = NoteTurn(turn=1, by=By.CLIENT, outcome=TurnOutcome.ANSWERED, first_word=1.0)
    trace.note(PieceSaid(1, "On"), [Speak("On", last=False), ended], 2.0, Phase.CLIENT_LISTENING, 2.0)
    trace.note_sent(2.5)
    turn = trace.turns[0]
    assert (turn.first, turn.out, turn.last) == (2.0, 2.5, 2.5)
    assert min(part.seconds for part in turn.parts()) >= 0
