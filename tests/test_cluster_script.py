"""What `scripts/cluster` is made of: doors that can be shut, and the table of what callers noticed."""

from __future__ import annotations

import pytest
import trio
from click.testing import CliRunner

from scripts import cluster as script
from scripts.cluster_callers import Tally
from scripts.local_cluster import Door
from scripts.local_postgresql import free_port


async def test_a_shut_door_keeps_what_comes_until_it_is_opened() -> None:
    """Connections stay, new ones are made, and nothing is lost."""
    target = await trio.open_tcp_listeners(0, host="127.0.0.1")
    door = Door(free_port(), target[0].socket.getsockname()[1])

    async def echo(stream: trio.SocketStream) -> None:
        async for piece in stream:
            await stream.send_all(piece)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, target)
        await nursery.start(door.serve)
        async with await trio.open_tcp_stream("127.0.0.1", door.port) as stream:
            await stream.send_all(b"one")
            assert await stream.receive_some() == b"one"
            door.shut()
            await stream.send_all(b"two")
            with trio.move_on_after(0.1) as waiting:
                await stream.receive_some()
            assert waiting.cancelled_caught
            async with await trio.open_tcp_stream("127.0.0.1", door.port) as later:
                await later.send_all(b"three")
                door.open()
                assert await stream.receive_some() == b"two"
                assert await later.receive_some() == b"three"
        nursery.cancel_scope.cancel()


async def test_a_door_to_nobody_closes() -> None:
    """As the port itself would."""
    door = Door(free_port(), free_port())
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve)
        async with await trio.open_tcp_stream("127.0.0.1", door.port) as stream:
            assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()


def test_a_run_in_which_every_turn_was_answered_is_clean() -> None:
    """Also where the machine answered, or a caller had to say it again."""
    tally = Tally(calls=1, asked=2, answered=1, by_machine=1, repeated=1, waits=[0.1, 2.0], sessions=[0.25])
    assert tally.is_clean
    assert tally.rows()["longest wait for an answer"] == "2.00 s"
    assert tally.rows()["next session after, p50 / p99 / max"] == "250 / 250 / 250 ms"


@pytest.mark.parametrize("tally", [Tally(lost=1), Tally(crossed=1), Tally(malformed=1)])
def test_a_run_with_a_loss_is_not(tally: Tally) -> None:
    """Whatever it is that was lost."""
    assert not tally.is_clean


def test_a_call_that_was_cut_is_a_loss() -> None:
    """And the table says why it was."""
    tally = Tally(calls=1)
    tally.cut["the call is over: failed"] += 1
    assert not tally.is_clean
    assert tally.rows()["calls cut"] == "1 (1 × the call is over: failed)"


@pytest.mark.parametrize("command", ["demo", "kill", "roll", "partition", "outage"])
def test_each_command_has_a_help(command: str) -> None:
    """It says what happens, without starting anything."""
    result = CliRunner().invoke(script.main, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
