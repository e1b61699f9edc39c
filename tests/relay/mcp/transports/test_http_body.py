"""Bodies of POSTs: what is a message, what is refused, how little that costs, how much an agent may have under way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp_types import JSONRPCError, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from relay.mcp.transports import http_body
from relay.mcp.transports.http_body import (
    LONGEST_HELLO,
    LONGEST_ID,
    LONGEST_MESSAGE,
    MOST_VALUES,
    Bodies,
    MalformedError,
    TooMuchUnderWay,
    read_messages,
)

PING = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}'


def refusal(body: bytes) -> MalformedError:
    """Return what is said about a body that is no message."""
    with pytest.raises(MalformedError) as caught:
        read_messages(body)
    return caught.value


def message_in(body: bytes) -> JSONRPCMessage:
    """Return the one message of a body that is no batch."""
    (message,), is_batch = read_messages(body)
    assert not is_batch
    return message


def with_params(params: bytes) -> bytes:
    return b'{"jsonrpc": "2.0", "id": "q", "method": "tools/call", "params": ' + params + b"}"


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"id": 0, "method": "ping"}, JSONRPCRequest),
        ({"id": "", "method": "ping"}, JSONRPCRequest),
        ({"id": -1, "method": "ping", "params": None}, JSONRPCRequest),
        ({"id": "x" * LONGEST_ID, "method": "ping", "unknown": 1}, JSONRPCRequest),
        ({"id": 2**53, "method": "ping"}, JSONRPCRequest),
        ({"method": "notifications/initialized"}, JSONRPCNotification),
        ({"method": "notifications/progress", "params": {"progress": 1.5, "total": 10**300}}, JSONRPCNotification),
        ({"id": 1, "result": {}}, JSONRPCResponse),
        ({"id": 1, "result": {}, "error": None}, JSONRPCResponse),
        ({"id": 1, "method": None, "result": {}}, JSONRPCResponse),
        ({"id": 1, "result": None, "error": {"code": 1, "message": "no"}}, JSONRPCError),
        ({"id": None, "error": {"code": 1, "message": "no"}}, JSONRPCError),
    ],
)
def test_message_is_of_the_kind_that_its_members_name(given: dict[str, Any], kind: type[object]) -> None:
    """Requests, notifications, answers and errors are told apart, and a null counts as left out."""
    assert type(message_in(json.dumps({"jsonrpc": "2.0", **given}).encode())) is kind


ODD_IDS = ("null", "1.0", "1.5", "-0.5", "1e3", "true", "false", "{}", '{"a": 1}', "[]", "[1]", "NaN", "9" * 30)


@pytest.mark.parametrize("odd", [*ODD_IDS, "-" + "9" * 30, json.dumps("x" * (LONGEST_ID + 1))])
@pytest.mark.parametrize("rest", ['"method": "tools/list"', '"result": {}'])
def test_odd_id_is_no_notification(odd: str, rest: str) -> None:
    """An id that is none is a fault of its message, which is neither swallowed nor taken for one without an id."""
    error = refusal(f'{{"jsonrpc": "2.0", "id": {odd}, {rest}}}'.encode())
    assert (error.code, error.request_id) == (-32600, None)
    assert "whole number or a text" in str(error)


@pytest.mark.parametrize(
    ("body", "request_id"),
    [
        (b'{"jsonrpc": "2.0", "id": 7, "method": 5}', 7),
        (b'{"jsonrpc": "1.0", "id": "a", "method": "ping"}', "a"),
        (b'{"id": 7, "method": "ping"}', 7),
        (with_params(b"[1, 2]"), "q"),
        (with_params(b'"{}"'), "q"),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "%s"}' % (b"x" * 300), 7),
        (b'{"jsonrpc": "2.0", "id": 7, "error": "no"}', 7),
        (b'{"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": %s}}' % (b"9" * 4000), None),
    ],
)
def test_refusal_carries_the_id_where_it_is_known(body: bytes, request_id: object) -> None:
    """So the client knows which of its requests it was."""
    error = refusal(body)
    assert (error.code, error.request_id) == (-32600, request_id)


RICH = {
    "numbers": b"[" + b"1," * 500_000 + b"1]",
    "lists": b"[" + b"[]," * 300_000 + b"[]]",
    "objects": with_params(b'{"a": [' + b"{}," * 300_000 + b"{}]}"),
    "names": with_params(b"{" + b",".join(b'"%d":1' % n for n in range(70_000)) + b"}"),
    "texts": with_params(b'{"a": [' + b'"",' * 300_000 + b'""]}'),
    "deep": b"[" * 1_000_000,
    "deep objects": b'{"a":' * 150_000,
    "batch": b"[" + b",".join([PING] * 20_000) + b"]",
    "just too many": with_params(b"[" + b"1," * MOST_VALUES + b"1]"),
}


@pytest.mark.parametrize("name", RICH)
def test_rich_body_is_refused_before_it_is_parsed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds come before work: what a body holds is counted in its bytes."""
    assert len(RICH[name]) <= LONGEST_MESSAGE * 1.1
    monkeypatch.delattr(http_body, "from_json")
    error = refusal(RICH[name])
    assert error.code == -32600
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    "text",
    ["," * 500_000, "[" * 500_000, '\\"' * 200_000 + ",", "{\\\\" * 100_000, "é," * 100_000, 'a", "b' * 1],
    ids=["commas", "brackets", "quotes", "backslashes", "accents", "two"],
)
def test_text_may_hold_what_divides_values_elsewhere(text: str) -> None:
    """A long text of commas and brackets is one value."""
    message = message_in(with_params(json.dumps({"text": text}).encode()))
    assert isinstance(message, JSONRPCRequest)
    assert message.params == {"text": text}


def test_batch_is_bounded_before_its_messages_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The length of a batch is looked at first."""
    monkeypatch.delattr(http_body, "_message")
    assert "1 to 100" in str(refusal(b"[" + b",".join([PING] * 101) + b"]"))


def test_first_fault_of_a_batch_is_the_last_one_looked_for() -> None:
    """One complaint is enough, and it repeats nothing of the body."""
    error = refusal(b"[" + PING + b"," + b",".join([b'"secret"'] * 99) + b"]")
    assert error.code == -32600
    assert "secret" not in str(error)


def test_request_holds_less_than_an_answer() -> None:
    """What a request asks with is checked at length by a library, what answers one is not."""
    ids = b"[" + b"1," * 2_000 + b"1]"
    error = refusal(with_params(b'{"ids": ' + ids + b"}"))
    assert (error.code, error.request_id) == (-32600, "q")
    assert isinstance(message_in(b'{"jsonrpc": "2.0", "id": 1, "result": {"ids": ' + ids + b"}}"), JSONRPCResponse)


def test_hello_is_short() -> None:
    """What a client declares is kept as long as its session, so it is bounded more narrowly."""
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"clientInfo": {"name": "x" * LONGEST_HELLO}}}
    assert "initialize" in str(refusal(json.dumps(hello).encode()))


def test_agent_may_have_so_many_bytes_under_way() -> None:
    """The sum of an agent's unfinished bodies is bounded; another agent's count for itself, and finished ones not."""
    bodies = Bodies(patience=1, most=100)
    with bodies.reading("anna") as first, bodies.reading("anna") as second, bodies.reading("bert") as other:
        first(60)
        second(40)
        other(100)
        with pytest.raises(TooMuchUnderWay):
            second(1)
    with bodies.reading("anna") as third:
        third(100)


def test_refused_body_counts_no_longer() -> None:
    """What was refused gives its bytes back, so an agent that sent too much is let in again."""
    bodies = Bodies(patience=1, most=100)
    for _ in range(3):
        with pytest.raises(TooMuchUnderWay), bodies.reading("anna") as count:
            count(101)
    with bodies.reading("anna") as count:
        count(100)
