"""Runs a daemon with something in it that counts, or looks where the time goes; the product knows nothing of it.

    python bench_probe.py FILE counts|profile|stages PYTHON -m relay serve …

On SIGUSR1 it writes what it has so far to FILE, as JSON. It also runs in environments of older revisions, so it needs
the standard library and Trio and nothing else, but for `stages`, which follows turns through the modules of this tree.
What it counts costs time: a daemon with a probe is no daemon to time.
"""

from __future__ import annotations

import gc
import json
import runpy
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import trio

SAMPLE_EVERY = 0.002
"""Seconds of processor time between two looks."""

MACHINERY = ("/trio/", "/anyio/", "/contextlib.py", "/outcome/", "/sniffio/")
"""Whose own time is what one pays for the way of working, and not for the work."""

LAYERS = (
    ("/actors/", "actor: loop, turn, state machine, transcript"),
    ("/relay/store/", "journal"),
    ("/relay/mcp/transports/", "client's transport: posts, event stream"),
    ("/relay/mcp/", "asking the client, tools"),
    ("/relay/twilio/phone_line", "frames in and out"),
    ("/relay/twilio/frames", "frames in and out"),
    ("/relay/twilio/", "voice socket, webhooks"),
    ("/relay/web/", "client's transport: posts, event stream"),
    ("/relay/speech/", "speech filter"),
    ("/relay/metrics", "metrics and log lines"),
    ("/relay/metering", "metrics and log lines"),
    ("/relay/logs", "metrics and log lines"),
    ("/relay/http/", "edge: connections, HTTP"),
    ("/relay/listener", "edge: connections, HTTP"),
)
"""Layers by what is in a file's path. `relay/http` is last: its caller, or what runs in it, says what for."""

OTHER_LAYERS = {
    "/hypercorn/": "edge: connections, HTTP",
    "/sqlalchemy/": "journal",
    "/mcp/": "asking the client, tools",
}
"""The same for stacks without a line of the project's."""

IDLE = "scheduler, epoll"


# ── counting ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Counts(trio.abc.Instrument):
    """Counts what Trio does, and how long the garbage collector stops everything."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.longest_pause = 0.0
        self._collecting_since = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - which one does not matter
        """Count a step of the scheduler."""
        self.seen["steps"] += 1

    def task_spawned(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - which one does not matter
        """Count a task."""
        self.seen["tasks"] += 1

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - only that
        """Count a round of the loop."""
        self.seen["rounds"] += 1

    def note_collection(self, phase: str, info: dict[str, int]) -> None:
        """Time a garbage collection, in processor time: what a busy machine takes away is not the collector's."""
        now = time.thread_time()
        if phase == "start":
            self._collecting_since = now
        else:
            pause = now - self._collecting_since
            self.seen[f"collections{info['generation']}"] += 1
            self.seen["collectorNs"] += round(pause * 1e9)
            self.longest_pause = max(self.longest_pause, pause)

    def watch(self) -> None:
        """Count scopes and hand-overs as well, for which Trio has no instrument."""
        seen = self.seen
        enter, hand_over = trio.CancelScope.__enter__, trio.lowlevel.TrioToken.run_sync_soon

        def entering(scope: trio.CancelScope) -> trio.CancelScope:
            seen["scopes"] += 1
            return enter(scope)

        # Whatever goes to a thread comes back this way, once.
        def handing_over(token: trio.lowlevel.TrioToken, *args: Any, **kwargs: Any) -> None:
            seen["handOvers"] += 1
            hand_over(token, *args, **kwargs)

        trio.CancelScope.__enter__ = entering  # type: ignore[method-assign]
        trio.lowlevel.TrioToken.run_sync_soon = handing_over  # type: ignore[assignment, method-assign]
        gc.callbacks.append(self.note_collection)

    def as_json(self) -> dict[str, Any]:
        """Return what was counted; the longest pause is the longest since it was last asked for."""
        longest, self.longest_pause = self.longest_pause, 0.0
        return {**self.seen, "longestPauseMs": round(longest * 1000, 2)}


# ── looking ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Profile:
    """Looks every two milliseconds of the process's time at what all threads are doing, and whose work that is."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, bool]] = Counter()

    def watch(self) -> None:
        """Begin to look."""
        signal.signal(signal.SIGPROF, self.look)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_EVERY, SAMPLE_EVERY)

    def look(self, _number: int, frame: FrameType | None) -> None:
        """Note who is at work: this thread, and another one unless it waits for something to do."""
        if frame is not None and self._note(frame):
            return
        for each in sys._current_frames().values():  # noqa: SLF001 - the one way to see other threads
            if each.f_code.co_filename != __file__ and self._is_writing(each) and self._note(each):
                return
        self.seen[IDLE, True] += 1

    def _note(self, frame: FrameType) -> bool:
        layer = layer_of(frame)
        if layer != IDLE:
            self.seen[layer, any(each in frame.f_code.co_filename for each in MACHINERY)] += 1
        return layer != IDLE

    def _is_writing(self, frame: FrameType) -> bool:
        return frame.f_code.co_filename.rpartition("/")[2] not in {"threading.py", "queue.py", "_thread_cache.py"}

    def as_json(self) -> dict[str, Any]:
        """Return the looks by layer: all of them, and those that met Trio, anyio or contextlib."""
        layers = {layer: [0, 0] for layer, _is_machinery in self.seen}
        for (layer, is_machinery), count in self.seen.items():
            layers[layer][0] += count
            layers[layer][1] += count * is_machinery
        return layers


def layer_of(frame: FrameType | None) -> str:
    """Return whose work a frame does: that of the innermost line of the project's that says what for."""
    path = ""
    found = IDLE
    while frame is not None:
        path = frame.f_code.co_filename
        layer = next((name for part, name in LAYERS if part in path), None)
        if layer is not None and "/site-packages/" not in path:
            if not layer.startswith("edge"):
                return layer
            found = layer
        elif found == IDLE and "/site-packages/" in path:
            found = next((name for part, name in OTHER_LAYERS.items() if part in path), IDLE)
        frame = frame.f_back
    return found


# ── the process ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _probe_of(mode: str) -> Any:
    if mode == "stages":
        sys.path.insert(1, str(Path(__file__).parents[1]))
        from scripts.bench_stages import Stages  # noqa: PLC0415 - imports what older revisions do not have

        return Stages()
    return Counts() if mode == "counts" else Profile()


def main(target: str, mode: str) -> None:
    """Install what was asked for, and be `python -m relay`."""
    probe = _probe_of(mode)
    probe.watch()

    def write(_number: int, _frame: FrameType | None) -> None:
        complete = Path(f"{target}.new")
        complete.write_text(json.dumps(probe.as_json()))
        complete.replace(target)

    signal.signal(signal.SIGUSR1, write)
    if isinstance(probe, trio.abc.Instrument):
        run, instrument = trio.run, probe

        def run_watched(*args: Any, **kwargs: Any) -> Any:
            return run(*args, **{**kwargs, "instruments": [*kwargs.get("instruments", ()), instrument]})

        trio.run = run_watched  # type: ignore[assignment]
    sys.path[0] = str(Path.cwd())  # as `python -m` has it
    sys.argv = sys.argv[sys.argv.index("relay") :]
    runpy.run_module("relay", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
