"""Calling out on a whole daemon: the carrier's REST API, served to a daemon that was told of its address at start.

    client ──comms_make_call──▶ daemon ──REST──▶ RestApi (here, one a test) ──webhooks, socket──▶ daemon

The daemon is shared by all tests and knows one address; each test serves the API at it, with a carrier of its own.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs

from relay.simulator.carrier.exchange import Carrier
from relay.simulator.carrier.rest_service import RestApi, open_rest
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.parties import AiClient, eventually

OWN_NUMBER = "+15550001111"
CALLEE = "+15559876543"
HUMAN = "+15551234567"


def free_port() -> int:
    """Find a port for the API that nobody uses; it is bound again and again, and by the tests alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@attrs.frozen
class Outside:
    """A daemon that can call out, and what is on the other side of the carrier."""

    daemon: LocalDaemon
    carrier: Carrier
    rest: RestApi

    async def called(self, client: AiClient, **arguments: object) -> SimulatedCall:
        """Make a call by the tool, and return it as the carrier has it."""
        made = await client.tool("comms_make_call", **arguments)
        assert "error" not in made, made
        return await self.rest.call(made["callSid"])


@asynccontextmanager
async def open_outside(daemon: LocalDaemon, carrier: Carrier, port: int) -> AsyncIterator[Outside]:
    """Serve the carrier's REST API where the daemon expects it, for the length of the block."""
    async with open_rest(carrier, port=port) as rest:
        yield Outside(daemon, carrier, rest)


async def record_of(client: AiClient, call_sid: str) -> dict[str, Any]:
    """Return a call's record as its client sees it."""
    calls = (await client.tool("comms_list_calls", limit=1000))["calls"]
    return dict(next(each for each in calls if each["callSid"] == call_sid))


async def ended_record(client: AiClient, call_sid: str) -> dict[str, Any]:
    """Wait until a call is over, and return its record."""

    async def is_over() -> bool:
        return bool((await record_of(client, call_sid))["state"] == "ended")

    await eventually(is_over)
    return await record_of(client, call_sid)


async def transfer(client: AiClient, call: SimulatedCall, **arguments: object) -> dict[str, Any]:
    """Pass a call on to `HUMAN`."""
    return await client.tool(
        "comms_transfer_call",
        callSid=call.call_sid,
        to=HUMAN,
        **{"announcementText": "Connecting you to a human client now."} | arguments,
    )
