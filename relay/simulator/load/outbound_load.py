"""Outbound load: a client orders many calls at once, and their callees talk with it.

    comms_make_call ─▶ relay ─▶ the carrier's REST API ─▶ a callee of its own number ─▶ turns, as in `load`
         └──────────── until the callee can speak: the time to reach him ──────────────┘

Everything is in one process with the simulated carrier, so the call that a tool's result names is the one that the
callee is on, and answers are told apart by the markers of `load`. A call that the relay does not place counts as
refused, by the code of its error; nothing is asked twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
import trio
from rich.table import Table

from relay.simulator.carrier.rest_service import RestApi
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.inbound_load import LoadPlan, Tally, number_of
from relay.simulator.load.load_report import Latency, LoadReport, Progress

LIMITS = {
    "agent_minute_limit": "RELAY_CALLS_PER_AGENT_PER_MINUTE=0",
    "agent_daily_calls": "RELAY_CALLS_PER_AGENT_PER_DAY=0",
    "agent_daily_minutes": "RELAY_MINUTES_PER_AGENT_PER_DAY=0",
    "country_not_allowed": "RELAY_ALLOWED_COUNTRIES=all",
    "number_daily_limit": "RELAY_CALLS_PER_NUMBER_PER_DAY=0",
    "carrier_busy": "RELAY_CALLS_PER_SECOND=1000",
    "full": "RELAY_MAX_CALLS=10000",
    "number_unassigned": "RELAY_ALLOW_UNASSIGNED_NUMBERS=true",
    "quiet_hours": "RELAY_CALLING_HOURS=00:00-24:00",
    "carrier_unreachable": "TWILIO_API_BASE_URL=http://127.0.0.1:PORT of --rest-port",
    "no_carrier": "TWILIO_API_BASE_URL=http://127.0.0.1:PORT of --rest-port",
}
"""The settings that a run needs so that the relay does not refuse it, by the code of the refusal."""


TOOL_CALLS_AT_ONCE = 16
"""Calls that the client asks for before it has the results of those before; the relay refuses a client too many."""


class CalledElsewhere(Exception):
    """The relay placed a call that this carrier does not know: with another carrier, and maybe for real."""


CallTool = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Call a tool, by its name and arguments, and return its structured content; see `EchoClient.call_tool`."""


@attrs.frozen(kw_only=True)
class OutboundReport:
    """What came of calls that were asked for: those `refused` by code, and the `load` of those that were placed.

    `picked_up` counts calls in which the callee could speak, and `reach` is how long each took to get there, from the
    tool call on; the carrier's ringing is in it.
    """

    placed: int
    refused: Mapping[str, int]
    picked_up: int
    reach: Latency
    load: LoadReport

    @property
    def clean(self) -> bool:
        """Whether every call was placed and answered, and every turn too, on its own call."""
        return self.load.clean and not self.refused and self.picked_up == self.placed

    @property
    def advice(self) -> Sequence[str]:
        """The settings that the relay needs for what was refused."""
        return [setting for code, setting in LIMITS.items() if code in self.refused]

    def as_json(self) -> dict[str, object]:
        """Return it as JSON values; latencies are objects with milliseconds."""
        own = attrs.asdict(self, filter=lambda field, _value: field.name != "load")
        return self.load.as_json() | own

    def table(self) -> Table:
        """Return it as a table for people."""
        table = self.load.table()
        table.title = "Load of calls out"
        refused = ", ".join(f"{code} {count}" for code, count in sorted(self.refused.items()))
        table.add_row("calls placed", str(self.placed))
        table.add_row("calls refused", refused or "0")
        table.add_row("calls answered", str(self.picked_up))
        table.add_row("callee's first word p50/p95/p99/max (ms)", str(self.reach))
        return table


async def run_outbound_load(
    plan: LoadPlan,
    call_tool: CallTool,
    rest: RestApi,
    *,
    numbers: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
    stop: trio.Event | None = None,
) -> OutboundReport:
    """Call, by the tool of a client, so many callees, who talk with it as the plan says, and report.

    `numbers` are called in turn; without any each call goes to a number of its own, so that no limit on a number is
    met. The first call is asked for alone, to see that it is placed here. Raises `CalledElsewhere` if not, and
    `EchoFailed` when the client is lost, both in a group; what the relay does wrong in a call is in the report.
    Cancelled, calls under way are left to the end of the API's block.
    """
    tally = Tally(plan)
    refused: Counter[str] = Counter()
    reach: list[float] = []
    placed = 0
    asking = trio.CapacityLimiter(1)

    async def call_out(number: int) -> None:
        nonlocal placed
        to = numbers[number % len(numbers)] if numbers else number_of(number)
        async with asking:
            asked = trio.current_time()
            result = await call_tool("comms_make_call", {"to": to})
            if "error" in result:
                refused[result["error"]["code"]] += 1
                return
            # The relay answers after the carrier did, so the call is known by now, if this is the relay's carrier.
            if not rest.has(result["callSid"]):
                raise CalledElsewhere("the relay places its calls with another carrier; see --rest-port")
            asking.total_tokens = TOOL_CALLS_AT_ONCE
        placed += 1
        call = await rest.call(result["callSid"])
        await _pick_up(call)
        reach.append(trio.current_time() - asked)
        await tally.converse(call, number)
        await call.hang_up()
        await call.wait_ended()

    await tally.run(call_out, progress, stop)
    return OutboundReport(
        placed=placed, refused=dict(refused), picked_up=len(reach), reach=Latency.of(reach), load=tally.report()
    )


async def _pick_up(call: SimulatedCall) -> None:
    """Wait until the callee can speak: he is connected, and has heard who calls. Raises `CallOver` if never."""
    await call.connected()
    await call.quiet()
