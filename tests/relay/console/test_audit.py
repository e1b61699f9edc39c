"""Every action is on record before it is done, and its outcome after; one that cannot be recorded is not done."""

from __future__ import annotations

import pytest
import structlog
import trio

from actors.errors import StoreFailed
from relay.console.audit import Audit
from relay.console.refused import Refused
from relay.console.sign_in import SignedIn
from relay.store.database import Database, open_database
from relay.store.operator_actions import BEGUN, OperatorActions
from relay.store.operators import Role
from tests.fakes_store import WallClock
from tests.relay.store.other_program import writing_elsewhere

ADA = SignedIn(operator="ada", role=Role.ACT, key="k")


@pytest.fixture
def actions(database: Database, clock: WallClock) -> OperatorActions:
    return OperatorActions(database, clock)


async def test_an_action_and_its_outcome(actions: OperatorActions) -> None:
    """While it is done it is begun; then its outcome stands there, with what is known now, and one line in the log."""
    with structlog.testing.capture_logs() as logs:
        async with Audit(actions).recorded(ADA, "transfer", agent_id="a", call_sid="CA1", detail="+1") as action:
            (under_way,) = await actions.list()
            action.outcome, action.detail = "connected", "+14155550123"
    (done,) = await actions.list()
    assert (under_way.outcome, under_way.action.detail) == (BEGUN, "+1")
    assert (done.outcome, done.action.detail, done.action.operator) == ("connected", "+14155550123", "ada")
    assert [(each["event"], each["operator"], each["call_sid"], each["outcome"]) for each in logs] == [
        ("operator_action", "ada", "CA1", "connected")
    ]
    assert "+1" not in str(logs)


@pytest.mark.parametrize(
    ("error", "outcome"), [(Refused(409, "taken_by", "Ben has it."), "taken_by"), (ValueError("x"), "failed")]
)
async def test_what_went_wrong_is_the_outcome(actions: OperatorActions, error: Exception, outcome: str) -> None:
    """A refusal is recorded by its code, a fault as such; both go on their way."""
    with pytest.raises(type(error)):
        async with Audit(actions).recorded(ADA, "say"):
            raise error
    assert [each.outcome for each in await actions.list()] == [outcome]


async def test_a_cancelled_action_is_recorded_as_such(actions: OperatorActions) -> None:
    """The operator who went away is on record, too."""
    with trio.CancelScope() as scope:
        async with Audit(actions).recorded(ADA, "say"):
            scope.cancel()
            await trio.sleep_forever()
    assert [each.outcome for each in await actions.list()] == ["cancelled"]


async def test_what_cannot_be_recorded_is_not_done(database_url: str) -> None:
    """Where the database refuses, the block is not run."""
    async with open_database(database_url) as database:
        pass  # and is closed
    with pytest.raises(StoreFailed):
        async with Audit(OperatorActions(database)).recorded(ADA, "hang_up"):
            pytest.fail("it was done")


@pytest.mark.sqlite_only("what a server is given to come back is for it alone")
async def test_known_trouble_is_not_waited_for(
    database_url: str, actions: OperatorActions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who acts is told at once, and not after the seconds that a lock is given; nothing is written meanwhile."""
    monkeypatch.setattr(Database, "trouble", "database is locked")
    with writing_elsewhere(database_url), pytest.raises(StoreFailed, match="locked; nothing was written"):
        async with Audit(actions).recorded(ADA, "hang_up"):
            pytest.fail("it was done")
    assert await actions.list() == ()
