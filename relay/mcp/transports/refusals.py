"""How a client's request is refused, and the one place where errors of JSON-RPC are made.

What was posted is answered in JSON-RPC, in which form the SDKs show an error to their users; any other request in the
words of `relay.http.asgi.refuse`. So is a POST of the older transport, whose clients read nothing but the status.
"""

from __future__ import annotations

from typing import Any

from mcp_types import INTERNAL_ERROR, INVALID_REQUEST, ErrorData, JSONRPCError, RequestId

from relay.http.asgi import Head, Header, Send, answer, refuse
from relay.mcp.transports.outbox import encode

CREDENTIALS_NEEDED = "A token is needed: Authorization: Bearer …"
CREDENTIALS_UNKNOWN = "This token is not known. `relay agents rotate ID` gives an agent a new one."
CHALLENGE: Header = (b"www-authenticate", b"Bearer")
RETRY_AFTER: Header = (b"retry-after", b"1")


def jsonrpc_error(
    number: int, message: str, request_id: RequestId | None = None, data: dict[str, Any] | None = None
) -> JSONRPCError:
    """Return the answer to a request that failed; the id is None where it is not known (JSON-RPC 2.0, section 5.1)."""
    more = {} if data is None else {"data": data}
    return JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=number, message=message, **more))


async def answer_error(send: Send, status: int, error: JSONRPCError, *headers: Header) -> None:
    """Send an error as the answer to what was posted."""
    await answer(send, status, encode(error), (b"content-type", b"application/json"), *headers)


async def refuse_invalid(send: Send, message: str, request_id: RequestId | None = None) -> None:
    """Refuse messages that have the form of some, and may not be sent here or now."""
    await answer_error(send, 400, jsonrpc_error(INVALID_REQUEST, message, request_id))


async def refuse_batch(send: Send) -> None:
    """Refuse a batch of messages, which only one revision has."""
    await refuse_invalid(send, "The body must be one JSON-RPC message: this revision has no batches.")


async def refuse_message(
    send: Send, status: int, code: str, message: str, *headers: Header, request_id: RequestId | None = None
) -> None:
    """Refuse what was posted: `code` is for programs, the number is JSON-RPC's for the client's fault, or for ours."""
    number = INVALID_REQUEST if status < 500 else INTERNAL_ERROR
    await answer_error(send, status, jsonrpc_error(number, message, request_id, {"code": code}), *headers)


async def refuse_request(
    head: Head,
    send: Send,
    status: int,
    code: str,
    message: str,
    *headers: Header,
    request_id: RequestId | None = None,
) -> None:
    """Refuse any request to `/mcp`, in the form that its method asks for."""
    if head.method == "POST":
        await refuse_message(send, status, code, message, *headers, request_id=request_id)
    else:
        await refuse(send, status, code, message, *headers)
