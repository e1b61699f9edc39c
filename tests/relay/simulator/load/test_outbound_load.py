"""Load of calls out: what was placed, refused and answered, and that no answer went to another callee."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest
import trio

from relay.simulator.carrier.callee import Unanswered
from relay.simulator.load.inbound_load import LoadPlan
from relay.simulator.load.load_report import Progress
from relay.simulator.load.outbound_load import CalledElsewhere, OutboundReport, run_outbound_load
from tests.relay.simulator.ordering import OURS, THEIRS, Bench, ordering
from tests.relay.simulator.scripted_relay import ACCOUNT, TOKEN, Handler, echo


@attrs.define
class Asking:
    """A client whose relay is the scripted one: it orders the calls itself, and refuses from the `refuses`th on."""

    bench: Bench
    refuses: int = 1_000
    asked: list[str] = attrs.field(factory=list)

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Place a call, as the tool would."""
        assert name == "comms_make_call"
        self.asked.append(arguments["to"])
        if len(self.asked) > self.refuses:
            return {"error": {"code": "agent_minute_limit", "message": "Nothing was dialled."}}
        placed = await self.bench.client.create(self.bench.order(to=arguments["to"]))
        return {"callSid": placed.sid, "status": placed.status, "to": arguments["to"], "from": OURS}


async def load(
    talk: Handler = echo, /, *, refuses: int = 1_000, numbers: tuple[str, ...] = (), **plan: Any
) -> tuple[OutboundReport, list[str]]:
    """Run a plan of three calls with two turns; return the report and the numbers that were asked for."""
    async with ordering(talk) as bench:
        bench.rest.callee(THEIRS, Unanswered("busy"))
        client = Asking(bench, refuses)
        report = await run_outbound_load(make_plan(bench, **plan), client.call_tool, bench.rest, numbers=numbers)
    return report, client.asked


def make_plan(bench: Bench, **changes: Any) -> LoadPlan:
    """Plan three calls with two turns."""
    given: dict[str, Any] = {"calls": 3, "turns": 2, **changes}
    return LoadPlan(url=bench.relay.origin, agent_id="a", account_sid=ACCOUNT, auth_token=TOKEN, **given)


async def test_everybody_is_reached_and_answered() -> None:
    """Each call goes to a number of its own, and each turn of it is answered with its own marker."""
    report, asked = await load()
    assert report.clean
    assert (report.placed, report.picked_up, report.refused) == (3, 3, {})
    assert (report.load.calls, report.load.turns, report.load.answered) == (3, 6, {"client": 6})
    assert sorted(asked) == ["+15550000000", "+15550000001", "+15550000002"]
    assert 0 < report.reach.p50 <= report.reach.max


async def test_refusals_are_counted_by_code() -> None:
    """What the relay does not place is refused, and is no error of a call."""
    report, _asked = await load(refuses=1)
    assert (report.placed, report.refused) == (1, {"agent_minute_limit": 2})
    assert report.load.errors == {}
    assert not report.clean


async def test_a_callee_who_does_not_answer() -> None:
    """A call that nobody can speak in was placed and not answered."""
    report, _asked = await load(numbers=(THEIRS,), calls=1)
    assert (report.placed, report.picked_up, report.load.turns) == (1, 0, 0)
    assert report.load.errors == {"call ended early": 1}
    assert not report.clean


async def test_given_numbers_are_called_in_turn() -> None:
    """With fewer numbers than calls they are used again."""
    report, asked = await load(numbers=("+15550100011", "+15550100012"))
    assert report.clean
    assert sorted(asked) == ["+15550100011", "+15550100011", "+15550100012"]


async def test_what_the_relay_does_wrong_is_in_the_report() -> None:
    """A callback that the relay refuses is an error of that call, and the run goes on."""
    async with ordering() as bench:
        bench.relay.statuses["/status"] = 500
        told: list[Progress] = []
        report = await run_outbound_load(make_plan(bench), Asking(bench).call_tool, bench.rest, progress=told.append)
    assert report.load.errors == {"webhook status 500": 3}
    assert told[-1].finished == 3


async def test_a_relay_of_another_carrier_is_stopped_at_once() -> None:
    """The first call is asked for alone; when it is not placed here, no other is asked for."""

    @attrs.define
    class Elsewhere:
        asked: int = 0

        async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
            await trio.lowlevel.checkpoint()
            self.asked += 1
            return {"callSid": "CA" + "9" * 32, "status": "queued", "to": arguments["to"], "from": OURS}

    client = Elsewhere()
    async with ordering() as bench:
        with pytest.RaisesGroup(CalledElsewhere, flatten_subgroups=True):
            await run_outbound_load(make_plan(bench), client.call_tool, bench.rest)
    assert client.asked == 1


async def test_a_lost_client_ends_the_run() -> None:
    """Without the client nothing can be asked for, so its error comes out."""

    async def lost(_name: str, _arguments: Mapping[str, Any]) -> dict[str, Any]:
        raise ConnectionError

    async with ordering() as bench:
        with pytest.RaisesGroup(ConnectionError, flatten_subgroups=True):
            await run_outbound_load(make_plan(bench, calls=1), lost, bench.rest)
