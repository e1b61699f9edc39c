"""Claude as the brain: one streamed request a turn, said sentence by sentence.

Turn ─▶ system prompt, alternating messages ─▶ Messages API ═stream═▶ text ─▶ Sentences ─▶ say
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any

import anthropic
import attrs
import httpx2
import trio
from anthropic.types import MessageParam

from relay.attach.turn import BrainFailed, Say, Turn

CALL_CONNECTED = "(the call is connected)"
"""The API's conversations begin with the user; a call begins with our greeting."""

# The relay withdraws a turn that takes too long; these only end requests that are not needed any more.
_TIMEOUT = httpx2.Timeout(connect=3.0, read=15.0, write=5.0, pool=3.0)
_MAX_RETRIES = 1

# Pieces of one answer that may wait while a sentence is being sent; each holds a token at least.
_PIECES = 4096

# What the vendor's library raises when the service fails, and when what it sends is not of its own protocol.
_SERVICE_ERRORS = (anthropic.AnthropicError, httpx2.HTTPError, ValueError, LookupError, RuntimeError)

# An end is known to be one only by what follows: "3.14" and "relay.db" go on. Chinese and Japanese leave no space.
# "Dr. Who" is cut in two, which is not audible: pieces are joined before they are spoken.
_END = re.compile(r"[.!?…:;][\"'”’»)\]]{0,30}\s+|[。！？]|\n+")

# Quotation marks and brackets after a full stop; more than these do not end a sentence.
_LONGEST_END = 40


@asynccontextmanager
async def open_claude_brain(*, model: str, api_key: str, base_url: str | None = None) -> AsyncIterator[ClaudeBrain]:
    """Open the connections to Anthropic's API for as long as the block lasts.

    Without `base_url` the vendor's library decides (`ANTHROPIC_BASE_URL`, else its own).
    """
    async with anthropic.AsyncAnthropic(
        api_key=api_key, base_url=base_url, timeout=_TIMEOUT, max_retries=_MAX_RETRIES
    ) as client:
        yield ClaudeBrain(client, model)


@attrs.frozen
class ClaudeBrain:
    """Answers turns with a Claude model; serves any number of calls at once. A `Brain`."""

    _client: anthropic.AsyncAnthropic
    name: str

    async def answer(self, turn: Turn, say: Say) -> str:
        """Ask Claude, and say each sentence once it is complete.

        Raises `BrainFailed` when the service fails, refuses or breaks off. Cancelling closes the HTTP stream at once.
        """
        sentences = Sentences()
        writer, reader = trio.open_memory_channel[str](_PIECES)
        failure: BrainFailed | None = None

        # A task of its own, because the library reads through a dozen nested generators: cancelled while it waits for
        # the network they unwind, cancelled while a sentence is sent they would be left to the garbage collector.
        async def read() -> None:
            nonlocal failure
            with writer:
                try:
                    await self._stream(turn, writer)
                except BrainFailed as failed:
                    failure = failed

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            async for piece in reader:
                if sentence := sentences.feed(piece):
                    await say(sentence)
        if failure is not None:
            raise failure
        return sentences.text

    async def take_message(self, record: Mapping[str, Any]) -> None:
        """Do nothing: the message was shown, and Claude has no memory between calls."""

    async def _stream(self, turn: Turn, writer: trio.MemorySendChannel[str]) -> None:
        asked = self._client.messages.stream(
            model=self.name,
            max_tokens=turn.max_tokens,
            system=turn.system_prompt or anthropic.omit,
            messages=conversation(turn),
        )
        try:
            async with asked as stream:
                async for text in stream.text_stream:
                    writer.send_nowait(text)
                reply = await stream.get_final_message()
        except trio.WouldBlock as error:
            raise BrainFailed("Claude said far more than it was asked for") from error
        except _SERVICE_ERRORS as error:
            raise BrainFailed(f"Claude cannot be asked: {type(error).__name__}") from error
        if reply.stop_reason is None:
            raise BrainFailed("Claude's answer broke off")
        if reply.stop_reason == "refusal":
            raise BrainFailed("Claude refused to answer")


def conversation(turn: Turn) -> list[MessageParam]:
    """Turn the lines of a call into messages as the API takes them: from the user first, alternating, none empty."""
    spoken = [line for line in turn.lines if line.text.strip()]
    messages: list[MessageParam] = []
    for role, lines in groupby(spoken, key=lambda line: line.role):
        text = "\n".join(line.text.strip() for line in lines)
        if role == "user":
            messages.append({"role": "user", "content": text})
        else:
            if not messages:
                messages.append({"role": "user", "content": CALL_CONNECTED})
            messages.append({"role": "assistant", "content": text})
    return messages


@attrs.define
class Sentences:
    """A stream of text, cut where sentences end.

    A token is too little to cost a request, an answer too much to wait for.
    """

    text: str = ""
    _taken: int = 0
    _looked_at: int = 0

    def feed(self, piece: str) -> str:
        """Add a piece; return the sentences that are complete with it, white space included, or nothing."""
        self.text += piece
        end = max((match.end() for match in _END.finditer(self.text, self._looked_at)), default=self._taken)
        complete = self.text[self._taken : end]
        self._taken = end
        # Search again only from a possible end: a long answer must not be searched from its start each time.
        self._looked_at = max(end, len(self.text) - _LONGEST_END)
        return complete if complete.strip() else ""
