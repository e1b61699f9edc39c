"""A long run with callers who talk over what they hear: every turn is answered once, on its own call."""

from __future__ import annotations

from typing import Any

from scripts.bench_daemon import HERE
from scripts.bench_generator import Way
from scripts.bench_turns import Tell, staffed


async def soak(way: Way, *, calls: int, turns: int, barge_ins: int, tell: Tell) -> dict[str, Any]:
    """Have so many turns in all taken as fast as they are answered, and so many of them talked over.

    A turn that is talked over before its answer came is `superseded`: its answer may come or not, once.
    """
    async with staffed(HERE, way, tell) as station:
        await station.order("call", count=calls)
        before, memory = station.cpu_seconds(), station.resident_bytes()
        result = await station.order("talk", turns=turns, barge_ins=barge_ins)
        after, resident = station.cpu_seconds(), station.resident_bytes()
        await station.order("hang_up")
        crashed = [
            f"{event['event']}: {event.get('cause') or event.get('error') or ''}"
            for event in await station.daemon.events()
            if event["level"] in {"error", "critical"}
        ]
    return {
        **result,
        "way": way,
        "calls": calls,
        "cpuMs": None if before is None or after is None else (after - before) * 1000 / max(1, result["answered"]),
        "grownMb": None if memory is None or resident is None else (resident - memory) / 1e6,
        "unanswered": result["asked"] - result["answered"] - result["superseded"],
        "errorsLogged": crashed,
    }
