"""A stock client on LlamaIndex's tools, which open a session for each tool call: see options.py for what it does."""

from __future__ import annotations

from typing import Any

import anyio
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec
from options import live, parse, report, run

options = parse()


async def main() -> None:
    headers = {"Authorization": f"Bearer {options.token}"}
    client = BasicMCPClient(options.url, headers=headers, timeout=60)
    tools = {tool.metadata.name: tool for tool in await McpToolSpec(client=client).to_tool_list_async()}
    report("ready", tools=sorted(tools))

    async def call_tool(name: str, arguments: dict[str, Any]) -> Any:
        for attempt in range(3):
            try:
                return (await tools[name].acall(**arguments)).raw_output.structured_content
            except ExceptionGroup as group:
                # Its SSE client breaks when something arrives while its session closes. Calling again does no harm.
                if attempt == 2 or group.subgroup(anyio.BrokenResourceError) is None:
                    raise
        raise AssertionError("not reached")

    await live(options, call_tool)


run(main, options)
