"""The answering machine against a stand-in of the service: real HTTP, real server-sent events, the vendor's library."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import structlog
import trio

from actors.call_values import Line, Speaker, TurnRequest
from actors.errors import AnsweringMachineFailed
from relay.answering.claude import ClaudeAnsweringMachine, open_answering_machine
from relay.simulator.claude.stand_in import (
    ASK,
    CONFIRM,
    GOODBYE,
    Behaviour,
    ClaudeStandIn,
    MessagesRequest,
    Reply,
    Say,
    UseTool,
    serve_stand_in,
)
from tests.fakes import STARTED, call_info
from tests.limits import HANGING
from tests.relay.speech.recorded_answer import GOODBYE as THE_CALL_ENDS
from tests.relay.speech.recorded_answer import RecordedAnswer, Taken

APOLOGY = "I'm sorry, I can't get an answer for you right now."


@asynccontextmanager
async def a_machine(behaviour: Behaviour | None = None) -> AsyncIterator[tuple[ClaudeAnsweringMachine, ClaudeStandIn]]:
    """Run an answering machine against a stand-in, both gone at the end of the block."""
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            stand_in: ClaudeStandIn = await nursery.start(lambda **given: serve_stand_in(behaviour=behaviour, **given))
            async with open_answering_machine(api_key="test", model="claude-test", base_url=stand_in.url) as machine:
                yield machine, stand_in
            nursery.cancel_scope.cancel()


def a_turn(words: str = "Is my car ready?", **changes: object) -> TurnRequest:
    """Make the request of a turn in which the caller said these words, and nothing before."""
    history = (Line(Speaker.CALLER, words, STARTED),)
    return TurnRequest(**({"call": call_info(), "turn": 1, "history": history} | changes))  # type: ignore[arg-type]


def replying(*replies: Reply) -> Callable[[MessagesRequest], Reply]:
    """Make a rule that gives these replies, one a request."""
    left = list(replies)
    return lambda _request: left.pop(0)


async def test_a_message_is_taken_confirmed_and_the_call_ended() -> None:
    """Over three turns the machine asks, records before it confirms, and ends the call on a goodbye."""
    async with a_machine() as (machine, _):
        lines = [Line(Speaker.AGENT, "Hello", STARTED), Line(Speaker.CALLER, "Is my car ready?", STARTED)]
        lines.append(Line(Speaker.ANSWERING_MACHINE, APOLOGY, STARTED))
        outlines, recorded = [], Taken("", "")
        for turn, words in enumerate(
            ["", "Tell them I come tomorrow. Call me back after 8.", "No, that's all. Bye."], 1
        ):
            if words:
                lines.append(Line(Speaker.CALLER, words, STARTED))
            answer = RecordedAnswer()
            request = a_turn(turn=turn, history=tuple(lines), taken=recorded.body, preferences=recorded.preferences)
            await machine.respond(request, answer)
            recorded = answer.taken[-1] if answer.taken else recorded
            lines.append(Line(Speaker.ANSWERING_MACHINE, answer.speech, STARTED))
            outlines.append(answer.outline)
    message = Taken("Tell them I come tomorrow. Call me back after 8.", "Call me back after 8.")
    assert outlines == [[ASK], [message, CONFIRM], [GOODBYE, THE_CALL_ENDS]]


async def test_words_are_spoken_as_they_stream() -> None:
    """The first words are spoken while the service is still writing."""
    async with a_machine(Behaviour(breaks="stall", breaks_after=2)) as (machine, _), trio.open_nursery() as nursery:
        answer = RecordedAnswer()
        nursery.start_soon(machine.respond, a_turn(), answer)
        await answer.wait_for(2)
        assert answer.speech == "May I"
        nursery.cancel_scope.cancel()


async def test_the_request_carries_prompt_conversation_and_tools() -> None:
    """The service gets the model, the role, the words and both tools, and streams."""
    async with a_machine() as (machine, stand_in):
        await machine.respond(a_turn("Hi there"), RecordedAnswer())
    (request,) = stand_in.requests
    assert (request.model, request.stream, request.messages[0].text) == ("claude-test", True, "Hi there")
    assert "answering machine" in str(request.system)
    assert [tool.name for tool in request.tools] == ["record_message", "end_call"]


async def test_blocks_of_different_rounds_are_spoken_apart() -> None:
    """What is said before a tool call and after it does not run together."""
    replies = replying(
        Reply(Say("One moment."), UseTool("record_message", {"message": "m"})), Reply(Say("Noted."), Say("Bye."))
    )
    async with a_machine(Behaviour(rule=replies)) as (machine, _):
        answer = RecordedAnswer()
        await machine.respond(a_turn(), answer)
    assert answer.outline == ["One moment.", Taken("m", ""), " Noted. Bye."]


async def test_an_empty_block_is_not_sent_back() -> None:
    """An empty text block before a tool call is left out of the next request, which the service would refuse."""
    replies = replying(Reply(Say(""), UseTool("record_message", {"message": "m"})), Reply(Say("Noted.")))
    async with a_machine(Behaviour(rule=replies)) as (machine, _):
        answer = RecordedAnswer()
        await machine.respond(a_turn(), answer)
    assert answer.outline == [Taken("m", ""), "Noted."]


@pytest.mark.parametrize(
    "wrong",
    [
        UseTool("record_message", {"message": ""}),
        UseTool("record_message", {"note": "m"}),
        UseTool("record_message", '{"message": "cut o'),
        UseTool("record_message", '["m"]'),
        UseTool("send_mail", {"to": "x"}),
        UseTool("end_call"),
    ],
    ids=["blank", "misnamed", "cut off", "no object", "unknown tool", "no goodbye"],
)
async def test_a_wrong_tool_call_is_mended(wrong: UseTool) -> None:
    """A tool call that cannot be performed comes back to Claude as an error, and what it does then counts."""
    replies = replying(
        Reply(wrong), Reply(UseTool("record_message", {"message": "m", "preferences": "p"})), Reply(Say("Noted."))
    )
    async with a_machine(Behaviour(rule=replies)) as (machine, stand_in):
        answer = RecordedAnswer()
        await machine.respond(a_turn(), answer)
    assert [result.is_error for request in stand_in.requests for result in request.messages[-1].results] == [
        True,
        False,
    ]
    assert answer.outline == [Taken("m", "p"), "Noted."]


async def test_a_goodbye_waits_until_the_message_is_recorded() -> None:
    """A call is not ended in a round whose message could not be recorded."""
    replies = replying(
        Reply(Say("Goodbye."), UseTool("end_call"), UseTool("record_message", {})),
        Reply(UseTool("record_message", {"message": "m"}), UseTool("end_call")),
    )
    async with a_machine(Behaviour(rule=replies)) as (machine, _):
        answer = RecordedAnswer()
        await machine.respond(a_turn(), answer)
    assert answer.log == ["Goodbye.", Taken("m", ""), THE_CALL_ENDS]


async def test_a_machine_that_only_calls_tools_is_stopped() -> None:
    """Claude calling tools for ever ends with the last round, as a failure because the caller heard nothing."""
    async with a_machine(Behaviour(rule=lambda _: Reply(UseTool("record_message", {"message": "m"})))) as (
        machine,
        seen,
    ):
        answer = RecordedAnswer()
        with pytest.raises(AnsweringMachineFailed, match="said nothing"):
            await machine.respond(a_turn(), answer)
    assert answer.log == [Taken("m", "")] * 4
    assert len(seen.requests) == 4


async def test_a_sentence_cut_by_the_token_limit_stands() -> None:
    """An answer that reaches the token limit is spoken as far as it goes."""
    async with a_machine(Behaviour(rule=replying(Reply(Say("Half a"), stop_reason="max_tokens")))) as (machine, _):
        answer = RecordedAnswer()
        await machine.respond(a_turn(), answer)
    assert answer.speech == "Half a"


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (Behaviour(fail_status=401), "service failed"),
        (Behaviour(fail_status=400), "service failed"),
        (Behaviour(rule=lambda _: Reply(Say("I will not."), stop_reason="refusal")), "refused"),
        (Behaviour(rule=lambda _: Reply()), "said nothing"),
        (Behaviour(rule=lambda _: Reply(Say(" "))), "said nothing"),
        (Behaviour(breaks="cut", breaks_after=2), "service failed"),
        (Behaviour(breaks="stop", breaks_after=2), "broke off"),
    ],
    ids=["key", "request", "refusal", "empty", "blank", "cut", "early end"],
)
async def test_a_failing_service_is_a_failed_machine(behaviour: Behaviour, why: str) -> None:
    """Whatever goes wrong at the service, the call hears of it as `AnsweringMachineFailed`."""
    async with a_machine(behaviour) as (machine, _):
        with pytest.raises(AnsweringMachineFailed, match=why):
            await machine.respond(a_turn(), RecordedAnswer())


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_an_error_inside_a_stream_is_a_failed_machine() -> None:
    """The service's error event in mid-stream fails the turn, and what was said until then stands.

    The vendor's library leaves the iterators inside it to the garbage collector in this one case; the connection is
    closed all the same.
    """
    async with a_machine(Behaviour(breaks="error", breaks_after=2)) as (machine, _):
        answer = RecordedAnswer()
        with pytest.raises(AnsweringMachineFailed, match="service failed"):
            await machine.respond(a_turn(), answer)
        gc.collect()
    assert answer.speech == "May I"


async def test_nobody_at_the_address_is_a_failed_machine() -> None:
    """A service that cannot be reached at all is a failure of the turn, not of the call."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with trio.fail_after(HANGING):
        async with open_answering_machine(api_key="k", model="m", base_url=f"http://127.0.0.1:{port}") as machine:
            with pytest.raises(AnsweringMachineFailed):
                await machine.respond(a_turn(), RecordedAnswer())


async def test_what_was_recorded_stands_when_the_stream_breaks_off() -> None:
    """A message is recorded the moment it is complete: a stream that breaks off after it loses nothing."""
    rule = replying(Reply(UseTool("record_message", {"message": "m"}), Say("Noted down.")))
    async with a_machine(Behaviour(rule=rule, breaks="cut", breaks_after=4)) as (machine, _):
        answer = RecordedAnswer()
        with pytest.raises(AnsweringMachineFailed):
            await machine.respond(a_turn(), answer)
    assert answer.taken == [Taken("m", "")]


async def test_an_overloaded_service_is_tried_once_more() -> None:
    """One refusal for overload is retried and the caller hears the answer."""
    async with a_machine(Behaviour(fail_status=529, failures=1)) as (machine, stand_in):
        answer = RecordedAnswer()
        await machine.respond(a_turn(), answer)
    assert answer.speech == ASK
    assert len(stand_in.requests) == 2


@pytest.mark.parametrize("breaks_after", [0, 2])
async def test_cancelling_closes_the_stream_at_once(breaks_after: int) -> None:
    """When the caller talks over the machine, the service sees the stream closed, and the machine goes on working."""
    asked = trio.Event()

    def rule(_request: MessagesRequest) -> Reply:
        asked.set()
        return Reply(Say(ASK))

    async with a_machine(Behaviour(rule=rule, breaks="stall", breaks_after=breaks_after)) as (machine, stand_in):
        async with trio.open_nursery() as nursery:
            answer = RecordedAnswer()
            nursery.start_soon(machine.respond, a_turn(), answer)
            await asked.wait()
            await answer.wait_for(breaks_after)
            nursery.cancel_scope.cancel()
        await stand_in.first_abandoned.wait()
        stand_in.behaviour = Behaviour()
        await machine.respond(a_turn(), answer := RecordedAnswer())
    assert answer.speech == ASK


async def test_a_speaker_that_is_cancelled_leaves_nothing_behind() -> None:
    """Cancelled in the middle of saying a piece, the stream is closed by the machine, not by the garbage collector."""

    class StuckAnswer(RecordedAnswer):
        async def say(self, text: str, *, last: bool = False) -> None:
            await super().say(text, last=last)
            await trio.sleep_forever()

    async with a_machine() as (machine, _):
        async with trio.open_nursery() as nursery:
            answer = StuckAnswer()
            nursery.start_soon(machine.respond, a_turn(), answer)
            await answer.wait_for(1)
            nursery.cancel_scope.cancel()
        gc.collect()  # an iterator left open would warn here, and warnings are errors


async def test_twenty_callers_are_answered_at_once() -> None:
    """One machine serves many calls, and each caller gets the answer to their own words."""

    def echo(request: MessagesRequest) -> Reply:
        return Reply(Say(request.messages[-1].text))

    answers = [RecordedAnswer() for _ in range(20)]
    async with a_machine(Behaviour(rule=echo)) as (machine, _), trio.open_nursery() as nursery:
        for number, answer in enumerate(answers):
            nursery.start_soon(machine.respond, a_turn(f"caller {number}"), answer)
    assert [answer.speech for answer in answers] == [f"caller {number}" for number in range(20)]


async def test_a_failure_is_logged_without_words_or_numbers() -> None:
    """The log names the call, the error and its status, and neither what was said nor who called."""
    with structlog.testing.capture_logs() as logs:
        async with a_machine(Behaviour(fail_status=401)) as (machine, _):
            with pytest.raises(AnsweringMachineFailed):
                await machine.respond(a_turn("my secret"), RecordedAnswer())
    (entry,) = [each for each in logs if each["event"] == "machine_failed"]
    assert (entry["call_sid"], entry["error"], entry["status"]) == ("CA1", "AuthenticationError", 401)
    assert "my secret" not in str(logs)
    assert "+1555" not in str(logs)
