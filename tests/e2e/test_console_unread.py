"""Who opens a stream of the console and never reads it: cut off soon, and nothing is kept for it meanwhile."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.browser import OperatorAccess
from tests.e2e.parties import Access, ask, calling, connected, eventually, metrics
from tests.limits import HANGING

GROWTH = 4 << 20
"""Bytes by which the daemon may grow meanwhile, with what it keeps of the call."""


@contextmanager
def unread(daemon: LocalDaemon, operator: OperatorAccess, path: str) -> Iterator[socket.socket]:
    """Open a stream over a socket that has hardly any room, and do not read it."""
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        parts = urlsplit(daemon.url)
        peer.connect((parts.hostname, parts.port))
        asked = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {operator.token}\r\n"
        peer.sendall(f"{asked}Accept: text/event-stream\r\n\r\n".encode())
        yield peer


def is_cut_off(peer: socket.socket) -> bool:
    """Whether the daemon has reset the connection; nothing is read for that."""
    poll = select.poll()
    poll.register(peer, 0)
    return bool(poll.poll(0))


def memory_of(daemon: LocalDaemon) -> int:
    """Return how many bytes the daemon has."""
    fields = Path(f"/proc/{daemon.process.pid}/status").read_text().split()
    return int(fields[fields.index("VmRSS:") + 1]) * 1024


@pytest.mark.one_daemon("its memory is that of one process")
@pytest.mark.skipif(sys.platform != "linux", reason="The system does not tell of another process's memory.")
async def test_who_never_reads_is_cut_off(daemon: LocalDaemon, agent: Access, operator: OperatorAccess) -> None:
    """The page of a call in which much is said, as parts and as JSON; the call goes on as if nobody looked."""
    words = "We were talking about the weather. " * 50
    async with connected(agent), calling(daemon, agent) as call:
        await call.connected()
        await ask(call, words)
        before = memory_of(daemon)
        paths = (f"/console/stream?view=call&call={call.call_sid}", f"/console/api/calls/{call.call_sid}")
        with unread(daemon, operator, paths[0]) as page, unread(daemon, operator, paths[1]) as program:
            with trio.fail_after(HANGING):
                while not (is_cut_off(page) and is_cut_off(program)):
                    await ask(call, words)
                    await trio.sleep(0.2)  # a page is sent four times a second at most
            assert memory_of(daemon) < before + GROWTH

        async def has_none() -> bool:
            return (await metrics(daemon))["relay_console_streams"] == 0

        await eventually(has_none)
