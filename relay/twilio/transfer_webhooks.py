"""The carrier's webhooks of a transfer: the outcome of the `<Dial>`, and the whisper to the person who picked up.

    <Number url> ──▶ /whisper ──▶ <Gather> "press 1" ──▶ /whisper-answer ──▶ connected, or hung up on
    <Dial action> ──▶ /transfer-ended ──dialled──▶ Transfers ─┬─ None: the call is done with
                                                              └─ a note: register, and <Connect> once more

The whisper's webhooks are about the callee's own call, which is not one of ours: they change nothing here.
Source: the carrier's pages on `<Dial>`, `<Number>` and `<Gather>`.
"""

from __future__ import annotations

import attrs
import structlog
from quart import Blueprint, request
from werkzeug.exceptions import NotFound

from actors.transfer import outcome_of_dial
from relay.agent import Agent
from relay.reception import Reception
from relay.twilio import forms as carrier_forms
from relay.twilio import twiml
from relay.twilio.connector import Answer, Connections, Connector, twiml_answer
from relay.twilio.forms import Form
from relay.twilio.ports import Transfers
from relay.twilio.signatures import SignatureChecker

log = structlog.get_logger(__name__)

_ACCEPTING_KEY = "1"


@attrs.frozen(kw_only=True)
class TransferWebhooks:
    """The three webhooks of a transfer."""

    checker: SignatureChecker
    connector: Connector
    reception: Reception
    transfers: Transfers

    def add_to(self, routes: Blueprint) -> None:
        """Add the routes to those of the agent's other webhooks."""
        routes.post("/transfer-ended")(self.transfer_ended)
        routes.post("/whisper")(self.whisper)
        routes.post("/whisper-answer")(self.whisper_answer)

    async def transfer_ended(self, agent_id: str) -> Answer:
        """Answer what happens to a caller after a transfer: a new session with the agent, or the end of the call.

        The end of the call is recorded even if the agent was removed meanwhile.
        """
        form = await carrier_forms.signed_form(self.checker)
        carrier_forms.call_sid(form)
        progress = carrier_forms.call_progress(form)
        over = progress if progress is not None and progress.is_over else None
        agent = await self.connector.agents.get(agent_id)
        if agent is not None:
            answer = await self._follow_up(agent, form, caller_is_there=over is None)
        elif over is not None:
            answer = twiml_answer(twiml.empty())
        else:
            raise NotFound
        if over is not None:
            await self.reception.progressed(agent_id, over)
        return answer

    async def whisper(self, agent_id: str) -> Answer:
        """Whisper to the person who picked up that a caller waits, and how to take the call."""
        form = await carrier_forms.signed_form(self.checker)
        carrier_forms.call_sid(form)
        agent = await self.connector.agent(agent_id)
        text, language = self.connector.phrases_of(agent).whisper, self.connector.language_of(agent)
        return twiml_answer(twiml.whisper(text, language, self.connector.urls.whisper_answer(agent_id)))

    async def whisper_answer(self, agent_id: str) -> Answer:
        """Connect the two if the right key was pressed, else hang up on the callee."""
        form = await carrier_forms.signed_form(self.checker)
        is_accepted = form.get("Digits") == _ACCEPTING_KEY
        log.info("whisper_answered", agent_id=agent_id, call_sid=carrier_forms.call_sid(form), accepted=is_accepted)
        return twiml_answer(twiml.accepted() if is_accepted else twiml.declined())

    async def _follow_up(self, agent: Agent, form: Form, *, caller_is_there: bool) -> Answer:
        confirm = request.args.get("confirm") == "1"
        status, bridged = carrier_forms.dial_status(form), carrier_forms.is_bridged(form, confirm=confirm)
        call_sid, error = carrier_forms.call_sid(form), carrier_forms.error_code(form)
        log.info(
            "transfer_over",
            agent_id=agent.agent_id,
            call_sid=call_sid,
            status=status,
            bridged=bridged,
            caller_is_there=caller_is_there,
            error_code=error,
        )
        outcome = outcome_of_dial(status, bridged=bridged, caller_is_there=caller_is_there, confirm=confirm)
        note = await self.transfers.dialled(agent.agent_id, call_sid, outcome, error)
        if note is None or not caller_is_there:
            return twiml_answer(twiml.empty())
        connections = Connections.asked()
        call = carrier_forms.incoming_call(agent, form, attempt=connections.attempt + 1, greeting="", note=note)
        # 200 even when refused: this apology must be played, and after an error the carrier plays its own.
        return await self.connector.connect(call, lost=connections.lost, refused_status=200)
