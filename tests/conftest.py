"""What holds for every test."""

from __future__ import annotations

import gc

import pytest

# Collecting imports all of the project and makes only what stays.
gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep the garbage collector from what collecting made: seven thousand tests, through which each pass would go."""
    del session
    gc.collect()
    gc.freeze()
    gc.enable()
