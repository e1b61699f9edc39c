"""One address in front of one daemon after another, as a load balancer has it: what comes while none is up waits.

carrier, client ──▶ FrontDoor ──▶ the daemon that `lead_to` named last, or the next one
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

_BYTES_AT_ONCE = 65_536


@attrs.define(eq=False)
class FrontDoor:
    """An open address; `url` is what the carrier and clients know."""

    url: str
    _address: tuple[str, int] | None = None
    _is_open: trio.Event = attrs.field(factory=trio.Event)

    def lead_to(self, url: str) -> None:
        """Lead every connection from now on, and those that wait, to the daemon at this address."""
        host, _, port = url.removeprefix("http://").partition(":")
        self._address = (host, int(port))
        self._is_open.set()

    def close(self) -> None:
        """Let whatever comes from now on wait for the next daemon."""
        self._is_open = trio.Event()

    async def serve(self, here: trio.SocketStream) -> None:
        """Pass on what goes both ways, until either side is done; both are closed then."""
        async with here:
            await self._is_open.wait()
            assert self._address is not None
            try:
                async with await trio.open_tcp_stream(*self._address) as there, trio.open_nursery() as nursery:
                    nursery.start_soon(_pump, there, here, nursery.cancel_scope)
                    await _pump(here, there, nursery.cancel_scope)
            except OSError:
                return


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, over: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(_BYTES_AT_ONCE):
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    over.cancel()


@asynccontextmanager
async def open_front_door() -> AsyncIterator[FrontDoor]:
    """Open an address on loopback for the length of the block."""
    async with trio.open_nursery() as nursery:
        (listener, *_more) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        door = FrontDoor(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
        await nursery.start(trio.serve_listeners, door.serve, [listener])
        yield door
        nursery.cancel_scope.cancel("the door is closed")
