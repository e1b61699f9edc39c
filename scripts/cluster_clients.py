"""The AI clients of a cluster's agents: the published MCP SDK over HTTP+SSE, which comes back whenever it is lost.

    relay ──sampling/createMessage──▶ ReturningClient ──Question──▶ answer ──▶ "You said: …"
      └── stream over, request failed ──▶ the session is given up ──RECONNECT──▶ a new one

A request that fails is a reason to begin anew as well: after one the SDK posts nothing more, and is asked in vain.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import attrs
import httpx2
import trio
from mcp import Client
from mcp.client.sse import sse_client
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp_types import CreateMessageRequestParams, CreateMessageResult, TextContent

RECONNECT = 1.0
"""Seconds after which a client that lost the relay comes back; the published ones are no faster."""

HELLO_SECONDS = 10.0
"""Seconds for a connection and its handshake."""

TOOL_SECONDS = 20.0
"""Seconds for a tool call, the wait for a session included."""

# Turns and notices of many calls at once; who takes them does so at once.
_MOST_UNREAD = 10_000

# A `RuntimeError` is the SDK's, for a stream that ends before it has begun.
_LOST = (
    RuntimeError,
    MCPError,
    OSError,
    httpx2.HTTPError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)


class ToolFailed(Exception):
    """A tool call whose result did not come, or is an error."""


@attrs.frozen(kw_only=True)
class Question:
    """A turn, as the client was asked: `history` is who (`user`, `assistant`) said what, the newest words last."""

    at: float
    call_sid: str
    system_prompt: str
    history: tuple[tuple[str, str], ...]

    @property
    def words(self) -> str:
        """Return the caller's newest words."""
        return self.history[-1][1]

    @classmethod
    def of(cls, params: CreateMessageRequestParams) -> Question:
        """Return what a sampling request asks."""
        said = ((each.role, each.content) for each in params.messages)
        return cls(
            at=trio.current_time(),
            call_sid=str((params.metadata or {}).get("callSid", "")),
            system_prompt=params.system_prompt or "",
            history=tuple((role, content.text) for role, content in said if isinstance(content, TextContent)),
        )


AnswerTurn = Callable[[Question], Awaitable[str]]


async def repeat(question: Question) -> str:
    """Answer with what the caller said."""
    await trio.lowlevel.checkpoint()
    return f"You said: {question.words}"


@attrs.define(eq=False)
class ReturningClient:
    """An agent's client. `absences` are the seconds for which it had no session, each time that it was lost."""

    _url: str
    _token: str = attrs.field(repr=False)
    _answer: AnswerTurn = repeat
    absences: list[float] = attrs.field(factory=list)
    _session: Client | None = None
    _left_at: float | None = None
    _changed: trio.Event = attrs.field(factory=trio.Event)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be there until cancelled; started once it is there for the first time."""
        is_started = False
        while True:
            with trio.CancelScope(deadline=trio.current_time() + HELLO_SECONDS) as scope:
                try:
                    transport = _transport(f"{self._url}/sse?token={self._token}", scope)
                    async with Client(transport, sampling_callback=self._sample, message_handler=_pass_over) as session:
                        # The result shows that the relay has taken note of `initialized` before it.
                        await session.list_tools()
                        scope.deadline = float("inf")
                        self._come(session)
                        if not is_started:
                            is_started = True
                            task_status.started()
                        await trio.sleep_forever()
                except* _LOST:
                    pass
                finally:
                    self._go()
            await trio.sleep(RECONNECT)

    async def tool(self, name: str, **arguments: object) -> dict[str, Any]:
        """Call a tool and return its structured content. Raises `ToolFailed`, also when it may have been performed."""
        try:
            with trio.fail_after(TOOL_SECONDS):
                while self._session is None:
                    await self._changed.wait()
                result = await self._session.call_tool(name, arguments)
        except (*_LOST, trio.TooSlowError) as error:
            raise ToolFailed(f"{name}: {type(error).__name__}: {error}") from error
        content = dict(result.structured_content or {})
        if "error" in content:
            raise ToolFailed(f"{name}: {content['error']['message']}")
        return content

    async def _sample(self, context: Any, params: CreateMessageRequestParams) -> CreateMessageResult:  # noqa: ARG002
        text = await self._answer(Question.of(params))
        return CreateMessageResult(role="assistant", content=TextContent(text=text), model="echo")

    def _come(self, session: Client) -> None:
        self._session = session
        if self._left_at is not None:
            self.absences.append(trio.current_time() - self._left_at)
        self._left_at = None
        self._changed.set()
        self._changed = trio.Event()

    def _go(self) -> None:
        if self._session is not None:
            self._session, self._left_at = None, trio.current_time()


async def _pass_over(message: Any) -> None:  # noqa: ARG001
    await trio.lowlevel.checkpoint()


@asynccontextmanager
async def _transport(url: str, scope: trio.CancelScope) -> AsyncIterator[Any]:
    """Connect as the SDK does; the scope is cancelled when the stream ends, or a request fails.

    Messages that come while the session is being closed are dropped: the SDK closes its session before its reader, and
    one in between crashes the reader.
    """
    writer, reader = anyio.create_memory_object_stream[SessionMessage | Exception](_MOST_UNREAD)

    def open_http(
        headers: dict[str, Any] | None = None, timeout: httpx2.Timeout | None = None, auth: httpx2.Auth | None = None
    ) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(headers=headers, timeout=timeout, auth=auth, transport=_NotingHttp(scope))

    async def forward() -> None:
        async with writer:
            async for message in arriving:
                with suppress(anyio.BrokenResourceError):
                    writer.send_nowait(message)
        scope.cancel("the stream is over")

    connecting = sse_client(url, httpx_client_factory=open_http)
    async with connecting as (arriving, leaving), trio.open_nursery() as nursery:
        nursery.start_soon(forward)
        yield reader, leaving
        nursery.cancel_scope.cancel("the session is closed")


class _NotingHttp(httpx2.AsyncHTTPTransport):
    """The usual HTTP, of which a scope is cancelled when a request fails."""

    def __init__(self, scope: trio.CancelScope) -> None:
        super().__init__()
        self._scope = scope

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            response = await super().handle_async_request(request)
        except httpx2.TransportError:
            self._scope.cancel("a request got no answer")
            raise
        if response.is_error:
            self._scope.cancel("a request was refused")
        return response
