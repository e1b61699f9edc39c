"""A session asks its client one thing at a time or many, and says what comes back in the right words."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from mcp_types import JSONRPCNotification

from actors.clients import Presence
from actors.errors import ClientAbsent, ClientFailed, ClientLeft
from actors.turn_queue import TurnQueues
from relay.agent import Agent
from relay.mcp.session import INBOX_CAPACITY, McpSession
from tests.relay.mcp.mcp_relay import NOW, RawClient, RunningRelay, Speech, no_calls, raw_client, turn


async def answer(relay: RunningRelay, client: RawClient, *pieces: tuple[int, str], content: Any) -> Speech:
    """Let the relay ask, send these numbered pieces in this order and then the final content."""
    speech: list[Speech] = []

    async def ask() -> None:
        speech.append(await relay.ask("Hello?"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        request = await client.next_message("sampling/createMessage")
        token = request["params"]["_meta"]["progressToken"]
        for number, text in pieces:
            await client.notify("notifications/progress", progressToken=token, progress=number, message=text)
        await client.reply(request, {"role": "assistant", "model": "by hand", "content": content})
    return speech[0]


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


async def ready(relay: RunningRelay, client: RawClient) -> None:
    await client.shake_hands()
    await relay.arrival()


async def test_shuffled_pieces_are_spoken_in_order(relay: RunningRelay) -> None:
    """Pieces that overtake each other on the way are spoken by their numbers, and then the rest."""
    async with raw_client(relay) as client:
        await ready(relay, client)
        pieces = [(2, "two "), (3, "three "), (1, "one "), (3, "drei ")]
        speech = await answer(relay, client, *pieces, content=text("one two three four"))
    assert speech.text == "one two three four"


async def test_pieces_behind_a_gap_are_said_out_of_the_result(relay: RunningRelay) -> None:
    """A piece that never comes holds nothing up: the final result says it."""
    async with raw_client(relay) as client:
        await ready(relay, client)
        speech = await answer(relay, client, (1, "one "), (3, "three"), content=text("one two three"))
    assert "".join(speech.text.split()) == "onetwothree"


async def test_result_that_contradicts_the_pieces_is_said_whole(relay: RunningRelay) -> None:
    """The final result is authoritative."""
    async with raw_client(relay) as client:
        await ready(relay, client)
        speech = await answer(relay, client, (1, "Yes"), content=text("Rather not."))
    assert speech.text in {"Yes Rather not.", "Rather not."}


async def test_client_that_said_all_in_pieces_may_end_with_nothing(relay: RunningRelay) -> None:
    """An empty result after pieces that were spoken is the end of them, no failure."""
    async with raw_client(relay) as client:
        await ready(relay, client)
        spoken = trio.Event()

        class Listening(Speech):
            async def say(self, text: str, *, last: bool = False) -> None:
                await super().say(text, last=last)
                spoken.set()

        session = await relay.arrival()
        speech = Listening()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.sampler.sample, turn("anna", "Hello?"), speech.say)
            request = await client.next_message("sampling/createMessage")
            token = request["params"]["_meta"]["progressToken"]
            await client.notify("notifications/progress", progressToken=token, progress=1, message="That is all.")
            await spoken.wait()
            await client.say(request, "")
    assert speech.text == "That is all."


async def test_list_of_texts_is_an_answer(relay: RunningRelay) -> None:
    """The content of an answer may be several text blocks."""
    async with raw_client(relay) as client:
        await ready(relay, client)
        speech = await answer(relay, client, content=[text("One."), text("Two.")])
    assert speech.text == "One.\nTwo."


@pytest.mark.parametrize(
    "content",
    [
        text(""),
        text(" \n"),
        [],
        {"type": "image", "data": "AA==", "mimeType": "image/png"},
        "words",
        None,
    ],
)
async def test_answer_without_words_is_a_failure(relay: RunningRelay, content: Any) -> None:
    """What cannot be spoken is no answer, so that somebody else can give one."""
    async with raw_client(relay) as client:
        await ready(relay, client)
        with pytest.RaisesGroup(ClientFailed):
            await answer(relay, client, content=content)


async def test_error_of_the_client_is_a_failure(relay: RunningRelay) -> None:
    """A client that refuses a turn fails it, and is asked again the next time."""
    async with raw_client(relay) as client:
        await ready(relay, client)
        with pytest.RaisesGroup(ClientFailed):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay.ask, "Hello?")
                request = await client.next_message("sampling/createMessage")
                error = {"code": -1, "message": "User rejected sampling request"}
                await client.post({"jsonrpc": "2.0", "id": request["id"], "error": error})
        assert (await answer(relay, client, content=text("Fine."))).text == "Fine."


async def test_client_that_turns_out_not_to_sample_is_not_asked_again(relay: RunningRelay) -> None:
    """A session that answers "method not found" leaves presence, so that an older one can take the next turn."""
    async with raw_client(relay) as client:
        await ready(relay, client)
        with pytest.RaisesGroup(ClientFailed):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay.ask, "Hello?")
                request = await client.next_message("sampling/createMessage")
                error = {"code": -32601, "message": "Method not found"}
                await client.post({"jsonrpc": "2.0", "id": request["id"], "error": error})
        with pytest.raises(ClientAbsent):
            await relay.ask("Hello?")


async def test_turns_of_several_calls_do_not_mix(relay: RunningRelay) -> None:
    """Answers that come in another order than the questions reach the right callers."""
    heard: dict[str, str] = {}

    async def ask(words: str) -> None:
        heard[words] = (await relay.ask(words)).text

    async with raw_client(relay) as client:
        await ready(relay, client)
        async with trio.open_nursery() as nursery:
            requests = []
            for words in ("one", "two", "three"):
                nursery.start_soon(ask, words)
                requests.append(await client.next_message("sampling/createMessage"))
            for request in reversed(requests):
                await client.say(request, f"echo {request['params']['messages'][-1]['content']['text']}")
    assert heard == {"one": "echo one", "two": "echo two", "three": "echo three"}


async def test_late_answer_to_a_former_session_is_heard_by_nobody(relay: RunningRelay) -> None:
    """Request ids are never used twice, so an answer to an old question cannot answer a new session's."""
    async with raw_client(relay) as former:
        await ready(relay, former)
        with pytest.RaisesGroup(ClientLeft):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay.ask, "Old question.")
                old = await former.next_message("sampling/createMessage")
                relay.app.close_agent("anna")
    async with raw_client(relay) as client:
        await ready(relay, client)
        heard: list[str] = []

        async def ask() -> None:
            heard.append((await relay.ask("New question.")).text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            new = await client.next_message("sampling/createMessage")
            await client.say(old, "Old answer.")
            await client.say(new, "New answer.")
    assert heard == ["New answer."]


async def test_cancelled_turn_is_withdrawn(relay: RunningRelay) -> None:
    """Cancelling tells the client which request is meant, and an answer that still comes is dropped."""
    async with raw_client(relay) as client:
        await ready(relay, client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.ask, "Never mind.")
            request = await client.next_message("sampling/createMessage")
            nursery.cancel_scope.cancel()
        withdrawn = await client.next_message("notifications/cancelled")
        assert withdrawn["params"]["requestId"] == request["id"]
        await client.say(request, "Too late.")
        assert (await answer(relay, client, content=text("Right."))).text == "Right."


async def test_error_of_the_speaker_ends_the_turn(relay: RunningRelay) -> None:
    """When what is said cannot be taken any more, the client is told to stop."""

    async def broken(text: str, *, last: bool = False) -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError

    async with raw_client(relay) as client:
        await client.shake_hands()
        session = await relay.arrival()
        with pytest.RaisesGroup(trio.BrokenResourceError, flatten_subgroups=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.sampler.sample, turn("anna", "Hello?"), broken)
                request = await client.next_message("sampling/createMessage")
                token = request["params"]["_meta"]["progressToken"]
                await client.notify("notifications/progress", progressToken=token, progress=1, message="Hi")
        await client.next_message("notifications/cancelled")


async def test_full_inbox_makes_nobody_wait_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    """A message that finds no room waits for some, and a session that makes none is stuck and is closed."""
    message = JSONRPCNotification(jsonrpc="2.0", method="notifications/roots/list_changed")
    agent = Agent(agent_id="anna", created_at=NOW)
    session = McpSession(agent=agent, queues=TurnQueues(Presence(grace=0), no_calls()), token_digest=b"")
    assert all(session.deliver_now(message) for _ in range(INBOX_CAPACITY))
    assert not session.deliver_now(message)
    await session.deliver_later(message)
    assert session.closed
    assert session.deliver_now(message)  # it goes nowhere, and that is no reason to wait
    await session.deliver_later(message)
