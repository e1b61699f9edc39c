"""A stock client on LangChain's adapters, which open a session for each tool call: see options.py for what it does."""

from __future__ import annotations

import json
from typing import Any

from langchain_core.tools import ToolException
from langchain_mcp_adapters.client import MultiServerMCPClient
from options import is_streamable, live, parse, report, run

options = parse()


async def main() -> None:
    transport = "http" if is_streamable(options.url) else "sse"
    headers = {"Authorization": f"Bearer {options.token}"}
    relay = {"transport": transport, "url": options.url, "headers": headers}
    tools = {tool.name: tool for tool in await MultiServerMCPClient({"relay": relay}).get_tools()}
    report("ready", tools=sorted(tools))

    async def call_tool(name: str, arguments: dict[str, Any]) -> Any:
        try:
            (content,) = await tools[name].ainvoke(arguments)
        except ToolException as error:
            return json.loads(str(error))
        return json.loads(content["text"])

    await live(options, call_tool)


run(main, options)
