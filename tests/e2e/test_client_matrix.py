"""Which published clients answer calls, and how: every cell is a client as its registry has it, and a whole daemon.

In each cell a message was left before the client came; the client fetches and confirms it, and then answers three turns
of a call. `MATRIX` is the table: a cell names the revision of the protocol that client and relay agree on, or says why
there is no such way; then the test is that the caller, or the client's host, is not left without an answer.

Clients that open a session for each tool call are not in the table: their ways are `comms_converse` over both paths,
with a last test of their own.

*sampling*: the relay asks, and the client streams its answer word by word. *comms_converse*: a client without sampling
calls a tool that waits for the caller. *comms_answer_calls*: a client that can sample calls a tool, and is asked in the
result of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.local_daemon import LocalDaemon
from relay.store.message_record import MessageStatus
from tests.e2e.parties import Access, ask, calling, messages_of
from tests.mcp_clients import (
    FASTMCP,
    FASTMCP_PINNED,
    LANGCHAIN,
    LLAMAINDEX,
    PYTHON_1,
    PYTHON_2,
    PYTHON_2_LEGACY,
    PYTHON_2_PINNED,
    TYPESCRIPT_1,
    TYPESCRIPT_2,
    TYPESCRIPT_2_AUTO,
    TYPESCRIPT_2_PINNED,
    RunningClient,
    StockClient,
    each_client,
    marks_of,
    session_of,
    start_client,
)

# The revisions of the protocol, as a client and the relay agree on one.
OF_2025 = "2025-11-25"
OF_2026 = "2026-07-28"

# Why a cell is empty.
ASKED_ANYHOW = "a session with a handshake is asked by sampling, and the tool says that it is not needed"
NO_PUSH = "2026-07-28 has no requests from a server: the answering machine takes the call"
NO_SSE = "HTTP+SSE has only revisions with a handshake, and this client was told to use another one"
STEERED = "this client asks for the revisions first, and as it can sample it is pointed to those with a handshake"

MATRIX = (
    # client               sampling             comms_converse       comms_answer_calls
    #                      /sse      /mcp       /sse      /mcp       /sse           /mcp
    (PYTHON_1,            (OF_2025,  OF_2025),  (OF_2025, OF_2025),  (ASKED_ANYHOW, ASKED_ANYHOW)),
    (PYTHON_2_LEGACY,     (OF_2025,  OF_2025),  (OF_2025, OF_2025),  (ASKED_ANYHOW, ASKED_ANYHOW)),
    (PYTHON_2,            (OF_2025,  OF_2025),  (OF_2025, OF_2026),  (ASKED_ANYHOW, ASKED_ANYHOW)),
    (PYTHON_2_PINNED,     (NO_SSE,   NO_PUSH),  (NO_SSE,  OF_2026),  (NO_SSE,       OF_2026)),
    (TYPESCRIPT_1,        (OF_2025,  OF_2025),  (OF_2025, OF_2025),  (ASKED_ANYHOW, ASKED_ANYHOW)),
    (TYPESCRIPT_2,        (OF_2025,  OF_2025),  (OF_2025, OF_2025),  (ASKED_ANYHOW, ASKED_ANYHOW)),
    (TYPESCRIPT_2_AUTO,   (OF_2025,  OF_2025),  (OF_2025, OF_2026),  (ASKED_ANYHOW, ASKED_ANYHOW)),
    (TYPESCRIPT_2_PINNED, (NO_SSE,   STEERED),  (NO_SSE,  OF_2026),  (NO_SSE,       STEERED)),
    (FASTMCP,             (OF_2025,  OF_2025),  (OF_2025, OF_2026),  (ASKED_ANYHOW, ASKED_ANYHOW)),
    (FASTMCP_PINNED,      (NO_SSE,   NO_PUSH),  (NO_SSE,  OF_2026),  (NO_SSE,       OF_2026)),
)  # fmt: skip

OPTIONS = {
    "sampling": ("--pieces", "--first", "0", "--think", "0.2"),
    "comms_converse": ("--without-sampling", "--converse"),
    "comms_answer_calls": ("--answer-calls",),
}
TURNS = ("Hello?", "What is the time?", "Thank you, goodbye.")


@attrs.frozen
class Cell:
    """A client, the path it connects to, the way it answers, and what comes of it."""

    stock: StockClient
    path: str
    way: str
    outcome: str


def cells() -> Iterator[Cell]:
    """Read the table."""
    for stock, *ways in MATRIX:
        for way, outcomes in zip(OPTIONS, ways, strict=True):
            for path, outcome in zip(("/sse", "/mcp"), outcomes, strict=True):
                yield Cell(stock, path, way, outcome)


def each_cell(*outcomes: str) -> pytest.MarkDecorator:
    """Run a test with each cell that has one of these outcomes, as its argument `cell`."""
    return pytest.mark.parametrize(
        "cell",
        [
            pytest.param(
                each, id=f"{each.stock.name}{each.path.replace('/', '-')}-{each.way}", marks=marks_of(each.stock)
            )
            for each in cells()
            if each.outcome in outcomes
        ],
    )


@asynccontextmanager
async def started(cell: Cell, daemon: LocalDaemon, agent: Access, *options: str) -> AsyncIterator[RunningClient]:
    """Run the client of a cell."""
    url = f"{daemon.url}{cell.path}"
    async with start_client(cell.stock, url, f"--token={agent.token}", *OPTIONS[cell.way], *options) as client:
        yield client


async def leave_word(daemon: LocalDaemon, agent: Access) -> None:
    """Call while no client is there, and leave a message."""
    async with calling(daemon, agent) as call:
        await ask(call, "Please call me back.")


async def fetched(client: RunningClient) -> dict[str, Any]:
    """Wait until the client has fetched what waited, and confirmed it; return what it was."""
    (message,) = (await client.next("tool"))["result"]["messages"]
    confirmed = await client.next("tool")
    assert confirmed["result"] == {"acknowledged": [message["id"]], "unknown": []}
    return dict(message)


async def answering(client: RunningClient, cell: Cell, daemon: LocalDaemon, agent: Access) -> None:
    """Wait until a caller's words would reach the client."""
    if cell.way == "comms_converse" or cell.outcome == OF_2026:
        await client.call("comms_list_calls")  # the answer shows that the relay has the call of the tool before it
        await client.next("tool")
    else:
        await session_of(agent.agent_id, daemon)


async def hold_conversation(call: SimulatedCall, *, streamed: bool) -> None:
    """Take three turns, each of which the client answers by repeating it, word by word if its way allows that."""
    for words in TURNS:
        await call.say(words)
        pieces: list[str] = []
        is_over = False
        while not is_over:
            token = await call.next_token()
            is_over = token.last
            pieces += [token.text] if token.text else []
        assert "".join(pieces) == f"You said: {words}"
        assert (len(pieces) > 1) is streamed


@each_cell(OF_2025, OF_2026)
async def test_a_client_fetches_its_message_and_holds_a_call(cell: Cell, daemon: LocalDaemon, agent: Access) -> None:
    """A message that waited reaches the client, and stays confirmed; then all three turns are answered by it."""
    await leave_word(daemon, agent)
    async with started(cell, daemon, agent, "--fetch") as client:
        assert (await client.next("ready"))["version"] == cell.outcome
        message = await fetched(client)
        async with calling(daemon, agent) as call:
            await answering(client, cell, daemon, agent)
            await hold_conversation(call, streamed=cell.way == "sampling")
    assert "Please call me back." in message["body"]
    (kept,) = await messages_of(daemon, agent)
    assert kept.status is MessageStatus.ACKNOWLEDGED


@each_cell(ASKED_ANYHOW)
async def test_a_client_that_is_asked_needs_no_tool_for_it(cell: Cell, daemon: LocalDaemon, agent: Access) -> None:
    """The tool says so to its model, and calls are answered by sampling all the same."""
    async with started(cell, daemon, agent) as client:
        refused = (await client.next("tool"))["result"]["error"]
        await answering(client, cell, daemon, agent)
        async with calling(daemon, agent) as call:
            await hold_conversation(call, streamed=False)
    assert "sampling" in refused["message"]


@each_cell(NO_PUSH)
async def test_a_client_that_cannot_be_asked_gets_a_message(cell: Cell, daemon: LocalDaemon, agent: Access) -> None:
    """The answering machine takes the call at once, and the client, which is there, fetches what was left."""
    async with started(cell, daemon, agent) as client:
        assert (await client.next("ready"))["version"] == OF_2026
        async with calling(daemon, agent) as call:
            assert "May I take a message" in await ask(call, "Please call me back.")
        await client.call("comms_get_waiting_messages")
        (message,) = (await client.next("tool"))["result"]["messages"]
    assert "Please call me back." in message["body"]
    assert client.seen("sampling") == []


@each_cell(NO_SSE, STEERED)
async def test_a_client_that_cannot_connect_says_so(cell: Cell, daemon: LocalDaemon, agent: Access) -> None:
    """Its host gets an error at once, not a connection that never rings; callers get the answering machine."""
    async with started(cell, daemon, agent) as client:
        error = await client.next("error")
        async with calling(daemon, agent) as call:
            assert "May I take a message" in await ask(call, "Please call me back.")
    assert client.seen("ready") == []
    if cell.outcome is STEERED:
        assert "this client can sample, and is asked to over a session with a handshake" in error["message"]


@pytest.mark.parametrize("path", ["/sse", "/mcp"])
@each_client(LANGCHAIN, LLAMAINDEX)
async def test_a_client_with_a_session_for_each_tool_call(
    stock: StockClient, path: str, daemon: LocalDaemon, agent: Access
) -> None:
    """It fetches and confirms its message, and all three turns are answered by it, each in another session."""
    await leave_word(daemon, agent)
    url = f"{daemon.url}{path}"
    async with start_client(stock, url, f"--token={agent.token}", "--fetch", *OPTIONS["comms_converse"]) as client:
        await client.next("ready", within=30)
        message = await fetched(client)
        await client.call(
            "comms_converse", waitSeconds=0
        )  # once it has waited in vain, callers are kept waiting for it
        assert "waiting" in (await client.next("tool"))["result"]
        async with calling(daemon, agent) as call:
            await hold_conversation(call, streamed=False)
    (kept,) = await messages_of(daemon, agent)
    assert (kept.id, kept.status) == (message["id"], MessageStatus.ACKNOWLEDGED)
