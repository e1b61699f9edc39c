"""The body of a POST to `/mcp`: one JSON-RPC message, or a batch of them. Pure: no I/O, no session."""

from __future__ import annotations

from mcp_types import INVALID_REQUEST, PARSE_ERROR, JSONRPCMessage, JSONRPCRequest, jsonrpc_message_adapter
from pydantic import TypeAdapter, ValidationError

MOST_IN_A_BATCH = 100
_batch_adapter: TypeAdapter[list[JSONRPCMessage]] = TypeAdapter(list[JSONRPCMessage])


class MalformedError(Exception):
    """Say that a body is no message: a JSON-RPC error code and a sentence."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_messages(body: bytes) -> tuple[list[JSONRPCMessage], bool]:
    """Read the messages of a body, and whether they came as a batch. Raises `MalformedError`.

    Which revisions have batches is for the caller to know; that `initialize` is in none holds for all of them.
    """
    is_batch = body.lstrip()[:1] == b"["
    try:
        if is_batch:
            messages = _batch_adapter.validate_json(body, by_name=False)
        else:
            messages = [jsonrpc_message_adapter.validate_json(body, by_name=False)]
    except ValidationError as error:
        if any(each["type"] == "json_invalid" for each in error.errors(include_url=False, include_input=False)):
            raise MalformedError(PARSE_ERROR, "The body must be JSON.") from None
        raise MalformedError(INVALID_REQUEST, "The body must be one JSON-RPC 2.0 message.") from None
    if not 0 < len(messages) <= MOST_IN_A_BATCH:
        raise MalformedError(INVALID_REQUEST, f"A batch must have 1 to {MOST_IN_A_BATCH} messages.")
    if is_batch and any(isinstance(each, JSONRPCRequest) and each.method == "initialize" for each in messages):
        raise MalformedError(INVALID_REQUEST, "An initialize request must not be part of a batch.")
    return messages, is_batch
