"""A connection that only reads, and the thread that waits in it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import attrs
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from relay.errors import DatabaseError
from relay.store.server_socket import ServerSocket
from relay.store.trouble import cause, trouble_of, withhold_values

T = TypeVar("T")


class ReadLost(DatabaseError):
    """The server was lost before a read was over; read again, it may work."""


@attrs.define(eq=False)
class Reader:
    """The connection, which `_connect` opens when it is first used, and anew after it broke. One thread at a time."""

    _connect: Callable[[], Connection]
    lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    connection: Connection | None = attrs.field(default=None, init=False)
    _socket: ServerSocket | None = attrs.field(default=None, init=False)
    # Since when the thread has what it has, by the monotonic clock; infinite while it has nothing.
    _since: float = attrs.field(default=math.inf, init=False)

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that only reads. Raises `DatabaseError`; `ReadLost` if it may be tried again."""
        with self.lock:
            self._since = time.monotonic()
            try:
                if self.connection is None:
                    self.connection = self._connect()
                    self._socket = ServerSocket.of(self.connection)
                with self.connection.begin():
                    return work(self.connection)
            except SQLAlchemyError as error:
                trouble = trouble_of(error)
                if trouble is not None and trouble.reopen:
                    self._drop()
                withhold_values(error)
                kind = ReadLost if trouble is not None and trouble.passes else DatabaseError
                raise kind(f"The database could not be read: {cause(error)}.") from error
            finally:
                self._since = math.inf

    def break_off(self, seconds: float) -> None:
        """Break off what has taken longer than that; its thread gets an error. Never waits."""
        held = self._socket
        if held is not None and time.monotonic() - self._since >= seconds:
            held.break_off()

    def close(self) -> None:
        """Close the connection. The caller holds the lock."""
        if self.connection is not None:
            self.connection.close()
        if self._socket is not None:
            self._socket.close()
        self.connection = self._socket = None

    def _drop(self) -> None:
        if self.connection is not None:
            self.connection.invalidate()
        self.close()
