"""The record of a call, without a database: the same one, in whatever order and however often it is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.call_record import CallKind, CallProgress, CallRecord, CallState, CarrierStatus
from actors.call_values import Callee, CallOutcome, CallSummary, Direction
from actors.transfer import TransferOutcome
from tests.fakes import call_info

BEGIN = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def record(**changes: Any) -> CallRecord:
    given: dict[str, Any] = {
        "call_sid": "CA1",
        "agent_id": "my-client",
        "direction": Direction.OUTBOUND,
        "caller": "",
        "called": "",
        "started_at": BEGIN,
    }
    return CallRecord(**(given | changes))


def progress(status: CarrierStatus, **facts: Any) -> CallProgress:
    return CallProgress(call_sid="CA1", status=status, **facts)


ENDS = [status for status in CarrierStatus if status.is_over]
REPORTS = st.builds(
    progress,
    st.sampled_from(CarrierStatus),
    at=st.none() | st.integers(60, 90).map(at),
    seconds=st.none() | st.integers(0, 90),
    error=st.sampled_from(["", "64102", "sip_486", "31005"]),
)


@given(
    reports=st.lists(REPORTS, max_size=6).flatmap(lambda each: st.tuples(st.just(each), st.permutations(each))),
    repeated=st.integers(0, 5),
    voice_message=st.booleans(),
)
def test_the_order_of_the_carriers_reports_does_not_matter(
    reports: tuple[Sequence[CallProgress], Sequence[CallProgress]], repeated: int, *, voice_message: bool
) -> None:
    """However they are permuted and repeated, the record is the same, and over exactly if one of them says so."""
    first = record(kind=CallKind.VOICE_MESSAGE if voice_message else CallKind.CALL)
    one = other = first
    for report in reports[0]:
        one = one.progressed(report, at(100))
    for report in [*reports[1], *reports[1][:repeated]]:
        other = other.progressed(report, at(100))
    dated = [each for each in reports[0] if each.is_over and each.at is not None]
    if dated or not any(each.is_over for each in reports[0]):
        assert one == other
    assert one.state is other.state is (CallState.ENDED if any(each.is_over for each in reports[0]) else CallState.LIVE)
    assert one.outcome is other.outcome


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "outcome", [CallOutcome.COMPLETED, CallOutcome.TRANSFERRED, CallOutcome.MOVED, CallOutcome.FAILED]
)
def test_the_line_and_the_carrier_may_tell_the_end_in_either_order(end: CarrierStatus, outcome: CallOutcome) -> None:
    """Who was on the line knows how the call ended, and the carrier knows when."""
    opened = record().opened(call_info(started_at=BEGIN))
    said, summary = progress(end, at=at(30), seconds=31), CallSummary(outcome=outcome, turns_by={"client": 1})
    one, other = (
        opened.closed(summary, at(29)).progressed(said, at(40)),
        opened.progressed(said, at(40)).closed(summary, at(29)),
    )
    assert one == other
    assert (one.outcome, one.duration_seconds, one.ended_at) == (outcome, 31, at(30))


@pytest.mark.parametrize("outcome", [CallOutcome.TRANSFERRED, CallOutcome.MOVED])
def test_a_call_that_goes_on_elsewhere_is_live(outcome: CallOutcome) -> None:
    """The end of its line is not its own; a next line is one more of the same call."""
    passed_on = record().opened(call_info(started_at=BEGIN)).closed(CallSummary(outcome=outcome), at(29))
    assert (passed_on.state, passed_on.line_ended_at, passed_on.outcome) == (CallState.LIVE, at(29), outcome)
    back = passed_on.opened(call_info(started_at=at(30), attempt=1))
    assert (back.state, back.connected_at, back.line_ended_at, back.outcome) == (CallState.LIVE, BEGIN, None, None)


@given(st.lists(st.sampled_from(Callee)))
def test_the_first_verdict_that_says_something_stays(verdicts: list[Callee]) -> None:
    """Who picked up is told once, and not unsaid."""
    told = record()
    for verdict in verdicts:
        told = told.picked_up(verdict)
    sure = [each for each in verdicts if each is not Callee.UNKNOWN]
    assert told.picked_up_by is (sure[0] if sure else verdicts[-1] if verdicts else None)


@pytest.mark.parametrize("outcome", [each for each in TransferOutcome if each is not TransferOutcome.DIALLING])
@pytest.mark.parametrize("end", ENDS)
def test_a_transfer_is_over_with_its_call(end: CarrierStatus, outcome: TransferOutcome) -> None:
    """What the dial reports holds, whether the end of the call is told before or after it."""
    dialling = record().transferred("+15551234567", TransferOutcome.DIALLING)
    before = dialling.progressed(progress(end, at=at(9)), at(9))
    assert before.transfer_outcome is TransferOutcome.CALLER_GONE
    after = dialling.transferred(None, outcome).progressed(progress(end, at=at(9)), at(9))
    assert before.transferred(None, outcome) == after
    assert after.transferred(None, TransferOutcome.DIALLING) == after
    assert (after.transfer_to, after.transfer_outcome) == ("+15551234567", outcome)


@pytest.mark.parametrize("status", [each for each in CarrierStatus if not each.is_over])
def test_a_call_that_is_not_over_leaves_no_message(status: CarrierStatus) -> None:
    """Nothing is known yet of a voice message whose telephone rings."""
    assert record(kind=CallKind.VOICE_MESSAGE).undelivered(progress(status)) is None


@pytest.mark.parametrize(
    ("connected", "ended", "carrier_over", "attempt", "is_over"),
    [
        (False, False, False, 0, False),
        (True, True, False, 0, True),
        (True, True, False, 1, False),
        (True, True, True, 1, True),
        (False, True, False, 0, False),
    ],
)
def test_a_webhook_that_comes_too_late_is_known(
    *, connected: bool, ended: bool, carrier_over: bool, attempt: int, is_over: bool
) -> None:
    """The carrier's word is final; of ours, only a first session cannot come again."""
    kept = record(
        connected_at=BEGIN if connected else None,
        ended_at=at(9) if ended else None,
        carrier_status=CarrierStatus.COMPLETED if carrier_over else None,
    )
    assert kept.is_over(attempt) is is_over


def test_an_unknown_status_cannot_be_built() -> None:
    """A word that the carrier does not have is no progress."""
    with pytest.raises(ValueError, match="next year"):
        CallProgress(call_sid="CA1", status="a status of next year")
