"""Published MCP clients over both transports: what each of them does in the life of a session."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from actors.errors import ClientAbsent, ClientLeft
from tests.mcp_clients import (
    PYTHON_1,
    PYTHON_2,
    TYPESCRIPT_1,
    TYPESCRIPT_2,
    TYPESCRIPT_2_AUTO,
    StockClient,
    each_client,
    start_client,
)
from tests.relay.mcp.mcp_relay import DatabaseFile, RunningRelay, as_fetched, running_relay
from tests.sids import sid

over_both = pytest.mark.parametrize("way", ["sse", "mcp"])


@over_both
@each_client()
async def test_client_answers_a_turn(stock: StockClient, way: str, relay: RunningRelay) -> None:
    """A turn reaches every stock client with what is known of the call, and its words come back."""
    async with start_client(stock, *relay.address(way)) as client:
        await relay.arrival()
        speech = await relay.ask("What time is it?")
        asked = await client.next("sampling")
    assert speech.text == "You said: What time is it?"
    assert asked["metadata"]["callSid"] == sid()
    assert asked["metadata"]["from"] == "+15550001111"
    assert "untrusted data" in asked["system"]


@over_both
@each_client()
async def test_client_streams_its_answer_in_pieces(stock: StockClient, way: str, relay: RunningRelay) -> None:
    """Pieces are spoken as they come, in their order, and nothing is said twice."""
    words = " ".join(str(number) for number in range(20))
    async with start_client(stock, *relay.address(way), "--pieces"):
        await relay.arrival()
        speech = await relay.ask(words)
    assert speech.text == f"You said: {words}"
    assert len(speech.pieces) > 1


@over_both
@each_client()
async def test_cancelled_turn_is_withdrawn_from_the_client(stock: StockClient, way: str, relay: RunningRelay) -> None:
    """Cancelling a turn returns at once, and a client that can stop working on it is told to."""
    async with start_client(stock, *relay.address(way), "--think", "30" if stock.withdraws else "0.3") as client:
        await relay.arrival()
        async with trio.open_nursery() as turn:
            turn.start_soon(relay.ask, "Never mind.")
            await client.next("sampling")
            turn.cancel_scope.cancel()
        if stock.withdraws:
            await client.next("cancelled")
        else:
            assert (await relay.ask("Still there?")).text == "You said: Still there?"


@over_both
@each_client(PYTHON_1, PYTHON_2, TYPESCRIPT_1, TYPESCRIPT_2)
async def test_client_without_sampling_is_never_asked(stock: StockClient, way: str, relay: RunningRelay) -> None:
    """A client that did not declare sampling uses the tools, but gets no turns."""
    async with start_client(stock, *relay.address(way), "--without-sampling") as client:
        ready = await client.next("ready")
        with pytest.raises(ClientAbsent):
            await relay.ask("Anybody?")
    assert "comms_get_waiting_messages" in ready["tools"]
    assert "telephone" in ready["instructions"]
    assert client.seen("sampling") == []


@over_both
@each_client()
async def test_client_killed_with_a_turn_in_hand_is_noticed(stock: StockClient, way: str, relay: RunningRelay) -> None:
    """The turn of a client that dies fails as soon as its connection is gone."""
    async with start_client(stock, *relay.address(way), "--think", "30") as client:
        await relay.arrival()
        with trio.fail_after(10), pytest.RaisesGroup(ClientLeft):
            async with trio.open_nursery() as turn:
                turn.start_soon(relay.ask, "Hello?")
                await client.next("sampling")
                client.kill()
    await relay.loss()


@over_both
@each_client(PYTHON_1, PYTHON_2, TYPESCRIPT_1, TYPESCRIPT_2)
async def test_client_fetches_and_confirms_messages(stock: StockClient, way: str, relay: RunningRelay) -> None:
    """A client is told what waits as soon as it is ready, and its fetch and confirmation go through its own SDK."""
    left = await relay.leave("anna")
    await relay.leave("bert")
    async with start_client(stock, *relay.address(way), "--fetch") as client:
        fetched = await client.next("tool")
        confirmed = await client.next("tool")
    assert fetched["result"] == {"messages": [as_fetched(left)], "remaining": 0}
    assert confirmed["result"] == {"acknowledged": [left.id], "unknown": []}
    told = [each for each in client.seen("notification") if each["method"] == "notifications/message"]
    assert [each["params"]["data"] for each in told] == [left.as_json()]
    assert relay.file.confirmed() == {left.id}


@each_client(PYTHON_1, PYTHON_2, TYPESCRIPT_1, TYPESCRIPT_2)
async def test_client_may_carry_its_token_in_a_header(stock: StockClient, relay: RunningRelay) -> None:
    """A client that sends Authorization instead of a query is as good."""
    async with start_client(stock, f"{relay.origin}/sse", "--token", "token-anna"):
        await relay.arrival()
        assert (await relay.ask("Hi")).text == "You said: Hi"


@each_client(TYPESCRIPT_1, TYPESCRIPT_2, TYPESCRIPT_2_AUTO)
async def test_client_that_reconnects_after_a_restart_is_recognised(stock: StockClient, tmp_path: Path) -> None:
    """An EventSource that comes back without a handshake answers calls again, and its tools work."""
    file = DatabaseFile.made_in(tmp_path)
    async with running_relay(file=file) as relay:
        port = int(relay.origin.rpartition(":")[2])
        async with start_client(stock, *relay.address("sse")) as client:
            await client.next("ready")
            await relay.shut_down()
            async with running_relay(file=file, port=port) as successor:
                await successor.arrival()
                assert (await successor.ask("Are you back?")).text == "You said: Are you back?"


@over_both
@each_client(PYTHON_2)
async def test_newest_session_answers_and_its_end_leaves_the_other(
    stock: StockClient, way: str, relay: RunningRelay
) -> None:
    """Of two sessions the newer gets the turn; when it dies, the older one does."""
    async with start_client(stock, *relay.address(way)) as older:
        await relay.arrival()
        async with start_client(stock, *relay.address(way)) as newer:
            await relay.arrival(2)
            await relay.ask("first")
            newer.kill()
            await relay.loss(1)
        await relay.ask("second")
    assert [each["text"] for each in newer.seen("sampling")] == ["first"]
    assert [each["text"] for each in older.seen("sampling")] == ["second"]


@over_both
@each_client(PYTHON_1, PYTHON_2, TYPESCRIPT_1, TYPESCRIPT_2)
async def test_client_is_notified_of_a_message_left_while_it_is_here(
    stock: StockClient, way: str, relay: RunningRelay
) -> None:
    """A message that is left while the client is connected is announced at once, unless its log level forbids."""
    async with (
        start_client(stock, *relay.address(way)) as talkative,
        start_client(stock, *relay.address(way), "--log-level", "error") as quiet,
    ):
        await talkative.next("ready")
        await quiet.next("ready")
        left = await relay.leave("anna")
        relay.app.announce("anna")
        updated = await talkative.next("notification")
        told = await talkative.next("notification")
        updated_too = await quiet.next("notification")
    assert updated["params"] == updated_too["params"] == {"uri": "comms://waiting-messages"}
    assert told["params"] == {"level": "notice", "logger": "waiting-message", "data": left.as_json()}
    assert len(quiet.seen("notification")) == 1
