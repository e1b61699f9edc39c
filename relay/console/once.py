"""A form that is sent twice is done once: the second gets what the first has got.

Every form has a key of its own, which the page changes once the form was answered. Who sends none, such as a program,
is not kept from doing something twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import attrs
import trio

from relay.console.answers import Answer
from relay.console.refused import Refused

MOST = 1_000
"""Answers that are kept, the newest; one of a page, or of a refusal, is a few hundred bytes."""

Key: TypeAlias = tuple[str, str, str]
"""Who sent it, where to, and the form's own."""


@attrs.define(eq=False)
class _Sent:
    """A form that was sent; `answer` is None until it is answered."""

    answer: Answer | Refused | None = None
    answered: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class Once:
    """The forms that were sent lately, and their answers."""

    most: int = MOST
    _sent: dict[Key, _Sent] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._sent)

    async def run(self, key: Key, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return what `work` answers, or raise its `Refused`; for a form that was sent before, what it was answered.

        What fails otherwise, or is cancelled, is forgotten: then the next one with this key does the work.
        """
        while (before := self._sent.get(key)) is not None:
            await before.answered.wait()
            if before.answer is not None:
                return _given(before.answer)
        mine = self._sent[key] = _Sent()
        self._make_room()
        try:
            try:
                mine.answer = await work()
            except Refused as refused:
                mine.answer = refused
        finally:
            if mine.answer is None:
                self._sent.pop(key, None)
            mine.answered.set()
        return _given(mine.answer)

    def _make_room(self) -> None:
        """Forget the oldest answers; never a form that is not answered, of which each request has one."""
        if len(self._sent) > self.most:
            answered = [key for key, each in self._sent.items() if each.answered.is_set()]
            for key in answered[: len(self._sent) - self.most]:
                del self._sent[key]


def _given(answer: Answer | Refused) -> Answer:
    if isinstance(answer, Refused):
        raise answer.with_traceback(None)  # it would grow by each time it is raised
    return answer
