"""`<Dial>`: calls another number for the caller, and connects the two.

    ring ─▶ answered ─▶ whisper, where <Number url> asks for one ─▶ connected ─▶ over
              │                      └─ hangs up: never connected
              └─ busy, no answer, failed

Of several numbers the carrier rings all at once; here they are asked in turn, and the first that picks up has the call.
Source: Twilio's pages on `<Dial>`, `<Number>` and `<Gather>`. Not documented, and assumed to the relay's disadvantage:
a leg that picked up and hung up during its whisper counts as `completed`, so that only `DialBridged` tells.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Mapping

import attrs
import trio

from relay.simulator.carrier.callee import Answers, Refused, Unanswered
from relay.simulator.carrier.fault_plan import EndlessCall, TwimlRefused
from relay.simulator.carrier.twiml_reader import Verb
from relay.simulator.carrier.twiml_reader import read as read_twiml
from relay.simulator.carrier.webhook_client import Account, CallFacts, fetch_twiml

_RING_SECONDS = 30.0
_TALK_SECONDS = 14_400.0
_KEY_SECONDS = 5.0
_MAX_DOCUMENTS = 10

_E164 = re.compile(r"\+[1-9]\d{1,14}")


@attrs.define(eq=False)
class Leg:
    """A dialled call. `status` is the carrier's word for its end, `heard` what was whispered, URLs of audio included.

    Until something else happens it counts as `canceled`: that is what it is if the caller does not wait for it.
    """

    number: str
    sid: str = attrs.field(factory=lambda: "CA" + secrets.token_hex(16))
    status: str = "canceled"
    bridged: bool = False
    heard: list[str] = attrs.field(factory=list)
    _answered: float = math.inf

    def answer(self) -> None:
        """Record that the callee picked up."""
        self.status = "completed"
        self._answered = trio.current_time()

    def fields(self) -> dict[str, str]:
        """Return what the action callback says of it."""
        seconds = max(1, round(trio.current_time() - self._answered)) if self.bridged else 0
        return {
            "DialCallStatus": self.status,
            "DialCallSid": self.sid,
            "DialCallDuration": str(seconds),
            "DialBridged": "true" if self.bridged else "false",
        }


async def dial(account: Account, facts: CallFacts, verb: Verb, on_leg: Callable[[Leg], None]) -> None:
    """Perform a `<Dial>` of the call with these facts; `on_leg` gets each leg that rings, answers, is connected.

    The last leg is the one that picked up, if any did. Cancelled, it says how far it got. Raises `TwimlRefused` where
    there is no number to call or an invalid one, and with `WebhookFailed` and `EndlessCall` for what is wrong with a
    whisper.
    """
    caller = verb.attributes.get("callerId", facts.caller)
    if caller not in {facts.caller, facts.called} and not _E164.fullmatch(caller):
        raise TwimlRefused(13214, "callerId is neither a number nor a party of this call")
    patience = float(verb.attributes.get("timeout", _RING_SECONDS))
    time_limit = float(verb.attributes.get("timeLimit", _TALK_SECONDS))
    dialler = _Dialler(account, facts, caller, patience, time_limit, on_leg)
    targets = [child for child in (Verb("Number", text=verb.text), *verb.children) if child.text]
    if not targets:
        raise TwimlRefused(12200, "<Dial> names nobody to call")
    if any(target.name == "Number" and not _E164.fullmatch(target.text) for target in targets):
        raise TwimlRefused(13224, "<Dial> names something that is no number in E.164 form")
    for target in targets:
        leg = Leg(target.text)
        await dialler.ring(leg, target.attributes.get("url"))
        if leg.status == "completed":
            return


@attrs.frozen
class _Dialler:
    """One `<Dial>`: on whose account and in whose call, as whom, and how many seconds a leg rings and talks at most."""

    _account: Account
    _parent: CallFacts
    _caller: str
    _patience: float
    _time_limit: float
    _on_leg: Callable[[Leg], None]

    async def ring(self, leg: Leg, whisper: str | None) -> None:
        """Call a number, and return when the callee is gone."""
        self._on_leg(leg)
        match self._account.callee(leg.number):
            case Answers() as callee if callee.after <= self._patience:
                await trio.sleep(callee.after)
                leg.answer()
                self._on_leg(leg)
                if whisper is None or await self._whisper(leg, whisper, callee):
                    leg.bridged = True
                    self._on_leg(leg)
                    await trio.sleep(min(callee.talks, self._time_limit))
            case Answers():
                await trio.sleep(self._patience)
                leg.status = "no-answer"
            case Unanswered(status, after):
                await trio.sleep(min(after, self._patience))
                leg.status = status
            case Refused():
                leg.status = "failed"

    async def _whisper(self, leg: Leg, url: str, callee: Answers) -> bool:
        """Run the TwiML of `<Number url>` on the called side; say whether it is still there at the end."""
        document: str | None = await self._fetch(leg, url)
        for _ in range(_MAX_DOCUMENTS):
            if document is None:
                return True
            verbs, document = read_twiml(document, secure=self._account.base_url.startswith("https")), None
            for verb in verbs:
                match verb.name:
                    case "Say" | "Play":
                        await self._sound(leg, verb)
                    case "Gather":
                        for child in verb.children:
                            await self._sound(leg, child)
                        keys = callee.presses[: int(verb.attributes.get("numDigits", len(callee.presses)))]
                        if keys:
                            document = await self._fetch(leg, verb.attributes.get("action", url), {"Digits": keys})
                            break
                        if callee.hangs_up_after is not None:
                            await trio.sleep(callee.hangs_up_after)
                            return False
                        # No key was pressed: the verbs after <Gather> follow.
                        await self._pass_time(float(verb.attributes.get("timeout", _KEY_SECONDS)))
                    case "Redirect":
                        document = await self._fetch(leg, verb.text)
                        break
                    case "Hangup" | "Reject":
                        return False
                    case _:
                        pass  # pauses, and what makes no difference to either side
        raise EndlessCall(f"the whisper went through {_MAX_DOCUMENTS} TwiML documents")

    async def _sound(self, leg: Leg, verb: Verb) -> None:
        if verb.text:
            leg.heard.append(verb.text)
            await self._pass_time(len(verb.text) / (self._account.speech_rate or 1))

    async def _pass_time(self, seconds: float) -> None:
        await trio.sleep(seconds if self._account.speech_rate else 0)

    async def _fetch(self, leg: Leg, url: str, extra: Mapping[str, str] | None = None) -> str:
        facts = attrs.evolve(
            self._parent, call_sid=leg.sid, caller=self._caller, called=leg.number, direction="outbound-dial"
        )
        fields = {"ParentCallSid": self._parent.call_sid, **(extra or {})}
        return await fetch_twiml(self._account, facts, url, extra=fields)
