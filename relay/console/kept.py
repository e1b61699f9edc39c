"""What was made of values, kept from one state of a view to the next: most rows and lines are the same then."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

import attrs

from relay.console.pace import Pace


@attrs.define(eq=False)
class Kept:
    """Texts by kind and value. `make` makes one that is not kept. Nothing is kept that the last state did not have."""

    make: Callable[[str, Hashable], str]
    pace: Pace
    _kept: dict[tuple[str, Hashable], str] = attrs.field(factory=dict, init=False)
    _used: dict[tuple[str, Hashable], str] = attrs.field(factory=dict, init=False)

    async def all(self, kind: str, values: Iterable[Hashable]) -> Sequence[str]:
        """Return the texts of some values, in their order."""
        return [await self.one(kind, each) for each in values]

    async def one(self, kind: str, value: Hashable) -> str:
        """Return the text of a value, of those that are of this kind."""
        key = (kind, value)
        text = self._kept.get(key)
        if text is None:
            text = self.make(kind, value)
            await self.pace.breathe()
        self._used[key] = text
        return text

    def turn_over(self) -> None:
        """Note that a state is complete."""
        self._kept, self._used = self._used, {}
