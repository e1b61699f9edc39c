"""The carrier's webhooks: a call comes in, a session is over, a call is over. Signed forms in, TwiML out.

    POST /webhooks/{agent}/voice          ──register──▶ FrontDesk ──ticket──▶ <Connect><ConversationRelay>
    POST /webhooks/{agent}/voice-ended    the Connect action: hand over, resume, apologise, or nothing
    POST /webhooks/{agent}/call-status    ──ended──▶ FrontDesk

The signature is checked before anything else is said, even whether the agent exists. To the carrier a refusal is an
empty body with a status; a caller hears it only where TwiML says it.

A session that broke while the call is up is resumed by the same TwiML with a new ticket, three times at most, so that
a relay which crashes with every socket does not make an endless, billed call. The count travels in the action URL's
query, which the carrier signs; nothing needs remembering, and another node can take over the call.

Source: the carrier's pages on the `<Connect>` action, on call status callbacks, and its list of error codes.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

import attrs
import structlog
from quart import Blueprint, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest, Forbidden, NotFound

from actors.errors import CallRefused
from actors.messages import Direction
from relay.agents import Agent
from relay.twilio import twiml
from relay.twilio.signatures import SignatureChecker
from relay.web.ports import AgentDirectory, EndedSession, FrontDesk, HandOff, IncomingCall, Phrasebook

log = structlog.get_logger(__name__)

MAX_RESUMES = 3

# The carrier adds fields without notice; some forty are known.
_MAX_FIELDS = 256

_CALL_SID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ATTESTATION = re.compile(r"TN-Validation-Passed-([ABC])")
_OVER = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})

# What the same TwiML would meet again: invalid attributes (64101, 64106), the longest call (64104), too many sessions
# (64109), an account without the feature (64110), a voice that its provider refuses (64111).
_HOPELESS = frozenset({"64101", "64104", "64106", "64109", "64110", "64111"})


# Not Quart's `Response`: unless the app makes it, its body is read by asyncio.
Answer = tuple[str, int, dict[str, str]]


async def no_hand_off(_session: EndedSession) -> None:
    """Let the call end with its session."""


@attrs.frozen(kw_only=True)
class CarrierWebhooks:
    """The three webhooks. `public_url` is the origin (`http` or `https`) from which all addresses in TwiML are made."""

    checker: SignatureChecker
    agents: AgentDirectory
    desk: FrontDesk
    phrases: Phrasebook
    public_url: str
    default_language: str = "en-US"
    hand_off: HandOff = no_hand_off

    def blueprint(self) -> Blueprint:
        """Return the routes. The app they are registered with needs the `agent_id` converter (see `app.build_app`)."""
        routes = Blueprint("carrier", __name__, url_prefix="/webhooks/<agent_id:agent_id>")
        routes.post("/voice")(self.voice)
        routes.post("/voice-ended")(self.voice_ended)
        routes.post("/call-status")(self.call_status)
        return routes

    async def voice(self, agent_id: str) -> Answer:
        """Answer a new call: connect it to the voice socket, or 503 and a spoken apology when it is not admitted."""
        form = await self._signed_form()
        agent = await self._agent(agent_id)
        return await self._connect(_incoming(agent, form), refused_status=503)

    async def voice_ended(self, agent_id: str) -> Answer:
        """Say what happens to a call whose session is over: nothing, a hand-over, a resumed session, or an apology."""
        form = await self._signed_form()
        call_sid = _call_sid(form)
        status, code = form.get("SessionStatus", ""), form.get("ErrorCode", "")
        attempt = max(0, request.args.get("attempt", 0, type=int))
        log.info("session_over", agent_id=agent_id, call_sid=call_sid, status=status, error_code=code, attempt=attempt)
        if form.get("CallStatus") in _OVER:
            self.desk.ended(call_sid)
            return _twiml(twiml.empty())
        agent = await self._agent(agent_id)
        match status:
            case "ended":
                handoff = form.get("HandoffData", "")
                session = EndedSession(agent=agent, call_sid=call_sid, handoff=handoff, attempt=attempt)
                return _twiml(await self.hand_off(session) or twiml.empty())
            case "failed" if code in _HOPELESS or attempt >= MAX_RESUMES:
                log.error("call_given_up", agent_id=agent_id, call_sid=call_sid, error_code=code, attempt=attempt)
                return self._apology(agent)
            case "failed":
                greeting = self.phrases(self._language(agent)).cut_off
                call = _incoming(agent, form, attempt=attempt + 1, greeting=greeting)
                # 200 even when refused: this apology must be played, and after an error the carrier plays its own.
                return await self._connect(call, refused_status=200)
            case _:
                return _twiml(twiml.empty())

    async def call_status(self, agent_id: str) -> Answer:
        """Take note of what the carrier says of the call. The agent may be gone by now; the call's end counts still."""
        form = await self._signed_form()
        call_sid, status = _call_sid(form), form.get("CallStatus", "")
        log.info("call_status", agent_id=agent_id, call_sid=call_sid, status=status)
        if status in _OVER:
            self.desk.ended(call_sid)
        return "", 204, {}

    async def _connect(self, call: IncomingCall, *, refused_status: int) -> Answer:
        agent_id = call.agent.agent_id
        try:
            admission = await self.desk.register(call)
        except CallRefused as refusal:
            log.warning("call_refused", agent_id=agent_id, call_sid=call.call_sid, code=refusal.code)
            return self._apology(call.agent, refused_status)
        log.info(
            "call_admitted", agent_id=agent_id, call_sid=call.call_sid, attempt=call.attempt, repeat=admission.repeat
        )
        info = admission.call_info
        base = f"{self.public_url}/webhooks/{agent_id}"
        return _twiml(
            twiml.conversation_relay(
                socket_url=f"ws{base.removeprefix('http')}/voice-ws",
                action_url=f"{base}/voice-ended?attempt={call.attempt}",
                ticket=admission.ticket,
                language=info.language,
                voice=info.voice,
                greeting=info.greeting,
            )
        )

    def _apology(self, agent: Agent, status: int = 200) -> Answer:
        language = self._language(agent)
        return _twiml(twiml.apology(self.phrases(language).busy, language), status)

    def _language(self, agent: Agent) -> str:
        return agent.language or self.default_language

    async def _signed_form(self) -> MultiDict[str, str]:
        """Read the form and check who sent it. Raises the HTTP errors 400, 403, 408 and 413."""
        if "X-Twilio-Signature" not in request.headers:
            raise Forbidden  # before the body is read: a stranger's bytes are not worth waiting for
        body = await request.get_data(cache=False, as_text=False, parse_form_data=False)
        try:
            pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
        except ValueError as error:
            raise BadRequest from error
        form = MultiDict(pairs)
        if not self.checker.check_form(request.scope, form):
            log.warning("webhook_refused", path=request.path, why="signature")
            raise Forbidden
        return form

    async def _agent(self, agent_id: str) -> Agent:
        agent = await self.agents.get(agent_id)
        if agent is None:
            raise NotFound
        return agent


def _incoming(
    agent: Agent, form: MultiDict[str, str], *, attempt: int = 0, greeting: str | None = None
) -> IncomingCall:
    attestation = _ATTESTATION.fullmatch(form.get("StirVerstat", ""))
    return IncomingCall(
        agent=agent,
        call_sid=_call_sid(form),
        caller=form.get("From", ""),
        called=form.get("To", ""),
        direction=Direction.OUTBOUND if form.get("Direction", "").startswith("outbound") else Direction.INBOUND,
        attestation=attestation[1] if attestation else "",
        idempotency_token=request.headers.get("I-Twilio-Idempotency-Token", ""),
        attempt=attempt,
        greeting=greeting,
    )


def _call_sid(form: MultiDict[str, str]) -> str:
    call_sid = form.get("CallSid", "")
    if not _CALL_SID.fullmatch(call_sid):
        raise BadRequest
    return call_sid


def _twiml(document: str, status: int = 200) -> Answer:
    return document, status, {"Content-Type": "text/xml; charset=utf-8"}
