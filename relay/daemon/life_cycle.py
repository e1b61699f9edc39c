"""The daemon's life, in the order in which it happens: start, ready, drain, stop.

    one top nursery
    ├── signals                    the first drains, the second stops at once
    ├── database writer            relay.store; a node of a cluster has a second one, for its beats alone
    ├── gauges                     looks at the event loop, the queues and the waiting messages for the metrics
    ├── presence, calls            supervisors: the grace of lost clients, unused tickets
    ├── directory, leaving         of a node of a cluster: says that it is here, learns which agents are at home here
    ├── recovery                   takes up what runs that are over have left, when nobody has come back
    ├── transfers, reconciliation  supervisors: transfers under way, calls whose order was cancelled
    ├── audio, retention           delete what has had its time
    ├── token watch                ends sessions of agents whose token was changed
    ├── board, streams             what the console shows, while someone looks; ends streams of who is signed out
    └── listener ── one task a connection
        ├── voice socket ── Call   actors.call_session, with the connection's task as its parent
        ├── /sse, /messages        relay.mcp
        ├── streams of the console relay.console
        └── pages and webhooks     relay.twilio, relay.console

Start: the database is migrated and held, so that no second daemon takes our calls for an earlier run's; the address is
taken, the parts are wired, and earlier runs are over from now on. What they left in flight is continued if the carrier
asks for it, and becomes waiting messages if it does not in time.

Stop: on the first signal new calls are refused while everything else is still served; live calls may finish for the
drain time, then they hear a farewell, or move to the process that comes next; when none is left (or after a bounded
wait) and the carrier has asked what comes after them, the MCP sessions are closed, the listener stops, and the database
commits what it was given. A node of a cluster gives its agents to other nodes first, see `relay.daemon.leaving`.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial

import structlog
import trio

from actors.calls import Calls
from actors.errors import StoreFailed
from relay import logs
from relay.cluster.router import Router
from relay.daemon.address import RunningDaemon, announce
from relay.daemon.credentials import carrier_credentials
from relay.daemon.leaving import MOVE_SECONDS, Times
from relay.daemon.vendors import open_vendors
from relay.daemon.wiring import Relay
from relay.errors import RelayError
from relay.http import descriptors
from relay.http.gateway import Gateway
from relay.http.listener import ListenerOptions, address_of, bind, serve_on
from relay.settings import Settings
from relay.store.database import open_database
from relay.store.tenure import hold_database_lock, require_server
from relay.twilio.handoff_data import Moving, encode_handoff_data

log = structlog.get_logger(__name__)

# When the garbage collector passes through young, middle and all objects. A turn leaves next to nothing in cycles, and
# some 35 objects that last as long as its call: a pass finds them alive, and pauses every call for as long as it takes.
# Measured by `scripts/bench tail` at 200 calls, a turn a second: of 2000, 5 a young pass takes 2 ms and a middle one
# 5 to 7, which is a third of what the slowest hundredth of turns waits; of these 1 and 3.5 ms, and a twelfth. A full
# pass comes after some 170,000 turns with both; without any, what is left in cycles after all would pile up.
COLLECTOR_THRESHOLDS = (1000, 3, 1500)

# For the farewell to be heard (about six seconds) and the carrier to close.
FAREWELL_SECONDS = 15.0
# For the carrier to ask, when a call is over, what comes next. It asks at once, and if the relay is gone the caller
# hears an error; but its last webhook may not be configured, and is not worth a longer stop.
LAST_WEBHOOK_SECONDS = 2.0
# For messages to be stored of callers whose line was lost and who are not back. A database that does not answer within
# it is down; what they said is held in it, and becomes messages at the next start.
LAST_MESSAGES_SECONDS = 3.0
# For the database to take down that the run is over, and of that for the last beat, which is not to say later that it
# is not.
END_OF_RUN_SECONDS = 2.0
LAST_BEAT_SECONDS = 0.3
# For the process itself to end.
EXIT_SECONDS = 0.2
# For what passes through a node that says farewell to be retired by the others: they learn it within a second or two,
# and give turns that are in hand eight.
PASSING_SECONDS = 10.0
# What connections may still do after that: a webhook's answer, the end of a stream. A node has less time for it.
LISTENER_GRACE, NODE_GRACE = 1.0, 0.5
# How often calls are looked for that runs have left which are over.
RECOVERY_SECONDS = 5.0
# How soon a changed token ends the sessions that were opened with the old one.
TOKEN_WATCH_SECONDS = 2.0


class StoppedAtOnceError(RelayError):
    """The daemon did not drain, because it was told twice to stop."""


async def serve(  # noqa: ASYNC128 - started in run
    settings: Settings,
    *,
    local: bool = False,
    warnings: Sequence[str] = (),
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the daemon until SIGTERM or SIGINT; the started value is its URL. `warnings` about the settings are logged.

    Raises `RelayError` for what the operator can fix: a missing credential, a taken port, a broken database. On
    cancellation live calls store their unanswered utterances, within their epilogue's time.
    """
    logs.configure(settings.relay_log_level.upper(), logs.LogFormat(settings.relay_log_format))
    for warning in warnings:
        log.warning("setting_doubtful", why=warning)
    _raise_descriptor_limit(settings.relay_max_calls)
    async with AsyncExitStack() as stack:
        # Before all else: a signal during the start, too, must not kill us half-way.
        signals = stack.enter_context(_receive_signals())
        credentials = carrier_credentials(settings, local=local)
        sole = not settings.relay_node_url
        if not sole:
            require_server(settings.database_url)
        database = await stack.enter_async_context(open_database(settings.database_url, sole=sole))
        beats = None
        if not sole:
            beats = await stack.enter_async_context(open_database(settings.database_url, for_beats=True))
        stack.enter_context(hold_database_lock(settings.database_url))
        vendors = await stack.enter_async_context(open_vendors(settings, credentials, database))
        listeners = await bind(settings.relay_host, settings.relay_port)
        for listener in listeners:
            stack.push_async_callback(listener.aclose)
        host, port = address_of(listeners)
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        daemon = RunningDaemon(
            pid=os.getpid(), url=_reached_from_here(host, url), public_url=settings.public_url or url, is_local=local
        )
        relay = Relay(settings, credentials, database, vendors, daemon, beats=beats)
        stopping = trio.Event()
        async with _unwrapped(), trio.open_nursery() as nursery:
            nursery.start_soon(_obey, signals, relay.calls, stopping)
            await run(relay, listeners, url, stopping, task_status=task_status)
            nursery.cancel_scope.cancel("stopped")


async def run(
    relay: Relay,
    listeners: Sequence[trio.SocketListener],
    url: str,
    stopping: trio.Event,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve on these listeners until `stopping` is set, then drain; the started value is `url`, their address."""
    # After the port is ours: a daemon that cannot serve should change nothing.
    if relay.directory is None:
        await relay.journal.begin_run(url)
    else:
        await relay.directory.join()
    await relay.known_agents.load()
    async with trio.open_nursery() as supervisors:
        await _start_supervisors(relay, supervisors)
        stop_listening = trio.Event()
        # What is passed on to another node has a second one.
        each, grace = (1, LISTENER_GRACE) if relay.directory is None else (2, NODE_GRACE)
        most = descriptors.connections_for(descriptors.limit()) // each
        options = ListenerOptions(grace=grace, max_connections=most)
        async with trio.open_nursery() as listening:
            app = relay.app()
            serving = partial(
                serve_on, listeners, app, options, runs_in_place=app.runs_in_place, connections=relay.connections
            )
            await listening.start(partial(serving, stop=stop_listening))
            _settle_memory()
            with announce(relay.settings.database_url, relay.daemon):
                log.info("ready", url=url)
                task_status.started(url)
                await stopping.wait()
                times = await _drain(relay, app)
                drained = not relay.calls.live()
            relay.clients.close_all()
            relay.streams.close()
            stop_listening.set()
        supervisors.cancel_scope.cancel("stopped")
    await _end_run(relay, times.gone_at - trio.current_time())
    if relay.tracer is not None:
        await relay.tracer.stop(max(times.gone_at - trio.current_time() - EXIT_SECONDS, EXIT_SECONDS))
    log.info("stopped", drained=drained)


async def _recover(relay: Relay) -> None:
    """Take up what runs have left that are over for as long as a call may take to come back. Runs until cancelled."""
    patience = relay.settings.relay_return_seconds
    while True:
        try:
            recovered = await relay.journal.recover(patience)
        except StoreFailed as error:
            log.warning("not_recovered", cause=str(error))
        else:
            if recovered.calls or recovered.messages:
                log.warning("recovered", calls=recovered.calls, messages=recovered.messages)
            for agent_id in recovered.agent_ids:
                relay.clients.announce(agent_id)
        await trio.sleep(min(RECOVERY_SECONDS, patience / 4))


async def _end_run(relay: Relay, within: float) -> None:
    """Record that this run is over. A database that does not say so in time is left at that: the next start knows."""
    with trio.move_on_after(min(max(within - EXIT_SECONDS, EXIT_SECONDS), END_OF_RUN_SECONDS)):
        if relay.directory is not None:
            with trio.move_on_after(LAST_BEAT_SECONDS), suppress(StoreFailed):
                await relay.directory.members.settle()
        try:
            await relay.journal.end_run()
        except StoreFailed as error:
            log.warning("run_not_ended", cause=str(error))


async def _start_supervisors(relay: Relay, nursery: trio.Nursery) -> None:
    await nursery.start(relay.transfers.run)
    await nursery.start(relay.clients.run)
    nursery.start_soon(relay.presence.run)
    nursery.start_soon(relay.gauges.run)
    if relay.directory is not None:
        nursery.start_soon(relay.directory.run)
        nursery.start_soon(relay.node_connections.run)
    if relay.leaving is not None:
        nursery.start_soon(relay.leaving.retire_what_passes, MOVE_SECONDS)
    nursery.start_soon(relay.calls.run)
    nursery.start_soon(relay.seats.run)
    nursery.start_soon(_watch_tokens, relay)
    nursery.start_soon(relay.board.run)
    nursery.start_soon(relay.streams.run)
    nursery.start_soon(relay.examination.run)
    nursery.start_soon(relay.audio.run)
    if relay.vendors.carrier is not None:
        nursery.start_soon(relay.vendors.reconciliation.run, relay.vendors.carrier)
    nursery.start_soon(_recover, relay)
    nursery.start_soon(relay.retention.run, relay.settings.relay_retention_days)


async def _drain(relay: Relay, app: Gateway | Router) -> Times:
    """Take no new calls, and wait for those that go on, and for what passes; return by when the daemon is to be gone.

    Where other nodes stay and calls are handed over to them, that is a promise, and what is left by then is cut off.
    """
    began, patience = trio.current_time(), relay.settings.relay_drain_seconds
    leaving, hands_over = relay.leaving, relay.settings.relay_drain == "handover"
    is_followed = leaving is not None and await leaving.begin()
    times = Times.plan(began, patience, hands_over=hands_over and is_followed)
    with trio.move_on_at(times.closed_at):
        async with trio.open_nursery() as retiring:
            if leaving is not None:
                await leaving.move_agents(times.moves_at, retiring)
            await _end_calls(relay, times)
            retiring.cancel_scope.deadline = times.forced_at
        with trio.move_on_after(LAST_WEBHOOK_SECONDS):
            await relay.calls.all_ended()
        with trio.move_on_after(LAST_MESSAGES_SECONDS):
            await relay.calls.settle()
        if isinstance(app, Router):
            with trio.move_on_after(PASSING_SECONDS):
                await app.nothing_passes()
    if isinstance(app, Router):
        app.cut_passing()
    return times


async def _end_calls(relay: Relay, times: Times) -> None:
    now = trio.current_time()
    patience = max(times.moves_at - now, 0)
    if relay.settings.relay_drain != "handover":
        await relay.calls.drain(patience, FAREWELL_SECONDS)
        return
    directory = relay.directory
    await relay.calls.hand_over(
        encode_handoff_data(Moving()),
        patience=patience,
        moving=min(max(times.forced_at - now - patience, 0), MOVE_SECONDS),
        ending=FAREWELL_SECONDS,
        is_elsewhere=lambda agent_id: directory is not None and not directory.is_here(agent_id),
    )


# ── what a start and a stop are made of ─────────────────────────────────────────────────────────────────────────────


@contextmanager
def _receive_signals() -> Iterator[AsyncIterator[int]]:
    # A signal that comes while the receiver is being closed goes to the earlier handler, so that must ignore it: the
    # process is about to end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        yield signals


async def _obey(signals: AsyncIterator[int], calls: Calls, stopping: trio.Event) -> None:
    async for number in signals:
        live = len(calls.live())
        if stopping.is_set():
            raise StoppedAtOnceError(f"Stopped at once by a second signal; {live} live calls were cut.")
        log.info("draining", signal=signal.Signals(number).name, live_calls=live)
        stopping.set()


@asynccontextmanager
async def _unwrapped() -> AsyncIterator[None]:
    """Raise a lone `RelayError` of the nursery as itself: it is a sentence for the operator, not a crash."""
    failure: RelayError | None = None
    try:
        yield
    except* RelayError as group:
        errors: list[BaseException] = [group]
        while isinstance(errors[0], BaseExceptionGroup):
            errors = list(errors[0].exceptions)
        failure = errors[0] if isinstance(errors[0], RelayError) else None
    if failure is not None:
        raise failure


async def _watch_tokens(relay: Relay) -> None:
    """End sessions whose token was rotated, or whose agent was removed, by a command in another process."""
    while True:
        await trio.sleep(TOKEN_WATCH_SECONDS)
        for agent_id in relay.clients.agents():
            try:
                digest = await relay.agents.token_digest(agent_id)
            except RelayError as error:
                log.warning("tokens_not_checked", why=str(error))
                break
            relay.clients.close_agent(agent_id, but_of=digest)


def _raise_descriptor_limit(max_calls: int) -> None:
    got, needed = descriptors.raise_limit(), descriptors.needed_for(max_calls)
    if got < needed:
        log.warning(
            "few_descriptors", limit=got, needed=needed, why="RELAY_MAX_CALLS calls need more; see relay doctor"
        )


def _reached_from_here(host: str, url: str) -> str:
    """Return the address for this machine's own processes of a listener on `host`, which may be all addresses."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound
    return url.replace(host, everywhere[host], 1) if host in everywhere else url


def _settle_memory() -> None:
    """Freeze what was imported and built at start, so that the garbage collector does not scan it; then pace it.

    It is there to stay, and it is most of all objects: going through it again and again in full collections is a pause
    of a tenth of a second or two in every call at once.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    gc.enable()
