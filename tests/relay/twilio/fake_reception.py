"""Stand-ins for what the web side needs: a directory of agents, a reception and transfers that remember all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import cast
from xml.etree import ElementTree as ET

import attrs
import trio
from quart_trio import QuartTrio

from actors.call_record import CallProgress
from actors.call_values import Callee, CallInfo
from actors.ports import PhoneLine
from actors.transfer import TransferOrder, TransferOutcome
from relay.agent import Agent
from relay.errors import DatabaseError
from relay.http.pages import build_app
from relay.known_agents import KnownAgents
from relay.reception import Admission, IncomingCall, Reception
from relay.speech.locales import CarrierPhrases
from relay.twilio.signatures import SignatureChecker
from relay.twilio.urls import CarrierUrls
from relay.twilio.webhooks import CarrierWebhooks
from tests.relay.http.asgi_driver import ORIGIN, TOKEN, Answer

ANNE = Agent(agent_id="anne", greeting="Anne's line.", voice="a-voice", language="de-DE", created_at=datetime.now(UTC))


@attrs.frozen
class Agents:
    """A directory with one agent in it."""

    agent: Agent = ANNE

    async def get(self, agent_id: str) -> Agent | None:
        """Return the agent for its id."""
        return self.agent if agent_id == self.agent.agent_id else None


def phrases_in(language: str) -> CarrierPhrases:
    """Return the carrier's phrases, in a language that says which it is."""
    return CarrierPhrases(
        busy=f"busy in {language}", cut_off=f"cut off in {language}", whisper=f"press 1 in {language}"
    )


async def _hang_up(_info: CallInfo, line: PhoneLine) -> None:
    await line.close(1000)


@attrs.define(eq=False)
class FakeReception:
    """Stands in for `Reception`, and for `Calls` at the voice socket.

    Admits all calls with the ticket `ticket-of-<sid>-<attempt>`, once redeemable.

    `refusal` is raised instead of admitting, `loss` instead of taking note; `on_connect` is what a connected call does.
    """

    refusal: Exception | None = None
    loss: Exception | None = None
    on_connect: Callable[[CallInfo, PhoneLine], Awaitable[None]] = _hang_up
    registered: list[IncomingCall] = attrs.field(factory=list)
    connected: list[CallInfo] = attrs.field(factory=list)
    progress: list[tuple[str, CallProgress]] = attrs.field(factory=list)
    callees: list[tuple[str, str, Callee]] = attrs.field(factory=list)
    note: str | None = None
    is_leaving: bool = False
    passed_on: list[tuple[str, str]] = attrs.field(factory=list)
    handed: list[tuple[str, str, TransferOrder]] = attrs.field(factory=list)
    results: list[tuple[str, str, TransferOutcome, str]] = attrs.field(factory=list)
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

    async def connect(self, info: CallInfo, line: PhoneLine, *, hop: str = "") -> None:
        """Do with the call what the test wants."""
        self.connected.append(info)
        await self.on_connect(info, line)

    async def progressed(self, agent_id: str, progress: CallProgress) -> None:
        """Remember what was said of the call."""
        await trio.lowlevel.checkpoint()
        if self.loss is not None:
            raise self.loss
        self.progress.append((agent_id, progress))

    def pass_on(self, agent_id: str, call_sid: str) -> bool:
        """Let go of the call if this process is leaving."""
        if self.is_leaving:
            self.passed_on.append((agent_id, call_sid))
        return self.is_leaving

    async def picked_up(self, agent_id: str, call_sid: str, callee: Callee) -> None:
        """Remember who picked up."""
        await trio.lowlevel.checkpoint()
        if self.loss is not None:
            raise self.loss
        self.callees.append((agent_id, call_sid, callee))

    def transfer_handed(self, agent_id: str, call_sid: str, order: TransferOrder) -> None:
        """Remember whose carrier got which orders."""
        self.handed.append((agent_id, call_sid, order))

    async def transfer_dialled(
        self, agent_id: str, call_sid: str, outcome: TransferOutcome, error: str = ""
    ) -> str | None:
        """Remember how it went."""
        await trio.lowlevel.checkpoint()
        self.results.append((agent_id, call_sid, outcome, error))
        return self.note

    @property
    def over(self) -> list[str]:
        """The calls that were said to be over, once for each time."""
        return [progress.call_sid for _agent_id, progress in self.progress if progress.is_over]


class NoAgents:
    """A directory that cannot be read."""

    async def get(self, agent_id: str) -> Agent | None:
        """Fail as a database does."""
        raise DatabaseError(f"The database could not be read, nor {agent_id} found.")


def carrier_app(reception: FakeReception, agent: Agent = ANNE, *, agents: Agents | NoAgents | None = None) -> QuartTrio:
    """Return the web app with the carrier's routes for this agent, or for those of a directory."""
    webhooks = CarrierWebhooks(
        checker=SignatureChecker(TOKEN, ORIGIN),
        agents=cast("KnownAgents", agents or Agents(agent)),
        reception=cast("Reception", reception),
        phrases=phrases_in,
        urls=CarrierUrls(ORIGIN),
    )
    return build_app([webhooks.blueprint()])


def verbs(answer: Answer) -> list[ET.Element]:
    """Return what the carrier is ordered to do."""
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    return list(ET.fromstring(answer.body))


def spoken(answer: Answer) -> list[tuple[str, str | None]]:
    """Return the names and the texts of what the carrier is ordered to do."""
    return [(verb.tag, verb.text) for verb in verbs(answer)]


def connection(answer: Answer) -> tuple[ET.Element, ET.Element]:
    """Return the `<Connect>` that is the only order, and its `<ConversationRelay>`."""
    (connect,) = verbs(answer)
    (relay,) = connect
    assert (connect.tag, relay.tag) == ("Connect", "ConversationRelay")
    return connect, relay
