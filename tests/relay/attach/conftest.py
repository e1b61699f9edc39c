"""One daemon for all tests of this folder that need a whole one, looked after as in tests/e2e/conftest.py.

What the MCP SDK's client leaves behind is overlooked here as there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from relay.simulator.load.local_daemon import LocalDaemon, run_local_daemon


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Overlook the generators of its HTTP library that the SDK does not close when it is cancelled inside them."""
    overlook = pytest.mark.filterwarnings("ignore:Async generator 'http(x|core)2:ResourceWarning")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(overlook)


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
