"""A client that comes back without a handshake is recognised; one that is new never is."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from actors.errors import ClientAbsent
from relay.mcp.handshakes import LONGEST_HELLO
from relay.mcp.transports.event_stream import Timing
from tests.relay.mcp.mcp_relay import DatabaseFile, RawClient, RunningRelay, eventually, raw_client, running_relay

VERSION = {"mcp-protocol-version": "2025-11-25"}
QUICK = Timing(reconnect_patience=0.05)
STRICT = Timing(reconnect_patience=0.01, handshake_timeout=0.1)
PATIENT = Timing(reconnect_patience=30)


async def asked(relay: RunningRelay, client: RawClient, agent_id: str = "anna") -> None:
    """Check that the client gets the agent's turns."""
    await relay.arrival(1, agent_id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.ask, "Hello?", agent_id)
        await client.say(await client.next_message("sampling/createMessage"), "Hi.")


async def remembered(file: DatabaseFile, agent_id: str = "anna", query: str = "") -> str:
    """Let a client shake hands and leave; return the id of its first event."""
    async with running_relay(file=file) as relay, raw_client(relay, agent_id, query=query) as client:
        before = len(file.handshakes())
        await client.shake_hands()
        await eventually(lambda: len(file.handshakes()) >= before + 2)
        return client.events[0]["id"]


async def test_client_that_gives_its_last_event_is_recognised_at_once(tmp_path: Path) -> None:
    """The id of the first event is the client's own, so it needs no further sign."""
    file = DatabaseFile.made_in(tmp_path)
    last = await remembered(file)
    async with (
        running_relay(file=file, timing=PATIENT) as relay,
        raw_client(relay, headers={"last-event-id": last}) as client,
    ):
        await asked(relay, client)
        assert client.events[0]["id"] == last


async def test_client_that_looks_alike_is_recognised_when_it_does_not_shake_hands(tmp_path: Path) -> None:
    """A protocol version without a handshake is the mark of an EventSource that came back."""
    file = DatabaseFile.made_in(tmp_path)
    await remembered(file)
    async with running_relay(file=file, timing=QUICK) as relay, raw_client(relay, headers=VERSION) as client:
        await asked(relay, client)


async def test_client_that_looks_alike_is_recognised_by_its_first_request(tmp_path: Path) -> None:
    """Its requests are answered although it never shook hands with this session."""
    file = DatabaseFile.made_in(tmp_path)
    await remembered(file)
    async with running_relay(file=file, timing=PATIENT) as relay, raw_client(relay, headers=VERSION) as client:
        assert "tools" in (await client.request("tools/list"))["result"]
        await asked(relay, client)


async def test_fresh_client_that_looks_alike_speaks_for_itself(tmp_path: Path) -> None:
    """A new client that sends the version from the start is never taken for the other one."""
    file = DatabaseFile.made_in(tmp_path)
    await remembered(file)
    async with running_relay(file=file, timing=QUICK) as relay, raw_client(relay, headers=VERSION) as client:
        await client.shake_hands(sampling=False)
        await eventually(relay.sessions.of_agent("anna")[0].ready.is_set)
        with pytest.raises(ClientAbsent):
            await relay.ask("Hello?")


@pytest.mark.parametrize(
    ("agent_id", "query", "headers"),
    [
        ("anna", "", {}),
        ("anna", "", {"mcp-protocol-version": "2024-11-05"}),
        ("anna", "", {"last-event-id": "made up"}),
        ("anna", "", {"user-agent": "another", **VERSION}),
        ("anna", "&client=desk", VERSION),
        ("bert", "", VERSION),
    ],
    ids=["no sign", "other version", "unknown event", "other program", "other query", "other agent"],
)
async def test_stranger_is_not_recognised(agent_id: str, query: str, headers: dict[str, str], tmp_path: Path) -> None:
    """Without a sign that leads to its own hello nobody is ready before a handshake."""
    file = DatabaseFile.made_in(tmp_path)
    await remembered(file)
    async with (
        running_relay(file=file, timing=STRICT) as relay,
        raw_client(relay, agent_id, query=query, headers=headers) as client,
    ):
        session = relay.sessions.of_agent(agent_id)[0]
        await client.ended.wait()
        assert not session.ready.is_set()


async def test_event_of_another_agent_is_no_sign(tmp_path: Path) -> None:
    """Who learns another agent's event id gains nothing by it."""
    file = DatabaseFile.made_in(tmp_path)
    last = await remembered(file, "bert")
    async with (
        running_relay(file=file, timing=STRICT) as relay,
        raw_client(relay, headers={"last-event-id": last}) as client,
    ):
        await client.ended.wait()


async def test_like_clients_are_distinguished_by_their_query(tmp_path: Path) -> None:
    """Two clients of an agent, one without sampling, keep their own hellos under their own addresses."""
    file = DatabaseFile.made_in(tmp_path)
    async with (
        running_relay(file=file) as relay,
        raw_client(relay, query="&client=desk") as desk,
        raw_client(relay, query="&client=shelf") as shelf,
    ):
        await desk.shake_hands()
        await shelf.shake_hands(sampling=False)
        await eventually(lambda: len(file.handshakes()) == 4)
    async with (
        running_relay(file=file, timing=QUICK) as relay,
        raw_client(relay, query="&client=desk", headers=VERSION) as desk,
        raw_client(relay, query="&client=shelf", headers=VERSION),
    ):
        await eventually(lambda: all(each.ready.is_set() for each in relay.sessions.of_agent("anna")))
        await asked(relay, desk)


async def test_hello_is_kept_with_the_version_agreed_on(tmp_path: Path) -> None:
    """A client that asked for a version unknown here goes on with the one it was offered."""
    file = DatabaseFile.made_in(tmp_path)
    async with running_relay(file=file) as relay, raw_client(relay) as client:
        await client.shake_hands(version="2099-01-01")
        await eventually(lambda: len(file.handshakes()) == 2)
    assert all('"protocolVersion":"2025-11-25"' in each for each in file.handshakes())


async def test_hello_of_another_release_is_ignored(tmp_path: Path) -> None:
    """What cannot be read any more is as good as forgotten."""
    file = DatabaseFile.made_in(tmp_path)
    last = await remembered(file)
    file.execute("UPDATE client_hellos SET params = ?", '{"protocolVersion": 7}')
    async with (
        running_relay(file=file, timing=STRICT) as relay,
        raw_client(relay, headers={"last-event-id": last, **VERSION}) as client,
    ):
        await client.ended.wait()


async def test_store_that_fails_costs_only_recognition() -> None:
    """Clients that shake hands are served while hellos can be neither kept nor recalled."""
    async with running_relay() as relay:
        with relay.file.broken("client_hellos"):
            async with raw_client(relay, headers=VERSION) as client:
                await client.shake_hands()
                await asked(relay, client)


async def test_client_that_says_nothing_of_itself_is_not_kept(relay: RunningRelay) -> None:
    """A bare "initialized" opens the session for tools, but there is nothing to remember, and it is not asked."""
    async with raw_client(relay) as client:
        await client.notify("notifications/initialized")
        assert "tools" in (await client.request("tools/list"))["result"]
        with pytest.raises(ClientAbsent):
            await relay.ask("Hello?")
    assert relay.file.handshakes() == []


async def test_very_long_hello_is_not_kept(relay: RunningRelay) -> None:
    """A client cannot fill the store with its handshake."""
    async with raw_client(relay) as client:
        who = {"name": "x" * LONGEST_HELLO, "version": "1"}
        await client.request("initialize", protocolVersion="2025-11-25", capabilities={"sampling": {}}, clientInfo=who)
        await client.notify("notifications/initialized")
        await asked(relay, client)
    assert relay.file.handshakes() == []
