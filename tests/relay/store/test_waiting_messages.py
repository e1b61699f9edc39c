"""Waiting messages: at least once, until their ids are confirmed, and only to their own agent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.call_values import Line, Speaker
from relay.store import database as database_module
from relay.store.database import open_database
from relay.store.message_record import HOLD_SECONDS, MessageStatus, WaitingMessage
from relay.store.waiting_messages import Acknowledgement, WaitingMessages
from tests.contracts.message_store import AT, draft
from tests.fakes_store import WallClock
from tests.relay.store.other_program import writing_elsewhere

MINE = "my-client"


async def leave(waiting: WaitingMessages, *bodies: str, agent_id: str = MINE) -> list[str]:
    """Leave one message for each body, each in a call of its own."""
    return [
        await waiting.leave(draft(agent_id=agent_id, call_sid=f"CA-{agent_id}-{body}", body=body)) for body in bodies
    ]


def bodies(messages: Sequence[WaitingMessage]) -> list[str]:
    return [each.body for each in messages]


async def test_fetching_gives_the_oldest_first(waiting: WaitingMessages) -> None:
    """Messages come in the order in which they were left, and the rest is counted."""
    await leave(waiting, "a", "b", "c")
    batch = await waiting.fetch(MINE, limit=2)
    assert (bodies(batch.messages), batch.remaining) == (["a", "b"], 1)


async def test_the_order_outlives_a_clock_that_is_set_back(waiting: WaitingMessages, clock: WallClock) -> None:
    """Oldest means first left, whatever the wall clock said."""
    await leave(waiting, "a")
    clock.turn(seconds=-3600)
    await leave(waiting, "b")
    assert bodies((await waiting.fetch(MINE)).messages) == ["a", "b"]


async def test_what_was_fetched_is_held(waiting: WaitingMessages) -> None:
    """A second fetch does not hand out what is in somebody's hands, but counts it as not yet confirmed."""
    await leave(waiting, "a", "b")
    await waiting.fetch(MINE, limit=1)
    batch = await waiting.fetch(MINE)
    assert (bodies(batch.messages), batch.remaining) == (["b"], 1)


async def test_the_last_who_had_it_and_the_first_who_confirmed_it_are_kept(
    waiting: WaitingMessages, clock: WallClock
) -> None:
    """A message that was handed out again is the second client's, and who confirms it again changes nothing."""
    (message_id,) = await leave(waiting, "a")
    (first,) = (await waiting.fetch(MINE, by="desktop")).messages
    assert (first.held_by, first.held_until) == ("desktop", clock() + timedelta(seconds=HOLD_SECONDS))
    clock.turn(seconds=HOLD_SECONDS)
    await waiting.fetch(MINE, by="phone\0")
    confirmed_at = clock()
    for name in ("phone", "desktop"):
        await waiting.acknowledge(MINE, [message_id], by=name)
        clock.turn(seconds=1)
    kept = await waiting.get(message_id)
    assert kept is not None
    assert (kept.held_by, kept.acknowledged_by, kept.acknowledged_at) == ("phone\ufffd", "phone", confirmed_at)


async def test_what_was_not_confirmed_is_offered_again(waiting: WaitingMessages, clock: WallClock) -> None:
    """A client that lost the answer gets the same message with the same id when the hold is over."""
    (message_id,) = await leave(waiting, "a")
    for deliveries in (1, 2, 3):
        (message,) = (await waiting.fetch(MINE)).messages
        assert (message.id, message.deliveries) == (message_id, deliveries)
        clock.turn(seconds=HOLD_SECONDS - 0.001)
        assert (await waiting.fetch(MINE)).messages == ()
        clock.turn(seconds=0.001)


async def test_a_hold_from_the_future_does_not_count(waiting: WaitingMessages, clock: WallClock) -> None:
    """When the wall clock is set back, a held message is offered again, not hidden for as long."""
    await leave(waiting, "a")
    await waiting.fetch(MINE)
    clock.turn(seconds=-86400)
    assert bodies((await waiting.fetch(MINE)).messages) == ["a"]


async def test_what_was_confirmed_is_not_offered(waiting: WaitingMessages, clock: WallClock) -> None:
    """A confirmed message is gone for the client, and kept for the operator."""
    (message_id,) = await leave(waiting, "a")
    assert await waiting.acknowledge(MINE, [message_id]) == Acknowledgement((message_id,), ())
    clock.turn(seconds=HOLD_SECONDS)
    batch = await waiting.fetch(MINE)
    assert (batch.messages, batch.remaining, await waiting.count(MINE)) == ((), 0, 0)
    assert [each.status for each in await waiting.list_all()] == [MessageStatus.ACKNOWLEDGED]


async def test_fetching_can_confirm_what_came_before(waiting: WaitingMessages) -> None:
    """One request confirms the last batch and takes the next."""
    first, _second = await leave(waiting, "a", "b")
    await waiting.fetch(MINE, limit=1)
    batch = await waiting.fetch(MINE, acknowledge=[first])
    assert (bodies(batch.messages), batch.remaining) == (["b"], 0)


async def test_confirming_again_is_harmless(waiting: WaitingMessages) -> None:
    """The answer to a repeat is the answer to the first, each id once and in the order of asking."""
    first, second = await leave(waiting, "a", "b")
    await waiting.acknowledge(MINE, [first])
    answer = await waiting.acknowledge(MINE, [second, first, "msg_none", second])
    assert answer == Acknowledgement((second, first), ("msg_none",))


async def test_many_ids_are_confirmed_at_once(waiting: WaitingMessages) -> None:
    """More ids than a statement takes parameters are no error."""
    (message_id,) = await leave(waiting, "a")
    made_up = [f"msg_{index}" for index in range(40_000)]
    answer = await waiting.acknowledge(MINE, [*made_up, message_id])
    assert (answer.acknowledged, len(answer.unknown)) == ((message_id,), 40_000)


async def test_an_agent_touches_only_its_own(waiting: WaitingMessages) -> None:
    """Another agent's messages are neither fetched, shown, counted nor confirmed, and their ids are unknown."""
    (theirs,) = await leave(waiting, "theirs", agent_id="other")
    assert (await waiting.fetch(MINE, acknowledge=[theirs])).messages == ()
    assert await waiting.peek(MINE) == ()
    assert await waiting.count(MINE) == 0
    assert await waiting.acknowledge(MINE, [theirs]) == Acknowledgement((), (theirs,))
    assert bodies((await waiting.fetch("other")).messages) == ["theirs"]


async def test_peeking_neither_delivers_nor_holds(waiting: WaitingMessages) -> None:
    """What is only shown is still offered, and not counted as delivered."""
    await leave(waiting, "a", "b", "c")
    assert [(each.body, each.deliveries) for each in await waiting.peek(MINE, limit=2)] == [("a", 0), ("b", 0)]
    assert bodies((await waiting.fetch(MINE)).messages) == ["a", "b", "c"]


async def test_peeking_shows_what_is_held(waiting: WaitingMessages) -> None:
    """A client that comes back is told of what it had in hand when it died."""
    await leave(waiting, "a")
    await waiting.fetch(MINE)
    assert [(each.body, each.status) for each in await waiting.peek(MINE)] == [("a", MessageStatus.HELD)]


@pytest.mark.parametrize("shown_by", ["fetch", "peek", "acknowledge"])
async def test_what_was_shown_is_not_changed(waiting: WaitingMessages, shown_by: str) -> None:
    """What a client may have acted on stays as it was; what the call adds is a new message."""
    first = await waiting.leave(draft(body="Please"))
    match shown_by:
        case "fetch":
            await waiting.fetch(MINE)
        case "peek":
            await waiting.peek(MINE)
        case _:
            await waiting.acknowledge(MINE, [first])
    second = await waiting.leave(draft(body="Please call"))
    assert [(each.id, each.body) for each in await waiting.list_all()] == [(first, "Please"), (second, "Please call")]
    assert first != second


async def test_a_message_that_grows_keeps_its_age(waiting: WaitingMessages, clock: WallClock) -> None:
    """Replacing a message changes neither its place nor when it was left."""
    await waiting.leave(draft(part=1, body="a"))
    await waiting.leave(draft(part=2, body="b"))
    clock.turn(seconds=10)
    await waiting.leave(draft(part=1, body="a and more"))
    messages = await waiting.list_all()
    assert bodies(messages) == ["a and more", "b"]
    assert messages[0].created_at == messages[1].created_at


async def test_the_operator_finds_messages(waiting: WaitingMessages) -> None:
    """Messages are listed by agent and by status, and one is found by its id; looking changes nothing."""
    first, second, third = await leave(waiting, "a", "b", "c")
    await leave(waiting, "d", agent_id="other")
    await waiting.acknowledge(MINE, [first])
    await waiting.fetch(MINE, limit=1)
    assert bodies(await waiting.list_all()) == ["a", "b", "c", "d"]
    found = {
        status: [each.id for each in await waiting.list_all(agent_id=MINE, status=status)] for status in MessageStatus
    }
    assert found == {
        MessageStatus.ACKNOWLEDGED: [first],
        MessageStatus.HELD: [second],
        MessageStatus.WAITING: [third],
    }
    one = await waiting.get(third)
    assert one is not None
    assert (one.body, one.status) == ("c", MessageStatus.WAITING)
    assert await waiting.get("msg_none") is None


async def test_impossible_characters_do_not_lose_a_message(waiting: WaitingMessages) -> None:
    """Half a surrogate pair or a NUL is replaced wherever it stands; the message is kept and can be sent."""
    await waiting.leave(draft(body="call \ud800 me\0", transcript=(Line(Speaker.CALLER, "call \ud800 me", AT),)))
    (message,) = await waiting.list_all()
    assert message.body == "call \ufffd me\ufffd"
    assert message.transcript == (Line(Speaker.CALLER, "call \ufffd me", AT),)


async def test_an_impossible_id_names_nothing(waiting: WaitingMessages) -> None:
    """An id that no text can be is unknown like any other."""
    assert await waiting.acknowledge(MINE, ["\ud800", "\0"]) == Acknowledgement((), ("\ud800", "\0"))
    assert await waiting.get("\ud800") is None


async def test_a_negative_limit_is_refused(waiting: WaitingMessages) -> None:
    """A negative limit, which SQLite would take for none at all, is an error."""
    with pytest.raises(ValueError, match="limit"):
        await waiting.fetch(MINE, limit=-1)


async def test_a_message_waits_for_another_process(
    waiting: WaitingMessages, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it cannot be stored nobody is told that it is; once it can be, it is stored and told of."""
    monkeypatch.setattr(database_module, "STALL_SECONDS", 0.01)
    stored: list[str] = []
    with writing_elsewhere(database_url):
        assert await waiting.leave(draft(body="Call me"), stored.append) == ""
        assert await waiting.leave(draft(body="Call me back"), stored.append) == ""
        assert (await waiting.list_all(), stored, waiting.database.kept) == ((), [], 2)
    await waiting.database.write(lambda _connection: None)
    (message,) = await waiting.list_all()
    assert (message.body, stored, waiting.database.kept) == ("Call me back", [message.id] * 2, 0)


async def test_many_calls_leave_messages_at_once(waiting: WaitingMessages) -> None:
    """Messages that are left at the same time are all there, each under its own id."""
    ids: list[str] = []

    async def one(index: int) -> None:
        ids.append(await waiting.leave(draft(call_sid=f"CA{index}")))

    async with trio.open_nursery() as nursery:
        for index in range(200):
            nursery.start_soon(one, index)
    assert sorted(ids) == sorted(each.id for each in await waiting.list_all())
    assert len(set(ids)) == 200


STEPS = st.one_of(
    st.tuples(st.just("leave"), st.integers(1, 4)),
    st.tuples(st.just("fetch"), st.integers(0, 3)),
    st.tuples(st.just("confirm"), st.integers(0, 7)),
    st.tuples(st.just("peek"), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([1, 30, 60, -90])),
)


def test_every_message_comes_back_until_it_is_confirmed(empty_database: Callable[[], str]) -> None:
    """Over several runs of the daemon, whatever happens in whatever order: in the end all that was left and never
    confirmed is offered, as it was left last, and what was confirmed is never offered again."""

    # The rules are the same code on both; what the engines could do otherwise, few examples show.
    @settings(max_examples=30 if empty_database().startswith("sqlite") else 8, deadline=None)
    @given(runs=st.lists(st.lists(STEPS, max_size=12), max_size=3))
    def live(runs: list[list[tuple[str, int]]]) -> None:
        trio.run(_live, empty_database(), runs)

    live()


async def _live(url: str, runs: list[list[tuple[str, int]]]) -> None:
    clock = WallClock()
    newest: dict[str, str] = {}
    confirmed: set[str] = set()
    for run in runs:
        async with open_database(url) as database:
            waiting = WaitingMessages(database, clock)
            for index, (kind, number) in enumerate(run):
                match kind:
                    case "leave":
                        body = f"part {number}, step {index}"
                        newest[await waiting.leave(draft(part=number, body=body))] = body
                    case "fetch":
                        batch = await waiting.fetch(MINE, limit=number)
                        assert not confirmed & {each.id for each in batch.messages}
                        assert len(batch.messages) + batch.remaining == len(newest.keys() - confirmed)
                    case "confirm":
                        chosen = list(newest)[number : number + 2]
                        assert (await waiting.acknowledge(MINE, chosen)).acknowledged == tuple(chosen)
                        confirmed.update(chosen)
                    case "peek":
                        await waiting.peek(MINE, limit=number)
                    case _:
                        clock.turn(seconds=number)
    # Longer than any hold, and than the clock was ever set back.
    clock.turn(seconds=86400)
    async with open_database(url) as database:
        batch = await WaitingMessages(database, clock).fetch(MINE, limit=1000)
    offered = {each.id: each.body for each in batch.messages}
    assert offered == {message_id: body for message_id, body in newest.items() if message_id not in confirmed}
