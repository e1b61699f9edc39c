"""The budget of a turn by layer: looks at all the daemon's threads, each given to whose work it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.bench_daemon import HERE
from scripts.bench_generator import Way
from scripts.bench_turns import Load, Tell, staffed, warm_up


async def profile(way: Way, load: Load, seconds: float, tell: Tell) -> dict[str, Any]:
    """Return the CPU of each layer and its parts, and what of it is Trio's, anyio's and contextlib's own."""
    async with staffed(HERE, way, tell, probe="profile") as station:
        await station.order("call", count=load.calls)
        await station.order("talk", seconds=warm_up(seconds), interval=load.interval)
        before = await station.probe()
        result = await station.order("talk", seconds=seconds, interval=load.interval)
        after = await station.probe()
    parts = {
        key: [now - then for now, then in zip(seen, before.get(key, (0, 0)), strict=True)]
        for key, seen in after.items()
    }
    turns = max(1, result["answered"])
    return {"way": way, "load": load.name, "turns": turns, "layers": budget(parts, turns)}


def budget(parts: Mapping[str, Sequence[int]], turns: int) -> list[dict[str, Any]]:
    """Return the layers, the dearest first, each with its parts; `parts` are nanoseconds by layer and part."""
    total = max(1, sum(worked for worked, _machinery in parts.values()))
    layers: dict[str, dict[str, Any]] = {}
    for key, (worked, machinery) in sorted(parts.items(), key=lambda item: -item[1][0]):
        name, part = key.split("\t")
        layer = layers.setdefault(
            name, {"layer": name, "share": 0.0, "msATurn": 0.0, "ofItMachinery": 0.0, "parts": {}}
        )
        layer["share"] += worked / total
        layer["msATurn"] += worked / turns / 1e6
        layer["ofItMachinery"] += machinery / total
        if part:
            layer["parts"][part] = worked / total
    for layer in layers.values():
        layer["ofItMachinery"] /= layer["share"] or 1
    return sorted(layers.values(), key=lambda layer: -layer["share"])
