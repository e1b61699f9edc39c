"""A stand-in for Anthropic's Messages API, for demos, load runs and tests. It is no part of the daemon.

    anthropic library ──POST /v1/messages──▶ checks ──▶ rule ──▶ Reply ──▶ server-sent events, or one JSON message

It speaks the service's protocol on loopback (https://docs.anthropic.com/en/api/messages and .../messages-streaming), so
that the answering machine runs as it does against the service, without an account. What takes the place of the model is
a rule: a function of the request. The default one, `take_message`, takes messages in English and says nothing that is
not so. It refuses what the service refuses, and is stricter in one point: the service merges neighbouring messages of
one role, the stand-in wants them merged.

`Behaviour` makes it slow, failing or broken. It can be exchanged while the stand-in runs.

The file is long because it is whole: what is asked, what is answered, the rule, the service, in this order.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import attrs
import pydantic
import trio
from attrs.validators import ge, in_

from relay.http.listener import ListenerOptions, serve

_MAX_BODY = 1_000_000
_REMEMBERED = 1000
"""How many requests are kept; a load run makes more than a test wants to see."""

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


# ── what is asked ───────────────────────────────────────────────────────────────────────────────────────────────────


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")


class TextBlock(_Strict):
    """Text in a message."""

    type: Literal["text"]
    text: str = pydantic.Field(pattern=r"\S")


class ToolUseBlock(_Strict):
    """A tool that the model called earlier."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class ToolResultBlock(_Strict):
    """What came of it."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[TextBlock] = ""
    is_error: bool = False

    @property
    def text(self) -> str:
        """Return what it says."""
        return self.content if isinstance(self.content, str) else "".join(block.text for block in self.content)


Block = Annotated[TextBlock | ToolUseBlock | ToolResultBlock, pydantic.Field(discriminator="type")]


class Message(_Strict):
    """One message of the conversation."""

    role: Literal["user", "assistant"]
    content: Annotated[str, pydantic.Field(pattern=r"\S")] | Annotated[list[Block], pydantic.Field(min_length=1)]

    @property
    def blocks(self) -> Sequence[TextBlock | ToolUseBlock | ToolResultBlock]:
        """Return the content as blocks, whichever way it was written."""
        return [TextBlock(type="text", text=self.content)] if isinstance(self.content, str) else self.content

    @property
    def text(self) -> str:
        """Return the text of all text blocks."""
        return "\n".join(block.text for block in self.blocks if isinstance(block, TextBlock))

    @property
    def results(self) -> Sequence[ToolResultBlock]:
        """Return the tool results in it."""
        return [block for block in self.blocks if isinstance(block, ToolResultBlock)]


class _ObjectSchema(pydantic.BaseModel):
    type: Literal["object"]


class Tool(_Strict):
    """A tool that the model may call."""

    name: str = pydantic.Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")
    description: str = ""
    input_schema: _ObjectSchema


class MessagesRequest(_Strict):
    """The body of `POST /v1/messages`, as far as this project sends it."""

    model: str = pydantic.Field(min_length=1)
    max_tokens: int = pydantic.Field(ge=1)
    messages: list[Message] = pydantic.Field(min_length=1)
    system: str | list[TextBlock] = ""
    tools: list[Tool] = []
    tool_choice: dict[str, Any] | None = None
    temperature: float | None = None
    stop_sequences: list[str] = []
    stream: bool = False


# ── what is answered ────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen
class Say:
    """A text block."""

    text: str


@attrs.frozen
class UseTool:
    """A tool call. Arguments given as a string are sent as they are, for input that is no JSON."""

    name: str
    arguments: Mapping[str, object] | str = attrs.field(factory=dict)

    @property
    def raw(self) -> str:
        """Return the arguments as they are streamed."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments, ensure_ascii=False)


@attrs.frozen(init=False)
class Reply:
    """What the model's place-holder answers. The stop reason follows from the blocks unless given."""

    blocks: tuple[Say | UseTool, ...]
    stop_reason: str

    def __init__(self, *blocks: Say | UseTool, stop_reason: str | None = None) -> None:
        calls = any(isinstance(block, UseTool) for block in blocks)
        self.__attrs_init__(blocks, stop_reason or ("tool_use" if calls else "end_turn"))


ASK = "May I take a message for them?"
CONFIRM = "Thank you, I have written that down. Is there anything else?"
GOODBYE = "Thank you for calling. Goodbye."
UNSURE = "I have heard you, and I try to pass it on. You may also call again later. Is there anything else?"
SORRY = "I am sorry, I could not write that down. Please say it once more."

# A result that is no error and no success either.
_NOT_YET = "Do not say that it is recorded"
# Only the beginning: what the caller talked over is cut off in the transcript.
_ASKED = "May I take"
_NOTE = re.compile(r"^\(.*\)$")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|\n+")
_CLOSING = re.compile(
    r"\b(?:good)?bye\b|\bthat(?:['’]s| is) (?:all|it)\b|\bnothing else\b|^\W*no\b(?:\W*thank(?:s| you))?\W*$",
    re.IGNORECASE,
)
_CALL_BACK = re.compile(
    r"\b(?:call|ring|phone|reach)\b.*\b(?:back|after|before|at|until|tomorrow|tonight)\b", re.IGNORECASE
)


def take_message(request: MessagesRequest) -> Reply:
    """Take a message as the default rule: ask, record what the caller says, confirm, and end the call on a goodbye.

    Only what the caller said after the question counts. Whole sentences of leave-taking end the call; a goodbye
    inside a longer sentence ("say goodbye to her from me") is part of the message as well.
    """
    newest = request.messages[-1]
    asked = next(
        (i for i, each in enumerate(request.messages) if each.role == "assistant" and _ASKED in each.text), None
    )
    if asked is None:
        return Reply(Say(ASK))
    said = [_sentences(each.text) for each in request.messages[asked:] if each.role == "user" and each.text]
    last = said[-1] if said else []
    leaving = any(_is_closing(sentence) for sentence in last)
    if newest.results:
        if any(result.is_error for result in newest.results):
            return Reply(Say(SORRY))
        if leaving:
            return _take_leave()
        return Reply(Say(UNSURE if any(_NOT_YET in result.text for result in newest.results) else CONFIRM))
    if not any(not _is_closing(sentence) for sentence in last):
        return _take_leave() if leaving else Reply(Say(ASK))
    message = [sentence for sentences in said for sentence in sentences if not _is_closing(sentence)]
    preferences = [sentence for sentence in message if _CALL_BACK.search(sentence)]
    return Reply(UseTool("record_message", {"message": " ".join(message), "preferences": " ".join(preferences)}))


def _take_leave() -> Reply:
    return Reply(Say(GOODBYE), UseTool("end_call"))


def _sentences(text: str) -> list[str]:
    return [each.strip() for each in _SENTENCE_END.split(text) if each.strip() and not _NOTE.match(each.strip())]


def _is_closing(sentence: str) -> bool:
    return len(sentence.split()) <= 5 and _CLOSING.search(sentence) is not None


@attrs.frozen(kw_only=True)
class Behaviour:
    """How the stand-in answers. Times in seconds.

    `delay` comes before the first event, `pace` before each further piece of text. `fail_status` refuses the next
    `failures` requests (all of them when None). `breaks` goes wrong inside a stream, after `breaks_after` pieces:
    `stall` sends nothing more, `cut` closes the connection, `error` sends the service's error event, and `stop` ends
    the stream in order but too early.
    """

    rule: Callable[[MessagesRequest], Reply] = take_message
    delay: float = attrs.field(default=0.0, validator=ge(0))
    pace: float = attrs.field(default=0.0, validator=ge(0))
    fail_status: int | None = attrs.field(default=None, validator=in_({None, *_ERROR_TYPES}))
    failures: int | None = None
    breaks: str = attrs.field(default="", validator=in_({"", "stall", "cut", "error", "stop"}))
    breaks_after: int = attrs.field(default=0, validator=ge(0))


# ── the service ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def serve_stand_in(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    behaviour: Behaviour | None = None,
    task_status: trio.TaskStatus[ClaudeStandIn] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the stand-in until cancelled; meant for `nursery.start`, which returns it with its `url` set."""
    stand_in = ClaudeStandIn(behaviour or Behaviour())
    async with trio.open_nursery() as nursery:
        listen = partial(serve, stand_in, ListenerOptions(grace=0), host=host, port=port, stop=trio.Event())
        _, actual_port = await nursery.start(listen)
        stand_in.url = f"http://{host}:{actual_port}"
        task_status.started(stand_in)


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@attrs.define(eq=False)
class ClaudeStandIn:
    """The stand-in as an ASGI app, and what it saw: the newest `requests`, and whether a peer left an answer unread."""

    behaviour: Behaviour
    url: str = ""
    requests: deque[MessagesRequest] = attrs.field(factory=lambda: deque(maxlen=_REMEMBERED))
    first_abandoned: trio.Event = attrs.field(factory=trio.Event)
    _ids: Iterator[int] = attrs.field(factory=lambda: itertools.count(1), init=False)
    _failed: int = attrs.field(default=0, init=False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one HTTP request."""
        if scope["type"] != "http":
            return
        try:
            request = await self._admit(scope, receive)
        except _Refused as refusal:
            await _send_json(send, refusal.status, self._error(refusal.status, str(refusal)))
            return
        behaviour = self.behaviour
        reply = behaviour.rule(request)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_for_disconnect, receive, nursery.cancel_scope)
            await trio.sleep(behaviour.delay)
            if request.stream:
                await self._stream(send, request, reply, behaviour)
            else:
                await _send_json(send, 200, self._message(request, reply))
            nursery.cancel_scope.cancel("answered")

    async def _admit(self, scope: Any, receive: Any) -> MessagesRequest:
        if (scope["method"], scope["path"]) != ("POST", "/v1/messages"):
            raise _Refused(404, "Not found")
        body = await _read_body(receive)
        headers = {name.decode("latin-1").lower(): value for name, value in scope["headers"]}
        # The vendor's library 2.x sends the key as a bearer token, older ones and most examples as x-api-key.
        if not (headers.get("x-api-key") or headers.get("authorization", b"").removeprefix(b"Bearer ").strip()):
            raise _Refused(401, "x-api-key header is required")
        if not headers.get("anthropic-version"):
            raise _Refused(400, "anthropic-version: header is required")
        try:
            request = MessagesRequest.model_validate_json(body)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise _Refused(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        _check_conversation(request)
        self.requests.append(request)
        status, failures = self.behaviour.fail_status, self.behaviour.failures
        if status is not None and (failures is None or self._failed < failures):
            self._failed += 1
            raise _Refused(status, _ERROR_TYPES[status].replace("_", " ").capitalize())
        return request

    async def _watch_for_disconnect(self, receive: Any, answering: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.first_abandoned.set()
        answering.cancel("the client left")

    async def _stream(self, send: Any, request: MessagesRequest, reply: Reply, behaviour: Behaviour) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"request-id", self._id("req").encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        pieces = 0
        for event in self._events(request, reply):
            if event["type"] == "content_block_delta":
                if behaviour.breaks and pieces == behaviour.breaks_after:
                    await self._break(send, behaviour.breaks)
                    return
                await trio.sleep(behaviour.pace if pieces else 0)
                pieces += 1
            await _send_event(send, event)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _break(self, send: Any, how: str) -> None:
        if how == "stall":
            await trio.sleep_forever()
        if how == "error":
            await _send_event(send, self._error(529, "Overloaded"))
        if how != "cut":  # a handler that returns with its response unfinished has its connection closed
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _events(self, request: MessagesRequest, reply: Reply) -> Iterator[dict[str, Any]]:
        message = self._message(request, reply)
        opening: dict[str, Any] = {
            "content": [],
            "stop_reason": None,
            "usage": {**message["usage"], "output_tokens": 1},
        }
        yield {"type": "message_start", "message": message | opening}
        yield {"type": "ping"}
        for index, (block, whole) in enumerate(zip(reply.blocks, message["content"], strict=True)):
            empty, deltas = _begin(block, whole)
            yield {"type": "content_block_start", "index": index, "content_block": empty}
            for delta in deltas:
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        ending = {"stop_reason": reply.stop_reason, "stop_sequence": None}
        usage = {"output_tokens": message["usage"]["output_tokens"]}
        yield {"type": "message_delta", "delta": ending, "usage": usage}
        yield {"type": "message_stop"}

    def _message(self, request: MessagesRequest, reply: Reply) -> dict[str, Any]:
        content: list[dict[str, Any]] = []
        for block in reply.blocks:
            if isinstance(block, Say):
                content.append({"type": "text", "text": block.text})
            else:
                given = {} if isinstance(block.arguments, str) else dict(block.arguments)
                content.append({"type": "tool_use", "id": self._id("toolu"), "name": block.name, "input": given})
        return {
            "id": self._id("msg"),
            "type": "message",
            "role": "assistant",
            "model": request.model,
            "content": content,
            "stop_reason": reply.stop_reason,
            "stop_sequence": None,
            "usage": {
                "input_tokens": _tokens(request.model_dump_json()),
                "output_tokens": _tokens(json.dumps(content)),
            },
        }

    def _error(self, status: int, message: str) -> dict[str, Any]:
        error = {"type": _ERROR_TYPES[status], "message": message}
        return {"type": "error", "error": error, "request_id": self._id("req")}

    def _id(self, prefix: str) -> str:
        return f"{prefix}_standin{next(self._ids):06}"


def _begin(block: Say | UseTool, whole: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a block as it is announced, and the pieces that fill it: words of text, scraps of JSON."""
    if isinstance(block, Say):
        words = re.findall(r"\s*\S+|\s+$", block.text)
        return whole | {"text": ""}, [{"type": "text_delta", "text": word} for word in words]
    scraps = ["", *(block.raw[start : start + 16] for start in range(0, len(block.raw), 16))]
    return whole | {"input": {}}, [{"type": "input_json_delta", "partial_json": scrap} for scrap in scraps]


def _check_conversation(request: MessagesRequest) -> None:
    names = [tool.name for tool in request.tools]
    if len(set(names)) < len(names):
        raise _Refused(400, "tools: Tool names must be unique.")
    if request.messages[0].role != "user":
        raise _Refused(400, "messages: first message must use the user role")
    if request.messages[-1].role != "user":
        raise _Refused(400, "The conversation must end with a user message: assistant prefill is not supported.")
    called: set[str] = set()
    for number, message in enumerate(request.messages):
        if message.role != ("user", "assistant")[number % 2]:
            raise _Refused(400, f"messages.{number}: roles must alternate between user and assistant")
        answered = {result.tool_use_id for result in message.results}
        if missing := called - answered:
            found = "`tool_use` ids were found without `tool_result` blocks immediately after"
            raise _Refused(400, f"messages.{number}: {found}: {', '.join(sorted(missing))}")
        if unknown := answered - called:
            found = "unexpected `tool_use_id` found in `tool_result` blocks"
            raise _Refused(400, f"messages.{number}: {found}: {', '.join(sorted(unknown))}")
        called = {block.id for block in message.blocks if isinstance(block, ToolUseBlock)}


def _tokens(text: str) -> int:
    """Estimate a number of tokens: the service counts differently, and here they cost nothing."""
    return max(1, len(text) // 4)


async def _read_body(receive: Any) -> bytes:
    body = bytearray()
    while True:
        event = await receive()
        body += event.get("body", b"")
        if len(body) > _MAX_BODY:
            raise _Refused(413, "Request exceeds the maximum size")
        if event["type"] == "http.disconnect" or not event.get("more_body", False):
            return bytes(body)


async def _send_event(send: Any, event: dict[str, Any]) -> None:
    data = f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _send_json(send: Any, status: int, content: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode(), "more_body": False})
