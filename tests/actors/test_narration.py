"""Each step of a call in one sentence: every kind of event and command, and the examples that readers rely on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from actors.call_values import Availability, Callee, Direction, MessageDraft, Reason, TurnRequest
from actors.commands import (
    By,
    CancelTurn,
    CloseLine,
    Command,
    EndSeat,
    EndSession,
    HoldUtterance,
    NoteTurn,
    ReleaseUtterances,
    Speak,
    StartTurn,
    StopCalling,
    StoreMessage,
    TurnOutcome,
    WakeClient,
)
from actors.deadlines import Deadline
from actors.events import (
    AgentSpeaking,
    AvailabilityChanged,
    CallClaimed,
    CalleeRecognised,
    CallerBargedIn,
    CallerGone,
    CallerSpeaking,
    CallHandedBack,
    CallTakenOver,
    CarrierFailed,
    DeadlinePassed,
    DigitPressed,
    DrainRequested,
    Event,
    FrameAccepted,
    FrameRejected,
    FrameUnknown,
    GoodbyeSaid,
    HangUpRequested,
    MessageStored,
    MessageTaken,
    MoveDue,
    MoveRequested,
    OperatorTyping,
    PartialPromptHeard,
    PieceSaid,
    SayRequested,
    SessionFailed,
    SessionStarted,
    SpeechPlayed,
    TransferRequested,
    TurnFailed,
    TurnFinished,
    UtteranceHeard,
)
from actors.narration import QUOTED, decide, kind_of, narrate, quote, seconds, turn_label
from actors.phases import Phase
from actors.trace import LONGEST_TEXT, QUIET, Asked, Step, TurnTimes
from actors.transcript import Cut
from tests.fakes import call_info

AT = datetime(2026, 11, 28, 14, 2, tzinfo=UTC)
DRAFT = MessageDraft(
    call_sid="CA1",
    part=1,
    agent_id="my-client",
    direction=Direction.INBOUND,
    reason=Reason.CLIENT_TIMEOUT,
    caller="+15551230001",
    called="+15551230002",
    body="Call me back.",
)
REQUEST = TurnRequest(call=call_info(), turn=7, history=())
TIMED_OUT = NoteTurn(turn=7, by=By.CLIENT, outcome=TurnOutcome.CLIENT_TIMEOUT, first_word=None)


def ended(outcome: TurnOutcome, *, turn: int = 7, by: By = By.CLIENT) -> NoteTurn:
    return NoteTurn(turn=turn, by=by, outcome=outcome, first_word=None)


def step(event: Event, *commands: Command, phase: Phase = Phase.CLIENT_LISTENING, **more: Any) -> Step:
    return Step(1, 100.0, event, commands, phase, **more)


def turn(by: By = By.CLIENT, **more: Any) -> TurnTimes:
    return TurnTimes(7, by, 99.0, **more)


TOLD = [
    # ── what a call is mostly about ─────────────────────────────────────────────────────────────────────────────────
    (
        step(UtteranceHeard("What time do you open on Thursday"), starts_turn=True, turn=turn()),
        "The caller said 7 words; asked the client.",
    ),
    (
        step(
            UtteranceHeard("What time on Thursday then please"),
            HoldUtterance(7, ""),
            starts_turn=True,
            turn=turn(client=Asked("claude-desktop", "asked directly")),
        ),
        "The caller said 6 words; asked claude-desktop (asked directly).",
    ),
    (
        step(DeadlinePassed(), Speak("One moment, please.", last=True, preemptible=True), waited=2.5),
        "No word for 2.5 s: said 'One moment, please.'",
    ),
    (
        step(
            DeadlinePassed(),
            TIMED_OUT,
            StoreMessage(DRAFT),
            due=Deadline.ANSWER,
            waited=8.001,
            message_id="m_81",
            starts_turn=True,
            turn=turn(By.ANSWERING_MACHINE),
        ),
        "Silent for 8 s: words left as message m_81, the answering machine took over.",
    ),
    (
        step(
            CallerBargedIn("thursday at"),
            CancelTurn(7),
            ended(TurnOutcome.INTERRUPTED),
            cut=Cut(AT, "Thursday at", " ten."),
        ),
        "The caller talked over: turn 7 stopped after 'Thursday at'.",
    ),
    # ── the caller ──────────────────────────────────────────────────────────────────────────────────────────────────
    (step(UtteranceHeard("No"), phase=Phase.GOODBYE), "The caller said 1 word."),
    (
        step(UtteranceHeard("No"), HoldUtterance(7, ""), WakeClient()),
        "The caller said 1 word; kept the words until they are answered, woke the client.",
    ),
    (
        step(UtteranceHeard("Stop calling me"), StopCalling(), starts_turn=True, turn=turn()),
        "The caller said 3 words; put the number on the do-not-call list, asked the client.",
    ),
    (
        step(
            UtteranceHeard("And another thing"),
            ended(TurnOutcome.SUPERSEDED),
            starts_turn=True,
            turn=turn(),
        ),
        "The caller said 3 words; turn 7 was given up for what was said last, asked the client.",
    ),
    (
        step(UtteranceHeard("Hi"), StoreMessage(DRAFT), starts_turn=True, turn=turn(By.ANSWERING_MACHINE)),
        "The caller said 1 word; words left as a message, asked the answering machine.",
    ),
    (step(UtteranceHeard("a " * LONGEST_TEXT)), f"The caller said more than {LONGEST_TEXT} words."),
    (step(CallerBargedIn()), "The caller talked over."),
    (
        step(CallerBargedIn("I am"), cut=Cut(AT, "I am", " here.")),
        "The caller talked over after 'I am'.",
    ),
    (
        step(CallerBargedIn(), ended(TurnOutcome.INTERRUPTED), cut=Cut(AT, "", "Well.")),
        "The caller talked over: turn 7 stopped before anything was heard.",
    ),
    (step(CallerBargedIn(), ended(TurnOutcome.INTERRUPTED)), "The caller talked over: turn 7 stopped."),
    (step(DigitPressed("4"), times=4), "The caller pressed 4 keys."),
    # ── the carrier ─────────────────────────────────────────────────────────────────────────────────────────────────
    (step(SpeechPlayed("Bye."), EndSession(), phase=Phase.ENDING), "What was said was played; ended the session."),
    (
        step(AgentSpeaking(on=False), EndSession(), phase=Phase.ENDING),
        "The speech was heard to its end; ended the session.",
    ),
    (step(CarrierFailed("Invalid voice"), times=2), "The carrier refused something 2 times: 'Invalid voice'."),
    (step(FrameRejected("not_json")), "A bad frame was dropped (not_json)."),
    (step(FrameUnknown("video"), times=3), "A frame of an unknown type came 3 times: 'video'."),
    (step(CallerGone(1000), phase=Phase.OVER), "The line was closed."),
    (
        step(CallerGone(1006), StoreMessage(DRAFT, ()), phase=Phase.OVER),
        "The line was lost (1006); the words become a message if the caller is not back in time.",
    ),
    (step(CallerGone(), phase=Phase.OVER), "The line was lost."),
    (step(CalleeRecognised(Callee.VOICEMAIL), EndSession()), "A voicemail picked up; ended the session."),
    (step(CalleeRecognised(Callee.HUMAN)), "A person picked up."),
    (step(CalleeRecognised(Callee.UNKNOWN)), "The carrier could not tell who picked up."),
    # ── the client ──────────────────────────────────────────────────────────────────────────────────────────────────
    (step(AvailabilityChanged(Availability.HERE)), "A client is here."),
    (step(AvailabilityChanged(Availability.JUST_LOST)), "The client was lost a moment ago."),
    (step(AvailabilityChanged(Availability.WAKEABLE)), "The client can only be woken."),
    (step(AvailabilityChanged(Availability.AWAY)), "No client is here."),
    (step(HangUpRequested("Bye."), Speak("Bye.", last=True)), "The client asked to hang up; said 'Bye.'"),
    (step(HangUpRequested()), "The client asked to hang up, too late to change anything."),
    (step(TransferRequested(""), EndSession()), "The client began a transfer; ended the session."),
    (step(TransferRequested("", "ada"), EndSession()), "Operator ada began a transfer; ended the session."),
    (step(HangUpRequested("", "ada"), EndSession()), "Operator ada asked to hang up; ended the session."),
    (step(CallClaimed(), starts_turn=True, turn=turn()), "The client claimed the call; asked the client."),
    # ── the running turn ────────────────────────────────────────────────────────────────────────────────────────────
    (
        step(PieceSaid(7, "On"), Speak("On", last=False), turn=turn(first=99.41)),
        "The client began to answer after 0.41 s.",
    ),
    (step(PieceSaid(7, "On"), Speak("On", last=False)), "The client began to answer."),
    (
        step(PieceSaid(7, "On"), Speak("On", last=False), turn=turn(By.ANSWERING_MACHINE, first=100.5)),
        "The answering machine began to answer after 1.5 s.",
    ),
    (step(TurnFinished(7), ended(TurnOutcome.ANSWERED)), "The client finished turn 7."),
    (
        step(
            TurnFinished(7),
            ended(TurnOutcome.CLIENT_FAILED),
            StoreMessage(DRAFT),
            starts_turn=True,
            turn=turn(By.ANSWERING_MACHINE),
        ),
        "The client finished turn 7 without a word; words left as a message, the answering machine took over.",
    ),
    (step(TurnFinished(100_007), ReleaseUtterances(7)), "The client finished turn 7 of connection 2."),
    (
        step(TurnFailed(7, Reason.CLIENT_LEFT), ended(TurnOutcome.CLIENT_LEFT), starts_turn=True, turn=turn()),
        "The client left with turn 7 in hand; asked the client.",
    ),
    (step(TurnFailed(7, Reason.CLIENT_ABSENT), WakeClient()), "No client session could take turn 7; woke the client."),
    (step(TurnFailed(7, Reason.CLIENT_FAILED), CancelTurn(7)), "The client failed at turn 7."),
    (step(TurnFailed(7, Reason.CLIENT_TIMEOUT), CancelTurn(7)), "The client took too long over turn 7."),
    (
        step(MessageTaken(7, ""), StoreMessage(DRAFT), turn=turn(By.ANSWERING_MACHINE), message_id="m_81"),
        "The answering machine took a message; words left as message m_81.",
    ),
    (
        step(GoodbyeSaid(7), turn=turn(By.ANSWERING_MACHINE)),
        "The answering machine ends the call when its words were heard.",
    ),
    # ── the relay ───────────────────────────────────────────────────────────────────────────────────────────────────
    (step(SessionStarted(), starts_turn=True, turn=turn()), "The call is connected; asked the client."),
    (step(SessionFailed(), StoreMessage(DRAFT)), "The call session failed; words left as a message."),
    (step(MessageStored()), "The message is durable."),
    (step(DrainRequested(), Speak("We close.", last=True)), "The relay is stopping; said 'We close.'"),
    (step(DrainRequested()), "The relay is stopping, too late to change anything."),
    (step(MoveRequested("")), "The call is to move when the caller has finished speaking."),
    (
        step(MoveDue(""), ended(TurnOutcome.MOVED), EndSession()),
        "The call is to move at once; turn 7 was given up, to be asked again after the move, ended the session.",
    ),
    (
        step(DeadlinePassed(), StoreMessage(DRAFT), due=Deadline.ANSWER),
        "No client for a while: words left as a message.",
    ),
    (
        step(DeadlinePassed(), Speak("Hello?", last=True), due=Deadline.SILENCE),
        "The caller has said nothing: said 'Hello?'",
    ),
    (
        step(DeadlinePassed(), starts_turn=True, turn=turn(), due=Deadline.KEYS),
        "The caller pressed no more keys: asked the client.",
    ),
    (
        step(DeadlinePassed(), ended(TurnOutcome.HUNG_UP), due=Deadline.CALL),
        "The call has lasted as long as it may: turn 7 was given up.",
    ),
    (
        step(DeadlinePassed(), Speak("Hi.", last=True), due=Deadline.SCREENING),
        "It was not known in time who picked up: said 'Hi.'",
    ),
    (
        step(DeadlinePassed(), EndSession(), due=Deadline.ENDING),
        "The last words must have been heard: ended the session.",
    ),
    (
        step(DeadlinePassed(), CloseLine(1000), due=Deadline.ENDING),
        "The carrier did not close the line: closed the line.",
    ),
]


@pytest.mark.parametrize(("told", "sentence"), TOLD, ids=[sentence for _step, sentence in TOLD])
def test_a_step_is_one_sentence(told: Step, sentence: str) -> None:
    """It begins with what happened, and goes on with what the call did."""
    assert narrate(told) == sentence


# One of each kind that cannot be made without saying what.
_MADE: dict[type[Any], Any] = {
    CallTakenOver: CallTakenOver("ada", now=True),
    CallHandedBack: CallHandedBack("ada"),
    SayRequested: SayRequested("Hello.", "ada"),
    OperatorTyping: OperatorTyping("ada"),
    EndSeat: EndSeat("ada"),
    UtteranceHeard: UtteranceHeard("No"),
    PartialPromptHeard: PartialPromptHeard("No"),
    DigitPressed: DigitPressed("4"),
    SpeechPlayed: SpeechPlayed("On"),
    AgentSpeaking: AgentSpeaking(on=True),
    CallerSpeaking: CallerSpeaking(on=True),
    CarrierFailed: CarrierFailed("Invalid voice"),
    FrameRejected: FrameRejected("not_json"),
    AvailabilityChanged: AvailabilityChanged(Availability.HERE),
    TransferRequested: TransferRequested(""),
    CalleeRecognised: CalleeRecognised(Callee.HUMAN),
    MoveRequested: MoveRequested(""),
    MoveDue: MoveDue(""),
    GoodbyeSaid: GoodbyeSaid(7),
    TurnFinished: TurnFinished(7),
    CancelTurn: CancelTurn(7),
    ReleaseUtterances: ReleaseUtterances(7),
    CloseLine: CloseLine(1000),
    PieceSaid: PieceSaid(7, "On"),
    MessageTaken: MessageTaken(7, "Call me back."),
    TurnFailed: TurnFailed(7, Reason.CLIENT_LEFT),
    Speak: Speak("On", last=False),
    StartTurn: StartTurn(By.CLIENT, REQUEST),
    StoreMessage: StoreMessage(DRAFT),
    HoldUtterance: HoldUtterance(7, "On"),
    NoteTurn: TIMED_OUT,
}
# What says nothing to a reader by itself: that a turn was started is told with who was asked, that one was stopped, or
# its words released, with how it ended, and that it failed is what happened.
SILENT = {StartTurn, CancelTurn, ReleaseUtterances, NoteTurn}


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_every_kind_of_event_has_a_sentence(kind: type[Any]) -> None:
    """A new one without fails here, or is named among those that say nothing to a reader."""
    event = _MADE[kind] if kind in _MADE else kind()
    sentence = narrate(step(event))
    assert (sentence is None) == (kind in QUIET)
    led_on = narrate(step(event, StopCalling()))
    assert led_on is not None
    assert led_on[0].isupper()
    assert led_on.endswith("put the number on the do-not-call list.")
    assert kind_of(event) in {"party", "carrier", "client", "operator", "answer", "relay"}


def test_what_an_operator_asks_for_is_the_operators() -> None:
    """To hang up and to transfer are asked for by clients too."""
    assert {kind_of(HangUpRequested()), kind_of(TransferRequested(""))} == {"client"}
    assert {kind_of(HangUpRequested("", "ada")), kind_of(TransferRequested("", "ada"))} == {"operator"}


@pytest.mark.parametrize("kind", get_args(Command), ids=lambda kind: kind.__name__)
def test_every_kind_of_command_has_words(kind: type[Any]) -> None:
    """A new one without fails here, or is named among those that say nothing to a reader."""
    command = _MADE[kind] if kind in _MADE else kind()
    sentence = narrate(step(MessageStored(), command))
    assert sentence is not None
    assert (sentence == "The message is durable.") == (kind in SILENT)


@pytest.mark.parametrize("by", By)
@pytest.mark.parametrize("outcome", TurnOutcome)
def test_every_end_of_a_turn_can_be_told(by: By, outcome: TurnOutcome) -> None:
    """Of any operator, and in any way."""
    for event in (TurnFinished(7), UtteranceHeard("No"), DeadlinePassed()):
        assert narrate(step(event, ended(outcome, by=by), starts_turn=True, turn=turn(by)))


@pytest.mark.parametrize("due", [None, *Deadline])
def test_every_deadline_can_be_told(due: Deadline | None) -> None:
    """The one that has come says what was waited for."""
    sentence = narrate(step(DeadlinePassed(), EndSession(), due=due, waited=3.0))
    assert sentence is not None
    assert sentence.endswith(": ended the session.")


def test_without_words_nobody_is_quoted() -> None:
    """Of a call whose words are not kept, they are counted."""
    cut = step(CallerBargedIn(), ended(TurnOutcome.INTERRUPTED), cut=Cut(AT, "Thursday at", " ten."))
    said = step(HangUpRequested("Good bye."), Speak("Good bye.", last=True))
    assert narrate(cut, words=False) == "The caller talked over: turn 7 stopped after 2 words."
    assert narrate(said, words=False) == "The client asked to hang up; said 2 words."


def test_the_other_party_of_a_call_that_we_make_is_the_callee() -> None:
    """Who picked up did not call."""
    told = decide(step(UtteranceHeard("Who is this")), direction=Direction.OUTBOUND)
    assert told is not None
    assert (told.at, told.kind, told.text) == (100.0, "party", "The callee said 3 words.")
    assert decide(step(FrameAccepted())) is None


def test_quotes_are_short_and_in_one_line() -> None:
    """A long text is cut at its end, or at its beginning where the end is what counts."""
    assert quote("One\n moment ") == "'One moment'"
    assert quote("a" * 100) == f"'{'a' * QUOTED}…'"
    assert quote("a" * 100, end=True) == f"'…{'a' * QUOTED}'"


def test_times_and_numbers_are_as_exact_as_one_reads_them() -> None:
    """Hundredths below a second, tenths above."""
    assert [seconds(each) for each in (0.414, 2.5, 8.004, 45)] == ["0.41 s", "2.5 s", "8 s", "45 s"]
    assert [turn_label(each) for each in (7, 200_001)] == ["turn 7", "turn 1 of connection 3"]


def test_partial_prompts_and_noise_say_nothing() -> None:
    """They are not decisions, however many come."""
    events = (PartialPromptHeard("a"), CallerSpeaking(on=True), CallerSpeaking(on=False), AgentSpeaking(on=True))
    assert [narrate(step(each)) for each in events] == [None] * 4
    led_on = [narrate(step(each, EndSession())) for each in events]
    assert led_on == [
        "The caller is speaking; ended the session.",
        "The caller began to speak; ended the session.",
        "The caller stopped speaking; ended the session.",
        "The caller hears the relay; ended the session.",
    ]
