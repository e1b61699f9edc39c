"""How a failure looks outside: an error document for whoever asked, and a log entry that gives nothing away.

An exception's message may carry what it was made of (a form field, a database parameter), so only its type and the
places it came through are logged.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


def error_document(code: str, message: str) -> bytes:
    """Return the JSON of an error; `code` is a snake_case word, `message` says what is wrong and what to do."""
    return json.dumps({"error": {"code": code, "message": message}}).encode()


SERVER_ERROR = error_document("server_error", "Something failed here. Try again; the log of the relay says where.")


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
