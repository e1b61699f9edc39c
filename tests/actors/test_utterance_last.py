"""Whoever is asked reads the utterance to be answered as the last line, on every way that leads to the client."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.call_values import Availability, Line, Reason, Speaker
from actors.commands import By, StartTurn
from actors.conversation import CLAIM_NOTE
from actors.events import (
    AvailabilityChanged,
    CallClaimed,
    CallerBargedIn,
    PartialPromptHeard,
    PieceSaid,
    SessionStarted,
    TurnFailed,
)
from actors.policy import Phrases, Policy
from actors.transcript import utterance_last
from tests.actors.test_conversation import Talk
from tests.fakes import STARTED

HERE, LOST, AWAY = Availability.HERE, Availability.JUST_LOST, Availability.AWAY
QUESTION = "Which day is the delivery?"
SHORT, LONG = "One moment, please.", "I am still looking for you."
LADDER = Policy(phrases=Phrases(filler=(SHORT,), long_filler=LONG))


def after_a_filler(talk: Talk) -> None:
    """Let the caller hear both fillers, then let the session fail while another one of the agent is here."""
    talk.caller(QUESTION, at=0.0)
    talk.wait()
    talk.wait()
    talk(TurnFailed(talk.turn, Reason.CLIENT_LEFT), at=5.5)


def after_a_reconnection(talk: Talk) -> None:
    """Let the client be lost before the question and come back after a filler."""
    talk(AvailabilityChanged(LOST))
    talk.caller(QUESTION, at=0.0)
    talk.wait()
    talk(AvailabilityChanged(HERE), at=3.0)


def after_a_false_barge_in(talk: Talk) -> None:
    """Let a noise cut the answer before a word of it was heard, and nothing be said after it."""
    talk.caller(QUESTION, at=0.0)
    talk.wait()
    talk(PieceSaid(talk.turn, "On Tuesday"), at=3.0)
    talk(CallerBargedIn(""), at=3.1)
    talk.wait()


def after_a_noise_over_a_filler(talk: Talk) -> None:
    """Let a noise cut a filler, then let the session fail."""
    talk.caller(QUESTION, at=0.0)
    talk.wait()
    talk(CallerBargedIn("One mo"), at=2.6)
    talk(TurnFailed(talk.turn, Reason.CLIENT_LEFT), at=2.7)


def after_the_answering_machine(talk: Talk) -> None:
    """Let the answering machine talk, then the client take the call."""
    talk(AvailabilityChanged(AWAY))
    talk.caller(QUESTION, at=0.0)
    talk.answer("May I take a message?", at=1.0)
    talk(AvailabilityChanged(HERE))
    talk(CallClaimed(), at=3.0)


def after_more_words_to_the_answering_machine(talk: Talk) -> None:
    """Let the caller say the question to the answering machine, and a client take the call afterwards."""
    talk(AvailabilityChanged(AWAY))
    talk.caller("Hello?", at=0.0)
    talk.answer("May I take a message?", at=1.0)
    talk.caller(QUESTION, at=2.0)
    talk.answer("I have written that down.", at=3.0)
    talk(AvailabilityChanged(HERE))
    talk(CallClaimed(), at=4.0)


def after_an_earlier_utterance(talk: Talk) -> None:
    """Let the question follow another one that nobody has answered yet, with a filler between the two."""
    talk.caller("Hello?", at=0.0)
    talk.wait()
    talk.caller(QUESTION, at=3.0)


@pytest.mark.parametrize(
    "lead_up",
    [
        after_a_filler,
        after_a_reconnection,
        after_a_false_barge_in,
        after_a_noise_over_a_filler,
        after_the_answering_machine,
        after_more_words_to_the_answering_machine,
        after_an_earlier_utterance,
    ],
)
def test_the_last_line_is_what_is_to_be_answered(lead_up: Callable[[Talk], None]) -> None:
    """A client that answers the last message answers the caller, never a filler, a note or its own half answer."""
    talk = Talk(policy=LADDER)
    lead_up(talk)
    start = talk.of(StartTurn)[-1]
    assert start.by is By.CLIENT
    history = start.request.history
    assert (history[-1].speaker, history[-1].text) == (Speaker.CALLER, QUESTION)
    assert sorted(history, key=str) == sorted(talk.call.transcript, key=str), "nothing is left out"


def test_a_note_comes_last_where_no_utterance_waits() -> None:
    """A caller who is back from a transfer has asked nothing: what happened is what the client speaks about."""
    before = (Line(Speaker.CALLER, "A human, please.", STARTED), Line(Speaker.AGENT, "One second.", STARTED))
    talk = Talk(note="The transfer was not answered.", attempt=1, opened_by=before)
    talk.commands += talk.call.handle(SessionStarted(), 0.0)
    assert [line.text for line in talk.of(StartTurn)[-1].request.history][-1] == "The transfer was not answered."


def test_a_note_comes_after_a_filler_that_the_caller_heard_meanwhile() -> None:
    """A client that is waited for reads what it is to speak about last, as ever."""
    talk = Talk(LOST, policy=LADDER, note="The transfer was not answered.", attempt=1)
    talk.commands += talk.call.handle(SessionStarted(), 0.0)
    talk.wait()
    talk(AvailabilityChanged(HERE), at=3.0)
    history = talk.of(StartTurn)[-1].request.history
    assert [line.text for line in history] == [SHORT, "The transfer was not answered."]


def test_a_client_that_takes_a_call_without_a_word_of_the_caller_reads_the_note_last() -> None:
    """There is nothing else to answer."""
    talk = Talk(AWAY, note="The transfer was not answered.", attempt=1)
    talk.commands += talk.call.handle(SessionStarted(), 0.0)
    talk.turn = talk.of(StartTurn)[-1].request.turn
    talk.answer("May I take a message?")
    talk(AvailabilityChanged(HERE))
    talk(CallClaimed(), at=3.0)
    assert talk.of(StartTurn)[-1].request.history[-1].text == CLAIM_NOTE


def test_lines_without_a_caller_stay_as_they_are() -> None:
    """There is no utterance to be moved."""
    lines = (Line(Speaker.AGENT, "Hello.", STARTED), Line(Speaker.RELAY, SHORT, STARTED))
    assert utterance_last(lines) == lines
    assert utterance_last(()) == ()


def test_partial_words_are_no_utterance_to_answer() -> None:
    """What is not final is not moved to the end, because it is not in the history."""
    talk = Talk(policy=LADDER)
    talk.caller(QUESTION, at=0.0)
    talk(PartialPromptHeard("and"), at=0.1)
    assert talk.of(StartTurn)[-1].request.history[-1].text == QUESTION
