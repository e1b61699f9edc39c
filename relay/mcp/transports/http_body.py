"""The body of a client's POST: received in time and within bounds, and read as JSON-RPC messages.

    receive ──how many bytes?──▶ bytes ──how many values?──▶ JSON ──how many messages?──▶ each one's form ──▶ messages

A body is kept in memory until its last byte has arrived, and the peer decides when. The length of one body is bounded,
and so is the sum of all bodies of an agent's clients.

Bounds come before work. The reading runs in the event loop, which every call shares, and some bytes cost a thousand
times what others do: a megabyte of `[],` is a third of a million lists, each of which the garbage collector then visits
again and again. So what a body holds is counted in its bytes before it is parsed, each message is checked against the
one form that its members name (against the union of all forms a library words four complaints for each), and the first
fault is the last one looked for. Nothing of a body is repeated in what is said about it but its id.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import attrs
import trio
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)
from pydantic import ValidationError
from pydantic_core import from_json

from relay.http.asgi import BodyTooLarge, Disconnected, Head, Receive, Send, read_body
from relay.mcp.transports.refusals import RETRY_AFTER, answer_error, jsonrpc_error, refuse_message

LONGEST_MESSAGE = 1 << 20
"""How many bytes a client may post at once; the longest answers to a caller are some thousands."""
MOST_UNDER_WAY = 16 << 20
"""Bytes of an agent: sixteen of the longest messages, or some thousand answers of usual length."""
MOST_IN_A_BATCH = 100
MOST_VALUES = 10_000
"""Values in a body: texts, numbers, lists, objects. Messages have some tens, a full batch of them some thousands."""
MOST_VALUES_ASKED = 2_000
"""Values in a single request: the SDK checks its parameters against every form that they may have."""
LONGEST_METHOD = 256
LONGEST_ID = 256
"""Characters of an id; it is kept, and repeated in the answer."""
LARGEST_ID = 2**63
LONGEST_HELLO = 64 * 1024
"""Bytes of a body that begins a session: what it declares is kept as long as the session."""
# Beyond what a double holds; the SDK turns the numbers of a progress notification into such.
_LARGEST_NUMBER = 2**1023

# What divides values, and texts, whose own commas and brackets divide nothing. Possessive, so that it never looks back.
_DIVIDERS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[,\[{]', re.DOTALL)
_TEXT = ord('"')


class MalformedError(Exception):
    """A body is no message: a JSON-RPC error code, a sentence, and the id of the request if it has one."""

    def __init__(self, code: int, message: str, request_id: RequestId | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id


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

    async def receive(
        self,
        agent_id: str,
        head: Head,
        receive: Receive,
        send: Send,
        refuse: Callable[..., Awaitable[None]] = refuse_message,
    ) -> bytes | None:
        """Receive the body of a POST; None when it was refused.

        `refuse` is in which form, as `refuse_message` or `relay.http.asgi.refuse`.
        """
        try:
            # One that is here already is not under way, and needs no timer: most are.
            if (body := head.take_body(LONGEST_MESSAGE)) is not None:
                return body
            with trio.move_on_after(self.patience), self.reading(agent_id) as note:
                return await read_body(receive, LONGEST_MESSAGE, note)
            await refuse(send, 408, "too_slow", "The body of the request did not come in time.")
        except Disconnected:
            pass
        except BodyTooLarge:
            await refuse(send, 413, "too_large", f"A message may have at most {LONGEST_MESSAGE} bytes.")
        except TooMuchUnderWay:
            message = "Your clients send too much at once; wait until some of it is through."
            await refuse(send, 429, "too_many_requests", message, RETRY_AFTER)
        return None


async def read_or_refuse(body: bytes, send: Send) -> tuple[list[JSONRPCMessage], bool] | None:
    """Read a body as `read_messages` does; None when it was refused, by a JSON-RPC error."""
    try:
        return read_messages(body)
    except MalformedError as error:
        await answer_error(send, 400, jsonrpc_error(error.code, str(error), error.request_id))
        return None


def read_messages(body: bytes) -> tuple[list[JSONRPCMessage], bool]:
    """Read the messages of a body, and whether they came as a batch. Raises `MalformedError`.

    Which revisions have batches is for the caller to know; that `initialize` is in none holds for all of them.
    """
    if _holds_too_many_values(body, MOST_VALUES):
        raise MalformedError(INVALID_REQUEST, f"A body may hold {MOST_VALUES} values at most; send less at a time.")
    try:
        given = from_json(body)
    except ValueError:
        raise MalformedError(PARSE_ERROR, "The body must be JSON.") from None
    if not isinstance(given, list):
        message = _message(given)
        if len(body) > LONGEST_HELLO and _is_hello(message):
            raise MalformedError(INVALID_REQUEST, f"An initialize request may have {LONGEST_HELLO} bytes at most.")
        if isinstance(message, JSONRPCRequest) and _holds_too_many_values(body, MOST_VALUES_ASKED):
            raise MalformedError(
                INVALID_REQUEST, f"A request may hold {MOST_VALUES_ASKED} values at most; ask for less.", message.id
            )
        return [message], False
    if not 0 < len(given) <= MOST_IN_A_BATCH:
        raise MalformedError(INVALID_REQUEST, f"A batch must have 1 to {MOST_IN_A_BATCH} messages.")
    messages = [_message(each) for each in given]
    if any(_is_hello(each) for each in messages):
        raise MalformedError(INVALID_REQUEST, "An initialize request must not be part of a batch.")
    return messages, True


def _is_hello(message: JSONRPCMessage) -> bool:
    return isinstance(message, JSONRPCRequest) and message.method == "initialize"


def _holds_too_many_values(body: bytes, most: int) -> bool:
    """Count what divides values: roughly and at once first, and only where that is too much without the texts."""
    if sum(body.count(each) for each in (b",", b"[", b"{")) < most:
        return False
    # With each value comes one divider, itself as a text and a name for it at most; so with more than that, it is over.
    starts = [each.start() for each in islice(_DIVIDERS.finditer(body), 3 * most)]
    return len(starts) == 3 * most or sum(body[each] != _TEXT for each in starts) >= most


def _message(given: Any) -> JSONRPCMessage:
    if not isinstance(given, dict):
        raise MalformedError(
            INVALID_REQUEST,
            'A message must be a JSON-RPC 2.0 object, such as {"jsonrpc": "2.0", "id": 1, "method": …}.',
        )
    known_id = given.get("id") if is_id(given.get("id")) else None
    kind = _kind(given)
    # None is an id where the sender could not tell what it answers, and nowhere else.
    if "id" in given and known_id is None and not (kind is JSONRPCError and given["id"] is None):
        raise MalformedError(
            INVALID_REQUEST,
            f"An id must be a whole number or a text of {LONGEST_ID} characters at most; a message that wants no "
            "answer has none.",
        )
    method = given.get("method")
    if isinstance(method, str) and len(method) > LONGEST_METHOD:
        raise MalformedError(INVALID_REQUEST, f"A method has {LONGEST_METHOD} characters at most.", known_id)
    if kind is JSONRPCNotification and _has_endless_numbers(given.get("params")):
        raise MalformedError(INVALID_REQUEST, "progress and total must be numbers of usual size.")
    try:
        return kind.model_validate(given, by_name=False)
    except ValidationError as error:
        place = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
        raise MalformedError(
            INVALID_REQUEST, f"This is no JSON-RPC 2.0 message: {place[0]} is missing or not of its form.", known_id
        ) from None


def _kind(given: dict[str, Any]) -> type[JSONRPCMessage]:
    """Return the form that an object has to be of, by its members; a null counts as left out, but for an id."""
    if given.get("method") is not None:
        return JSONRPCRequest if "id" in given else JSONRPCNotification
    if given.get("error") is not None and given.get("result") is None:
        return JSONRPCError
    return JSONRPCResponse


def is_id(given: object) -> bool:
    """Whether a request may have this id."""
    if isinstance(given, str):
        return len(given) <= LONGEST_ID
    return isinstance(given, int) and not isinstance(given, bool) and abs(given) < LARGEST_ID


def _has_endless_numbers(params: object) -> bool:
    given = [params.get(name) for name in ("progress", "total")] if isinstance(params, dict) else []
    return any(isinstance(each, int) and abs(each) >= _LARGEST_NUMBER for each in given)
