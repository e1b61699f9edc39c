from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.transfer import TransferOrder
from relay.speech.hygiene import clean
from relay.twilio.handoff_data import Moving, encode_handoff_data, read_handoff_data

# What a client may send, and what is left of it once it can be spoken; no lone surrogates: they cannot be sent.
HOSTILE = st.one_of(
    st.text(),
    st.sampled_from(['</Say><Dial>911</Dial>"', '{"transfer": {}}', "\\u0000\\", "\x00\x1f\x7f", "😀" * 50, "\u202e"]),
)


def order(**changes: Any) -> TransferOrder:
    """Order an ordinary transfer."""
    given: dict[str, Any] = {"to": "+15551234567", "ring_seconds": 25}
    return TransferOrder(**(given | changes))


@given(announcement=HOSTILE, language=st.text(), voice=st.text(), confirm=st.booleans(), ring=st.integers(5, 120))
def test_what_goes_out_comes_back(announcement: str, language: str, voice: str, *, confirm: bool, ring: int) -> None:
    """Whatever the texts are, the handoff that the carrier gives back is the one that it was given."""
    sent = order(announcement=announcement, language=language, voice=voice, confirm=confirm, ring_seconds=ring)
    assert read_handoff_data(encode_handoff_data(sent), call_sid="CA1") == sent


def test_a_move_comes_back() -> None:
    """A session that was ended because the call moves says so, in a form that another version can read."""
    assert encode_handoff_data(Moving()) == '{"moving":true}'
    assert read_handoff_data(encode_handoff_data(Moving()), call_sid="CA1") == Moving()


@pytest.mark.parametrize("text", ["{}", '{"moving":false}', '{"moving":null}', '{"transfer":null}'])
def test_a_reason_of_another_form_is_none(text: str) -> None:
    """Nothing is guessed: the call ends, as after any end of a session that gives no reason."""
    assert read_handoff_data(text, call_sid="CA1") is None


@given(HOSTILE)
def test_a_cleaned_announcement_can_be_sent(text: str) -> None:
    """What is left of any text when it can be spoken fits into a handoff."""
    announcement = clean(text)
    sent = order(announcement=announcement)
    assert read_handoff_data(encode_handoff_data(sent), call_sid="CA1") == sent


@given(st.text())
def test_anything_else_is_no_transfer(text: str) -> None:
    """Any other text, JSON or not, is nothing, and raises nothing."""
    assert read_handoff_data(text, call_sid="CA1") is None
    assert read_handoff_data(json.dumps({"transfer": text}), call_sid="CA1") is None


@given(st.data())
def test_what_was_cut_short_is_no_transfer(data: st.DataObject) -> None:
    """A handoff that lost its end is not guessed at."""
    whole = encode_handoff_data(order(announcement="One moment."))
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert read_handoff_data(whole[:cut], call_sid="CA1") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"to": "911"},
        {"to": "+1555<Dial>"},
        {"to": "+15551234567\n"},
        {"to": None},
        {"ring": 4},
        {"ring": 121},
        {"ring": "25"},
        {"confirm": "yes"},
        {"announcement": None},
    ],
)
def test_a_transfer_of_another_form_is_none(changes: dict[str, Any]) -> None:
    """What another version of the relay may have written is not dialled when it is not of this form."""
    text = json.dumps({"transfer": {"to": "+15551234567", "ring": 25} | changes})
    assert read_handoff_data(text, call_sid="CA1") is None


def test_fields_of_a_later_version_do_no_harm() -> None:
    """A field that this version does not know is left alone."""
    text = json.dumps({"transfer": {"to": "+15551234567", "ring": 25, "music": "loud"}, "more": 1})
    assert read_handoff_data(text, call_sid="CA1") == order()
