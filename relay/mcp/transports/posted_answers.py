"""Plain answers to turns, read out of the body of a POST: a result with text, or a piece of it sent as progress.

    body ──one of two plain forms?──▶ PostedResult, PostedPiece       else as any message, see `http_body`

Nearly all that a client posts during a call has one of these forms, and read by the models of the SDK it would cost
more than the rest of its POST.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from relay.mcp.pieces import join_texts
from relay.mcp.transports.http_body import MOST_VALUES


class PostedResult(msgspec.Struct, frozen=True):
    """The result of a sampling request, whose text is None if it has no block of text."""

    request_id: str
    text: str | None


class PostedPiece(msgspec.Struct, frozen=True):
    """A piece of an answer to a sampling request, which a client sends as progress."""

    request_id: str
    number: float
    text: str


class _Text(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["text"]
    text: str


class _Result(msgspec.Struct, forbid_unknown_fields=True):
    content: _Text | list[_Text]
    role: str = ""
    model: str = ""
    stop_reason: str | None = msgspec.field(default=None, name="stopReason")


class _Progress(msgspec.Struct, forbid_unknown_fields=True):
    token: str = msgspec.field(name="progressToken")
    progress: float
    message: str = ""
    total: float | None = None


class _Posted(msgspec.Struct, forbid_unknown_fields=True):
    jsonrpc: Literal["2.0"]
    id: str | msgspec.UnsetType = msgspec.UNSET
    result: _Result | msgspec.UnsetType = msgspec.UNSET
    method: Literal["notifications/progress"] | msgspec.UnsetType = msgspec.UNSET
    params: _Progress | msgspec.UnsetType = msgspec.UNSET


_POSTED = msgspec.json.Decoder(_Posted)


def read_answer(body: bytes) -> PostedResult | PostedPiece | None:
    """Read a body of one of the two forms that nearly every answer to a turn has; None if it is of another.

    Whatever these forms do not name is read by `read_messages`, an error too. So what is read here is valid, and means
    the same, there: no member is passed over unread, and a body that is this short cannot hold too many values.
    """
    if len(body) >= MOST_VALUES:
        return None
    try:
        posted = _POSTED.decode(body)
    except (msgspec.MsgspecError, ValueError):
        return None
    unset = msgspec.UNSET
    if posted.id is not unset and posted.result is not unset and posted.method is unset and posted.params is unset:
        content = posted.result.content
        blocks = content if isinstance(content, list) else [content]
        return PostedResult(posted.id, join_texts([each.text for each in blocks]))
    if posted.method is not unset and posted.params is not unset and posted.id is unset and posted.result is unset:
        return PostedPiece(posted.params.token, posted.params.progress, posted.params.message)
    return None
