from __future__ import annotations

import attrs
import pytest

from relay.dialling.defaults import Addresses
from relay.dialling.requests import CallRequest
from relay.errors import OutboundRefused
from tests.relay.dialling.parties import DEFAULTS, OURS, THEIRS, agent


@pytest.mark.parametrize(
    ("number", "of_settings", "caller"),
    [
        (OURS, None, OURS),
        (OURS, "+15550000001", OURS),
        (None, "+15550000001", "+15550000001"),
        ("+1 (555) 123-0002", None, OURS),
    ],
)
def test_whose_number_is_shown(number: str | None, of_settings: str | None, caller: str) -> None:
    """A call comes from the agent's number, else from that of the settings, in the form that can be dialled."""
    defaults = attrs.evolve(DEFAULTS, caller_number=of_settings)
    assert defaults.chosen(agent(number=number), CallRequest(to=THEIRS)).caller == caller


@pytest.mark.parametrize(("number", "code"), [(None, "no_number"), ("", "no_number"), ("reception", "number_unusable")])
def test_without_a_number_there_is_no_call(number: str | None, code: str) -> None:
    """The refusal names the command with which the operator gives the agent a number, and repeats none."""
    with pytest.raises(OutboundRefused) as caught:
        DEFAULTS.chosen(agent(number=number), CallRequest(to=THEIRS))
    assert caught.value.code == code
    assert "relay agents set my-client --number +1" in str(caught.value)
    assert "reception" not in str(caught.value)


@pytest.mark.parametrize(("longest", "limit"), [(3600.0, 3660), (0.2, 61), (86_400.0, 86_400), (float("inf"), 86_400)])
def test_the_carrier_ends_a_call_later_than_the_relay(longest: float, limit: int) -> None:
    """The carrier's limit leaves room for a farewell, and is never more than the carrier takes."""
    assert attrs.evolve(DEFAULTS, max_call_seconds=longest).time_limit == limit


def test_addresses_are_of_one_agent() -> None:
    """Each webhook is under the agent's own path, and tells by its query what the carrier does not."""
    addresses = Addresses("http://127.0.0.1:8080")
    base = "http://127.0.0.1:8080/webhooks/my-client"
    assert addresses.voice_socket("my-client") == "ws://127.0.0.1:8080/webhooks/my-client/voice-ws"
    assert addresses.voice_ended("my-client") == f"{base}/voice-ended?attempt=0&lost=0"
    assert addresses.call_status("my-client") == f"{base}/call-status"
    assert addresses.call_status("my-client", "an-order") == f"{base}/call-status?order=an-order"
    assert addresses.transfer_ended("my-client", 2, confirm=False) == f"{base}/transfer-ended?attempt=2&lost=0"
    assert addresses.transfer_ended("my-client", 0, confirm=True) == f"{base}/transfer-ended?attempt=0&lost=0&confirm=1"
    assert addresses.whisper("my-client") == f"{base}/whisper"
