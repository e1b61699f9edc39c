"""Claude as the brain, against a stand-in of the service: real HTTP, real server-sent events, the vendor's library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from relay.attach.claude_brain import CALL_CONNECTED, ClaudeBrain, conversation, open_claude_brain
from relay.attach.turn import BrainFailed, Line
from relay.simulator.claude.stand_in import Behaviour, ClaudeStandIn, MessagesRequest, Reply, Say, serve_stand_in
from tests.relay.attach.attach_fakes import LIMIT, Said, a_turn


def saying(text: str, stop_reason: str | None = None, **behaviour: object) -> Behaviour:
    """Make a stand-in that always gives this answer."""

    def rule(_request: MessagesRequest) -> Reply:
        return Reply(Say(text), stop_reason=stop_reason)

    return Behaviour(rule=rule, **behaviour)  # type: ignore[arg-type]


@asynccontextmanager
async def a_brain(behaviour: Behaviour) -> AsyncIterator[tuple[ClaudeBrain, ClaudeStandIn]]:
    """Run a brain against a stand-in, both gone at the end of the block."""
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            stand_in: ClaudeStandIn = await nursery.start(lambda **given: serve_stand_in(behaviour=behaviour, **given))
            async with open_claude_brain(model="claude-test", api_key="test", base_url=stand_in.url) as brain:
                yield brain, stand_in
            nursery.cancel_scope.cancel("the test is over")


async def test_each_sentence_is_said_once_it_is_complete() -> None:
    """The answer is whole, and its sentences but the last were said while it was streamed."""
    said = Said()
    async with a_brain(saying("It is Tuesday. The sun shines. Anything else?", pace=0.01)) as (brain, _):
        answer = await brain.answer(a_turn("Which day is it?"), said.say)
    assert answer == "It is Tuesday. The sun shines. Anything else?"
    assert said.pieces == ["It is Tuesday. ", "The sun shines. "]


async def test_claude_gets_what_the_relay_says() -> None:
    """The system prompt, the conversation and the limit of the turn are those of the request."""
    async with a_brain(saying("Yes.")) as (brain, stand_in):
        await brain.answer(a_turn("Is it raining?"), Said().say)
        request = stand_in.requests[0]
    assert (request.model, request.system, request.max_tokens) == ("claude-test", "Be brief.", 300)
    assert [(message.role, message.text) for message in request.messages] == [
        ("user", CALL_CONNECTED),
        ("assistant", "How can I help you?"),
        ("user", "Is it raining?"),
    ]


async def test_a_turn_without_a_prompt_can_be_asked() -> None:
    """An empty system prompt is left out."""
    async with a_brain(saying("Yes.")) as (brain, stand_in):
        assert await brain.answer(a_turn(system_prompt=""), Said().say) == "Yes."
        assert stand_in.requests[0].system == ""


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (saying("Never.", fail_status=401), "AuthenticationError"),
        (saying("Never said to its end.", breaks="cut", breaks_after=2), "cannot be asked"),
        (saying("Never said to its end.", breaks="error", breaks_after=2), "cannot be asked"),
        (saying("Never said to its end.", breaks="stop", breaks_after=2), "broke off"),
        (saying("I will not.", stop_reason="refusal"), "refused"),
    ],
    ids=["refused", "cut", "error", "stop", "refusal"],
)
async def test_a_failing_service_is_no_answer(behaviour: Behaviour, why: str) -> None:
    """Whatever goes wrong at the service, the turn is refused with the reason."""
    async with a_brain(behaviour) as (brain, _):
        with pytest.raises(BrainFailed, match=why):
            await brain.answer(a_turn(), Said().say)


async def test_cancelling_closes_the_stream() -> None:
    """A turn that is withdrawn does not go on at the service."""
    said = Said()
    async with a_brain(saying("One. Two. Three.", breaks="stall", breaks_after=2)) as (brain, stand_in):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(brain.answer, a_turn(), said.say)
            await said.first.wait()
            nursery.cancel_scope.cancel("withdrawn")
        await stand_in.first_abandoned.wait()


def test_lines_of_one_side_are_one_message() -> None:
    """The API takes alternating messages that begin with the user; blank lines are none."""
    lines = (Line("user", "One."), Line("user", " Two. "), Line("assistant", "  "), Line("user", "Three."))
    assert conversation(a_turn(lines=lines)) == [{"role": "user", "content": "One.\nTwo.\nThree."}]
