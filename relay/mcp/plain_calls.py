"""Plain tool calls of client sessions, without the SDK's dispatcher: read, run, answered.

    body ──read──▶ PostedCall ──answer──▶ the tool ──▶ the response, encoded once

By way of the dispatcher a call costs a task and a pair of streams more, and its parameters and its result go through
six models. With `comms_converse` every turn of a call is a tool call, and each is plain. Any other goes that way, and
so does one that comes before the handshake, or names no tool: what is wrong with a request is for the SDK to say.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs
import trio
from mcp_types import ProgressToken

from relay.mcp.session import McpSession
from relay.mcp.tools.toolbox import Toolbox, ToolCall
from relay.mcp.transports.outbox import encode_plain, encode_response
from relay.mcp.transports.posted_calls import PostedCall, read_call

Notify = Callable[[bytes], None]
"""Takes an encoded message that goes to the client before the answer. Never waits."""


@attrs.frozen
class PlainCalls:
    """What runs them. One instance, for all sessions."""

    toolbox: Toolbox

    def read(self, session: McpSession, body: bytes) -> PostedCall | None:
        """Read the body of a POST if it is a call that can be run here."""
        call = read_call(body) if session.takes_plain_calls else None
        return None if call is None or call.name not in self.toolbox else call

    def start(self, session: McpSession, call: PostedCall, tasks: trio.Nursery) -> None:
        """Start a task that runs a call, and sends the answer down the stream of its session. Never waits."""
        # Registered here: the next POST may cancel it before the task has run.
        tasks.start_soon(self.serve, session, call, session.begin_tool_call(call.id))

    async def serve(self, session: McpSession, call: PostedCall, scope: trio.CancelScope) -> None:
        """Run a call and send the answer down the stream of its session."""
        if (text := await self.answer(session, call, scope, session.send_message)) is not None:
            session.send_message(text)

    async def answer(
        self, session: McpSession, call: PostedCall, scope: trio.CancelScope, notify: Notify
    ) -> bytes | None:
        """Run a call and return the response; None if its client cancelled it, or the session is over.

        `scope` is what `begin_tool_call` returned for it.
        """
        token = call.progress_token
        of_session = ToolCall(
            agent=session.agent,
            client=session.queue_key,
            client_name=session.client_name,
            session=session,
            report=None if token is None else partial(_report, notify, token),
        )
        response: bytes | None = None
        with scope:
            try:
                await session.messages_announced()
                result = await self.toolbox.call_plainly(of_session, call.name, call.arguments)
                response = encode_response(call.id, result)
            finally:
                session.end_tool_call(call.id, scope)
        # Cancelled in its last step it has an answer, for which nobody waits.
        return None if scope.cancel_called else response


async def _report(notify: Notify, token: ProgressToken, progress: float, message: str) -> None:
    await trio.lowlevel.checkpoint()
    params = {"progressToken": token, "progress": progress, "message": message}
    notify(encode_plain({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}))
