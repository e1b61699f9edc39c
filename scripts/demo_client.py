"""The demo's MCP client: a few rules where yours would ask a model, and the tools that it calls by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import click
from mcp import Client
from mcp.client.sse import sse_client
from mcp_types import CreateMessageRequestParams, CreateMessageResult, ProgressNotification, TextContent

from scripts.demo_printing import note, quote


@asynccontextmanager
async def open_client(sse_url: str) -> AsyncIterator[Client]:
    """Connect an MCP client that answers turns, for as long as the block lasts."""

    async def sample(context: Any, params: CreateMessageRequestParams) -> CreateMessageResult:
        last = params.messages[-1].content
        answer = _think(last.text if isinstance(last, TextContent) else "")
        token = (params.meta or {}).get("progress_token")
        if token is not None:  # speak the first sentence before the second is known
            first = answer.partition(". ")[0]
            await context.session.send_notification(
                ProgressNotification.model_validate(
                    {
                        "method": "notifications/progress",
                        "params": {"progressToken": token, "progress": 1, "message": first},
                    }
                )
            )
        return CreateMessageResult(role="assistant", content=TextContent(text=answer), model="rules")

    async with Client(sse_client(sse_url), sampling_callback=sample) as client:
        await client.list_tools()
        yield client


async def call_tool(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool; return what it gives, or end the demo with why it did not."""
    result = await client.call_tool(name, arguments)
    content = dict(result.structured_content or {})
    if "error" in content:
        raise click.ClickException(f"{name}: {content['error']['message']}")
    return content


async def collect_messages(client: Client) -> None:
    """Fetch what callers left, print it, and confirm it; end the demo if anything is missing."""
    messages = (await call_tool(client, "comms_get_waiting_messages"))["messages"]
    for message in messages:
        quote(f"[bold]{message['reason']}[/] from {message['from']}", message["body"])
        if message["preferences"]:
            quote("  wishes", message["preferences"])
    done = await call_tool(client, "comms_acknowledge_messages", ids=[message["id"] for message in messages])
    confirmed = done["acknowledged"]
    note(f"confirmed: {len(confirmed)} of {len(messages)}")
    if len(messages) < 2 or len(confirmed) != len(messages):
        raise click.ClickException("not every message that was left came back")


def _think(words: str) -> str:
    if "day" in words:
        return f"Today is {datetime.now().astimezone():%A}. What else can I do for you?"
    if "message" in words:
        return "When I am away, the answering machine does. I get them as soon as I am back."
    if "who is it" in words:
        return "I am calling about your appointment. It is tomorrow at 3 PM."
    if "tomorrow" in words:
        return "Then we see you tomorrow. Goodbye."
    if "person" in words:
        return "Of course. One moment."
    return f"You said: {words}"
