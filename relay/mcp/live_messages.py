"""Waiting messages whose call is still going on are marked: such a call can be taken instead of called back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from relay.mcp.ports import Acknowledgement, Batch, LiveCalls, Messages, WaitingRecord


@attrs.frozen
class LiveMessages:
    """Implements `Messages`: those of another one, with `live` in the records of calls that are going on."""

    _messages: Messages
    _calls: LiveCalls

    async def fetch(self, agent_id: str, limit: int, acknowledge: Sequence[str] = ()) -> Batch:
        """See `Messages.fetch`."""
        batch = await self._messages.fetch(agent_id, limit, acknowledge)
        return _Batch(self._marked(agent_id, batch.messages), batch.remaining)

    async def acknowledge(self, agent_id: str, ids: Sequence[str]) -> Acknowledgement:
        """See `Messages.acknowledge`."""
        return await self._messages.acknowledge(agent_id, ids)

    async def peek(self, agent_id: str, limit: int) -> Sequence[WaitingRecord]:
        """See `Messages.peek`."""
        return self._marked(agent_id, await self._messages.peek(agent_id, limit))

    def _marked(self, agent_id: str, records: Sequence[WaitingRecord]) -> Sequence[WaitingRecord]:
        return [self._mark(agent_id, each) for each in records]

    def _mark(self, agent_id: str, record: WaitingRecord) -> WaitingRecord:
        as_json = record.as_json()
        is_live = self._calls.find(agent_id, str(as_json.get("callSid"))) is not None
        return _LiveRecord(record.id, {**as_json, "live": True}) if is_live else record


@attrs.frozen
class _Batch:
    messages: Sequence[WaitingRecord]
    remaining: int


@attrs.frozen
class _LiveRecord:
    id: str
    _json: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        return self._json
