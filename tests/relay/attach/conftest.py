"""One daemon for all tests of this folder that need a whole one, looked after as in tests/e2e/conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from relay.simulator.load.local_daemon import LocalDaemon
from tests.forked_process import run_local_daemon


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    """Run an event loop in a thread for the whole session."""
    with start_blocking_portal("trio") as portal:
        yield portal


@pytest.fixture(scope="session")
def daemon(portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalDaemon]:
    """Run a daemon without an answering machine."""
    with portal.wrap_async_context_manager(run_local_daemon(tmp_path_factory.mktemp("attach"))) as daemon:
        yield daemon
