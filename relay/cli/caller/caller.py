"""The caller: rings an agent, does what the lines say, and tells what is heard, until somebody hangs up."""

from __future__ import annotations

from contextlib import suppress

import attrs
import trio

from relay.attach.report import Report
from relay.cli.caller.lines import HangUp, Interrupt, LineSource, Mistake, Press, Say, read_entry
from relay.cli.caller.ring import TALK_SECONDS, Dialled, Ended, explain
from relay.simulator.carrier.dialled_calls import Leg
from relay.simulator.carrier.exchange import open_carrier
from relay.simulator.carrier.fault_plan import CallOver, EndlessCall, ScriptError, TwimlRefused, WebhookFailed
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.speech.locales import locale_for

SETTLE_SECONDS = 0.5
"""How long a script listens for more after an answer, before it says its next line."""

ANSWER_SECONDS = 60.0
"""How long a script waits for an answer: far longer than the relay lets any caller wait."""


@attrs.define(eq=False)
class Caller:
    """One call, and who is at the caller's end of it: what `lines` give is said, what is heard goes to `report`."""

    dialled: Dialled
    lines: LineSource
    report: Report
    _whole: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _talking: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _call: SimulatedCall | None = attrs.field(default=None, init=False)
    _hung_up: bool = attrs.field(default=False, init=False)
    _gave_up: bool = attrs.field(default=False, init=False)
    # What has been reported of the call so far.
    _reported_lines: int = attrs.field(default=0, init=False)
    _reported_sessions: int = attrs.field(default=0, init=False)
    _reported_played: int = attrs.field(default=0, init=False)
    _reported_legs: dict[int, str] = attrs.field(factory=dict, init=False)
    _interrupted: set[int] = attrs.field(factory=set, init=False)
    _is_cutting: bool = attrs.field(default=False, init=False)
    _fillers: list[str] = attrs.field(factory=list, init=False)
    _was_unavailable: bool = attrs.field(default=False, init=False)
    _ended_on_leg: bool = attrs.field(default=False, init=False)
    # Of a script: pieces that have come, and whether an answer is complete since the last line.
    _pieces: int = attrs.field(default=0, init=False)
    _answered: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def ring(self) -> Ended:
        """Make the call and live through it; return how it ended. Cancelling breaks it off."""
        ended = Ended("you", answered=False, why="You hung up before anybody answered.")
        self.report.tell("ringing", agentId=self.dialled.agent_id, url=self.dialled.via or self.dialled.url)
        with self._whole:
            ended = await self._live()
        self.report.tell("ended", by=ended.by, answered=ended.answered, why=ended.why)
        return ended

    def hang_up(self) -> None:
        """Put the phone down, from another task; a second time the call is broken off. Never waits."""
        if self._call is None or self._hung_up:
            self._whole.cancel("hung up")
        self._hung_up = True
        self._talking.cancel("hung up")

    async def _live(self) -> Ended:
        dialled = self.dialled
        async with open_carrier(
            dialled.account_sid,
            dialled.auth_token,
            dialled.url,
            speech_rate=dialled.speech_rate,
            via=dialled.via,
            everybody=dialled.transfer_end.callee,
        ) as carrier:
            try:
                async with carrier.call(dialled.agent_id, caller=dialled.caller, called=dialled.called) as call:
                    self._call = call
                    await self._converse(call)
            except (WebhookFailed, TwimlRefused, EndlessCall) as failure:
                return Ended(
                    "failure",
                    answered=self._reported_sessions > 0,
                    why=explain(failure, dialled.agent_id, dialled.via or dialled.url),
                )
            return self._ending(call)

    async def _converse(self, call: SimulatedCall) -> None:
        """Talk until the call is over, the lines are, or the phone is put down."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, call, nursery.cancel_scope)
            nursery.start_soon(self._hear, call)
            with self._talking, suppress(CallOver):
                await self._follow_lines(call)
                self._hung_up = True
            await call.hang_up()
            await trio.sleep_forever()  # until it is over

    # ── what the caller does ────────────────────────────────────────────────────────────────────────────────────────

    async def _follow_lines(self, call: SimulatedCall) -> None:
        """Do what each line says. Raises `CallOver`."""
        if self.dialled.is_script:
            await call.quiet()
        while (line := await self.lines.next_line()) is not None:
            entry = read_entry(line)
            if isinstance(entry, HangUp):
                return
            self._answered = trio.Event()
            expects_answer = await self._act(call, entry)
            if self.dialled.is_script and expects_answer and not await self._wait_for_answer(call):
                self._gave_up = True
                return

    async def _act(self, call: SimulatedCall, entry: Say | Press | Interrupt | Mistake) -> bool:
        """Do one thing; return whether it asks for an answer. Raises `CallOver`."""
        if isinstance(entry, Mistake):
            self.report.tell("note", text=entry.advice)
            return False
        if not call.is_connected and not self.dialled.is_script:
            if not isinstance(entry, Interrupt):
                self.report.tell("note", text="The relay does not listen now: you are being connected to somebody.")
            return False
        try:
            match entry:
                case Say(words):
                    await self._interrupt(call)
                    await call.say(words)
                case Press(keys):
                    await call.press(keys)
                    self.report.tell("keys", keys=keys)
                case Interrupt():
                    await self._interrupt(call)
                    return False
        except ScriptError as error:
            self.report.tell("note", text=f"That is not possible: {error}.")
            return False
        return True

    async def _interrupt(self, call: SimulatedCall) -> None:
        """Talk over what is being said, if anything is."""
        if not call.is_speaking:
            return
        place, self._is_cutting = len(call.transcript), True
        try:
            await call.interrupt()
        except ScriptError:
            return  # a call whose greeting cannot be interrupted goes on
        finally:
            self._is_cutting = False
        was_heard = len(call.transcript) > place
        if was_heard:
            self._interrupted.add(place)
        self.report.tell("interrupted", heard=call.transcript[place].text if was_heard else "")
        self._tell_news(call)

    async def _wait_for_answer(self, call: SimulatedCall) -> bool:
        """Wait until a line has been answered and nothing more is said; False if it is not. Raises `CallOver`."""
        with trio.move_on_after(ANSWER_SECONDS):
            await self._answered.wait()
            while True:
                await call.quiet()
                pieces = self._pieces
                await trio.sleep(SETTLE_SECONDS)
                if self._pieces == pieces:
                    return True
        return False

    # ── what the caller hears ───────────────────────────────────────────────────────────────────────────────────────

    async def _hear(self, call: SimulatedCall) -> None:
        """Report the pieces as they come, until the call is over."""
        words = ""
        with suppress(CallOver):
            while True:
                token = await call.next_token()
                if token.preemptible:
                    self._fillers.append(token.text.strip())
                else:
                    self._pieces += 1
                    words += token.text
                    if token.last and words.strip():
                        self._answered.set()
                        words = ""
                self.report.tell("piece", text=token.text, last=token.last, filler=token.preemptible)

    async def _watch(self, call: SimulatedCall, conversation: trio.CancelScope) -> None:
        """Report what happens in the call, and end the conversation with it."""
        seen = _state_of(call)

        def has_news() -> bool:
            return _state_of(call) != seen

        with suppress(CallOver, WebhookFailed, TwimlRefused, EndlessCall):
            while True:
                self._tell_news(call)
                await call.until(has_news)
                seen = _state_of(call)
        self._tell_news(call)
        conversation.cancel("the call is over")

    def _tell_news(self, call: SimulatedCall) -> None:
        if self._is_cutting:
            return  # how much was heard is not known yet
        for session in call.sessions[self._reported_sessions :]:
            self._reported_sessions += 1
            self._ended_on_leg = False
            if self._reported_sessions == 1:
                self.report.tell("connected", callSid=call.call_sid)
            if greeting := session.attributes.get("welcomeGreeting", ""):
                self.report.tell("greeting", text=greeting)
                self._answered.set()
        for line in call.transcript[self._reported_lines :]:
            self._reported_lines += 1
            if line.speaker == "caller":
                self.report.tell("said", text=line.text)
            else:
                is_cut = self._reported_lines - 1 in self._interrupted
                self.report.tell("heard", text=line.text, by=self._who_said(call, line.text), interrupted=is_cut)
        for url in call.played[self._reported_played :]:
            self._reported_played += 1
            self.report.tell("played", url=url)
        for place, leg in enumerate(call.legs):
            self._tell_leg(place, leg)

    def _tell_leg(self, place: int, leg: Leg) -> None:
        reported = self._reported_legs.setdefault(place, "")
        if not reported:
            self.report.tell("dialling", to=leg.number)
            self._reported_legs[place] = "dialling"
        if leg.bridged and reported != "transferred":
            outlook = f"it hangs up after {TALK_SECONDS:g} seconds, or you do."
            self.report.tell("transferred", to=leg.number, outlook=outlook)
            self._reported_legs[place] = "transferred"
            self._ended_on_leg = True
        elif reported == "dialling" and not leg.bridged and leg.status not in {"canceled", "completed"}:
            self.report.tell("transfer_over", to=leg.number, status=leg.status)
            self._reported_legs[place] = "over"

    def _who_said(self, call: SimulatedCall, text: str) -> str:
        phrases = locale_for(call.attributes.get("language", "en-US")).phrases
        if any(filler.startswith(text) for filler in self._fillers):
            return "filler"
        if phrases.unavailable in text:
            self._was_unavailable = True
            return "unavailable"
        return "machine" if text.startswith(phrases.apology) else "relay"

    def _ending(self, call: SimulatedCall) -> Ended:
        if not self._reported_sessions:
            said = " ".join(line.text for line in call.transcript)
            why = f"The relay did not take the call{f', and said: {said}' if said else ''}."
            return Ended("relay", answered=False, why=why)
        if self._gave_up:
            return Ended("failure", answered=False, why=f"There was no answer within {ANSWER_SECONDS:g} seconds.")
        by = "you" if self._hung_up else "other side" if self._ended_on_leg else "relay"
        last = call.outcomes[-1] if call.outcomes else None
        if by == "relay" and last is not None and last.status == "failed":
            return Ended("failure", answered=True, why=f"The voice socket was lost: {last.error_message}.")
        if self._was_unavailable:
            why = (
                "Nobody answered: no client answers for this agent (see: relay status), and there is no answering "
                "machine without ANTHROPIC_API_KEY. What was said is kept: relay messages list"
            )
            return Ended(by, answered=False, why=why)
        return Ended(by, answered=True)


def _state_of(call: SimulatedCall) -> tuple[object, ...]:
    legs = [(leg.status, leg.bridged) for leg in call.legs]
    return len(call.transcript), len(call.sessions), len(call.played), legs
