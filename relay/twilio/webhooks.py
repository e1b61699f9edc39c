"""The carrier's webhooks: a call comes in, goes on, is picked up, is over. Signed forms in, TwiML out.

    POST /webhooks/{agent}/voice          ──register──▶ Reception ──ticket──▶ <Connect><ConversationRelay>
    POST /webhooks/{agent}/voice-ended    the Connect action: hand over, go on, resume, hold, apologise, or nothing
    POST /webhooks/{agent}/call-status    ──progressed──▶ Reception
    POST /webhooks/{agent}/answered-by    ──picked_up──▶ Reception

    A transfer is dialled by the answer to voice-ended:
    <Number url> ──▶ /whisper ──▶ <Gather> "press 1" ──▶ /whisper-answer ──▶ connected, or hung up on
    <Dial action> ──▶ /transfer-ended ──transfer_dialled──▶ Reception ─┬─ None: the call is done with
                                                                      └─ a note: register, and <Connect> once more

The signature is checked before anything else is said, even whether the agent exists. To the carrier a refusal is an
empty body with a status; a caller hears it only where TwiML says it. What could not even be kept is a 503; while
nobody can be looked up, a caller hears an apology.

A session that broke while the call is up is resumed by the same TwiML with a new ticket, three times at most, so that
a relay which crashes with every socket does not make an endless, billed call. A voice that its provider refuses is left
out, once: voices are withdrawn, and a caller who hears another one is better off than one who hears an apology.

A session that was ended because the call moves is followed by another one in silence, and counts as none that broke. A
process that is leaving must not begin what it cannot keep: it holds the caller for a moment and has the carrier ask
again, so that the next process, or another one, takes the call on.

The whisper's webhooks are about the callee's own call, which is not one of ours: they change nothing here.

Source: the carrier's pages on the `<Connect>` action, on `<Dial>`, `<Number>` and `<Gather>`, on call status callbacks,
on answering machine detection, and its list of error codes.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import structlog
from quart import Blueprint, make_response, request
from quart.typing import ResponseTypes
from werkzeug.exceptions import NotFound

from actors.call_record import CallProgress
from actors.errors import StoreFailed
from actors.transfer import outcome_of_dial
from relay.agent import Agent
from relay.errors import DatabaseError
from relay.known_agents import KnownAgents
from relay.logs import report
from relay.reception import Reception, our_number
from relay.speech.locales import CarrierPhrases
from relay.twilio import forms as carrier_forms
from relay.twilio import twiml
from relay.twilio.connector import Answer, Connections, Connector, twiml_answer
from relay.twilio.forms import Form
from relay.twilio.handoff_data import Moving, read_handoff_data
from relay.twilio.signatures import SignatureChecker
from relay.twilio.urls import CarrierUrls

log = structlog.get_logger(__name__)

MAX_RESUMES = 3

# How long a caller is held before the carrier asks again, and how often. The next process takes two to four seconds to
# start. If the carrier asks in between, nobody answers and the call is over: rather a second too long than too short.
HOLD_SECONDS = 5
MAX_HOLDS = 6

# Webhooks whose answer is not played to a party.
_ONLY_REPORTED = frozenset({"call-status", "answered-by"})

# What the same TwiML would meet again: invalid attributes (64101, 64106), the longest call (64104), too many sessions
# (64109), an account without the feature (64110), a voice that its provider refuses (64111).
_VOICE_REFUSED = "64111"
_HOPELESS = frozenset({"64101", "64104", "64106", "64109", "64110", _VOICE_REFUSED})

_ACCEPTING_KEY = "1"
# Of a refusal in the middle of a call: its apology must be played, and after an error the carrier plays its own.
_PLAYED = 200


@attrs.frozen(kw_only=True)
class CarrierWebhooks:
    """All webhooks of an agent."""

    checker: SignatureChecker
    agents: KnownAgents
    reception: Reception
    phrases: Callable[[str], CarrierPhrases]
    urls: CarrierUrls
    default_language: str = "en-US"
    _connector: Connector = attrs.field(init=False)

    @_connector.default
    def _make_connector(self) -> Connector:
        return Connector(
            agents=self.agents,
            reception=self.reception,
            phrases=self.phrases,
            urls=self.urls,
            default_language=self.default_language,
        )

    def blueprint(self) -> Blueprint:
        """Return the routes. The app they are registered with needs the `agent_id` converter (see `app.build_app`)."""
        routes = Blueprint("carrier", __name__, url_prefix="/webhooks/<agent_id:agent_id>")
        routes.post("/voice")(self.voice)
        routes.post("/voice-ended")(self.voice_ended)
        routes.post("/call-status")(self.call_status)
        routes.post("/answered-by")(self.answered_by)
        routes.post("/transfer-ended")(self.transfer_ended)
        routes.post("/whisper")(self.whisper)
        routes.post("/whisper-answer")(self.whisper_answer)
        routes.register_error_handler(StoreFailed, _not_kept)
        routes.register_error_handler(DatabaseError, self._not_found_out)
        return routes

    async def voice(self, agent_id: str) -> Answer:
        """Answer a new call: connect it to the voice socket, or 503 and a spoken apology when it is not admitted."""
        form = await carrier_forms.signed_form(self.checker)
        agent = await self._connector.agent(agent_id)
        return await self._connector.connect(carrier_forms.incoming_call(agent, form), refused_status=503)

    async def voice_ended(self, agent_id: str) -> Answer:
        """Answer what follows the end of a session: nothing, a transfer, a resumed session, or an apology."""
        form = await carrier_forms.signed_form(self.checker)
        call_sid, connections = carrier_forms.call_sid(form), Connections.asked()
        status, code = form.get("SessionStatus", ""), form.get("ErrorCode", "")
        log.info(
            "session_over",
            agent_id=agent_id,
            call_sid=call_sid,
            status=status,
            error_code=code,
            attempt=connections.attempt,
            lost=connections.lost,
        )
        progress = carrier_forms.call_progress(form)
        if progress is not None and progress.is_over:
            await self.reception.progressed(agent_id, progress)
            return twiml_answer(twiml.empty())
        agent = await self._connector.agent(agent_id)
        match status:
            case "ended":
                return await self._hand_off(agent, form, connections)
            case "failed":
                await self._note_fault(agent, progress)
                return await self._resume(agent, form, connections)
            case "" if connections.holds:  # a redirection has no session
                return await self._go_on(agent, form, connections)
            case _:
                return twiml_answer(twiml.empty())

    async def call_status(self, agent_id: str) -> Answer:
        """Record a status callback of a call. The agent may be gone by now; the call's end still counts."""
        form = await carrier_forms.signed_form(self.checker)
        call_sid, progress = carrier_forms.call_sid(form), carrier_forms.call_progress(form)
        log.info("call_status", agent_id=agent_id, call_sid=call_sid, status=form.get("CallStatus", ""))
        if progress is not None:
            await self.reception.progressed(agent_id, progress)
        return "", 204, {}

    async def answered_by(self, agent_id: str) -> Answer:
        """Record who picked up a call that we made, as far as the carrier can tell."""
        form = await carrier_forms.signed_form(self.checker)
        call_sid, callee = carrier_forms.call_sid(form), carrier_forms.callee(form)
        log.info("call_picked_up", agent_id=agent_id, call_sid=call_sid, callee=callee.value)
        await self.reception.picked_up(agent_id, call_sid, callee)
        return "", 204, {}

    async def transfer_ended(self, agent_id: str) -> Answer:
        """Answer what happens to a caller after a transfer: a new session with the agent, or the end of the call.

        The end of the call is recorded even if the agent was removed meanwhile.
        """
        form = await carrier_forms.signed_form(self.checker)
        carrier_forms.call_sid(form)
        progress = carrier_forms.call_progress(form)
        over = progress if progress is not None and progress.is_over else None
        agent = await self._connector.agents.get(agent_id)
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
        agent = await self._connector.agent(agent_id)
        text, language = self._connector.phrases_of(agent).whisper, self._connector.language_of(agent)
        return twiml_answer(twiml.whisper(text, language, self._connector.urls.whisper_answer(agent_id)))

    async def whisper_answer(self, agent_id: str) -> Answer:
        """Connect the two if the right key was pressed, else hang up on the callee."""
        form = await carrier_forms.signed_form(self.checker)
        is_accepted = form.get("Digits") == _ACCEPTING_KEY
        log.info("whisper_answered", agent_id=agent_id, call_sid=carrier_forms.call_sid(form), accepted=is_accepted)
        return twiml_answer(twiml.accepted() if is_accepted else twiml.declined())

    async def _hand_off(self, agent: Agent, form: Form, connections: Connections) -> Answer:
        call = carrier_forms.incoming_call(agent, form, attempt=connections.attempt)
        order = read_handoff_data(form.get("HandoffData", ""), call_sid=call.call_sid)
        if order is None:  # the call was ended
            return twiml_answer(twiml.empty())
        if isinstance(order, Moving):
            return await self._go_on(agent, form, connections)
        self.reception.transfer_handed(agent.agent_id, call.call_sid, order)
        orders = twiml.transfer(
            order,
            caller_id=our_number(call),
            urls=self.urls,
            agent_id=agent.agent_id,
            attempt=call.attempt,
        )
        return twiml_answer(orders)

    async def _go_on(self, agent: Agent, form: Form, connections: Connections) -> Answer:
        """Connect a call that moves, in silence; while this process is leaving, hold the caller."""
        call = carrier_forms.incoming_call(agent, form, attempt=connections.attempt + 1, greeting="")
        if self.reception.pass_on(agent.agent_id, call.call_sid):
            return self._hold(agent, call.call_sid, connections)
        return await self._connector.connect(
            call,
            lost=connections.lost,
            is_voiceless=connections.is_voiceless,
            refused_status=_PLAYED,
        )

    def _hold(self, agent: Agent, call_sid: str, connections: Connections) -> Answer:
        holds = connections.holds + 1
        if holds > MAX_HOLDS:
            log.error("call_given_up", agent_id=agent.agent_id, call_sid=call_sid, holds=connections.holds)
            return self._connector.apology(agent)
        log.info("call_held", agent_id=agent.agent_id, call_sid=call_sid, holds=holds)
        ask_again = self._connector.urls.voice_ended(
            agent.agent_id,
            connections.attempt,
            lost=connections.lost,
            is_voiceless=connections.is_voiceless,
            holds=holds,
        )
        return twiml_answer(twiml.hold(HOLD_SECONDS, ask_again))

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
        note = await self.reception.transfer_dialled(agent.agent_id, call_sid, outcome, error)
        if note is None or not caller_is_there:
            return twiml_answer(twiml.empty())
        connections = Connections.asked()
        call = carrier_forms.incoming_call(agent, form, attempt=connections.attempt + 1, greeting="", note=note)
        return await self._connector.connect(call, lost=connections.lost, refused_status=_PLAYED)

    async def _resume(self, agent: Agent, form: Form, connections: Connections) -> Answer:
        agent_id, call_sid, code = agent.agent_id, carrier_forms.call_sid(form), form.get("ErrorCode", "")
        other_voice = code == _VOICE_REFUSED and not connections.is_voiceless
        if (code in _HOPELESS and not other_voice) or connections.lost >= MAX_RESUMES:
            log.error("call_given_up", agent_id=agent_id, call_sid=call_sid, error_code=code, lost=connections.lost)
            return self._connector.apology(agent)
        lost, is_voiceless = connections.lost + 1, connections.is_voiceless or other_voice
        if self.reception.pass_on(agent_id, call_sid):
            return self._hold(agent, call_sid, attrs.evolve(connections, lost=lost, is_voiceless=is_voiceless))
        greeting = self._connector.phrases_of(agent).cut_off
        call = carrier_forms.incoming_call(agent, form, attempt=connections.attempt + 1, greeting=greeting)
        if other_voice:
            log.warning("voice_refused", agent_id=agent_id, call_sid=call_sid, error_code=code)
            # Without a voice nothing was heard of the first session, so the next one begins as it did.
            call = attrs.evolve(call, is_unheard=connections.attempt == 0)
        return await self._connector.connect(call, lost=lost, is_voiceless=is_voiceless, refused_status=_PLAYED)

    async def _note_fault(self, agent: Agent, progress: CallProgress | None) -> None:
        if progress is None or not progress.error:
            return
        try:
            await self.reception.progressed(agent.agent_id, progress)
        except StoreFailed as error:
            # The call goes on, which counts for more than what its record says of a line that broke.
            call_sid, why = progress.call_sid, type(error).__name__
            log.warning("fault_not_noted", agent_id=agent.agent_id, call_sid=call_sid, error=why)

    async def _not_found_out(self, error: DatabaseError) -> ResponseTypes:
        """Answer while the database cannot be read: with an apology where there is a caller to hear it."""
        report("webhook_without_database", error, path=request.path)
        name = request.path.rpartition("/")[2]
        if name in _ONLY_REPORTED:
            return await make_response(b"", 503, {"Content-Type": "text/plain"})
        # As where a call is refused: an error's own TwiML is played for a new call only.
        answer = self._connector.plain_apology(503 if name == "voice" else 200)
        return await make_response(*answer)


async def _not_kept(error: StoreFailed) -> ResponseTypes:
    log.warning("webhook_not_kept", path=request.path, error=type(error).__name__)
    return await make_response(b"", 503, {"Content-Type": "text/plain"})
