"""What all tests of the doctor share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio


@pytest.fixture
async def time_limit() -> AsyncIterator[None]:
    """Fail a test that hangs."""
    with trio.fail_after(60):
        yield
