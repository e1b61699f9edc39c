"""Requests not to be called again: sent by a client, or said by a party on a call."""

from __future__ import annotations

from typing import Any

import attrs
import structlog

from actors.call_record import CallRecord
from actors.call_values import CallInfo, Direction
from actors.calls import Calls
from actors.errors import UnknownCall
from relay.agent import Agent
from relay.dialling.dial_check import DiallingGate
from relay.dialling.numbers import NumberError, normalise, number_in
from relay.errors import OutboundRefused
from relay.store.call_journal import CallJournal
from relay.store.do_not_call import UNVERIFIED_CALLER

log = structlog.get_logger(__name__)

BY_CLIENT = "client"
BY_CALLER = "caller"
"""Who put a number on the list, as its entry says. A caller whose number may be forged is `UNVERIFIED_CALLER`."""


@attrs.frozen(kw_only=True)
class OptOutRequests:
    """Requests of clients."""

    gate: DiallingGate
    calls: Calls
    journal: CallJournal

    async def stop_calling(self, agent: Agent, *, number: str, call_sid: str, reason: str) -> dict[str, Any]:
        """Put a number, or the other party of a call, on the do-not-call list; it holds from the next dial on.

        Exactly one of `number` and `call_sid` is not empty. Returns `to`, and `added`: False where it was there
        already. Raises `OutboundRefused` for what is no number, `UnknownCall` for a call that is not the agent's, and
        one of `STORE_FAILURES`.
        """
        if bool(number) == bool(call_sid):
            raise OutboundRefused("bad_arguments", "Give either the number or the callSid, and not both.")
        try:
            to = normalise(number or number_of_other_party(await self._call(agent, call_sid)))
            added = await self.gate.stop_calling(
                to, agent_id=agent.agent_id, reason=reason or "asked by the client", added_by=BY_CLIENT
            )
        except NumberError:
            # Its own text repeats the number.
            hint = (
                "Write a plus sign, the country code and the number, such as +14155552671."
                if number
                else "The other party of that call withholds its number, or has none that could be called."
            )
            raise OutboundRefused("number_invalid", f"This is not a telephone number in E.164 form. {hint}") from None
        return {"to": to, "added": added}

    async def _call(self, agent: Agent, call_sid: str) -> CallInfo | CallRecord:
        live = self.calls.find_session(call_sid, agent.agent_id)
        if live is not None:
            return live.info
        record = await self.journal.get(call_sid)
        if record is None or record.agent_id != agent.agent_id:
            raise UnknownCall(call_sid)
        return record


@attrs.frozen
class HeardOptOuts:
    """Opt-outs that were said on calls; implements `actors.ports.OptOuts`."""

    gate: DiallingGate

    async def stop_calling(self, call: CallInfo) -> None:
        """Put the other party of a call on the agent's do-not-call list. Idempotent. Raises `StoreFailed`.

        An opt-out is stored at once, even where the number may be forged; the entry then says so, for the operator. A
        party with a withheld number, or an address without one, cannot be called: that is logged and no error.
        """
        is_certain = call.verified or call.direction is Direction.OUTBOUND
        try:
            await self.gate.stop_calling(
                number_of_other_party(call),
                agent_id=call.agent_id,
                reason=f"said so on call {call.call_sid}",
                added_by=BY_CALLER if is_certain else UNVERIFIED_CALLER,
            )
        except NumberError:
            log.info("opt_out_without_number", call_sid=call.call_sid, agent_id=call.agent_id)


def number_of_other_party(call: CallInfo | CallRecord) -> str:
    """Return the number of the other party of a call; the carrier's text if that holds no number."""
    party = call.caller if call.direction is Direction.INBOUND else call.called
    return number_in(party) or party
