"""What every stock client of the tests can be told, and how it reports: shared by the Python ones.

Each client connects to a URL, over Streamable HTTP when its path is /mcp and else over SSE, answers sampling by
repeating what the caller said last, and prints one JSON object a line: `ready`, `sampling`, `cancelled`,
`notification`, `tool`, `heard`, `error`. It lives until it is killed or its input ends, so that none outlives the test
that started it. A line of its input is the name of a tool and its arguments as JSON, if any; it calls the tool without
waiting for those before.

Besides, or instead, it answers calls with a turn tool: `heard` is the result of each `comms_converse`, whose words it
repeats with the next call of the tool, and `tool` that of each `comms_answer_calls`, in which it is asked to sample.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

CallTool = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Call a tool by the client's SDK; returns its structured content."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--token", help="sent as Authorization: Bearer")
    parser.add_argument("--mode", help="the era of the protocol: legacy, auto or a version; only the 2.x SDKs")
    parser.add_argument("--backend", default="asyncio", choices=["asyncio", "trio"])
    parser.add_argument("--think", type=float, default=0.0, help="seconds before an answer is complete")
    parser.add_argument("--pieces", action="store_true", help="stream the answer word by word")
    parser.add_argument("--first", type=float, help="seconds before the first word of a streamed answer [think]")
    parser.add_argument("--without-sampling", action="store_true")
    parser.add_argument("--fetch", action="store_true", help="fetch and confirm the waiting messages at the start")
    parser.add_argument("--converse", action="store_true", help="answer calls with comms_converse")
    parser.add_argument("--answer-calls", action="store_true", help="answer calls with comms_answer_calls")
    parser.add_argument("--log-level", help="the least severe log message wanted")
    threading.Thread(target=_read_orders, daemon=True).start()
    return parser.parse_args()


def run(main: Callable[[], Awaitable[None]], options: argparse.Namespace) -> None:
    """Live; what the SDK makes of a relay that it cannot work with is reported as well."""
    try:
        anyio.run(main, backend=options.backend)
    except Exception as error:
        report("error", message="; ".join(_reasons(error)))
        raise


def _reasons(error: BaseException) -> list[str]:
    """Word an error, or each one in a group: the SDKs raise what they were told inside of several."""
    if isinstance(error, BaseExceptionGroup):
        return [reason for each in error.exceptions for reason in _reasons(each)]
    return [f"{type(error).__name__}: {error}"]


def is_streamable(url: str) -> bool:
    return urlsplit(url).path == "/mcp"


async def live(options: argparse.Namespace, call_tool: CallTool) -> None:
    """Do what was asked for, and call the tools named on the input, for as long as the process lives."""
    if options.fetch:
        fetched = await call_tool("comms_get_waiting_messages", {})
        report("tool", result=fetched)
        ids = [each["id"] for each in fetched["messages"]]
        report("tool", result=await call_tool("comms_acknowledge_messages", {"ids": ids}))
    async with anyio.create_task_group() as tasks:
        if options.converse:
            tasks.start_soon(_converse, options, call_tool)
        if options.answer_calls:
            tasks.start_soon(_answer_calls, call_tool)
        while True:
            order = await anyio.to_thread.run_sync(_orders.get, abandon_on_cancel=True)
            name, _, arguments = order.partition(" ")
            tasks.start_soon(_try, call_tool, name, json.loads(arguments or "{}"))


async def _converse(options: argparse.Namespace, call_tool: CallTool) -> None:
    arguments: dict[str, Any] = {}
    while True:
        heard = await call_tool("comms_converse", arguments)
        report("heard", result=heard)
        arguments = {}
        if "caller" in heard:
            await anyio.sleep(options.think)
            arguments = {"callSid": heard["callSid"], "turn": heard["turn"], "say": answer_to(heard["caller"])}
        elif "error" in heard:
            await anyio.sleep(1)


async def _answer_calls(call_tool: CallTool) -> None:
    while "error" not in (await _try(call_tool, "comms_answer_calls", {}) or {"error": "lost"}):
        pass


async def _try(call_tool: CallTool, name: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    try:
        result = await call_tool(name, arguments)
    except Exception as error:  # noqa: BLE001 - each SDK has its own; the test reads which
        report("error", message=f"{type(error).__name__}: {error}")
        return None
    report("tool", result=result)
    return result


_orders: queue.Queue[str] = queue.Queue()


def _read_orders() -> None:
    for line in sys.stdin:
        _orders.put(line.strip())
    os._exit(0)


def report(event: str, **details: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
    sys.stdout.flush()


def answer_to(said: str) -> str:
    return f"You said: {said}"


async def pieces(options: argparse.Namespace, answer: str) -> AsyncIterator[tuple[int, str]]:
    """Think, and give the pieces of an answer meanwhile, numbered from 1; none when it is not to be streamed."""
    first = options.think if options.first is None else options.first
    await anyio.sleep(first)
    words = answer.split(" ") if options.pieces else []
    for number, word in enumerate(words, 1):
        if number == 2:
            await anyio.sleep(options.think - first)
        yield number, word if number == 1 else f" {word}"
    if not words:
        await anyio.sleep(options.think - first)
