"""How many messages wait in all: what operators' metrics count."""

from __future__ import annotations

from relay.store.backlog import Backlog, Backlogs
from relay.store.database import Database
from relay.store.message_record import HOLD_SECONDS
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import draft
from tests.fakes_store import WallClock


async def test_messages_of_all_agents_count_until_they_are_confirmed(
    database: Database, waiting: WaitingMessages, clock: WallClock
) -> None:
    """What is in a client's hands is held, as long as the hold lasts; the oldest counts in any hands."""
    backlogs = Backlogs(database, clock)
    assert await backlogs.look() == Backlog()
    ids = [await waiting.leave(draft(agent_id=each, call_sid=f"CA-{each}")) for each in ("one", "two", "three")]
    left = clock()
    clock.turn(seconds=90)
    await waiting.fetch("one")
    assert await backlogs.look() == Backlog(waiting=2, held=1, oldest=left)
    clock.turn(seconds=HOLD_SECONDS)
    assert await backlogs.look() == Backlog(waiting=3, held=0, oldest=left)
    for agent_id, message_id in zip(("one", "two", "three"), ids, strict=True):
        await waiting.acknowledge(agent_id, [message_id])
    assert await backlogs.look() == Backlog()


async def test_a_clock_that_was_set_back_holds_nothing(
    database: Database, waiting: WaitingMessages, clock: WallClock
) -> None:
    """A hold that ends later than one given now could is over, as it is for `fetch`."""
    await waiting.leave(draft(agent_id="one"))
    left = clock()
    await waiting.fetch("one")
    clock.turn(seconds=-3600)
    assert await Backlogs(database, clock).look() == Backlog(waiting=1, held=0, oldest=left)
