"""The one MCP server object that all sessions share: tools, two resources, a prompt, log levels.

One object, because a server for each session costs half a megabyte and some milliseconds; everything that belongs to
one client is in its `McpSession`, which handlers find in `ctx.request`. Clients of the 2026-07-28 revision have none:
for them that is the HTTP request, and who asks is in its scope.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import attrs
import mcp_types as types
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from actors.calls import Calls
from relay import __version__
from relay.agent import Agent
from relay.errors import STORE_FAILURES
from relay.mcp.notifications import AT_ONCE, LIVE_CALLS, RESOURCE_URI
from relay.mcp.session import CHANNEL, McpSession, name_of
from relay.mcp.tools import guidance
from relay.mcp.tools.arguments import shortened
from relay.mcp.tools.messages import AgentMessages
from relay.mcp.tools.spoken_words import live_call_json
from relay.mcp.tools.toolbox import Toolbox, ToolCall, ToolError

# Characters of what a user types into the form of the prompt.
_LONGEST_PREFERENCES = 4_000
# Of the name that a client gives itself; those in use have some twenty characters.
_LONGEST_NAME = 64

AGENT = "relay.agent"
"""Where the scope of an HTTP request without a session holds the `Agent` that its token named."""

Context = ServerRequestContext[dict[str, Any], Any]

_RESOURCES = {
    RESOURCE_URI: types.Resource(
        name="waiting-messages",
        title="Waiting messages",
        uri=RESOURCE_URI,
        description=(
            f"What callers left for you, the oldest {AT_ONCE}, as JSON. Reading it confirms nothing and holds nothing: "
            "use comms_get_waiting_messages to deal with them."
        ),
        mime_type="application/json",
    ),
    LIVE_CALLS: types.Resource(
        name="live-calls",
        title="Calls going on now",
        uri=LIVE_CALLS,
        description=(
            "The calls that are going on now, as JSON, and whether the caller waits for an answer. Use comms_converse "
            "to answer, and comms_take_call for a call that the answering machine holds."
        ),
        mime_type="application/json",
    ),
}
# How long a client may take to sample before it comes back with the answer.
_STATE_SECONDS = 600.0


def build_server(
    toolbox: Toolbox, messages: AgentMessages, calls: Calls, *, secret: str | None = None
) -> Server[dict[str, Any]]:
    """Return the server. Of its clients it keeps nothing: that is in their sessions, and in the toolbox.

    What a client is given to hand back is sealed for its agent, so that it cannot be forged: with a key that is made of
    `secret`, so that all who know that can open it, or with one that lasts as long as the server.
    """
    handlers = _Handlers(toolbox, messages, calls)
    server: Server[dict[str, Any]] = Server(
        "relay",
        version=__version__,
        title="Relay: a telephone for AI clients",
        instructions=guidance.INSTRUCTIONS,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_resource_templates,
        on_read_resource=handlers.read_resource,
        on_subscribe_resource=handlers.subscribe,
        on_unsubscribe_resource=handlers.unsubscribe,
        on_list_prompts=handlers.list_prompts,
        on_get_prompt=handlers.get_prompt,
    )
    # By this door, because the constructor's warns that a later revision of the protocol has no log levels.
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, handlers.set_level)
    server.add_notification_handler("notifications/initialized", types.NotificationParams, handlers.initialized)
    server.middleware.clear()  # OpenTelemetry: a span for every streamed piece, and nothing here exports them
    security = RequestStateSecurity(
        keys=[secrets.token_bytes(32) if secret is None else _state_key(secret)],
        ttl=_STATE_SECONDS,
        bind_principal=lambda ctx: _agent(ctx).agent_id,
    )
    server.middleware.append(RequestStateBoundary(security, default_audience="relay"))
    server.middleware.append(_notify_before_answer)
    return server


def _state_key(secret: str) -> bytes:
    # Of a secret that has another use: its purpose is in the key, so that neither use tells anything to the other.
    return HKDF(SHA256(), length=32, salt=None, info=b"relay: requestState, 1").derive(secret.encode())


async def _notify_before_answer(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Answer a request only after its client was notified of what waits for it; see `McpSession.messages_announced`."""
    if isinstance(ctx.request, McpSession) and ctx.method not in {"initialize", "ping"} and ctx.request_id is not None:
        await ctx.request.messages_announced()
    return await call_next(ctx)


def options_of(server: Server[dict[str, Any]]) -> InitializationOptions:
    """Return what the server declares in a handshake."""
    return server.create_initialization_options(experimental_capabilities={CHANNEL: {}})


@attrs.frozen
class _Handlers:
    """What the server does for each request, always for the agent of the session that it came in."""

    toolbox: Toolbox
    messages: AgentMessages
    calls: Calls

    async def list_tools(self, _ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=self.toolbox.definitions)

    async def call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        call = _tool_call(ctx, params.request_state, params.input_responses or {})
        return await self.toolbox.call(call, params.name, params.arguments or {})

    async def list_resources(
        self, _ctx: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=list(_RESOURCES.values()))

    async def list_resource_templates(
        self, _ctx: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=[])

    async def read_resource(self, ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        _check(ctx, params.uri)
        agent_id, under_way = _agent(ctx).agent_id, self.toolbox.under_way
        try:
            with under_way.counted(agent_id):
                if isinstance(ctx.request, McpSession):
                    await ctx.request.room()
                async with under_way.alone(agent_id):
                    shown = await self._shown(agent_id, params.uri)
        except ToolError as error:
            raise MCPError(code=types.INTERNAL_ERROR, message=str(error)) from None
        text = json.dumps(shown, ensure_ascii=False)
        contents = types.TextResourceContents(uri=params.uri, mime_type="application/json", text=text)
        return types.ReadResourceResult(contents=[contents])

    async def _shown(self, agent_id: str, uri: str) -> Mapping[str, Any]:
        if uri == LIVE_CALLS:
            return {"calls": [live_call_json(each) for each in self.calls.live(agent_id)]}
        return {"messages": await self._waiting(agent_id)}

    async def _waiting(self, agent_id: str) -> list[dict[str, Any]]:
        try:
            return [each.as_json() for each in await self.messages.peek(agent_id, AT_ONCE)]
        except STORE_FAILURES:
            raise MCPError(code=types.INTERNAL_ERROR, message="The database did not answer; try again.") from None

    async def subscribe(self, ctx: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        _check(ctx, params.uri)  # every session is notified of changes, so there is nothing to store
        return types.EmptyResult()

    async def unsubscribe(self, ctx: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        _check(ctx, params.uri)
        return types.EmptyResult()

    async def list_prompts(
        self, _ctx: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[guidance.PROMPT])

    async def get_prompt(self, _ctx: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        if params.name != guidance.PROMPT.name:
            message = f"There is no such prompt; {guidance.PROMPT.name} is the only one."
            raise MCPError(code=types.INVALID_PARAMS, message=message)
        preferences = (params.arguments or {}).get(guidance.PREFERENCES, "")
        if len(preferences) > _LONGEST_PREFERENCES:
            message = f"{guidance.PREFERENCES} may have {_LONGEST_PREFERENCES} characters at most."
            raise MCPError(code=types.INVALID_PARAMS, message=message)
        return guidance.answer_the_phone(preferences)

    async def set_level(self, ctx: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        _session(ctx).level = params.level
        return types.EmptyResult()

    async def initialized(self, ctx: Context, _params: types.NotificationParams) -> None:
        _session(ctx).become_ready()


def _session(ctx: Context) -> McpSession:
    """Return the session of a request that only revisions with a handshake have."""
    return cast("McpSession", ctx.request)


def _agent(ctx: Context) -> Agent:
    request: Any = ctx.request
    return request.agent if isinstance(request, McpSession) else cast("Agent", request.scope[AGENT])


def _tool_call(ctx: Context, state: str | None, answers: Mapping[str, types.InputResponse]) -> ToolCall:
    session = ctx.request if isinstance(ctx.request, McpSession) else None
    capabilities = ctx.session.client_capabilities
    return ToolCall(
        agent=_agent(ctx),
        client=_stateless_key(ctx) if session is None else session.queue_key,
        client_name=name_of(ctx.session.client_params),
        session=session,
        answers_questions=session is None and capabilities is not None and capabilities.sampling is not None,
        report=partial(_report, ctx) if _wants_progress(ctx) else None,
        state=state,
        answers=answers,
    )


def _wants_progress(ctx: Context) -> bool:
    return ctx.meta is not None and ctx.meta.get("progress_token") is not None


async def _report(ctx: Context, progress: float, message: str) -> None:
    await ctx.session.report_progress(progress, message=message)


def _stateless_key(ctx: Context) -> str:
    """Return a key for a client without a session: its name and address."""
    known = ctx.session.client_params
    name = known.client_info.name[:_LONGEST_NAME] if known is not None else ""
    request: Any = ctx.request
    host = request.client.host if request.client is not None else ""
    return f"stateless:{name}@{host}"


def _check(ctx: Context, uri: str) -> None:
    if uri not in _RESOURCES:
        # Until MCP 2025-11-25 it had a code of its own; both: server/resources, "Error Handling".
        code = types.INVALID_PARAMS if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS else -32002
        message = f"There is no such resource; there are {' and '.join(_RESOURCES)}."
        raise MCPError(code=code, message=message, data={"uri": shortened(uri)})
