"""A call that moves: it goes on as ever until its caller has finished speaking, then the next session has it."""

from __future__ import annotations

import pytest

from actors.call_values import Callee, CallOutcome, Direction, Reason, Speaker, UnansweredUtterance
from actors.commands import (
    By,
    CancelTurn,
    CloseLine,
    EndSession,
    HoldUtterance,
    NoteTurn,
    ReleaseUtterances,
    Speak,
    StartTurn,
    StoreMessage,
    TurnOutcome,
)
from actors.conversation import CLAIM_NOTE
from actors.events import (
    AvailabilityChanged,
    CallClaimed,
    CalleeRecognised,
    CallerBargedIn,
    CallerGone,
    DigitPressed,
    DrainRequested,
    Event,
    HangUpRequested,
    MoveDue,
    MoveRequested,
    PartialPromptHeard,
    PieceSaid,
    SessionStarted,
    SpeechPlayed,
    TransferRequested,
    TurnFailed,
)
from actors.phases import Phase
from tests.actors.test_conversation import AWAY, HERE, LOST, Talk, kinds
from tests.actors.test_lost_line import returned

HANDOFF = '{"moving":true}'
ASKED = MoveRequested(HANDOFF)
NOW = MoveDue(HANDOFF)
MOVES = EndSession(HANDOFF)


def test_a_call_moves_when_its_caller_has_just_finished_speaking() -> None:
    """The words are durable, nobody is asked, and the carrier is sent for the next session."""
    talk = Talk()
    assert talk(ASKED) == []
    assert talk.caller("Which day is the delivery?") == [HoldUtterance(1, "Which day is the delivery?"), MOVES]
    assert talk.call.phase is Phase.MOVING


def test_until_then_it_goes_on_as_ever() -> None:
    """The client that has the turn answers it, and is heard to its end."""
    talk = Talk()
    talk.caller("What time is it?")
    talk(ASKED)
    assert kinds(talk.answer("Nine.")) == [Speak, NoteTurn, Speak, ReleaseUtterances]
    assert talk.call.phase is Phase.CLIENT_LISTENING


def test_the_words_are_asked_in_the_next_session_before_anything_else() -> None:
    """The caller need not repeat them; they are a message only if nobody comes back."""
    talk = Talk()
    talk(ASKED)
    talk.caller("Which day is the delivery?")
    assert kinds(talk(CallerGone(1000))) == [StoreMessage]
    (left,) = talk.of(StoreMessage)
    assert left.unless_back == (UnansweredUtterance(1, "Which day is the delivery?"),)
    assert (talk.call.may_return, talk.call.summary.outcome) == (True, CallOutcome.MOVED)
    assert not talk.call.summary.left_message
    (start,) = returned(talk).commands
    assert isinstance(start, StartTurn)
    assert start.request.history[-1].text == "Which day is the delivery?"


def test_a_silent_call_moves_when_it_is_due() -> None:
    """Nothing is said, and there is nothing to ask again."""
    talk = Talk()
    talk(ASKED)
    assert talk(NOW, at=8.0) == [MOVES]
    assert talk(CallerGone(1000), at=8.1) == []
    assert talk.call.may_return


def test_an_answer_that_is_cut_is_asked_for_again_with_what_was_heard() -> None:
    """The turn is stopped without a word more, and its question stays in hand."""
    talk = Talk()
    talk.caller("Which day is the delivery?")
    talk(PieceSaid(talk.turn, "On Tuesday, "))
    talk(PieceSaid(talk.turn, "between nine and ten."))
    talk(SpeechPlayed("On Tuesday, "))
    turn = talk.turn
    commands = talk(NOW)
    assert kinds(commands) == [CancelTurn, NoteTurn, EndSession]
    assert (commands[0], commands[1]) == (
        CancelTurn(turn),
        NoteTurn(turn=turn, by=By.CLIENT, outcome=TurnOutcome.MOVED, first_word=0.0),
    )
    talk(CallerGone(1000))
    history = returned(talk).of(StartTurn)[0].request.history
    assert [line.text for line in history] == ["On Tuesday,", "Which day is the delivery?"]


def test_a_sentence_that_was_heard_stays_in_the_transcript() -> None:
    """Also where the carrier reports nothing of what it plays: then the length of the text says that it was heard."""
    talk = Talk()
    talk.caller("What time is it?")
    talk.answer("Nine.")
    talk(NOW, at=10.0)
    assert talk.history[-1] == ("agent", "Nine.")


def test_an_answer_that_is_cut_while_it_is_heard_is_asked_for_again_too() -> None:
    """It was complete, and its question released, before it was heard; the next client reads how far it came."""
    talk = Talk()
    talk.caller("What time is it?")
    talk.answer("Nine. ", "The shop opens at ten.")
    talk(SpeechPlayed("Nine. "))
    assert talk(NOW) == [HoldUtterance(2, "What time is it?"), MOVES]
    talk(CallerGone(1000))
    history = returned(talk).of(StartTurn)[0].request.history
    assert [line.text for line in history] == ["Nine.", "What time is it?"]


def test_a_sentence_of_the_relay_that_is_cut_asks_nothing_again() -> None:
    """Only a client's answer is worth asking for twice."""
    talk = Talk()
    talk.caller("What time is it?")
    talk.answer("Nine.")
    talk.wait()
    assert talk.history[-1] == ("relay", "Are you still there?")
    assert talk(NOW) == [MOVES]
    assert talk.history[-1] == ("agent", "Nine.")


def test_a_caller_who_waits_for_a_client_moves_at_once() -> None:
    """The caller has finished speaking, and nobody has begun to answer."""
    talk = Talk(LOST)
    talk.caller("Hello?")
    assert talk(ASKED) == [MOVES]


def test_a_client_that_leaves_with_the_turn_takes_the_call_with_it() -> None:
    """No other client here is asked, and no message is left: it may be on its way to where the call goes."""
    talk = Talk()
    talk.caller("Hello?")
    talk(ASKED)
    talk(AvailabilityChanged(AWAY))
    assert kinds(talk(TurnFailed(talk.turn, Reason.CLIENT_LEFT))) == [NoteTurn, EndSession]


def test_a_client_that_fails_is_followed_by_the_next_path_as_ever() -> None:
    """A call does not move because of an answer that is none: there it would fail again."""
    talk = Talk()
    talk.caller("Hello?")
    talk(ASKED)
    assert kinds(talk(TurnFailed(talk.turn, Reason.CLIENT_FAILED))) == [NoteTurn, StoreMessage, Speak, StartTurn]


def test_a_question_that_a_false_barge_in_cut_short_is_asked_elsewhere() -> None:
    """Instead of the client here, the one there is asked again."""
    talk = Talk()
    talk.caller("Hello?")
    talk(ASKED)
    talk(CallerBargedIn(""))
    assert talk.wait() == [MOVES]
    talk(CallerGone(1000))
    assert [each.text for each in talk.of(StoreMessage)[-1].unless_back or ()] == ["Hello?"]


def test_keys_move_a_call_like_words() -> None:
    """A row of keys is an utterance when it is complete."""
    talk = Talk()
    talk(ASKED)
    talk(DigitPressed("4"))
    assert talk(DigitPressed("#")) == [HoldUtterance(1, "4"), MOVES]


def test_what_is_said_while_the_session_is_being_ended_is_held() -> None:
    """Words, keys and half a sentence: each is durable, and is asked in the next session."""
    talk = Talk()
    talk(NOW)
    assert talk.caller("One more thing.") == [HoldUtterance(1, "One more thing.")]
    talk(DigitPressed("7"))
    talk(PartialPromptHeard("and please"))
    assert kinds(talk(CallerGone(1006))) == [HoldUtterance, StoreMessage]
    assert [each.text for each in talk.of(StoreMessage)[-1].unless_back or ()] == ["One more thing.", "and please 7"]


def test_a_carrier_that_does_not_end_the_session_is_not_waited_for() -> None:
    """The line is closed, and the caller may be back all the same."""
    talk = Talk()
    talk.caller("Hello?")
    talk(NOW)
    assert kinds(talk.wait()) == [CloseLine, StoreMessage]
    assert talk.call.may_return


# ── the answering machine ───────────────────────────────────────────────────────────────────────────────────────────


def test_words_for_the_answering_machine_are_asked_elsewhere() -> None:
    """They are held and not added to the message: where the call goes there may be a client."""
    talk = Talk(AWAY)
    talk.caller("Is Ada there?")
    talk.answer("No. What may I tell her?")
    stored = len(talk.of(StoreMessage))
    talk(ASKED)
    assert kinds(talk.caller("The key is under the mat.")) == [HoldUtterance, EndSession]
    talk(CallerGone(1000))
    (left,) = talk.of(StoreMessage)[stored:]
    assert [each.text for each in left.unless_back or ()] == ["The key is under the mat."]
    assert left.draft.body == "Is Ada there?\nThe key is under the mat."
    assert talk.call.summary.left_message


def test_an_answering_machine_is_cut_short_when_the_call_is_due() -> None:
    """What it answers is in a message already, so nothing is in hand."""
    talk = Talk(AWAY)
    talk.caller("Is Ada there?")
    assert kinds(talk(NOW)) == [CancelTurn, NoteTurn, EndSession]
    assert talk(CallerGone(1000)) == []


def test_a_claim_goes_with_the_call() -> None:
    """The client that has claimed it is asked at once where it goes, with the note that the call is its own."""
    talk = Talk(AWAY)
    talk.caller("Is Ada there?")
    talk(AvailabilityChanged(HERE))
    talk(CallClaimed())
    talk(NOW)
    talk(CallerGone(1000))
    back = Talk(attempt=1, opened_by=talk.call.transcript)
    (start,) = back.call.handle(SessionStarted(), 0.0)
    assert isinstance(start, StartTurn)
    assert (start.by, start.request.history[-1].text) == (By.CLIENT, CLAIM_NOTE)
    assert start.request.history[-1].speaker is Speaker.RELAY


def test_a_claim_of_a_listening_call_is_served_elsewhere() -> None:
    """The client is asked there instead of here."""
    talk = Talk(AWAY)
    talk.caller("Is Ada there?")
    talk.answer("No.")
    talk(AvailabilityChanged(HERE))
    talk(ASKED)
    assert talk(CallClaimed()) == [MOVES]


# ── what does not move ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("end", [HangUpRequested("Goodbye."), TransferRequested("{}"), DrainRequested()])
@pytest.mark.parametrize("move", [ASKED, NOW])
def test_a_call_that_ends_does_not_move(end: Event, move: Event) -> None:
    """Its last words are said, or its transfer is dialled, here."""
    talk = Talk()
    talk.caller("Hello?")
    talk(end)
    phase = talk.call.phase
    assert talk(move) == []
    assert talk.call.phase is phase


def test_a_transfer_of_a_call_that_is_to_move_goes_first() -> None:
    """The carrier is handed the transfer, and nothing of a move."""
    talk = Talk()
    talk(ASKED)
    assert talk(TransferRequested('{"transfer":{}}')) == [EndSession('{"transfer":{}}')]


def test_a_callee_who_is_not_recognised_yet_is_screened_again() -> None:
    """What is heard meanwhile moves nothing; when the call is due, the next session begins as this one did."""
    talk = Talk(screened=True, direction=Direction.OUTBOUND, greeting="Good morning.")
    talk(ASKED)
    assert talk.caller("Hello, this is") == []
    assert talk(NOW) == [MOVES]
    assert talk.call.is_screening


def test_a_callee_who_was_recognised_is_greeted_and_not_screened_again() -> None:
    """A move that is requested does not hold up the greeting."""
    talk = Talk(screened=True, direction=Direction.OUTBOUND, greeting="Good morning.")
    talk(ASKED)
    assert kinds(talk(CalleeRecognised(Callee.HUMAN))) == [Speak]
    assert not talk.call.is_screening
