"""A second handle on the socket of a server's connection: with it one thread ends what another one waits for.

    thread: psycopg waits for the answer ◀──the connection is lost── break_off() ◀── event loop

A server that is stopped, or a network that swallows what is sent, leaves a thread waiting for minutes, and the driver's
own ways to cancel ask that same server. Shutting the socket down asks nobody. The handle is a duplicate, because the
number of the driver's own may belong to a caller's socket by the time that it is used.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any

import attrs
from sqlalchemy import Connection


@attrs.frozen(eq=False)
class ServerSocket:
    """The handle; its owner closes it with the connection, which is closed at the server only then."""

    _duplicate: socket.socket

    @classmethod
    def of(cls, connection: Connection) -> ServerSocket | None:
        """Return a handle for a connection that is open; None for one to a file."""
        if connection.dialect.name != "postgresql":
            return None
        driver: Any = connection.connection.driver_connection
        return cls(socket.socket(fileno=os.dup(driver.fileno())))

    def break_off(self) -> None:
        """Shut the socket down, which loses the connection for both sides. For any thread; never waits."""
        with suppress(OSError):  # it is lost already, or closed
            self._duplicate.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the handle."""
        self._duplicate.close()
