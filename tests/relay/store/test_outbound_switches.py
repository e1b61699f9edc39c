"""The kill switch of each agent."""

from __future__ import annotations

import pytest

from actors.errors import StoreFailed
from relay.store.agent_registry import AgentRegistry
from relay.store.outbound_switches import OutboundSwitches, is_disabled
from tests.fakes_store import WallClock


@pytest.fixture
async def switches(registry: AgentRegistry, clock: WallClock) -> OutboundSwitches:
    for name in ("my-client", "other"):
        await registry.add(name)
    return OutboundSwitches(registry.database, clock)


async def disabled(switches: OutboundSwitches, agent_id: str) -> bool:
    return await switches.database.read(lambda connection: is_disabled(connection, agent_id))


async def test_a_switch_is_thrown_and_put_back(switches: OutboundSwitches) -> None:
    """An agent may dial until it is stopped, and again once it is let."""
    assert not await disabled(switches, "my-client")
    await switches.disable("my-client", reason="complaints")
    await switches.disable("my-client", reason="more complaints")
    assert await disabled(switches, "my-client")
    assert not await disabled(switches, "other")
    assert await switches.enable("my-client")
    assert not await disabled(switches, "my-client")
    assert not await switches.enable("my-client")


async def test_a_switch_goes_with_its_agent(switches: OutboundSwitches, registry: AgentRegistry) -> None:
    """A new agent of the same name starts switched on."""
    await switches.disable("my-client", reason="")
    await registry.remove("my-client")
    await registry.add("my-client")
    assert not await disabled(switches, "my-client")


async def test_there_is_no_switch_without_an_agent(switches: OutboundSwitches) -> None:
    """A misspelt name does not look as if it had been stopped."""
    with pytest.raises(StoreFailed):
        await switches.disable("nobody", reason="")
