"""Expected errors of a command become one line, whatever nurseries they were raised in.

Used by `relay` and by the scripts. An unexpected error keeps its traceback: it is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import click

from actors.errors import StoreFailed
from relay.errors import RelayError

EXPECTED: tuple[type[Exception], ...] = (RelayError, StoreFailed, click.ClickException)
"""Errors with a text that is made for the operator."""


@contextmanager
def in_one_line(*expected: type[Exception]) -> Iterator[None]:
    """Raise what click prints in a line for `expected` errors of the block, those of `EXPECTED`, and Ctrl-C.

    Ctrl-C comes out as `KeyboardInterrupt`, a standard output that is closed as `BrokenPipeError`, and the rest as
    `click.ClickException`. Anything else comes out as it was raised.
    """
    kinds = (*EXPECTED, *expected)
    ending: BaseException | None = None
    try:
        yield
    except kinds as error:
        ending = _line([error])
        ending.__cause__ = error
    except BaseExceptionGroup as group:
        ending = _ending(group, kinds)
        if ending is None:
            raise
        ending.__cause__ = group
    if ending is not None:
        raise ending


def _ending(group: BaseExceptionGroup[BaseException], kinds: tuple[type[Exception], ...]) -> BaseException | None:
    errors = list(leaves_of(group))
    if any(isinstance(each, KeyboardInterrupt) for each in errors):
        return KeyboardInterrupt()  # the rest is what it broke
    for closed in (each for each in errors if isinstance(each, BrokenPipeError)):
        return BrokenPipeError(*closed.args)
    return _line(errors) if all(isinstance(each, kinds) for each in errors) else None


def _line(errors: Iterable[BaseException]) -> click.ClickException:
    found = list(errors)
    if len(found) == 1 and isinstance(found[0], click.ClickException):
        return found[0]  # with its own exit status
    texts = (each.format_message() if isinstance(each, click.ClickException) else str(each) for each in found)
    return click.ClickException("; ".join(dict.fromkeys(text or "something failed" for text in texts)))


def leaves_of(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """Yield each error in a group, however deep."""
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from leaves_of(each)
        else:
            yield each
