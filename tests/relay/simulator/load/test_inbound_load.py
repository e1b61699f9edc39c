"""Call load counts what happened: answers, by whom, how late, lost, or on the wrong call."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from relay.simulator.load.inbound_load import LoadPlan, run_load
from relay.simulator.load.load_report import LoadReport, Progress
from tests.relay.simulator.scripted_relay import ACCOUNT, TOKEN, Handler, ScriptedRelay, Socket, echo, scripted


async def load(talk: Handler, /, **plan: Any) -> LoadReport:
    """Run a plan of three calls with two turns against a handler."""
    async with scripted(talk) as (relay, _carrier):
        return await run_load(make_plan(relay, **plan))


ENOUGH = 2.0
"""Seconds in which three calls get an answer that does come, on a busy machine too; one that does not is waited for."""


def make_plan(relay: ScriptedRelay, **changes: Any) -> LoadPlan:
    """Plan three calls with two turns."""
    given: dict[str, Any] = {"calls": 3, "turns": 2, **changes}
    return LoadPlan(url=relay.origin, agent_id="a", account_sid=ACCOUNT, auth_token=TOKEN, **given)


async def prompts(socket: Socket) -> Any:
    """Yield what the caller says."""
    while (frame := await socket.receive())["type"] != "closed":
        if frame["type"] == "prompt":
            yield frame["voicePrompt"]


async def test_a_client_that_repeats_everything() -> None:
    """Every answer that carries its turn's marker counts as the client's, with its latencies."""
    report = await load(echo)
    assert report.clean
    assert (report.calls, report.turns, report.answered) == (3, 6, {"client": 6})
    assert 0 < report.first_word.p50 <= report.turn.p50 <= report.turn.max


async def test_known_phrases_tell_the_path() -> None:
    """An answer without a marker is sorted by the phrases that the plan knows."""

    async def talk(socket: Socket) -> None:
        async for _words in prompts(socket):
            await socket.say("I'm sorry, ", "nobody is available.")

    report = await load(talk, phrases={"unavailable": ["nobody is available"]})
    assert report.answered == {"unavailable": 6}
    assert report.clean


async def test_an_unknown_answer_is_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer with neither a marker nor a known phrase is counted as other."""
    monkeypatch.setattr("relay.simulator.load.inbound_load.SETTLE", 0.05)

    async def talk(socket: Socket) -> None:
        async for _words in prompts(socket):
            await socket.say("Pardon?")

    assert (await load(talk)).answered == {"other": 6}


async def test_a_filler_is_not_the_answer() -> None:
    """Speech before the marked answer does not count as the answer, but as the first word."""

    async def talk(socket: Socket) -> None:
        async for words in prompts(socket):
            await socket.say("One moment.")
            await trio.sleep(0.1)
            await socket.say(words)

    report = await load(talk)
    assert report.answered == {"client": 6}
    assert report.turn.p50 >= report.first_word.p50 + 99


async def test_lost_answers() -> None:
    """A turn without an answer in time is lost, and the next one is still asked."""

    async def talk(socket: Socket) -> None:
        first = True
        async for words in prompts(socket):
            if not first:
                await socket.say(words)
            first = False

    report = await load(talk, answer_within=ENOUGH)
    assert (report.lost, report.answered) == (3, {"client": 3})
    assert not report.clean


async def test_an_answer_that_was_cut_off_is_lost() -> None:
    """Speech that never ends its talk cycle is no answer."""

    async def talk(socket: Socket) -> None:
        async for words in prompts(socket):
            await socket.send(type="text", token=words)

    assert (await load(talk, turns=1, answer_within=0.2)).lost == 3


async def test_answers_to_the_wrong_call() -> None:
    """An answer with another call's marker counts as such and answers nothing."""
    said: list[str] = []
    both = trio.Event()

    async def talk(socket: Socket) -> None:
        async for words in prompts(socket):
            mine = len(said)
            said.append(words)
            if len(said) == 2:
                both.set()
            await both.wait()
            await socket.say(said[1 - mine])

    report = await load(talk, calls=2, turns=1, answer_within=ENOUGH)
    assert (report.wrong_call, report.lost, report.answered) == (2, 2, {})


async def test_answers_to_an_earlier_turn() -> None:
    """An answer that comes a turn late counts as stale, and the right one after it still counts."""

    async def talk(socket: Socket) -> None:
        before = ""
        async for words in prompts(socket):
            if before:
                await socket.say(before)
                await socket.say(words)
            before = words

    report = await load(talk, answer_within=ENOUGH)
    assert (report.stale, report.lost, report.answered) == (3, 3, {"client": 3})


async def test_calls_that_cannot_be_placed() -> None:
    """A webhook that fails is an error with its status, and no turn is asked."""
    async with scripted() as (relay, _carrier):
        relay.statuses["/webhooks/a/voice"] = 503
        report = await run_load(make_plan(relay))
    assert report.errors == {"webhook voice 503": 3}
    assert (report.calls, report.turns) == (3, 0)


async def test_calls_that_break() -> None:
    """A call that the relay breaks off is an error, and its open turn is lost."""

    async def talk(socket: Socket) -> None:
        async for _words in prompts(socket):
            await socket.close(1011)

    report = await load(talk)
    assert (report.errors, report.lost) == ({"call ended early": 3}, 3)


async def test_malformed_frames_are_counted() -> None:
    """Frames that no carrier would take show in the report."""

    async def talk(socket: Socket) -> None:
        await socket.send_raw("null")
        await echo(socket)

    report = await load(talk)
    assert report.malformed == 3
    assert not report.clean


async def test_a_rate_spreads_the_calls() -> None:
    """With a rate the calls begin one after the other."""
    report = await load(echo, rate=20.0)
    assert report.clean
    assert report.seconds >= 2 / 20


async def test_a_run_that_takes_too_long_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is bounded in time; what is reported by then stays."""
    monkeypatch.setattr(LoadPlan, "at_most", ENOUGH)
    report = await load(echo, think=60.0)
    assert report.errors == {"time limit of the run": 1}
    assert report.answered == {"client": 3}


async def test_progress_is_reported() -> None:
    """Whoever runs the plan is told how far it is."""
    told: list[Progress] = []
    async with scripted() as (relay, _carrier):
        await run_load(make_plan(relay), told.append)
    assert told[-1].finished == 3


@pytest.mark.parametrize("changes", [{"calls": 0}, {"turns": 0}, {"rate": 0.0}, {"think": -1.0}, {"calls": 10**6}])
def test_plans_are_bounded(changes: dict[str, Any]) -> None:
    """A plan without calls, or with absurdly many, cannot be made."""
    with pytest.raises(ValueError, match=next(iter(changes))):
        make_plan(ScriptedRelay(echo), **changes)
