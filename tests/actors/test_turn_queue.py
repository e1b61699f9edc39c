"""The turn queue: clients that come for words get each of them once, and their answers reach the right turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.call_session import CallServices
from actors.call_values import Availability, Line, Owner, Speaker, TurnRequest
from actors.calls import Calls
from actors.clients import Presence
from actors.errors import ClientLeft
from actors.events import CallGone, CallNews, OwnerChanged
from actors.policy import Policy
from actors.turn_queue import (
    CallOver,
    SignsOfLife,
    TurnOver,
    TurnQueue,
    TurnQueueOptions,
    TurnQueues,
    TurnTaken,
    Utterance,
)
from tests.fakes import STARTED, RecordingObserver, Session, call_info
from tests.fakes_store import MemoryJournal, MemoryMessageStore

AGENT = "my-client"
OPTIONS = TurnQueueOptions(grace=10, patience=2, again=4)


def words(text: str, turn: int = 1, call_sid: str = "CA1") -> TurnRequest:
    line = Line(Speaker.CALLER, text, STARTED)
    return TurnRequest(call=call_info(call_sid=call_sid), turn=turn, history=(line,))


@attrs.define(eq=False)
class Ear:
    """The `Answer` of a turn: what the caller hears."""

    heard: list[str] = attrs.field(factory=list)
    ends: list[str] = attrs.field(factory=list)
    deaf: trio.Event | None = None

    async def say(self, text: str, *, last: bool = False) -> None:
        if self.deaf is not None:
            await self.deaf.wait()
        self.heard.append(text)
        if last:
            self.ends.append(text)

    async def take_message(self, body: str, preferences: str) -> bool:
        raise AssertionError

    async def say_goodbye(self) -> None:
        raise AssertionError


@attrs.define(eq=False)
class Room:
    """A turn queue with its presence."""

    queue: TurnQueue
    turns: TurnQueues
    presence: Presence
    calls: Calls

    @property
    def availability(self) -> Availability:
        return self.presence.availability(AGENT)

    @property
    def claimant(self) -> object:
        """Return the session that has claimed CA1, as long as it is here."""
        claimed_by = self.calls.owner_of(call_info()).session
        return claimed_by if claimed_by is self.presence.newest(AGENT, claimed_by) else None

    async def ask_after(self, seconds: float, request: TurnRequest) -> None:
        """Have a turn to answer after so many seconds."""
        await trio.sleep(seconds)
        await self.queue.respond(request, Ear())

    def claim(self, client: str, call_sid: str = "CA1") -> None:
        """Claim a call for a client of the queue."""
        self.calls.claim(AGENT, call_sid, Owner(self.queue, client))


def open_queues(options: TurnQueueOptions = OPTIONS) -> TurnQueues:
    """Return the queues of a registry that knows the calls CA0 to CA4, none of which has a session."""

    def hear(news: CallNews) -> None:
        match news:
            case CallGone():
                turns.on_call_gone(news.agent_id)
            case OwnerChanged():
                turns.on_owner_changed(news)
            case _:
                pass

    presence, journal = Presence(grace=10), MemoryJournal()
    services = CallServices(
        responders={},
        messages=MemoryMessageStore(journal),
        journal=journal,
        observer=RecordingObserver(),
        listeners=(hear,),
    )
    turns = TurnQueues(presence, Calls(services, presence, max_calls=10), options)
    for number in range(5):
        turns.calls.announce(call_info(call_sid=f"CA{number}"), Policy())
    return turns


@asynccontextmanager
async def open_room(options: TurnQueueOptions = OPTIONS) -> AsyncIterator[Room]:
    turns = open_queues(options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.run)
        nursery.start_soon(turns.presence.run)
        yield Room(turns.of(AGENT), turns, turns.presence, turns.calls)
        nursery.cancel_scope.cancel()


async def take(room: Room, client: str, call_sid: str = "") -> Utterance:
    """Wait for words, which must come."""
    given = await room.queue.next_utterance(client, call_sid)
    assert given is not None
    return given


async def test_waiting_for_an_utterance_is_presence(autojump_clock: MockClock) -> None:
    """The agent is here while a tool call waits; when it ends without words, it counts as just lost, then as away."""
    async with open_room() as room, trio.open_nursery() as nursery:
        seen: list[Availability] = []

        async def look() -> None:
            for seconds in (0, 1, 5, 11):
                await trio.sleep(seconds)
                seen.append(room.availability)

        nursery.start_soon(look)
        await trio.sleep(0.5)
        assert await room.queue.next_utterance("one", within=5) is None
    assert seen == [Availability.AWAY, Availability.HERE, Availability.JUST_LOST, Availability.AWAY]


async def test_all_waits_can_be_ended(autojump_clock: MockClock) -> None:
    """Each ends as if its time was over, and its client is waited for."""
    async with open_room() as room, trio.open_nursery() as nursery:

        async def end() -> None:
            await trio.sleep(1)
            room.turns.end_all_waits()

        nursery.start_soon(end)
        assert await room.queue.next_utterance("one") is None
        assert trio.current_time() < 2
        assert room.availability is Availability.JUST_LOST


async def test_who_waits_gets_signs_of_life(autojump_clock: MockClock) -> None:
    """They come between the beginning and the end of a wait, and change nothing about who is here."""
    async with open_room() as room:
        seen: list[tuple[float, Availability]] = []

        async def see(waited: float) -> None:
            await trio.lowlevel.checkpoint()
            seen.append((round(waited), room.availability))

        assert await room.queue.next_utterance("one", within=35, signs=SignsOfLife(10, see)) is None
    assert seen == [(10, Availability.HERE), (20, Availability.HERE), (30, Availability.HERE)]


async def test_utterance_that_comes_during_a_sign_of_life_is_handed_out_after_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Unless the wait was cancelled meanwhile: then another client gets it."""
    async with open_room() as room:

        async def send_slowly(_waited: float) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)

        signs = SignsOfLife(10, send_slowly)
        nursery.start_soon(room.ask_after, 10.5, words("Hello?"))
        given = await room.queue.next_utterance("one", signs=signs)
        assert given is not None
        assert given.request.turn == 1
        await room.queue.say("one", "CA1", 1, "Good morning.")
        nursery.start_soon(room.ask_after, 10.5, words("Is it open?", 2))
        with trio.move_on_after(10.7):
            await room.queue.next_utterance("one", signs=signs)
        assert (await take(room, "two")).request.turn == 2


async def test_a_wait_that_is_cut_off_is_no_presence(nursery: trio.Nursery) -> None:
    """Nothing brings a tool call back that was cut off: its client is away at once, also when it has just answered."""
    async with open_room() as room:
        nursery.start_soon(room.queue.respond, words("Hello?"), Ear())
        await take(room, "one")
        await room.queue.say("one", "CA1", 1, "Good morning.")
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.01):
            await room.queue.next_utterance("one")
        assert room.availability is Availability.AWAY


async def test_a_wait_that_is_cut_off_leaves_utterances_in_hand(nursery: trio.Nursery) -> None:
    """Another client of the same key may be thinking about them: it is here for its grace, and can answer."""
    async with open_room() as room:
        ear = Ear()
        nursery.start_soon(room.queue.respond, words("Hello?"), ear)
        await take(room, "one")
        with trio.move_on_after(0.01):
            await room.queue.next_utterance("one")
        assert room.availability is Availability.HERE
        await room.queue.say("one", "CA1", 1, "Good morning.")
        await wait_all_tasks_blocked()
        assert ear.heard == ["Good morning."]


async def test_who_is_late_is_here_again(nursery: trio.Nursery) -> None:
    """A client that answers too late has shown that it is there, and will come for the next words."""
    async with open_room() as room:
        at_first = room.availability
        with pytest.raises(TurnOver):
            await room.queue.say("one", "CA1", 1, "Good morning.")
        assert (at_first, room.availability) == (Availability.AWAY, Availability.HERE)


async def test_one_of_several_waits_that_is_cut_off_changes_nothing(nursery: trio.Nursery) -> None:
    """A client with another tool call under way is here."""
    async with open_room() as room:
        nursery.start_soon(room.queue.next_utterance, "one")
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.01):
            await room.queue.next_utterance("one")
        assert room.availability is Availability.HERE
        nursery.cancel_scope.cancel()


async def test_a_wait_that_is_cut_off_as_it_is_woken_takes_nothing(nursery: trio.Nursery) -> None:
    """The words that it was woken for go to another client at once."""
    async with open_room() as room:
        nursery.start_soon(room.queue.respond, words("Hello?"), Ear())
        await take(room, "one")
        cut_off, heard_by = trio.CancelScope(), list[str]()

        async def wait(client: str, scope: trio.CancelScope) -> None:
            with scope:
                await take(room, client)
                heard_by.append(client)

        nursery.start_soon(wait, "two", cut_off)
        nursery.start_soon(wait, "three", trio.CancelScope())
        await wait_all_tasks_blocked()
        room.claim("two")
        cut_off.cancel()
        await wait_all_tasks_blocked()
        assert heard_by == ["three"]
        nursery.cancel_scope.cancel()


async def test_utterances_that_are_answered_are_not_handed_out_again(nursery: trio.Nursery) -> None:
    """Also not while the answer is still being spoken."""
    async with open_room() as room:
        ear = Ear(deaf=trio.Event())
        nursery.start_soon(room.queue.respond, words("Hello?"), ear)
        await take(room, "one")
        await room.queue.say("one", "CA1", 1, "Good morning.")
        with trio.move_on_after(0.05) as waited:
            await room.queue.next_utterance("one", "CA1")
        assert waited.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_a_call_that_another_session_has_claimed_is_not_answered_here(nursery: trio.Nursery) -> None:
    """Who still says something to it is told so, and the words that wait go to that session at once."""
    async with open_room() as room:
        asked = Session(AGENT)
        ear = Ear()

        async def respond() -> None:
            try:
                await room.queue.respond(words("Hello?"), ear)
            except ClientLeft:
                await asked.respond(words("Hello?", turn=2), ear)

        nursery.start_soon(respond)
        await take(room, "one")
        room.presence.arrive(asked)
        room.calls.claim(AGENT, "CA1", Owner(asked))
        await wait_all_tasks_blocked()
        assert ear.heard == ["asked"]
        with pytest.raises(TurnTaken):
            await room.queue.say("one", "CA1", 1, "Good morning.")
        room.presence.leave(asked)
        with pytest.raises(TurnOver):
            await room.queue.say("one", "CA1", 1, "Good morning.")


async def test_an_answer_that_was_begun_is_not_asked_again(nursery: trio.Nursery) -> None:
    """When the call is claimed in the middle of an answer, the turn ends with what was said."""
    async with open_room() as room:
        for claim in ("two", ""):
            ear, ended = Ear(), trio.Event()

            async def respond(ear: Ear = ear, ended: trio.Event = ended) -> None:
                await room.queue.respond(words("Hello?"), ear)
                ended.set()

            nursery.start_soon(respond)
            await wait_all_tasks_blocked()
            await take(room, "one")
            await room.queue.say("one", "CA1", 1, "Well,", more=True)
            if claim:
                room.claim(claim)
            else:
                room.calls.claim(AGENT, "CA1", Owner(Session(AGENT)))
            await ended.wait()
            assert ear.heard == ["Well,"]
            room.calls.end(AGENT, "CA1")
            room.calls.announce(call_info(), Policy())


async def test_a_claim_is_presence(autojump_clock: MockClock) -> None:
    """Who claims a call is here for the grace, so that it can be handed over."""
    async with open_room() as room:
        room.claim("one")
        at_first = room.availability, room.claimant
        await trio.sleep(OPTIONS.grace + 0.1)
        assert at_first == (Availability.HERE, room.queue)
        assert (room.availability, room.claimant) == (Availability.AWAY, None)


async def test_an_answer_goes_to_its_turn_and_repeating_it_is_harmless(nursery: trio.Nursery) -> None:
    """The words are given, the answer is spoken once, however often it is sent."""
    async with open_room() as room:
        ear = Ear()
        nursery.start_soon(room.queue.respond, words("Hello?"), ear)
        given = await take(room, "one")
        assert given.request.history[-1].text == "Hello?"
        assert await room.queue.say("one", "CA1", 1, "Good morning.")
        assert not await room.queue.say("one", "CA1", 1, "Good morning.")
        await wait_all_tasks_blocked()
        assert ear.heard == ["Good morning."]


async def test_pieces_are_spoken_as_they_come(nursery: trio.Nursery) -> None:
    """With `more` the turn stays open; the last piece closes it."""
    async with open_room() as room:
        ear = Ear()
        nursery.start_soon(room.queue.respond, words("Hello?"), ear)
        await take(room, "one")
        await room.queue.say("one", "CA1", 1, "Let me look.", more=True)
        await wait_all_tasks_blocked()
        assert ear.heard == ["Let me look."]
        await room.queue.say("one", "CA1", 1, "Found it.")
        await wait_all_tasks_blocked()
        assert ear.heard == ["Let me look.", "Found it."]
        assert ear.ends == ["Found it."]


async def test_a_late_answer_says_so(nursery: trio.Nursery) -> None:
    """A turn that was cancelled takes no answer, and one of an unknown call or number neither."""
    async with open_room() as room:
        ear, scope = Ear(), trio.CancelScope()

        async def turn() -> None:
            with scope:
                await room.queue.respond(words("Hello?"), ear)

        nursery.start_soon(turn)
        await take(room, "one")
        scope.cancel()
        await wait_all_tasks_blocked()
        for call_sid, number in (("CA1", 1), ("CA1", 2), ("CA9", 1)):
            with pytest.raises(TurnOver):
                await room.queue.say("one", call_sid, number, "Good morning.")
        assert ear.heard == []


async def test_the_call_that_waits_longest_goes_first(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Words of several calls are given in the order in which they were said, with the number that still waits."""
    async with open_room() as room:
        for call_sid in ("CA1", "CA2", "CA3"):
            nursery.start_soon(room.queue.respond, words(f"I am {call_sid}.", call_sid=call_sid), Ear())
            await trio.sleep(0.1)
        given = [await take(room, "one") for _ in range(3)]
        assert [each.request.call.call_sid for each in given] == ["CA1", "CA2", "CA3"]
        assert [each.waiting for each in given] == [2, 1, 0]
        nursery.cancel_scope.cancel()


async def test_a_named_call_is_waited_for_alone(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Who names a call gets only its words, and learns when it is over."""
    async with open_room() as room:
        nursery.start_soon(room.queue.respond, words("I am CA1."), Ear())
        assert await room.queue.next_utterance("one", "CA2", within=5) is None

        async def end() -> None:
            await trio.sleep(1)
            room.calls.end(AGENT, "CA2")

        nursery.start_soon(end)
        with pytest.raises(CallOver):
            await room.queue.next_utterance("one", "CA2")
        nursery.cancel_scope.cancel()


async def test_unanswered_utterances_are_handed_out_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A client whose tool result was lost gets the same turn again, at once if it names the call, else in a while."""
    async with open_room() as room:
        nursery.start_soon(room.queue.respond, words("Hello?"), Ear())
        first = await take(room, "one")
        assert (await take(room, "one", "CA1")).request == first.request
        began = trio.current_time()
        assert (await take(room, "one")).request == first.request
        assert trio.current_time() - began == pytest.approx(OPTIONS.again)
        nursery.cancel_scope.cancel()


async def test_a_call_stays_with_its_client(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The next words go to the client that had the call, also when another waits; after a while to whoever waits."""
    async with open_room() as room:
        nursery.start_soon(room.queue.respond, words("First."), Ear())
        assert (await take(room, "one")).is_new
        await room.queue.say("one", "CA1", 1, "Yes.")
        got: dict[str, int] = {}

        async def wait(client: str) -> None:
            got[client] = (await take(room, client)).request.turn

        nursery.start_soon(wait, "two")
        nursery.start_soon(wait, "one")
        await trio.sleep(0.1)
        nursery.start_soon(room.queue.respond, words("Second.", turn=2), Ear())
        await trio.sleep(0.1)
        assert got == {"one": 2}
        await room.queue.say("one", "CA1", 2, "Yes.")
        nursery.start_soon(room.queue.respond, words("Third.", turn=3), Ear())
        await trio.sleep(OPTIONS.patience - 0.1)
        assert got == {"one": 2}
        await trio.sleep(0.2)
        assert got == {"one": 2, "two": 3}
        nursery.cancel_scope.cancel()


async def test_a_claim_takes_the_call_from_another_client(nursery: trio.Nursery) -> None:
    """What the other client still says is an error that tells it, and the claimer gets the words."""
    async with open_room() as room:
        ear = Ear()
        nursery.start_soon(room.queue.respond, words("Hello?"), ear)
        await take(room, "one")
        room.claim("two")
        with pytest.raises(TurnTaken):
            await room.queue.say("one", "CA1", 1, "Good morning.")
        given = await take(room, "two")
        assert given.is_new
        await room.queue.say("two", "CA1", 1, "Good evening.")
        with pytest.raises(TurnTaken):
            await room.queue.say("one", "CA1", 1, "Good morning.")
        await wait_all_tasks_blocked()
        assert ear.heard == ["Good evening."]


async def test_a_turn_fails_with_its_client(nursery: trio.Nursery) -> None:
    """A client that is gone with words in hand fails the turn at once; others keep theirs."""
    async with open_room() as room:
        left: list[str] = []

        async def respond(call_sid: str) -> None:
            try:
                await room.queue.respond(words("Hello?", call_sid=call_sid), Ear())
            except ClientLeft:
                left.append(call_sid)

        nursery.start_soon(respond, "CA1")
        await wait_all_tasks_blocked()
        await take(room, "one")
        nursery.start_soon(respond, "CA2")
        await wait_all_tasks_blocked()
        await take(room, "two")
        room.turns.leave(AGENT, "one")
        await wait_all_tasks_blocked()
        assert left == ["CA1"]
        nursery.cancel_scope.cancel()


async def test_a_client_that_thinks_is_here_for_a_grace(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """After it left with words the agent counts as here for the grace, then not any more."""
    async with open_room() as room:
        nursery.start_soon(room.queue.respond, words("Hello?"), Ear())
        await take(room, "one")
        await trio.sleep(OPTIONS.grace - 0.1)
        assert room.availability is Availability.HERE
        await trio.sleep(0.2)
        assert room.availability is not Availability.HERE
        nursery.cancel_scope.cancel()


async def test_an_answer_that_is_spoken_slowly_makes_its_client_wait(nursery: trio.Nursery) -> None:
    """Pieces are not piled up without bound, and a turn that ends meanwhile lets the client go with an error."""
    async with open_room() as room:
        ear, scope = Ear(deaf=trio.Event()), trio.CancelScope()

        async def turn() -> None:
            with scope:
                await room.queue.respond(words("Hello?"), ear)

        nursery.start_soon(turn)
        await take(room, "one")
        outcome: list[type[Exception]] = []

        async def talk() -> None:
            try:
                while True:
                    await room.queue.say("one", "CA1", 1, "word", more=True)
            except TurnOver as error:
                outcome.append(type(error))

        nursery.start_soon(talk)
        await wait_all_tasks_blocked()
        assert outcome == []
        scope.cancel()
        await wait_all_tasks_blocked()
        assert outcome == [TurnOver]
