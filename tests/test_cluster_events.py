"""What `scripts/cluster` does to nodes: hosts of their own that vanish, and what is promised of restarts."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack

import pytest
import trio

from scripts.cluster_callers import Tally
from scripts.cluster_restarts import Exit, Restarts
from scripts.local_hosts import run_hosts
from scripts.local_postgresql import NotInstalled


async def test_a_host_that_vanishes_neither_answers_nor_refuses() -> None:
    """And is there again when its link is back. Without root, iproute2 or namespaces it is not tried."""
    with ExitStack() as stack:
        try:
            hosts = stack.enter_context(run_hosts(["relay-1"]))
        except NotInstalled as why:
            pytest.skip(str(why))
        host = hosts.by_name["relay-1"]
        command = [*host.wrapper, sys.executable, "-c", _ANSWER, host.address]
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        async with process.stdout:
            port = int(await process.stdout.receive_some())
            async with await trio.open_tcp_stream(host.address, port) as stream:
                assert await stream.receive_some() == b"here"
            host.vanish()
            with trio.move_on_after(0.5) as waiting:
                await trio.open_tcp_stream(host.address, port)
            assert waiting.cancelled_caught
            host.come_back()
            async with await trio.open_tcp_stream(host.address, port) as stream:
                assert await stream.receive_some() == b"here"
            process.kill()
            await process.wait()


_ANSWER = """
import socket, sys
server = socket.create_server((sys.argv[1], 0))
print(server.getsockname()[1], flush=True)
while True:
    server.accept()[0].sendall(b"here")
"""


def test_what_a_deployment_promises_is_judged() -> None:
    """Each exit within its time and with 0, no answer of the machine, no long wait."""
    restarts = Restarts(1, 10.0, lambda _text: None)
    restarts.exits = [Exit("relay-1", 1, 0, 11.9)]
    kept = Tally(calls=1, asked=1, answered=1, waits=[4.9])
    assert restarts.misses(kept) == []
    assert restarts.rows() == {"relay-1, round 1": "exit 0 after 11.90 of 12 s"}
    restarts.exits += [Exit("relay-2", 1, 1, 2.0), Exit("relay-3", 1, 0, 12.1)]
    assert len(restarts.misses(Tally(by_machine=1, waits=[5.1]))) == 4
