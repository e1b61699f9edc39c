"""A client that answers calls by tools, made of the MCP SDK in this process: over SSE, over /mcp, without a session.

async with tool_client(origin, "token-anna", "mcp") as client:
    heard = await client.tool("comms_converse")
    await client.tool("comms_converse", callSid=heard["callSid"], turn=heard["turn"], say="Yes.")
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import attrs
import httpx2
import pytest
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Implementation

from actors.events import SpeechPlayed, UtteranceHeard
from tests.fakes import MemoryLine
from tests.relay.mcp.mcp_relay import RunningRelay, eventually
from tests.sids import sid

SSE, HTTP, STATELESS = "sse", "mcp", "2026-07-28"
EACH_WAY = pytest.mark.parametrize("way", [SSE, HTTP, STATELESS])
"""Run a test with a client over each transport: two with a session, and the revision that has none."""


@attrs.frozen(eq=False)
class ToolClient:
    """A connected client."""

    mcp: Client

    async def tool(self, name: str, **arguments: object) -> dict[str, Any]:
        """Call a tool and return its structured content, which holds `error` when it failed."""
        result = await self.mcp.call_tool(name, arguments)
        assert isinstance(result, CallToolResult)
        content = dict(result.structured_content or {})
        assert bool(result.is_error) == ("error" in content)
        return content

    async def converse(self, **arguments: object) -> dict[str, Any]:
        """Wait for a caller's words, after saying something if it is given."""
        return await self.tool("comms_converse", **arguments)

    async def answer(self, heard: dict[str, Any], text: str, **arguments: object) -> dict[str, Any]:
        """Answer what was heard, and wait for the next words."""
        return await self.converse(callSid=heard["callSid"], turn=heard["turn"], say=text, **arguments)


def code_of(result: dict[str, Any]) -> str:
    """Return the code of an error."""
    return str(result["error"]["code"])


@asynccontextmanager
async def tool_client(
    origin: str, token: str, way: str = HTTP, *, name: str = "tools", **options: Any
) -> AsyncIterator[ToolClient]:
    """Connect a client; `options` are the SDK's, such as `sampling_callback`."""
    options["client_info"] = Implementation(name=name, version="1")
    finished = False
    try:
        async with AsyncExitStack() as stack:
            if way == SSE:
                transport: Any = sse_client(f"{origin}/sse?token={token}")
            else:
                headers = {"authorization": f"Bearer {token}"}
                http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=120))
                transport = streamable_http_client(f"{origin}/mcp", http_client=http)
            mode = way if way == STATELESS else "legacy"
            mcp = await stack.enter_async_context(Client(transport, mode=mode, **options))
            yield ToolClient(mcp)
            finished = True
    except* (anyio.BrokenResourceError, anyio.ClosedResourceError):
        # The SDK closes its session before its transport, which fails to deliver an answer that comes in between.
        if not finished:
            raise


@asynccontextmanager
async def staffing(relay: RunningRelay, way: str = HTTP, agent_id: str = "anna") -> AsyncIterator[ToolClient]:
    """Connect a client that cannot sample to a relay of these tests."""
    async with tool_client(relay.origin, f"token-{agent_id}", way) as client:
        yield client


@attrs.define(eq=False)
class Caller:
    """Somebody who calls anna: what they say is asked once somebody is there for it.

    `heard` are the answers, `line` is what the caller hears of the one that comes.
    """

    relay: RunningRelay
    call_sid: str = sid()
    heard: list[str] = attrs.field(factory=list)
    line: MemoryLine = attrs.field(init=False)

    async def dial(self) -> Caller:
        """Have the line up."""
        self.line = await self.relay.begin("anna", self.call_sid)
        return self

    async def say(self, words: str) -> str:
        """Say something and return the answer."""
        if self.relay.calls.find_session(self.call_sid, "anna") is None:
            await self.dial()
        await eventually(lambda: self.relay.presence.newest("anna") is not None)
        self.line.carrier_says(UtteranceHeard(words))
        answer = await self.line.hear()
        self.line.carrier_says(SpeechPlayed(answer))
        self.heard.append(answer)
        return answer

    async def say_next(self, words: str) -> str:
        """Say something when the answer to what was said before has been heard."""
        answered = len(self.heard)
        await eventually(lambda: len(self.heard) > answered)
        return await self.say(words)
