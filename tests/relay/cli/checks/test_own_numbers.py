"""What the doctor says of where numbers lead, over a stand-in for the carrier's API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from relay.cli.checks.check import CheckFailed, Undetermined
from relay.cli.checks.own_numbers import find_misled, lead_home, webhooks
from relay.settings import Settings
from relay.store.agent_registry import AgentRegistry
from relay.store.database import open_database
from relay.twilio.rest_errors import CarrierRefused
from tests.relay.cli.checks.small_server import Reply, SmallServer, small_server

pytestmark = pytest.mark.usefixtures("time_limit")

NUMBERS = "/2010-04-01/Accounts/AC1/IncomingPhoneNumbers.json"
ONE = "/2010-04-01/Accounts/AC1/IncomingPhoneNumbers/PN1.json"
NUMBER = "+14155550123"
RIGHT = "https://voice.example.com/webhooks/my-client/voice"


def numbers(*found: dict[str, Any]) -> Reply:
    """Answer with these numbers, as the carrier lists them."""
    usual = {
        "sid": "PN1",
        "phone_number": NUMBER,
        "voice_url": RIGHT,
        "voice_method": "POST",
        "voice_application_sid": "",
        "trunk_sid": None,
    }
    page = {"incoming_phone_numbers": [usual | each for each in found], "page": 0, "page_size": 20}
    return Reply(200, json.dumps(page).encode(), {"content-type": "application/json"})


@asynccontextmanager
async def asked(
    directory: Path, reply: Reply, *, number: str | None = NUMBER, caller: str | None = None
) -> AsyncIterator[tuple[Settings, SmallServer]]:
    """Have an agent with a number, and a carrier that answers so."""
    url = f"sqlite:///{directory / 'relay.db'}"
    async with open_database(url) as database:
        await AgentRegistry(database).add("my-client", number=number)
    async with small_server({NUMBERS: reply}) as server:
        yield (
            Settings(
                database_url=url,
                public_url="https://voice.example.com",
                twilio_account_sid="AC1",
                twilio_auth_token="secret",
                twilio_api_base_url=server.url,
                twilio_phone_number=caller,
            ),
            server,
        )


@pytest.mark.parametrize("found", [{}, {"voice_url": f"{RIGHT}/"}, {"voice_method": None}])
async def test_a_number_that_leads_to_its_agent_is_well(tmp_path: Path, found: dict[str, Any]) -> None:
    """With or without a slash at its end, which the relay does not mind."""
    async with asked(tmp_path, numbers(found)) as (settings, server):
        assert await webhooks(settings) == "Numbers that lead to their agent's webhook: 1."
    assert [path for path, _headers in server.asked] == [NUMBERS]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"voice_url": ""}, "leads nowhere"),
        ({"voice_url": None}, "leads nowhere"),
        ({"voice_url": "https://demo.twilio.com/welcome/voice/"}, "to another server"),
        ({"voice_url": "http://voice.example.com/webhooks/my-client/voice"}, "to another server"),
        ({"voice_url": "https://voice.example.com.evil.example/webhooks/my-client/voice"}, "to another server"),
        ({"voice_url": "https://voice.example.com/webhooks/other/voice"}, "to another agent or path"),
        ({"voice_url": "https://voice.example.com/webhooks/my-client/call-status"}, "to another agent or path"),
        ({"voice_url": f"{RIGHT}?debug=1"}, "to another agent or path"),
        ({"voice_method": "GET"}, "with GET"),
        ({"voice_application_sid": "AP1"}, "a TwiML application or a SIP trunk"),
        ({"trunk_sid": "TK1"}, "a TwiML application or a SIP trunk"),
        ({"phone_number": "+141555501239"}, "none of the account's"),
    ],
)
async def test_a_number_that_leads_elsewhere_is_reported(tmp_path: Path, found: dict[str, Any], told: str) -> None:
    """The agent is named, and what to do; neither the number nor a foreign address is repeated."""
    async with asked(tmp_path, numbers(found)) as (settings, _server):
        with pytest.raises(CheckFailed, match=told) as ill:
            await webhooks(settings)
    assert not isinstance(ill.value, Undetermined)
    text = ill.value.detail + ill.value.fix
    assert "my-client" in text
    assert NUMBER not in text
    assert "evil" not in text
    assert "relay agents set" in text or RIGHT in text


async def test_an_account_without_the_number_is_reported(tmp_path: Path) -> None:
    """Nobody who calls it comes here."""
    async with asked(tmp_path, numbers()) as (settings, _server):
        with pytest.raises(CheckFailed, match="none of the account's"):
            await webhooks(settings)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500),
        Reply(401, b'{"code": 20003}'),
        Reply(403, b'{"code": 10001}'),
        Reply(200, b"<html>"),
        Reply(200, b"{}", {"content-type": "application/json"}),
    ],
    ids=["a fault", "a wrong password", "suspended", "a page", "no list"],
)
async def test_a_carrier_that_does_not_say_leaves_it_open(tmp_path: Path, reply: Reply) -> None:
    """Its faults are another check's, and no fault of the number's."""
    async with asked(tmp_path, reply) as (settings, _server):
        with pytest.raises(Undetermined):
            await webhooks(settings)


async def test_an_agent_without_a_number_is_counted(tmp_path: Path) -> None:
    """Which number leads to it, only a call can show."""
    async with asked(tmp_path, numbers(), number=None) as (settings, server):
        assert "Agents without a number, of which only a call can show it: 1." in await webhooks(settings)
    assert server.asked == []


async def test_those_who_call_back_should_reach_an_agent(tmp_path: Path) -> None:
    """The settings' number may lead to any agent; where it leads to none, that is told as a doubt."""
    async with asked(tmp_path, numbers({}), number=None, caller=NUMBER) as (settings, server):
        await webhooks(settings)
        server.replies = {NUMBERS: numbers({"voice_url": "https://demo.example/"})}
        with pytest.raises(Undetermined, match="TWILIO_PHONE_NUMBER back reaches no agent"):
            await webhooks(settings)
        await webhooks(settings.model_copy(update={"twilio_phone_number": None}))


# ── setting them ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_number_is_led_to_its_agent(tmp_path: Path) -> None:
    """Both addresses are set, by POST, and nothing else of the number."""
    async with asked(tmp_path, numbers({"voice_url": "https://demo.example/"})) as (settings, server):
        (misled,) = await find_misled(settings)
        assert misled.agent.agent_id == "my-client"
        assert misled.how == "leads to another server, not to the agent's webhook"
        server.replies = {ONE: Reply(200, json.dumps({"sid": "PN1"}).encode(), {"content-type": "application/json"})}
        await lead_home(settings, misled)
    ((path, form),) = server.forms
    assert path == ONE
    assert form == {
        "VoiceUrl": RIGHT,
        "VoiceMethod": "POST",
        "StatusCallback": "https://voice.example.com/webhooks/my-client/call-status#rc=2&rp=ct,rt,5xx",
        "StatusCallbackMethod": "POST",
    }


@pytest.mark.parametrize(
    "found", [{}, {"voice_application_sid": "AP1"}, {"trunk_sid": "TK1"}, {"phone_number": "+141555501239"}]
)
async def test_what_is_right_or_anothers_business_is_left_alone(tmp_path: Path, found: dict[str, Any]) -> None:
    """A number that leads here, one of an application or a trunk, one of another account."""
    async with asked(tmp_path, numbers(found)) as (settings, server):
        assert await find_misled(settings) == []
    assert server.forms == []


async def test_a_carrier_that_does_not_set_it_says_why(tmp_path: Path) -> None:
    """Its refusal is told, without the number."""
    async with asked(tmp_path, numbers({"voice_url": ""})) as (settings, server):
        (misled,) = await find_misled(settings)
        server.replies = {ONE: Reply(401, b'{"code": 20003}')}
        with pytest.raises(CarrierRefused) as refused:
            await lead_home(settings, misled)
    assert NUMBER not in str(refused.value)
