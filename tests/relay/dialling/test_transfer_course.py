from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.transfer import TransferOutcome
from relay.calls import TransferResult
from relay.dialling.handoff import Handoff
from relay.dialling.transfer_course import Course, Stage, note_for, outcome_of
from tests.relay.dialling.parties import PERSON, agent

STATUSES = ("completed", "answered", "busy", "no-answer", "failed", "canceled", "something-new")


def result(**changes: Any) -> TransferResult:
    """Say how a `<Dial>` ended."""
    given: dict[str, Any] = {"agent": agent(), "call_sid": "CA1", "status": "completed"}
    return TransferResult(**(given | changes))


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"status": "completed", "bridged": True}, "answered"),
        ({"status": "completed", "bridged": True, "caller_is_there": False}, "answered"),
        ({"status": "answered", "bridged": True, "confirm": True}, "answered"),
        ({"status": "busy"}, "busy"),
        ({"status": "no-answer"}, "no_answer"),
        ({"status": "canceled"}, "no_answer"),
        ({"status": "canceled", "caller_is_there": False}, "caller_gone"),
        ({"status": "no-answer", "caller_is_there": False}, "caller_gone"),
        ({"status": "completed", "confirm": True}, "declined"),
        ({"status": "answered", "confirm": True}, "declined"),
        ({"status": "completed"}, "failed"),
        ({"status": "failed"}, "failed"),
        ({"status": "something-new"}, "failed"),
    ],
)
def test_what_the_end_of_a_dial_means(changes: dict[str, Any], outcome: str) -> None:
    """The bridge tells whether the two spoke, whoever hung up; without it the carrier's word tells why not."""
    assert outcome_of(result(**changes)) == TransferOutcome(outcome)


@given(st.sampled_from(STATUSES), st.booleans(), st.booleans(), st.booleans())
def test_the_caller_comes_back_exactly_when_there_is_somebody_to_come_back(
    status: str, bridged: bool, there: bool, confirm: bool
) -> None:
    """Nobody is brought back who has spoken to the callee or is gone, and everybody else is."""
    outcome = outcome_of(result(status=status, bridged=bridged, caller_is_there=there, confirm=confirm))
    assert (note_for(outcome, PERSON) is not None) == (there and not bridged)


@pytest.mark.parametrize(
    ("outcome", "note"),
    [
        ("no_answer", "The transfer to +15551234567 was not answered. The caller is back on the line."),
        ("busy", "The transfer to +15551234567 reached a line that is busy. The caller is back on the line."),
        (
            "declined",
            (
                "The transfer to +15551234567 was not taken: whoever picked up did not press 1. "
                "The caller is back on the line."
            ),
        ),
        (
            "failed",
            "The transfer to +15551234567 failed: the number could not be reached. The caller is back on the line.",
        ),
    ],
)
def test_the_note_says_what_happened(outcome: str, note: str) -> None:
    """Whoever answers next learns how the transfer went, and that the caller is there."""
    assert note_for(TransferOutcome(outcome), PERSON) == note


def test_a_number_that_nobody_remembers_is_left_out() -> None:
    """The note makes sense without it."""
    assert note_for(TransferOutcome.NO_ANSWER, "") == ("The transfer was not answered. The caller is back on the line.")


def course(announcement: str = "") -> Course:
    """Begin a transfer."""
    handoff = Handoff(to=PERSON, announcement=announcement, ring=25)
    return Course(agent_id="my-client", call_sid="CA1", handoff=handoff, caller_id="", attempt=0)


@given(st.lists(st.sampled_from(Stage)))
def test_a_transfer_never_goes_back(stages: list[Stage]) -> None:
    """In whatever order its webhooks come, the furthest stage counts."""
    under_way = course()
    for stage in stages:
        under_way.advance(stage)
    assert under_way.stage is max(stages, default=Stage.ASKED)


async def test_a_stage_is_waited_for(autojump_clock: MockClock) -> None:
    """Whoever waits for a stage goes on when it, or a later one, is reached, and no sooner."""
    under_way = course()

    async def go() -> None:
        await trio.sleep(1)
        under_way.advance(Stage.HANDED)
        await trio.sleep(1)
        under_way.advance(Stage.SETTLED)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go)
        await under_way.reach(Stage.ASKED)
        assert trio.current_time() == 0
        await under_way.reach(Stage.HANDED)
        assert trio.current_time() == 1
        await under_way.reach(Stage.OVER)
        assert trio.current_time() == 2


def test_a_long_announcement_is_listened_to() -> None:
    """Who is told more is waited for longer, beyond the ringing and the key that may have to be pressed."""
    assert course().patience > 25 + 60
    assert course("word " * 100).patience > course().patience + 50
