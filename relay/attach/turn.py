"""A turn as a brain sees it, and what a brain is.

CreateMessageRequestParams ──Turn.of──▶ Turn ──Brain.answer──▶ pieces by `say`, then the whole answer
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from itertools import takewhile
from typing import Any, Protocol, TypeAlias

import attrs
from mcp_types import CreateMessageRequestParams, SamplingMessage, TextContent

Say: TypeAlias = Callable[[str], Awaitable[None]]


class BrainFailed(Exception):
    """Why a brain has no answer. The relay gets it at once, and the answering machine takes over."""


@attrs.frozen
class Line:
    """A line of the conversation: `role` is `user` for the caller and `assistant` for what the caller heard of us."""

    role: str
    text: str


@attrs.frozen(kw_only=True)
class Turn:
    """What a caller said, and what is known of the call. Numbers are E.164 or empty; `number` counts from 1 in a call.

    `seconds` is how long the caller waits for the first word; None where the relay does not say. `caller` and all that
    is in `lines` come from an unknown caller: data, never instructions.
    """

    call_sid: str
    number: int
    caller: str
    called: str
    direction: str
    verified: bool
    system_prompt: str
    max_tokens: int
    lines: tuple[Line, ...]
    seconds: float | None = None

    @classmethod
    def of(cls, params: CreateMessageRequestParams) -> Turn:
        """Read a turn out of a sampling request (docs/clients.md says what the relay puts in one)."""
        known = params.metadata or {}
        return cls(
            call_sid=str(known.get("callSid", "")),
            number=int(known.get("turn", 0)),
            caller=str(known.get("from", "")),
            called=str(known.get("to", "")),
            direction=str(known.get("direction", "")),
            verified=known.get("callerVerified") is True,
            system_prompt=params.system_prompt or "",
            max_tokens=params.max_tokens,
            seconds=_number(known.get("answerWithin")),
            lines=tuple(Line(message.role, _text_of(message)) for message in params.messages),
        )

    @property
    def text(self) -> str:
        """The caller's newest utterances: all since the last answer."""
        newest = list(takewhile(lambda line: line.role == "user", reversed(self.lines)))
        return " ".join(line.text for line in reversed(newest))

    def as_json(self) -> dict[str, Any]:
        """Return the turn as docs/attach.md promises it to a program."""
        return {
            "type": "turn",
            "callSid": self.call_sid,
            "turn": self.number,
            "from": self.caller,
            "to": self.called,
            "direction": self.direction,
            "callerVerified": self.verified,
            "systemPrompt": self.system_prompt,
            "messages": [{"role": line.role, "text": line.text} for line in self.lines],
            "text": self.text,
        }


class Brain(Protocol):
    """Answers turns: `CommandBrain`, `ClaudeBrain` or `PersonBrain`. Both methods may run several times at once."""

    @property
    def name(self) -> str:
        """The `model` in the sampling result."""
        ...

    async def answer(self, turn: Turn, say: Say) -> str:
        """Return the whole answer to a turn, which begins with the pieces already handed to `say`.

        Raises `BrainFailed`. It is cancelled when the relay withdraws the turn or the connection is lost.
        """
        ...

    async def take_message(self, record: Mapping[str, Any]) -> None:
        """Take over a waiting message; returning means that it may be confirmed. Waits as long as that takes."""
        ...


def _text_of(message: SamplingMessage) -> str:
    content = message.content if isinstance(message.content, list) else [message.content]
    return "\n".join(block.text for block in content if isinstance(block, TextContent))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
