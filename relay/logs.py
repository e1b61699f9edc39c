"""Logging on standard error, without secrets, telephone numbers or message bodies: JSON lines, or words on a terminal.

What must not be logged is not passed to the logger in the first place: events carry ids. As a second net a processor
blanks the values of keys that could only hold such things, and long digit runs that look like a telephone number, in
our own events and in those of libraries, however deep they are nested. Tokens in query strings never get here because
no access log is kept.

Of a failure only the exception's type and the places it came through are logged (`report`), never its message: that
may carry a form field, a parameter of a database statement or a telephone number, as libraries put values into texts.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from enum import Enum
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger(__name__)

_PRIVATE = frozenset(
    {"token", "ticket", "body", "text", "caller", "called", "from", "to", "number", "transcript", "preferences"}
)
_NUMBER = re.compile(r"\+\d{6,15}")
_WITHHELD = "[withheld]"
_NEXT_STEPS = """
    Next, in another terminal:
      relay agents add ID             registers an agent, and prints its token
      relay attach --token TOKEN      answers its calls from the keyboard
      relay call ID                   calls it, without a telephone
      relay doctor                    says whether real calls can work
    Ctrl-C lets live calls finish, and stops."""
# JSON escapes what could steer a terminal.
_NO_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_QUERY_TOKEN = re.compile(r"(token=)[^&\s\"']+")


def report(event: str, error: BaseException, **context: object) -> None:
    """Log a failure as `event`: what was raised and where, each exception of a group on its own."""
    log.error(event, errors=list(_origins(error)), **context)


def _origins(error: BaseException) -> Iterator[str]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _origins(inner)
        return
    stack = (f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__))
    yield f"{type(error).__name__} at {' > '.join(stack)}"


def without_private_values(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank what must not be in a log."""
    for key, value in event.items():
        # A leading underscore marks what structlog passes along and takes out itself.
        if not key.startswith("_"):
            event[key] = _WITHHELD if key in _PRIVATE else _without_private_values(value)
    return event


def with_places_of_errors(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put kinds and places where a traceback was asked for: the text of an exception may hold anything.

    Ours are logged by `report`; this is for what libraries log.
    """
    given = event.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else None
    if error is None and given and not isinstance(given, tuple):
        error = sys.exc_info()[1]
    if error is not None:
        event["errors"] = list(_origins(error))
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


class LogFormat(Enum):
    """How an event is written. `AUTO` is `CONSOLE` where standard error is a terminal, else `JSON`."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


def configure(level: int | str = logging.INFO, log_format: LogFormat = LogFormat.AUTO) -> None:
    """Send structlog's events and the standard library's records to standard error, an event a line.

    `level` is a number or a name of the standard library's. On a terminal the line "ready" says what can be done next.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        with_places_of_errors,
        without_private_values,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        # Its methods below the level do nothing: a line that nobody reads, of every turn, is not even put together.
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(log_format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # These log each request with its query; a failing one is reported by its sender.
    for chatty in ("httpx2", "httpcore2", "hypercorn", "mcp", "anthropic", "alembic", "opentelemetry", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _renderer(log_format: LogFormat) -> structlog.types.Processor:
    is_terminal = sys.stderr.isatty()
    if log_format is LogFormat.JSON or (log_format is LogFormat.AUTO and not is_terminal):
        return structlog.processors.JSONRenderer(sort_keys=True)
    console = structlog.dev.ConsoleRenderer(colors=is_terminal and "NO_COLOR" not in os.environ)

    def render(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        steps = _NEXT_STEPS if event.get("event") == "ready" and event.get("level") == "info" else ""
        for key, value in event.items():
            if isinstance(value, str):
                event[key] = _NO_CONTROL.sub(" ", value)
        # A person who watches knows the day.
        event["timestamp"] = str(event.get("timestamp", ""))[11:19]
        return f"{console(logger, method, event)}{steps}"

    return render
