"""Connects a call to the voice socket, for every webhook that asks: a ticket and its TwiML, or an apology.

The sessions of a call are numbered from 0 (`attempt`), and how many of them broke (`lost`) is counted apart: a call
that comes back from a transfer is connected anew, and nothing was lost. Both numbers travel in the query of the
action's address, and with them whether the carrier refused the call's voice (see relay/twilio/urls.py).
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import structlog
from quart import request
from werkzeug.exceptions import NotFound

from actors.errors import CallRefused
from relay.agent import Agent
from relay.known_agents import KnownAgents
from relay.reception import IncomingCall, Reception
from relay.speech.locales import CarrierPhrases
from relay.twilio import twiml
from relay.twilio.urls import NO_VOICE, CarrierUrls

log = structlog.get_logger(__name__)

# Not Quart's `Response`: unless the app makes it, its body is read by asyncio.
Answer = tuple[str, int, dict[str, str]]


@attrs.frozen
class Connections:
    """The number of a call's session, how many of those before it broke, and whether the call's voice was refused.

    `holds` counts how often the caller was held since, because the process that was asked is leaving.
    """

    attempt: int
    lost: int
    is_voiceless: bool = False
    holds: int = 0

    @classmethod
    def asked(cls) -> Connections:
        """Read the numbers from the query of the current request.

        An address without `lost` is from a version without transfers: there every further attempt followed a loss.
        """
        attempt = max(0, request.args.get("attempt", 0, type=int))
        lost = max(0, request.args.get("lost", attempt, type=int))
        holds = max(0, request.args.get("moving", 0, type=int))
        return cls(attempt, lost, request.args.get("voice") == NO_VOICE, holds)


@attrs.frozen(kw_only=True)
class Connector:
    """Answer the carrier about a call."""

    agents: KnownAgents
    reception: Reception
    phrases: Callable[[str], CarrierPhrases]
    urls: CarrierUrls
    default_language: str

    async def agent(self, agent_id: str) -> Agent:
        """Return the agent. Raises the HTTP error 404 where there is none."""
        agent = await self.agents.get(agent_id)
        if agent is None:
            raise NotFound
        return agent

    async def connect(
        self, call: IncomingCall, *, lost: int = 0, is_voiceless: bool = False, refused_status: int
    ) -> Answer:
        """Register the call and order the carrier to connect it; with `refused_status` an apology if it is refused.

        A call that `is_voiceless` is spoken with the carrier's own voice for its language, now and in what follows.
        """
        agent_id = call.agent.agent_id
        try:
            admission = await self.reception.register(call)
        except CallRefused as refusal:
            log.warning("call_refused", agent_id=agent_id, call_sid=call.call_sid, code=refusal.code)
            if refusal.code == "over":
                return twiml_answer(twiml.empty())
            return self.apology(call.agent, refused_status)
        log.info(
            "call_admitted", agent_id=agent_id, call_sid=call.call_sid, attempt=call.attempt, repeat=admission.repeat
        )
        info = admission.call_info
        return twiml_answer(
            twiml.conversation_relay(
                socket_url=self.urls.voice_socket(agent_id),
                action_url=self.urls.voice_ended(agent_id, call.attempt, lost=lost, is_voiceless=is_voiceless),
                ticket=admission.ticket,
                language=info.language,
                voice="" if is_voiceless else info.voice,
                # A screened call is greeted by the relay, once a person is known to have answered.
                greeting="" if info.screened else info.greeting,
            )
        )

    def apology(self, agent: Agent, status: int = 200) -> Answer:
        """Return TwiML that says that the agent cannot be reached, and hangs up."""
        return twiml_answer(twiml.apology(self.phrases_of(agent).busy, self.language_of(agent)), status)

    def plain_apology(self, status: int) -> Answer:
        """Return the same TwiML if the agent of the call is not known."""
        return twiml_answer(twiml.apology(self.phrases(self.default_language).busy, self.default_language), status)

    def phrases_of(self, agent: Agent) -> CarrierPhrases:
        """Return the sentences that the carrier speaks for this agent."""
        return self.phrases(self.language_of(agent))

    def language_of(self, agent: Agent) -> str:
        """Return the agent's own language, or the default."""
        return agent.language or self.default_language


def twiml_answer(document: str, status: int = 200) -> Answer:
    """Return the answer that carries a TwiML document."""
    return document, status, {"Content-Type": "text/xml; charset=utf-8"}
