"""Calls that are answered over tools, on a whole daemon: conversations, clients that go, and taking calls back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from mcp_types import CreateMessageRequestParams, CreateMessageResult, TextContent

from actors.call_values import Reason
from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.parties import Access, Address, Turn, ask, calling, connected, message_left, messages_of
from tests.relay.mcp.mcp_relay import raw_client
from tests.relay.mcp.tool_client import EACH_WAY, HTTP, SSE, STATELESS, ToolClient, code_of, tool_client

GREETING = "Hello, how can I help you today?"


@asynccontextmanager
async def staffing(
    daemon: LocalDaemon, agent: Access, way: str = HTTP, *, is_expected: bool = True, **options: Any
) -> AsyncIterator[ToolClient]:
    """Connect a client. One that `is_expected` has waited in vain already, so callers are kept waiting for it."""
    async with tool_client(daemon.url, agent.token, way, **options) as client:
        if is_expected:
            assert "waiting" in await client.converse(waitSeconds=0)
        yield client


async def repeat(client: ToolClient, heard: list[dict[str, Any]]) -> None:
    """Staff the phone: repeat what each caller says."""
    answer: dict[str, Any] = {}
    while True:
        result = await client.converse(**answer)
        answer = {}
        if "turn" in result:
            heard.append(result)
            answer = {"callSid": result["callSid"], "turn": result["turn"], "say": f"You said: {result['caller']}"}


@asynccontextmanager
async def at_the_same_time(work: Callable[..., Awaitable[object]], *given: object) -> AsyncIterator[None]:
    """Do something for the length of the block."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, *given)
        yield
        nursery.cancel_scope.cancel()


# ── conversations ───────────────────────────────────────────────────────────────────────────────────────────────────


@EACH_WAY
async def test_the_tools_answer_is_heard(way: str, daemon: LocalDaemon, agent: Access) -> None:
    """A conversation goes from the caller to the tool's client and back, and nothing is left as a message."""
    heard: list[dict[str, Any]] = []
    async with (
        staffing(daemon, agent, way) as client,
        at_the_same_time(repeat, client, heard),
        calling(daemon, agent) as call,
    ):
        assert await ask(call, "Is it raining?") == "You said: Is it raining?"
        assert await ask(call, "Still?") == "You said: Still?"
    assert heard[0]["history"] == [{"speaker": "agent", "text": GREETING}]
    assert "history" not in heard[1]
    assert await messages_of(daemon, agent) == ()


async def test_a_client_of_the_newest_revision_is_asked_to_sample(daemon: LocalDaemon, agent: Access) -> None:
    """Its host samples for each turn inside one tool call, and again in the next one."""

    async def sample(_context: Any, params: CreateMessageRequestParams) -> CreateMessageResult:
        await trio.lowlevel.checkpoint()
        said = params.messages[-1].content
        assert isinstance(said, TextContent)
        return CreateMessageResult(role="assistant", model="test", content=TextContent(text=f"You said: {said.text}"))

    async def answer() -> None:
        while True:
            await client.tool("comms_answer_calls")

    async with (
        staffing(daemon, agent, STATELESS, sampling_callback=sample) as client,
        at_the_same_time(answer),
        calling(daemon, agent) as call,
    ):
        for number in range(10):
            assert await ask(call, f"This is {number}.") == f"You said: This is {number}."
    assert await messages_of(daemon, agent) == ()


async def test_a_client_learns_that_its_call_is_over(daemon: LocalDaemon, agent: Access) -> None:
    """Who waits for the words of one call alone does not wait for a caller who has hung up."""
    async with staffing(daemon, agent) as client, calling(daemon, agent) as call, trio.open_nursery() as nursery:
        nursery.start_soon(call.say, "Hello?")
        heard = await client.converse()

        async def hang_up() -> None:
            assert (await call.hear()).text == "Good morning."
            await call.hang_up()

        nursery.start_soon(hang_up)
        over = await client.answer(heard, "Good morning.", onlyThisCall=True)
    assert over == {"callSid": heard["callSid"], "over": True}


async def test_a_sleeping_client_is_woken(daemon: LocalDaemon, agent: Access) -> None:
    """A client that takes no sampling requests, but lets what it is told through to its model, can still be in time."""
    address = Address(daemon.url, agent.token)
    async with raw_client(address) as client:
        await client.shake_hands(sampling=False, capabilities={"experimental": {"claude/channel": {}}})
        assert "result" in await client.request("ping")
        async with calling(daemon, agent) as call, trio.open_nursery() as nursery:
            nursery.start_soon(call.say, "Hello?")
            knocked = await client.next_message("notifications/claude/channel")
            assert knocked["params"]["meta"]["callSid"] == call.call_sid
            called = await client.request("tools/call", name="comms_converse", arguments={})
            heard = called["result"]["structuredContent"]
            answer = {"callSid": heard["callSid"], "turn": heard["turn"], "say": "Good morning.", "waitSeconds": 0}
            await client.request("tools/call", name="comms_converse", arguments=answer)
            assert (await call.hear()).text == "Good morning."


# ── clients that go ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_client_that_is_gone_is_not_waited_for(daemon: LocalDaemon, agent: Access) -> None:
    """A client that leaves with words in hand leaves them to the answering machine at once, and as a message."""
    async with calling(daemon, agent) as call:
        async with staffing(daemon, agent, SSE) as client:
            await call.say("Please tell them I called.")
            await client.converse()
        assert (await call.hear()).text
        assert (await message_left(daemon, agent)).reason is Reason.CLIENT_LEFT


async def test_utterances_of_a_session_that_was_closed_stay_with_the_agent(daemon: LocalDaemon, agent: Access) -> None:
    """A client may answer in another session what it was told in one that it has closed with a message."""
    async with calling(daemon, agent) as call:
        async with staffing(daemon, agent) as client:
            await call.say("Hello?")
            heard = await client.converse()
        async with (
            staffing(daemon, agent, is_expected=False) as client,
            at_the_same_time(client.answer, heard, "Good morning."),
        ):
            assert (await call.hear()).text == "Good morning."
    assert await messages_of(daemon, agent) == ()


async def test_a_client_that_only_waited_is_not_waited_for(daemon: LocalDaemon, agent: Access) -> None:
    """When its tool call is cut off, the next words go to the answering machine at once."""
    async with calling(daemon, agent) as call:
        async with staffing(daemon, agent, is_expected=False) as client, at_the_same_time(client.converse):
            await client.tool("comms_list_calls")
        await call.say("Please tell them I called.")
        assert (await call.hear()).text
        assert (await message_left(daemon, agent)).reason is Reason.CLIENT_ABSENT


# ── taking calls back ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_client_that_comes_back_takes_the_call(daemon: LocalDaemon, agent: Access) -> None:
    """The message of an unfinished call is marked as live; its call can be taken from the answering machine."""
    async with calling(daemon, agent) as call:
        assert await ask(call, "Please tell them I called.")
        async with staffing(daemon, agent, is_expected=False) as client:
            (waiting,) = (await client.tool("comms_get_waiting_messages"))["messages"]
            assert waiting["live"] is True
            taken = await client.tool("comms_take_call", callSid=waiting["callSid"])
            assert taken["status"] in {"yours", "at_the_next_pause"}
            assert {"speaker": "caller", "text": "Please tell them I called."} in taken["transcript"]
            heard = await client.converse()
            assert heard["caller"] == "Please tell them I called."
            assert "taken this call over" in heard["note"]
            async with at_the_same_time(client.answer, heard, "Here I am."):
                assert (await call.hear()).text == "Here I am."
                await call.say("At last.")


async def test_a_client_that_samples_takes_the_call(daemon: LocalDaemon, agent: Access) -> None:
    """It is asked at once about the last words, with a note before them, and then for each turn."""

    async def answer(turn: Turn) -> str:
        await trio.lowlevel.checkpoint()
        return f"To {turn.words}"

    async with calling(daemon, agent) as call:
        assert await ask(call, "Please tell them I called.")
        async with connected(agent, answer) as client:
            taken = await client.tool("comms_take_call", callSid=call.call_sid)
            assert taken["callSid"] == call.call_sid
            assert (await call.hear()).text == "To Please tell them I called."
            assert "taken this call over" in " ".join(text for _role, text in (await client.asked.receive()).history)
            assert await ask(call, "At last.") == "To At last."


async def test_of_two_clients_one_has_the_call(daemon: LocalDaemon, agent: Access) -> None:
    """The claim of one makes what the other says an error that says so; the caller hears one of them."""
    async with staffing(daemon, agent, SSE) as one, staffing(daemon, agent) as two, calling(daemon, agent) as call:
        await call.say("Hello?")
        heard = await one.converse()
        assert (await two.tool("comms_take_call", callSid=heard["callSid"]))["status"] == "yours"
        assert code_of(await one.answer(heard, "Good morning.")) == "taken_by_another_client"
        theirs = await two.converse()
        async with at_the_same_time(two.answer, theirs, "Good evening."):
            assert (await call.hear()).text == "Good evening."
