"""Operators, their tokens and sessions, the links that sign in once, and the record of what they did."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relay.errors import OperatorError
from relay.store.console_sessions import IDLE, LINK, LONGEST, ConsoleSessions
from relay.store.database import Database
from relay.store.operator_actions import BEGUN, Action, OperatorActions
from relay.store.operators import Operator, Operators, Role
from tests.fakes_store import WallClock


@pytest.fixture
def operators(database: Database, clock: WallClock) -> Operators:
    return Operators(database, clock)


@pytest.fixture
def sessions(database: Database, clock: WallClock) -> ConsoleSessions:
    return ConsoleSessions(database, clock)


@pytest.fixture
def actions(database: Database, clock: WallClock) -> OperatorActions:
    return OperatorActions(database, clock)


async def test_a_token_names_its_operator(operators: Operators, clock: WallClock) -> None:
    """A token is shown once, tells itself from a client's, and a wrong one of any form names no operator."""
    assert not await operators.exist()
    ada, token = await operators.add("ada", Role.ACT)
    ben, _ = await operators.add("ben", Role.READ)
    assert ada == Operator(name="ada", role=Role.ACT, created_at=clock())
    assert token.startswith("op_")
    assert len(token) == 46
    assert await operators.exist()
    assert await operators.list() == (ada, ben)
    assert await operators.by_token(token) == ada
    for wrong in ("", "op_", token[:-1], token + "x", token.upper(), "\0", "\ud800", "x" * 100_000):
        assert await operators.by_token(wrong) is None


@pytest.mark.parametrize("name", ["", " ada", "-ada", "a" * 65, "ada/ben", "ada\n", "\0", "\ud800", "%"])
async def test_a_name_that_is_none_is_refused(operators: Operators, name: str) -> None:
    """A name can stand in a log, a table and a shell."""
    with pytest.raises(OperatorError, match="cannot be an operator's name"):
        await operators.add(name, Role.READ)


async def test_a_new_token_ends_the_old_one_and_its_sessions(operators: Operators, sessions: ConsoleSessions) -> None:
    """What was opened with the old token is over, links included."""
    _, old = await operators.add("ada", Role.ACT)
    cookie, link = await sessions.open("ada"), await sessions.make_link("ada")
    new = await operators.rotate("ada")
    assert await operators.by_token(old) is None
    assert await operators.by_token(new) is not None
    assert await sessions.find(cookie) is None
    assert await sessions.find_link(link) is None
    with pytest.raises(OperatorError, match="relay operators list"):
        await operators.rotate("ben")


async def test_a_removed_operator_is_out_and_may_come_back(operators: Operators, sessions: ConsoleSessions) -> None:
    """Its token and sessions are invalid at once; its name can be given again, with another role and token."""
    _, old = await operators.add("ada", Role.ACT)
    cookie = await sessions.open("ada")
    await operators.remove("ada")
    assert (await operators.by_token(old), await sessions.find(cookie)) == (None, None)
    assert (await operators.exist(), await operators.list()) == (False, ())
    for gone in (operators.remove("ada"), operators.rotate("ada"), sessions.open("ada"), sessions.make_link("ada")):
        with pytest.raises(OperatorError, match="no operator 'ada'"):
            await gone
    _, new = await operators.add("ada", Role.READ)
    found = await operators.by_token(new)
    assert found is not None
    assert found.role is Role.READ
    assert (await operators.by_token(old), await sessions.find(cookie)) == (None, None)
    with pytest.raises(OperatorError, match="exists already"):
        await operators.add("ada", Role.ACT)


async def test_a_session_is_its_operators(operators: Operators, sessions: ConsoleSessions, clock: WallClock) -> None:
    """A session has its operator's name and role; any other cookie is nobody's, and a session's key is no cookie."""
    await operators.add("ada", Role.READ)
    cookie = await sessions.open("ada")
    found = await sessions.find(cookie)
    assert found is not None
    assert (found.operator, found.role, found.created_at) == ("ada", Role.READ, clock())
    assert found.key not in repr(found)
    for wrong in ("", found.key, cookie + "x", "\ud800", await sessions.make_link("ada")):
        assert await sessions.find(wrong) is None
    assert [each.last_sign_in for each in await operators.list()] == [clock()]
    await sessions.close(found)
    await sessions.close(found)
    assert await sessions.find(cookie) is None


async def test_a_session_that_is_not_used_is_over(
    operators: Operators, sessions: ConsoleSessions, clock: WallClock
) -> None:
    """Twelve hours without a request end it; each request begins them anew, for seven days in all."""
    await operators.add("ada", Role.ACT)
    idle, used = await sessions.open("ada"), await sessions.open("ada")
    began = clock()
    while clock() < began + LONGEST:
        found = await sessions.find(used)
        assert found is not None
        await sessions.note_seen(found)
        await sessions.make_link("ada")  # with this write at the latest that is committed
        assert (await sessions.find(idle) is None) == (clock() - began >= IDLE)
        clock.turn(seconds=timedelta(hours=8).total_seconds())
    assert await sessions.find(used) is None


async def test_a_link_signs_in_once(operators: Operators, sessions: ConsoleSessions, clock: WallClock) -> None:
    """Looking at a link leaves it unused, using it once uses it up, and after a minute it is nothing."""
    await operators.add("ada", Role.ACT)
    first, late = await sessions.make_link("ada"), await sessions.make_link("ada")
    assert [await sessions.find_link(first) for _ in range(2)] == ["ada", "ada"]
    cookie = await sessions.use_link(first)
    assert cookie is not None
    assert await sessions.find(cookie) is not None
    assert (await sessions.find_link(first), await sessions.use_link(first)) == (None, None)
    clock.turn(seconds=LINK.total_seconds())
    assert (await sessions.find_link(late), await sessions.use_link(late)) == (None, None)
    assert await sessions.use_link("\ud800") is None


async def test_an_action_is_on_record_before_it_is_done(actions: OperatorActions, clock: WallClock) -> None:
    """It is begun until its outcome is known, and can be found by its operator and its call."""
    hang_up = Action(operator="ada", name="hang_up", agent_id="a", call_sid="CA1")
    first = await actions.begin(hang_up)
    await actions.begin(Action(operator="ben", name="say", call_sid="CA2", detail="12 characters\0"))
    last, before = await actions.list()
    assert (before.at, before.action, before.outcome) == (clock(), hang_up, BEGUN)
    assert (last.action.detail, last.action.agent_id) == ("12 characters\ufffd", None)
    await actions.finish(first, "refused", "The call is over.")
    (finished,) = await actions.list(call_sid="CA1")
    assert (finished.outcome, finished.action.detail) == ("refused", "The call is over.")
    assert [each.action.operator for each in await actions.list(operator="ben")] == ["ben"]
    assert [each.position for each in await actions.list(before=last.position, limit=5)] == [first]


async def test_what_concerns_operators_themselves_is_on_record(
    operators: Operators, sessions: ConsoleSessions, actions: OperatorActions
) -> None:
    """Who was let in, by token or link, and who was added, given a new token or removed."""
    await operators.add("ada", Role.ACT)
    cookie = await sessions.open("ada")
    found = await sessions.find(cookie)
    assert found is not None
    await sessions.close(found)
    await sessions.use_link(await sessions.make_link("ada"))
    await operators.rotate("ada")
    await operators.remove("ada")
    recorded = [(each.action.name, each.action.detail) for each in reversed(await actions.list())]
    assert recorded == [
        ("operator_added", "act"),
        ("sign_in", "token"),
        ("sign_out", ""),
        ("sign_in", "link"),
        ("operator_rotated", ""),
        ("operator_removed", ""),
    ]
