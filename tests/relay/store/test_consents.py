"""The consent register."""

from __future__ import annotations

import pytest

from actors.errors import StoreFailed
from relay.store.agent_registry import AgentRegistry
from relay.store.consents import ConsentRegister, has_consent
from tests.fakes_store import WallClock

ADA, BOB = "+14155552671", "+493012345678"


@pytest.fixture
async def register(registry: AgentRegistry, clock: WallClock) -> ConsentRegister:
    for name in ("my-client", "other"):
        await registry.add(name)
    return ConsentRegister(registry.database, clock)


async def give(register: ConsentRegister, number: str, purpose: str = "", *, agent_id: str = "my-client") -> None:
    await register.give(agent_id, number, purpose=purpose, source="web form", recorded_by="operator")


async def consented(register: ConsentRegister, number: str, purpose: str | None, agent_id: str = "my-client") -> bool:
    return await register.database.read(lambda connection: has_consent(connection, agent_id, number, purpose))


async def test_a_consent_is_for_an_agent_and_a_number(register: ConsentRegister) -> None:
    """Neither another number nor another agent has any part in it."""
    await give(register, ADA)
    assert await consented(register, ADA, None)
    assert not await consented(register, BOB, None)
    assert not await consented(register, ADA, None, "other")


@pytest.mark.parametrize(
    ("given", "asked", "holds"),
    [("", None, True), ("", "sales", True), ("sales", None, True), ("sales", "sales", True), ("sales", "news", False)],
)
async def test_a_purpose_bounds_a_consent(
    register: ConsentRegister, given: str, asked: str | None, holds: bool
) -> None:
    """A consent without a purpose is for any, and one with a purpose for that, or for calls that name none."""
    await give(register, ADA, given)
    assert await consented(register, ADA, asked) is holds


async def test_a_withdrawn_consent_stays_on_record(register: ConsentRegister, clock: WallClock) -> None:
    """After a withdrawal there is no consent, but it can be shown that there was."""
    await give(register, ADA, "sales")
    await give(register, ADA, "news")
    clock.turn(seconds=60)
    assert await register.withdraw("my-client", ADA, purpose="sales") == 1
    assert not await consented(register, ADA, "sales")
    assert await consented(register, ADA, "news")
    assert await register.withdraw("my-client", ADA) == 1
    assert await register.withdraw("my-client", ADA) == 0
    assert [each.as_json()["withdrawnAt"] for each in await register.list_all()] == ["2026-11-22T09:01:00.000Z"] * 2


async def test_a_consent_can_be_given_again(register: ConsentRegister, clock: WallClock) -> None:
    """A new consent takes the place of the old one, with its own day."""
    await give(register, ADA)
    await register.withdraw("my-client", ADA)
    clock.turn(seconds=60)
    await give(register, ADA)
    (consent,) = await register.list_all("my-client")
    assert consent.as_json() == {
        "number": ADA,
        "agentId": "my-client",
        "purpose": "",
        "source": "web form",
        "givenAt": "2026-11-22T09:01:00.000Z",
        "recordedBy": "operator",
        "withdrawnAt": None,
    }
    assert await register.list_all("other") == ()


async def test_a_consent_ends_with_its_agent(register: ConsentRegister, registry: AgentRegistry) -> None:
    """Whoever registers the same id later has been given no consent."""
    await give(register, ADA)
    await registry.remove("my-client")
    await registry.add("my-client")
    assert await register.list_all() == ()


async def test_nobody_consents_to_calls_of_no_agent(register: ConsentRegister) -> None:
    """A consent to an agent that is not there is refused."""
    with pytest.raises(StoreFailed):
        await give(register, ADA, agent_id="nobody")
