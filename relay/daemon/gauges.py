"""What a daemon is at the moment in which its metrics are read, and what is looked at now and then for them.

    GET /metrics ──collect──▶ calls, client sessions, database, connections, voice sockets, tasks      nothing is kept
    run ── twice a second ──▶ is the event loop late? how full are the queues?
        ── each 15 s ───────▶ how many messages wait?                                                  one query

The price is paid by who reads: a turn pays nothing for what is here.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sized
from typing import TypeVar

import attrs
import structlog
import trio
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from actors.call_session import CallSession
from actors.calls import Calls
from relay import __version__
from relay.errors import STORE_FAILURES
from relay.mcp.client_sessions import ClientSessions
from relay.metrics import CallMeter
from relay.store.backlog import Backlog, Backlogs
from relay.store.database import Database

log = structlog.get_logger(__name__)

_Labels = TypeVar("_Labels", bound=tuple[str, ...])

BEAT_SECONDS = 0.5
BEATS_PER_LOOK = 30
"""How many beats lie between two looks at the waiting messages."""

_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
# A session reads, has a turn in hand, and one more that was cancelled and is about to end.
_TASKS_PER_CALL = 3
_OF_CALLS = f"{CallSession.__module__}.{CallSession.__qualname__}."


@attrs.define(eq=False, kw_only=True)
class DaemonGauges(Collector):
    """The gauges of one daemon; `run` beside it.

    `connections` are the listener's, `lines` the voice sockets that were accepted, `console_streams` returns how many
    streams of the console are open. `fault` returns why no calls are taken now, None if they are.
    """

    calls: Calls
    sessions: ClientSessions
    database: Database
    meter: CallMeter
    backlogs: Backlogs
    connections: Sized
    lines: Sized
    is_leaving: Callable[[], bool]
    fault: Callable[[], str | None]
    console_streams: Callable[[], int] = lambda: 0
    backlog: Backlog = attrs.field(factory=Backlog, init=False)
    _is_readable: bool = attrs.field(default=True, init=False)
    _highest: dict[str, int] = attrs.field(factory=dict, init=False)
    _lag: Histogram = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        registry: CollectorRegistry = self.meter.registry
        self._lag = Histogram(
            "relay_loop_lag_seconds",
            "How much later than it asked for a task of the event loop was run, twice a second",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        registry.register(self)

    async def run(self) -> None:
        """Measure the event loop, the queues and the waiting messages. Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look)
            while True:
                due = trio.current_time() + BEAT_SECONDS
                await trio.sleep_until(due)
                self._lag.observe(trio.current_time() - due)
                self._depths()

    async def _look(self) -> None:
        while True:
            try:
                self.backlog = await self.backlogs.look()
            except STORE_FAILURES as error:
                if self._is_readable:
                    log.warning("waiting_messages_not_counted", error=type(error).__name__)
                self._is_readable = False
            else:
                self._is_readable = True
            await trio.sleep(BEAT_SECONDS * BEATS_PER_LOOK)

    # ── when the metrics are read ───────────────────────────────────────────────────────────────────────────────────

    def describe(self) -> Iterator[Metric]:
        """Return nothing: the registry need not look here before the daemon is up."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Return the gauges as they are now."""
        yield _gauge(
            "relay_build_info",
            "The version of the relay",
            {(__version__, platform.python_version()): 1},
            ("version", "python"),
        )
        yield _gauge("relay_draining", "Whether the daemon is being stopped", {(): self.is_leaving()})
        is_ready = self._is_readable and self.fault() is None
        yield _gauge("relay_ready", "Whether calls can be taken, as /health/ready says", {(): is_ready})
        yield from self._messages()
        ways = {each: float(number) for each, number in self.sessions.by_reachability().items()}
        yield _gauge(
            "relay_sessions", "Client sessions, by transport and how a turn reaches them", ways, ("transport", "way")
        )
        depths = {(queue,): float(depth) for queue, depth in self._depths().items()}
        what = "events of the fullest call (inbox), bytes of the client that reads least (outbox), writes (writer)"
        yield _gauge("relay_queue_depth", f"How full a queue is: {what}", depths, ("queue",))
        highest = {(queue,): float(depth) for queue, depth in self._highest.items()}
        yield _gauge(
            "relay_queue_depth_high", "The highest depth of a queue that was seen, twice a second", highest, ("queue",)
        )
        yield _gauge("relay_listener_connections", "Connections that are open at the port", {(): len(self.connections)})
        yield _gauge("relay_console_streams", "Streams to pages of the console", {(): self.console_streams()})
        residue = {(kind,): float(number) for kind, number in self.residue().items()}
        yield _gauge("relay_residue", "What is left of calls that are over", residue, ("kind",))

    def _messages(self) -> Iterator[Metric]:
        backlog = self.backlog
        states: dict[tuple[str, ...], float] = {("waiting",): backlog.waiting, ("held",): backlog.held}
        yield _gauge(
            "relay_waiting_messages",
            "Messages that no client has confirmed, of all agents on the database, by state",
            states,
            ("state",),
        )
        # Of this moment, and not of that of the look; a clock that was set back makes nothing younger than new.
        age = 0.0 if backlog.oldest is None else max((self.calls.now() - backlog.oldest).total_seconds(), 0.0)
        yield _gauge("relay_oldest_waiting_seconds", "The age of the oldest of them, 0 without any", {(): age})

    def _depths(self) -> dict[str, int]:
        depths = {
            "inbox": max((each.inbox.depth for each in self.calls.live()), default=0),
            "outbox": self.sessions.most_unread(),
            "writer": self.database.queued,
        }
        for queue, depth in depths.items():
            self._highest[queue] = max(self._highest.get(queue, 0), depth)
        return depths

    def residue(self) -> dict[str, int]:
        """Count the tasks, sockets and entries of calls that are over: what live calls need is not in it.

        A call that has just ended may have some for a moment. Only inside Trio.
        """
        live = {each.info.call_sid for each in self.calls.live()}
        entries = self.calls.left_over() + len(self.meter.calls - live)
        return {
            "tasks": max(_tasks_of_calls() - _TASKS_PER_CALL * len(live), 0),
            "sockets": max(len(self.lines) - len(live), 0),
            "entries": entries,
        }


def _tasks_of_calls() -> int:
    """Count the tasks that sessions of calls have started, wherever they are."""
    root = trio.lowlevel.current_root_task()
    found, tasks = 0, [] if root is None else [root]
    while tasks:
        task = tasks.pop()
        found += task.name.startswith(_OF_CALLS)
        for nursery in task.child_nurseries:
            tasks.extend(nursery.child_tasks)
    return found


def _gauge(name: str, what: str, values: Mapping[_Labels, float], labels: tuple[str, ...] = ()) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, what, labels=labels)
    for label, value in values.items():
        family.add_metric(label, value)
    return family
