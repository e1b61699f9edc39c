"""What every stream of events needs: its headers, a comment, its end from either side."""

from __future__ import annotations

import trio

from relay.http.asgi import Receive, Send

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would collect the events
)
COMMENT = b": still here\n\n"
FAREWELL = 1.0
"""Seconds that the last write of a stream may take, when it was ended from our side."""


async def end_response(send: Send) -> None:
    """Finish a response that was streamed, also while the handler is being cancelled."""
    with trio.move_on_after(FAREWELL, shield=True):
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def hang_up(receive: Receive) -> bool:
    """Wait until the client has closed the connection, passing over what is left of its request.

    Return whether its request is complete. If not, the client may still be there: a stream that comes by way of another
    node has broken there. That node completes the request when the client has left (`relay.cluster.passed_request`).
    """
    is_complete = False
    while (message := await receive())["type"] != "http.disconnect":
        is_complete = not message.get("more_body", False)
    return is_complete
