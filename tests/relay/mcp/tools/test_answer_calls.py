"""The tool by which a client of the 2026-07-28 revision is asked to sample, round after round."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from mcp_types import CreateMessageRequestParams, CreateMessageResult, TextContent

from actors.turn_queue import TurnQueueOptions
from relay.mcp.tools.answer_calls import MOST_ROUNDS
from tests.relay.mcp.http_client import HttpClient, ask_stateless, http_client
from tests.relay.mcp.mcp_relay import RunningRelay, eventually, raw_client, running_relay
from tests.relay.mcp.tool_client import EACH_WAY, STATELESS, Caller, ToolClient, code_of, staffing, tool_client
from tests.sids import sid

SAMPLING: dict[str, Any] = {"sampling": {}}


async def repeat(context: Any, params: CreateMessageRequestParams) -> CreateMessageResult:
    """Sample: say what the caller said."""
    await trio.lowlevel.checkpoint()
    (said,) = params.messages[-1].content_as_list
    assert isinstance(said, TextContent)
    return CreateMessageResult(role="assistant", model="test", content=TextContent(text=f"You said: {said.text}"))


@asynccontextmanager
async def sampling_client(relay: RunningRelay) -> AsyncIterator[ToolClient]:
    async with tool_client(relay.origin, "token-anna", STATELESS, sampling_callback=repeat) as client:
        yield client


async def test_sdk_answers_a_call_by_sampling(relay: RunningRelay) -> None:
    """A stock client samples for each turn by itself; after eight the tool returns, and goes on when called again."""
    results: list[dict[str, Any]] = []

    async def answer() -> None:
        while True:
            results.append(await client.tool("comms_answer_calls"))

    async with sampling_client(relay) as client, trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        caller = Caller(relay)
        for number in range(MOST_ROUNDS + 2):
            assert await caller.say(f"This is {number}.") == f"You said: This is {number}."
        nursery.cancel_scope.cancel()
    assert results == [{"again": True, "answered": MOST_ROUNDS}]


async def test_wait_without_an_utterance_ends(relay: RunningRelay) -> None:
    """The tool says that nobody has said anything, and how many turns were answered."""
    async with sampling_client(relay) as client, trio.open_nursery() as nursery:
        nursery.start_soon(Caller(relay).say, "Hello?")
        result = await client.tool("comms_answer_calls", waitSeconds=0.2)
    assert result == {"again": True, "answered": 1, "waiting": True, "liveCalls": 1}


@EACH_WAY
async def test_client_that_cannot_be_asked_learns_what_to_do(way: str, relay: RunningRelay) -> None:
    """Who does not sample is sent to the other tool."""
    async with staffing(relay, way) as client:
        assert code_of(await client.tool("comms_answer_calls")) == "use_comms_converse"


async def test_client_that_is_asked_anyhow_needs_nothing(relay: RunningRelay) -> None:
    """Who samples over a session gets its turns without calling anything."""
    async with raw_client(relay) as client:
        await client.shake_hands()
        await relay.arrival()
        refused = await client.request("tools/call", name="comms_answer_calls", arguments={})
    assert refused["result"]["structuredContent"]["error"]["code"] == "not_needed"


# ── round by round ──────────────────────────────────────────────────────────────────────────────────────────────────


async def call(client: HttpClient, state: str | None = None, text: Any = None, wait: float = 5) -> dict[str, Any]:
    """Send one round and return the message that answers it."""
    params: dict[str, Any] = {"name": "comms_answer_calls", "arguments": {"waitSeconds": wait}}
    if state is not None:
        params["requestState"] = state
    if text is not None:
        content = {"type": "text", "text": text} if isinstance(text, str) else text
        params["inputResponses"] = {"answer": {"role": "assistant", "model": "by hand", "content": content}}
    response = await ask_stateless(client, "tools/call", capabilities=SAMPLING, **params)
    message: dict[str, Any] = response.json()
    return message


@asynccontextmanager
async def asked(relay: RunningRelay, wait: float = 5) -> AsyncIterator[tuple[HttpClient, Caller, dict[str, Any]]]:
    """Have a caller say something, and give what the client is asked."""
    async with http_client(relay) as client, trio.open_nursery() as nursery:
        caller = Caller(relay)
        nursery.start_soon(caller.say, "Hello?")
        yield client, caller, (await call(client, wait=wait))["result"]
        nursery.cancel_scope.cancel()


async def test_question_is_the_turn_as_every_client_gets_it(relay: RunningRelay) -> None:
    """What is asked is a sampling request with the conversation so far; where we are is sealed."""
    async with asked(relay) as (_client, _caller, question):
        assert question["resultType"] == "input_required"
        (request,) = question["inputRequests"].values()
    assert request["method"] == "sampling/createMessage"
    assert request["params"]["messages"][-1]["content"]["text"] == "Hello?"
    assert request["params"]["metadata"]["callSid"] == sid()
    assert sid() not in question["requestState"]


async def test_same_answer_twice_is_spoken_once(relay: RunningRelay) -> None:
    """A client that lost the connection may send its round again."""
    async with asked(relay) as (client, caller, question), trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(call, client, question["requestState"], "Good morning.")
        await eventually(lambda: caller.heard == ["Good morning."])
        await eventually(lambda: relay.app.all_waiting() == {"anna": 2})
        nursery.cancel_scope.cancel()
    assert caller.heard == ["Good morning."]


@pytest.mark.parametrize(
    "beside",
    [
        {"type": "tool_use", "id": "t1", "name": "x", "input": {}},
        {"type": "thinking", "thinking": "hidden", "signature": "eA=="},
        {"type": "not_invented_yet"},
        {"type": "image", "data": "eA==", "mimeType": "image/png"},
        {"type": "text"},
        {},
    ],
    ids=["tool use", "thinking", "unknown", "image", "text without text", "nothing"],
)
async def test_text_is_spoken_whatever_stands_beside_it(beside: dict[str, Any], relay: RunningRelay) -> None:
    """A block that the protocol does not know takes no answer from the caller."""
    async with asked(relay) as (client, caller, question), trio.open_nursery() as nursery:
        nursery.start_soon(call, client, question["requestState"], [beside, {"type": "text", "text": "Tuesday."}])
        await eventually(lambda: caller.heard == ["Tuesday."])
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "nothing", [" ", "...", [{"type": "thinking", "thinking": "hidden"}], {"type": "tool_use"}, [], "🙂"], ids=repr
)
async def test_round_without_an_answer_leaves_the_utterance_pending(nothing: Any) -> None:
    """A client that brings nothing that can be spoken is asked the same again."""
    options = TurnQueueOptions(again=0.05)
    async with running_relay(turn_queue_options=options) as relay, asked(relay) as (client, caller, question):
        again = (await call(client, question["requestState"], nothing))["result"]
        assert again["inputRequests"] == question["inputRequests"]
        assert caller.heard == []


async def test_late_answer_is_passed_over(relay: RunningRelay) -> None:
    """When the caller has gone on, the tool goes on too."""
    async with http_client(relay) as client:
        caller = Caller(relay)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.say, "Hello?")
            question = (await call(client))["result"]
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.say, "Anybody?")
            newer = (await call(client, question["requestState"], "Good morning."))["result"]
            nursery.cancel_scope.cancel()
    (request,) = newer["inputRequests"].values()
    assert request["params"]["metadata"]["turn"] == 2
    assert caller.heard == []


async def test_state_that_was_changed_is_refused(relay: RunningRelay) -> None:
    """Nobody but the relay can say where a conversation is, nor read it."""
    async with asked(relay) as (client, caller, question):
        sealed = question["requestState"]
        middle = len(sealed) // 2
        forged = sealed[:middle] + ("A" if sealed[middle] != "A" else "B") + sealed[middle + 1 :]
        made_up = base64.urlsafe_b64encode(b'{"rounds": 0}').decode()
        for state in (forged, made_up, "", "v1."):
            assert (await call(client, state, "Good morning."))["error"]["code"] == -32602
        assert caller.heard == []


async def test_state_of_another_agent_is_refused(relay: RunningRelay) -> None:
    """It is sealed for the agent that it was given to."""
    async with asked(relay) as (_client, caller, question), http_client(relay, "bert") as other:
        assert (await call(other, question["requestState"], "Good morning."))["error"]["code"] == -32602
        assert caller.heard == []


@pytest.mark.parametrize(("secret", "is_opened"), [("the same", True), ("another one", False), (None, False)])
async def test_state_is_opened_by_whoever_has_the_secret(secret: str | None, is_opened: bool) -> None:
    """A node goes on with what another one sealed, and with what it sealed before a restart."""
    async with running_relay(secret="the same") as first, asked(first, wait=1) as (_client, _caller, question):
        state = question["requestState"]
    async with running_relay(secret=secret) as second, http_client(second) as client:
        answer = await call(client, state, "Good morning.", wait=1)
    assert ("result" in answer, answer.get("error", {}).get("code")) == (is_opened, None if is_opened else -32602)


async def test_state_is_refused_when_it_is_too_old(relay: RunningRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten minutes no caller waits for it."""
    async with asked(relay) as (client, caller, question):
        now = time.time()
        monkeypatch.setattr("mcp.server.request_state.time.time", lambda: now + 601)
        assert (await call(client, question["requestState"], "Good morning."))["error"]["code"] == -32602
        assert caller.heard == []
