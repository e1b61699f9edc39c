"""The task of the turns: kept from turn to turn, over with one that is cancelled, and in nobody's way meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.call_session import CallServices, CallSession
from actors.call_values import Availability, TurnRequest
from actors.commands import By
from actors.events import CallerBargedIn, CallerGone, UtteranceHeard
from actors.policy import Policy
from actors.ports import Answer
from tests.fakes import MemoryLine, RecordingObserver, ScriptedResponder, call_info
from tests.fakes_store import MemoryJournal, MemoryMessageStore


@attrs.define(eq=False)
class Answering:
    """A client that notes in which task it is asked, and answers in a way of the turn's own."""

    how: Callable[[TurnRequest, Answer], Awaitable[None]]
    tasks: list[trio.lowlevel.Task] = attrs.field(factory=list)

    async def script(self, request: TurnRequest, answer: Answer) -> None:
        self.tasks.append(trio.lowlevel.current_task())
        await self.how(request, answer)


def call_of(client: Answering, line: MemoryLine, observer: RecordingObserver) -> CallSession:
    journal = MemoryJournal()
    services = CallServices(
        responders={By.CLIENT: ScriptedResponder(client.script)},
        messages=MemoryMessageStore(journal),
        journal=journal,
        observer=observer,
    )
    return CallSession(call_info(), line, services, Policy(), Availability.HERE)


async def hear(line: MemoryLine, text: str) -> None:
    line.carrier_says(UtteranceHeard(text))
    await wait_all_tasks_blocked()


async def say_twice(_request: TurnRequest, answer: Answer) -> None:
    await answer.say("Yes.")
    await answer.say(" No.", last=True)


async def think(_request: TurnRequest, _answer: Answer) -> None:
    await trio.sleep_forever()


async def clear_up_slowly(_request: TurnRequest, answer: Answer) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
            await answer.say("too late")


@pytest.mark.parametrize("end", ["last piece", "return"])
async def test_turns_that_end_by_themselves_share_a_task(
    end: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The second turn runs in the task of the first, and both are answered."""

    async def say_yes(_request: TurnRequest, answer: Answer) -> None:
        await answer.say("Yes.", last=end == "last piece")

    client, line, observer = Answering(say_yes), MemoryLine(), RecordingObserver()
    nursery.start_soon(call_of(client, line, observer).run)
    for words in ("one", "two", "three"):
        await hear(line, words)
    assert len(client.tasks) == 3
    assert len(set(client.tasks)) == 1
    assert [note.outcome for note in observer.turns] == ["answered"] * 3


async def test_a_turn_after_a_cancelled_one_has_a_task_of_its_own(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A cancelled turn takes its task with it; the next one runs all the same."""
    client, line, observer = Answering(think), MemoryLine(), RecordingObserver()
    nursery.start_soon(call_of(client, line, observer).run)
    await hear(line, "one")
    line.carrier_says(CallerBargedIn())
    client.how = say_twice
    await hear(line, "two")
    await hear(line, "three")
    first, second, third = client.tasks
    assert first is not second
    assert second is third
    assert [note.outcome for note in observer.turns] == ["interrupted", "answered", "answered"]


async def test_a_turn_that_is_slow_to_stop_is_not_waited_for(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What a cancelled turn still does holds up no later turn, and what it says is not heard; then its task ends."""
    client, line, observer = Answering(clear_up_slowly), MemoryLine(), RecordingObserver()
    nursery.start_soon(call_of(client, line, observer).run)
    await hear(line, "one")
    client.how = say_twice
    await hear(line, "two")
    began = trio.current_time()
    await hear(line, "three")
    assert trio.current_time() == began
    assert [note.outcome for note in observer.turns] == ["superseded", "answered", "answered"]
    call_nursery = client.tasks[0].parent_nursery
    assert call_nursery is not None
    assert client.tasks[0] in call_nursery.child_tasks
    await trio.sleep(6)
    assert client.tasks[0] not in call_nursery.child_tasks
    assert not [text for _kind, text, _last in line.frames if text == "too late"]


async def test_a_waiting_task_ends_with_its_call(autojump_clock: MockClock) -> None:
    """A call that is over, or cancelled, leaves no task behind that waits for turns."""
    for is_cancelled in (False, True):
        client, line, observer = Answering(say_twice), MemoryLine(), RecordingObserver()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call_of(client, line, observer).run)
                await hear(line, "one")
                if is_cancelled:
                    scope.cancel()
                else:
                    line.carrier_says(CallerGone())
        assert [note.outcome for note in observer.turns] == ["answered"]
        assert client.tasks[0].parent_nursery is not None
        assert not client.tasks[0].parent_nursery.child_tasks
