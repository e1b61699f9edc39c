"""Plain tool calls are read by a form of their own, and mean what they mean to the models of the SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp_types import CallToolRequestParams, JSONRPCRequest
from mcp_types.methods import validate_client_request
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from relay.mcp.transports.http_body import MOST_VALUES_ASKED, read_messages
from relay.mcp.transports.posted_calls import PostedCall, Value, read_call


def call(request_id: Any = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": {"name": "wait", **params}}


SAID: dict[str, Value] = {
    "callSid": "CA1",
    "turn": 1,
    "say": "Grüß Gott \U0001f642",
    "more": False,
    "waitSeconds": 0.5,
    "ids": ["m1"],
}


@pytest.mark.parametrize(
    ("posted", "read"),
    [
        (call(), PostedCall(1, "wait", {}, None)),
        (call(arguments={}), PostedCall(1, "wait", {}, None)),
        (call(arguments=None), PostedCall(1, "wait", {}, None)),
        (call(arguments=SAID), PostedCall(1, "wait", SAID, None)),
        (call("a", arguments={"say": None}), PostedCall("a", "wait", {"say": None}, None)),
        (call(_meta={}), PostedCall(1, "wait", {}, None)),
        (call(_meta=None), PostedCall(1, "wait", {}, None)),
        (call(_meta={"progressToken": 0}), PostedCall(1, "wait", {}, 0)),
        (call(_meta={"progressToken": ""}), PostedCall(1, "wait", {}, "")),
    ],
)
def test_plain_call_is_read_at_once(posted: dict[str, Any], read: PostedCall) -> None:
    """What clients that staff the phone by tools post is read by its own form, however its characters are written."""
    assert read_call(json.dumps(posted).encode()) == read
    assert read_call(json.dumps(posted, ensure_ascii=False).encode()) == read


@pytest.mark.parametrize(
    "posted",
    [
        call(None),
        call(True),
        call(1.0),
        call(2**63),
        call("x" * 257),
        call() | {"method": "tools/list"},
        call() | {"jsonrpc": "1.0"},
        call() | {"result": {}},
        call(name=1),
        call(arguments=[]),
        call(arguments={"say": {}}),
        call(arguments={"ids": [["m1"]]}),
        call(arguments={"say": "x" * MOST_VALUES_ASKED}),
        call(task={}),
        call(requestState="s"),
        call(_meta={"progressToken": True}),
        call(_meta={"progressToken": None}),
        call(_meta={"io.modelcontextprotocol/protocolVersion": "2026-07-28"}),
        [call()],
        {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "wait"}},
    ],
)
def test_whatever_else_is_left_to_be_read_in_full(posted: Any) -> None:
    """A member or a type that the plain form does not have is not guessed at."""
    assert read_call(json.dumps(posted).encode()) is None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 1900, json.dumps(call(arguments={"say": "_"})).encode().replace(b"_", b"\xff")]
)
def test_what_is_no_json_is_no_plain_call(body: bytes) -> None:
    """It is refused where everything is."""
    assert read_call(body) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["2.0", "wait", 1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SAID, "_meta"]), inner, max_size=3),
    max_leaves=5,
)
POSTED = st.fixed_dictionaries(
    {
        "jsonrpc": st.just("2.0") | JSON,
        "id": st.integers() | st.text() | JSON,
        "method": st.just("tools/call") | JSON,
        "params": st.fixed_dictionaries(
            {"name": st.just("wait") | JSON},
            optional={
                "arguments": st.dictionaries(st.text(), JSON, max_size=3) | JSON,
                "_meta": st.fixed_dictionaries({}, optional={"progressToken": JSON}) | JSON,
                "task": JSON,
            },
        )
        | JSON,
    },
    optional={"result": JSON, "error": JSON},
)


@given(POSTED, st.booleans())
def test_plain_form_means_what_the_models_mean(posted: dict[str, Any], ascii_only: bool) -> None:
    """Whatever is read by the plain form would have been accepted in full, and would have asked for the same."""
    body = json.dumps(posted, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    read = read_call(body)
    if read is None:
        return
    (message,), _is_batch = read_messages(body)
    assert isinstance(message, JSONRPCRequest)
    for version in HANDSHAKE_PROTOCOL_VERSIONS:
        validate_client_request(message.method, version, message.params)
    params = CallToolRequestParams.model_validate(message.params, by_name=False)
    arguments = params.arguments or {}
    assert (read.id, read.name, read.arguments) == (message.id, params.name, arguments)
    assert list(map(type, read.arguments.values())) == list(map(type, arguments.values()))
    assert (read.progress_token, type(read.id)) == (progress_token_from_params(message.params), type(message.id))
