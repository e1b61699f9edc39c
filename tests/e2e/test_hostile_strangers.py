"""Strangers at the door of a daemon that has few file descriptors, while another agent's calls go on.

The calls, and the client that answers them, are a process of their own: it reports every answer that was lost, late or
another call's, and knows nothing of what happens beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import trio

from relay.simulator.carrier.signing import sign
from relay.simulator.load.local_daemon import ACCOUNT, LocalDaemon
from tests.e2e.conftest import MOST_SECONDS
from tests.e2e.parties import Access, carrier_url, connected, register
from tests.forked_process import run_local_daemon
from tests.hostile_inputs import HTTP2_PREFACE, Upgrade, upgrade_request
from tests.http1_peer import CHUNKED, Peer, chunk, head, peer

REPOSITORY = Path(__file__).parents[2]
DESCRIPTORS = 256
MANY = 300
"""More sockets than the daemon has descriptors."""

Hostile = Callable[["Door"], Awaitable[None]]


class Door:
    """The daemon's port, as a stranger finds it; what is opened stays open until the test is over."""

    def __init__(self, daemon: LocalDaemon, agent: Access, stack: AsyncExitStack) -> None:
        host, _, port = daemon.url.removeprefix("http://").partition(":")
        self.agent_id = agent.agent_id
        self._address = host, int(port)
        self._stack = stack

    async def open(self) -> Peer:
        """Connect, and stay."""
        return await self._stack.enter_async_context(peer(*self._address))

    async def send(self, data: bytes, times: int = MANY) -> list[Peer]:
        """Connect so many times, and send each time the same."""
        peers = [await self.open() for _ in range(times)]
        for each in peers:
            with trio.move_on_after(1):
                try:
                    await each.send(data)
                except trio.BrokenResourceError:
                    continue  # it gave way
        return peers


async def silence(door: Door) -> None:
    """Connect and send nothing."""
    await door.send(b"")


async def idle_pages(door: Door) -> None:
    """Ask for a page, and keep the connection."""
    await door.send(head("GET", "/health"))


async def half_heads(door: Door) -> None:
    """Begin a request."""
    await door.send(b"POST /mcp HTTP/1.1\r\nHost: rel")


async def half_second_heads(door: Door) -> None:
    """Begin a second request."""
    await door.send(head("GET", "/health") + b"POST /mcp HTTP/1.1\r\nHost: rel")


async def half_bodies(door: Door) -> None:
    """Send half a form to a webhook, unsigned."""
    form = "Content-Type: application/x-www-form-urlencoded"
    await door.send(head("POST", f"/webhooks/{door.agent_id}/voice", "Content-Length: 1000", form) + b"CallSid=")


async def early_answers(door: Door) -> None:
    """Have requests answered before their bodies, which never come."""
    await door.send(head("POST", "/mcp", "Content-Length: 1000"))


async def unread_chunks(door: Door) -> None:
    """Send more chunks than a handler is handed, to one that does not read."""
    await door.send(head("POST", "/mcp", CHUNKED) + chunk(b"x") * 100)


async def endless_chunks(door: Door) -> None:
    """Send chunks without end after the answer."""
    (client,) = await door.send(head("POST", "/mcp", CHUNKED), times=1)
    with trio.move_on_after(2):
        try:
            while True:
                await client.send(chunk(bytes(65_536)))
        except trio.BrokenResourceError:
            return


async def unread_answers(door: Door) -> None:
    """Ask for a large page again and again, and read none."""
    await door.send(head("GET", "/metrics") * 200, times=20)


async def two_lengths(door: Door) -> None:
    """Smuggle a request behind one that has two lengths."""
    smuggled = head("POST", f"/webhooks/{door.agent_id}/voice", "Content-Length: 0")
    await door.send(head("POST", "/health", "Content-Length: 4", CHUNKED) + b"0\r\n\r\n" + smuggled, times=30)


async def http2(door: Door) -> None:
    """Speak HTTP/2."""
    await door.send(HTTP2_PREFACE + bytes(9) * 100, times=30)


async def unsigned_upgrades(door: Door) -> None:
    """Upgrade with compression, unsigned, and send frames all the same."""
    offer = Upgrade({b"Sec-WebSocket-Extensions": b"permessage-deflate"}, trailing=b"\xc1\xff" + bytes(100))
    await door.send(upgrade_request(f"/webhooks/{door.agent_id}/voice-ws".encode(), offer, {}))


async def foreign_preflights(door: Door) -> None:
    """Ask for leave for a foreign page."""
    fields = ("Origin: https://evil.example", "Access-Control-Request-Method: POST")
    await door.send(head("OPTIONS", "/mcp", *fields))


HOSTILE: tuple[Hostile, ...] = (
    *(silence, idle_pages, half_heads, half_second_heads, half_bodies, early_answers, unread_chunks),
    *(endless_chunks, unread_answers, two_lengths, http2, unsigned_upgrades, foreign_preflights),
)


@asynccontextmanager
async def call_of_another_process(daemon: LocalDaemon) -> AsyncIterator[None]:
    """Keep a call going elsewhere, with a client of its own; at the end of the block it must have gone well."""
    other = await register(daemon)
    command = [sys.executable, "-m", "tests.e2e.other_process", daemon.database_url, daemon.url, carrier_url(daemon)]
    process = await trio.lowlevel.open_process(
        [*command, daemon.token, other.agent_id, other.token],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert (await process.stdout.receive_some()).startswith(b"conversing")
        yield
        await process.stdin.aclose()
        said = json.loads(b"".join([bytes(each) async for each in process.stdout]).split(b"\n")[-2])
        assert said["faults"] == []
        assert said["turns"] > len(HOSTILE)
    finally:
        process.kill()
        with trio.move_on_after(10, shield=True):
            await process.wait()
        await process.stdin.aclose()
        await process.stdout.aclose()


@pytest.fixture
async def small_daemon(tmp_path: Path) -> AsyncIterator[LocalDaemon]:
    """Run a daemon that may have few files and sockets open, and gives a client on a busy machine its time."""
    settings, as_users_do = {"RELAY_CLIENT_TIMEOUT": "30"}, trio.lowlevel.open_process
    async with run_local_daemon(tmp_path, settings, descriptors=DESCRIPTORS, open_process=as_users_do) as daemon:
        yield daemon


async def webhook_and_client_get_in(daemon: LocalDaemon, agent: Access) -> None:
    """Deliver a signed webhook, and connect a client, both over new connections."""
    path = f"/webhooks/{agent.agent_id}/call-status"
    form = {"CallSid": "CA" + "6" * 32, "AccountSid": ACCOUNT, "CallStatus": "completed"}
    async with httpx2.AsyncClient(base_url=daemon.url, timeout=MOST_SECONDS) as http:
        signature = sign(daemon.token, f"{daemon.url}{path}", form)
        assert (await http.post(path, data=form, headers={"X-Twilio-Signature": signature})).status_code == 204
    async with connected(agent):
        pass


async def test_strangers_keep_nobody_out_and_disturb_no_call(small_daemon: LocalDaemon) -> None:
    """Whatever strangers do with more sockets than there are descriptors, webhooks and clients get in, and the call of
    another process goes on without a lost answer.
    """
    agent = await register(small_daemon)
    async with call_of_another_process(small_daemon):
        for hostile in HOSTILE:
            async with AsyncExitStack() as stack:
                await hostile(Door(small_daemon, agent, stack))
                await webhook_and_client_get_in(small_daemon, agent)
    logged = {each["event"] for each in await small_daemon.events()}
    assert not logged & {"call_crashed", "handler_failed", "connection_failed", "request_failed", "listener_full"}


async def test_strangers_give_way_to_each_other(small_daemon: LocalDaemon) -> None:
    """Idle connections beyond the descriptors are closed, the oldest first, and nothing is refused."""
    agent = await register(small_daemon)
    async with AsyncExitStack() as stack:
        peers = await Door(small_daemon, agent, stack).send(head("GET", "/health"), times=2 * MANY)
        assert (await peers[-1].answer()).status == 200
        assert (await peers[-1].get("/health")).status == 200
        while not await peers[0].has_ended():  # noqa: ASYNC110 - nobody announces it
            await trio.sleep(0.01)
    assert await small_daemon.events("listener_full") == []
