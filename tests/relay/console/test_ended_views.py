"""A call that is over, or has no session, as its page shows it: from memory, and from the database after a restart."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.call_session import CallServices
from actors.calls import Calls
from actors.clients import Presence
from actors.commands import By
from actors.events import CallerGone, UtteranceHeard
from actors.phases import Phase
from actors.policy import Policy
from relay.console.ended_views import EndedViews
from relay.console.views import CallState
from relay.store.call_journal import CallJournal
from relay.store.database import Database
from tests.fakes import MemoryLine, RecordingObserver, ScriptedResponder, Session, call_info, saying
from tests.fakes_store import MemoryMessageStore, WallClock
from tests.relay.mcp.mcp_relay import no_calls


@attrs.define(eq=False)
class Kept:
    """What is left of calls: in this process, and in the database."""

    journal: CallJournal
    calls: Calls

    async def find(self, call_sid: str = "CA1") -> CallState:
        """Return a call, as the process that had it shows it."""
        return await self._find(self.calls, call_sid)

    async def find_after_restart(self, call_sid: str = "CA1") -> CallState:
        """Return a call, as a process shows it that never had it."""
        return await self._find(no_calls(), call_sid)

    async def _find(self, calls: Calls, call_sid: str) -> CallState:
        found = await EndedViews(calls=calls, journal=self.journal).find(call_sid, banner="A banner.")
        assert found is not None
        assert found.banner == "A banner."
        return found


@pytest.fixture
def kept(database: Database, clock: WallClock) -> Kept:
    journal = CallJournal(database, clock)
    responder = ScriptedResponder(saying("Yes."))
    services = CallServices(
        responders={By.CLIENT: responder, By.ANSWERING_MACHINE: responder},
        messages=MemoryMessageStore(),
        journal=journal,
        observer=RecordingObserver(),
    )
    calls = Calls(services, Presence(grace=10), max_calls=10)
    calls.presence.arrive(Session("my-client"))
    return Kept(journal, calls)


async def talk(kept: Kept, **policy: Any) -> None:
    """Have a call in which the caller says something, is answered, and hangs up."""
    line, info = MemoryLine(), call_info()
    kept.calls.announce(info, Policy(has_answering_machine=True, **policy))
    line.carrier_says(UtteranceHeard("Is anybody there?"))

    async def hang_up() -> None:
        await line.hear()
        await wait_all_tasks_blocked(0.01)
        line.carrier_says(CallerGone(1000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang_up)
        await kept.calls.connect(info, line)


def times(state: CallState) -> dict[str, float | None]:
    """Return the times of its only turn."""
    (turn,) = state.document()["turns"]
    return {name: turn[name] for name in ("arrived", "stored", "asked", "first", "out", "last", "heard")}


async def test_from_memory_and_after_a_restart(kept: Kept) -> None:
    """Outcome and times are the same; what was decided is known to the process that had the call alone."""
    await talk(kept, keep_transcript=True)
    fresh, later = await kept.find(), await kept.find_after_restart()
    assert fresh.decisions[0].text == "The caller said 3 words; asked the client."
    assert later.decisions == ()
    for state in (fresh, later):
        assert (state.is_live, state.ended, state.row.phase) == (False, "completed", Phase.OVER)
        assert (state.row.caller, state.row.called, state.row.by) == ("+15551230001", "+15551230002", "")
        assert state.lines is not None
        assert [(each.speaker, each.text) for each in state.lines] == [
            ("caller", "Is anybody there?"),
            ("agent", "Yes."),
        ]
        assert state.ended_at is not None
        assert [(each.by, each.outcome) for each in state.turns] == [("client", "answered")]
    for name, at in times(fresh).items():
        assert times(later)[name] == pytest.approx(at, abs=1), name  # on record in whole milliseconds


async def test_words_that_are_not_kept(kept: Kept) -> None:
    """Then the page says so: there is no conversation, and no decision quotes anybody."""
    await talk(kept, keep_transcript=False)
    fresh, later = await kept.find(), await kept.find_after_restart()
    assert (fresh.lines, later.lines) == (None, None)
    assert len(later.turns) == 1
    assert "anybody" not in repr(fresh.document())


async def test_a_call_without_a_session_now(kept: Kept) -> None:
    """One that rings, or was announced: it is neither live nor over."""
    await kept.journal.open_call(call_info())
    state = await kept.find()
    assert (state.is_live, state.ended, state.ended_at, state.seconds) == (False, "", None, None)
    assert state.document()["outcome"] is None


async def test_a_call_of_nobody(kept: Kept) -> None:
    """Is not found."""
    assert await EndedViews(calls=kept.calls, journal=kept.journal).find("CA9") is None
