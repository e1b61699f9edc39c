"""The gate on a real database: what it knows, what it counts, and that it counts in one step."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
import structlog
import trio
from sqlalchemy import Connection, insert, text

from actors.errors import StoreFailed
from relay.agent import Agent
from relay.dialling.calling_hours import CallingHours
from relay.dialling.dial_check import DiallingGate
from relay.dialling.numbers import NumberError
from relay.dialling.verdict import DialKind, GateRules, Verdict
from relay.store.agent_registry import AgentRegistry
from relay.store.consents import ConsentRegister
from relay.store.database import Database, open_database
from relay.store.do_not_call import DoNotCallList
from relay.store.outbound_switches import OutboundSwitches
from relay.store.schema import calls
from tests.fakes_store import WallClock
from tests.limits import HANGING

BERLIN = "+493012345678"
EVERYWHERE = GateRules(countries=["all"])
PARIS = "+33123456789"
DAY = 86400


@pytest.fixture
def gate(database: Database, clock: WallClock) -> DiallingGate:
    return DiallingGate(database, EVERYWHERE, clock)


def with_rules(gate: DiallingGate, rules: GateRules) -> DiallingGate:
    return DiallingGate(gate.database, attrs.evolve(rules, countries=["all"]), gate.now)


def names(verdict: Verdict) -> list[str]:
    return [each.name.value for each in verdict.refusals]


async def dials_on_record(database: Database) -> int:
    counted = text("SELECT count(*) FROM dials")
    return await database.read(lambda connection: connection.execute(counted).scalar_one())


async def test_an_allowed_dial_is_counted(gate: DiallingGate, agent: Agent) -> None:
    """What may be dialled is counted at once, under its one written form."""
    verdict = await gate.check(agent, "+49 (0)30 12345678", kind=DialKind.CALL)
    assert verdict.allowed
    assert verdict.normalised == BERLIN
    assert await dials_on_record(gate.database) == 1


async def test_a_dry_run_counts_nothing(gate: DiallingGate, agent: Agent) -> None:
    """Asking is free, and gets the answer that dialling would get."""
    strict = with_rules(gate, GateRules(calls_per_number_per_day=1))
    for _ in range(3):
        assert (await strict.check(agent, BERLIN, kind=DialKind.CALL, dry_run=True)).allowed
    assert await dials_on_record(gate.database) == 0
    await strict.check(agent, BERLIN, kind=DialKind.CALL)
    assert names(await strict.check(agent, BERLIN, kind=DialKind.CALL, dry_run=True)) == ["number_daily_limit"]


async def test_a_refused_dial_is_not_counted(gate: DiallingGate, agent: Agent) -> None:
    """Who is refused does not lose a place by asking."""
    assert names(await gate.check(agent, "112", kind=DialKind.CALL)) == ["emergency_number", "number_invalid"]
    assert await dials_on_record(gate.database) == 0


async def test_a_number_is_called_so_often_a_day(
    gate: DiallingGate, clock: WallClock, agent: Agent, other_agent: Agent
) -> None:
    """Calls and voice messages of all agents share a number's daily places, and a day later there is one again."""
    strict = with_rules(gate, GateRules(calls_per_number_per_day=2))
    assert (await strict.check(agent, BERLIN, kind=DialKind.CALL)).allowed
    assert (await strict.check(other_agent, BERLIN, kind=DialKind.VOICE_MESSAGE)).allowed
    assert names(await strict.check(agent, BERLIN, kind=DialKind.CALL)) == ["number_daily_limit"]
    assert (await strict.check(agent, PARIS, kind=DialKind.CALL)).allowed
    clock.turn(seconds=DAY)
    assert (await strict.check(agent, BERLIN, kind=DialKind.CALL)).allowed


async def test_transfers_have_their_own_places(gate: DiallingGate, agent: Agent) -> None:
    """The desk that calls are transferred to all day does not run out of places for calls, nor the other way round."""
    strict = with_rules(gate, GateRules(calls_per_number_per_day=1, transfers_per_number_per_day=2))
    for _ in range(2):
        assert (await strict.check(agent, BERLIN, kind=DialKind.TRANSFER)).allowed
    assert names(await strict.check(agent, BERLIN, kind=DialKind.TRANSFER)) == ["number_daily_limit"]
    assert (await strict.check(agent, BERLIN, kind=DialKind.CALL)).allowed


async def test_an_agent_dials_so_often_a_minute(
    gate: DiallingGate, clock: WallClock, agent: Agent, other_agent: Agent
) -> None:
    """Each agent has its own places in a minute, whomever it calls and for what."""
    strict = with_rules(gate, GateRules(calls_per_agent_per_minute=2))
    assert (await strict.check(agent, BERLIN, kind=DialKind.CALL)).allowed
    assert (await strict.check(agent, PARIS, kind=DialKind.TRANSFER)).allowed
    assert names(await strict.check(agent, BERLIN, kind=DialKind.CALL)) == ["agent_minute_limit"]
    assert (await strict.check(other_agent, BERLIN, kind=DialKind.CALL)).allowed
    clock.turn(seconds=60)
    assert (await strict.check(agent, BERLIN, kind=DialKind.CALL)).allowed


async def test_a_clock_that_was_wrong_neither_blocks_nor_frees(
    gate: DiallingGate, clock: WallClock, agent: Agent
) -> None:
    """Dials from before the clock was set back by a year do not count, and do not hide those that do."""
    strict = with_rules(gate, GateRules(calls_per_number_per_day=1))
    clock.turn(seconds=365 * DAY)
    assert (await strict.check(agent, BERLIN, kind=DialKind.CALL)).allowed
    clock.turn(seconds=-365 * DAY)
    assert (await strict.check(agent, BERLIN, kind=DialKind.CALL)).allowed
    assert names(await strict.check(agent, BERLIN, kind=DialKind.CALL)) == ["number_daily_limit"]


async def test_whom_an_agent_called_is_forgotten(gate: DiallingGate, clock: WallClock, agent: Agent) -> None:
    """What no limit needs any more is dropped with the next dial."""
    for _ in range(3):
        await gate.check(agent, BERLIN, kind=DialKind.CALL)
    clock.turn(seconds=DAY + 1)
    await gate.check(agent, PARIS, kind=DialKind.CALL)
    assert await dials_on_record(gate.database) == 1


async def test_two_calls_at_once_do_not_both_get_the_last_place(gate: DiallingGate, agent: Agent) -> None:
    """Of many that ask at the same time, exactly as many are let through as there are places."""
    strict = with_rules(gate, GateRules(calls_per_number_per_day=3, calls_per_agent_per_minute=0))
    verdicts: list[Verdict] = []

    async def ask() -> None:
        verdicts.append(await strict.check(agent, BERLIN, kind=DialKind.CALL))

    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
    assert sum(each.allowed for each in verdicts) == 3
    assert await dials_on_record(gate.database) == 3


async def test_two_processes_do_not_both_get_the_last_place(
    gate: DiallingGate, database_url: str, agent: Agent
) -> None:
    """The same holds for two relays on one database."""
    rules = GateRules(calls_per_number_per_day=3, calls_per_agent_per_minute=0)
    verdicts: list[Verdict] = []

    async def ask(asked: DiallingGate) -> None:
        verdicts.extend([await asked.check(agent, BERLIN, kind=DialKind.CALL) for _ in range(5)])

    with trio.fail_after(HANGING):
        async with open_database(database_url) as second, trio.open_nursery() as nursery:
            nursery.start_soon(ask, with_rules(gate, rules))
            nursery.start_soon(ask, with_rules(DiallingGate(second, rules, gate.now), rules))
    assert sum(each.allowed for each in verdicts) == 3


async def test_stop_calling_holds_at_once(gate: DiallingGate, agent: Agent, other_agent: Agent) -> None:
    """Who asks one agent to stop is not called by it any more, however the number is written; others may."""
    assert await gate.stop_calling("+49 30 12345678", agent_id="my-client", reason="said so", added_by="caller")
    assert names(await gate.check(agent, BERLIN, kind=DialKind.VOICE_MESSAGE)) == ["do_not_call"]
    assert (await gate.check(other_agent, BERLIN, kind=DialKind.CALL)).allowed
    assert not await gate.stop_calling(BERLIN, agent_id="my-client", reason="again", added_by="caller")


async def test_stop_calling_may_be_meant_for_all(gate: DiallingGate, agent: Agent, other_agent: Agent) -> None:
    """An entry for all agents is named as such, even to an agent with one of its own."""
    await gate.stop_calling(BERLIN, agent_id="my-client", reason="", added_by="caller")
    await gate.stop_calling(BERLIN, agent_id=None, reason="", added_by="operator")
    for each in (agent, other_agent):
        verdict = await gate.check(each, BERLIN, kind=DialKind.TRANSFER)
        assert names(verdict) == ["do_not_call"]
        assert "every agent" in verdict.refusals[0].sentence
    assert names(await gate.explain(BERLIN)) == ["do_not_call"]


async def test_nobody_can_be_listed_who_withholds_the_number(gate: DiallingGate) -> None:
    """What is no number cannot be called, and is refused with a sentence."""
    with pytest.raises(NumberError):
        await gate.stop_calling("anonymous", agent_id=None, reason="", added_by="caller")


async def test_consent_is_looked_up(gate: DiallingGate, clock: WallClock, agent: Agent, other_agent: Agent) -> None:
    """A consent counts for its agent, number and purpose, until it is withdrawn."""
    strict = with_rules(gate, GateRules(require_consent=True))
    register = ConsentRegister(gate.database, clock)
    await register.give("my-client", BERLIN, purpose="reminders", source="form", recorded_by="operator")
    assert (await strict.check(agent, BERLIN, kind=DialKind.CALL)).allowed
    assert (await strict.check(agent, BERLIN, kind=DialKind.CALL, purpose="reminders")).allowed
    assert names(await strict.check(agent, BERLIN, kind=DialKind.CALL, purpose="sales")) == ["consent_missing"]
    assert names(await strict.check(agent, PARIS, kind=DialKind.CALL)) == ["consent_missing"]
    assert names(await strict.check(other_agent, BERLIN, kind=DialKind.CALL)) == ["consent_missing"]
    await register.withdraw("my-client", BERLIN)
    assert names(await strict.check(agent, BERLIN, kind=DialKind.CALL)) == ["consent_missing"]


async def test_the_kill_switch_holds_at_once(
    gate: DiallingGate, clock: WallClock, agent: Agent, other_agent: Agent
) -> None:
    """A switched-off agent dials nothing until it is switched on again; others go on."""
    switches = OutboundSwitches(gate.database, clock)
    await switches.disable("my-client", reason="too many complaints")
    assert names(await gate.check(agent, BERLIN, kind=DialKind.TRANSFER)) == ["outbound_disabled"]
    assert (await gate.check(other_agent, BERLIN, kind=DialKind.CALL)).allowed
    await switches.enable("my-client")
    assert (await gate.check(agent, BERLIN, kind=DialKind.CALL)).allowed


async def test_the_zone_of_the_callee_may_be_given(gate: DiallingGate, clock: WallClock, agent: Agent) -> None:
    """A German telephone on a journey is called when it is day there and at home: a client's word lifts no night."""
    clock.time = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
    assert names(await gate.check(agent, BERLIN, kind=DialKind.CALL, zone="America/New_York")) == ["quiet_hours"]
    assert (await gate.check(agent, BERLIN, kind=DialKind.CALL, zone="Asia/Tokyo")).allowed
    clock.time = datetime(2026, 11, 22, 23, 0, tzinfo=UTC)
    assert names(await gate.check(agent, BERLIN, kind=DialKind.CALL, zone="Asia/Tokyo")) == ["quiet_hours"]


async def test_another_time_can_be_asked_about(gate: DiallingGate, clock: WallClock) -> None:
    """An operator may ask about tonight."""
    assert (await gate.explain(BERLIN)).allowed
    assert names(await gate.explain(BERLIN, at=clock.time + timedelta(hours=12))) == ["quiet_hours"]


async def test_a_number_is_not_logged(gate: DiallingGate, agent: Agent) -> None:
    """The log tells who was refused for what, by id and name, and never whom."""
    with structlog.testing.capture_logs() as logs:
        await gate.check(agent, BERLIN, kind=DialKind.CALL, zone="Asia/Tokyo")
        await gate.check(agent, "+49110", kind=DialKind.TRANSFER)
        await gate.stop_calling(BERLIN, agent_id="my-client", reason="go away", added_by="caller")
    assert [each["event"] for each in logs] == ["dial_allowed", "dial_refused", "do_not_call"]
    assert logs[1]["refusals"] == ["emergency_number", "number_invalid"]
    assert not any(word in str(logs) for word in ("3012345678", "49110", "Tokyo", "go away"))


async def test_without_a_database_nobody_is_dialled(clock: WallClock, database_url: str) -> None:
    """When the gate cannot count, there is an error and no verdict."""
    async with open_database(database_url) as database:
        agent, _token = await AgentRegistry(database, clock).add("my-client")
    with pytest.raises(StoreFailed):
        await DiallingGate(database, GateRules(), clock).check(agent, BERLIN, kind=DialKind.CALL)


async def test_who_stops_waiting_leaves_the_database_well(gate: DiallingGate, agent: Agent) -> None:
    """A check that is cancelled is counted or not, as a whole, and the next one is answered."""
    with trio.CancelScope() as scope:
        scope.cancel("the client went away")
        await gate.check(agent, BERLIN, kind=DialKind.CALL)
    assert (await gate.check(agent, BERLIN, kind=DialKind.CALL)).allowed
    assert await dials_on_record(gate.database) in {1, 2}
    assert await DoNotCallList(gate.database).list_all() == ()


async def test_an_agents_day_has_an_end(gate: DiallingGate, clock: WallClock, agent: Agent, other_agent: Agent) -> None:
    """All that an agent dials counts against its day, transfers included, and a day later there is a place again."""
    strict = with_rules(gate, GateRules(calls_per_agent_per_day=2, calls_per_agent_per_minute=1))
    assert (await strict.check(agent, BERLIN, kind=DialKind.VOICE_MESSAGE)).allowed
    clock.time += timedelta(minutes=1)
    assert (await strict.check(agent, BERLIN, kind=DialKind.TRANSFER)).allowed
    clock.time += timedelta(minutes=1)
    refused = await strict.check(agent, BERLIN, kind=DialKind.CALL)
    assert names(refused) == ["agent_daily_calls"]
    assert "RELAY_CALLS_PER_AGENT_PER_DAY" in refused.refusals[0].lifted_by
    assert (await strict.check(other_agent, BERLIN, kind=DialKind.CALL)).allowed
    clock.time += timedelta(days=1, minutes=-2)
    assert (await strict.check(agent, BERLIN, kind=DialKind.CALL)).allowed


async def test_a_place_that_is_given_back_is_free(gate: DiallingGate, agent: Agent) -> None:
    """A dial that came to nothing counts against no limit; giving it back twice changes nothing."""
    strict = with_rules(gate, GateRules(calls_per_agent_per_day=1))
    verdict = await strict.check(agent, BERLIN, kind=DialKind.VOICE_MESSAGE)
    assert verdict.place is not None
    assert names(await strict.check(agent, BERLIN, kind=DialKind.CALL)) == ["agent_daily_calls"]
    await strict.give_back(verdict.place)
    await strict.give_back(verdict.place)
    assert (await strict.check(agent, BERLIN, kind=DialKind.CALL)).allowed


async def call_of(database: Database, sid: str, at: datetime, *, seconds: float | None, **row: object) -> None:
    """Write down a call that the agent made, over after some seconds or still up."""
    values: dict[str, object] = {
        "call_sid": sid,
        "agent_id": "my-client",
        "direction": "outbound",
        "caller": "+493020000000",
        "called": BERLIN,
        "boot": "b",
        "opened_at": at,
        "connected_at": at,
        "ended_at": None if seconds is None else at + timedelta(seconds=seconds),
        "duration_seconds": seconds,
        "turns_by": {},
    }

    def work(connection: Connection) -> None:
        connection.execute(insert(calls).values(**(values | row)))

    await database.write(work)


async def test_an_agents_calls_last_so_long_a_day(
    gate: DiallingGate, database: Database, clock: WallClock, agent: Agent
) -> None:
    """Minutes count by the carrier's word, of calls that are up so far, and of a transfer from its agent's part on."""
    strict = with_rules(gate, GateRules(minutes_per_agent_per_day=10))
    begun = clock.time
    await call_of(database, "CA1", begun, seconds=60, carrier_seconds=180.0)
    clock.time += timedelta(minutes=30)
    await call_of(database, "CA2", begun + timedelta(minutes=27), seconds=None)
    inbound = {"direction": "inbound", "caller": BERLIN, "called": "+493020000000"}
    await call_of(database, "CA3", begun, seconds=1500, **inbound)
    assert (await strict.check(agent, BERLIN, kind=DialKind.CALL)).allowed
    handed = begun + timedelta(minutes=20)
    await call_of(database, "CA4", begun, seconds=1440, line_ended_at=handed, transfer_outcome="answered", **inbound)
    await call_of(database, "CA5", begun, seconds=1440, line_ended_at=handed, transfer_outcome="busy", **inbound)
    refused = await strict.check(agent, BERLIN, kind=DialKind.CALL)
    assert names(refused) == ["agent_daily_minutes"]
    assert "RELAY_MINUTES_PER_AGENT_PER_DAY" in refused.refusals[0].lifted_by
    assert (
        await with_rules(gate, GateRules(minutes_per_agent_per_day=0)).check(agent, BERLIN, kind=DialKind.CALL)
    ).allowed
    clock.time = begun + timedelta(days=1)
    assert "quiet_hours" not in names(await strict.check(agent, BERLIN, kind=DialKind.CALL))


async def test_a_number_of_the_relay_is_not_dialled(
    gate: DiallingGate, database: Database, clock: WallClock, agent: Agent, other_agent: Agent
) -> None:
    """Neither any agent's number, nor the settings', nor one on which callers come in that is registered nowhere."""
    registry = AgentRegistry(database)
    await registry.change("other", number="+498912345678")
    ours = with_rules(gate, GateRules(caller_number="+494012345678"))
    for number in ("+498912345678", "+49 (0)89 12345678", "+494012345678"):
        assert names(await ours.check(agent, number, kind=DialKind.TRANSFER)) == ["own_number"]
    lobby = "+4922112345678"
    assert (await ours.check(agent, lobby, kind=DialKind.CALL)).allowed
    await call_of(database, "CA1", clock.time, seconds=9, direction="inbound", caller=BERLIN, called=lobby)
    for kind in DialKind:
        assert names(await ours.check(agent, lobby, kind=kind)) == ["own_number"]
    assert (await ours.check(other_agent, lobby, kind=DialKind.CALL)).allowed
    assert (await ours.check(agent, BERLIN, kind=DialKind.CALL)).allowed


async def test_the_country_is_that_of_the_number_which_calls(
    gate: DiallingGate, database: Database, agent: Agent, other_agent: Agent
) -> None:
    """The call's own number goes before the agent's, and that before the settings'; what is no number says nothing."""
    await AgentRegistry(database).change("other", number="+12025550100")
    rules = GateRules(caller_number="+494012345678", calling_hours=CallingHours(0, 1440))
    careful = DiallingGate(gate.database, rules, gate.now)
    assert (await careful.check(agent, BERLIN, kind=DialKind.CALL)).allowed
    assert names(await careful.check(other_agent, BERLIN, kind=DialKind.CALL)) == ["country_not_allowed"]
    assert (await careful.check(other_agent, BERLIN, kind=DialKind.TRANSFER, caller="+493020000000")).allowed
    assert (await careful.check(agent, BERLIN, kind=DialKind.TRANSFER, caller="sip:desk@pbx.example")).allowed
    abroad = await careful.check(agent, BERLIN, kind=DialKind.TRANSFER, caller="+12025550100")
    assert names(abroad) == ["country_not_allowed"]
