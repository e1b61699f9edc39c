"""The standing stream of a session at `/mcp`: nothing is sent before it is open, and its end fails what is in hand."""

from __future__ import annotations

import socket

import pytest
import trio

from actors.errors import ClientAbsent, ClientLeft
from relay.mcp.transports.event_stream import Timing
from tests.limits import HANGING
from tests.relay.mcp.http_client import HttpClient, http_client, standing_client
from tests.relay.mcp.mcp_relay import RunningRelay, Speech, eventually, running_relay


async def test_nothing_is_sent_before_the_stream_is_open(relay: RunningRelay) -> None:
    """A client is ready before its stream is: until then it gets no turn, and is told of messages afterwards."""
    left = await relay.leave("anna")
    async with http_client(relay) as client:
        await client.shake_hands()
        with pytest.raises(ClientAbsent):
            await relay.ask("Hello?")
        async with client.listening() as stream:
            updated = await stream.next_message("notifications/resources/updated")
            told = await stream.next_message("notifications/message")
            await relay.arrival()
    assert updated["params"] == {"uri": "comms://waiting-messages"}
    assert told["params"]["data"] == left.as_json()


async def test_stream_may_be_open_before_the_client_is_ready(relay: RunningRelay) -> None:
    """A GET that overtakes the notification that the client is ready is no error, and no reason to ask too early."""
    async with http_client(relay) as client:
        await client.shake_hands()
        session = relay.sessions.of_agent("anna")[0]
        await session.ready.wait()  # the notification was answered before it was handled
        session.ready = trio.Event()
        async with client.listening():
            with pytest.raises(ClientAbsent):
                await relay.ask("Hello?")
            await client.notify("notifications/initialized")
            await relay.arrival()


async def test_turn_is_asked_over_the_stream_and_answered_by_posts(relay: RunningRelay) -> None:
    """Pieces that overtake each other on the way are spoken by their numbers, and then the rest."""
    spoken: list[Speech] = []

    async def ask() -> None:
        spoken.append(await relay.ask("Hello?"))

    async with standing_client(relay) as (client, stream), trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        request = await stream.next_message("sampling/createMessage")
        token = request["params"]["_meta"]["progressToken"]
        for number, text in [(2, "two "), (1, "one ")]:
            await client.notify("notifications/progress", progressToken=token, progress=number, message=text)
        await client.say(request, "one two three")
    assert spoken[0].text == "one two three"


async def test_end_of_the_stream_fails_the_turn_but_not_the_session(relay: RunningRelay) -> None:
    """A client whose stream ends loses its turn at once and gets no other, but its tools go on working."""
    async with http_client(relay) as client:
        await client.shake_hands()
        with pytest.RaisesGroup(ClientLeft):
            async with trio.open_nursery() as nursery, client.listening() as stream:
                nursery.start_soon(relay.ask, "Hello?")
                request = await stream.next_message("sampling/createMessage")
        with pytest.raises(ClientAbsent):
            await relay.ask("Hello?")
        called = await client.request("tools/call", name="comms_list_calls", arguments={})
        assert called["result"]["structuredContent"] == {"calls": []}
        await client.say(request, "Too late.")


async def test_client_that_reconnects_is_here_again(relay: RunningRelay) -> None:
    """A new GET of the same session gets the next turns; a late answer to a lost one is heard by nobody."""
    async with http_client(relay) as client:
        await client.shake_hands()
        with pytest.RaisesGroup(ClientLeft):
            async with trio.open_nursery() as nursery, client.listening() as stream:
                nursery.start_soon(relay.ask, "Old question.")
                old = await stream.next_message("sampling/createMessage")
        heard: list[str] = []

        async def ask() -> None:
            heard.append((await relay.ask("New question.")).text)

        async with client.listening() as stream, trio.open_nursery() as nursery:
            await relay.arrival()
            nursery.start_soon(ask)
            new = await stream.next_message("sampling/createMessage")
            await client.say(old, "Old answer.")
            await client.say(new, "New answer.")
    assert heard == ["New answer."]


async def test_newer_stream_takes_the_place_of_an_older_one(relay: RunningRelay) -> None:
    """A client that comes back before its former connection is known to be dead is heard on the new one."""
    async with standing_client(relay) as (client, former):
        await relay.arrival()
        with pytest.RaisesGroup(ClientLeft):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay.ask, "Hello?")
                await former.next_message("sampling/createMessage")
                nursery.start_soon(listen_and_answer, relay, client)
        await former.ended.wait()


async def listen_and_answer(relay: RunningRelay, client: HttpClient) -> None:
    """Open another stream and answer a turn over it, whatever becomes of the one in hand."""
    with trio.CancelScope(shield=True), trio.fail_after(HANGING):
        async with client.listening() as stream, trio.open_nursery() as nursery:
            await relay.arrival()
            nursery.start_soon(relay.ask, "And now?")
            await client.say(await stream.next_message("sampling/createMessage"), "Yes.")


async def test_newer_stream_withdraws_the_turn_of_an_older_one(relay: RunningRelay) -> None:
    """A client that is back over another connection may still work on a turn that was given up."""

    async def ask() -> None:
        with pytest.raises(ClientLeft):
            await relay.ask("Hello?")

    async with standing_client(relay) as (client, former), trio.open_nursery() as nursery:
        await relay.arrival()
        nursery.start_soon(ask)
        request = await former.next_message("sampling/createMessage")
        async with client.listening() as stream:
            withdrawn = await stream.next_message("notifications/cancelled")
    assert withdrawn["params"]["requestId"] == request["id"]


async def test_client_without_sampling_is_notified_but_never_asked(relay: RunningRelay) -> None:
    """An open stream alone makes nobody present."""
    async with standing_client(relay, sampling=False) as (_client, stream):
        await relay.leave("anna")
        relay.app.announce("anna")
        await stream.next_message("notifications/message")
        with pytest.raises(ClientAbsent):
            await relay.ask("Hello?")


async def test_idle_stream_carries_comments() -> None:
    """A stream that is silent for a while shows that its path is alive."""
    timing = Timing(comment_interval=0.02)
    async with running_relay(timing=timing) as relay, standing_client(relay) as (_client, stream):
        assert await stream.next_event() == {"comment": "still here"}
        assert await stream.next_event() == {"comment": "still here"}


async def test_client_that_answers_no_ping_is_closed() -> None:
    """A client that listens but has gone mute for long is given up without a turn being lost on it."""
    timing = Timing(ping_interval=0.05, ping_timeout=0.1, silence_timeout=0.2)
    async with running_relay(timing=timing) as relay, standing_client(relay) as (client, stream):
        await stream.next_message("ping")
        await stream.ended.wait()
        await relay.departure()
        assert (await client.send("DELETE")).status_code == 404


async def test_client_that_answers_pings_stays() -> None:
    """A sign of life is enough to stay."""
    timing = Timing(ping_interval=0.02, ping_timeout=5)
    async with running_relay(timing=timing) as relay, standing_client(relay) as (client, stream):
        for _ in range(3):
            await client.reply(await stream.next_message("ping"), {})
        assert not stream.ended.is_set()


async def test_reader_that_stops_is_dropped_and_others_are_served() -> None:
    """A peer that does not read its stream loses it, after bounded memory, and another's turn is not held up."""
    async with running_relay(peer_patience=1.0) as relay, standing_client(relay, "bert") as (other, others):
        await relay.arrival(1, "bert")
        async with http_client(relay) as client:
            await client.shake_hands()
            host, port = relay.origin.removeprefix("http://").split(":")
            head = "".join(f"{name}: {value}\r\n" for name, value in client.headers.items())
            with trio.socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                await deaf.connect((host, int(port)))
                await deaf.send(f"GET /mcp HTTP/1.1\r\nhost: {host}\r\n{head}\r\n".encode())
                session = await relay.arrival()
                for _ in range(100):
                    if not session.reachable:
                        break
                    await session.connection.notify("notifications/message", {"level": "info", "data": "x" * 100_000})
                    await trio.lowlevel.checkpoint()
                assert not session.can_sample
                assert session.outbox.size == 0
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(relay.ask, "Can you hear me?", "bert")
                    await other.say(await others.next_message("sampling/createMessage"), "Yes.")
            assert "result" in await client.request("ping")


async def test_error_in_one_stream_ends_that_stream_only(relay: RunningRelay) -> None:
    """A mistake of ours in one stream is logged and ends it; its session and the others go on."""
    await relay.leave("anna")
    relay.file.execute("UPDATE messages SET direction = 'sideways'")
    async with standing_client(relay, "bert") as (other, _), standing_client(relay) as (client, stream):
        await stream.ended.wait()
        await eventually(lambda: relay.presence.newest("anna") is None)
        assert "result" in await client.request("ping")
        assert "result" in await other.request("ping")
