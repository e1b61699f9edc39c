"""The answering machine as a responder: one streamed conversation with Claude a turn.

    TurnRequest ─▶ request ─▶ Messages API ═stream═▶ text   ─▶ answer.say          as it comes
                      ▲                              tool   ─▶ answer.take_message  when its block is complete
                      └──── tool results ◀───────────┘ └────▶ answer.say_goodbye   when the round is complete

A round is one request. A turn takes as many rounds as Claude calls tools, at most `ROUNDS`. A message is recorded the
moment its block is complete and not when the round is, because a recorded message is kept even if the stream breaks
off; hanging up waits for the end of the round, because it cannot be undone.

The machine keeps nothing between turns: what was recorded comes back with the next request, so that a daemon restarted
in between, or another node, continues where this one stopped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import anthropic
import attrs
import httpx2
import pydantic
import structlog
import trio
from anthropic.lib.streaming import AsyncMessageStreamManager, ParsedMessageStreamEvent
from anthropic.types import ContentBlock, MessageParam, ToolResultBlockParam, ToolUseBlock
from anthropic.types.parsed_message import ParsedMessage

from actors.call_values import TurnRequest
from actors.errors import AnsweringMachineFailed
from actors.ports import Answer
from relay.answering.prompt import TOOLS, EndCall, RecordMessage, conversation, system_prompt
from relay.speech.hygiene import SpeechFilter
from relay.speech.spoken import SpokenAnswer

log = structlog.get_logger(__name__)

ROUNDS = 4
"""Record, fix what was refused, record again, say goodbye. More rounds would be a loop."""

# Spoken sentences need a tenth of it; the rest is for a long message, which is recorded as a whole each time.
MAX_TOKENS = 1024

# The call cancels a turn that takes too long (`Policy.answering_machine_timeout`); these only end requests that are not
# needed any more. One retry, because a second one would be too late for the caller.
_TIMEOUT = httpx2.Timeout(connect=3.0, read=15.0, write=5.0, pool=3.0)
_MAX_RETRIES = 1

# An event holds a token at least; a handful frame each block. A service that sends more than it was asked for fails.
_MOST_EVENTS = 2 * MAX_TOKENS

# Not an error: the message is kept and will be recorded; after an error the model would record it again and again.
_NOT_YET_RECORDED = (
    "It could not be written down for certain yet; the relay keeps trying. Do not say that it is recorded. Say in one "
    "sentence that you have heard it and will try to pass it on, and that the caller may also call again later."
)

# What the vendor's library raises when the service fails, and when what it sends is not of its own protocol.
_SERVICE_ERRORS = (anthropic.AnthropicError, httpx2.HTTPError, ValueError, LookupError, RuntimeError)

_Event: TypeAlias = "ParsedMessageStreamEvent[None]"  # quoted: the library's alias cannot be subscripted at run time


@asynccontextmanager
async def open_answering_machine(
    *, api_key: str, model: str, base_url: str | None = None
) -> AsyncIterator[ClaudeAnsweringMachine]:
    """Open the connections to Anthropic's API for as long as the block lasts. Nothing is sent before the first turn.

    Without `base_url` the vendor's library decides (`ANTHROPIC_BASE_URL`, else its own).
    """
    async with anthropic.AsyncAnthropic(
        api_key=api_key, base_url=base_url, timeout=_TIMEOUT, max_retries=_MAX_RETRIES
    ) as client:
        yield ClaudeAnsweringMachine(client, model)


@attrs.frozen
class ClaudeAnsweringMachine:
    """Take messages from callers. A `Responder`; serves any number of calls at once."""

    _client: anthropic.AsyncAnthropic
    _model: str

    async def respond(self, request: TurnRequest, answer: Answer) -> None:
        """Answer one turn of the caller.

        Raises `AnsweringMachineFailed` when the service fails, refuses, breaks off, or neither says nor records
        anything; what was said and recorded until then stands. What `answer` raises comes out in an exception group.
        Cancelling closes the HTTP stream at once.
        """
        try:
            await self._converse(request, _Turn(SpokenAnswer(answer, SpeechFilter(request.call.language))))
        except AnsweringMachineFailed as failure:
            cause = failure.__cause__
            log.warning(
                "machine_failed",
                call_sid=request.call.call_sid,
                turn=request.turn,
                why=str(failure),
                error=type(cause).__name__ if cause else None,
                status=getattr(cause, "status_code", None),
                request_id=getattr(cause, "request_id", None),
            )
            raise

    async def _converse(self, request: TurnRequest, turn: _Turn) -> None:
        messages = conversation(request)
        for _ in range(ROUNDS):
            results = await self._round(request, messages, turn)
            if turn.goodbye:
                await turn.answer.say_goodbye()
                return
            if not results:
                if not turn.has_recorded:
                    turn.require_speech()
                return  # silent after a message: the call confirms it
            messages = [*messages, *results]
        turn.require_speech()

    async def _round(self, request: TurnRequest, messages: list[MessageParam], turn: _Turn) -> list[MessageParam]:
        """Make one request and perform what comes back. Returns the messages to go on with, none if all is said."""
        results: list[ToolResultBlockParam] = []
        reply: ParsedMessage[None] | None = None
        arguments: list[str] = []
        asked = self._client.messages.stream(
            model=self._model,
            max_tokens=MAX_TOKENS,
            system=system_prompt(request),
            messages=messages,
            tools=TOOLS,
        )
        async with _reading(asked) as events:
            async for event in events:
                if event.type == "content_block_start":
                    turn.begin_block()
                    arguments.clear()
                elif event.type == "text":
                    await turn.say(event.text)
                elif event.type == "input_json":
                    arguments.append(event.partial_json)
                elif event.type == "content_block_stop":
                    await turn.answer.flush()
                    if event.content_block.type == "tool_use":
                        results.append(await turn.perform(event.content_block, "".join(arguments) or "{}"))
                elif event.type == "message_stop":
                    reply = event.message
        if reply is None or reply.stop_reason is None:
            raise AnsweringMachineFailed("the stream broke off")
        if reply.stop_reason == "refusal":
            raise AnsweringMachineFailed("the model refused")
        if not results:
            return []
        turn.end_round(results)
        return [{"role": "assistant", "content": _sendable(reply)}, {"role": "user", "content": results}]


@asynccontextmanager
async def _reading(asked: AsyncMessageStreamManager[None]) -> AsyncIterator[trio.MemoryReceiveChannel[_Event]]:
    """Read a stream for as long as the block lasts. Raises `AnsweringMachineFailed` at its end when the service failed.

    The reading is a task of its own because the library reads through a dozen nested generators. Cancelled while it
    waits for the network, they unwind; cancelled in the loop's body (a piece waiting to be spoken) they would be left
    to the garbage collector, with the connection. So the loop over them waits for nothing else.
    """
    failure: Exception | None = None
    writer, reader = trio.open_memory_channel[_Event](_MOST_EVENTS)

    async def read() -> None:
        nonlocal failure
        try:
            with writer:
                async with asked as stream:
                    async for event in stream:
                        if event.type != "content_block_delta":  # repeated as `text` or `input_json`
                            writer.send_nowait(event)
        except (*_SERVICE_ERRORS, trio.WouldBlock) as error:
            failure = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        yield reader
    if failure is not None:
        raise AnsweringMachineFailed("the service failed") from failure


@attrs.define
class _Turn:
    """The state of one turn, over all its rounds."""

    answer: SpokenAnswer
    has_recorded: bool = attrs.field(default=False, init=False)
    goodbye: bool = attrs.field(default=False, init=False)
    _gap_due: bool = attrs.field(default=False, init=False)

    def begin_block(self) -> None:
        """Begin a new block of text: the model leaves no space between two."""
        self._gap_due = self.answer.has_spoken

    async def say(self, text: str) -> None:
        if not text:
            return
        gap = " " if self._gap_due and not text[0].isspace() else ""
        self._gap_due = False
        await self.answer.say(f"{gap}{text}")

    def require_speech(self) -> None:
        """Raise `AnsweringMachineFailed` if nothing of the turn could be heard."""
        if not self.answer.has_spoken:
            raise AnsweringMachineFailed("the model said nothing")

    async def perform(self, call: ToolUseBlock, arguments: str) -> ToolResultBlockParam:
        """Perform a tool call of the model. Invalid input is returned as an error that the model can fix."""
        try:
            match call.name:
                case "record_message":
                    given = RecordMessage.model_validate_json(arguments)
                    # A later failure must not remove the confirmation, and only a durable message is confirmed.
                    if await self.answer.take_message(given.message, given.preferences):
                        self.has_recorded = True
                        return _result(call, "Recorded. Confirm it in one sentence.")
                    return _result(call, _NOT_YET_RECORDED)
                case "end_call":
                    EndCall.model_validate_json(arguments)
                    if not self.answer.has_spoken:
                        return _result(call, "Say one sentence of goodbye first.", is_error=True)
                    self.goodbye = True
                    return _result(call, "The call ends now, unless another tool reported an error.")
                case _:
                    return _result(call, "There is no such tool.", is_error=True)
        except pydantic.ValidationError as error:
            return _result(call, error.json(include_url=False, include_input=False), is_error=True)

    def end_round(self, results: list[ToolResultBlockParam]) -> None:
        """Cancel a goodbye if something else in the same round has to be fixed first."""
        self.goodbye = self.goodbye and not any(result.get("is_error") for result in results)


def _result(call: ToolUseBlock, text: str, *, is_error: bool = False) -> ToolResultBlockParam:
    return {"type": "tool_result", "tool_use_id": call.id, "content": text, "is_error": is_error}


def _sendable(reply: ParsedMessage[None]) -> list[ContentBlock]:
    """Return the reply's content as the service takes it back: no blank text, and tool input that is an object."""
    content: list[ContentBlock] = []
    for block in reply.content:
        if block.type == "text" and not block.text.strip():
            continue
        if block.type == "tool_use" and not isinstance(block.input, dict):
            block.input = {}
        content.append(block)
    return content
