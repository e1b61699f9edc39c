"""How a failure is logged: what was raised and where, and nothing that would give away what it was made of.

An exception's message may carry a form field, a parameter of a database statement or a telephone number: libraries put
values into their texts. So only its type and the places it came through are logged, never the message.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


def report(event: str, error: BaseException, **context: object) -> None:
    """Log a failure as `event`: what was raised and where, each exception of a group on its own."""
    log.error(event, errors=list(origins(error)), **context)


def origins(error: BaseException) -> Iterator[str]:
    """Yield what was raised and where, each exception of a group on its own."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from origins(inner)
        return
    stack = (f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__))
    yield f"{type(error).__name__} at {' > '.join(stack)}"
