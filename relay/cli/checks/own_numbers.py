"""Whether the agents' numbers have the right webhook at the carrier, and how they get it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

import attrs

from relay.agent import Agent
from relay.cli.checks.check import CheckFailed, Undetermined
from relay.settings import Settings
from relay.store.agent_registry import AgentRegistry
from relay.store.database import open_database
from relay.twilio.call_orders import NumberState
from relay.twilio.rest import CarrierCalls, open_carrier_calls
from relay.twilio.rest_errors import CarrierRefused
from relay.twilio.urls import CarrierUrls


@attrs.frozen(kw_only=True)
class Misled:
    """A number of the account's whose calls do not reach the agent that it is the number of; `how` is a clause."""

    agent: Agent
    state: NumberState
    how: str


async def webhooks(settings: Settings) -> str:
    """Ask the carrier for each agent's number. Raises `CheckFailed` and `Undetermined`."""
    async with open_database(settings.database_url) as database:
        registered = await AgentRegistry(database).list()
    numbered = [each for each in registered if each.number]
    async with _open_carrier(settings) as carrier:
        try:
            wrong = [await _wrong(carrier, settings, each) for each in numbered]
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


async def find_misled(settings: Settings) -> list[Misled]:
    """Ask the carrier which of the agents' numbers lead elsewhere and can be set. Raises `CarrierRefused`.

    Left out are those of an application or a trunk: what else goes by way of it, only its owner knows.
    """
    async with open_database(settings.database_url) as database:
        registered = await AgentRegistry(database).list()
    misled = []
    async with _open_carrier(settings) as carrier:
        for agent in registered:
            state = await carrier.find_number(agent.number) if agent.number else None
            how = "" if state is None or state.is_led_elsewhere else _leads(settings, agent, state)
            if state is not None and how:
                misled.append(Misled(agent=agent, state=state, how=how))
    return misled


async def lead_home(settings: Settings, number: Misled) -> None:
    """Set a number's webhooks at the carrier to those of its agent. Idempotent. Raises `CarrierRefused`."""
    urls, agent_id = CarrierUrls(settings.public_url or ""), number.agent.agent_id
    async with _open_carrier(settings) as carrier:
        await carrier.set_webhooks(number.state, urls.voice(agent_id), urls.call_status(agent_id))


def _open_carrier(settings: Settings) -> AbstractAsyncContextManager[CarrierCalls]:
    return open_carrier_calls(
        settings.twilio_account_sid or "",
        settings.twilio_auth_token or "",
        on_unclaimed=lambda _call: None,
        base_url=settings.twilio_api_base_url,
    )


async def _wrong(carrier: CarrierCalls, settings: Settings, agent: Agent) -> tuple[str, str] | None:
    """Return what is wrong with where an agent's number leads, and what to do; None where it is as it should be."""
    name = agent.agent_id
    found = await carrier.find_number(agent.number or "")
    if found is None:
        return (
            f"{name}'s number is none of the account's: nobody who calls it comes here.",
            f"Give {name} a number of the account with: relay agents set {name} --number +1…",
        )
    by_hand = (
        f"In the Twilio console, under Voice configuration of {name}'s number: A call comes in, Webhook, "
        f"{_voice_webhook(settings, agent)}, HTTP POST."
    )
    if found.is_led_elsewhere:
        return f"{name}'s number leads to a TwiML application or a SIP trunk.", by_hand
    if how := _leads(settings, agent, found):
        return f"{name}'s number {how}.", f"{by_hand} Or have it set: relay doctor --fix"
    return None


def _leads(settings: Settings, agent: Agent, found: NumberState) -> str:
    """Return how calls of a number are led past its agent, as a clause; empty where they are not."""
    if found.voice_url.rstrip("/") != _voice_webhook(settings, agent):
        return f"leads {_where(found.voice_url, settings)}, not to the agent's webhook"
    return "" if found.voice_method == "POST" else f"asks its webhook with {found.voice_method}"


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
