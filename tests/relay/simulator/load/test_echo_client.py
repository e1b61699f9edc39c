"""The echo client against the relay's own MCP side: it connects, repeats, and says why it cannot connect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from actors.errors import ClientAbsent
from relay.simulator.load.echo_client import EchoFailed, Question, open_echo_client
from tests.limits import HANGING
from tests.relay.mcp.mcp_relay import RunningRelay, running_relay


@pytest.fixture
async def relay() -> AsyncIterator[RunningRelay]:
    """The MCP side on a free port, with agents anna and bert."""
    async with running_relay() as running:
        yield running


@pytest.fixture
async def unused_port() -> int:
    """A port that was free a moment ago."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port: int = listener.socket.getsockname()[1]
    return port


over_both = pytest.mark.parametrize("path", ["sse", "mcp"])


@over_both
async def test_it_is_a_client_that_can_be_asked(relay: RunningRelay, path: str) -> None:
    """Inside the block its agent has a session, which takes turns over either transport."""
    async with open_echo_client(f"{relay.origin}/{path}", token="token-bert"):
        assert (await relay.arrival(agent_id="bert")).can_sample
    await relay.loss(agent_id="bert")


@over_both
async def test_it_repeats_what_the_caller_said(relay: RunningRelay, path: str) -> None:
    """Each turn is answered with its own words, and counted."""
    async with open_echo_client(f"{relay.origin}/{path}", token="token-anna") as client:
        await relay.arrival()
        for words in ("Hello?", 'What\'s "new"?\nGrüße, 你好 🙂'):
            assert (await relay.ask(words)).text == f"You said: {words}"
        assert client.answered == 2


async def test_turns_that_come_at_once_are_all_answered(relay: RunningRelay) -> None:
    """Answers go down one connection without waiting for each other, and none goes to another turn."""
    answers: dict[str, str] = {}

    async def ask(words: str) -> None:
        answers[words] = (await relay.ask(words)).text

    async with open_echo_client(relay.sse_url()):
        await relay.arrival()
        with trio.fail_after(HANGING):
            async with trio.open_nursery() as asking:
                for number in range(100):
                    asking.start_soon(ask, f"question {number}")
    assert answers == {f"question {number}": f"You said: question {number}" for number in range(100)}


async def test_long_words_are_repeated_whole(relay: RunningRelay) -> None:
    """An event that comes in many pieces is put together."""
    words = "and so on, " * 3_500
    async with open_echo_client(relay.sse_url()):
        await relay.arrival()
        with trio.fail_after(HANGING):
            assert (await relay.ask(words.strip())).text == f"You said: {words.strip()}"


@over_both
async def test_it_can_be_told_what_to_say(relay: RunningRelay, path: str) -> None:
    """Whoever has it may answer the turns, and send pieces of an answer before the rest of it."""

    async def hesitate(question: Question) -> str:
        await question.say(1, "Well. ")
        return f"Well. {question.words[::-1]}"

    async with open_echo_client(f"{relay.origin}/{path}", token="token-anna", answer=hesitate):
        await relay.arrival()
        speech = await relay.ask("abc")
    assert speech.pieces == ["Well. ", "cba"]


@over_both
async def test_it_may_be_one_that_is_not_asked(relay: RunningRelay, path: str) -> None:
    """Without an answer to give it only calls tools."""
    async with open_echo_client(f"{relay.origin}/{path}", token="token-anna", answer=None) as client:
        assert "calls" in await client.call_tool("comms_list_calls", {})
        with pytest.raises(ClientAbsent):
            await relay.ask("Anybody?")


async def test_it_may_have_no_standing_stream(relay: RunningRelay) -> None:
    """As a client of later revisions has none; its tools work."""
    async with open_echo_client(f"{relay.origin}/mcp", token="token-anna", answer=None, stands=False) as client:
        assert "calls" in await client.call_tool("comms_list_calls", {})
        (session,) = relay.sessions.of_agent("anna")
        assert session.outbox.closed


@over_both
async def test_it_calls_tools(relay: RunningRelay, path: str) -> None:
    """Results come back to whoever asked, in whichever order, while turns are answered too."""
    answers: dict[str, Any] = {}

    async def call(state: str) -> None:
        answers[state] = await client.call_tool("comms_list_calls", {"state": state})

    async with open_echo_client(f"{relay.origin}/{path}", token="token-anna") as client:
        await relay.arrival()
        with trio.fail_after(HANGING):
            async with trio.open_nursery() as calling:
                for state in ("live", "ended", "neither"):
                    calling.start_soon(call, state)
                assert (await relay.ask("Hello?")).text == "You said: Hello?"
    assert answers["live"]["calls"] is not None
    assert answers["ended"]["calls"] is not None
    assert answers["neither"]["error"]["code"] == "bad_arguments"


async def test_a_tool_that_does_not_exist_is_an_error(relay: RunningRelay) -> None:
    """What the protocol itself refuses comes back as an error as well."""
    async with open_echo_client(relay.sse_url()) as client:
        assert (await client.call_tool("comms_teleport", {}))["error"]["code"] == "-32602"


async def test_a_stream_that_ends_ends_the_wait(relay: RunningRelay) -> None:
    """Whoever asks for a tool until the relay ends the stream, and whoever asks after that, is told."""

    async def call_until_lost() -> None:
        while True:
            await client.call_tool("comms_list_calls", {})

    async with open_echo_client(relay.sse_url()) as client:
        (await relay.arrival()).close("test")
        with trio.fail_after(HANGING):
            for _ in range(2):
                with pytest.raises(EchoFailed, match="the stream"):
                    await call_until_lost()


async def test_long_words_of_many_alphabets_are_repeated_whole(relay: RunningRelay) -> None:
    """A character whose bytes come in two pieces is put together as well."""
    words = "你好🙂é" * 9_000
    async with open_echo_client(relay.sse_url()):
        await relay.arrival()
        with trio.fail_after(HANGING):
            assert (await relay.ask(words)).text == f"You said: {words}"


async def test_an_answer_that_breaks_off_ends_the_wait(relay: RunningRelay) -> None:
    """Without a standing stream, too, whoever waits for a tool is told when the relay goes away."""
    async with open_echo_client(f"{relay.origin}/mcp", token="token-anna", answer=None, stands=False) as client:

        async def wait_for_words() -> None:
            with pytest.raises(EchoFailed, match="the relay"):
                await client.call_tool("comms_converse", {})

        with trio.fail_after(HANGING):
            async with trio.open_nursery() as waiting:
                waiting.start_soon(wait_for_words)
                await client.call_tool("comms_list_calls", {})
                await relay.shut_down()


@pytest.mark.parametrize("url", ["https://127.0.0.1:1/sse?token=t", "127.0.0.1:1/sse", "http:///sse"])
async def test_it_speaks_plain_http_only(url: str) -> None:
    """Another scheme, or no host, is refused before anything is connected."""
    with pytest.raises(EchoFailed, match="plain http on this machine only"):
        async with open_echo_client(url):
            pass


@over_both
async def test_a_wrong_token_is_said_to_be_one(relay: RunningRelay, path: str) -> None:
    """The relay's refusal comes out as one plain error that names the likely cause."""
    with pytest.raises(EchoFailed, match=r"answered 401; is the client's token right\?"):
        async with open_echo_client(f"{relay.origin}/{path}", token="wrong"):
            pass


async def test_a_relay_that_is_being_stopped_is_said_to_be(relay: RunningRelay) -> None:
    """A stream that ends before the client was known is an error, not a client that never answers."""
    relay.app.close_all()
    with pytest.raises(EchoFailed, match=r"ended the stream at once"):
        async with open_echo_client(relay.sse_url()):
            pass


async def test_something_else_on_the_port_is_said_to_be(nursery: trio.Nursery) -> None:
    """A server that does not speak HTTP is told from a relay."""

    async def grumble(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example.com ESMTP\r\n\r\n")
        await stream.receive_some()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, grumble, listeners)
    port = listeners[0].socket.getsockname()[1]
    with pytest.raises(EchoFailed, match="does not speak HTTP"):
        async with open_echo_client(f"http://127.0.0.1:{port}/sse?token=t"):
            pass


@over_both
async def test_no_listener_is_an_operating_system_error(unused_port: int, path: str) -> None:
    """A port that nobody listens on is the operating system's own error."""
    with pytest.raises(OSError, match="connect"):
        async with open_echo_client(f"http://127.0.0.1:{unused_port}/{path}", token="t"):
            pass


async def test_an_error_inside_the_block_comes_out_as_it_is(relay: RunningRelay) -> None:
    """Whoever uses the client need not look into groups for an error of their own, and the session is closed."""
    with pytest.raises(ZeroDivisionError):
        async with open_echo_client(relay.sse_url()):
            raise ZeroDivisionError
    await relay.departure()


async def test_cancelling_closes_the_connection(relay: RunningRelay) -> None:
    """A load run that is stopped leaves no session behind."""
    with trio.CancelScope() as scope:
        async with open_echo_client(relay.sse_url()):
            await relay.arrival()
            scope.cancel()
            await trio.sleep_forever()
    await relay.departure()
