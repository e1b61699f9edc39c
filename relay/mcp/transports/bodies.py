"""Receiving what clients post: its headers, its body in time and within bounds, the messages in it.

A body is kept in memory until its last byte is there, and a peer decides when that is. Its own length is bounded, the
number of connections is not one agent's, so the sum is bounded as well, for all of an agent's clients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
import trio
from mcp_types import JSONRPCMessage

from relay.http.asgi import Receive, Send
from relay.http.responses import (
    LONGEST_MESSAGE,
    BodyTooLarge,
    Disconnected,
    Head,
    answer_error,
    read_body,
    refuse_message,
)
from relay.mcp.transports.http_body import MalformedError, read_messages

MOST_UNDER_WAY = 16 << 20
"""Bytes: sixteen of the longest messages, or some thousand answers of usual length."""


_JSON = "application/json"
_EVENTS = "text/event-stream"


class TooMuchUnderWay(Exception):
    """The agent's clients have sent too many bytes of bodies that are not complete yet."""


@attrs.define(eq=False)
class Bodies:
    """The bytes that are under way, by agent. A body has `patience` seconds to come."""

    patience: float
    most: int = MOST_UNDER_WAY
    _under_way: Counter[str] = attrs.field(factory=Counter, init=False)

    @contextmanager
    def reading(self, agent_id: str) -> Iterator[Callable[[int], None]]:
        """Yield a function that counts an agent's bytes until the end of the block; it raises `TooMuchUnderWay`."""
        mine = 0

        def count(size: int) -> None:
            nonlocal mine
            mine += size
            self._under_way[agent_id] += size
            if self._under_way[agent_id] > self.most:
                raise TooMuchUnderWay

        try:
            yield count
        finally:
            self._under_way[agent_id] -= mine
            if not self._under_way[agent_id]:
                del self._under_way[agent_id]


async def receive_messages(
    bodies: Bodies, agent_id: str, head: Head, receive: Receive, send: Send
) -> tuple[bytes, list[JSONRPCMessage], bool] | None:
    """Receive a POST to `/mcp`: its body, the messages in it, and whether they came as a batch; None when refused."""
    if head.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
        await refuse_message(send, 415, "unsupported_media_type", f"Content-Type must be {_JSON}.")
        return None
    if not head.accepts(_JSON, _EVENTS):
        await refuse_message(send, 406, "not_acceptable", f"Accept must name both {_JSON} and {_EVENTS}.")
        return None
    try:
        with trio.move_on_after(bodies.patience), bodies.reading(agent_id) as note:
            body = await read_body(receive, LONGEST_MESSAGE, note)
            return body, *read_messages(body)
        await refuse_message(send, 408, "too_slow", "The body of the request did not come in time.")
    except Disconnected:
        pass
    except BodyTooLarge:
        await refuse_message(send, 413, "too_large", f"A message may have at most {LONGEST_MESSAGE} bytes.")
    except TooMuchUnderWay:
        message = "Your clients send too much at once; wait until some of it is through."
        await refuse_message(send, 429, "too_many_requests", message, (b"retry-after", b"1"))
    except MalformedError as error:
        await answer_error(send, 400, error.code, str(error), request_id=error.request_id)
    return None
