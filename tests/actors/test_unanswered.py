"""The account of a call's utterances: in hand, answered, or left as a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.call_values import Direction, Line, MessageDraft, Reason, Speaker
from actors.unanswered import UnansweredUtterances
from tests.fakes import STARTED, call_info


def account_of(**changes: object) -> UnansweredUtterances:
    return UnansweredUtterances(call_info(**changes))


def test_nothing_is_unanswered_at_first() -> None:
    """A call begins with no utterance in hand and no message."""
    account = account_of()
    assert (account.in_hand, account.is_left, account.reason) == (False, False, None)


def test_utterances_are_in_hand_until_they_are_answered() -> None:
    """An answer lets go of all words up to the newest turn, whichever turn they came in."""
    account = account_of()
    account.hold(1, "Hello?")
    account.hold(2, "Are you there?")
    assert account.in_hand
    assert account.answered() == 2
    assert not account.in_hand


def test_an_answer_to_nothing_lets_go_of_nothing() -> None:
    """Where no words are in hand there is no turn to release."""
    assert account_of().answered() is None


def test_utterances_that_will_not_be_answered_are_left() -> None:
    """All words in hand become the body, in order, and the journal may let go of them with the message."""
    account = account_of()
    account.hold(1, "Hello?")
    account.hold(3, "Are you there?")
    account.leave(Reason.CLIENT_TIMEOUT)
    assert (account.in_hand, account.is_left) == (False, True)
    draft = account.draft(())
    assert (draft.body, draft.through_turn) == ("Hello?\nAre you there?", 3)


def test_answered_utterances_are_not_left() -> None:
    """What a client answered is no part of the message."""
    account = account_of()
    account.hold(1, "What time is it?")
    account.answered()
    account.hold(2, "And the date?")
    account.leave(Reason.CLIENT_LEFT)
    assert account.draft(()).body == "And the date?"


def test_a_note_is_asked_about_and_never_left() -> None:
    """What the client was told stands until it is answered, and is nobody's utterance."""
    account = account_of()
    account.note_is_pending = True
    assert (account.is_asked, account.utterance_is_pending, account.in_hand) == (True, False, False)
    assert account.answered() is None
    assert not account.is_asked


def test_an_utterance_stands_before_a_note() -> None:
    """A client that claims the call answers what the caller said last, though it was left as a message before."""
    account = account_of()
    account.hold(1, "Hello?")
    assert account.utterance_is_pending
    account.leave(Reason.CLIENT_ABSENT)
    assert not account.utterance_is_pending
    account.note_is_pending = True
    assert account.utterance_is_pending


def test_what_waits_for_the_caller_to_come_back_is_no_message_yet() -> None:
    """It is left, but not for good; a message that was there before the line broke stays one."""
    account = account_of()
    account.hold(1, "Hello?")
    account.leave(Reason.UNANSWERED, unless_back=True)
    assert (account.is_left, account.is_final_message) == (True, False)
    before = account_of()
    before.leave(Reason.CLIENT_ABSENT)
    before.leave(Reason.UNANSWERED, unless_back=True)
    assert before.is_final_message


def test_the_first_reason_is_kept() -> None:
    """Why the caller was let down first is what the client is told."""
    account = account_of()
    account.leave(Reason.CLIENT_TIMEOUT)
    account.leave(Reason.UNANSWERED)
    assert account.draft(()).reason is Reason.CLIENT_TIMEOUT


def test_a_call_without_words_can_be_left() -> None:
    """That somebody called is a message too, with an empty body."""
    account = account_of()
    account.leave(Reason.CLIENT_ABSENT)
    draft = account.draft(())
    assert (draft.body, draft.through_turn) == ("", 0)


def test_a_message_grows() -> None:
    """What is said after it was left is added, a line each."""
    account = account_of()
    account.hold(1, "Call me back.")
    account.leave(Reason.CLIENT_ABSENT)
    account.add("After eight.")
    assert account.draft(()).body == "Call me back.\nAfter eight."


def test_what_the_answering_machine_understood_replaces_the_utterances() -> None:
    """The body becomes the answering machine's wording, without the blanks around it; wishes are kept beside it."""
    account = account_of()
    account.hold(1, "Er, hello, well, call me back, after eight.")
    account.leave(Reason.CLIENT_ABSENT)
    account.take(" Please call back. \n", " after 8 ")
    draft = account.draft(())
    assert (draft.body, draft.preferences) == ("Please call back.", "after 8")


def test_utterances_after_it_are_added_to_what_the_answering_machine_understood() -> None:
    """Until the answering machine takes them up, newer words stand below its wording."""
    account = account_of()
    account.leave(Reason.CLIENT_ABSENT)
    account.take("Please call back.", "")
    account.add("It is urgent.")
    assert account.draft(()).body == "Please call back.\nIt is urgent."


def test_a_newer_understanding_replaces_the_older_one() -> None:
    """The answering machine words the whole message each time; what was added in between is in it."""
    account = account_of()
    account.leave(Reason.CLIENT_ABSENT)
    account.take("Please call back.", "")
    account.add("It is urgent.")
    account.take("Please call back, it is urgent.", "")
    assert account.draft(()).body == "Please call back, it is urgent."


@pytest.mark.parametrize("nothing", ["", " \n"])
def test_an_empty_understanding_takes_nothing_away(nothing: str) -> None:
    """An answering machine that records nothing leaves the caller's own words, and earlier wishes, as they are."""
    account = account_of()
    account.hold(1, "Call me back.")
    account.leave(Reason.CLIENT_ABSENT)
    account.take("", "after 8")
    account.take(nothing, nothing)
    draft = account.draft(())
    assert (draft.body, draft.preferences) == ("Call me back.", "after 8")


def test_a_message_is_confirmed_once_and_only_when_it_is_durable() -> None:
    """A caller hears that the message was taken when that is true, and does not hear it twice."""
    account = account_of()
    assert not account.confirm()
    account.take("Call me back.", "")
    assert not account.confirm()
    account.take("Call me back tomorrow.", "")
    account.is_stored = True
    assert [account.confirm(), account.confirm()] == [True, False]


def test_there_is_no_message_before_something_was_left() -> None:
    """A draft of nothing cannot be built."""
    account = account_of()
    account.hold(1, "Hello?")
    with pytest.raises(ValueError, match="nothing was left"):
        account.draft(())


def test_a_message_says_whose_it_is() -> None:
    """The call, its numbers and direction, and what was said go with it; its part is the connection."""
    account = account_of(direction=Direction.OUTBOUND, attempt=1)
    transcript = (Line(Speaker.CALLER, "Hello?", STARTED),)
    account.leave(Reason.CLIENT_LEFT)
    assert account.draft(transcript) == MessageDraft(
        call_sid="CA1",
        part=2,
        agent_id="my-client",
        direction=Direction.OUTBOUND,
        reason=Reason.CLIENT_LEFT,
        caller="+15551230001",
        called="+15551230002",
        body="",
        transcript=transcript,
    )


@given(st.lists(st.one_of(st.text(min_size=1), st.none())))
def test_a_message_has_exactly_the_words_that_were_not_answered(events: list[str | None]) -> None:
    """Whatever is said and answered (None), in whatever order, the rest is left, each word once and in order."""
    account = account_of()
    unanswered: list[str] = []
    for turn, words in enumerate(events, start=1):
        if words is None:
            account.answered()
            unanswered.clear()
        else:
            account.hold(turn, words)
            unanswered.append(words)
    assert account.in_hand == bool(unanswered)
    account.leave(Reason.UNANSWERED)
    assert account.draft(()).body == "\n".join(unanswered)
