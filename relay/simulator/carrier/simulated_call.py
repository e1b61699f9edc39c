"""A simulated call: what the carrier does with it, and what a script has the caller do.

    voice webhook, or an order ─▶ TwiML ─▶ Say, Play, Dial …
                                   ▲ └─▶ Connect ─▶ Session ─▶ action callback ─▶ TwiML ─▶ … ─▶ status callback
                                   └─ redirect, over the REST API, at any time

The carrier's half runs as one task, which follows TwiML until the call is over. The script's half acts on whichever
session is live, so that a script goes on talking when the relay has connected the call anew. Both halves are in this
one long file because they share the state of the call. Source: Twilio's pages on the voice webhook, `<Connect>`,
`<Dial>`, call status callbacks and the modification of live calls.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

import attrs
import trio

from relay.simulator.carrier.audio import Audio
from relay.simulator.carrier.dialled_calls import Leg, dial
from relay.simulator.carrier.fault_plan import CallOver, EndlessCall, ScriptError, TwimlRefused, WebhookFailed
from relay.simulator.carrier.speaking import Earpiece, Playback, Reports
from relay.simulator.carrier.twiml_reader import Verb
from relay.simulator.carrier.twiml_reader import read as read_twiml
from relay.simulator.carrier.voice_session import Outcome, Session, Token
from relay.simulator.carrier.webhook_client import Account, CallFacts, fetch_twiml, post_completed
from relay.simulator.carrier.websocket import WebSocket, WebSocketRefused

MAX_DOCUMENTS = 30
"""TwiML documents that one call may go through."""

MAX_RECONNECTS = 3
"""How often a lost socket is opened again with `applicationReconnect`; the carrier names no number."""

UNHEARD_TOKENS = 10_000
"""Text frames that may wait for a script that does not listen; a minute of fast speech is a few hundred."""


@attrs.frozen
class Heard:
    """A complete talk cycle, as the relay sent it: `began` and `ended` are Trio's clock at its first and last frame."""

    text: str
    began: float
    ended: float


@attrs.frozen
class Line:
    """A line of the conversation as it sounded: the `caller`'s words, or what came out of the `agent`'s."""

    speaker: str
    text: str


@attrs.define(eq=False)
class SimulatedCall:
    """A call at the simulated carrier. Every method of the script's raises `CallOver` once the call has ended.

    The script is the person at the telephone: who calls, or who is called. `documents` are the TwiML texts it went
    through, `sessions` its ConversationRelay sessions and `outcomes` how they ended, `transcript` what both sides
    heard, `said` what the carrier itself began to say for the relay, `played` the audio that the relay named and
    `audio` what of it was its own, decoded. `legs` are the calls
    that `<Dial>` made. `status` is the REST API's; `answered_by` the verdict of the machine detection, if there was
    one. `duration` is in seconds, 0 until the end; `asked_at` is Trio's clock when the carrier last asked for TwiML.
    `make_earpiece` makes what its sessions are played on, if not on a `Playback` at the account's speech rate.
    """

    _account: Account
    facts: CallFacts
    documents: list[str] = attrs.field(factory=list)
    transcript: list[Line] = attrs.field(factory=list)
    outcomes: list[Outcome] = attrs.field(factory=list)
    legs: list[Leg] = attrs.field(factory=list)
    played: list[str] = attrs.field(factory=list)
    audio: list[Audio] = attrs.field(factory=list)
    sessions: list[Session] = attrs.field(factory=list)
    status: str = "queued"
    answered_by: str = ""
    created_at: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    duration: int = 0
    make_earpiece: Callable[[Reports], Earpiece] | None = None
    said: list[str] = attrs.field(factory=list)
    queued_seconds: float = 0.0
    asked_at: float = -math.inf
    _live: bool = False
    _over: bool = False
    _hung_up: bool = False
    _failure: Exception | None = None
    _changed: trio.Event = attrs.field(factory=trio.Event)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _talking: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _performing: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _redirection: str | None = None
    _asks: bool = True
    _began: float = attrs.field(factory=trio.current_time)
    _speak: trio.MemorySendChannel[Token] = attrs.field(init=False)
    _listen: trio.MemoryReceiveChannel[Token] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._speak, self._listen = trio.open_memory_channel(UNHEARD_TOKENS)

    # ── what the script sees ────────────────────────────────────────────────────────────────────────────────────────

    @property
    def call_sid(self) -> str:
        """The carrier's id of the call."""
        return self.facts.call_sid

    @property
    def twiml(self) -> str:
        """The TwiML that the call was answered with."""
        return self.documents[0]

    @property
    def attributes(self) -> Mapping[str, str]:
        """What `<ConversationRelay>` said of the live or last session; empty when there was none."""
        return self.sessions[-1].attributes if self.sessions else {}

    @property
    def greeting(self) -> str:
        """What the carrier itself says when the live or last session begins."""
        return self.attributes.get("welcomeGreeting", "")

    @property
    def heard(self) -> tuple[str, ...]:
        """What the caller has heard, a line a talk cycle; cut off where it was interrupted."""
        return tuple(line.text for line in self.transcript if line.speaker == "agent")

    @property
    def dialled(self) -> list[str]:
        """The numbers that `<Dial>` called, in order."""
        return [leg.number for leg in self.legs]

    @property
    def malformed(self) -> int:
        """How many frames the relay sent that a carrier would refuse."""
        return sum(session.malformed for session in self.sessions)

    @property
    def over(self) -> bool:
        """Whether the call has ended, callbacks included."""
        return self._over

    @property
    def is_connected(self) -> bool:
        """Whether a session is live, so that the relay hears the caller."""
        return self._live

    @property
    def is_speaking(self) -> bool:
        """Whether the caller hears the relay, or is about to."""
        return self._live and self.sessions[-1].is_speaking

    @property
    def ended(self) -> str | None:
        """The last `handoffData` with which the relay ended a session; None when it ended none, or gave none."""
        return next((each.handoff for each in reversed(self.outcomes) if each.status == "ended"), None)

    @property
    def close_code(self) -> int | None:
        """The code with which the relay closed the last session's socket."""
        return self.outcomes[-1].close_code if self.outcomes else None

    # ── what the script has the caller do ───────────────────────────────────────────────────────────────────────────

    async def connected(self) -> None:
        """Wait until a session is live, or the call is over. Raises what the relay did wrong."""
        while not (self._live or self._over):
            await self._changed.wait()
        if self._failure:
            raise self._failure

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so that the fields of this call tell, such as `lambda: call.legs`.

        Raises `CallOver` when the call ends first, and what the relay did wrong.
        """
        while not condition():
            if self._failure:
                raise self._failure
            if self._over:
                raise self._ended()
            await self._changed.wait()

    async def say(self, words: str, *, last: bool = True) -> None:
        """Speak. With `last` false it is the carrier's guess so far, cumulative, to be said again."""
        session = await self._session()
        if last:
            self.transcript.append(Line("caller", words))
            self._note_change()
        await session.say(words, last=last)

    async def press(self, keys: str) -> None:
        """Press keys. Raises `ScriptError` where the TwiML does not ask for them."""
        await (await self._session()).press(keys)

    async def interrupt(self, *, heard: str | None = None) -> None:
        """Talk over the agent; the words themselves are `say`'s. `heard` overrides what playback has counted.

        Raises `ScriptError` where the TwiML does not let speech interrupt.
        """
        await (await self._session()).interrupt(heard)

    async def send_raw(self, message: str | bytes) -> None:
        """Send a WebSocket message that no carrier would send."""
        await (await self._session()).send_raw(message)

    async def break_line(self) -> None:
        """Break the connection to the relay, as a network or a killed process does, and wait for the session's end.

        The call itself goes on: what the script does next waits for the session that the relay connects it to.
        """
        broken = await self._session()
        await broken.break_off()
        while self._live and self.sessions[-1] is broken:
            await self._changed.wait()

    async def drop_line(self) -> None:
        """Break the connection as `break_line` does, with a carrier that never asks what comes next.

        The call stays up, and silent, until it is changed over the REST API or the caller hangs up.
        """
        self._asks = False
        await self.break_line()

    async def freeze_line(self) -> None:
        """Take no more notice of what the relay sends: no speech, no `end`, no Close frame.

        What the caller says still goes out. The session lasts until the call is changed over the REST API, the caller
        hangs up, or the line breaks as well.
        """
        (await self._session()).freeze()

    async def hang_up(self) -> None:
        """Hang up. No-op if the call is over."""
        self._hung_up = True
        self._talking.cancel()
        if self._live:
            await self.sessions[-1].hang_up()

    async def next_token(self) -> Token:
        """Wait for the relay's next text frame. Raises `CallOver` when the call ends first."""
        try:
            return await self._listen.receive()
        except trio.EndOfChannel:
            raise self._ended() from None

    async def hear(self) -> Heard:
        """Wait for the next complete talk cycle that has any words. The greeting, which the carrier speaks, is none.

        Nor is a word that asks to wait, which makes way for what comes after it: that is in `heard` only. Raises
        `CallOver` when the call ends first; cancelling loses the part of a cycle that had come.
        """
        text, began = "", 0.0
        while True:
            try:
                token = await self.next_token()
            except CallOver as over:
                over.unfinished = text
                raise
            if token.preemptible:
                continue
            began = began if text else token.at
            text += token.text
            if token.last and text.strip():
                return Heard(text, began, token.at)

    async def quiet(self) -> None:
        """Wait until the caller has heard everything that the relay has sent so far."""
        await (await self._session()).quiet()

    async def wait_ended(self) -> None:
        """Wait until the call is over and its callbacks are delivered. Raises what the relay did wrong."""
        while not self._over:
            await self._changed.wait()
        if self._failure:
            raise self._failure

    async def _session(self) -> Session:
        await self.connected()
        if not self._live:
            raise self._ended()
        return self.sessions[-1]

    def _ended(self) -> CallOver:
        if self._failure:
            return CallOver(str(self._failure))
        outcome = self.outcomes[-1] if self.outcomes else None
        return CallOver(f"{outcome.status} {outcome.error_message}".rstrip() if outcome else "it had no session")

    # ── what the carrier does ───────────────────────────────────────────────────────────────────────────────────────

    async def live(self, document: str | None) -> None:
        """Carry an inbound call from its first TwiML to its last callback; raises nothing, the script is told.

        With a `document` the voice webhook is not asked.
        """

        async def script() -> None:
            self.status = "ringing"
            try:
                if document is None:
                    first = await self._ask(self.facts.voice_url, status="ringing")
                else:
                    first = document
                self.answer()
                await self._follow(first)
                self.end("completed")
                await post_completed(self._account, self.facts, trio.current_time() - self._began)
            except (WebhookFailed, TwimlRefused, EndlessCall) as failure:
                self.note_failure(failure)

        await self.run(script)

    async def run(self, script: Callable[[], Awaitable[None]]) -> None:
        """Go through a call's course, which must raise nothing of the relay's; when it is over, so is the call."""
        try:
            with self._scope:
                await script()
        finally:
            if self.ended_at is None:
                self.end("failed")
            self._over = True
            self._speak.close()
            self._note_change()

    async def follow(self, document: str) -> None:
        """Follow TwiML until there is no more; raises nothing, the script is told."""
        try:
            await self._follow(document)
        except (WebhookFailed, TwimlRefused, EndlessCall) as failure:
            self.note_failure(failure)

    async def pass_time(self, seconds: float) -> bool:
        """Wait on the line; return whether the call is still on, and what it was doing still wanted."""
        with trio.CancelScope() as self._talking:
            if self._hung_up:
                self._talking.cancel()
            await trio.sleep(seconds)
        return not (self._talking.cancelled_caught or self._hung_up)

    def answer(self) -> None:
        """Record that the callee picked up."""
        self.status = "in-progress"
        self.answered_at = datetime.now(UTC)
        self._began = trio.current_time()
        self._note_change()

    def note_verdict(self, answered_by: str) -> None:
        """Record the verdict of the machine detection."""
        self.answered_by = answered_by
        self._note_change()

    def end(self, status: str) -> None:
        """Note how the call ended; what is still to be posted changes nothing."""
        self.status = status
        self.ended_at = datetime.now(UTC)
        self.duration = round(trio.current_time() - self._began) if self.answered_at else 0
        self._note_change()

    def note_failure(self, failure: Exception) -> None:
        """Raise in the script what the relay did wrong; of several things the first."""
        self._failure = self._failure or failure
        self._note_change()

    async def redirect(self, document: str) -> None:
        """Drop what the call is doing and follow this TwiML, as an update over the REST API has it.

        A live session is closed as by the carrier, and its action URL is not asked.
        """
        self._redirection = document
        if self._live:
            await self.sessions[-1].hang_up()
        else:
            self._performing.cancel()

    def abandon(self) -> None:
        """Break the call off wherever it is; harmless when it is over."""
        self._scope.cancel()
        self._listen.close()

    async def _ask(self, url: str, *, status: str = "in-progress", extra: Mapping[str, str] | None = None) -> str:
        self.asked_at = trio.current_time()
        return await fetch_twiml(self._account, self.facts, url, status=status, extra=extra)

    async def _follow(self, document: str) -> None:
        following: str | None = document
        while following is not None:
            if len(self.documents) == MAX_DOCUMENTS:
                raise EndlessCall(f"the call went through {MAX_DOCUMENTS} TwiML documents")
            self.documents.append(following)
            self._note_change()
            # Read even when the caller is gone and it will not be performed: it is wrong all the same.
            verbs = read_twiml(following, secure=self._account.base_url.startswith("https"))
            following = None
            with trio.CancelScope() as self._performing:
                following = await self._perform(verbs)
            if self._redirection is not None:
                following, self._redirection = self._redirection, None

    async def _perform(self, verbs: Sequence[Verb]) -> str | None:
        """Do what a document says; return the document that follows it, if any."""
        for verb in verbs:
            if self._hung_up:
                return None
            match verb.name:
                case "Connect":
                    return await self._connect(verb)
                case "Dial":
                    return await self._dial(verb)
                case "Redirect":
                    return await self._ask(verb.text)
                case "Hangup" | "Reject":
                    return None
                case "Say" | "Pause" | "Play":
                    await self._sound(verb)
                case "Gather":
                    raise TwimlRefused(12200, "this simulator performs <Gather> on dialled legs only")
                case _:
                    pass  # recordings make no difference to either side
        return None

    async def _sound(self, verb: Verb) -> None:
        rate = self._account.speech_rate
        seconds = len(verb.text) / rate if rate else 0
        if verb.name == "Pause":  # silence takes its time, also where speech takes none
            seconds = float(verb.attributes.get("length", "1"))
        if verb.name == "Play":
            audio = await self._account.fetch_audio(verb.text)
            self.audio += [audio] if audio else []
            seconds = audio.seconds if audio and rate else 0.0
            self._note_change()
        if verb.name == "Say":
            self.said.append(verb.text)
            self._note_change()
        if not await self.pass_time(seconds):
            return
        if verb.name == "Say":
            self._take_line(verb.text)
        elif verb.name == "Play":
            self.played.append(verb.text)

    async def _connect(self, verb: Verb) -> str | None:
        noun = verb.children[0]
        session_id = "VX" + secrets.token_hex(16)
        began = trio.current_time()
        outcome = await self._serve(noun, session_id)
        reconnects = MAX_RECONNECTS if noun.attributes.get("applicationReconnect") == "true" else 0
        # A socket that the relay has closed itself was not lost; 1006 is never sent on the wire (RFC 6455, 7.4.1).
        while reconnects and outcome.status == "failed" and outcome.close_code in {None, 1006} and not self._hung_up:
            reconnects -= 1
            outcome = await self._serve(noun, session_id)
        self.outcomes.append(outcome)
        if not self._asks:
            self._asks = True
            await self.pass_time(math.inf)
            return None
        action = verb.attributes.get("action")
        if action is None or self._redirection is not None:
            return None
        fields = {
            "SessionId": session_id,
            "SessionStatus": outcome.status,
            "SessionDuration": str(round(trio.current_time() - began)),
        }
        if outcome.handoff is not None:
            fields["HandoffData"] = outcome.handoff
        if outcome.error_code:
            fields |= {"ErrorCode": outcome.error_code, "ErrorMessage": outcome.error_message}
        status = "completed" if outcome.status == "completed" else "in-progress"
        return await self._ask(action, status=status, extra=fields)

    async def _serve(self, noun: Verb, session_id: str) -> Outcome:
        """Open the socket that the TwiML names and serve the session on it."""
        try:
            async with self._account.open_socket(noun.attributes["url"]) as socket:
                return await self._converse(socket, noun, session_id)
        except WebSocketRefused as refusal:
            return Outcome("failed", error_code="64102", error_message=f"Unable to connect to WebSocket: {refusal}")

    async def _converse(self, socket: WebSocket, noun: Verb, session_id: str) -> Outcome:
        given = [child.attributes for child in noun.children if child.name == "Parameter"]
        setup = {
            "type": "setup",
            "sessionId": session_id,
            "accountSid": self._account.account_sid,
            "parentCallSid": "",
            "callSid": self.facts.call_sid,
            "from": self.facts.caller,
            "to": self.facts.called,
            "forwardedFrom": "",
            "callType": "PSTN",
            "callerName": "",
            "direction": self.facts.direction,
            "callStatus": "IN_PROGRESS",
            "customParameters": {each["name"]: each["value"] for each in given},
        }
        earpiece = self.make_earpiece or partial(Playback, self._account.speech_rate)
        session = Session(socket, noun.attributes, setup, earpiece, self._take_token, self._take_line)
        session.played = self.played
        self.sessions.append(session)
        await session.open()
        self._live = True
        self._note_change()
        try:
            if self._hung_up:  # while the socket was being opened
                await session.hang_up()
            return await session.run()
        finally:
            self._live = False
            self._note_change()

    async def _dial(self, verb: Verb) -> str | None:
        with trio.CancelScope() as self._talking:
            await dial(self._account, self.facts, verb, self._take_leg)
        action = verb.attributes.get("action")
        if action is None:
            return None
        status = "completed" if self._hung_up else "in-progress"
        return await self._ask(action, status=status, extra=self.legs[-1].fields())

    def _take_token(self, token: Token) -> None:
        try:
            self._speak.send_nowait(token)
        except trio.WouldBlock:
            self._failure = ScriptError(f"{UNHEARD_TOKENS} text frames came and the script listened to none")
            self._scope.cancel()
        except trio.BrokenResourceError:
            pass  # the script has left, and so will the call

    def _take_line(self, text: str) -> None:
        self.transcript.append(Line("agent", text))
        self._note_change()

    def _take_leg(self, leg: Leg) -> None:
        if leg not in self.legs:
            self.legs.append(leg)
        self._note_change()

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
