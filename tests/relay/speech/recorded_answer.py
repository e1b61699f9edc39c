"""An `Answer` that keeps what is put into it, in order."""

from __future__ import annotations

import attrs
import trio


@attrs.frozen
class Taken:
    """A message that was recorded."""

    body: str
    preferences: str


GOODBYE = "the call ends"


@attrs.define(eq=False)
class RecordedAnswer:
    """Keep every call as an entry of `log`: pieces of speech as text, messages as `Taken`, the end as `GOODBYE`.

    `durable` is what is said of messages.
    """

    durable: bool = True
    # What was said to be the last piece.
    ends: list[str] = attrs.field(factory=list)
    log: list[str | Taken] = attrs.field(factory=list)
    _grown: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def say(self, text: str, *, last: bool = False) -> None:
        await self._keep(text)
        if last:
            self.ends.append(text)

    async def take_message(self, body: str, preferences: str) -> bool:
        await self._keep(Taken(body, preferences))
        return self.durable

    async def say_goodbye(self) -> None:
        await self._keep(GOODBYE)

    async def wait_for(self, entries: int) -> None:
        """Wait until the log has so many entries."""
        while len(self.log) < entries:
            await self._grown.wait()

    async def _keep(self, entry: str | Taken) -> None:
        await trio.lowlevel.checkpoint()
        self.log.append(entry)
        self._grown.set()
        self._grown = trio.Event()

    @property
    def speech(self) -> str:
        """All that was said, in one string."""
        return "".join(entry for entry in self.log if isinstance(entry, str) and entry != GOODBYE)

    @property
    def taken(self) -> list[Taken]:
        """The messages that were recorded."""
        return [entry for entry in self.log if isinstance(entry, Taken)]

    @property
    def outline(self) -> list[str | Taken]:
        """The log with neighbouring pieces of speech put together."""
        outline: list[str | Taken] = []
        for entry in self.log:
            if outline and entry != GOODBYE and isinstance(entry, str) and isinstance(outline[-1], str):
                outline[-1] += entry
            else:
                outline.append(entry)
        return outline
