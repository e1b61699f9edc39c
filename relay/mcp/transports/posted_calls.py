"""Plain tool calls, read out of the body of a POST.

    body ──the plain form?──▶ PostedCall       else as any message, see `http_body`

All that a client posts that staffs the phone by tools has this form, and read by the models of the SDK it would cost
more than the rest of its POST.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from mcp_types import ProgressToken, RequestId

from relay.mcp.transports.http_body import MOST_VALUES_ASKED, is_id

Value = str | int | float | bool | list[str] | None
"""What an argument of a plain call may be. Nothing nested: how deep a reader goes is where readers differ."""


class PostedCall(msgspec.Struct, frozen=True):
    """A request that calls a tool. With a token its client wants to know of progress."""

    id: RequestId
    name: str
    arguments: dict[str, Value]
    progress_token: ProgressToken | None


class _Meta(msgspec.Struct, forbid_unknown_fields=True):
    token: str | int | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="progressToken")


class _Params(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: dict[str, Value] | None = None
    meta: _Meta | None = msgspec.field(default=None, name="_meta")


class _Posted(msgspec.Struct, forbid_unknown_fields=True):
    jsonrpc: Literal["2.0"]
    id: str | int
    method: Literal["tools/call"]
    params: _Params


_POSTED = msgspec.json.Decoder(_Posted)


def read_call(body: bytes) -> PostedCall | None:
    """Read a body that calls a tool in the plain form; None if it is of another.

    Whatever this form does not name is read by `read_messages`, an error too. So what is read here is valid, and means
    the same, there: no member is passed over unread, and a body that is this short cannot hold too many values.
    """
    if len(body) >= MOST_VALUES_ASKED:
        return None
    try:
        posted = _POSTED.decode(body)
    except (msgspec.MsgspecError, ValueError):
        return None
    if not is_id(posted.id):
        return None
    params = posted.params
    token = msgspec.UNSET if params.meta is None else params.meta.token
    return PostedCall(posted.id, params.name, params.arguments or {}, None if token is msgspec.UNSET else token)
