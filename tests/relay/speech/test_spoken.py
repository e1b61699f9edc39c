"""A responder in its wrapper: what it says comes out clean, in order, and to the last character."""

from __future__ import annotations

import pytest
import trio

from actors.call_values import TurnRequest
from actors.errors import ClientFailed
from actors.ports import Answer
from relay.speech.spoken import SpokenResponder
from tests.fakes import Script, ScriptedResponder, call_info, failing, saying
from tests.relay.speech.recorded_answer import GOODBYE, RecordedAnswer, Taken


def a_turn(language: str = "en-US") -> TurnRequest:
    """Make the request of a first turn."""
    return TurnRequest(call=call_info(language=language), turn=1, history=())


async def answered(script: Script, language: str = "en-US") -> RecordedAnswer:
    """Let a wrapped responder answer one turn by a script."""
    answer = RecordedAnswer()
    await SpokenResponder(ScriptedResponder(script)).respond(a_turn(language), answer)
    return answer


async def test_words_pass_as_they_come_and_markup_does_not() -> None:
    """Each piece is handed on at once, without its markup."""
    answer = await answered(saying("We **open**", " at `nine`", " 🎉"))
    assert answer.log == ["We open", " at nine", " "]


async def test_a_piece_without_words_is_not_spoken() -> None:
    """A piece that is markup only is not handed on as an empty one."""
    answer = await answered(saying("**", "", "Yes", "**"))
    assert answer.log == ["Yes"]


async def test_the_end_of_an_answer_is_not_held_back() -> None:
    """What might have become an address is spoken when the answer ends with it."""
    answer = await answered(saying("Plan", " w"))
    assert answer.speech == "Plan w"


@pytest.mark.parametrize("text", ["Plan w", f"{'Plan. ' * 200}w"])
async def test_a_last_piece_is_passed_on_as_the_last_with_what_was_held_back(text: str) -> None:
    """The end of the answer comes with its last piece, not after it; a long one is the last with its last part only."""

    async def script(_request: TurnRequest, answer: Answer) -> None:
        await answer.say(text, last=True)

    answer = await answered(script)
    assert answer.speech == text
    assert answer.ends == [answer.log[-1]]


async def test_a_last_piece_that_cannot_be_spoken_is_passed_on_as_none() -> None:
    """The responder's return ends the answer then."""

    async def script(_request: TurnRequest, answer: Answer) -> None:
        await answer.say("Yes.")
        await answer.say("**", last=True)

    answer = await answered(script)
    assert answer.log == ["Yes."]
    assert answer.ends == []


async def test_an_ampersand_is_said_in_the_language_of_the_call() -> None:
    """The call's language decides how `&` is said."""
    answer = await answered(saying("Kaffee & Kuchen"), "de-DE")
    assert answer.speech == "Kaffee und Kuchen"


async def test_what_was_said_before_a_message_is_spoken_before_it() -> None:
    """A message does not overtake words that were still held back, and is recorded unchanged."""

    async def script(_request: TurnRequest, answer: Answer) -> None:
        await answer.say("I note: w")
        await answer.take_message("**milk** & https://x.org", "after *8*")
        await answer.say("- done h")
        await answer.say_goodbye()

    answer = await answered(script)
    assert answer.log == ["I note: ", "w", Taken("**milk** & https://x.org", "after *8*"), "done ", "h", GOODBYE]


async def test_what_was_said_stands_when_the_responder_gives_up() -> None:
    """A responder that fails has its last words spoken, and the failure comes through."""

    async def script(request: TurnRequest, answer: Answer) -> None:
        await answer.say("Wait: h")
        await failing(ClientFailed("broken"))(request, answer)

    answer = RecordedAnswer()
    with pytest.raises(ClientFailed):
        await SpokenResponder(ScriptedResponder(script)).respond(a_turn(), answer)
    assert answer.speech == "Wait: h"


async def test_nothing_is_spoken_after_a_cancellation(autojump_clock: trio.testing.MockClock) -> None:
    """What was held back when the turn is cancelled is dropped, because the caller talks over it."""

    async def script(_request: TurnRequest, answer: Answer) -> None:
        await answer.say("Wait: h")
        await trio.sleep_forever()

    answer = RecordedAnswer()
    with trio.move_on_after(1):
        await SpokenResponder(ScriptedResponder(script)).respond(a_turn(), answer)
    assert answer.log == ["Wait: "]
