"""Sockets for the load generator: one loop over all of them, and connections that call back.

    Wheel ──readable──▶ Connection ──bytes──▶ bench_http, bench_frames ──▶ callers and clients

No Trio here, nor any of the libraries that the daemon is built on: a generator of those costs as much a turn as the
daemon does, and on a small machine that would be measuring the generator. It speaks to one known peer on this machine
and takes its good manners for granted; the simulated carrier is the one that checks them.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
from collections.abc import Callable
from time import perf_counter

READ_AT_MOST = 1 << 18


class Wheel:
    """The loop: what is readable is read, what is due is called. `read_at` is when the bytes in hand were found."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.read_at = 0.0

    def watch(self, descriptor: int, on_event: Callable[[int], None], *, writes: bool = False) -> None:
        """Call back whenever this descriptor is readable; with `writes`, also when it is writable."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writes else 0)
        if descriptor in self._selector.get_map():
            self._selector.modify(descriptor, events, on_event)
        else:
            self._selector.register(descriptor, events, on_event)

    def forget(self, descriptor: int) -> None:
        """Watch it no more."""
        self._selector.unregister(descriptor)

    def at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back at a moment of `perf_counter`, or as soon after it as the loop gets there."""
        heapq.heappush(self._due, (when, next(self._numbers), callback))

    def run(self, is_done: Callable[[], bool]) -> None:
        """Turn until it is so."""
        while not is_done():
            now = perf_counter()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
            wait = max(0.0, self._due[0][0] - perf_counter()) if self._due else 1.0
            for key, events in self._selector.select(0 if is_done() else min(wait, 1.0)):
                self.read_at = perf_counter()
                key.data(events)


class Connection:
    """A TCP connection; `on_data` gets what comes, and empty bytes once at its end."""

    def __init__(self, wheel: Wheel, address: tuple[str, int], on_data: Callable[[bytes], None]) -> None:
        self._wheel = wheel
        self._on_data = on_data
        self._unsent = b""
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self.is_open = True
        wheel.watch(self._socket.fileno(), self._on_event)

    def send(self, data: bytes) -> None:
        """Send, now or as soon as the peer takes it; what is sent to a closed connection is dropped."""
        if not self.is_open:
            return
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            self._unsent = data[sent:]
            self._wheel.watch(self._socket.fileno(), self._on_event, writes=True)

    def close(self) -> None:
        """Close it, from this side; `on_data` hears of it as of any other end."""
        if self.is_open:
            self.is_open = False
            self._wheel.forget(self._socket.fileno())
            self._socket.close()
            self._on_data(b"")

    def _on_event(self, events: int) -> None:
        if events & selectors.EVENT_WRITE and self._unsent:
            unsent, self._unsent = self._unsent, b""
            self._wheel.watch(self._socket.fileno(), self._on_event)
            self.send(unsent)
        if events & selectors.EVENT_READ and self.is_open:
            try:
                data = self._socket.recv(READ_AT_MOST)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self._on_data(data)
            else:
                self.close()
