"""One call of the page's: the simulated carrier rings the daemon's own door, and the page is the caller.

    frames of the page ─▶ _obey ─▶ SimulatedCall ─▶ _pass_tokens, _follow ─▶ frames for the page

How far an answer has been heard is computed by the simulator; where the page speaks aloud, its reports say so, and the
carrier's half goes by them.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

import attrs
import trio

from relay.agent import Agent
from relay.console.phone.frames import Frame, HangUp, Interrupt, PhoneFault, Played, Press, Ring, Say, Speaking
from relay.console.phone.page_link import PageGone, PageLink
from relay.errors import DatabaseError
from relay.simulator.carrier.callee import Answers
from relay.simulator.carrier.exchange import open_carrier
from relay.simulator.carrier.fault_plan import CallOver, EndlessCall, ScriptError, TwimlRefused, WebhookFailed
from relay.simulator.carrier.reported_speech import ReportedPlayback
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.carrier.speaking import Reports
from relay.simulator.carrier.webhook_client import CallFacts

SPEECH_RATE = 16.0
"""Characters a second: as fast as a telephone voice."""

LONGEST_SECONDS = 30 * 60.0
"""How long a call may last: a tab that was forgotten holds a place among the calls."""

WATCH_SECONDS = 2.0
"""How soon a session that was ended ends its call."""

LAST_SECONDS = 15.0
"""For the last webhooks of a call whose page is gone."""

_CALLED = "+14155550100"
_YOU = "You hung up."


@attrs.frozen(kw_only=True)
class PhoneAccount:
    """The carrier's account that the daemon knows, and where it is rung; `via` leads there if the origin does not."""

    account_sid: str
    auth_token: str = attrs.field(repr=False)
    origin: str
    via: str | None = None


@attrs.define(eq=False, kw_only=True)
class PhoneCall:
    """A call, and the page at the caller's end of it. `is_signed_in` is whether its operator still may act."""

    account: PhoneAccount
    agent: Agent
    link: PageLink
    is_signed_in: Callable[[], Awaitable[bool]]
    call_sid: str = attrs.field(factory=lambda: "CA" + secrets.token_hex(16))
    _why: str = attrs.field(default="", init=False)
    _earpiece: ReportedPlayback | None = attrs.field(default=None, init=False)
    # What the page was sent of the call so far.
    _sessions: int = attrs.field(default=0, init=False)
    _lines: int = attrs.field(default=0, init=False)
    _said: int = attrs.field(default=0, init=False)
    _played: int = attrs.field(default=0, init=False)
    _legs: dict[int, str] = attrs.field(factory=dict, init=False)
    _is_cutting: bool = attrs.field(default=False, init=False)

    async def run(self, *, aloud: bool) -> None:
        """Ring, and go on until the call is over. On cancellation it is broken off. Raises nothing of the page's."""
        account = self.account
        facts = CallFacts(
            agent_id=self.agent.agent_id,
            call_sid=self.call_sid,
            caller=f"+1415555{100 + secrets.randbelow(100):04}",
            called=self.agent.number or _CALLED,
            direction="inbound",
            attestation="",
        )
        async with open_carrier(
            account.account_sid,
            account.auth_token,
            account.origin,
            speech_rate=SPEECH_RATE,
            via=account.via,
            everybody=Answers(after=2, presses="1", talks=10),
        ) as carrier:
            call = SimulatedCall(carrier, facts, make_earpiece=self._make_earpiece if aloud else None)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call.live, None)
                nursery.start_soon(self._obey, call)
                nursery.start_soon(self._watch, call)
                nursery.start_soon(self._end_in_time, call)
                try:
                    async with trio.open_nursery() as telling:
                        telling.start_soon(self._pass_tokens, call)
                        await self._follow(call)
                        telling.cancel_scope.cancel("the call is over")
                except* PageGone:
                    await self._hang_up(call, "The page took nothing any more.")
                    with suppress(WebhookFailed, TwimlRefused, EndlessCall), trio.move_on_after(LAST_SECONDS):
                        await call.wait_ended()
                nursery.cancel_scope.cancel("the call is over")

    def _make_earpiece(self, reports: Reports) -> ReportedPlayback:
        self._earpiece = ReportedPlayback(reports)
        return self._earpiece

    # ── what the page does ──────────────────────────────────────────────────────────────────────────────────────────

    async def _obey(self, call: SimulatedCall) -> None:
        """Do what each frame says, until the page hangs up, is gone, or sends what it must not: then hang up."""
        why = _YOU
        try:
            while not isinstance(frame := await self.link.next_frame(), HangUp):
                with suppress(CallOver):
                    await self._act(call, frame)
        except PageGone:
            why = "The page was closed."
        except PhoneFault as fault:
            why = fault.reason
            with suppress(PageGone):
                await self.link.close(fault.code, fault.reason)
        await self._hang_up(call, why)

    async def _hang_up(self, call: SimulatedCall, why: str) -> None:
        self._why = self._why or why
        await call.hang_up()

    async def _act(self, call: SimulatedCall, frame: Frame) -> None:
        """Do what one frame says. Raises `CallOver`, `PageGone`, `PhoneFault`."""
        try:
            match frame:
                case Ring():
                    raise PhoneFault("This phone has its call. Hang up, then ring again.")
                case Played(text) if self._earpiece is not None:
                    await self._earpiece.note_played(text)
                case Speaking(on) if self._earpiece is not None:
                    await self._earpiece.note_speaking(on)
                case Interrupt(heard):
                    await self._interrupt(call, heard)
                case Say(text, last) if text.strip():
                    await self._say(call, text.strip(), last=last)
                case Press(key) if await self._is_listening(call):
                    await call.press(key)
                case _:
                    await trio.lowlevel.checkpoint()
        except ScriptError as error:
            await self.link.tell("note", text=f"That is not possible: {error}.")

    async def _say(self, call: SimulatedCall, text: str, *, last: bool) -> None:
        if not last:
            # A guess is worth nothing where none is wanted, or once nobody listens.
            if call.is_connected and call.attributes.get("partialPrompts") == "true":
                await call.say(text, last=False)
            return
        if await self._is_listening(call):
            with suppress(ScriptError):  # a greeting that cannot be interrupted goes on
                await self._interrupt(call, "")
            await call.say(text)

    async def _is_listening(self, call: SimulatedCall) -> bool:
        if not call.is_connected:
            await self.link.tell("note", text="The relay does not listen now, so this was not heard.")
        return call.is_connected

    async def _interrupt(self, call: SimulatedCall, heard: str) -> None:
        """Talk over what is being spoken, if anything is, and tell the page what was heard of it."""
        if not call.is_speaking:
            await trio.lowlevel.checkpoint()
            return
        if self._earpiece is not None and heard:
            self._earpiece.note_heard(heard)
        self._is_cutting = True
        try:
            await call.interrupt()
        finally:
            self._is_cutting = False
        await self.link.tell("cut", heard=" ".join(self._new_lines(call)))

    # ── what the page is sent ───────────────────────────────────────────────────────────────────────────────────────

    async def _pass_tokens(self, call: SimulatedCall) -> None:
        with suppress(CallOver):
            while True:
                token = await call.next_token()
                await self.link.tell("token", text=token.text, last=token.last, preemptible=token.preemptible)

    async def _follow(self, call: SimulatedCall) -> None:
        """Send the page what happens in the call, and in the end why it is over. Raises `PageGone`."""
        failure: Exception | None = None
        await self.link.tell("ringing", callSid=self.call_sid)
        try:
            while True:
                seen = _state_of(call)
                await self._tell_news(call)
                await call.until(lambda seen=seen: _state_of(call) != seen)  # type: ignore[misc]
        except CallOver:
            await self._tell_news(call)
        except (WebhookFailed, TwimlRefused, EndlessCall) as error:
            failure = error
        await self.link.tell("ended", why=self._why or self._explain(call, failure))
        await self.link.close(1000)

    async def _tell_news(self, call: SimulatedCall) -> None:
        for session in call.sessions[self._sessions :]:
            self._sessions += 1
            attributes = session.attributes
            language = attributes.get("language", "en-US")
            await self.link.tell("connected", greeting=attributes.get("welcomeGreeting", ""), lang=language)
        for text in call.said[self._said :]:
            self._said += 1
            await self.link.tell("token", text=text, last=True, preemptible=False)
        for url in call.played[self._played :]:
            self._played += 1
            await self.link.tell("note", text=f"Audio is played here: {url}")
        if not self._is_cutting:  # else how much was heard is not known yet
            for text in self._new_lines(call):
                await self.link.tell("heard", text=text)
        for place, leg in enumerate(call.legs):
            # One that rings, or is being asked to take the call, has the word for what it is if the caller leaves now.
            state = "answered" if leg.bridged else "ringing" if leg.status in {"canceled", "completed"} else "over"
            if self._legs.get(place) != state:
                self._legs[place] = state
                if state != "over":
                    await self.link.tell("on_hold", number=leg.number, answered=leg.bridged)

    def _new_lines(self, call: SimulatedCall) -> list[str]:
        """Return what the caller has heard since the last time."""
        lines = call.transcript[self._lines :]
        self._lines = len(call.transcript)
        return [each.text for each in lines if each.speaker == "agent"]

    def _explain(self, call: SimulatedCall, failure: Exception | None) -> str:
        match failure:
            case WebhookFailed(status=404):
                return f"There is no agent {self.agent.agent_id} any more. Reload the page."
            case WebhookFailed(status=503):
                return "The relay takes no calls now. Try again in a moment."
            case Exception():
                return f"The call broke off: {failure}."
            case None:
                pass
        if not call.sessions:
            return f"The relay did not take the call. {' '.join(call.said)}".rstrip()
        last = call.outcomes[-1] if call.outcomes else None
        if last is not None and last.status == "failed":
            return f"The call broke off: {last.error_message}."
        return "The other side hung up." if any(leg.bridged for leg in call.legs[-1:]) else "The relay hung up."

    # ── what ends it ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _watch(self, call: SimulatedCall) -> None:
        is_signed_in = True
        while is_signed_in:
            await trio.sleep(WATCH_SECONDS)
            with suppress(DatabaseError):  # which says nothing about the session
                is_signed_in = await self.is_signed_in()
        await self._hang_up(call, "You are signed out. Sign in again to ring.")

    async def _end_in_time(self, call: SimulatedCall) -> None:
        await trio.sleep(LONGEST_SECONDS)
        await self._hang_up(call, "A call from this page lasts 30 minutes at most.")


def _state_of(call: SimulatedCall) -> tuple[object, ...]:
    legs = [(leg.status, leg.bridged) for leg in call.legs]
    return len(call.transcript), len(call.sessions), len(call.said), len(call.played), legs
