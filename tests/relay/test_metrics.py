"""What is counted and logged of calls."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from actors.call_values import CallSummary, Reason
from actors.commands import By, NoteTurn, TurnOutcome
from actors.trace import TurnTimes
from relay.metrics import LINES_PER_CALL, CallMeter
from relay.turn_metrics import PARTS
from tests.fakes import call_info

CALL = call_info()


def count(meter: CallMeter, name: str, **labels: str) -> float | None:
    return meter.registry.get_sample_value(name, labels)


def note(outcome: str = "answered", *, by: By = By.CLIENT, first_word: float | None = 0.3) -> NoteTurn:
    return NoteTurn(turn=1, by=by, outcome=outcome, first_word=first_word)


def test_turns_are_counted_by_who_answered_and_how() -> None:
    """Each answerer and outcome has a number of its own."""
    meter = CallMeter()
    for each in (note(), note(), note("interrupted"), note(by=By.ANSWERING_MACHINE)):
        meter.turn_ended(CALL, each)
    assert count(meter, "relay_turns_total", by="client", outcome="answered") == 2
    assert count(meter, "relay_turns_total", by="client", outcome="interrupted") == 1
    assert count(meter, "relay_turns_total", by="machine", outcome="answered") == 1


def test_the_time_to_the_first_word_is_measured() -> None:
    """A turn counts towards the latency of whoever answered, unless not a word came."""
    meter = CallMeter()
    meter.turn_ended(CALL, note(first_word=0.3))
    meter.turn_ended(CALL, note(str(Reason.CLIENT_TIMEOUT), first_word=None))
    assert count(meter, "relay_first_word_seconds_count", by="client") == 1
    assert count(meter, "relay_first_word_seconds_sum", by="client") == pytest.approx(0.3)
    assert count(meter, "relay_first_word_seconds_bucket", by="client", le="0.25") == 0
    assert count(meter, "relay_first_word_seconds_bucket", by="client", le="0.5") == 1


def test_calls_are_counted_by_outcome_and_length() -> None:
    """An ended call counts once, with how long it lasted."""
    meter = CallMeter()
    meter.call_ended(CALL, CallSummary(outcome="completed", turns_by={"client": 2}), 42.0)
    assert count(meter, "relay_calls_total", outcome="completed") == 1
    assert count(meter, "relay_call_seconds_sum") == 42


def test_waiting_messages_are_counted_by_reason() -> None:
    """A message that is durable counts at once."""
    meter = CallMeter()
    meter.message_left(CALL, Reason.CLIENT_ABSENT, "msg_1")
    assert count(meter, "relay_messages_left_total", reason="client_absent") == 1


def test_dials_are_counted_by_what_for_and_what_came_of_it() -> None:
    """Each purpose and outcome has a number of its own."""
    meter = CallMeter()
    for each in (("call", "placed"), ("call", "placed"), ("voice_message", "refused")):
        meter.dialled(*each)
    assert count(meter, "relay_dials_total", kind="call", outcome="placed") == 2
    assert count(meter, "relay_dials_total", kind="voice_message", outcome="refused") == 1


def test_transfers_are_counted_by_outcome() -> None:
    """A transfer counts once its outcome is known."""
    meter = CallMeter()
    meter.transfer_over("no_answer")
    assert count(meter, "relay_transfers_total", outcome="no_answer") == 1


def test_faults_are_counted() -> None:
    """Dropped frames, refusals of the carrier, and errors at the firewall, by stage."""
    meter = CallMeter()
    meter.frame_rejected(CALL, "not_json")
    meter.carrier_failed(CALL, "Invalid voice")
    meter.call_crashed(CALL, RuntimeError("bang"), "turn")
    assert count(meter, "relay_frames_rejected_total") == 1
    assert count(meter, "relay_carrier_errors_total") == 1
    assert count(meter, "relay_crashes_total", stage="turn") == 1


FLOODS = (
    ("frame_rejected", "relay_frames_rejected_total"),
    ("frame_unknown", "relay_frames_unknown_total"),
    ("carrier_failed", "relay_carrier_errors_total"),
)


@pytest.mark.parametrize(("method", "metric"), FLOODS)
def test_a_call_s_bad_frames_do_not_flood_the_log(method: str, metric: str) -> None:
    """The first few are logged one by one, the others as a number at the call's end; the metric counts all."""
    meter = CallMeter()
    with capture_logs() as events:
        for _ in range(1000):
            getattr(meter, method)(CALL, "not_json")
        meter.call_ended(CALL, CallSummary(outcome="completed"), 42.0)
    event = "carrier_error" if method == "carrier_failed" else method
    assert [each["event"] for each in events] == [event] * LINES_PER_CALL + ["call_ended", "frames_not_logged"]
    assert (events[-1]["call_sid"], events[-1][event]) == (CALL.call_sid, 1000 - LINES_PER_CALL)
    assert count(meter, metric) == 1000


def test_what_one_call_may_log_is_its_own() -> None:
    """Kinds of lines, and calls, do not use up each other's; a call that is over leaves nothing behind."""
    meter, another = CallMeter(), call_info(call_sid="CA2")
    with capture_logs() as events:
        for call in (CALL, another, CALL):  # the last one comes back on another line
            for _ in range(LINES_PER_CALL):
                meter.frame_rejected(call, "not_json")
                meter.carrier_failed(call, "Invalid voice")
            meter.call_ended(call, CallSummary(outcome="completed"), 42.0)
    assert [each["event"] for each in events].count("frame_rejected") == 3 * LINES_PER_CALL
    assert [each["event"] for each in events].count("carrier_error") == 3 * LINES_PER_CALL
    assert "frames_not_logged" not in {each["event"] for each in events}


def test_a_crash_is_logged_by_kind_and_place() -> None:
    """The text of an exception may hold what a caller said."""
    with capture_logs() as events:
        CallMeter().call_crashed(CALL, ExceptionGroup("swordfish", [KeyError("swordfish")]), "turn")
    assert events[0]["errors"] == ["KeyError at "]
    assert "swordfish" not in str(events)


def test_gauges_ask_when_they_are_read() -> None:
    """What is live now is looked up at each scrape."""
    meter, live = CallMeter(), [1, 2]
    meter.live_calls.set_function(lambda: len(live))
    meter.places_taken.set_function(lambda: 3)
    meter.client_sessions.set_function(lambda: 4)
    live.append(3)
    assert count(meter, "relay_live_calls") == 3
    assert (count(meter, "relay_places_taken"), count(meter, "relay_client_sessions")) == (3, 4)


def test_two_meters_do_not_share_numbers() -> None:
    """Each daemon in a process has a registry of its own."""
    first, second = CallMeter(), CallMeter()
    first.frame_rejected(CALL, "not_json")
    assert count(second, "relay_frames_rejected_total") == 0


def test_the_process_is_measured_too() -> None:
    """Memory and open files of the daemon are in the same text."""
    text = generate_latest(CallMeter().registry).decode()
    assert "process_resident_memory_bytes" in text
    assert "process_open_fds" in text


def everything(meter: CallMeter) -> list[Any]:
    """Report one of each, and return what was logged."""
    with capture_logs() as events:
        meter.turn_ended(CALL, note())
        meter.turn_ended(CALL, note("client_timeout", first_word=None))
        meter.message_left(CALL, Reason.CLIENT_TIMEOUT, "msg_1")
        meter.frame_rejected(CALL, "not_json")
        meter.carrier_failed(CALL, "Invalid voice " + "x" * 1000)
        meter.call_ended(CALL, CallSummary(outcome="completed"), 42.0)
        meter.call_crashed(CALL, RuntimeError("bang"), "turn")
    return events


def test_everything_is_logged_by_the_call_s_id() -> None:
    """Each log line names its call and says in its level how bad it is."""
    events = everything(CallMeter())
    assert {event["call_sid"] for event in events} == {"CA1"}
    assert [(event["event"], event["log_level"]) for event in events] == [
        ("turn_ended", "debug"),
        ("turn_ended", "info"),
        ("message_left", "info"),
        ("frame_rejected", "warning"),
        ("carrier_error", "error"),
        ("call_ended", "info"),
        ("call_crashed", "error"),
    ]


def test_numbers_are_not_logged() -> None:
    """Neither the caller's nor the called number is passed to the log."""
    logged = repr(everything(CallMeter()))
    assert CALL.caller not in logged
    assert CALL.called not in logged


def test_what_the_carrier_says_is_cut() -> None:
    """The carrier's description is bounded; it may be anything."""
    (event,) = [each for each in everything(CallMeter()) if each["event"] == "carrier_error"]
    assert len(event["description"]) == 300


# ── turns that are over ─────────────────────────────────────────────────────────────────────────────────────────────


def turn(number: int = 1, *, by: By = By.CLIENT, outcome: str = "answered", **times: Any) -> TurnTimes:
    known = TurnTimes(number, by, 100.0, outcome=TurnOutcome(outcome))
    known.stored, known.asked, known.first = 100.01, 100.02, 100.5
    known.out, known.last, known.heard = 100.51, 101.0, 104.0
    for name, value in times.items():
        setattr(known, name, value)
    return known


def test_the_parts_of_a_turn_sum_to_the_whole() -> None:
    """What the relay, the client and the telephone took is all that there was."""
    meter = CallMeter()
    meter.turn_over(CALL, turn())
    sums = [count(meter, "relay_turn_seconds_sum", part=part, by="client") or 0 for part in PARTS]
    assert sums == [pytest.approx(each) for each in (0.02, 0.48, 0.01, 3.49)]
    assert sum(sums) == pytest.approx(turn().seconds)


def test_a_turn_without_an_answer_is_time_of_the_client() -> None:
    """The caller has waited for it, to the limit; nothing was sent or heard."""
    meter = CallMeter()
    meter.turn_over(CALL, turn(outcome="client_timeout", first=None, out=None, heard=None, last=108.02))
    assert count(meter, "relay_turn_seconds_sum", part="client", by="client") == pytest.approx(8)
    assert count(meter, "relay_turn_seconds_count", part="heard", by="client") == 0
    assert count(meter, "relay_rungs_total", rung="time_limit") == 1


def test_fillers_are_counted_by_how_far_the_waiting_went() -> None:
    """The first one, and the longer one after it."""
    meter = CallMeter()
    meter.turn_over(CALL, turn(fillers=(102.5,)))
    meter.turn_over(CALL, turn(2, fillers=(102.5, 105.0)))
    assert count(meter, "relay_rungs_total", rung="filler") == 2
    assert count(meter, "relay_rungs_total", rung="long_filler") == 1


def test_interruptions_are_counted_by_whether_something_was_sent() -> None:
    """An answer that was complete, but not heard to its end, is broken off too."""
    meter = CallMeter()
    meter.turn_over(CALL, turn(outcome="interrupted", cut=102.0, heard=None))
    meter.turn_over(CALL, turn(2, cut=102.0, heard=None))
    meter.turn_over(CALL, turn(3, outcome="interrupted", first=None, out=None, heard=None))
    meter.turn_over(CALL, turn(4))
    assert count(meter, "relay_interrupts_total", heard="some") == 2
    assert count(meter, "relay_interrupts_total", heard="none") == 1


def test_a_call_that_changes_hands_is_counted() -> None:
    """To the answering machine, by why; and back from it, by whom. What a call was does not outlive it."""
    meter = CallMeter()
    for number, (by, outcome) in enumerate(
        [
            (By.CLIENT, "client_timeout"),
            (By.ANSWERING_MACHINE, "answered"),
            (By.ANSWERING_MACHINE, "answered"),
            (By.CLIENT, "answered"),
            (By.ANSWERING_MACHINE, "answered"),
        ]
    ):
        meter.turn_over(CALL, turn(number + 1, by=by, outcome=outcome))
    assert count(meter, "relay_step_downs_total", reason="client_timeout") == 1
    assert count(meter, "relay_step_downs_total", reason="client_absent") == 1
    assert count(meter, "relay_taken_back_total", by="client") == 1
    assert meter.calls == {CALL.call_sid}
    meter.call_ended(CALL, CallSummary(outcome="completed"), 42.0)
    assert meter.calls == frozenset()
