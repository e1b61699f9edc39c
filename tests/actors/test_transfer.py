"""The stages of a transfer: each move is taken on its occasion, none goes back, and each has an end."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.transfer import (
    HAND_OVER_SECONDS,
    LOST_SECONDS,
    MOVES,
    OUTCOME_SECONDS,
    Stage,
    Todo,
    Transfer,
    TransferOrder,
    TransferOutcome,
    note_for,
    outcome_of_dial,
)

PERSON = "+15551234567"
STATUSES = ("completed", "answered", "busy", "no-answer", "failed", "canceled", "something-new")


def order(**changes: Any) -> TransferOrder:
    given: dict[str, Any] = {"to": PERSON, "ring_seconds": 25}
    return TransferOrder(**(given | changes))


def checking() -> Transfer:
    return Transfer(order())


def asked() -> Transfer:
    """Ask at 100 seconds for a transfer of a call whose line is up."""
    transfer = checking()
    transfer.on_allowed(100.0)
    assert transfer.on_session_open(0) is Todo.END_SESSION
    return transfer


def redirecting() -> Transfer:
    transfer = asked()
    assert transfer.on_deadline(transfer.deadline) is Todo.REDIRECT
    return transfer


def dialling() -> Transfer:
    transfer = asked()
    transfer.on_orders_taken(101.0)
    return transfer


def talking() -> Transfer:
    transfer = dialling()
    assert transfer.on_deadline(transfer.deadline) is None
    return transfer


def call_over() -> Transfer:
    transfer = dialling()
    transfer.on_call_over(103.0)
    return transfer


def settled() -> Transfer:
    transfer = dialling()
    assert transfer.on_dial_over(TransferOutcome.BUSY) is Todo.SETTLE
    return transfer


BEGUN: dict[Stage, Callable[[], Transfer]] = {
    Stage.CHECKING: checking,
    Stage.ASKED: asked,
    Stage.REDIRECTING: redirecting,
    Stage.DIALLING: dialling,
    Stage.TALKING: talking,
    Stage.CALL_OVER: call_over,
    Stage.SETTLED: settled,
}
WALKS: dict[tuple[Stage, Stage], Callable[[Transfer], object]] = {
    (Stage.CHECKING, Stage.ASKED): lambda each: each.on_allowed(100.0),
    (Stage.ASKED, Stage.DIALLING): lambda each: each.on_orders_taken(101.0),
    (Stage.ASKED, Stage.REDIRECTING): lambda each: each.on_deadline(each.deadline),
    (Stage.ASKED, Stage.CALL_OVER): lambda each: each.on_call_over(101.0),
    (Stage.ASKED, Stage.SETTLED): lambda each: each.on_dial_over(TransferOutcome.BUSY),
    (Stage.REDIRECTING, Stage.DIALLING): lambda each: each.on_orders_taken(130.0),
    (Stage.REDIRECTING, Stage.CALL_OVER): lambda each: each.on_redirect_refused(130.0, call_is_over=True),
    (Stage.REDIRECTING, Stage.SETTLED): lambda each: each.on_redirect_refused(130.0, call_is_over=False),
    (Stage.DIALLING, Stage.TALKING): lambda each: each.on_deadline(each.deadline),
    (Stage.DIALLING, Stage.CALL_OVER): lambda each: each.on_call_over(110.0),
    (Stage.DIALLING, Stage.SETTLED): lambda each: each.on_dial_over(TransferOutcome.BUSY),
    (Stage.TALKING, Stage.SETTLED): lambda each: each.on_dial_over(TransferOutcome.ANSWERED),
    (Stage.CALL_OVER, Stage.SETTLED): lambda each: each.on_deadline(each.deadline),
}


@pytest.mark.parametrize(("stage", "target"), WALKS, ids=[f"{a} to {b}" for a, b in WALKS])
def test_each_move_is_taken_on_its_occasion(stage: Stage, target: Stage) -> None:
    """The occasion that the table names moves the transfer to the stage that the table names."""
    transfer = BEGUN[stage]()
    assert transfer.stage is stage
    WALKS[stage, target](transfer)
    assert transfer.stage is target


def test_the_table_and_the_walks_are_the_same() -> None:
    """No move of the table is untested, and no tested move is missing from it."""
    assert set(WALKS) == {(stage, target) for stage, targets in MOVES.items() for target in targets}


def test_a_redirection_that_nobody_asked_for_is_not_refused() -> None:
    """What cannot have been seen is a fault of who tells it."""
    for transfer in (checking(), asked()):
        with pytest.raises(AssertionError):
            transfer.on_redirect_refused(101.0, call_is_over=False)


TOLD: list[Callable[[Transfer, float], object]] = [
    lambda each, _now: each.on_session_open(1),
    lambda each, now: each.on_session_over(now),
    lambda each, now: each.on_orders_taken(now),
    lambda each, now: each.on_call_over(now),
    lambda each, _now: each.on_dial_over(TransferOutcome.NO_ANSWER),
    lambda each, now: each.on_deadline(now),
]


@given(st.lists(st.tuples(st.sampled_from(TOLD), st.floats(0, 60))))
def test_every_order_of_webhooks_comes_to_one_outcome(
    events: list[tuple[Callable[[Transfer, float], object], float]],
) -> None:
    """Whatever is told, in any order and any number of times, one outcome is settled, once; what waits has a limit."""
    transfer, now, wanted = checking(), 0.0, []
    transfer.on_allowed(now)
    for tell, seconds in events:
        now += seconds
        wanted.append(tell(transfer, now))
        assert (transfer.stage is Stage.SETTLED) == (Todo.SETTLE in wanted)
        assert (transfer.outcome is TransferOutcome.DIALLING) == (transfer.stage is not Stage.SETTLED)
        waits = transfer.stage in {Stage.ASKED, Stage.DIALLING, Stage.CALL_OVER}
        assert (transfer.deadline < math.inf) == waits
    assert wanted.count(Todo.SETTLE) <= 1
    assert wanted.count(Todo.REDIRECT) <= 1


def test_a_session_that_does_not_end_is_overtaken() -> None:
    """After 25 seconds the carrier is told directly, however often the line was opened anew meanwhile."""
    transfer = asked()
    transfer.on_session_over(101.0)
    assert transfer.deadline == 101.0 + LOST_SECONDS
    assert transfer.on_session_open(1) is Todo.END_SESSION
    assert (transfer.deadline, transfer.attempt) == (100.0 + HAND_OVER_SECONDS, 1)
    assert transfer.on_deadline(transfer.deadline - 0.1) is None
    assert transfer.on_deadline(transfer.deadline) is Todo.REDIRECT


def test_a_line_that_was_lost_before_the_request_is_waited_for_a_moment() -> None:
    """A successor may be on its way; without one the carrier is told directly."""
    transfer = checking()
    transfer.on_allowed(100.0)
    assert transfer.deadline == 100.0 + LOST_SECONDS


@given(st.lists(st.tuples(st.sampled_from(TOLD), st.floats(0, 60))))
def test_nothing_moves_a_transfer_that_is_at_the_gate(
    events: list[tuple[Callable[[Transfer, float], object], float]],
) -> None:
    """Webhooks that come then are about an earlier transfer, and nobody's session is ended."""
    transfer = checking()
    assert [tell(transfer, now) for tell, now in events if tell(transfer, now) is not None] == []
    assert (transfer.stage, transfer.deadline) == (Stage.CHECKING, math.inf)


def test_the_webhook_counts_although_the_carrier_is_being_notified() -> None:
    """It dials by whichever orders it heard last, once; a refusal of the redirection then changes nothing."""
    transfer = redirecting()
    transfer.on_orders_taken(130.0)
    assert transfer.on_redirect_refused(131.0, call_is_over=False) is None
    assert (transfer.stage, transfer.deadline) == (Stage.DIALLING, 130.0 + transfer.order.patience)
    transfer.on_orders_taken(140.0)
    assert transfer.deadline == 130.0 + transfer.order.patience


@pytest.mark.parametrize("begin", [asked, redirecting, dialling])
def test_a_caller_who_hung_up_is_gone_when_nothing_else_is_reported(begin: Callable[[], Transfer]) -> None:
    """The end of the call may be told before that of the dial, and so the outcome is waited for a moment."""
    first, second = begin(), begin()
    for transfer in (first, second):
        transfer.on_call_over(200.0)
        assert transfer.deadline == 200.0 + OUTCOME_SECONDS
    assert first.on_dial_over(TransferOutcome.ANSWERED) is Todo.SETTLE
    assert second.on_deadline(second.deadline) is Todo.SETTLE
    assert (first.outcome, second.outcome) == (TransferOutcome.ANSWERED, TransferOutcome.CALLER_GONE)


@pytest.mark.parametrize("stage", Stage)
def test_a_call_can_be_passed_on_again_when_nothing_is_under_way(stage: Stage) -> None:
    """Only while the outcome is waited for is a second transfer one too many."""
    assert BEGUN[stage]().is_under_way == (stage not in {Stage.TALKING, Stage.SETTLED})


@pytest.mark.parametrize("stage", Stage)
def test_a_fault_loses_what_the_carrier_does_not_have_yet(stage: Stage) -> None:
    """What the carrier dials by its orders goes on by its webhooks."""
    transfer = BEGUN[stage]()
    is_lost = stage in {Stage.ASKED, Stage.REDIRECTING}
    assert transfer.on_fault() is (Todo.SETTLE if is_lost else None)
    assert (transfer.outcome is TransferOutcome.LOST) == is_lost


def test_a_long_announcement_is_listened_to() -> None:
    """Who is told more is waited for longer, beyond the ringing and the key that may have to be pressed."""
    assert order().patience > 25 + 60
    assert order(announcement="word " * 100).patience > order().patience + 50


@pytest.mark.parametrize("changes", [{"to": "911"}, {"to": "+1555<Dial>"}, {"to": f"{PERSON}\n"}, {"ring_seconds": 4}])
def test_what_cannot_be_dialled_cannot_be_ordered(changes: dict[str, Any]) -> None:
    """A number is E.164, and a telephone rings for as long as it can."""
    with pytest.raises(ValueError, match=r"'(to|ring_seconds)'"):
        order(**changes)


def test_a_number_does_not_show() -> None:
    """Neither the number nor the announcement is in the text that a log or a traceback would have."""
    shown = repr(Transfer(order(announcement="One moment."), handoff_data=PERSON))
    assert "1234567" not in shown
    assert "moment" not in shown


@pytest.mark.parametrize(
    ("status", "facts", "outcome"),
    [
        ("completed", {"bridged": True}, "answered"),
        ("completed", {"bridged": True, "caller_is_there": False}, "answered"),
        ("answered", {"bridged": True, "confirm": True}, "answered"),
        ("busy", {}, "busy"),
        ("no-answer", {}, "no_answer"),
        ("canceled", {}, "no_answer"),
        ("canceled", {"caller_is_there": False}, "caller_gone"),
        ("no-answer", {"caller_is_there": False}, "caller_gone"),
        ("completed", {"confirm": True}, "declined"),
        ("answered", {"confirm": True}, "declined"),
        ("completed", {}, "failed"),
        ("failed", {}, "failed"),
        ("something-new", {}, "failed"),
    ],
)
def test_what_the_end_of_a_dial_means(status: str, facts: dict[str, bool], outcome: str) -> None:
    """The bridge tells whether the two spoke, whoever hung up; without it the carrier's word tells why not."""
    told = {"bridged": False, "caller_is_there": True, "confirm": False} | facts
    assert outcome_of_dial(status, **told) is TransferOutcome(outcome)


@given(st.sampled_from(STATUSES), st.booleans(), st.booleans(), st.booleans())
def test_the_caller_comes_back_exactly_when_there_is_somebody_to_come_back(
    status: str, bridged: bool, there: bool, confirm: bool
) -> None:
    """Nobody is brought back who has spoken to the callee or is gone, and everybody else is."""
    outcome = outcome_of_dial(status, bridged=bridged, caller_is_there=there, confirm=confirm)
    assert (note_for(outcome, PERSON) is not None) == (there and not bridged)


@pytest.mark.parametrize(
    ("outcome", "what"),
    [
        ("no_answer", "was not answered"),
        ("busy", "reached a line that is busy"),
        ("declined", "was declined: the person who picked up did not press 1"),
        ("failed", "failed: the number could not be reached"),
    ],
)
def test_the_note_says_what_happened(outcome: str, what: str) -> None:
    """Whoever answers next learns how the transfer went, and that the caller is there."""
    said = note_for(TransferOutcome(outcome), PERSON)
    assert said == f"The transfer to +15551234567 {what}. The caller is back on the line."


def test_a_number_that_nobody_remembers_is_left_out() -> None:
    """The note makes sense without it."""
    assert note_for(TransferOutcome.NO_ANSWER, "") == "The transfer was not answered. The caller is back on the line."
