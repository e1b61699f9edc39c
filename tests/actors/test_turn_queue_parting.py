"""Clients that come to the queue under another key each time, because they open a session for each tool call."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.call_values import Availability
from actors.errors import ClientLeft
from actors.turn_queue import TurnOver, TurnTaken, Utterance
from tests.actors.test_turn_queue import AGENT, OPTIONS, Ear, Room, open_room, take, words


async def take_and_part(room: Room, client: str, call_sid: str = "") -> Utterance:
    """Take words, as a session does that ends with its tool call."""
    given = await take(room, client, call_sid)
    room.queue.detach(client)
    return given


@pytest.mark.parametrize("thinks", [0, 0.5, 3, 7.9])
async def test_utterances_are_answered_under_another_key(
    thinks: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """However long the client thinks, up to what a caller waits: the agent is here, and the answer is heard."""
    async with open_room() as room:
        for turn in (1, 2, 3):
            ear = Ear()
            nursery.start_soon(room.queue.respond, words(f"This is {turn}.", turn=turn), ear)
            await take_and_part(room, f"session {turn}")
            await trio.sleep(thinks)
            assert room.availability is Availability.HERE
            assert await room.queue.say(f"session {turn + 1}", "CA1", turn, "Yes.")
            room.queue.detach(f"session {turn + 1}")
            await wait_all_tasks_blocked()
            assert ear.heard == ["Yes."]


async def test_the_agent_is_away_when_nobody_came_back(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """After the grace nothing is left of a client that has parted, and its words are free."""
    async with open_room() as room:
        nursery.start_soon(room.queue.respond, words("Hello?"), Ear())
        await take_and_part(room, "one")
        await trio.sleep(OPTIONS.grace + 0.1)
        assert room.availability is not Availability.HERE
        await take(room, "two")
        with pytest.raises(TurnTaken):
            await room.queue.say("three", "CA1", 1, "Me.")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("named", "after"), [("", OPTIONS.again), ("CA1", 0.0)])
async def test_utterances_that_are_not_answered_are_handed_out_again(
    named: str, after: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """To whoever waits, as they are to a client that has not parted: at once if the call is named, else in a while."""
    async with open_room() as room:
        nursery.start_soon(room.queue.respond, words("Hello?"), Ear())
        await take_and_part(room, "one")
        began = trio.current_time()
        assert (await take(room, "two", named)).is_new
        assert trio.current_time() - began == pytest.approx(after)
        nursery.cancel_scope.cancel()


async def test_an_answer_that_is_repeated_under_another_key_is_harmless(nursery: trio.Nursery) -> None:
    """Its client did not get the result of the first; a client that has not parted is told that it was another's."""
    async with open_room() as room:
        ear = Ear()
        nursery.start_soon(room.queue.respond, words("Hello?"), ear)
        await take_and_part(room, "one")
        assert await room.queue.say("two", "CA1", 1, "Good morning.")
        with pytest.raises(TurnTaken):
            await room.queue.say("three", "CA1", 1, "Good morning.")
        room.queue.detach("two")
        assert not await room.queue.say("three", "CA1", 1, "Good morning.")
        await wait_all_tasks_blocked()
        assert ear.heard == ["Good morning."]


async def test_the_next_utterances_are_free_at_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Who led the call comes under another key, so nobody is waited for with patience."""
    async with open_room() as room:
        nursery.start_soon(room.queue.respond, words("First."), Ear())
        await take_and_part(room, "one")
        await room.queue.say("two", "CA1", 1, "Yes.")
        room.queue.detach("two")
        nursery.start_soon(room.queue.respond, words("Second.", turn=2), Ear())
        began = trio.current_time()
        assert (await take(room, "three")).request.turn == 2
        assert trio.current_time() == began
        nursery.cancel_scope.cancel()


async def test_a_call_stays_with_a_client_that_has_not_parted(nursery: trio.Nursery) -> None:
    """That another one has changes nothing for it."""
    async with open_room() as room:
        nursery.start_soon(room.queue.respond, words("I am CA1."), Ear())
        await wait_all_tasks_blocked()
        await take_and_part(room, "one")
        nursery.start_soon(room.queue.respond, words("I am CA2.", call_sid="CA2"), Ear())
        await wait_all_tasks_blocked()
        await take(room, "two")
        with pytest.raises(TurnTaken):
            await room.queue.say("three", "CA2", 1, "Me.")
        assert await room.queue.say("three", "CA1", 1, "Me.")
        nursery.cancel_scope.cancel()


async def test_a_client_that_is_lost_after_it_parted(nursery: trio.Nursery) -> None:
    """Its turn fails at once all the same."""
    async with open_room() as room:
        left = trio.Event()

        async def respond() -> None:
            with pytest.raises(ClientLeft):
                await room.queue.respond(words("Hello?"), Ear())
            left.set()

        nursery.start_soon(respond)
        await take_and_part(room, "one")
        room.turns.leave(AGENT, "one")
        await left.wait()
        with pytest.raises(TurnOver):
            await room.queue.say("two", "CA1", 1, "Good morning.")


async def test_a_call_is_claimed_and_then_had_under_another_key(nursery: trio.Nursery) -> None:
    """Who claimed it counts as here, and from whom it was taken gets an error, as with a client that stays."""
    async with open_room() as room:
        ear = Ear()
        nursery.start_soon(room.queue.respond, words("Hello?"), ear)
        await take(room, "standing")
        for session in ("one", "two"):  # claimed twice: it was still taken from the same client
            room.claim(session)
            room.queue.detach(session)
        assert room.claimant is room.queue
        with pytest.raises(TurnTaken):
            await room.queue.say("standing", "CA1", 1, "Me.")
        await take_and_part(room, "three")
        with pytest.raises(TurnTaken):
            await room.queue.say("standing", "CA1", 1, "Me.")
        assert await room.queue.say("four", "CA1", 1, "Good evening.")
        await wait_all_tasks_blocked()
        assert ear.heard == ["Good evening."]


async def test_who_waits_has_not_parted(nursery: trio.Nursery) -> None:
    """Clients without a session may share a key: a call stays with the one that has another tool call under way."""
    async with open_room() as room:
        nursery.start_soon(room.queue.respond, words("Hello?"), Ear())
        await take_and_part(room, "shared")
        nursery.start_soon(room.queue.next_utterance, "shared")
        await wait_all_tasks_blocked()
        with pytest.raises(TurnTaken):
            await room.queue.say("other", "CA1", 1, "Me.")
        assert await room.queue.say("shared", "CA1", 1, "Good morning.")
        nursery.cancel_scope.cancel()
