"""Plain answers are read by forms of their own, and mean what they mean to the models of the SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import JSONRPCNotification, JSONRPCResponse

from relay.mcp.pieces import text_of
from relay.mcp.transports.http_body import MOST_VALUES, read_messages
from relay.mcp.transports.posted_answers import PostedPiece, PostedResult, read_answer


def result(content: Any, **others: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": "q", "result": {"role": "assistant", "model": "m", "content": content, **others}}


def piece(**params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "q", **params}}


TEXT = {"type": "text", "text": "Grüß Gott \U0001f642"}


@pytest.mark.parametrize(
    ("posted", "read"),
    [
        (result(TEXT), PostedResult("q", TEXT["text"])),
        (result(TEXT, stopReason="endTurn"), PostedResult("q", TEXT["text"])),
        (result([TEXT, {"type": "text", "text": "two"}]), PostedResult("q", f"{TEXT['text']}\ntwo")),
        (result([]), PostedResult("q", None)),
        (piece(progress=1, message="one "), PostedPiece("q", 1, "one ")),
        (piece(progress=1.5, total=2), PostedPiece("q", 1.5, "")),
    ],
)
def test_plain_answer_is_read_at_once(posted: dict[str, Any], read: PostedResult | PostedPiece) -> None:
    """What clients post in nearly every turn is read by its own form, however its characters are written."""
    assert read_answer(json.dumps(posted).encode()) == read
    assert read_answer(json.dumps(posted, ensure_ascii=False).encode()) == read


@pytest.mark.parametrize(
    "posted",
    [
        result({"type": "image", "data": "AA==", "mimeType": "image/png"}),
        result({**TEXT, "annotations": {}}),
        result([TEXT, {"type": "tool_use", "id": "1", "name": "x", "input": {}}]),
        result(TEXT, _meta={}),
        result(TEXT, model=1),
        result("words"),
        result(TEXT) | {"id": 1},
        result(TEXT) | {"id": None},
        result(TEXT) | {"jsonrpc": "1.0"},
        result(TEXT) | {"error": {"code": 1, "message": "no"}},
        result(TEXT) | {"method": "notifications/progress"},
        {"jsonrpc": "2.0", "id": "q", "result": None},
        {"jsonrpc": "2.0", "id": "q", "error": {"code": 1, "message": "no"}},
        piece(progress=True),
        piece(progress="1"),
        piece(progress=2**1024),
        piece(progress=1, _meta={}),
        piece(progress=1, message=None),
        piece(progress=1) | {"id": "q"},
        piece(progress=1) | {"method": "notifications/message"},
        [result(TEXT)],
        result({"type": "text", "text": "x" * MOST_VALUES}),
    ],
)
def test_whatever_else_is_left_to_be_read_in_full(posted: Any) -> None:
    """A member or a type that the plain forms do not have is not guessed at."""
    assert read_answer(json.dumps(posted).encode()) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"jsonrpc": "2.0", "id": "q", "result": {"content": {"type": "text", "text": "\xff"}}}', b"[" * 9000],
)
def test_what_is_no_json_is_no_plain_answer(body: bytes) -> None:
    """It is refused where everything is."""
    assert read_answer(body) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["text", "2.0", "q"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*TEXT, "_meta"]), inner, max_size=3),
    max_leaves=5,
)
POSTED = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | JSON},
    optional={
        "id": st.just("q") | JSON,
        "result": st.fixed_dictionaries(
            {"content": st.just(TEXT) | st.lists(st.just(TEXT) | JSON) | JSON},
            optional={"role": JSON, "model": JSON, "stopReason": JSON, "_meta": JSON},
        )
        | JSON,
        "error": JSON,
        "method": st.just("notifications/progress") | JSON,
        "params": st.fixed_dictionaries(
            {"progressToken": st.just("q") | JSON, "progress": st.floats() | JSON},
            optional={"message": st.text() | JSON, "total": JSON, "_meta": JSON},
        )
        | JSON,
    },
)


@given(POSTED, st.booleans())
def test_plain_forms_mean_what_the_models_mean(posted: dict[str, Any], ascii_only: bool) -> None:
    """Whatever is read by a plain form would have been accepted in full, and would have said the same."""
    body = json.dumps(posted, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    match read_answer(body):
        case PostedResult(request_id, text):
            (message,), _is_batch = read_messages(body)
            assert isinstance(message, JSONRPCResponse)
            assert (message.id, text_of(message.result)) == (request_id, text)
        case PostedPiece(request_id, number, text):
            (message,), _is_batch = read_messages(body)
            assert isinstance(message, JSONRPCNotification)
            params = message.params or {}
            assert (params["progressToken"], params["progress"], params.get("message", "")) == (
                request_id,
                number,
                text,
            )
        case None:
            pass
