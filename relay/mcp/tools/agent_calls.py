"""The calls as a client's tools see them: the records of its agent, and the ends of those that are not over.

list_calls ─▶ journal
end_call ──┬▶ the registry: the line is up, and last words can be said
           └▶ carrier: it rings, is being passed on, or has lost its line
"""

from __future__ import annotations

from typing import Any

import attrs
import trio

from actors.call_record import CallState
from actors.calls import Calls
from actors.errors import UnknownCall
from relay.errors import OutboundRefused
from relay.speech.hygiene import clean
from relay.store.call_journal import CallJournal
from relay.store.call_record import record_as_json
from relay.twilio.rest import CarrierCalls
from relay.twilio.rest_errors import CarrierRefused

# Records that are worded before others have their turn: about a millisecond.
AT_A_TIME = 100


@attrs.frozen(kw_only=True)
class AgentCalls:
    """Implements `relay.mcp.ports.Calls`. `carrier` is None where the relay has no access to its REST API."""

    calls: Calls
    journal: CallJournal
    carrier: CarrierCalls | None = None

    async def list_calls(self, agent_id: str, state: str | None, limit: int) -> list[dict[str, Any]]:
        """List up to `limit` of an agent's call records, newest first."""
        wanted = None if state is None else CallState(state)
        records = await self.journal.list_calls(agent_id, wanted, limit)
        shown = []
        for number, record in enumerate(records):
            if number % AT_A_TIME == 0:  # a thousand of them in one go would keep every call waiting
                await trio.lowlevel.checkpoint()
            shown.append(record_as_json(record))
        return shown

    async def end_call(self, agent_id: str, call_sid: str, say: str) -> None:
        """End a call of this agent, after saying `say` where somebody can hear it.

        Raises `UnknownCall`, `OutboundRefused` where the carrier would not end it, and the store's errors.
        """
        live = self.calls.find(agent_id, call_sid)
        if live is not None:
            self.calls.hang_up(agent_id, call_sid, clean(say, live.info.language))
            return
        record = await self.journal.get(call_sid)
        if record is None or record.agent_id != agent_id or record.state is CallState.ENDED or self.carrier is None:
            raise UnknownCall(call_sid)
        try:
            await self.carrier.hang_up(call_sid)
        except CarrierRefused as refusal:
            raise OutboundRefused(refusal.code, f"The carrier did not end the call. {refusal}") from refusal
