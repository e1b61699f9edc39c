"""Who asks, for programs: `relay top` offers only what its operator may do, and knows which calls that one has."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from relay.console.answers import Answer, Asked, Document, Route


def routes() -> Sequence[Route]:
    """Return its routes."""
    return [Route(rule="/api/me", function=show)]


async def show(asked: Asked) -> Answer:
    """Name the operator and the role."""
    await trio.lowlevel.checkpoint()
    return Document(content={"operator": asked.by.operator, "role": asked.by.role.value})
