"""A stock client on the Python SDK 2.x, on asyncio or Trio: see options.py for what it does."""

from __future__ import annotations

import warnings
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from options import answer_to, is_streamable, live, parse, pieces, report, run

warnings.simplefilter("ignore")  # a later revision of the protocol has no progress from clients
options = parse()


async def sample(context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    said = params.messages[-1].content.text
    report("sampling", text=said, system=params.system_prompt, metadata=params.metadata, messages=len(params.messages))
    answer = answer_to(said)
    try:
        async for number, piece in pieces(options, answer):
            await context.session.send_progress_notification(params.meta["progress_token"], number, None, piece)
    except anyio.get_cancelled_exc_class():
        report("cancelled")
        raise
    return types.CreateMessageResult(role="assistant", content=types.TextContent(text=answer), model="echo")


async def notice(message: Any) -> None:
    await anyio.lowlevel.checkpoint()
    if not isinstance(message, Exception):
        report("notification", **message.model_dump(by_alias=True, mode="json", exclude_none=True))


async def main() -> None:
    headers = {"Authorization": f"Bearer {options.token}"} if options.token else None
    callback = None if options.without_sampling else sample
    if is_streamable(options.url):
        http = httpx2.AsyncClient(headers=headers, timeout=60)
        transport = streamable_http_client(options.url, http_client=http)
    else:
        transport = sse_client(options.url, headers=headers)
    mode = options.mode or "auto"
    async with Client(transport, mode=mode, sampling_callback=callback, message_handler=notice) as client:
        if options.log_level:
            await client.set_logging_level(options.log_level)
        tools = sorted(tool.name for tool in (await client.list_tools()).tools)
        report("ready", tools=tools, version=client.protocol_version, instructions=client.instructions)

        async def call_tool(name: str, arguments: dict[str, Any]) -> Any:
            return (await client.call_tool(name, arguments)).structured_content

        await live(options, call_tool)


run(main, options)
