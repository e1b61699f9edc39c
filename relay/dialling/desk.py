"""What an agent can do with the telephone besides answering it: the four operations, as the tools see them.

    make_call ──────────▶ conversations ───┐
    send_voice_message ─▶ voice_messages ──┴──▶ dialler: gate, carrier
    transfer_call ──────▶ transfers ──────────▶ gate, the live call, the carrier where its line is lost
    stop_calling ───────▶ do_not_call_wishes ─▶ gate

Each is refused with `OutboundRefused`, and then nothing was dialled unless it says so; where the database cannot be
used its own errors come out, with the same meaning.
"""

from __future__ import annotations

from typing import Any

import attrs

from relay.agent import Agent
from relay.dialling.opt_out_requests import DoNotCallWishes
from relay.dialling.outbound_calls import Conversations
from relay.dialling.requests import CallRequest, TransferRequest, VoiceMessageRequest
from relay.dialling.transfers import Transfers
from relay.dialling.voice_messages import VoiceMessages


@attrs.frozen(kw_only=True)
class OutboundDesk:
    """The four operations. For any number of tasks at once."""

    conversations: Conversations
    voice_messages: VoiceMessages
    transfers: Transfers
    wishes: DoNotCallWishes

    async def make_call(self, agent: Agent, wish: CallRequest) -> dict[str, Any]:
        """Place a call; see `Conversations.make_call`."""
        return await self.conversations.make_call(agent, wish)

    async def send_voice_message(self, agent: Agent, wish: VoiceMessageRequest) -> dict[str, Any]:
        """Place a call that plays a text; see `VoiceMessages.send`."""
        return await self.voice_messages.send(agent, wish)

    async def transfer_call(self, agent: Agent, wish: TransferRequest) -> dict[str, Any]:
        """Pass a call of the agent on; see `Transfers.transfer_call`."""
        return await self.transfers.transfer_call(agent, wish)

    async def stop_calling(self, agent: Agent, *, number: str, call_sid: str, reason: str) -> dict[str, Any]:
        """Put a number on the agent's do-not-call list; see `DoNotCallWishes.stop_calling`."""
        return await self.wishes.stop_calling(agent, number=number, call_sid=call_sid, reason=reason)
