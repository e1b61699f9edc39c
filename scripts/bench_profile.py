"""Where the time of a turn goes, by layer: samples of all the daemon's threads, each given to whose work it was."""

from __future__ import annotations

from typing import Any

from scripts.bench_daemon import HERE
from scripts.bench_generator import Way
from scripts.bench_turns import Load, Tell, staffed


async def profile(way: Way, load: Load, seconds: float, tell: Tell) -> dict[str, Any]:
    """Return the share of each layer, and of it what is Trio's, anyio's and contextlib's own."""
    async with staffed(HERE, way, tell, probe="profile") as station:
        await station.order("call", count=load.calls)
        await station.order("talk", seconds=1, interval=load.interval)
        before = await station.probe()
        result = await station.order("talk", seconds=seconds, interval=load.interval)
        after = await station.probe()
    seen = {
        layer: [now - then for now, then in zip(after[layer], before.get(layer, (0, 0)), strict=True)]
        for layer in after
    }
    samples = max(1, sum(count for count, _machinery in seen.values()))
    layers = {
        layer: {"share": count / samples, "ofItMachinery": machinery / max(1, count)}
        for layer, (count, machinery) in sorted(seen.items(), key=lambda item: -item[1][0])
    }
    return {"way": way, "load": load.name, "turns": result["answered"], "samples": samples, "layers": layers}
