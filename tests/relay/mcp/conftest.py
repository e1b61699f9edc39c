"""What the tests of the MCP side start from."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.relay.mcp.mcp_relay import RunningRelay, running_relay


@pytest.fixture
async def relay() -> AsyncIterator[RunningRelay]:
    """The MCP side on a free port, with agents anna and bert."""
    async with running_relay() as running:
        yield running
