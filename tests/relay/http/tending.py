"""Connections that are looked after in another way, for one test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from relay.http.connection import Connection


@contextmanager
def tended(tend: Callable[[Connection, float], None]) -> Iterator[None]:
    """Have `tend` in the place of the connections' own, in this thread.

    The servers that a session's tests share run in another one, and go on as they are.
    """
    own, here = Connection.tend, threading.get_ident()

    def tend_here(connection: Connection, now: float) -> None:
        (tend if threading.get_ident() == here else own)(connection, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "tend", tend_here)
        yield
