"""An operator in a call: the rules of the state machine, one conversation a test. No clock runs."""

from __future__ import annotations

import attrs
import pytest

from actors.call_values import Callee, Direction, Line, Reason, Speaker, UnansweredUtterance
from actors.commands import (
    By,
    CancelTurn,
    EndSeat,
    EndSession,
    HoldUtterance,
    NoteTurn,
    ReleaseUtterances,
    Speak,
    StartTurn,
)
from actors.events import (
    AvailabilityChanged,
    CallClaimed,
    CalleeRecognised,
    CallerBargedIn,
    CallerGone,
    CallHandedBack,
    CallTakenOver,
    DeadlinePassed,
    GoodbyeSaid,
    HangUpRequested,
    MoveDue,
    MoveRequested,
    OperatorTyping,
    PieceSaid,
    SayRequested,
    SessionStarted,
    TransferRequested,
    TurnFailed,
    TurnFinished,
)
from actors.phases import Phase
from actors.policy import Phrases, Policy
from actors.take_over import MOST_WAITING, SILENT_NOTE, SPOKE_NOTE, TAKEN_NOTE
from tests.actors.test_conversation import AWAY, HERE, LOST, Talk
from tests.fakes import STARTED

ADA = CallTakenOver("ada")
NOW = CallTakenOver("ada", now=True)
BACK = CallHandedBack("ada")
NOTICE = Policy(takeover_notice="You are now talking to a person.")


def says(text: str, operator: str = "ada") -> SayRequested:
    return SayRequested(text, operator)


def spoken(talk: Talk) -> list[str]:
    return [each.text for each in talk.of(Speak) if each.text]


def by(talk: Talk) -> list[By]:
    return [each.by for each in talk.of(StartTurn)]


def outcomes(talk: Talk) -> list[tuple[str, str]]:
    return [(each.by.value, str(each.outcome)) for each in talk.of(NoteTurn)]


# ── taking over ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_operator_who_takes_a_call_that_listens_is_asked_from_then_on() -> None:
    """The client is here, and is not asked any more; what the operator types is the answer."""
    talk = Talk()
    assert talk(ADA, at=1.0) == []
    talk.caller("Are you a person?", at=2.0)
    assert by(talk) == [By.HUMAN]
    commands = talk(says("Yes, I am Ada."), at=5.0)
    assert Speak("Yes, I am Ada.", last=True) in commands
    assert ReleaseUtterances(1) in commands
    assert outcomes(talk) == [("human", "answered")]
    assert talk.of(NoteTurn)[0].first_word == 3.0
    assert talk.history[-1] == ("operator", "Yes, I am Ada.")
    assert talk.call.phase is Phase.CLIENT_LISTENING
    assert talk.call.summary.turns_by == {"human": 1}


@pytest.mark.parametrize("availability", [HERE, LOST, AWAY])
def test_an_operator_is_asked_whether_a_client_is_here_or_not(availability: object) -> None:
    """A client's coming and going changes nothing while an operator has the call."""
    talk = Talk()
    talk(ADA)
    talk(AvailabilityChanged(availability))  # type: ignore[arg-type]
    talk.caller("Hello?", at=1.0)
    assert by(talk) == [By.HUMAN]
    assert talk.call.answering is By.HUMAN


def test_at_the_next_pause_the_clients_answer_is_heard_to_its_end() -> None:
    """The operator has the call when the turn is over, and is not asked what the client has answered."""
    talk = Talk()
    talk.caller("When do you open?", at=1.0)
    talk(PieceSaid(1, "At nine, "), at=1.5)
    assert talk(ADA, at=2.0) == []
    talk(PieceSaid(1, "on weekdays."), at=2.5)
    talk(TurnFinished(1), at=3.0)
    assert outcomes(talk) == [("client", "answered")]
    assert by(talk) == [By.CLIENT]
    assert talk.call.answering is By.HUMAN
    assert talk.history[-1] == ("relay", TAKEN_NOTE)


def test_now_cancels_the_clients_turn_and_asks_the_operator() -> None:
    """What was said of the answer stays in the history, and the utterance is the last line that the operator gets."""
    talk = Talk()
    talk.caller("When do you open?", at=1.0)
    talk(PieceSaid(1, "At nine, "), at=1.5)
    commands = talk(NOW, at=2.0)
    assert CancelTurn(1) in commands
    assert Speak("", last=True) in commands
    assert outcomes(talk) == [("client", "taken_over")]
    request = talk.of(StartTurn)[-1].request
    assert by(talk) == [By.CLIENT, By.HUMAN]
    assert [line.text for line in request.history] == ["At nine,", TAKEN_NOTE, "When do you open?"]
    assert request.answer_within == 45.0
    assert talk.of(ReleaseUtterances) == []


@pytest.mark.parametrize("event", [TurnFailed(1, Reason.CLIENT_FAILED), TurnFailed(1, Reason.CLIENT_LEFT)])
def test_a_turn_that_fails_is_a_pause(event: TurnFailed) -> None:
    """The operator who waits for it is asked instead of the answering machine, or of another client."""
    talk = Talk()
    talk.caller("When do you open?", at=1.0)
    talk(ADA, at=2.0)
    talk(event, at=3.0)
    assert by(talk) == [By.CLIENT, By.HUMAN]


def test_a_client_that_is_silent_for_too_long_makes_a_pause() -> None:
    """The operator gets what the answering machine would have got."""
    talk = Talk()
    talk.caller("When do you open?", at=1.0)
    talk(ADA, at=2.0)
    talk(DeadlinePassed(), at=9.0)
    assert outcomes(talk) == [("client", "client_timeout")]
    assert by(talk) == [By.CLIENT, By.HUMAN]


def test_new_words_of_the_caller_make_a_pause() -> None:
    """They go to the operator, with those that the client was about to answer."""
    talk = Talk()
    talk.caller("When do you open?", at=1.0)
    talk(ADA, at=2.0)
    talk.caller("On Sundays, I mean.", at=3.0)
    assert by(talk) == [By.CLIENT, By.HUMAN]
    talk(says("Not at all."), at=4.0)
    assert ReleaseUtterances(2) in talk.of(ReleaseUtterances)


def test_a_client_that_is_awaited_answers_nothing_so_the_operator_is_asked_at_once() -> None:
    """The words in hand are the operator's, with the operator's limit."""
    talk = Talk(LOST)
    talk.caller("Hello?", at=1.0)
    talk(ADA, at=2.0)
    assert by(talk) == [By.HUMAN]
    assert talk.call.phase is Phase.CLIENT_ANSWERING


def test_the_answering_machine_is_relieved_at_its_pause_or_now() -> None:
    """At its pause the operator listens with the caller; now the operator answers what the caller has last said."""
    at_pause, now = Talk(AWAY), Talk(AWAY)
    for talk in (at_pause, now):
        talk.caller("Is Ada there?", at=1.0)
    at_pause(ADA, at=2.0)
    at_pause.answer("She is not.", at=3.0)
    assert by(at_pause) == [By.ANSWERING_MACHINE]
    assert at_pause.call.phase is Phase.CLIENT_LISTENING
    now(NOW, at=2.0)
    assert by(now) == [By.ANSWERING_MACHINE, By.HUMAN]
    assert now.of(StartTurn)[-1].request.history[-1].text == "Is Ada there?"
    assert outcomes(now) == [("machine", "taken_over")]


def test_an_answering_machine_that_listens_is_relieved_at_once() -> None:
    """And one that was about to hang up, or that fails, hangs up no more."""
    listening, leaving, failing = Talk(AWAY), Talk(AWAY), Talk(AWAY)
    for talk in (listening, leaving, failing):
        talk.caller("Is Ada there?", at=1.0)
    listening.answer("A message?", at=2.0)
    listening(ADA, at=3.0)
    assert listening.call.phase is Phase.CLIENT_LISTENING
    leaving(ADA, at=2.0)
    leaving(GoodbyeSaid(2), at=2.5)
    leaving.answer("Goodbye.", at=3.0)
    assert leaving.call.phase is Phase.CLIENT_LISTENING
    failing(ADA, at=2.0)
    failing(TurnFailed(2, Reason.CLIENT_FAILED), at=3.0)
    assert by(failing) == [By.ANSWERING_MACHINE, By.HUMAN]


def test_an_operator_goes_before_a_client_that_claims_the_call() -> None:
    """The claim is forgotten with it: the call is the client's again when it is handed back."""
    talk = Talk(AWAY)
    talk.caller("Is Ada there?", at=1.0)
    talk(AvailabilityChanged(HERE), at=2.0)
    talk(CallClaimed(), at=2.0)
    talk(ADA, at=2.0)
    talk.answer("A message?", at=3.0)
    assert talk.call.answering is By.HUMAN
    talk(BACK, at=4.0)
    talk.caller("Hello?", at=5.0)
    assert by(talk) == [By.ANSWERING_MACHINE, By.CLIENT]


def test_a_second_operator_is_asked_instead_of_the_first() -> None:
    """The turn in hand goes over; the same operator again changes nothing."""
    talk = Talk()
    talk(ADA, at=1.0)
    talk.caller("Hello?", at=2.0)
    assert talk(NOW, at=3.0) == []
    talk(CallTakenOver("ben"), at=4.0)
    assert by(talk) == [By.HUMAN, By.HUMAN]
    assert outcomes(talk) == [("human", "taken_over")]
    assert talk(BACK, at=5.0) == []
    assert talk(OperatorTyping("ada"), at=5.0) == []
    assert [text for _who, text in talk.history].count(TAKEN_NOTE) == 1


def test_the_caller_hears_of_it_where_the_settings_say_so() -> None:
    """Once, before what the operator says, and not into the client's answer."""
    talk = Talk(policy=NOTICE)
    talk.caller("When do you open?", at=1.0)
    talk(PieceSaid(1, "At nine."), at=2.0)
    talk(ADA, at=2.5)
    talk(says("And on Sundays at ten."), at=2.6)
    talk(TurnFinished(1), at=3.0)
    assert spoken(talk) == ["At nine.", "You are now talking to a person.", "And on Sundays at ten."]
    talk(CallTakenOver("ben"), at=4.0)
    assert spoken(talk)[3:] == []
    assert ("relay", "You are now talking to a person.") in talk.history


def test_after_a_barge_in_the_notice_waits_for_the_operator() -> None:
    """Nothing is said into what the caller is saying."""
    talk = Talk(policy=NOTICE)
    talk.caller("When do you open?", at=1.0)
    talk(PieceSaid(1, "At nine on"), at=2.0)
    talk(ADA, at=2.5)
    assert [each for each in talk(CallerBargedIn("At nine"), at=3.0) if isinstance(each, Speak)] == []
    talk.caller("Stop.", at=4.0)
    assert spoken(talk)[1:] == ["You are now talking to a person."]
    assert by(talk)[-1] is By.HUMAN


def test_a_callee_who_is_screened_is_the_operators_when_somebody_is_there() -> None:
    """Nothing is said before, and the greeting comes first."""
    talk = Talk(screened=True, direction=Direction.OUTBOUND, greeting="Hello, this is the shop.", policy=NOTICE)
    assert talk(ADA, at=1.0) == []
    assert talk(says("I am Ada."), at=1.0) == []
    assert talk.call.answering is None
    talk(CalleeRecognised(Callee.HUMAN), at=2.0)
    assert spoken(talk) == ["Hello, this is the shop.", "You are now talking to a person.", "I am Ada."]
    assert talk.call.answering is By.HUMAN


# ── while the operator has the call ─────────────────────────────────────────────────────────────────────────────────


def test_the_caller_hears_the_fillers_while_the_operator_writes() -> None:
    """As while a client thinks, and from the caller's newest utterance on."""
    talk = Talk(policy=Policy(phrases=Phrases(filler=("One moment.",), long_filler="I am still looking.")))
    talk(ADA, at=1.0)
    talk.caller("Are you there?", at=2.0)
    talk(DeadlinePassed(), at=4.5)
    talk(DeadlinePassed(), at=7.0)
    assert spoken(talk) == ["One moment.", "I am still looking."]


def test_typing_renews_the_limit_and_then_the_client_is_asked() -> None:
    """The client gets the words with its whole limit, and the operator loses the call."""
    talk = Talk(policy=Policy(filler_after=100, long_filler_after=200))
    talk(ADA, at=1.0)
    talk.caller("Are you there?", at=2.0)
    talk(OperatorTyping("ada"), at=40.0)
    assert talk.call.deadline == 85.0
    commands = talk(DeadlinePassed(), at=85.0)
    assert EndSeat("ada") in commands
    assert outcomes(talk) == [("human", "human_timeout")]
    assert by(talk) == [By.HUMAN, By.CLIENT]
    request = talk.of(StartTurn)[-1].request
    assert [line.text for line in request.history] == [TAKEN_NOTE, SILENT_NOTE, "Are you there?"]
    assert request.answer_within == 8.0
    assert talk.call.answering is By.CLIENT


def test_without_a_client_the_answering_machine_is_next() -> None:
    """The words that the operator did not answer are a message before it speaks."""
    talk = Talk(AWAY)
    talk(ADA, at=1.0)
    talk.caller("Are you there?", at=2.0)
    talk(DeadlinePassed(), at=47.0)
    assert talk.message.body == "Are you there?"
    assert by(talk) == [By.HUMAN, By.ANSWERING_MACHINE]


def test_typing_keeps_the_relay_from_asking_whether_the_caller_is_there() -> None:
    """The caller is silent because the operator is about to speak."""
    talk = Talk()
    talk(ADA, at=0.0)
    talk(OperatorTyping("ada"), at=10.0)
    assert talk.call.deadline == 25.0


def test_an_interrupted_operator_is_asked_again_with_the_callers_new_words() -> None:
    """As after any barge-in: words of which no answer was heard stay unanswered."""
    talk = Talk()
    talk(ADA)
    talk.caller("When do you open?", at=1.0)
    talk(CallerBargedIn(""), at=2.0)
    talk.caller("On Sundays.", at=3.0)
    assert by(talk) == [By.HUMAN, By.HUMAN]
    talk(says("At ten."), at=4.0)
    talk(CallerBargedIn("At"), at=4.5)
    assert talk.history[-1] == ("operator", "At")


def test_a_line_that_is_typed_when_no_turn_runs_answers_what_is_unanswered() -> None:
    """The caller interrupted and says nothing: the operator's next words are the answer, and nobody is asked again."""
    talk = Talk()
    talk(ADA)
    talk.caller("When do you open?", at=1.0)
    talk(CallerBargedIn(""), at=2.0)
    assert ReleaseUtterances(1) in talk(says("At nine."), at=3.0)
    talk(DeadlinePassed(), at=30.0)
    assert by(talk) == [By.HUMAN]


# ── saying something in a client's call ─────────────────────────────────────────────────────────────────────────────


def test_what_an_operator_says_while_the_call_listens_is_said_at_once() -> None:
    """The call stays the client's, which sees in its next turn what was said."""
    talk = Talk()
    assert talk(says("We close in five minutes."), at=1.0) == [Speak("We close in five minutes.", last=True)]
    talk.caller("Thank you.", at=2.0)
    assert by(talk) == [By.CLIENT]
    history = talk.of(StartTurn)[0].request.history
    assert (history[0].speaker, history[0].text) == (Speaker.OPERATOR, "We close in five minutes.")


def test_what_an_operator_says_while_somebody_answers_is_said_after_it() -> None:
    """Also after the sentence of a client that has not begun."""
    talk = Talk()
    talk.caller("When do you open?", at=1.0)
    assert talk(says("We are closed today."), at=1.5) == []
    talk.answer("At nine.", at=2.0)
    assert spoken(talk) == ["At nine.", "We are closed today."]
    assert talk.call.phase is Phase.CLIENT_LISTENING


def test_what_waits_is_said_before_last_words() -> None:
    """The operator has typed it before the client hung up, or the call was passed on."""
    for event in (HangUpRequested("Goodbye."), TransferRequested("{}")):
        talk = Talk()
        talk.caller("When do you open?", at=1.0)
        talk(says("We are closed today."), at=1.5)
        talk(event, at=2.0)
        assert spoken(talk)[0] == "We are closed today."


def test_what_waits_is_said_when_nothing_follows_an_interruption() -> None:
    """Where the caller neither says anything nor has something to be answered."""
    talk = Talk()
    talk.caller("When do you open?", at=1.0)
    talk(says("We are closed today."), at=1.5)
    talk(PieceSaid(1, "At nine."), at=2.0)
    talk(CallerBargedIn("At nine"), at=2.5)
    assert talk(DeadlinePassed(), at=30.0) == [Speak("We are closed today.", last=True)]


def test_no_more_lines_wait_than_a_caller_would_listen_to() -> None:
    """The rest is not taken, which is seen beforehand."""
    talk = Talk()
    talk.caller("When do you open?", at=1.0)
    for number in range(MOST_WAITING + 5):
        assert talk.call.has_room_to_say == (number < MOST_WAITING)
        talk(says(f"Line {number}."), at=1.5)
    talk.answer("At nine.", at=2.0)
    assert len(spoken(talk)) == 1 + MOST_WAITING


def test_dots_are_not_said_and_answer_nothing() -> None:
    """A voice is silent at them."""
    talk = Talk()
    talk(ADA)
    talk.caller("Hello?", at=1.0)
    assert talk(says("..."), at=2.0) == []
    assert talk.call.phase is Phase.CLIENT_ANSWERING


# ── handing back ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_client_learns_what_a_person_said() -> None:
    """Its next request has it, between the note that the call was taken and the one that it is its own again."""
    talk = Talk()
    talk(ADA, at=1.0)
    talk.caller("Are you a person?", at=2.0)
    talk(says("Yes, I am Ada."), at=3.0)
    assert talk(BACK, at=4.0) == []
    talk.caller("Thank you.", at=5.0)
    assert by(talk) == [By.HUMAN, By.CLIENT]
    history = talk.of(StartTurn)[-1].request.history
    assert [line.text for line in history] == [
        TAKEN_NOTE,
        "Are you a person?",
        "Yes, I am Ada.",
        SPOKE_NOTE,
        "Thank you.",
    ]


def test_words_in_hand_are_asked_again() -> None:
    """Of the client, which has its whole limit, and with the fillers from the beginning."""
    talk = Talk()
    talk(ADA, at=1.0)
    talk.caller("Are you a person?", at=2.0)
    commands = talk(BACK, at=22.0)
    assert CancelTurn(1) in commands
    assert outcomes(talk) == [("human", "handed_back")]
    assert talk.of(StartTurn)[-1].request.answer_within == 8.0
    talk.answer("No.", at=23.0)
    assert talk.call.summary.turns_by == {"client": 1}


def test_words_of_an_interrupted_turn_are_asked_again_unless_the_caller_speaks() -> None:
    """They are in hand while the call listens."""
    talk = Talk()
    talk(ADA, at=1.0)
    talk.caller("Are you a person?", at=2.0)
    talk(CallerBargedIn(""), at=3.0)
    talk(BACK, at=4.0)
    assert by(talk) == [By.HUMAN, By.CLIENT]


def test_a_call_that_waits_for_its_pause_can_be_left_alone() -> None:
    """Nothing has happened then: no note, and the client goes on."""
    talk = Talk(policy=NOTICE)
    talk.caller("When do you open?", at=1.0)
    talk(ADA, at=2.0)
    assert talk(BACK, at=3.0) == []
    talk.answer("At nine.", at=4.0)
    assert spoken(talk) == ["At nine."]
    assert [who for who, _text in talk.history] == ["caller", "agent"]


def test_a_notice_that_was_not_heard_is_not_said_after_the_operator_has_left() -> None:
    """The caller does not talk to a person any more."""
    talk = Talk(policy=NOTICE)
    talk.caller("When do you open?", at=1.0)
    talk(PieceSaid(1, "At nine"), at=1.5)
    talk(ADA, at=2.0)
    talk(CallerBargedIn("At"), at=3.0)
    talk(BACK, at=3.5)
    talk.caller("Well?", at=4.0)
    assert spoken(talk) == ["At nine"]


def test_a_turn_that_no_operator_holds_is_the_clients() -> None:
    """The seat was given up in the same moment: who is there is asked."""
    talk = Talk()
    talk(ADA, at=1.0)
    talk.caller("Hello?", at=2.0)
    assert EndSeat("ada") in talk(TurnFailed(1, Reason.CLIENT_LEFT), at=2.0)
    assert by(talk) == [By.HUMAN, By.CLIENT]


# ── the end, and another session ────────────────────────────────────────────────────────────────────────────────────


def test_an_operator_hangs_up_with_last_words() -> None:
    """They are the operator's in the transcript, and the session ends when they were heard."""
    talk = Talk()
    talk(HangUpRequested("We are closing now. Goodbye.", "ada"), at=1.0)
    assert talk.history == [("operator", "We are closing now. Goodbye.")]
    assert talk.call.phase is Phase.GOODBYE
    talk.wait()
    assert talk.of(EndSession)


def test_nothing_can_be_taken_or_said_into_last_words() -> None:
    """The call is ending."""
    talk = Talk()
    talk(HangUpRequested("Goodbye."), at=1.0)
    for event in (NOW, says("Wait!"), BACK, OperatorTyping("ada")):
        assert talk(event, at=1.0) == []
    assert talk.call.answering is None


def test_a_call_that_is_to_move_does_so_instead_of_asking_an_operator() -> None:
    """What the operator has in hand stays in hand, for the next session."""
    talk = Talk()
    talk(ADA, at=1.0)
    talk(MoveRequested("{}"), at=1.0)
    talk.caller("Are you there?", at=2.0)
    assert talk.call.phase is Phase.MOVING
    now = Talk()
    now(ADA, at=1.0)
    now.caller("Are you there?", at=2.0)
    now(MoveDue("{}"), at=3.0)
    now(CallerGone(1000), at=4.0)
    assert now.call.may_return
    assert now.of(ReleaseUtterances) == []


def test_words_of_an_operator_that_a_move_cuts_are_asked_about_again() -> None:
    """The caller heard a part of them at most; as with a client's answer, the question is in hand again."""
    talk = Talk()
    talk(ADA, at=1.0)
    talk.caller("When do you open?", at=2.0)
    talk(says("We open at nine on weekdays, and at ten on Sundays."), at=3.0)
    talk(MoveDue("{}"), at=3.1)
    assert [each.text for each in talk.of(HoldUtterance)] == ["When do you open?"] * 2


HISTORY = (
    Line(Speaker.RELAY, TAKEN_NOTE, STARTED, is_note=True),
    Line(Speaker.CALLER, "Are you a person?", STARTED),
    Line(Speaker.OPERATOR, "Yes, I am Ada.", STARTED),
)


def test_a_session_without_its_operator_begins_with_the_note() -> None:
    """Another node has the call now, say: its client is asked at once, and knows that a person has spoken."""
    talk = Talk(attempt=1, opened_by=HISTORY)
    talk(SessionStarted())
    (start,) = talk.of(StartTurn)
    assert start.by is By.CLIENT
    assert start.request.history[-1].text == SPOKE_NOTE


def test_a_session_without_its_operator_asks_what_is_unanswered() -> None:
    """The utterance is the last line, behind the note."""
    talk = Talk(attempt=1, opened_by=HISTORY, unanswered=(UnansweredUtterance(7, "Are you a person?"),))
    talk(SessionStarted())
    (start,) = talk.of(StartTurn)
    assert [line.text for line in start.request.history][-2:] == [SPOKE_NOTE, "Are you a person?"]


@pytest.mark.parametrize("opened_by", [HISTORY, ()], ids=["taken before", "taken meanwhile"])
def test_a_session_with_its_operator_goes_on_with_them(opened_by: tuple[Line, ...]) -> None:
    """The line was lost and is back in the same process: there is one note of it, and no second notice."""
    talk = Talk(policy=NOTICE, attempt=1, opened_by=opened_by)
    talk.call = type(talk.call)(attrs.evolve(talk.call._call), talk.policy, availability=HERE, now=0.0, operator="ada")
    talk(SessionStarted())
    assert spoken(talk) == []
    assert [text for _who, text in talk.history].count(TAKEN_NOTE) == 1
    talk.caller("Still there?", at=1.0)
    assert by(talk)[-1] is By.HUMAN
    talk(BACK, at=2.0)
    assert SPOKE_NOTE in [text for _who, text in talk.history]
