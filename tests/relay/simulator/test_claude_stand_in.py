"""The stand-in of Anthropic's API: what it refuses, how it answers the vendor's own library, and its default rule."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import httpx2
import pytest
import trio

from relay.answering.claude import _NOT_YET_RECORDED
from relay.simulator.claude.stand_in import (
    ASK,
    CONFIRM,
    GOODBYE,
    SORRY,
    UNSURE,
    Behaviour,
    ClaudeStandIn,
    MessagesRequest,
    Reply,
    Say,
    UseTool,
    serve_stand_in,
    take_message,
)
from tests.limits import HANGING

TOOL: dict[str, Any] = {"name": "note", "input_schema": {"type": "object", "properties": {}}}
HEADERS = {"x-api-key": "test", "anthropic-version": "2023-06-01"}
HI = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello"}
CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "note", "input": {}}]}


def result(call: str = "t1", *, is_error: bool = False, text: str = "") -> dict[str, Any]:
    """Make a user message with the result of a tool call."""
    block = {"type": "tool_result", "tool_use_id": call, "is_error": is_error, "content": text}
    return {"role": "user", "content": [block]}


def body(*messages: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Make the body of a request."""
    return {"model": "claude-test", "max_tokens": 100, "messages": list(messages or [HI])} | changes


@asynccontextmanager
async def a_stand_in(behaviour: Behaviour | None = None) -> AsyncIterator[ClaudeStandIn]:
    """Serve a stand-in for as long as the block lasts."""
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            yield await nursery.start(lambda **given: serve_stand_in(behaviour=behaviour, **given))
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def a_library(behaviour: Behaviour | None = None) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Connect the vendor's library to a stand-in."""
    async with (
        a_stand_in(behaviour) as stand_in,
        anthropic.AsyncAnthropic(api_key="test", base_url=stand_in.url, max_retries=0) as library,
    ):
        yield library


def always(*blocks: Say | UseTool, stop_reason: str | None = None) -> Behaviour:
    """Make a behaviour that gives one reply to everything."""
    return Behaviour(rule=lambda _request: Reply(*blocks, stop_reason=stop_reason))


async def test_the_library_reads_a_whole_message() -> None:
    """Without streaming the reply comes as one message, text and tool calls with their reason to stop."""
    async with a_library(always(Say("Wait."), UseTool("note", {"a": [1, "é"]}))) as library:
        message = await library.messages.create(**body())
    assert [block.type for block in message.content] == ["text", "tool_use"]
    assert message.stop_reason == "tool_use"
    assert message.content[1].to_dict()["input"] == {"a": [1, "é"]}


async def test_the_library_reads_a_stream() -> None:
    """With streaming the same reply comes in pieces, and the library puts it together again."""
    behaviour = always(Say("One two\nthree "), UseTool("note", {"a": [1, "é" * 40]}))
    async with a_library(behaviour) as library, library.messages.stream(**body()) as stream:
        pieces = [text async for text in stream.text_stream]
        message = await stream.get_final_message()
    assert pieces == ["One", " two", "\nthree", " "]
    assert message.stop_reason == "tool_use"
    assert message.content[1].to_dict()["input"] == {"a": [1, "é" * 40]}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (429, anthropic.RateLimitError),
        (529, anthropic.InternalServerError),
    ],
)
async def test_a_failure_has_the_services_form(status: int, error: type[anthropic.APIStatusError]) -> None:
    """The library knows a refusal by its status and reads the error's type from its body."""
    async with a_library(Behaviour(fail_status=status)) as library:
        with pytest.raises(error) as raised:
            await library.messages.create(**body())
    assert raised.value.status_code == status
    assert raised.value.type is not None


async def test_only_so_many_requests_fail() -> None:
    """After the given number of failures the stand-in answers."""
    async with a_library(Behaviour(fail_status=529, failures=1)) as library:
        with pytest.raises(anthropic.APIStatusError):
            await library.messages.create(**body())
        assert (await library.messages.create(**body())).stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("request_body", "status", "said"),
    [
        ("{", 400, "JSON"),
        (body(max_tokens=0), 400, "max_tokens"),
        (body(messages=[]), 400, "messages"),
        (body(mood="good"), 400, "mood"),
        (body({"role": "user", "content": "  "}), 400, "messages.0.content"),
        (body({"role": "system", "content": "Hi"}), 400, "messages.0.role"),
        (body(HELLO, HI), 400, "first message must use the user role"),
        (body(HI, HI, HI), 400, "must alternate"),
        (body(HI, HELLO), 400, "must end with a user message"),
        (body(HI, CALL, HI), 400, "without `tool_result` blocks immediately after: t1"),
        (body(result()), 400, "unexpected `tool_use_id`"),
        (body(HI, CALL, result("t2")), 400, "t1"),
        (body(tools=[TOOL, TOOL]), 400, "must be unique"),
        (body(tools=[TOOL | {"name": "no te"}]), 400, "tools.0.name"),
        (body(tools=[{"name": "note", "input_schema": {"type": "string"}}]), 400, "tools.0.input_schema"),
        (body({"role": "user", "content": "x" * 1_000_001}), 413, "maximum size"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_the_service_refuses_is_refused(request_body: Any, status: int, said: str) -> None:
    """A request that the service would not take gets its status and an error that names the fault."""
    content = request_body if isinstance(request_body, str) else json.dumps(request_body)
    async with a_stand_in() as stand_in, httpx2.AsyncClient(base_url=stand_in.url) as client:
        response = await client.post("/v1/messages", content=content, headers=HEADERS)
    assert response.status_code == status
    assert said in response.json()["error"]["message"]
    assert not stand_in.requests


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/messages", {"anthropic-version": "2023-06-01"}, 401),
        ("/v1/messages", {"x-api-key": "test"}, 400),
        ("/v1/messages", {"authorization": "Bearer test"}, 400),
        ("/v1/complete", HEADERS, 404),
    ],
)
async def test_a_request_needs_a_key_a_version_and_the_path(path: str, headers: dict[str, str], status: int) -> None:
    """Without a key, without the version header, or elsewhere, nothing is answered."""
    async with a_stand_in() as stand_in, httpx2.AsyncClient(base_url=stand_in.url) as client:
        response = await client.post(path, json=body(), headers=headers)
    assert response.status_code == status
    assert response.json()["type"] == "error"


@pytest.mark.parametrize("breaks", ["cut", "error", "stop"])
async def test_a_stream_can_break(breaks: str) -> None:
    """A stream that is cut, carries the service's error event or ends too early was heard as far as it went."""
    async with (
        a_stand_in(Behaviour(breaks=breaks, breaks_after=2)) as stand_in,
        httpx2.AsyncClient(base_url=stand_in.url, headers=HEADERS) as client,
        client.stream("POST", "/v1/messages", json=body(stream=True)) as response,
    ):
        heard, cut = "", False
        try:
            async for text in response.aiter_text():
                heard += text
        except httpx2.RemoteProtocolError:
            cut = True
    assert heard.count("text_delta") == 2
    assert (cut, "overloaded_error" in heard) == (breaks == "cut", breaks == "error")
    assert "message_stop" not in heard


async def test_delay_and_pace_take_their_time(autojump_clock: trio.testing.MockClock) -> None:
    """The first piece comes after the delay, and each further one after the pace."""
    stand_in = ClaudeStandIn(Behaviour(rule=lambda _: Reply(Say("one two three")), delay=2, pace=0.5))
    heard = await timed_pieces(stand_in, body(stream=True))
    assert heard == [(2.0, "one"), (2.5, " two"), (3.0, " three")]


async def timed_pieces(app: Callable[..., Any], request_body: dict[str, Any]) -> list[tuple[float, str]]:
    """Call an ASGI app without a socket, and note when each piece of text came."""
    start = trio.current_time()
    incoming = [{"type": "http.request", "body": json.dumps(request_body).encode()}]
    heard: list[tuple[float, str]] = []

    async def receive() -> dict[str, Any]:
        if not incoming:
            await trio.sleep_forever()
        return incoming.pop()

    async def send(event: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        data = event.get("body", b"").decode().partition("data: ")[2]
        if "text_delta" in data:
            heard.append((trio.current_time() - start, json.loads(data)["delta"]["text"]))

    headers = [(b"x-api-key", b"test"), (b"anthropic-version", b"2023-06-01")]
    await app({"type": "http", "method": "POST", "path": "/v1/messages", "headers": headers}, receive, send)
    return heard


def spoken(*lines: str) -> list[dict[str, Any]]:
    """Make a conversation of alternating lines, the caller's first."""
    return [{"role": ("user", "assistant")[number % 2], "content": line} for number, line in enumerate(lines)]


def recorded(message: str, preferences: str = "") -> Reply:
    """Make the reply that records a message."""
    return Reply(UseTool("record_message", {"message": message, "preferences": preferences}))


LEAVE = Reply(Say(GOODBYE), UseTool("end_call"))


@pytest.mark.parametrize(
    ("messages", "reply"),
    [
        (spoken("Is my car ready?"), Reply(Say(ASK))),
        (spoken("Bye bye"), Reply(Say(ASK))),
        (spoken("Hi", ASK, "I come tomorrow."), recorded("I come tomorrow.")),
        (
            spoken("Hi", f"Sorry. {ASK}", "It is Anna. Call me back after 8."),
            recorded("It is Anna. Call me back after 8.", "Call me back after 8."),
        ),
        (spoken("Hi", ASK, "I come.", CONFIRM, "At nine."), recorded("I come. At nine.")),
        (spoken("Hi", "May I take", "I come."), recorded("I come.")),
        (spoken("Hi", ASK, "No, thanks."), LEAVE),
        (spoken("Hi", ASK, "no"), LEAVE),
        (spoken("Hi", ASK, "I come.", CONFIRM, "That's all. Bye."), LEAVE),
        (spoken("Hi", ASK, "I will take care of that, tell them"), recorded("I will take care of that, tell them")),
        (spoken("Hi", ASK, "(the caller is waiting)"), Reply(Say(ASK))),
        ([*spoken("Hi", ASK, "I come."), CALL, result()], Reply(Say(CONFIRM))),
        ([*spoken("Hi", ASK, "I come."), CALL, result(text=_NOT_YET_RECORDED)], Reply(Say(UNSURE))),
        ([*spoken("Hi", ASK, "I come. Bye."), CALL, result()], LEAVE),
        ([*spoken("Hi", ASK, "I come."), CALL, result(is_error=True)], Reply(Say(SORRY))),
    ],
)
def test_the_default_rule_takes_messages(messages: list[dict[str, Any]], reply: Reply) -> None:
    """It asks, records what was said after its question, confirms what was recorded, and ends on a goodbye."""
    assert take_message(MessagesRequest.model_validate(body(*messages))) == reply
