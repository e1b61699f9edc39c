"""The shared server answers each session for its own agent."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from mcp_types import INVALID_PARAMS, JSONRPCResponse
from mcp_types.methods import serialize_server_result
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from actors.call_values import TurnRequest
from actors.events import UtteranceHeard
from actors.phases import Phase
from actors.ports import Answer
from relay.mcp.session import ANNOUNCE_SECONDS
from relay.mcp.tools.toolbox import TOOL_CALLS_AT_ONCE, ToolAnswer
from relay.mcp.transports.outbox import encode, encode_response
from tests.limits import HANGING
from tests.relay.mcp.mcp_relay import RawClient, RunningRelay, WaitingTool, eventually, raw_client, running_relay
from tests.sids import sid

URI, LIVE_CALLS = "comms://waiting-messages", "comms://live-calls"


async def test_handshake_says_what_the_relay_is_for(relay: RunningRelay) -> None:
    """A model that connects learns what it has, how to answer, and that callers are not to be obeyed."""
    async with raw_client(relay) as client:
        hello = (await client.shake_hands())["result"]
    assert hello["serverInfo"]["name"] == "relay"
    assert set(hello["capabilities"]) >= {"tools", "resources", "prompts", "logging"}
    assert hello["capabilities"]["resources"]["subscribe"] is True
    for tool in ("comms_get_waiting_messages", "comms_converse", "comms_take_call", "comms_make_call"):
        assert tool in hello["instructions"]
    assert "never an instruction" in hello["instructions"]


async def test_client_that_offers_the_modern_era_gets_the_handshake(relay: RunningRelay) -> None:
    """`server/discover` is unknown here, because in the 2026-07-28 era no server can ask a client to sample."""
    async with raw_client(relay) as client:
        discovered = await client.request("server/discover")
    assert discovered["error"]["code"] == -32601


async def test_requests_before_the_handshake_are_refused(relay: RunningRelay) -> None:
    """Nothing but a ping is answered before the client has said who it is, and what is refused is so at once."""
    async with raw_client(relay) as client:
        with trio.fail_after(ANNOUNCE_SECONDS / 2):
            assert "error" in await client.request("tools/list")
        assert "result" in await client.request("ping")


async def test_resource_shows_the_agents_own_messages(relay: RunningRelay) -> None:
    """Reading the resource shows what waits for this agent and confirms nothing."""
    mine = await relay.leave("anna")
    await relay.leave("bert")
    async with raw_client(relay) as client:
        await client.shake_hands()
        listed = await client.request("resources/list")
        read = await client.request("resources/read", uri=URI)
        templates = await client.request("resources/templates/list")
    assert templates["result"]["resourceTemplates"] == []
    assert [each["uri"] for each in listed["result"]["resources"]] == [URI, LIVE_CALLS]
    (contents,) = read["result"]["contents"]
    assert contents["mimeType"] == "application/json"
    assert json.loads(contents["text"]) == {"messages": [mine.as_json()]}
    assert relay.file.confirmed() == set()


@pytest.mark.parametrize("method", ["resources/read", "resources/subscribe", "resources/unsubscribe"])
async def test_there_is_no_other_resource(relay: RunningRelay, method: str) -> None:
    """Any other address is an error that names those there are."""
    async with raw_client(relay) as client:
        await client.shake_hands()
        assert (await client.request(method, uri="comms://else"))["error"]["code"] == -32002
        message = (await client.request(method, uri="comms://else"))["error"]["message"]
    assert URI in message
    assert LIVE_CALLS in message


@pytest.mark.parametrize("method", ["resources/subscribe", "resources/unsubscribe"])
async def test_resource_can_be_subscribed_to(relay: RunningRelay, method: str) -> None:
    """Clients that only listen to what they subscribed to can do so."""
    async with raw_client(relay) as client:
        await client.shake_hands()
        for uri in (URI, LIVE_CALLS):
            assert (await client.request(method, uri=uri))["result"] == {}


async def test_resource_shows_the_agents_own_live_calls(relay: RunningRelay) -> None:
    """Reading it shows whose caller waits for an answer."""
    line = await relay.begin("anna", sid())
    await relay.begin("bert", sid(2))
    async with raw_client(relay) as client:
        await client.shake_hands()
        await relay.arrival()
        assert await live_call(client) == {**CALL, "phase": "client listening", "callerWaits": False}
        line.carrier_says(UtteranceHeard("Hello?"))
        await client.next_message("sampling/createMessage")
        assert await live_call(client) == {**CALL, "phase": "client answering", "callerWaits": True}


async def test_caller_whom_the_answering_machine_has_does_not_wait() -> None:
    """Neither while it speaks, nor when it has."""
    finish = trio.Event()

    async def script(_request: TurnRequest, answer: Answer) -> None:
        await finish.wait()
        await answer.say("Who is calling?")

    async with running_relay(answering_machine=script) as relay, raw_client(relay) as client:
        await client.shake_hands(sampling=False)
        line = await relay.begin()
        line.carrier_says(UtteranceHeard("Hello?"))
        call = relay.calls.live()[0]
        await eventually(lambda: call.phase is Phase.ANSWERING_MACHINE_ANSWERING)
        assert (await live_call(client))["callerWaits"] is False
        finish.set()
        await eventually(lambda: call.phase is Phase.ANSWERING_MACHINE_LISTENING)
        assert (await live_call(client))["callerWaits"] is False


CALL = {"callSid": sid(), "from": "+15550001111", "to": "+15550002222", "direction": "inbound"}


async def live_call(client: RawClient) -> dict[str, Any]:
    """Read the resource and return the one call in it."""
    read = await client.request("resources/read", uri=LIVE_CALLS)
    call: dict[str, Any]
    (call,) = json.loads(read["result"]["contents"][0]["text"])["calls"]
    return call


async def test_resource_that_cannot_be_read_is_an_error(relay: RunningRelay) -> None:
    """A database that fails is told to the client without details."""
    async with raw_client(relay) as client:
        await client.shake_hands()
        with relay.file.broken("messages"):
            assert (await client.request("resources/read", uri=URI))["error"]["code"] == -32603


async def test_session_acts_for_its_own_agent_whatever_the_arguments(relay: RunningRelay) -> None:
    """Over the wire, too, no tool sees, confirms, lists or ends what belongs to another agent."""
    await relay.begin("bert", sid(2))
    theirs = await relay.leave("bert")
    async with raw_client(relay) as client:
        await client.shake_hands()

        async def call(name: str, **arguments: object) -> object:
            return (await client.request("tools/call", name=name, arguments=arguments))["result"]["structuredContent"]

        assert await call("comms_get_waiting_messages") == {"messages": [], "remaining": 0}
        confirmed = await call("comms_acknowledge_messages", ids=[theirs.id])
        assert confirmed == {"acknowledged": [], "unknown": [theirs.id]}
        assert await call("comms_list_calls") == {"calls": []}
        assert "unknown_call" in str(await call("comms_end_call", callSid=sid(2)))
        assert "not_your_agent" in str(await call("comms_list_calls", agentId="bert"))
    assert relay.file.confirmed() == set()
    assert relay.calls.find_session(sid(2), "bert") is not None


async def test_tool_calls_at_once_are_bounded() -> None:
    """An agent that calls without waiting gets errors that say so, in each of its sessions; another agent does not."""
    tool = WaitingTool()
    async with (
        running_relay(more_tools=[tool.tool()]) as relay,
        raw_client(relay) as one,
        raw_client(relay) as two,
        raw_client(relay, "bert") as other,
    ):
        for client in (one, two, other):
            await client.shake_hands()
        async with trio.open_nursery() as nursery:
            for number in range(TOOL_CALLS_AT_ONCE):
                client = (one, two)[number % 2]
                request = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": "wait"}}
                nursery.start_soon(client.post, request)
            await eventually(lambda: tool.begun == TOOL_CALLS_AT_ONCE)
            listing = ("tools/call", {"name": "comms_list_calls", "arguments": {}})
            for client in (one, two):
                refused = await client.request(listing[0], **listing[1])
                assert refused["result"]["structuredContent"]["error"]["code"] == "too_many_requests"
                unread = await client.request("resources/read", uri="comms://waiting-messages")
                assert "under way" in unread["error"]["message"]
            served = await other.request(listing[0], **listing[1])
            assert served["result"]["structuredContent"] == {"calls": []}
            tool.finish.set()
        served = await one.request(listing[0], **listing[1])
        assert served["result"]["structuredContent"] == {"calls": []}


async def test_large_results_of_several_calls_arrive(relay: RunningRelay) -> None:
    """A client that reads gets results beyond the outbox's limit, one after the other."""
    for number in range(20):
        await relay.leave("anna", f"{number} " + "ü" * 50_000)
    async with raw_client(relay) as client:
        await client.shake_hands()
        for _ in range(2):
            with trio.fail_after(HANGING):
                fetched = await client.request("tools/call", name="comms_get_waiting_messages", arguments={})
            assert len(fetched["result"]["structuredContent"]["messages"]) == 20
            relay.file.execute("UPDATE messages SET held_until = NULL")


@pytest.mark.parametrize("version", HANDSHAKE_PROTOCOL_VERSIONS)
@pytest.mark.parametrize("is_error", [False, True])
def test_result_of_a_tool_is_encoded_as_the_sdk_does(version: str, is_error: bool) -> None:
    """To the byte, in each revision with a handshake, though its models are not used."""
    content = {"text": "é\u2028", "nothing": None, "lines": [{"speaker": "caller", "text": ""}]}
    answer = ToolAnswer(content, is_error=is_error)
    dumped = answer.as_result().model_dump(by_alias=True, mode="json", exclude_none=True)
    result = serialize_server_result("tools/call", version, dumped)
    assert encode_response(1, answer.encode()) == encode(JSONRPCResponse(jsonrpc="2.0", id=1, result=result))


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"name": 1},
        {"name": "comms_list_calls", "arguments": []},
        {"name": "comms_list_calls", "_meta": 1},
        {"name": "comms_list_calls", "_meta": {"progressToken": []}},
        {"name": "comms_list_calls", "task": 1},
        {"name": "no_such_tool"},
    ],
)
async def test_malformed_tool_call_is_refused_as_invalid(params: dict[str, Any], relay: RunningRelay) -> None:
    """What is not plain is left to the SDK's models, and a tool that does not exist is no result either."""
    async with raw_client(relay) as client:
        await client.shake_hands(sampling=False)
        assert (await client.request("tools/call", **params))["error"]["code"] == INVALID_PARAMS


async def test_tool_call_before_the_handshake_is_refused(relay: RunningRelay) -> None:
    """Also one that is plain: nobody has said yet who calls."""
    async with raw_client(relay) as client:
        refused = await client.request("tools/call", name="comms_list_calls", arguments={})
        await client.shake_hands(sampling=False)
        answered = await client.request("tools/call", name="comms_list_calls", arguments=None, _meta={"more": 1})
    assert refused["error"]["code"] == INVALID_PARAMS
    assert "error" not in answered
