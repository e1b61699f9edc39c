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
import threading
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

EDGE = "/relay/http/"
"""Whose work is what it is called for, and only where nothing calls it its own: reading a request."""

SCHEDULER = ("scheduler, epoll", "")
JOURNAL_THREAD = ("journal", "its thread, SQLite")
REQUEST = ("posts of clients", "read loop, parse")
SENT = {
    "posts of clients": "the answer, by way of connection and socket",
}
"""What a layer's part is called where the edge works for it."""

LAYERS = (
    ("/actors/inbox", "", "actor", "inbox"),
    ("/actors/turn_queue", "", "asking the client", "turn queue"),
    ("/actors/call_session", "", "actor", "loop, reader and turn task"),
    ("/actors/alarm", "", "actor", "loop, reader and turn task"),
    ("/actors/calls", "", "actor", "loop, reader and turn task"),
    ("/actors/", "", "actor", "state machine, transcript"),
    ("/relay/dialling/opt_out", "", "actor", "opt-outs"),
    ("/relay/speech/", "", "speech filter", ""),
    ("/relay/store/call_journal", "", "journal", "the actor's side"),
    ("/relay/store/", "", "journal", "hand-over"),
    ("/relay/twilio/frames", "parse", "inbound frames", "codec"),
    ("/relay/twilio/frames", "", "outbound frames", "codec"),
    ("/relay/twilio/phone_line", "receive", "inbound frames", "from the socket"),
    ("/relay/twilio/phone_line", "", "outbound frames", "to the socket"),
    ("/relay/twilio/", "", "webhooks, upgrades", ""),
    ("/relay/mcp/sampling_request", "", "asking the client", "words to JSON"),
    ("/relay/mcp/sampler", "", "asking the client", "sampler"),
    ("/relay/mcp/pieces", "", "asking the client", "sampler"),
    ("/relay/mcp/session", "deliver", "posts of clients", "handler"),
    ("/relay/mcp/transports/outbox", "", "asking the client", "outbox"),
    ("/relay/mcp/transports/event_stream", "", "event stream", ""),
    ("/relay/mcp/transports/sse", "", "event stream", ""),
    ("/relay/mcp/transports/posted_answers", "", "posts of clients", "answer read"),
    ("/relay/mcp/transports/http_body", "", "posts of clients", "answer read"),
    ("/relay/mcp/transports/", "", "posts of clients", "handler"),
    ("/relay/mcp/app", "", "posts of clients", "handler"),
    ("/relay/mcp/tools/", "", "tools", ""),
    ("/relay/mcp/", "", "asking the client", "session, presence"),
    ("/relay/metrics", "", "metrics, log lines", ""),
    ("/relay/logs", "", "metrics, log lines", ""),
    ("/relay/reception", "", "webhooks, upgrades", ""),
)
"""A layer and its part, by what is in a file's path and in a function's name."""

LIBRARIES = {
    "/sqlalchemy/": JOURNAL_THREAD,
    "/quart": ("webhooks, upgrades", ""),
    "/hypercorn/": ("webhooks, upgrades", ""),
    "/mcp/": ("asking the client", "the SDK"),
}
"""The same for stacks without a line of the project's that says what for."""


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

Layer = tuple[str, str]


class Profile:
    """Looks every two milliseconds of the process's time at what all threads are doing, and whose work that is.

    A look counts for as much as its thread has worked since the look before, by that thread's own clock.
    """

    def __init__(self) -> None:
        self.seen: Counter[tuple[Layer, bool]] = Counter()
        self._clocks: dict[int, int] = {}

    def watch(self) -> None:
        """Begin to look."""
        signal.signal(signal.SIGPROF, self.look)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_EVERY, SAMPLE_EVERY)

    def look(self, _number: int, frame: FrameType | None) -> None:
        """Note who has been at work: this thread, which has the signal, and the others."""
        here = threading.get_ident()
        for thread in sys._current_frames():  # noqa: SLF001 - those that there are
            now = time.clock_gettime_ns(time.pthread_getcpuclockid(thread))
            worked = now - self._clocks.get(thread, now)
            self._clocks[thread] = now
            # The other one's frame comes late: by the time that it is seen, a write is often done.
            layer = layer_of(frame) if thread == here else JOURNAL_THREAD
            is_machinery = thread == here and frame is not None and _is_machinery(frame)
            self.seen[layer, is_machinery] += worked

    def as_json(self) -> dict[str, Any]:
        """Return the nanoseconds by layer and part: all of them, and those that met Trio, anyio or contextlib."""
        layers = {"\t".join(layer): [0, 0] for layer, _is_machinery in self.seen}
        for (layer, is_machinery), worked in self.seen.items():
            layers["\t".join(layer)][0] += worked
            layers["\t".join(layer)][1] += worked * is_machinery
        return layers


def _is_machinery(frame: FrameType) -> bool:
    return any(each in frame.f_code.co_filename for each in MACHINERY)


def layer_of(frame: FrameType | None) -> Layer:
    """Return whose work a frame does: that of the innermost line of the project's that says what for."""
    found = SCHEDULER
    while frame is not None:
        path, name = frame.f_code.co_filename, frame.f_code.co_name
        if "/site-packages/" in path:
            if found == SCHEDULER:
                found = next((layer for part, layer in LIBRARIES.items() if part in path), SCHEDULER)
        elif EDGE in path:
            found = REQUEST
        else:
            for part, of_function, layer, sort in LAYERS:
                if part in path and of_function in name:
                    return layer, SENT.get(layer, sort) if found == REQUEST else sort
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
