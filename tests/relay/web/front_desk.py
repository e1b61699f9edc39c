"""Stand-ins for what the web side needs: a directory of agents, and a front desk that remembers what it was asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import attrs

from actors.messages import CallInfo
from actors.ports import PhoneLine
from relay.agents import Agent
from relay.web.ports import Admission, IncomingCall

ANNE = Agent(agent_id="anne", greeting="Anne's line.", voice="a-voice", language="de-DE", created_at=datetime.now(UTC))


class Agents:
    """A directory with one agent in it, Anne."""

    async def get(self, agent_id: str) -> Agent | None:
        """Return Anne for her id."""
        return ANNE if agent_id == ANNE.agent_id else None


@attrs.frozen
class Phrases:
    """The carrier's phrases, in a language that says which it is."""

    language: str

    @property
    def busy(self) -> str:
        """Return a sentence for a call that is not taken."""
        return f"busy in {self.language}"

    @property
    def cut_off(self) -> str:
        """Return a sentence for a call that is resumed."""
        return f"cut off in {self.language}"


async def _hang_up(_info: CallInfo, line: PhoneLine) -> None:
    await line.close(1000)


@attrs.define(eq=False)
class FakeDesk:
    """A front desk that admits all calls with the ticket `ticket-of-<sid>-<attempt>`, once redeemable.

    `refusal` is raised instead of admitting; `on_connect` is what a connected call does.
    """

    refusal: Exception | None = None
    on_connect: Callable[[CallInfo, PhoneLine], Awaitable[None]] = _hang_up
    registered: list[IncomingCall] = attrs.field(factory=list)
    connected: list[CallInfo] = attrs.field(factory=list)
    over: list[str] = attrs.field(factory=list)
    _tickets: dict[tuple[str, str, str], CallInfo] = attrs.field(factory=dict)

    async def register(self, call: IncomingCall) -> Admission:
        """Admit the call."""
        self.registered.append(call)
        if self.refusal is not None:
            raise self.refusal
        info = CallInfo(
            call_sid=call.call_sid,
            agent_id=call.agent.agent_id,
            greeting=(call.agent.greeting or "") if call.greeting is None else call.greeting,
            voice=call.agent.voice or "",
            language=call.agent.language or "en-US",
            started_at=datetime.now(UTC),
        )
        ticket = f"ticket-of-{call.call_sid}-{call.attempt}"
        self._tickets[info.agent_id, info.call_sid, ticket] = info
        return Admission(ticket=ticket, call_info=info)

    def redeem(self, agent_id: str, call_sid: str, ticket: str) -> CallInfo | None:
        """Take the ticket, once."""
        return self._tickets.pop((agent_id, call_sid, ticket), None)

    async def connect(self, info: CallInfo, line: PhoneLine) -> None:
        """Do with the call what the test wants."""
        self.connected.append(info)
        await self.on_connect(info, line)

    def ended(self, call_sid: str) -> None:
        """Remember that it is over."""
        self.over.append(call_sid)
