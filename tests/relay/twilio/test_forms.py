"""What the carrier's forms say: each field as a value of ours, and whatever is not of its form as absent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.call_record import CallProgress
from actors.call_values import Direction
from tests.relay.http.asgi_driver import post_form
from tests.relay.twilio.fake_reception import FakeReception, carrier_app
from tests.sids import sid

STATUS = "/webhooks/anne/call-status"
ORDER = "an-order_of-ours-01"
FORM = {
    "CallSid": sid(),
    "AccountSid": "AC1",
    "From": "+15550002222",
    "To": "+15550001111",
    "Direction": "outbound-api",
    "CallStatus": "completed",
    "CallDuration": "42",
    "Duration": "1",
    "Timestamp": "Sun, 22 Nov 2026 09:00:42 +0000",
    "SequenceNumber": "3",
    "SipResponseCode": "200",
}


async def progress_of(form: dict[str, str], query: str = "") -> CallProgress:
    """Return what the reception is told when the carrier posts this form."""
    reception = FakeReception()
    answer = await post_form(carrier_app(reception), STATUS + query, form)
    assert answer.status == 204
    ((_agent_id, progress),) = reception.progress
    return progress


async def test_a_status_callback_is_read_field_by_field() -> None:
    """Status, time, length, both parties, the direction and our own order reach the reception."""
    assert await progress_of(FORM, f"?order={ORDER}") == CallProgress(
        call_sid=sid(),
        status="completed",
        at=datetime(2026, 11, 22, 9, 0, 42, tzinfo=UTC),
        seconds=42.0,
        caller="+15550002222",
        called="+15550001111",
        direction=Direction.OUTBOUND,
        order=ORDER,
    )


async def test_a_form_with_nothing_but_a_status_is_enough() -> None:
    """All other fields are optional."""
    bare = {"CallSid": sid(), "CallStatus": "ringing"}
    assert await progress_of(bare) == CallProgress(call_sid=sid(), status="ringing")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("Sun, 22 Nov 2026 10:00:42 +0100", datetime(2026, 11, 22, 9, 0, 42, tzinfo=UTC)),
        ("Sun, 22 Nov 2026 09:00:42 -0000", datetime(2026, 11, 22, 9, 0, 42, tzinfo=UTC)),
        ("Sun, 22 Nov 2026 09:00:42 GMT", datetime(2026, 11, 22, 9, 0, 42, tzinfo=UTC)),
        ("2026-11-22T09:00:42Z", None),
        ("Sun, 99 Nov 2026 09:00:42 +0000", None),
        ("Fri, 31 Dec 9999 23:30:00 -2300", None),
        ("Sun, 22 Nov 2026 09:00:42 +9999", None),
        ("yesterday", None),
        (",", None),
        ("", None),
    ],
)
async def test_a_time_is_read_as_the_carrier_writes_it(text: str, at: datetime | None) -> None:
    """It is turned into UTC; what is no such date, or beyond all calendars, counts as absent."""
    assert (await progress_of({**FORM, "Timestamp": text})).at == at


@pytest.mark.parametrize("text", ["-1", "4.2", "1e400", "nan", "inf", "٣", "1 ", "9" * 30, "", "x"])
async def test_a_length_that_is_none_counts_as_absent(text: str) -> None:
    """Only whole seconds, of a plausible number, are a length."""
    assert (await progress_of({**FORM, "CallDuration": text})).seconds is None


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"CallStatus": "failed", "ErrorCode": "13224", "SipResponseCode": "404"}, "13224"),
        ({"CallStatus": "failed", "SipResponseCode": "404"}, "sip_404"),
        ({"CallStatus": "busy", "SipResponseCode": "486"}, "sip_486"),
        ({"CallStatus": "no-answer", "SipResponseCode": "480"}, "sip_480"),
        ({"CallStatus": "canceled", "SipResponseCode": "487"}, ""),
        ({"CallStatus": "completed", "SipResponseCode": "486"}, ""),
        ({"CallStatus": "failed", "SipResponseCode": "200"}, ""),
        ({"CallStatus": "failed", "SipResponseCode": "4040"}, ""),
        ({"CallStatus": "failed", "SipResponseCode": "<4>"}, ""),
        ({"CallStatus": "failed", "ErrorCode": "13 224; drop"}, ""),
        ({"CallStatus": "failed", "ErrorCode": "1" * 33}, ""),
        ({"CallStatus": "failed"}, ""),
    ],
)
async def test_an_error_is_the_carriers_or_the_networks(fields: dict[str, str], error: str) -> None:
    """The carrier's code goes first; an answer of the network counts where the call did not get through."""
    assert (await progress_of({**FORM, **fields})).error == error


@pytest.mark.parametrize("order", ["short", "x" * 65, "an-order-with-space%20", "%3Cscript%3Eaaaaaaaaaaaaaa", ""])
async def test_an_order_that_is_not_of_our_form_counts_as_absent(order: str) -> None:
    """The carrier signs the query, but a version to come may write another one."""
    assert (await progress_of(FORM, f"?order={order}")).order == ""


@pytest.mark.parametrize("text", ["+1555\x00", "a\nb", "x" * 256, "\x7f"])
async def test_a_party_that_no_number_can_be_counts_as_withheld(text: str) -> None:
    """Control characters, which a database may refuse, and endless addresses are not kept."""
    progress = await progress_of({**FORM, "From": text, "To": text})
    assert (progress.caller, progress.called) == ("", "")


async def test_an_address_is_a_party_too() -> None:
    """A SIP URI is kept as it is."""
    assert (await progress_of({**FORM, "From": "sip:anne@pbx.example;x=1"})).caller == "sip:anne@pbx.example;x=1"


ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
OTHER_FIELDS = ("Timestamp", "CallDuration", "ErrorCode", "SipResponseCode", "From", "To", "Direction")


@given(
    st.fixed_dictionaries(
        {"CallStatus": st.sampled_from(["completed", "failed", "ringing"])},
        optional=dict.fromkeys(OTHER_FIELDS, ANYTHING),
    )
)
def test_no_field_can_break_the_reading(fields: dict[str, str]) -> None:
    """Whatever stands in the other fields, the status of the call is known, and a time has a zone."""
    progress = trio.run(progress_of, {"CallSid": sid(), **fields})
    assert progress.status == fields["CallStatus"]
    assert progress.at is None or progress.at.tzinfo is UTC
