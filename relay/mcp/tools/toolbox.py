"""Tools: the description for a model, checked arguments, the result in two forms.

A tool acts for the agent of the session that called it, and for no other: `agentId` among the arguments may only repeat
what the token says. Every error is returned as a result that a model can read and act on, never as a protocol error,
because hosts do not show those to their models.

Most tools need to know no more than their agent. Those of a call's turns, which wait for a caller, also need to know
which of the agent's clients asks, and how to tell it that the wait goes on: see `ToolCall` and `TurnTool`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic

import attrs
import mcp_types as types
import msgspec
import structlog
import trio
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from actors.errors import UnknownCall
from relay.agent import Agent
from relay.errors import STORE_FAILURES, OutboundRefused, error_json
from relay.logs import report
from relay.mcp.session import McpSession
from relay.mcp.tools.arguments import ArgumentsT, explain, shortened
from relay.mcp.tools.results import Failure, Result, arguments_schema, output_schema
from relay.mcp.transports.outbox import encode_plain

log = structlog.get_logger(__name__)

# More than all hosts of an agent have in flight; each waits for the database or for the client to read.
TOOL_CALLS_AT_ONCE = 32

_encode = msgspec.json.Encoder().encode


class ToolError(Exception):
    """A tool did nothing: `code` for programs, the text for the model, with what to do instead."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


Outcome = Result | types.InputRequiredResult
"""What a tool returns: one of its `results`, or a question that the client has to answer first (2026-07-28)."""


@attrs.frozen
class ToolAnswer:
    """What a tool call is answered with: its structure, fit for JSON, and whether that is an error."""

    content: dict[str, Any]
    is_error: bool = False
    text: str = attrs.field(init=False)
    """The structure again, for the many clients that show only text to their model (MCP 2025-06-18, tools)."""

    @text.default
    def _encoded(self) -> str:
        return _encode(self.content).decode()

    def as_result(self) -> types.CallToolResult:
        """Return it as the SDK's models have it."""
        text = types.TextContent(type="text", text=self.text)
        return types.CallToolResult(content=[text], structured_content=self.content, is_error=self.is_error)

    def encode(self) -> bytes:
        """Encode it as it goes on the wire, which is the same in all revisions with a handshake, on one line."""
        return b'{"content":[{"text":%b,"type":"text"}],"isError":%b,"structuredContent":%b}' % (
            encode_plain(self.text),
            b"true" if self.is_error else b"false",
            self.text.encode() if self.text.isascii() else encode_plain(self.content),
        )


Report = Callable[[float, str], Awaitable[None]]
"""Tells a client how far its tool call is: the seconds that it has taken, and a sentence."""


@attrs.frozen(kw_only=True)
class ToolCall:
    """Who calls a tool, and what came with it beside the arguments.

    `client` tells the agent's clients apart; `client_name` is what this one calls itself, which may be empty. `session`
    is the client's, None for one of the 2026-07-28 revision; `answers_questions` says of such a one that it can sample.
    `report` tells the client how far it is; None where it did not ask to know. `state` and `answers` are what an
    earlier `InputRequiredResult` of this tool gave, and what came of it.
    """

    agent: Agent
    client: str = ""
    client_name: str = ""
    session: McpSession | None = None
    answers_questions: bool = False
    report: Report | None = None
    state: str | None = None
    answers: Mapping[str, types.InputResponse] = attrs.field(factory=dict)

    @property
    def shows_its_end(self) -> bool:
        """Whether its client has a stream open, whose end will show that the client is gone."""
        return self.session is not None and self.session.reachable


@attrs.frozen(kw_only=True)
class ToolBase(ABC, Generic[ArgumentsT]):
    """The base of all tools.

    It returns one of `results`, or an error that is described by `failure`. One that `lists` may return a long result:
    an agent gets one of them at a time. One that `waits` for a caller limits its calls itself.
    """

    name: str
    title: str
    description: str
    arguments: type[ArgumentsT]
    results: tuple[type[Result], ...]
    annotations: types.ToolAnnotations
    failure: type[Failure] = Failure
    lists: bool = False
    waits: bool = False

    @abstractmethod
    async def perform(self, call: ToolCall, arguments: ArgumentsT) -> Outcome:
        """Run the tool. Raises `ToolError`, and what else `Toolbox.call` knows."""

    def definition(self) -> types.Tool:
        """Describe the tool as `tools/list` does."""
        return types.Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=arguments_schema(self.arguments),
            output_schema=output_schema(self.results, self.failure),
            annotations=self.annotations,
        )


@attrs.frozen(kw_only=True)
class Tool(ToolBase[ArgumentsT]):
    """A tool that needs to know only its agent."""

    run: Callable[[Agent, ArgumentsT], Awaitable[Result]]

    async def perform(self, call: ToolCall, arguments: ArgumentsT) -> Outcome:
        """See `ToolBase.perform`."""
        return await self.run(call.agent, arguments)


@attrs.frozen(kw_only=True)
class TurnTool(ToolBase[ArgumentsT]):
    """A tool that needs to know which client asks; most of them wait for a caller."""

    run: Callable[[ToolCall, ArgumentsT], Awaitable[Outcome]]
    waits: bool = True

    async def perform(self, call: ToolCall, arguments: ArgumentsT) -> Outcome:
        """See `ToolBase.perform`."""
        return await self.run(call, arguments)


@attrs.define(eq=False)
class UnderWay:
    """The requests of an agent's clients under way: at most `most` at once, and one of those that list.

    Counted by agent, not by session: a client may open many of those. One list after the other, because a long one
    keeps the database, and the event loop that encodes it, busy for some time: others get their turn in between.
    """

    most: int
    _counts: Counter[str] = attrs.field(factory=Counter, init=False)
    _locks: dict[str, trio.Lock] = attrs.field(factory=dict, init=False)

    @contextmanager
    def counted(self, agent_id: str) -> Iterator[None]:
        """Count a request for the length of the block. Raises `ToolError` before it begins."""
        if self._counts[agent_id] >= self.most:
            raise ToolError("too_many_requests", "Too many requests are under way; wait for some to finish.")
        self._counts[agent_id] += 1
        try:
            yield
        finally:
            self._counts[agent_id] -= 1
            if not self._counts[agent_id]:
                del self._counts[agent_id]
                self._locks.pop(agent_id, None)

    def counts(self) -> dict[str, int]:
        """Count the requests under way by agent, where there are any."""
        return dict(self._counts)

    @asynccontextmanager
    async def alone(self, agent_id: str) -> AsyncIterator[None]:
        """Wait until no other block of the agent runs, then run this one. Only inside `counted`, which keeps it."""
        async with self._locks.setdefault(agent_id, trio.Lock()):
            yield


class Toolbox:
    """The tools by name, and how many of their calls are `under_way`."""

    def __init__(self, tools: Iterable[ToolBase[Any]]) -> None:
        self._tools = {each.name: each for each in tools}
        self.definitions = [each.definition() for each in self._tools.values()]
        self.under_way = UnderWay(TOOL_CALLS_AT_ONCE)

    def __contains__(self, name: str) -> bool:
        return name in self._tools

    async def call(
        self, call: ToolCall, name: str, arguments: Mapping[str, Any]
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Run a tool for an agent. Raises `MCPError` for a name that is no tool; all else is in the result."""
        if name not in self:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {shortened(name)}")
        answer = await self._answer(call, name, arguments)
        return answer.as_result() if isinstance(answer, ToolAnswer) else answer

    async def call_plainly(self, call: ToolCall, name: str, arguments: Mapping[str, Any]) -> bytes:
        """Run one of the tools for a client with a session, and return its encoded result.

        Such a client cannot be asked anything by a result, so no tool tries.
        """
        answer = await self._answer(call, name, arguments)
        assert isinstance(answer, ToolAnswer)
        return answer.encode()

    async def _answer(
        self, call: ToolCall, name: str, arguments: Mapping[str, Any]
    ) -> ToolAnswer | types.InputRequiredResult:
        agent, tool = call.agent, self._tools[name]
        try:
            outcome = await self._run(tool, call, arguments)
            return outcome if isinstance(outcome, types.InputRequiredResult) else ToolAnswer(outcome.as_json())
        except ToolError as error:
            return _failure(error.code, str(error))
        except OutboundRefused as refusal:
            return _failure(refusal.code, str(refusal), refusal.details)
        except UnknownCall:
            return _failure("unknown_call", "No live call has that callSid; comms_list_calls lists them.")
        except STORE_FAILURES:
            log.warning("tool_store_failed", tool=name, agent_id=agent.agent_id)
            return _failure(
                "try_again",
                "The relay's database did not answer, so this was not done; nothing is lost. Try again in a moment.",
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the model gets an answer and the log the place
            report("tool_crashed", error, tool=name, agent_id=agent.agent_id)
            return _failure(
                "internal_error",
                "The relay made a mistake, which is in its log. It may have done what you asked, or not: look before "
                "you ask again. Other tools still work.",
            )

    async def _run(self, tool: ToolBase[Any], call: ToolCall, arguments: Mapping[str, Any]) -> Outcome:
        if tool.waits:
            # Not counted: many may wait for callers, and none of them may keep the client from its other tools.
            return await _perform(tool, call, arguments)
        with self.under_way.counted(call.agent.agent_id):
            # Before, not after: what is fetched is held for this client, so it should have read what it got before.
            if call.session is not None:
                await call.session.room()
            if not tool.lists:
                return await _perform(tool, call, arguments)
            async with self.under_way.alone(call.agent.agent_id):
                result = await _perform(tool, call, arguments)
                # A long result is encoded on its way out: before that others have their turn.
                await trio.lowlevel.checkpoint()
                return result


async def _perform(tool: ToolBase[ArgumentsT], call: ToolCall, arguments: Mapping[str, Any]) -> Outcome:
    return await tool.perform(call, _checked(tool, call.agent, arguments))


def _failure(code: str, message: str, details: Mapping[str, Any] | None = None) -> ToolAnswer:
    """Return an error. `details` are left out where there are none; they must be fit for JSON."""
    return ToolAnswer(error_json(code, message, details), is_error=True)


def _checked(tool: ToolBase[ArgumentsT], agent: Agent, arguments: Mapping[str, Any]) -> ArgumentsT:
    # Before validation, which would report each of thousands of unknown names.
    unknown = tool.arguments.first_unknown(arguments)
    if unknown is not None:
        known = ", ".join(str(field.alias) for field in tool.arguments.model_fields.values())
        raise ToolError("bad_arguments", f"There is no argument {shortened(unknown)}. There are: {known}.")
    try:
        checked = tool.arguments.model_validate(arguments)
    except ValidationError as error:
        raise ToolError("bad_arguments", explain(error)) from None
    if checked.agent_id not in {"", agent.agent_id}:
        raise ToolError("not_your_agent", "agentId names another agent than your token's; leave it out.")
    return checked
