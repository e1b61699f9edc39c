"""Whole daemons for the tests of this directory: some shared by all, each in a process of its own.

They run on SQLite; those of tests that are marked `both_engines` again on PostgreSQL, and with `--postgresql` all do.
With `--cluster` each is three nodes, see `tests.e2e.three_nodes`.

A daemon takes two or three seconds to start, so those that no test stops or kills are started once a session. They, and
the stand-in for Claude behind them, are looked after by an event loop in a thread, because a test's own loop ends with
the test. Tests keep out of each other's way by agents of their own.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from relay.simulator.claude.stand_in import Behaviour, ClaudeStandIn, serve_stand_in
from relay.simulator.load.local_daemon import ACCOUNT, LocalDaemon
from tests.e2e.browser import Chromium, OperatorAccess, find_chromium, register_operator
from tests.e2e.calling_out import OWN_NUMBER, Outside, free_port, open_outside
from tests.e2e.parties import Access, carrier_of, register
from tests.e2e.three_nodes import run_three_nodes
from tests.forked_process import daemons_with, run_local_daemon
from tests.postgresql_server import PostgresqlServer, run_postgresql

IMPATIENCE = 0.5
"""RELAY_CLIENT_TIMEOUT of the daemon that does not wait eight seconds for a silent client."""


ALLOWED_ORIGIN = "https://inspector.example"
"""A web page that may use the daemon of default settings."""

MOST_SECONDS = 240
"""What a test may take before it counts as hanging; most take a few seconds, and on a busy machine a minute."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of this directory, and fail what hangs.

    The limit is put around the test itself, because a fixture's own scope does not reach the test: what happens at its
    `yield` is waited for, not cancelled.
    """
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
                item.obj = _limited(item.obj)


def _limited(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def limited(*fixtures: Any, **named: Any) -> None:
        with trio.fail_after(MOST_SECONDS):
            await test(*fixtures, **named)

    return limited


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the engines of each test."""
    if metafunc.config.getoption("--cluster"):
        engines = ["cluster"]
    elif metafunc.config.getoption("--postgresql"):
        engines = ["postgresql"]
    elif metafunc.definition.get_closest_marker("both_engines"):
        engines = ["sqlite", "postgresql"]
    else:
        engines = ["sqlite"]
    metafunc.parametrize("database_engine", engines, indirect=True, scope="session")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """Run a server for all daemons of this process, which no test kills."""
    with run_postgresql(durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def other_postgresql() -> Iterator[PostgresqlServer]:
    """Run another server, to which tests do what no shared daemon is to notice."""
    with run_postgresql() as server:
        yield server


@pytest.fixture
def server(other_postgresql: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """Yield a server that runs, whatever an earlier test has done to it; its `url` is of a database of this test."""
    with other_postgresql.with_a_new_database():
        yield other_postgresql


@pytest.fixture(scope="session", autouse=True)
def database_engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Start daemons on this engine: every fixture of a daemon asks for it."""
    engine: str = request.param
    if engine == "sqlite":
        yield engine
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    with daemons_with(server.new_database, run_three_nodes if engine == "cluster" else None):
        yield engine


@pytest.fixture(autouse=True)
def _only_on_sqlite(database_engine: str, request: pytest.FixtureRequest) -> None:
    mark = request.node.get_closest_marker("sqlite_only")
    if mark is not None and database_engine != "sqlite":
        pytest.skip(mark.args[0])


@pytest.fixture(autouse=True)
def _only_with_one_daemon(database_engine: str, request: pytest.FixtureRequest) -> None:
    mark = request.node.get_closest_marker("one_daemon")
    if mark is not None and database_engine == "cluster":
        pytest.skip(mark.args[0])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Count what did not run with a cluster, by the reason."""
    if config.getoption("--cluster"):
        reasons = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()))
        terminalreporter.section(f"not run with --cluster: {reasons.total()}")
        for reason, tests in reasons.most_common():
            terminalreporter.line(f"{tests:4} {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    """Run an event loop in a thread for the whole session."""
    with start_blocking_portal("trio") as portal:
        yield portal


@asynccontextmanager
async def _stand_in() -> AsyncIterator[ClaudeStandIn]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve_stand_in)
        nursery.cancel_scope.cancel("the session is over")


@pytest.fixture(scope="session")
def stand_in(portal: BlockingPortal) -> Iterator[ClaudeStandIn]:
    """Run the stand-in for Claude that the shared daemons ask."""
    with portal.wrap_async_context_manager(_stand_in()) as stand_in:
        yield stand_in


@pytest.fixture
def claude(stand_in: ClaudeStandIn) -> Iterator[ClaudeStandIn]:
    """Return the stand-in, to be made slow or broken for one test."""
    yield stand_in
    stand_in.behaviour = Behaviour()


@pytest.fixture(scope="session")
def machine(stand_in: ClaudeStandIn) -> dict[str, str]:
    """Return settings of a daemon with an answering machine."""
    return {"ANTHROPIC_API_KEY": "test", "ANTHROPIC_BASE_URL": stand_in.url, "TWILIO_ACCOUNT_SID": ACCOUNT}


@pytest.fixture(scope="session")
def daemon(
    portal: BlockingPortal, database_engine: str, machine: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalDaemon]:
    """Run a daemon as it is by default, with an answering machine, and one web page allowed."""
    settings = machine | {"RELAY_ALLOWED_ORIGINS": ALLOWED_ORIGIN}
    with portal.wrap_async_context_manager(run_local_daemon(tmp_path_factory.mktemp("daemon"), settings)) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def hasty_daemon(
    portal: BlockingPortal, database_engine: str, machine: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalDaemon]:
    """Run a daemon that gives a client half a second to answer."""
    settings = machine | {"RELAY_CLIENT_TIMEOUT": str(IMPATIENCE)}
    with portal.wrap_async_context_manager(run_local_daemon(tmp_path_factory.mktemp("hasty"), settings)) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def keyless_daemon(
    portal: BlockingPortal, database_engine: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalDaemon]:
    """Run a daemon without an answering machine."""
    with portal.wrap_async_context_manager(run_local_daemon(tmp_path_factory.mktemp("keyless"))) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Run a browser for the whole session; SCREENSHOTS_FOLDER says where its pictures are kept."""
    path = find_chromium()
    kept = os.environ.get("SCREENSHOTS_FOLDER")
    pictures = Path(kept) if kept else tmp_path_factory.mktemp("screenshots")
    pictures.mkdir(parents=True, exist_ok=True)
    browser = Chromium(pictures, path)
    yield browser
    browser.close()


@pytest.fixture
async def operator(daemon: LocalDaemon) -> OperatorAccess:
    """Register an operator of its own, who may act, with the daemon of default settings."""
    return await register_operator(daemon)


@pytest.fixture(scope="session")
def rest_port() -> int:
    """Return the port of the carrier's REST API."""
    return free_port()


@pytest.fixture(scope="session")
def dialling_daemon(
    portal: BlockingPortal,
    database_engine: str,
    machine: dict[str, str],
    rest_port: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LocalDaemon]:
    """Run a daemon that can call out."""
    settings = machine | {
        "TWILIO_API_BASE_URL": f"http://127.0.0.1:{rest_port}",
        "RELAY_RING_SECONDS": "5",
        "RELAY_CLIENT_TIMEOUT": "2",
    }
    with portal.wrap_async_context_manager(run_local_daemon(tmp_path_factory.mktemp("dialling"), settings)) as daemon:
        yield daemon


@pytest.fixture
async def outside(dialling_daemon: LocalDaemon, rest_port: int) -> AsyncIterator[Outside]:
    """Serve the carrier's REST API to the daemon that can call out."""
    async with carrier_of(dialling_daemon) as carrier, open_outside(dialling_daemon, carrier, rest_port) as outside:
        yield outside


@pytest.fixture
async def dialling_agent(dialling_daemon: LocalDaemon) -> Access:
    """Register an agent with a number at the daemon that can call out."""
    return await register(dialling_daemon, number=OWN_NUMBER)


@pytest.fixture
async def agent(daemon: LocalDaemon) -> Access:
    """Register an agent with the daemon of default settings."""
    return await register(daemon)


@pytest.fixture
async def http(daemon: LocalDaemon) -> AsyncIterator[httpx2.AsyncClient]:
    """Open an HTTP client of nobody's."""
    async with httpx2.AsyncClient(base_url=daemon.url) as client:
        yield client
