"""A telephone for calls out that only remembers: what the tests of this folder offer to clients."""

from __future__ import annotations

from typing import Any, cast

import attrs
import trio

from actors.errors import UnknownCall
from relay.agent import Agent
from relay.dialling.opt_out import OptOutRequests
from relay.dialling.outbound_calls import Conversations
from relay.dialling.requests import CallRequest, TransferRequest, VoiceMessageRequest
from relay.dialling.transfers import Transfers
from relay.dialling.voice_messages import VoiceMessages
from relay.mcp.tools.outbound import outbound_tools
from relay.mcp.tools.toolbox import Tool
from tests.sids import sid

Wish = CallRequest | VoiceMessageRequest | TransferRequest

VERDICT: dict[str, Any] = {
    "allowed": False,
    "to": "+4930123456",
    "zones": ["Europe/Berlin"],
    "refusals": [{"name": "quiet_hours", "sentence": "It is 3 in the morning there.", "liftedBy": "Waiting."}],
    "nextAllowed": "2026-11-22T07:00:00Z",
}


@attrs.define
class MemoryOutbound:
    """A telephone that only keeps what was wanted of it, by agent. `failure` is raised instead.

    A dry run gets `VERDICT`. Calls in `calls` can be passed on and asked about.
    """

    failure: Exception | None = None
    calls: set[tuple[str, str]] = attrs.field(factory=set)
    wishes: list[tuple[str, Wish]] = attrs.field(factory=list)
    stopped: list[tuple[str, str, str, str]] = attrs.field(factory=list)

    def tools(self) -> list[Tool[Any]]:
        """Return the tools over it."""
        return outbound_tools(
            cast("Conversations", self),
            cast("VoiceMessages", self),
            cast("Transfers", self),
            cast("OptOutRequests", self),
        )

    async def make_call(self, agent: Agent, wish: CallRequest) -> dict[str, Any]:
        return await self._take(agent, wish) or {
            "callSid": sid(),
            "status": "queued",
            "to": wish.to,
            "from": "+15550002222",
        }

    async def send(self, agent: Agent, wish: VoiceMessageRequest) -> dict[str, Any]:
        return await self._take(agent, wish) or {
            "callSid": sid(),
            "status": "queued",
            "to": wish.to,
            "from": "+15550002222",
            "audioUrl": "https://voice.example.com/audio/x.wav",
            "durationSeconds": 2.5,
        }

    async def transfer_call(self, agent: Agent, wish: TransferRequest) -> dict[str, Any]:
        self._know(agent, wish.call_sid)
        return await self._take(agent, wish) or {"callSid": wish.call_sid, "status": "transferring", "to": wish.to}

    async def stop_calling(self, agent: Agent, *, number: str, call_sid: str, reason: str) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        if call_sid:
            self._know(agent, call_sid)
        self.stopped.append((agent.agent_id, number, call_sid, reason))
        return {"to": number or "+15550001111", "added": len(self.stopped) == 1}

    async def _take(self, agent: Agent, wish: Wish) -> dict[str, Any] | None:
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        self.wishes.append((agent.agent_id, wish))
        return {"dryRun": True, **VERDICT} if wish.dry_run else None

    def _know(self, agent: Agent, call_sid: str) -> None:
        if (agent.agent_id, call_sid) not in self.calls:
            raise UnknownCall(call_sid)
