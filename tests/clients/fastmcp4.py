"""A stock client on FastMCP 4.x, which brings the Python SDK 2.x: see options.py for what it does."""

from __future__ import annotations

import warnings
from typing import Any

import anyio
import anyio.lowlevel
import mcp_types as types
from fastmcp import Client
from fastmcp.client.transports import SSETransport, StreamableHttpTransport
from options import answer_to, is_streamable, live, parse, pieces, report, run

warnings.simplefilter("ignore")  # a later revision of the protocol has no progress from clients
options = parse()


async def sample(_messages: Any, params: types.CreateMessageRequestParams, context: Any) -> str:
    said = params.messages[-1].content.text
    report("sampling", text=said, system=params.system_prompt, metadata=params.metadata, messages=len(params.messages))
    answer = answer_to(said)
    try:
        async for number, piece in pieces(options, answer):
            await context.session.send_progress_notification(params.meta["progress_token"], number, None, piece)
    except anyio.get_cancelled_exc_class():
        report("cancelled")
        raise
    return answer


async def notice(message: Any) -> None:
    await anyio.lowlevel.checkpoint()
    if not isinstance(message, Exception):
        report("notification", **message.model_dump(by_alias=True, mode="json", exclude_none=True))


async def main() -> None:
    connect = StreamableHttpTransport if is_streamable(options.url) else SSETransport
    handler = None if options.without_sampling else sample
    mode = options.mode or "auto"
    transport = connect(options.url, auth=options.token)
    async with Client(transport, mode=mode, sampling_handler=handler, message_handler=notice) as client:
        if options.log_level:
            await client.set_logging_level(options.log_level)
        tools = sorted(tool.name for tool in await client.list_tools())
        report("ready", tools=tools, version=client.protocol_version, instructions=client.instructions)

        async def call_tool(name: str, arguments: dict[str, Any]) -> Any:
            return (await client.call_tool(name, arguments, raise_on_error=False)).structured_content

        await live(options, call_tool)


run(main, options)
