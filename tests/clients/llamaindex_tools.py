"""A stock client on LlamaIndex's tools, which open a session for each tool call: see options.py for what it does."""

from __future__ import annotations

from typing import Any

from llama_index.tools.mcp import BasicMCPClient, McpToolSpec
from options import live, parse, report, run

options = parse()


async def main() -> None:
    headers = {"Authorization": f"Bearer {options.token}"}
    client = BasicMCPClient(options.url, headers=headers, timeout=60)
    tools = {tool.metadata.name: tool for tool in await McpToolSpec(client=client).to_tool_list_async()}
    report("ready", tools=sorted(tools))

    async def call_tool(name: str, arguments: dict[str, Any]) -> Any:
        return (await tools[name].acall(**arguments)).raw_output.structured_content

    await live(options, call_tool)


run(main, options)
