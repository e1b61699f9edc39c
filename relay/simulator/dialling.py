"""`<Dial>`: calls somebody else for the caller, and connects the two.

    ring ─▶ answered ─▶ whisper, where <Number url> asks for one ─▶ connected ─▶ over
              │                      └─ hangs up: never connected
              └─ busy, no answer, failed

Of several numbers the carrier rings all at once; here they are asked in turn, and the first that picks up has the call.
Source: Twilio's pages on `<Dial>`, `<Number>` and `<Gather>`. Not documented, and assumed to the relay's disadvantage:
a leg that picked up and hung up during its whisper counts as `completed`, so that only `DialBridged` tells.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

import attrs
import trio

from relay.simulator.callee import Answers, Refused, Unanswered
from relay.simulator.faults import EndlessCall, TwimlRefused
from relay.simulator.twiml import Verb
from relay.simulator.twiml import read as read_twiml
from relay.simulator.webhooks import Account, CallFacts, fetch_twiml

_RING_SECONDS = 30.0
_MAX_DOCUMENTS = 10


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
    _began: float = attrs.field(factory=trio.current_time)

    def fields(self) -> dict[str, str]:
        """Return what the action callback says of it."""
        seconds = max(1, round(trio.current_time() - self._began)) if self.bridged else 0
        return {
            "DialCallStatus": self.status,
            "DialCallSid": self.sid,
            "DialCallDuration": str(seconds),
            "DialBridged": "true" if self.bridged else "false",
        }


async def dial(account: Account, facts: CallFacts, verb: Verb, on_leg: Callable[[Leg], None]) -> None:
    """Perform a `<Dial>` of the call with these facts; `on_leg` is told of each leg as it begins to ring.

    The last leg is the one that picked up, if any did. Cancelled, it says how far it got. Raises `TwimlRefused` where
    there is nobody to call, and with `WebhookFailed` and `EndlessCall` for what is wrong with a whisper.
    """
    patience = float(verb.attributes.get("timeout", _RING_SECONDS))
    dialler = _Dialler(account, facts, verb.attributes.get("callerId", facts.caller), patience)
    targets = [child for child in (Verb("Number", text=verb.text), *verb.children) if child.text]
    if not targets:
        raise TwimlRefused(12200, "<Dial> names nobody to call")
    for target in targets:
        leg = Leg(target.text)
        on_leg(leg)
        await dialler.ring(leg, target.attributes.get("url"))
        if leg.status == "completed":
            return


@attrs.frozen
class _Dialler:
    """One `<Dial>`: on whose account and in whose call, as whom, and for how many seconds each leg rings."""

    _account: Account
    _parent: CallFacts
    _caller: str
    _patience: float

    async def ring(self, leg: Leg, whisper: str | None) -> None:
        """Call somebody, and stay until he has gone."""
        match self._account.callee(leg.number):
            case Answers() as callee if callee.after <= self._patience:
                await trio.sleep(callee.after)
                leg.status = "completed"
                if whisper is None or await self._whisper(leg, whisper, callee):
                    leg.bridged = True
                    await trio.sleep(callee.talks)
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
                        leg.heard.append(verb.text)
                    case "Gather":
                        leg.heard += [child.text for child in verb.children if child.text]
                        keys = callee.presses[: int(verb.attributes.get("numDigits", len(callee.presses)))]
                        if keys:  # without any, the verbs after <Gather> follow
                            document = await self._fetch(leg, verb.attributes.get("action", url), {"Digits": keys})
                            break
                    case "Redirect":
                        document = await self._fetch(leg, verb.text)
                        break
                    case "Hangup" | "Reject":
                        return False
                    case _:
                        pass  # pauses, and what makes no difference to either side
        raise EndlessCall(f"the whisper went through {_MAX_DOCUMENTS} TwiML documents")

    async def _fetch(self, leg: Leg, url: str, extra: Mapping[str, str] | None = None) -> str:
        facts = attrs.evolve(
            self._parent, call_sid=leg.sid, caller=self._caller, called=leg.number, direction="outbound-dial"
        )
        fields = {"ParentCallSid": self._parent.call_sid, **(extra or {})}
        return await fetch_twiml(self._account, facts, url, extra=fields)
