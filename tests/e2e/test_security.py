"""Who may bring calls: only the carrier, and to the voice socket only with the ticket of this very call."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from relay.simulator.carrier.exchange import Carrier, open_carrier
from relay.simulator.carrier.signing import sign
from relay.simulator.carrier.webhook_client import CallFacts
from relay.simulator.carrier.websocket import WebSocketClosed, WebSocketRefused, open_websocket
from relay.simulator.load.local_daemon import ACCOUNT, LocalDaemon
from tests.e2e.parties import (
    Access,
    Daemon,
    ask,
    carrier_of,
    connected,
    eventually,
    metrics,
    register,
    ticket_in,
)
from tests.e2e.relay_here import run_relay_here

POLICY_VIOLATION = 1008


def facts_of(access: Access) -> CallFacts:
    """Make up a new call to an agent."""
    return CallFacts(
        agent_id=access.agent_id,
        call_sid="CA" + secrets.token_hex(16),
        caller="+15550100001",
        called="+15550100002",
        direction="inbound",
        attestation="",
    )


async def announce(carrier: Carrier, facts: CallFacts) -> str:
    """Announce a call by the voice webhook and return its ticket."""
    answer = await carrier.post(facts.voice_url, facts.fields(ACCOUNT, "ringing"))
    assert answer.status_code == 200
    return ticket_in(answer.text)


def socket_url(daemon: Daemon, access: Access) -> str:
    """Return the address of an agent's voice socket."""
    return f"{daemon.url.replace('http', 'ws', 1)}/webhooks/{access.agent_id}/voice-ws"


async def knock(carrier: Carrier, url: str, call_sid: str, ticket: str, account: str = ACCOUNT) -> int:
    """Open a signed socket, say which call it is for, and return the code with which it is closed."""
    setup = {"type": "setup", "callSid": call_sid, "accountSid": account, "customParameters": {"ticket": ticket}}
    async with carrier.open_socket(url) as socket:
        await socket.send(json.dumps(setup))
        with pytest.raises(WebSocketClosed) as closed:
            await socket.receive()
    return closed.value.code


@pytest.fixture
async def carrier(daemon: LocalDaemon) -> AsyncIterator[Carrier]:
    """Open the carrier's account."""
    async with carrier_of(daemon) as carrier:
        yield carrier


# ── webhooks ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_unsigned_webhook_is_refused(daemon: LocalDaemon, agent: Access, http: httpx2.AsyncClient) -> None:
    """A webhook without a signature gets 403, and no place is taken for it."""
    facts = facts_of(agent)
    before = (await metrics(daemon))["relay_places_taken"]
    answer = await http.post(facts.voice_url, data=facts.fields(ACCOUNT, "ringing"))
    assert (answer.status_code, answer.text) == (403, "")
    assert (await metrics(daemon))["relay_places_taken"] == before


async def test_a_webhook_signed_with_another_token_is_refused(daemon: LocalDaemon, agent: Access) -> None:
    """Only the account's own token signs webhooks."""
    facts = facts_of(agent)
    async with open_carrier(ACCOUNT, "another token", daemon.url) as stranger:
        answer = await stranger.post(facts.voice_url, facts.fields(ACCOUNT, "ringing"))
    assert answer.status_code == 403


async def test_a_signature_does_not_fit_another_webhook(
    daemon: LocalDaemon, agent: Access, http: httpx2.AsyncClient
) -> None:
    """The signature of one call's webhook is no good for another call's."""
    captured, forged = facts_of(agent), facts_of(agent)
    signature = sign(daemon.token, daemon.url + captured.voice_url, captured.fields(ACCOUNT, "ringing"))
    headers = {"X-Twilio-Signature": signature}
    answer = await http.post(forged.voice_url, data=forged.fields(ACCOUNT, "ringing"), headers=headers)
    assert answer.status_code == 403


async def test_a_repeated_webhook_is_answered_alike(carrier: Carrier, agent: Access) -> None:
    """The carrier's own repeat of a webhook gets the same ticket, and takes no second place."""
    facts = facts_of(agent)
    fields = facts.fields(ACCOUNT, "ringing")
    first = await carrier.post(facts.voice_url, fields, token="the same request")
    again = await carrier.post(facts.voice_url, fields, token="the same request")
    assert first.text == again.text
    await carrier.post(f"/webhooks/{agent.agent_id}/call-status", facts.fields(ACCOUNT, "completed"))


async def test_a_replayed_webhook_does_not_disturb_its_call(
    daemon: LocalDaemon, carrier: Carrier, agent: Access
) -> None:
    """Who replays a captured webhook of a live call gets no line to it, and the call goes on."""
    async with connected(agent), carrier.call(agent.agent_id) as call:
        answer = await carrier.post(call.facts.voice_url, call.facts.fields(ACCOUNT, "ringing"))
        ticket = ticket_in(answer.text)
        assert await knock(carrier, socket_url(daemon, agent), call.call_sid, ticket) == POLICY_VIOLATION
        assert await ask(call, "Still there?") == "You said: Still there?"


# ── the voice socket ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_unsigned_upgrade_is_refused(daemon: LocalDaemon, agent: Access) -> None:
    """An upgrade without a signature gets 403 before there is a socket."""
    with pytest.raises(WebSocketRefused) as refusal:
        async with open_websocket(socket_url(daemon, agent)):
            pass
    assert refusal.value.status == 403


async def test_an_upgrade_signed_for_another_agent_is_refused(daemon: LocalDaemon, agent: Access) -> None:
    """A captured signature of one agent's socket opens no other agent's."""
    other = await register(daemon)
    signature = sign(daemon.token, socket_url(daemon, agent))
    with pytest.raises(WebSocketRefused) as refusal:
        async with open_websocket(socket_url(daemon, other), headers=[("x-twilio-signature", signature)]):
            pass
    assert refusal.value.status == 403


async def test_a_ticket_is_good_once(daemon: LocalDaemon, carrier: Carrier, agent: Access) -> None:
    """A second socket with the ticket of a live call is closed, and the call goes on."""
    async with connected(agent), carrier.call(agent.agent_id) as call:
        ticket = ticket_in(call.twiml)
        assert await knock(carrier, socket_url(daemon, agent), call.call_sid, ticket) == POLICY_VIOLATION
        assert await ask(call, "Still there?") == "You said: Still there?"


async def test_a_ticket_is_no_good_after_its_call(daemon: LocalDaemon, carrier: Carrier, agent: Access) -> None:
    """The ticket of a call that is over opens nothing."""
    async with carrier.call(agent.agent_id) as call:
        pass
    ticket = ticket_in(call.twiml)
    assert await knock(carrier, socket_url(daemon, agent), call.call_sid, ticket) == POLICY_VIOLATION


async def test_a_made_up_ticket_is_no_good(daemon: LocalDaemon, carrier: Carrier, agent: Access) -> None:
    """A socket for an announced call, but with a ticket that was never given out, is closed."""
    facts = facts_of(agent)
    await announce(carrier, facts)
    assert await knock(carrier, socket_url(daemon, agent), facts.call_sid, "A" * 43) == POLICY_VIOLATION
    await carrier.post(f"/webhooks/{agent.agent_id}/call-status", facts.fields(ACCOUNT, "completed"))


async def test_a_ticket_is_good_for_its_own_call_only(daemon: LocalDaemon, carrier: Carrier, agent: Access) -> None:
    """The ticket of one call opens no socket for another call of the same agent."""
    mine, other = facts_of(agent), facts_of(agent)
    ticket = await announce(carrier, mine)
    await announce(carrier, other)
    assert await knock(carrier, socket_url(daemon, agent), other.call_sid, ticket) == POLICY_VIOLATION
    for facts in (mine, other):
        await carrier.post(f"/webhooks/{agent.agent_id}/call-status", facts.fields(ACCOUNT, "completed"))


async def test_a_ticket_is_good_for_its_own_agent_only(daemon: LocalDaemon, carrier: Carrier, agent: Access) -> None:
    """The ticket of an agent's call opens no socket of another agent."""
    facts = facts_of(agent)
    ticket = await announce(carrier, facts)
    other = await register(daemon)
    assert await knock(carrier, socket_url(daemon, other), facts.call_sid, ticket) == POLICY_VIOLATION
    await carrier.post(f"/webhooks/{agent.agent_id}/call-status", facts.fields(ACCOUNT, "completed"))


async def test_another_accounts_call_is_refused(daemon: LocalDaemon, carrier: Carrier, agent: Access) -> None:
    """With TWILIO_ACCOUNT_SID set, a socket that names another account is closed, even with a ticket."""
    facts = facts_of(agent)
    ticket = await announce(carrier, facts)
    stranger = "AC" + "9" * 32
    assert await knock(carrier, socket_url(daemon, agent), facts.call_sid, ticket, stranger) == POLICY_VIOLATION
    await carrier.post(f"/webhooks/{agent.agent_id}/call-status", facts.fields(ACCOUNT, "completed"))


async def test_a_ticket_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ticket that was not used in time opens nothing, and its place is free again."""
    for module in ("actors.calls", "relay.reception"):
        monkeypatch.setattr(f"{module}.TICKET_SECONDS", 0.1)
    async with run_relay_here(tmp_path) as here, carrier_of(here) as carrier:
        agent = await register(here)
        facts = facts_of(agent)
        ticket = await announce(carrier, facts)

        async def place_is_free() -> bool:
            return not (await metrics(here))["relay_places_taken"]

        await eventually(place_is_free)
        assert await knock(carrier, socket_url(here, agent), facts.call_sid, ticket) == POLICY_VIOLATION
