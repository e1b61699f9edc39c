"""What every stock client of the tests can be told, and how it reports: shared by the Python ones.

Each client connects to an SSE URL, answers sampling by repeating what the caller said last, and prints one JSON object
a line: `ready`, `sampling`, `cancelled`, `notification`, `tool`. It lives until it is killed or its input ends, so that
none outlives the test that started it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from typing import Any


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--token", help="sent as Authorization: Bearer")
    parser.add_argument("--backend", default="asyncio", choices=["asyncio", "trio"])
    parser.add_argument("--think", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--pieces", action="store_true", help="stream the answer word by word")
    parser.add_argument("--without-sampling", action="store_true")
    parser.add_argument("--fetch", action="store_true", help="fetch and confirm the waiting messages at the start")
    parser.add_argument("--log-level", help="the least severe log message wanted")
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()
    return parser.parse_args()


def report(event: str, **details: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
    sys.stdout.flush()


def words(answer: str) -> list[str]:
    """Split an answer into pieces that are it when joined."""
    first, *rest = answer.split(" ")
    return [first, *(f" {word}" for word in rest)]


def _leave_with_the_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)
