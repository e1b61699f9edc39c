"""Whether the agents' numbers have the right webhook at the carrier."""

from __future__ import annotations

from collections.abc import Iterable

from relay.agent import Agent
from relay.cli.checks.check import CheckFailed, Undetermined
from relay.settings import Settings
from relay.store.agent_registry import AgentRegistry
from relay.store.database import open_database
from relay.twilio.rest import CarrierCalls, open_carrier_calls
from relay.twilio.rest_errors import CarrierRefused
from relay.twilio.urls import CarrierUrls


async def webhooks(settings: Settings) -> str:
    """Ask the carrier for each agent's number. Raises `CheckFailed` and `Undetermined`."""
    async with open_database(settings.database_url) as database:
        registered = await AgentRegistry(database).list()
    numbered = [each for each in registered if each.number]
    account, token = settings.twilio_account_sid or "", settings.twilio_auth_token or ""
    async with open_carrier_calls(
        account, token, on_unclaimed=lambda _call: None, base_url=settings.twilio_api_base_url
    ) as carrier:
        try:
            wrong = [await _wrong(carrier, settings, each, each.number or "") for each in numbered]
            stray = await _stray(carrier, settings, registered)
        except CarrierRefused as refusal:
            raise Undetermined(f"The carrier does not say where the numbers lead. {refusal}") from None
    faults = [each for each in wrong if each is not None]
    if faults:
        raise CheckFailed(" ".join(detail for detail, _fix in faults), " ".join(fix for _detail, fix in faults))
    if stray:
        raise Undetermined(stray)
    without = len(registered) - len(numbered)
    unnumbered = f" Agents without a number, of which only a call can show it: {without}." if without else ""
    return f"Numbers that lead to their agent's webhook: {len(numbered)}.{unnumbered}"


async def _wrong(carrier: CarrierCalls, settings: Settings, agent: Agent, number: str) -> tuple[str, str] | None:
    """Return what is wrong with where an agent's number leads, and what to do; None where it is as it should be."""
    expected, name = _voice_webhook(settings, agent), agent.agent_id
    configure = (
        f"In the Twilio console, under Voice configuration of {name}'s number: A call comes in, Webhook, {expected}, "
        "HTTP POST."
    )
    found = await carrier.find_number(number)
    if found is None:
        return (
            f"{name}'s number is none of the account's: nobody who calls it comes here.",
            f"Give {name} a number of the account with: relay agents set {name} --number +1…",
        )
    if found.is_led_elsewhere:
        return f"{name}'s number leads to a TwiML application or a SIP trunk.", configure
    if found.voice_url.rstrip("/") != expected:
        return f"{name}'s number leads {_where(found.voice_url, settings)}, not to the agent's webhook.", configure
    if found.voice_method != "POST":
        return f"{name}'s number asks its webhook with {found.voice_method}.", configure
    return None


def _where(url: str, settings: Settings) -> str:
    if not url:
        return "nowhere"
    return "to another agent or path" if url.startswith(f"{settings.public_url}/") else "to another server"


async def _stray(carrier: CarrierCalls, settings: Settings, registered: Iterable[Agent]) -> str:
    """Return that those who call back TWILIO_PHONE_NUMBER reach no agent; empty where they do, or cannot."""
    number = settings.twilio_phone_number
    if number is None or number in {each.number for each in registered}:
        return ""
    found = await carrier.find_number(number)
    if found is None or found.is_led_elsewhere:
        return ""
    ours = {_voice_webhook(settings, each) for each in registered}
    return "" if found.voice_url.rstrip("/") in ours else "Who calls TWILIO_PHONE_NUMBER back reaches no agent here."


def _voice_webhook(settings: Settings, agent: Agent) -> str:
    return CarrierUrls(settings.public_url or "").voice(agent.agent_id)
