"""The registry of calls: exact places, tools that find only their own agent's calls, and a drain."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from actors.call_session import CallServices
from actors.call_values import Callee, CallInfo, Direction, Owner
from actors.calls import Calls
from actors.clients import Presence
from actors.commands import By
from actors.errors import CallRefused, UnknownCall
from actors.events import CallerGone, UtteranceHeard
from actors.policy import Policy
from tests.fakes import MemoryLine, RecordingObserver, ScriptedResponder, Session, call_info, saying
from tests.fakes_store import MemoryJournal, MemoryMessageStore

POLICY = Policy(has_answering_machine=True)


def registry(max_calls: int = 2) -> Calls:
    journal = MemoryJournal()
    services = CallServices(
        responders={
            By.CLIENT: ScriptedResponder(saying("Yes.")),
            By.ANSWERING_MACHINE: ScriptedResponder(saying("A message?")),
        },
        messages=MemoryMessageStore(journal),
        journal=journal,
        observer=RecordingObserver(),
    )
    return Calls(services, Presence(grace=10), max_calls)


def announce(board: Calls, call_sid: str) -> None:
    board.announce(call_info(call_sid=call_sid), POLICY)


async def connect(board: Calls, line: MemoryLine, info: CallInfo | None = None) -> None:
    """Announce a call session, and run it on a line."""
    info = info or call_info()
    board.announce(info, POLICY)
    await board.connect(info, line)


async def test_no_more_calls_than_places_are_promised() -> None:
    """A reservation takes a place, its release gives it back, and repeating it takes no second one."""
    board = registry(max_calls=2)
    announce(board, "CA1")
    announce(board, "CA1")
    announce(board, "CA2")
    with pytest.raises(CallRefused) as refusal:
        announce(board, "CA3")
    assert refusal.value.code == "full"
    board.end("my-client", "CA1")
    announce(board, "CA3")
    assert board.occupied() == 2


async def test_a_live_call_keeps_its_place_and_gives_it_back(nursery: trio.Nursery) -> None:
    """From reservation to hang-up one place is taken; after it none, and no table has an entry."""
    board, line = registry(max_calls=1), MemoryLine()
    announce(board, "CA1")
    nursery.start_soon(connect, board, line)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(CallRefused):
        announce(board, "CA2")
    line.carrier_says(CallerGone(1000))
    await trio.testing.wait_all_tasks_blocked()
    assert (board.occupied(), board.live(), board.presence._watchers) == (0, [], {})


async def test_one_call_has_one_line(nursery: trio.Nursery) -> None:
    """A second socket for a live call is refused, and the first does not notice."""
    board, line = registry(), MemoryLine()
    nursery.start_soon(connect, board, line)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(CallRefused) as refusal:
        await connect(board, MemoryLine())
    assert refusal.value.code == "already_here"
    assert len(board.live()) == 1
    nursery.cancel_scope.cancel()


async def test_a_newer_line_of_a_call_takes_over(nursery: trio.Nursery) -> None:
    """The carrier reconnects a call whose line we still believe in: the old one ends, the talk goes on."""
    board, lost, line = registry(), MemoryLine(), MemoryLine()
    board.presence.arrive(Session("my-client"))
    nursery.start_soon(connect, board, lost)
    lost.carrier_says(UtteranceHeard("My name is Ada."))
    await lost.hear()
    nursery.start_soon(connect, board, line, call_info(attempt=1))
    await trio.testing.wait_all_tasks_blocked()
    (call,) = board.live()
    assert [text.text for text in call.transcript] == ["My name is Ada.", "Yes."]
    assert lost.is_closed
    nursery.cancel_scope.cancel()


async def test_only_the_agent_s_own_calls_are_found(nursery: trio.Nursery) -> None:
    """Another agent can neither list nor end a call, and is not told that it exists."""
    board, line = registry(), MemoryLine()
    nursery.start_soon(connect, board, line)
    await trio.testing.wait_all_tasks_blocked()
    assert board.live("somebody-else") == []
    with pytest.raises(UnknownCall):
        board.hang_up("somebody-else", "CA1")
    with pytest.raises(UnknownCall):
        board.hang_up("my-client", "CA2")
    board.hang_up("my-client", "CA1", "Goodbye.")
    assert await line.hear() == "Goodbye."
    nursery.cancel_scope.cancel()


async def test_a_call_hears_of_its_client_s_coming(nursery: trio.Nursery) -> None:
    """The client that connects during a call gets the caller's next words."""
    board, line = registry(), MemoryLine()
    nursery.start_soon(connect, board, line)
    await trio.testing.wait_all_tasks_blocked()
    board.presence.arrive(Session("my-client"))
    line.carrier_says(UtteranceHeard("Hello?"))
    assert await line.hear() == "Yes."
    nursery.cancel_scope.cancel()


async def test_a_drain_lets_calls_finish(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """New calls are refused at once; the drain is over when the last call is."""
    board, line = registry(), MemoryLine()
    nursery.start_soon(connect, board, line)
    await trio.testing.wait_all_tasks_blocked()
    began = trio.current_time()

    async def hang_up_later() -> None:
        await trio.sleep(5)
        with pytest.raises(CallRefused) as refusal:
            announce(board, "CA9")
        assert refusal.value.code == "draining"
        line.carrier_says(CallerGone(1000))

    nursery.start_soon(hang_up_later)
    assert await board.drain(patience=12, farewell=10)
    assert trio.current_time() - began == pytest.approx(5)
    assert line.speech == ""


async def test_a_drain_waits_for_calls_that_are_on_their_way(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A call that was promised a place before the drain still gets its line; one that never comes is waited for."""
    board, line = registry(), MemoryLine()
    announce(board, "CA1")
    announce(board, "CA2")
    began = trio.current_time()

    async def come_and_go() -> None:
        await trio.sleep(1)
        nursery.start_soon(connect, board, line)
        await trio.sleep(2)
        line.carrier_says(CallerGone(1000))
        await trio.sleep(2)
        board.end("my-client", "CA2")

    nursery.start_soon(come_and_go)
    assert await board.drain(patience=12, farewell=10)
    assert trio.current_time() - began == pytest.approx(5)
    assert line.speech == ""


async def test_a_drain_says_farewell_to_calls_that_go_on(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After the patience the caller hears the sentence, and the session is ended."""
    board, line = registry(), MemoryLine()
    nursery.start_soon(connect, board, line)
    await trio.testing.wait_all_tasks_blocked()
    assert await board.drain(patience=3, farewell=30)
    assert line.speech == Policy().phrases.drain_goodbye
    assert line.ended


async def test_a_drain_is_bounded(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A call that cannot even end does not hold the daemon for ever."""
    board, line = registry(), MemoryLine(stuck=trio.Event())
    nursery.start_soon(connect, board, line)
    await trio.testing.wait_all_tasks_blocked()
    assert not await board.drain(patience=1, farewell=2)
    nursery.cancel_scope.cancel()


async def test_a_client_takes_a_call_back_from_the_machine(nursery: trio.Nursery) -> None:
    """A call that the machine holds goes to its own agent's client when that asks for it, and to nobody else's."""
    board, line = registry(), MemoryLine()
    nursery.start_soon(connect, board, line)
    line.carrier_says(UtteranceHeard("Hello?"))
    assert "A message?" in await line.hear()
    board.presence.arrive(Session("my-client"))
    with pytest.raises(UnknownCall):
        board.claim("somebody-else", "CA1", Owner())
    owner = Owner(Session("my-client"))
    board.claim("my-client", "CA1", owner)
    assert board.owner_of(call_info()) is owner
    assert await line.hear() == "Yes."
    nursery.cancel_scope.cancel()


async def test_who_picked_up_is_reported_to_a_call_of_the_agent_alone(nursery: trio.Nursery) -> None:
    """A verdict reaches the live call of its agent, waits for one that is promised, and is nothing to any other."""
    board, line = registry(), MemoryLine()
    info = call_info(direction=Direction.OUTBOUND, screened=True, greeting="Hello, Ada.")
    board.recognise("my-client", "CA9", Callee.HUMAN)
    nursery.start_soon(connect, board, line, info)
    await trio.testing.wait_all_tasks_blocked()
    board.recognise("somebody-else", "CA1", Callee.HUMAN)
    await trio.testing.wait_all_tasks_blocked()
    assert line.speech == ""
    board.recognise("my-client", "CA1", Callee.HUMAN)
    assert await line.hear() == "Hello, Ada."
    nursery.cancel_scope.cancel()


async def test_a_place_is_renamed_with_its_call() -> None:
    """A call that gets its name takes no second place, and one that was never promised none has to give up."""
    board = registry(max_calls=1)
    board.expect("order-1", call_info(call_sid="order-1"), POLICY, seconds=60)
    board.name("order-1", "CA1")
    board.name("order-2", "CA2")
    assert board.occupied() == 1
    board.withdraw("order-1")
    assert board.occupied() == 1
    board.end("my-client", "CA1")
    assert board.occupied() == 0
