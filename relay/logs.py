"""Logging: JSON lines on standard error, without secrets, telephone numbers or message bodies.

What must not be logged is not passed to the logger in the first place: events carry ids. As a second net a processor
blanks the values of keys that could only hold such things, and long digit runs that look like a telephone number, in
our own events and in those of libraries, however deep they are nested. Tokens in query strings never get here because
no access log is kept.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

_PRIVATE = frozenset(
    {"token", "ticket", "body", "text", "caller", "called", "from", "to", "number", "transcript", "preferences"}
)
_NUMBER = re.compile(r"\+\d{6,15}")
_WITHHELD = "[withheld]"
_QUERY_TOKEN = re.compile(r"(token=)[^&\s\"']+")


def without_private_values(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank what must not be in a log."""
    for key, value in event.items():
        # A leading underscore marks what structlog passes along and takes out itself.
        if not key.startswith("_"):
            event[key] = _WITHHELD if key in _PRIVATE else _without_private_values(value)
    return event


def _without_private_values(value: Any) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {key: _WITHHELD if key in _PRIVATE else _without_private_values(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_without_private_values(each) for each in value]
        case _:
            # What is no string, an exception say, would be written as its repr behind this processor's back.
            text = value if isinstance(value, str) else repr(value)
            return _QUERY_TOKEN.sub(rf"\1{_WITHHELD}", _NUMBER.sub("[number]", text))


def configure(level: int = logging.INFO) -> None:
    """Send structlog's events and the standard library's records to standard error, one JSON object a line."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        without_private_values,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(sort_keys=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # These log each request, with its query; a failing one is reported by whoever made it.
    for chatty in ("httpx2", "httpcore2", "hypercorn", "mcp", "anthropic", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
