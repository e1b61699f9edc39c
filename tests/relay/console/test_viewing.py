"""What is kept of a call between two looks at it changes nothing of what is shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.call_values import Line, Speaker
from actors.commands import By
from actors.events import CallerBargedIn, CallerGone, DigitPressed, UtteranceHeard
from actors.trace import Asked, TurnTimes, WallClock
from relay.console.documents import Documents
from relay.console.feed import Feed, Form, OneCall
from relay.console.pace import Pace
from relay.console.viewing import SeenCall, call_of, row_of, said
from relay.console.views import Facts, LiveFilter, LiveState
from tests.actors.test_trace import Call, slowly
from tests.fakes import saying, silent


async def test_who_looks_often_sees_what_the_first_look_shows(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A call that goes from a client to the answering machine, looked at each tenth of a second, also as JSON."""
    call = Call(silent, saying("May I take a message?"))
    nursery.start_soon(call.session.run)
    seen, documents, states = SeenCall(), Documents(Pace()), set()

    async def look(seconds: float) -> None:
        until = trio.current_time() + seconds
        while trio.current_time() < until:
            await trio.sleep(0.1)
            view, row = call.session.view(), row_of(call.session.glance())
            state = call_of(view, row, seen=seen)
            assert state == call_of(view, row)
            assert json.loads(await documents.of(state)) == state.document()
            states.add(repr(state))

    await look(0.2)
    call.line.carrier_says(UtteranceHeard("Is anybody there?"))
    await look(0.5)
    call.session.note_client(1, Asked("claude-desktop", "asked directly"))
    await look(9)
    call.line.carrier_says(DigitPressed("1"))
    await look(0.3)
    call.line.carrier_says(DigitPressed("2"), CallerBargedIn("May I"), UtteranceHeard("Yes."))
    await look(3)
    call.line.carrier_says(CallerGone(1000))
    await look(0.2)
    assert len(states) > 8


async def test_a_glance_shows_the_newest_words(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The words of the answer that grows, and how long the newest answer took, however the turn after it goes."""
    call = Call(slowly("On ", "Thursday."))
    nursery.start_soon(call.session.run)
    assert call.session.glance().first_word is None
    await call.say(UtteranceHeard("When?"))
    assert row_of(call.session.glance()).last_words == "When?"
    await trio.sleep(3)
    assert row_of(call.session.glance()).last_words == "On Thursday."
    call.line.carrier_says(UtteranceHeard("When?"))
    await wait_all_tasks_blocked()
    assert call.session.glance().first_word == call.session.view().turns[0].first_word == 0.75


async def test_a_state_of_all_calls_is_its_document() -> None:
    """With no call in it, too."""
    facts = Facts(live=0, most=100, first_word=None, clients=0, with_machine=0, waiting=None)
    state = LiveState(facts=facts, filter=LiveFilter(), rows=(), found=0)
    assert json.loads(await Documents(Pace()).of(state)) == state.document()


async def test_a_reader_gets_what_it_has_not_seen() -> None:
    """All who have seen the same get the very same bytes; text of several lines stays one event."""
    feed = Feed(OneCall("CA1"), Form.HTML, "boot")
    feed.put({"head": "a\r\nb\rc\n", "facts": "1"}, 5)
    whole = await feed.after(0)
    assert whole == await feed.after(0)
    assert whole.startswith(
        b'id: boot-5\ndata: <hx-partial hx-target="#head" hx-swap="innerMorph">a\ndata: b\ndata: c\n'
    )
    feed.put({"head": "a\r\nb\rc\n", "facts": "2"}, 9)
    newer = await feed.after(5)
    assert b"#head" not in newer
    assert b'hx-target="#facts"' in newer
    assert (await feed.after(0)).count(b"<hx-partial") == 2
    feed.fail()
    assert await feed.after(9) == b""


def test_a_turn_has_one_line() -> None:
    """Of a caller who speaks at once: how long the answer took stands at it, and not at the greeting before, too."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    spoken = [(Speaker.AGENT, "Hello."), (Speaker.CALLER, "Is Thursday free?"), (Speaker.AGENT, "It is.")]
    lines = [Line(who, text, at + timedelta(seconds=0.02 * number)) for number, (who, text) in enumerate(spoken)]
    turns = [TurnTimes(turn=1, by=By.CLIENT, arrived=100.02, first=100.04, out=100.045, last=100.05)]
    shown = said(lines, turns=turns, clock=WallClock(100.0, at))
    assert [each.turn != "" for each in shown] == [False, False, True]
    assert [each.first_word is None for each in shown] == [True, True, False]
