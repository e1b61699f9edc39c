"""Clients that open a session for each tool call, recognised by what their sessions did.

When a stream ends without a message, a program that was killed and one that has closed its session look alike on the
wire: over HTTP+SSE there is no other way to close one. So the client's earlier sessions decide. Its session was one of
many, each for one tool call, when its first tool call went on with a call that an earlier session had begun, or when
the session before it ended after one tool call at most with nothing in hand (that is how a client lists the tools, or
has waited in vain). A session that was used for several tool calls was meant to stay.

One session with a single tool call that ended early does not count: a program that always crashes in its first turn
would cost each caller the whole time limit.
"""

from __future__ import annotations

from collections import OrderedDict

import attrs
from mcp_types import Implementation

CLIENTS = 1024
"""How many clients are remembered, the last seen ones; a forgotten client will be recognised again."""


@attrs.define(eq=False)
class ReturningClients:
    """Remember the clients of all agents that open a session for each tool call, by agent and by their own name."""

    limit: int = CLIENTS
    _known: OrderedDict[tuple[str, str], None] = attrs.field(factory=OrderedDict, init=False)

    def note(self, agent_id: str, name: str, *, returns: bool) -> None:
        """Remember a client, or forget it when its session was meant to stay."""
        self._known.pop((agent_id, name), None)
        if returns:
            self._known[agent_id, name] = None
            if len(self._known) > self.limit:
                self._known.popitem(last=False)

    def knows(self, agent_id: str, name: str) -> bool:
        """Whether a client of that name was last seen to open a session for each tool call."""
        return (agent_id, name) in self._known


@attrs.define(eq=False)
class SessionUse:
    """The use of one session: its number of tool calls, and whether the first continued an earlier session's turn."""

    _returning: ReturningClients
    tool_calls: int = attrs.field(default=0, init=False)
    goes_on: bool = attrs.field(default=False, init=False)

    def note_answer(self) -> None:
        """Record that a tool call of the session, just begun, answers an utterance."""
        self.goes_on = self.goes_on or self.tool_calls == 1

    def is_over(self, agent_id: str, info: Implementation | None, *, in_order: bool, is_engaged: bool) -> bool:
        """Record that the session has ended, and return whether its client will be back in another one.

        `info` is the client's own description, `in_order` whether it closed the session by a message, and `is_engaged`
        whether it waited for an utterance or had one in hand.
        """
        name = "" if info is None else f"{info.name} {info.version}"
        is_one_of_many = self.tool_calls <= 1 and (self.goes_on or self._returning.knows(agent_id, name))
        if self.tool_calls > 1 or in_order or is_one_of_many or not is_engaged:
            self._returning.note(agent_id, name, returns=self.tool_calls <= 1)
        return in_order or is_one_of_many
