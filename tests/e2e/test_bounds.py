"""The worst that one agent can send at each door of a whole daemon, while a caller of another one talks."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import trio

from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.parties import Access, ask, calling, connected, register

BOTH = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
HELLO = {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "loud", "version": "1"}}
SHORT = 2_000
"""Bytes; no refusal needs more, whatever it refuses."""


def request(method: str, params: Any, number: int = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


def tool(name: str, **arguments: Any) -> bytes:
    return request("tools/call", {"name": name, "arguments": arguments})


THROWN = {
    "numbers": b"[" + b"1," * 500_000 + b"1]",
    "lists": request("tools/call", {"name": "x", "arguments": {"a": [[]] * 250_000}}),
    "names": tool("comms_list_calls", **{f"a{number}": 1 for number in range(70_000)}),
    "unknown arguments": tool("comms_list_calls", **{f"a{number}": 1 for number in range(9_000)}),
    "unknown tool": tool("x" * 900_000),
    "unknown resource": request("resources/read", {"uri": "x:" + "x" * 900_000}),
    "wishes": request("prompts/get", {"name": "answer_the_phone", "arguments": {"wishes": "x" * 900_000}}),
    "ids": tool("comms_acknowledge_messages", ids=[{}] * 9_000),
    "ids as text": tool("comms_acknowledge_messages", ids="[" + "[]," * 300_000 + "1]"),
    "long text": tool("comms_converse", say="x" * 900_000),
    "method": request("x" * 900_000, {}),
    "id": b'{"jsonrpc": "2.0", "method": "ping", "id": "' + b"x" * 900_000 + b'"}',
    "deep": b"[" * 1_000_000,
}


async def begin(http: httpx2.AsyncClient, daemon: LocalDaemon, access: Access) -> dict[str, str]:
    """Open a session; return the headers that its requests carry."""
    headers = {**BOTH, "authorization": f"Bearer {access.token}"}
    hello = await http.post(f"{daemon.url}/mcp", content=request("initialize", HELLO), headers=headers)
    headers["mcp-session-id"] = hello.headers["mcp-session-id"]
    ready = b'{"jsonrpc": "2.0", "method": "notifications/initialized"}'
    assert (await http.post(f"{daemon.url}/mcp", content=ready, headers=headers)).status_code == 202
    return headers


async def test_what_one_agent_throws_no_caller_of_another_notices(daemon: LocalDaemon) -> None:
    """Each is refused in a few words, and a caller who talks meanwhile is answered by their client, turn after turn."""
    loud, quiet = await register(daemon), await register(daemon)
    turns = 0

    async def talk() -> None:
        nonlocal turns
        while True:
            turns += 1
            assert await ask(call, f"Turn {turns}.") == f"You said: Turn {turns}."

    async with (
        connected(quiet),
        httpx2.AsyncClient(timeout=60) as http,
        calling(daemon, quiet) as call,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(talk)
        headers = await begin(http, daemon, loud)
        refused = {
            name: await http.post(f"{daemon.url}/mcp", content=body, headers=headers) for name, body in THROWN.items()
        }
        assert "result" in (await http.post(f"{daemon.url}/mcp", content=request("ping", {}), headers=headers)).json()
        nursery.cancel_scope.cancel()
    for name, response in refused.items():
        assert response.status_code in {200, 400}, name
        answer = response.json()
        assert "error" in answer or answer["result"]["isError"], name
        assert len(response.content) < SHORT, name
    assert turns > 1
