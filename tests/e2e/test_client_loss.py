"""A client is killed: the caller hears the next rung as soon as the connection is gone.

What tells the relay that a client is gone is the end of a connection: the SSE stream, the standing stream of a session
at `/mcp`, a tool call that waits. The times here leave room for a busy machine; `scripts/bench.py` prints what it
takes.
"""

from __future__ import annotations

import pytest
import trio

from actors.call_values import Reason
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.local_daemon import LocalDaemon
from relay.simulator.load.silent_client import Reachability, run_silent_client
from tests.e2e.conftest import IMPATIENCE
from tests.e2e.parties import Access, ask, calling, message_left, register
from tests.forked_process import is_one_of_many
from tests.mcp_clients import (
    PYTHON_2,
    PYTHON_2_LEGACY,
    TYPESCRIPT_2,
    TYPESCRIPT_2_AUTO,
    RunningClient,
    StockClient,
    each_client,
    session_of,
    start_client,
)

each_path = pytest.mark.parametrize("path", ["/sse", "/mcp"])

SOON = 1.0
THINKING = ("--without-sampling", "--converse", "--think", "30")


async def at_the_desk(client: RunningClient) -> None:
    """Wait until a caller's words would reach a client of the turn tools, or one of its calls of them has begun."""
    await client.call("comms_list_calls")  # the relay has taken the calls of tools before it
    await client.next("tool")


async def noticed() -> None:
    """Give the agent's home the moment after which it knows, too, that a client has left which comes by another node.

    Words that are said in the very moment of a kill may be given to the call that waited there, as those of a client
    that thinks.
    """
    if is_one_of_many():
        await trio.sleep(0.3)


async def lost(call: SimulatedCall, killed: float) -> None:
    """Check that the answering machine has taken over from a client that was killed at this time."""
    token = await call.next_token()
    assert "I'm sorry" in token.text
    assert token.at - killed < SOON


@each_path
@each_client(PYTHON_2_LEGACY, TYPESCRIPT_2)
async def test_a_client_that_was_asked(stock: StockClient, path: str, daemon: LocalDaemon, agent: Access) -> None:
    """The end of its stream ends its turn, and the answering machine says so without waiting for the limit."""
    async with start_client(stock, f"{daemon.url}{path}", f"--token={agent.token}", "--think", "30") as client:
        await session_of(agent.agent_id, daemon)
        async with calling(daemon, agent) as call:
            await call.say("Hello?")
            await client.next("sampling")
            client.kill()
            await lost(call, trio.current_time())
    assert (await message_left(daemon, agent)).reason is Reason.CLIENT_LEFT


@each_path
@each_client(PYTHON_2_LEGACY, TYPESCRIPT_2)
async def test_a_client_of_the_turn_tools_that_thinks(
    stock: StockClient, path: str, daemon: LocalDaemon, agent: Access
) -> None:
    """Its session ends with its stream, and with the session the turn whose words a tool call had given it."""
    async with start_client(stock, f"{daemon.url}{path}", f"--token={agent.token}", *THINKING) as client:
        await at_the_desk(client)
        async with calling(daemon, agent) as call:
            await call.say("Hello?")
            assert (await client.next("heard"))["result"]["caller"] == "Hello?"
            client.kill()
            await lost(call, trio.current_time())
    assert (await message_left(daemon, agent)).reason is Reason.CLIENT_LEFT


@each_client(PYTHON_2, TYPESCRIPT_2_AUTO)
async def test_a_client_without_a_session_that_waits(stock: StockClient, daemon: LocalDaemon, agent: Access) -> None:
    """With the tool call that waited its client is gone: the next words are not kept for it."""
    async with start_client(stock, f"{daemon.url}/mcp", f"--token={agent.token}", *THINKING) as client:
        await at_the_desk(client)
        async with calling(daemon, agent) as call:
            client.kill()
            await client.process.wait()
            await noticed()
            killed = trio.current_time()
            await call.say("Hello?")
            await lost(call, killed)
    assert (await message_left(daemon, agent)).reason is Reason.CLIENT_ABSENT


@each_client(PYTHON_2)
async def test_a_client_without_any_connection(stock: StockClient, hasty_daemon: LocalDaemon) -> None:
    """Nothing tells that a client without session is gone that only thinks: then the limit is what it always is."""
    agent = await register(hasty_daemon)
    async with start_client(stock, f"{hasty_daemon.url}/mcp", f"--token={agent.token}", *THINKING) as client:
        await at_the_desk(client)
        async with calling(hasty_daemon, agent) as call:
            asked = trio.current_time()
            await call.say("Hello?")
            await client.next("heard")
            client.kill()
            token = await call.next_token()
    assert "I'm sorry" in token.text
    assert IMPATIENCE <= token.at - asked < IMPATIENCE + SOON


@each_path
@each_client(PYTHON_2_LEGACY, PYTHON_2)
async def test_a_client_that_waits_is_not_counted_on(
    stock: StockClient, path: str, daemon: LocalDaemon, agent: Access
) -> None:
    """Of two clients that wait for a caller one is killed: the words go to the other one."""
    url, options = f"{daemon.url}{path}", (f"--token={agent.token}", "--without-sampling", "--converse")
    async with start_client(stock, url, *options) as survivor, start_client(stock, url, *options) as victim:
        await at_the_desk(survivor)
        await at_the_desk(victim)
        victim.kill()
        await victim.process.wait()
        async with calling(daemon, agent) as call:
            for words in ("Hello?", "Are you there?"):
                assert await ask(call, words) == f"You said: {words}"


@pytest.mark.parametrize(
    ("path", "by"),
    [("/sse", "sampling"), ("/mcp", "sampling"), ("/sse", "converse"), ("/mcp", "converse"), ("/mcp", "waiting")],
)
async def test_a_silent_client_is_one(path: str, by: Reachability, daemon: LocalDaemon, agent: Access) -> None:
    """The client that the benchmark kills is missed as soon as the published ones."""
    async with (
        run_silent_client(f"{daemon.url}{path}", agent.token, by=by) as client,
        calling(daemon, agent) as call,
    ):
        if by != "waiting":
            await call.say("Hello?")
            await client.asked()
        await client.kill()
        killed = trio.current_time()
        if by == "waiting":
            await noticed()
            await call.say("Hello?")
        await lost(call, killed)
