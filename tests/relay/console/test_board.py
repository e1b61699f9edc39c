"""The board, by what its viewers get and what the calls are asked for: under the mock clock, with calls in memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.call_session import CallServices
from actors.calls import RETURN_SECONDS, Calls
from actors.clients import Presence
from actors.commands import By
from actors.events import CallerGone, UtteranceHeard
from actors.policy import Policy
from relay.call_listeners import CallListeners
from relay.console.board import CALL_BEAT, MESSAGES_EVERY, Board
from relay.console.feed import Feed, Form, OneCall, View
from relay.console.first_words import FirstWords
from relay.console.pace import Pace
from relay.console.refused import Refused
from relay.console.rendering import Renderer
from relay.console.views import LiveFilter
from relay.store.backlog import Backlog, Backlogs
from tests.fakes import MemoryLine, RecordingObserver, ScriptedResponder, Session, call_info, saying
from tests.fakes_store import MemoryJournal, MemoryMessageStore

LIVE = LiveFilter()
POLICY = Policy(has_answering_machine=True)


@attrs.frozen
class CountingRenderer(Renderer):
    """Counts how often each template was rendered; those in `broken` cannot be."""

    rendered: Counter[str] = attrs.field(factory=Counter, init=False)
    broken: set[str] = attrs.field(factory=set, init=False)

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        self._count(template)
        return super().render(template, values)

    def render_part(self, template: str, it: object) -> str:
        self._count(template)
        return super().render_part(template, it)

    def _count(self, template: str) -> None:
        self.rendered[template] += 1
        if template in self.broken:
            raise RuntimeError(template)


@attrs.define(eq=False)
class Looked:
    """Waiting messages that nobody has to ask a database for; `times` counts who asks."""

    times: int = 0

    async def look(self) -> Backlog:
        await trio.lowlevel.checkpoint()
        self.times += 1
        return Backlog()


class Scene:
    """A board on calls whose client answers `Yes.`; `watches` says how often they were watched, and are now."""

    def __init__(self, nursery: trio.Nursery, *, pace: Callable[[], float] = lambda: 0.0) -> None:
        self.nursery = nursery
        self.listeners = CallListeners([RecordingObserver()])
        journal = MemoryJournal()
        responder = ScriptedResponder(saying("Yes."))
        services = CallServices(
            responders={By.CLIENT: responder, By.ANSWERING_MACHINE: responder},
            messages=MemoryMessageStore(journal),
            journal=journal,
            observer=self.listeners,
        )
        self.calls = Calls(services, Presence(grace=10), max_calls=1_000)
        self.calls.presence.arrive(Session("my-client"))
        self.lines: dict[str, MemoryLine] = {}
        self.renderer, self.backlogs, self.banner = CountingRenderer(), Looked(), ""
        self.watches, self.watching = 0, 0
        self.board = Board(
            calls=self.calls,
            backlogs=cast("Backlogs", self.backlogs),
            first_words=FirstWords(),
            renderer=self.renderer,
            clients=lambda: 1,
            watching=self._watching,
            webhook="https://voice.example/webhooks/AGENT/voice",
            banner=lambda: self.banner,
            boot="boot",
            pace=Pace(pace),
        )
        nursery.start_soon(self.board.run)

    @contextmanager
    def _watching(self, watcher: Callable[[str], None]) -> Iterator[None]:
        self.watches += 1
        self.watching += 1
        try:
            with self.listeners.watching(watcher):
                yield
        finally:
            self.watching -= 1

    async def rings(self, *call_sids: str, attempt: int = 0) -> None:
        """Connect calls, one after the other; how many messages wait is known by then."""
        await self.board.look_at_messages()
        for call_sid in call_sids:
            self.lines[call_sid] = MemoryLine()
            call = self.calls.announce(call_info(call_sid=call_sid, attempt=attempt), POLICY)
            info = self.calls.redeem(call.agent_id, call_sid, call.ticket)
            assert info is not None
            self.nursery.start_soon(self.calls.connect, info, self.lines[call_sid])
            await wait_all_tasks_blocked()

    async def said(self, call_sid: str, text: str) -> None:
        """Let a caller say something, and wait for the answer."""
        self.lines[call_sid].carrier_says(UtteranceHeard(text))
        await self.lines[call_sid].hear()

    async def over(self, call_sid: str) -> None:
        """Let a caller hang up."""
        self.lines[call_sid].carrier_says(CallerGone(1000))
        await wait_all_tasks_blocked()


class Viewer:
    """Who reads a feed: `newest` is its last event, `events` counts them, `took` is how long the last one took."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.seen = self.events = 0
        self.newest = b""
        self.took = 0.0

    async def next(self) -> bytes:
        began = trio.current_time()
        self.newest = await self.feed.after(self.seen)
        self.seen, self.took = self.feed.version, trio.current_time() - began
        self.events += 1
        return self.newest

    async def state(self) -> dict[str, Any]:
        """Return the next state, of a feed in JSON."""
        return document(await self.next())

    async def follow(self) -> None:
        while not self.feed.is_broken:
            await self.next()


def document(event: bytes) -> dict[str, Any]:
    (data,) = [line for line in event.decode().splitlines() if line.startswith("data: ")]
    found: dict[str, Any] = json.loads(data.removeprefix("data: "))
    return found


async def beats(number: float) -> None:
    await trio.sleep(number * CALL_BEAT)


# ── only while somebody looks ───────────────────────────────────────────────────────────────────────────────────────


async def test_nothing_is_done_while_nobody_looks(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """No call is watched or read, no message counted, until there is a viewer, and again when the last one has left."""
    scene = Scene(nursery)
    await scene.rings("CA1")
    scene.backlogs.times = 0
    await trio.sleep(5)
    assert (scene.watches, scene.backlogs.times, scene.renderer.rendered.total()) == (0, 0, 0)
    async with scene.board.feed(LIVE, Form.HTML) as feed:
        async with scene.board.feed(LIVE, Form.HTML) as same:
            assert same is feed
        await Viewer(feed).next()
        await trio.sleep(1.5 * MESSAGES_EVERY)
        assert (scene.watching, scene.watches, scene.backlogs.times) == (1, 1, 2)
    await beats(2)
    assert scene.watching == 0
    done = scene.backlogs.times, scene.renderer.rendered.total()
    await scene.said("CA1", "Hello?")
    await trio.sleep(5)
    assert (scene.backlogs.times, scene.renderer.rendered.total()) == done
    async with scene.board.feed(LIVE, Form.JSON) as feed:
        assert (await Viewer(feed).state())["calls"][0]["lastWords"] == "Yes."
        assert (scene.watching, scene.watches) == (1, 2)


async def test_one_who_comes_between_two_beats(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The first of a view waits for the next beat; who comes later has its newest state at once."""
    scene = Scene(nursery)
    await scene.rings("CA1")
    async with scene.board.feed(LIVE, Form.JSON) as feed:
        first = Viewer(feed)
        await first.next()
        assert first.took == 0
        await beats(0.4)
        async with scene.board.feed(LIVE, Form.JSON) as same, scene.board.feed(OneCall("CA1"), Form.JSON) as other:
            second, third = Viewer(same), Viewer(other)
            assert await second.next() == first.newest
            await third.next()
            assert second.took == 0
            assert third.took == pytest.approx(0.6 * CALL_BEAT)


async def test_one_who_comes_while_a_state_is_made(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The board rests in the middle of a view of many calls: who opens another one then has it with the next beat."""
    ticks = iter(range(1_000_000))
    scene = Scene(nursery, pace=lambda: next(ticks) / 1000)  # each piece of work takes a millisecond
    await scene.rings(*(f"CA{number}" for number in range(20)))
    async with scene.board.feed(LIVE, Form.HTML) as feed, trio.open_nursery() as readers:
        slow = Viewer(feed)
        readers.start_soon(slow.next)
        await wait_all_tasks_blocked()
        assert feed.version == 0
        async with scene.board.feed(OneCall("CA7"), Form.JSON) as other:
            late = Viewer(other)
            assert (await late.state())["callSid"] == "CA7"
        assert slow.took > 20 * 0.003
        assert slow.took < late.took < slow.took + 2 * CALL_BEAT


# ── made once ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_view_is_made_once_for_all_who_look(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The very same bytes for all of a filter, and what has changed of them only; another filter is another view."""
    scene = Scene(nursery)
    await scene.rings("CA1", "CA2")
    one_agents = LiveFilter(agent_id="my-client")
    async with scene.board.feed(LIVE, Form.HTML) as feed, scene.board.feed(one_agents, Form.HTML) as other:
        viewers = [Viewer(feed) for _ in range(10)]
        for each in [*viewers, Viewer(other)]:
            await each.next()
        assert {id(each.newest) for each in viewers} == {id(viewers[0].newest)}
        assert scene.renderer.rendered["live_row.html"] == 4
        await scene.said("CA2", "Hello?")
        for each in viewers:
            await each.next()
        assert {id(each.newest) for each in viewers} == {id(viewers[0].newest)}
        assert b"#calls" in viewers[0].newest
        assert b"#facts" not in viewers[0].newest
        assert scene.renderer.rendered["live_row.html"] == 6
        await beats(4)
        assert scene.renderer.rendered["live_row.html"] == 6


async def test_a_row_is_made_anew_only_for_a_call_that_has_changed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """By the version of the call: what has had no event since is not read again."""
    scene = Scene(nursery)
    await scene.rings("CA1", "CA2")
    before = (await scene.board.live(LIVE)).rows
    assert all(new is old for new, old in zip((await scene.board.live(LIVE)).rows, before, strict=True))
    await scene.said("CA1", "Hello?")
    first, second = (await scene.board.live(LIVE)).rows
    assert first.version > before[0].version
    assert second is before[1]


async def test_a_view_of_many_calls_lets_the_calls_go_on(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It rests between pieces of its work; the rows are those of one look all the same."""
    ticks = iter(range(1_000_000))
    scene = Scene(nursery, pace=lambda: next(ticks) / 10_000)  # each piece takes a tenth of a millisecond
    call_sids = [f"CA{number:02}" for number in range(30)]
    await scene.rings(*call_sids)
    began = trio.current_time()
    rows = (await scene.board.live(LIVE)).rows
    assert [each.call_sid for each in rows] == call_sids
    assert trio.current_time() - began >= 30 / 4 * 0.003


async def test_a_slow_reader_skips_what_it_missed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It gets the newest state and no other; beside it nobody waits."""
    scene = Scene(nursery)
    await scene.rings("CA1")
    async with scene.board.feed(OneCall("CA1"), Form.JSON) as feed:
        slow, fast = Viewer(feed), Viewer(feed)
        nursery.start_soon(fast.follow)
        await slow.next()
        for number in range(10):
            await scene.said("CA1", f"Question {number}")
            await beats(2)
        lines = (await slow.state())["lines"]
        assert [each["text"] for each in lines if each["speaker"] == "caller"][-1] == "Question 9"
        assert fast.events >= 11
        assert slow.events == 2
        with trio.move_on_after(5):
            await slow.next()
        assert slow.events == 2
        nursery.cancel_scope.cancel()


# ── a call ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_call_ends_under_its_viewers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """They get how it ended, and what was decided; it leaves the list, and nobody can open it any more."""
    scene = Scene(nursery)
    await scene.rings("CA1")
    await scene.said("CA1", "Hello?")
    async with scene.board.feed(OneCall("CA1"), Form.JSON) as feed, scene.board.feed(LIVE, Form.JSON) as live:
        viewer, of_all = Viewer(feed), Viewer(live)
        assert (await viewer.state())["live"] is True
        assert (await of_all.state())["found"] == 1
        await scene.over("CA1")
        state = await viewer.state()
        assert viewer.took <= CALL_BEAT
        assert state["callSid"] == "CA1"
        assert (state["live"], state["outcome"], state["lines"]) == (False, "completed", None)
        assert state["endedAt"] is not None
        assert state["decisions"]
        assert (await of_all.state())["found"] == 0
        with trio.move_on_after(60):  # it is over: there is no more to say of it
            await viewer.next()
        assert viewer.events == 2
    with pytest.raises(Refused, match="No call of this id is going on here"):
        async with scene.board.feed(OneCall("CA1"), Form.JSON):
            pass


async def test_a_call_that_ends_before_anything_of_it_was_shown(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its viewer is sent away at the next beat, and finds its record: it would wait for ever."""
    scene = Scene(nursery)
    await scene.rings("CA1")
    async with scene.board.feed(LIVE, Form.JSON):
        await beats(1.5)
        async with scene.board.feed(OneCall("CA1"), Form.JSON) as feed:
            await scene.over("CA1")
            with trio.fail_after(CALL_BEAT):
                assert await feed.after(0) == b""
            assert feed.is_broken


async def test_a_call_that_comes_back(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Who has its page open sees that it has no line, and then its next session, with what was said before."""
    scene = Scene(nursery)
    await scene.rings("CA1")
    await scene.said("CA1", "Hello?")
    async with scene.board.feed(OneCall("CA1"), Form.JSON) as feed:
        viewer = Viewer(feed)
        assert (await viewer.state())["connection"] == 1
        scene.lines["CA1"].carrier_says(CallerGone(1006))
        await beats(2)
        assert (await viewer.state())["live"] is False
        await scene.rings("CA1", attempt=1)
        await beats(2)
        state = await viewer.state()
        assert (state["live"], state["connection"], state["outcome"]) == (True, 2, None)
        assert [each["text"] for each in state["lines"]][:2] == ["Hello?", "Yes."]


async def test_a_call_that_is_away_when_it_is_opened(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It is shown as it was known, then its next session; nobody comes back: it is over."""
    scene = Scene(nursery)
    await scene.rings("CA1", "CA2")
    await scene.said("CA1", "Hello?")
    found = {call_sid: scene.board.call(call_sid) for call_sid in ("CA1", "CA2")}
    for call_sid in found:
        scene.lines[call_sid].carrier_says(CallerGone(1006))
    await wait_all_tasks_blocked()
    assert scene.board.is_away("CA1")
    async with (
        scene.board.feed(OneCall("CA1"), Form.JSON, found["CA1"]) as feed,
        scene.board.feed(OneCall("CA2"), Form.JSON, found["CA2"]) as of_the_other,
    ):
        viewer, other = Viewer(feed), Viewer(of_the_other)
        for each in (viewer, other):
            state = await each.state()
            assert (state["live"], state["away"], state["lines"]) == (False, True, None)
        await scene.rings("CA1", attempt=1)
        await beats(2)
        state = await viewer.state()
        assert (state["live"], state["away"], state["connection"]) == (True, False, 2)
        assert [each["text"] for each in state["lines"]][:2] == ["Hello?", "Yes."]
        nursery.start_soon(scene.calls.run)
        with trio.fail_after(RETURN_SECONDS + 10):
            while (state := await other.state())["away"]:
                pass
        assert (state["live"], state["outcome"]) == (False, "completed")


async def test_a_call_in_which_nothing_happens(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Nothing of it is made again; what every page says comes within two seconds all the same."""
    scene = Scene(nursery)
    await scene.rings("CA1")
    async with scene.board.feed(OneCall("CA1"), Form.JSON) as feed:
        viewer = Viewer(feed)
        await viewer.next()
        with trio.move_on_after(10):
            await viewer.next()
        assert viewer.events == 1
        scene.banner = "The relay stops in 30 s."
        assert (await viewer.state())["banner"] == scene.banner
        assert viewer.took <= 2


# ── what goes wrong, and what stays ─────────────────────────────────────────────────────────────────────────────────


async def test_a_view_that_cannot_be_made_ends_its_viewers_alone(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The others go on; and it can be opened again."""
    scene = Scene(nursery)
    await scene.rings("CA1")
    async with scene.board.feed(LIVE, Form.JSON) as live, scene.board.feed(OneCall("CA1"), Form.HTML) as feed:
        other, viewer = Viewer(live), Viewer(feed)
        await viewer.next()
        await other.next()
        scene.renderer.broken.add("said.html")
        await scene.said("CA1", "Hello?")
        assert (await viewer.next(), feed.is_broken) == (b"", True)
        assert (await other.state())["calls"][0]["lastWords"] == "Yes."
        scene.renderer.broken.clear()
        async with scene.board.feed(OneCall("CA1"), Form.HTML) as again:
            assert again is not feed
            assert b"Hello?" in await Viewer(again).next()


async def test_what_nobody_looks_at_any_more_is_forgotten(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A view ends with its last viewer, and a state holds nothing of calls that are over."""
    scene = Scene(nursery)
    await scene.rings(*(f"CA{number}" for number in range(5)))
    async with scene.board.feed(LIVE, Form.JSON) as stays:
        for number in range(50):
            async with scene.board.feed(LiveFilter(text=f"filter {number}"), Form.HTML) as feed:
                await Viewer(feed).next()
        before = scene.renderer.rendered.copy()
        await beats(8)
        assert scene.renderer.rendered == before
        for number in range(5):
            await scene.over(f"CA{number}")
        await beats(4)
        viewer = Viewer(stays)
        event = await viewer.next()
        assert document(event)["calls"] == []
        assert b"+1555" not in event


VIEWS: list[View] = [LIVE, LiveFilter(page=7), LiveFilter(text="nobody"), LiveFilter(agent_id="another")]


@pytest.mark.parametrize("view", VIEWS, ids=["all", "page", "text", "agent"])
async def test_a_first_state_always_comes(view: View, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Also one with no call in it."""
    scene = Scene(nursery)
    async with scene.board.feed(view, Form.JSON) as feed:
        viewer = Viewer(feed)
        assert (await viewer.state())["calls"] == []
        assert viewer.took == 0
