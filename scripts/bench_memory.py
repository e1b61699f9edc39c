"""What a daemon keeps for a call in which nobody speaks, and for a client session; how calls arrive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scripts.bench_daemon import Contender, Station, open_station
from scripts.bench_generator import Way
from scripts.bench_turns import Tell

FIRST, SESSIONS = 2, 30
"""What is there before memory is first read: what the first of all need is no call's own. And how many client sessions
are weighed: with those before, no more than an agent may have at once (`relay.mcp.client_sessions`)."""

FIRST_CALLS = 20
"""Calls that come and go again before that, for the same reason."""

REST = 2.0


async def measure_memory(
    contenders: Sequence[Contender], ways: Sequence[Way], calls: int, tell: Tell
) -> list[dict[str, Any]]:
    """Return, for each way and contender, kilobytes an idle call and a client session, and what arriving took."""
    return [await _of(contender, way, calls, tell) for way in ways for contender in contenders]


async def _of(contender: Contender, way: Way, calls: int, tell: Tell) -> dict[str, Any]:
    tell(f"{contender.name}: {SESSIONS} client sessions by {way}")
    async with open_station(contender, tell) as station:
        await station.order("connect", way=way, count=FIRST)
        session = await _grown(station, SESSIONS, "connect", way=way, count=SESSIONS)
    async with open_station(contender, tell) as station:
        await station.order("connect", way=way, count=1)
        await station.order("call", count=FIRST_CALLS)
        await station.order("hang_up")
        tell(f"{contender.name}: {calls:,} idle calls")
        before = station.cpu_seconds()
        idle = await _grown(station, calls, "call", count=calls)
        after = station.cpu_seconds()
    return {
        "way": way,
        "who": contender.name,
        "calls": calls,
        "kbAnIdleCall": idle["kb"],
        "kbAClientSession": session["kb"],
        "acceptSeconds": idle["seconds"],
        "cpuMsACall": None if before is None or after is None else (after - before) * 1000 / calls,
        "residentMb": idle["residentMb"],
    }


async def _grown(station: Station, units: int, do: str, **arguments: Any) -> dict[str, Any]:
    """Have the generator do something, let it rest, and return by how much each unit made the daemon grow."""
    await station.order("rest", seconds=REST)
    before = station.resident_bytes()
    result = await station.order(do, **arguments)
    await station.order("rest", seconds=REST)
    after = station.resident_bytes()
    grown = None if before is None or after is None else (after - before) / units / 1000
    return {**result, "kb": grown, "residentMb": None if after is None else after / 1e6}
