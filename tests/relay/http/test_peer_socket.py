"""A peer's socket: what goes out is whole and in order, and a peer that does not read holds nobody up for long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from relay.http.peer_socket import PeerSocket
from tests.limits import HANGING

LARGE = 8 << 20
"""Bytes: more than the kernel takes for a peer that does not read."""


@asynccontextmanager
async def connected(patience: float = 60) -> AsyncIterator[tuple[PeerSocket, trio.SocketStream]]:
    """Give a socket of ours, and the peer's end."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = listener.socket.getsockname()[:2]
    with trio.fail_after(HANGING):
        async with listener, await trio.open_tcp_stream(host, port) as peer:
            ours = PeerSocket(await listener.accept(), patience)
            try:
                yield ours, peer
            finally:
                ours.close()


async def read_all(peer: trio.SocketStream) -> bytes:
    return b"".join([bytes(each) async for each in peer])


async def test_bytes_come_and_then_the_end() -> None:
    """What the peer sent is received, and when it has left, nothing, again and again."""
    async with connected() as (ours, peer):
        assert ours.receive_now() is None
        await peer.send_all(b"hello")
        assert await ours.receive() == b"hello"
        await peer.aclose()
        assert [await ours.receive(), await ours.receive()] == [b"", b""]


async def test_cancelled_receive_loses_nothing() -> None:
    """Bytes that are there when a receiver is cancelled are the next one's."""
    async with connected() as (ours, peer):
        await peer.send_all(b"hello")
        with trio.CancelScope() as scope:
            scope.cancel()
            await ours.receive()
        assert scope.cancelled_caught
        assert await ours.receive() == b"hello"


async def test_receiver_can_be_woken() -> None:
    """It returns with nothing, and the socket goes on; without a receiver nothing happens."""
    async with connected() as (ours, peer), trio.open_nursery() as nursery:
        ours.wake()

        async def wake() -> None:
            await trio.testing.wait_all_tasks_blocked()
            assert ours.is_awaited
            ours.wake()

        nursery.start_soon(wake)
        assert await ours.receive() is None
        assert not ours.is_awaited
        await peer.send_all(b"hello")
        assert await ours.receive() == b"hello"


async def test_receiver_can_be_woken_while_others_have_their_turn() -> None:
    """One that lets other tasks run before it waits does not wait when it was woken meanwhile."""
    async with connected() as (ours, _peer):
        for operations in range(200):
            for _ in range(operations % 16):
                await ours.breathe()
            has_begun = trio.Event()

            async def receive(has_begun: trio.Event = has_begun) -> None:
                has_begun.set()
                assert await ours.receive() is None

            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await has_begun.wait()
                ours.wake()


async def test_each_message_goes_out_whole_and_in_order() -> None:
    """While one message waits for the peer, others wait for it; the end of the stream comes behind them all."""
    messages = [b"a" * LARGE, *(bytes([letter]) * 100 for letter in b"bcd")]
    async with connected() as (ours, peer), trio.open_nursery() as nursery:
        for each in messages:
            nursery.start_soon(ours.send, each)
            await trio.testing.wait_all_tasks_blocked()
        ours.end()
        assert ours.send_now(b"dropped")
        ours.wake()
        assert await read_all(peer) == b"".join(messages)


async def test_message_that_has_begun_is_not_cancelled() -> None:
    """Half of one would spoil what follows; one that has not begun is not sent at all."""
    async with connected() as (ours, peer), trio.open_nursery() as nursery:
        async with trio.open_nursery() as cancelled:
            cancelled.start_soon(ours.send, b"a" * LARGE)
            await trio.testing.wait_all_tasks_blocked()
            cancelled.start_soon(ours.send, b"b")
            await trio.testing.wait_all_tasks_blocked()
            cancelled.cancel_scope.cancel()
            nursery.start_soon(_expect, peer, b"a" * LARGE + b"c")
        await ours.send(b"c")
        ours.end()


async def _expect(peer: trio.SocketStream, data: bytes) -> None:
    assert await read_all(peer) == data


async def test_peer_that_does_not_read_is_given_up() -> None:
    """After the patience the socket is closed, for all who use it, and the peer is told although it has no room."""
    async with connected(patience=0.1) as (ours, peer):
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await ours.send(b"a" * LARGE)

            async def receive() -> None:
                assert await ours.receive() == b""

            for _ in range(2):
                nursery.start_soon(send)
            nursery.start_soon(receive)
        assert ours.is_closed
        assert not ours.send_now(b"a")
        with pytest.raises(trio.BrokenResourceError):
            await read_all(peer)


async def test_busy_peer_leaves_others_their_turn() -> None:
    """Operations that all go through at once let other tasks run in between."""
    async with connected() as (ours, peer):
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        await peer.send_all(b"a" * 1000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            for _ in range(200):
                await ours.send(b"a")
                await ours.breathe()
            nursery.cancel_scope.cancel()
        assert turns >= 10
