"""A stock client on the Python SDK 1.x, which serves one request at a time: see options.py for what it does."""

from __future__ import annotations

from typing import Any

import anyio.lowlevel
from mcp import ClientSession, types
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamablehttp_client
from options import answer_to, is_streamable, live, parse, pieces, report, run

options = parse()


async def sample(context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    said = params.messages[-1].content.text
    report("sampling", text=said, system=params.systemPrompt, metadata=params.metadata, messages=len(params.messages))
    answer = answer_to(said)
    async for number, piece in pieces(options, answer):
        await context.session.send_progress_notification(params.meta.progressToken, number, None, piece)
    content = types.TextContent(type="text", text=answer)
    return types.CreateMessageResult(role="assistant", content=content, model="echo")


async def notice(message: Any) -> None:
    await anyio.lowlevel.checkpoint()
    if isinstance(message, types.ServerNotification):
        report("notification", **message.model_dump(by_alias=True, mode="json", exclude_none=True))


async def main() -> None:
    headers = {"Authorization": f"Bearer {options.token}"} if options.token else None
    callback = None if options.without_sampling else sample
    connect = streamablehttp_client if is_streamable(options.url) else sse_client
    async with (
        connect(options.url, headers=headers) as (reading, writing, *_),
        ClientSession(reading, writing, sampling_callback=callback, message_handler=notice) as session,
    ):
        hello = await session.initialize()
        if options.log_level:
            await session.set_logging_level(options.log_level)
        tools = sorted(tool.name for tool in (await session.list_tools()).tools)
        report("ready", tools=tools, version=hello.protocolVersion, instructions=hello.instructions)

        async def call_tool(name: str, arguments: dict[str, Any]) -> Any:
            return (await session.call_tool(name, arguments)).structuredContent

        await live(options, call_tool)


run(main, options)
