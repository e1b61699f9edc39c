"""The parties to a call on a whole daemon: an agent's owner, a caller, and the AI client that answers.

    caller (simulated carrier) ──signed webhook, socket──▶ daemon (a process) ──SSE──▶ AiClient (the MCP SDK, here)

Everything goes over real sockets. Only agents are registered in this process, by the same registry that `relay agents
add` uses, because starting a command for each test would take longer than the tests.
"""

from __future__ import annotations

import re
import secrets
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import anyio
import attrs
import httpx2
import trio
from mcp import Client
from mcp.client.sse import sse_client
from mcp.shared.message import SessionMessage
from mcp_types import (
    CallToolResult,
    CreateMessageRequestParams,
    CreateMessageResult,
    ProgressNotification,
    TextContent,
)

from relay.simulator.carrier import twiml_reader as twiml
from relay.simulator.carrier.exchange import Carrier, open_carrier
from relay.simulator.carrier.fault_plan import WebhookFailed
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.local_daemon import ACCOUNT
from relay.store.agent_registry import AgentRegistry
from relay.store.database import Database, open_database
from relay.store.message_record import WaitingMessage
from relay.store.waiting_messages import WaitingMessages
from tests.e2e.three_nodes import Doors, be_at_home

MOST_EVENTS = 10_000
"""What a client may see without its test looking; no test asks more turns."""


class Daemon(Protocol):
    """What the parties need to know of a daemon; see `relay.simulator.load.local_daemon.LocalDaemon`."""

    @property
    def database_url(self) -> str: ...

    url: str
    token: str


# ── the owner of an agent ───────────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen
class Access:
    """What an owner knows of a registered agent."""

    agent_id: str
    token: str
    sse_url: str


@asynccontextmanager
async def database_of(daemon: Daemon) -> AsyncIterator[Database]:
    """Open a daemon's database beside it, as the commands of the command line do."""
    async with open_database(daemon.database_url) as database:
        yield database


async def register(daemon: Daemon, **profile: Any) -> Access:
    """Register an agent of its own for a test; `profile` is its greeting, voice, language or system prompt."""
    agent_id = f"agent-{secrets.token_hex(4)}"
    async with database_of(daemon) as database:
        _agent, token = await AgentRegistry(database).add(agent_id, **profile)
    await be_at_home(daemon, token)
    return Access(agent_id, token, f"{daemon.url}/sse?token={token}")


async def messages_of(daemon: Daemon, access: Access) -> tuple[WaitingMessage, ...]:
    """Look at what was left for an agent, without a trace."""
    async with database_of(daemon) as database:
        return await WaitingMessages(database).list_all(access.agent_id)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so that nobody announces."""
    while True:
        if await condition():
            return
        await trio.sleep(0.05)  # often enough: most conditions cost the daemon a request


async def message_left(daemon: Daemon, access: Access) -> WaitingMessage:
    """Wait until one message was left for an agent, and look at it."""
    while True:
        left = await messages_of(daemon, access)
        if left:
            assert len(left) == 1, left
            return left[0]
        await trio.sleep(0.02)


def own_url(daemon: Daemon) -> str:
    """Return where the daemon's process itself is asked; with `--cluster` nothing else comes there."""
    return daemon.home_url if isinstance(daemon, Doors) else daemon.url


def carrier_url(daemon: Daemon) -> str:
    """Return where the carrier finds the daemon."""
    return daemon.carrier_url if isinstance(daemon, Doors) else daemon.url


async def metrics(daemon: Daemon) -> dict[str, float]:
    """Fetch the metrics of the daemon's process by name, labels included."""
    async with httpx2.AsyncClient() as http:
        lines = (await http.get(f"{own_url(daemon)}/metrics")).text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


# ── the caller ──────────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def carrier_of(daemon: Daemon, *, speech_rate: float | None = None) -> AsyncIterator[Carrier]:
    """Open the carrier's account that the daemon knows."""
    via = carrier_url(daemon)
    async with open_carrier(ACCOUNT, daemon.token, daemon.url, via=via, speech_rate=speech_rate) as carrier:
        yield carrier


@asynccontextmanager
async def calling(
    daemon: Daemon, access: Access, *, speech_rate: float | None = None, **facts: str
) -> AsyncIterator[SimulatedCall]:
    """Call an agent; the caller hangs up at the end of the block."""
    async with carrier_of(daemon, speech_rate=speech_rate) as carrier, carrier.call(access.agent_id, **facts) as call:
        yield call


@asynccontextmanager
async def calling_until_killed(daemon: Daemon, access: Access) -> AsyncIterator[SimulatedCall]:
    """Call an agent of a daemon that will be killed in the block: then the carrier can ask nobody how to go on."""
    try:
        async with calling(daemon, access) as call:
            yield call
    except* WebhookFailed:
        pass


async def ask(call: SimulatedCall, words: str) -> str:
    """Say something and return the answer."""
    await call.say(words)
    return (await call.hear()).text


def ticket_in(document: str) -> str:
    """Find the ticket in TwiML."""
    (connect,) = twiml.read(document, secure=False)
    return connect.children[0].children[0].attributes["value"]


# ── the AI client ───────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen(eq=False)
class Turn:
    """One sampling request as the client got it."""

    params: CreateMessageRequestParams
    _context: Any

    @property
    def history(self) -> list[tuple[str, str]]:
        """The conversation so far as (role, text)."""
        return [
            (each.role, each.content.text) for each in self.params.messages if isinstance(each.content, TextContent)
        ]

    @property
    def words(self) -> str:
        """The caller's newest words."""
        return self.history[-1][1]

    async def say(self, number: int, piece: str) -> None:
        """Send the next piece of the answer; pieces are numbered from 1."""
        token = (self.params.meta or {})["progress_token"]
        note = {"progressToken": token, "progress": number, "message": piece}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a later revision of MCP has no progress from clients; this one does
            notification = ProgressNotification.model_validate({"method": "notifications/progress", "params": note})
            await self._context.session.send_notification(notification)


AnswerTurn = Callable[[Turn], Awaitable[str]]


async def repeat(turn: Turn) -> str:
    """Answer with what the caller said."""
    await trio.lowlevel.checkpoint()
    return f"You said: {turn.words}"


async def stay_silent(_turn: Turn) -> str:
    """Never answer."""
    await trio.sleep_forever()
    raise AssertionError


@attrs.frozen(eq=False)
class AiClient:
    """A connected client. `asked` are the turns it got, `withdrawn` those that were cancelled, `notices` the rest."""

    mcp: Client
    asked: trio.MemoryReceiveChannel[Turn]
    withdrawn: trio.MemoryReceiveChannel[Turn]
    notices: trio.MemoryReceiveChannel[Any]

    async def tool(self, name: str, **arguments: object) -> dict[str, Any]:
        """Call a tool and return its structured content, which holds `error` when it failed."""
        result = await self.mcp.call_tool(name, arguments)
        assert isinstance(result, CallToolResult)
        content = dict(result.structured_content or {})
        assert bool(result.is_error) == ("error" in content)
        return content

    async def fetch(self) -> list[dict[str, Any]]:
        """Fetch the messages that wait."""
        return list((await self.tool("comms_get_waiting_messages"))["messages"])


@asynccontextmanager
async def connected(
    access: Access, answer: AnswerTurn = repeat, *, at: Daemon | None = None
) -> AsyncIterator[AiClient]:
    """Connect a client that answers turns with `answer`, for the length of the block.

    `at` is the daemon where the agent was not registered, but which has its database now.
    """
    turns, asked = trio.open_memory_channel[Turn](MOST_EVENTS)
    cancelled, withdrawn = trio.open_memory_channel[Turn](MOST_EVENTS)
    received, notices = trio.open_memory_channel[Any](MOST_EVENTS)

    async def sample(context: Any, params: CreateMessageRequestParams) -> CreateMessageResult:
        turn = Turn(params, context)
        turns.send_nowait(turn)
        try:
            text = await answer(turn)
        except trio.Cancelled:
            cancelled.send_nowait(turn)
            raise
        return CreateMessageResult(role="assistant", content=TextContent(text=text), model="test")

    async def note(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        received.send_nowait(message)

    url = access.sse_url if at is None else f"{at.url}/sse?token={access.token}"
    async with Client(_sse_transport(url), sampling_callback=sample, message_handler=note) as mcp:
        await mcp.list_tools()  # the answer shows that the daemon has taken note of `initialized` before it
        yield AiClient(mcp, asked, withdrawn, notices)


@asynccontextmanager
async def _sse_transport(url: str) -> AsyncIterator[Any]:
    """Connect as the SDK does, but take messages that come while the session is being closed.

    The SDK closes its session before its reader, and a message in between crashes the reader.
    """
    writer, reader = anyio.create_memory_object_stream[SessionMessage | Exception](MOST_EVENTS)

    async def forward() -> None:
        async with writer:
            async for message in arriving:
                with suppress(anyio.BrokenResourceError):
                    writer.send_nowait(message)

    async with sse_client(url) as (arriving, leaving), trio.open_nursery() as nursery:
        nursery.start_soon(forward)
        yield reader, leaving
        nursery.cancel_scope.cancel("the session is closed")


@attrs.frozen
class Address:
    """Where a client by hand finds a daemon."""

    origin: str
    token: str

    def sse_url(self, agent_id: str = "") -> str:
        """Return the address of the agent's stream, with its token."""
        return f"{self.origin}/sse?token={self.token}"


@asynccontextmanager
async def session_address(daemon: Daemon, access: Access) -> AsyncIterator[str]:
    """Open an SSE stream by hand, read no further than its first event, and give the address to post to."""
    host, _, port = daemon.url.removeprefix("http://").partition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        request = f"GET /sse HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {access.token}\r\n\r\n"
        await stream.send_all(request.encode())
        seen = b""
        while not (address := re.search(rb"data: (/messages\S+)\r?\n", seen)):
            chunk = await stream.receive_some()
            assert chunk, seen
            seen += chunk
        yield address[1].decode()
