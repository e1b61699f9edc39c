"""The turn desks of all agents: found by agent, kept while there is something to remember, settled when time passes."""

from __future__ import annotations

import math
from weakref import WeakValueDictionary

import attrs
import trio

from actors.clients import AnsweringSession, Presence
from actors.turn_queue import DeskOptions, TurnQueue


@attrs.define(eq=False)
class TurnQueues:
    """Know the desk of each agent. One instance, with one task in `run`, which ends the graces."""

    presence: Presence[AnsweringSession]
    options: DeskOptions = attrs.field(factory=DeskOptions)
    # Weak, so that there is one desk for an agent as long as anybody holds it, and none when nobody does; a desk with
    # something to remember is held in `_busy`.
    _known: WeakValueDictionary[str, TurnQueue] = attrs.field(factory=WeakValueDictionary, init=False)
    _busy: dict[str, TurnQueue] = attrs.field(factory=dict, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def of(self, agent_id: str) -> TurnQueue:
        """Return the desk of an agent, making it on first use."""
        desk = self._known.get(agent_id)
        if desk is None:
            desk = self._known[agent_id] = TurnQueue(agent_id, self.presence, self.options, self._look_at)
        return desk

    def forget(self, agent_id: str, call_sid: str) -> None:
        """Let go of a call that is over. Harmless where nothing is known of it."""
        desk = self._known.get(agent_id)
        if desk is not None:
            desk.forget(call_sid)

    def leave(self, agent_id: str, client: str) -> None:
        """Take note that a client is gone. Harmless for one that never came to the desk."""
        desk = self._known.get(agent_id)
        if desk is not None:
            desk.leave(client)

    def part(self, agent_id: str, client: str) -> None:
        """Take note that a client comes under another key next time: see `TurnQueue.part`."""
        desk = self._known.get(agent_id)
        if desk is not None:
            desk.part(client)

    def is_engaged(self, agent_id: str, client: str) -> bool:
        """Whether a client waits at its desk, or has taken words from it that are not answered."""
        desk = self._known.get(agent_id)
        return desk is not None and desk.is_engaged(client)

    async def run(self) -> None:
        """End the graces of clients that are not around any more. Runs until cancelled, at any point."""
        while True:
            self._changed = trio.Event()
            due = min((desk.settle() for desk in self._busy.values()), default=math.inf)
            for agent_id in [agent_id for agent_id, desk in self._busy.items() if desk.is_idle]:
                del self._busy[agent_id]
            with trio.move_on_at(due):
                await self._changed.wait()

    def __len__(self) -> int:
        """Count the desks with something to remember."""
        return len(self._busy)

    def _look_at(self, desk: TurnQueue) -> None:
        self._busy[desk.agent_id] = desk
        self._changed.set()
