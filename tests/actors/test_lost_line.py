"""A line that breaks while the call goes on: what is unanswered is asked again when the caller is back."""

from __future__ import annotations

import pytest

from actors.call_values import Availability, Reason, UnansweredUtterance
from actors.commands import (
    CancelTurn,
    HoldUtterance,
    NoteTurn,
    ReleaseUtterances,
    Speak,
    StartTurn,
    StoreMessage,
)
from actors.events import (
    CallerGone,
    DrainRequested,
    Event,
    HangUpRequested,
    PartialPromptHeard,
    PieceSaid,
    SessionFailed,
    SessionStarted,
    SpeechPlayed,
    TransferRequested,
)
from tests.actors.test_conversation import Talk, kinds


def returned(talk: Talk, availability: Availability = Availability.HERE, greeting: str = "") -> Talk:
    """Bring the caller of a lost line back on a new one."""
    lost = talk.of(StoreMessage)[-1].unless_back
    assert lost is not None
    back = Talk(availability, attempt=1, opened_by=talk.call.transcript, unanswered=lost, greeting=greeting)
    for command in back.call.handle(SessionStarted(), 0.0):
        back.commands.append(command)
        if isinstance(command, StartTurn):
            back.turn = command.request.turn
    return back


def test_a_question_in_hand_waits_for_the_caller_s_return() -> None:
    """The line broke, and perhaps the call goes on: it is a message only unless the caller is back."""
    talk = Talk()
    talk.caller("Which day is the delivery?")
    assert kinds(talk(CallerGone(1006))) == [CancelTurn, NoteTurn, StoreMessage]
    (left,) = talk.of(StoreMessage)
    assert left.unless_back == (UnansweredUtterance(1, "Which day is the delivery?"),)
    assert (left.draft.body, left.draft.reason) == ("Which day is the delivery?", Reason.UNANSWERED)
    assert (talk.call.may_return, talk.call.summary.left_message) == (True, False)


def test_the_question_is_asked_again_before_anything_else() -> None:
    """A caller who is back hears the answer without a word, and the words are let go of under their old turn."""
    talk = Talk()
    talk.caller("Which day is the delivery?")
    talk(CallerGone(None))
    back = returned(talk, greeting="We were cut off.")
    (start,) = back.commands
    assert isinstance(start, StartTurn)
    assert start.request.turn > 100_000
    assert start.request.history[-1].text == "Which day is the delivery?"
    assert kinds(back.answer("On Tuesday.", at=1.0)) == [Speak, NoteTurn, Speak, ReleaseUtterances]
    assert back.of(ReleaseUtterances)[0].through_turn == 1
    assert back(CallerGone(1000), at=2.0) == []


def test_an_answer_that_had_begun_is_asked_for_again_with_what_was_heard() -> None:
    """The client reads how far its first answer came; nothing that the line swallowed counts as said."""
    talk = Talk()
    talk.caller("Which day is the delivery?")
    talk(PieceSaid(talk.turn, "On Tuesday, "))
    talk(PieceSaid(talk.turn, "between nine and ten."))
    talk(SpeechPlayed("On Tuesday, "))
    talk(CallerGone(1006))
    history = returned(talk).of(StartTurn)[0].request.history
    assert [line.text for line in history] == ["On Tuesday,", "Which day is the delivery?"]


def test_unfinished_utterances_are_durable_while_their_caller_is_gone() -> None:
    """They are no message yet, so they are held like any other utterance."""
    talk = Talk()
    talk(PartialPromptHeard("Please tell her"))
    assert kinds(talk(CallerGone(1006))) == [HoldUtterance, StoreMessage]
    assert returned(talk).of(StartTurn)[0].request.history[-1].text == "Please tell her"


def test_a_caller_who_is_back_and_finds_the_client_away_leaves_the_question() -> None:
    """The paths go downwards as ever."""
    talk = Talk()
    talk.caller("Which day is the delivery?")
    talk(CallerGone(1006))
    back = returned(talk, Availability.AWAY)
    assert kinds(back.commands) == [StoreMessage, Speak, StartTurn]
    assert back.message.body == "Which day is the delivery?"


def test_a_note_that_nobody_took_up_is_repeated() -> None:
    """A line that breaks after a transfer came back does not make the client forget the transfer."""
    talk = Talk(note="The transfer was not answered.", attempt=1)
    talk.commands += talk.call.handle(SessionStarted(), 0.0)
    talk(CallerGone(1006))
    back = Talk(attempt=2, opened_by=talk.call.transcript)
    (start,) = back.call.handle(SessionStarted(), 0.0)
    assert isinstance(start, StartTurn)
    assert start.request.history[-1].text == "The transfer was not answered."


@pytest.mark.parametrize("code", [None, 1001, 1005, 1006, 1011, 1012, 4000])
def test_a_line_that_was_answered_on_and_breaks_owes_nothing(code: int | None) -> None:
    """The caller may be back, and there is nothing to ask again."""
    talk = Talk()
    talk.caller("What time is it?")
    talk.answer("Nine.")
    assert talk(CallerGone(code)) == []
    assert talk.call.may_return


@pytest.mark.parametrize("end", [HangUpRequested("Goodbye."), TransferRequested("{}"), DrainRequested()])
def test_a_line_that_breaks_while_last_words_are_said_does_not_come_back(end: Event) -> None:
    """The call was to end: what is unanswered is left at once."""
    talk = Talk()
    talk.caller("Hello?")
    talk(end)
    talk(CallerGone(1006))
    assert not talk.call.may_return
    assert all(left.unless_back is None for left in talk.of(StoreMessage))


def test_a_crash_leaves_the_question_at_once() -> None:
    """Nobody knows what a broken call session would do with it a second time."""
    talk = Talk()
    talk.caller("Hello?")
    (left,) = [each for each in talk.call.handle(SessionFailed(), 1.0) if isinstance(each, StoreMessage)]
    assert left.unless_back is None
