"""What every stock client of the tests can be told, and how it reports: shared by the Python ones.

Each client connects to a URL, over Streamable HTTP when its path is /mcp and else over SSE, answers sampling by
repeating what the caller said last, and prints one JSON object a line: `ready`, `sampling`, `cancelled`,
`notification`, `tool`, `error`. It lives until it is killed or its input ends, so that none outlives the test that
started it. A line of its input is the name of a tool, which it calls without arguments.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--token", help="sent as Authorization: Bearer")
    parser.add_argument("--mode", help="the era of the protocol: legacy, auto or a version; only the 2.x SDKs")
    parser.add_argument("--backend", default="asyncio", choices=["asyncio", "trio"])
    parser.add_argument("--think", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--pieces", action="store_true", help="stream the answer word by word")
    parser.add_argument("--without-sampling", action="store_true")
    parser.add_argument("--fetch", action="store_true", help="fetch and confirm the waiting messages at the start")
    parser.add_argument("--log-level", help="the least severe log message wanted")
    threading.Thread(target=_read_orders, daemon=True).start()
    return parser.parse_args()


def is_streamable(url: str) -> bool:
    return urlsplit(url).path == "/mcp"


async def work(call_tool: Callable[[str], Awaitable[Any]]) -> None:
    """Call the tools named on the input."""
    while True:
        name = await anyio.to_thread.run_sync(_orders.get, abandon_on_cancel=True)
        try:
            report("tool", result=await call_tool(name))
        except Exception as error:  # noqa: BLE001 - each SDK has its own; the test reads which
            report("error", message=f"{type(error).__name__}: {error}")


_orders: queue.Queue[str] = queue.Queue()


def _read_orders() -> None:
    for line in sys.stdin:
        _orders.put(line.strip())
    os._exit(0)


def report(event: str, **details: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
    sys.stdout.flush()


def words(answer: str) -> list[str]:
    """Split an answer into pieces that are it when joined."""
    first, *rest = answer.split(" ")
    return [first, *(f" {word}" for word in rest)]
