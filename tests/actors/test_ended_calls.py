"""The last calls that are over, as they were decided."""

from __future__ import annotations

from actors.call_values import CallOutcome
from actors.commands import Speak
from actors.ended_calls import EndedCall, EndedCalls
from actors.events import FrameAccepted, HangUpRequested, UtteranceHeard
from actors.phases import Phase
from actors.trace import Trace, WallClock
from tests.fakes import STARTED, call_info


def ended(call_sid: str = "CA1", *, words: bool = True, steps: int = 1) -> EndedCall:
    trace = Trace(WallClock(0.0, STARTED))
    for _ in range(steps):
        trace.note(UtteranceHeard("Good bye now"), [], 1.0, Phase.GOODBYE, 1.0)
    trace.note(FrameAccepted(), [], 2.0, Phase.GOODBYE, 2.0)
    trace.note(HangUpRequested("Bye."), [Speak("Bye.", last=True)], 3.0, Phase.GOODBYE, 3.0)
    return EndedCall.of(call_info(call_sid=call_sid), CallOutcome.ENDED, trace, now=4.0, words=words)


def test_an_ended_call_is_kept_as_sentences() -> None:
    """With what happened when; without words, where they are not to be kept."""
    call = ended()
    assert [(each.at, each.kind, each.text) for each in call.decisions] == [
        (1.0, "party", "The caller said 3 words."),
        (3.0, "client", "The client asked to hang up; said 'Bye.'"),
    ]
    assert (call.call_sid, call.outcome, call.ended) == ("CA1", CallOutcome.ENDED, 4.0)
    assert [each.text for each in ended(words=False).decisions][1:] == ["The client asked to hang up; said 1 word."]


def test_the_newest_are_kept() -> None:
    """A later session of a call takes the place of the earlier one; the oldest calls make room."""
    calls = EndedCalls(max_calls=2)
    for call_sid in ("CA1", "CA2", "CA1", "CA3"):
        calls.keep(ended(call_sid))
    assert [each.call_sid for each in calls.newest_first()] == ["CA3", "CA1"]
    assert (calls.find("CA2"), len(calls)) == (None, 2)


def test_they_take_no_more_than_so_many_bytes() -> None:
    """Long calls push out more of the others."""
    calls = EndedCalls(max_bytes=3 * ended().size)
    for number in range(3):
        calls.keep(ended(f"CA{number}"))
    assert len(calls) == 3
    calls.keep(ended("CA9", steps=5))
    assert next(each.call_sid for each in calls.newest_first()) == "CA9"
    assert len(calls) < 3
