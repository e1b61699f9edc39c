"""How a call is connected: what the action's address counts, and in which language an apology is said."""

from __future__ import annotations

import attrs
import pytest

from actors.errors import CallRefused
from relay.twilio.urls import RETRIES
from tests.relay.http.asgi_driver import post_form
from tests.relay.twilio.fake_reception import ANNE, FakeReception, carrier_app, connection, spoken
from tests.sids import sid

ENDED = "/webhooks/anne/voice-ended"
LOST = {"CallSid": sid(), "CallStatus": "in-progress", "SessionStatus": "failed", "ErrorCode": "64105"}


async def next_action(query: str) -> str | None:
    """Return the action's address of the session that follows a lost one, whose address had this query."""
    answer = await post_form(carrier_app(FakeReception()), ENDED + query, LOST)
    return connection(answer)[0].get("action")


@pytest.mark.parametrize("query", ["", "?attempt=x&lost=y", "?attempt=-4&lost=-2", "?attempt=1e9&lost="])
async def test_numbers_that_are_none_count_from_the_beginning(query: str) -> None:
    """An action address with nothing usable in its query is that of a call's first session."""
    assert await next_action(query) == "https://voice.example/webhooks/anne/voice-ended?attempt=1&lost=1" + RETRIES


async def test_an_address_that_counts_no_losses_has_lost_every_session() -> None:
    """A call that an earlier version connected keeps its limit across the deploy."""
    assert (
        await next_action("?attempt=2") == "https://voice.example/webhooks/anne/voice-ended?attempt=3&lost=3" + RETRIES
    )


async def test_an_agent_without_a_language_apologises_in_the_default_one() -> None:
    """What the carrier says for us is in the language that the settings name."""
    reception = FakeReception(refusal=CallRefused("full", "no place"))
    app = carrier_app(reception, attrs.evolve(ANNE, language=None))
    answer = await post_form(app, "/webhooks/anne/voice", {"CallSid": sid()})
    assert (answer.status, spoken(answer)) == (503, [("Say", "busy in en-US"), ("Hangup", None)])
