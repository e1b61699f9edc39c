"""States as JSON for programs. What has not changed since the last time (a row, a line) is not written again."""

from __future__ import annotations

import json
from typing import Any

import attrs

from relay.console.kept import Kept
from relay.console.pace import Pace
from relay.console.views import CallState, LiveState


@attrs.define(eq=False)
class Documents:
    """Writes the states of one view, one after the other."""

    pace: Pace
    _kept: Kept = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._kept = Kept(_written, self.pace)

    async def of(self, state: LiveState | CallState) -> str:
        """Return a state; what is in it is that of its `document`."""
        members = [json.dumps(state.head())[1:-1]]
        for name, values in state.lists().items():
            texts = None if values is None else await self._kept.all(name, values)
            members.append(f'"{name}": ' + ("null" if texts is None else f"[{', '.join(texts)}]"))
        self._kept.turn_over()
        return f"{{{', '.join(members)}}}"


def _written(_name: str, value: Any) -> str:
    document: dict[str, Any] = value.document()
    return json.dumps(document)
