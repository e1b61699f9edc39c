from __future__ import annotations

import attrs
import pytest

from relay.errors import OutboundRefused
from tests.relay.dialling.parties import DEFAULTS, OURS, agent


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
    assert defaults.caller_of(agent(number=number)) == caller


@pytest.mark.parametrize(("number", "code"), [(None, "no_number"), ("", "no_number"), ("reception", "number_unusable")])
def test_without_a_number_there_is_no_call(number: str | None, code: str) -> None:
    """The refusal names the command with which the operator gives the agent a number, and repeats none."""
    with pytest.raises(OutboundRefused) as caught:
        DEFAULTS.caller_of(agent(number=number))
    assert caught.value.code == code
    assert "relay agents set my-client --number +1" in str(caught.value)
    assert "reception" not in str(caught.value)


@pytest.mark.parametrize(("longest", "limit"), [(3600.0, 3660), (0.2, 61), (86_400.0, 86_400), (float("inf"), 86_400)])
def test_the_carrier_ends_a_call_later_than_the_relay(longest: float, limit: int) -> None:
    """The carrier's limit leaves room for a farewell, and is never more than the carrier takes."""
    assert attrs.evolve(DEFAULTS, max_call_seconds=longest).time_limit == limit
