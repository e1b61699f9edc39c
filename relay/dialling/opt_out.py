"""Detect "stop calling me" in an utterance, and put the number on the do-not-call list.

    utterance ─▶ cheap look ─▶ sentences ─▶ words: folded, spelled alike, without fillers ─▶ opt-out or remark?
    opt-out on a call ─▶ HeardOptOuts ───┐
    a client's request ─▶ OptOutRequests ┴─▶ gate: the do-not-call list

The rules are data, `[opt_outs]` in a language's file (`relay/speech/locales/en.toml` and its like), in a notation that
`opt_out_rules` explains. They match plain requests only, no hints, because a number goes onto the list at once. The
client still gets every utterance, and can put the number on the list itself. `scripts/opt_outs.py` measures how much is
heard of sets of sentences that were written before the rules.

A language model would understand more, but this must work without one, within a millisecond, and deterministically.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

import attrs
import structlog

from actors.call_record import CallRecord
from actors.call_values import CallInfo, Direction
from actors.calls import Calls
from actors.errors import UnknownCall
from relay.agent import Agent
from relay.dialling.dial_check import DiallingGate
from relay.dialling.numbers import NumberError, normalise, number_in
from relay.dialling.opt_out_rules import Rules, load_rules
from relay.errors import OutboundRefused
from relay.store.call_journal import CallJournal
from relay.store.do_not_call import UNVERIFIED_CALLER

log = structlog.get_logger(__name__)

MAX_CHARACTERS = 16_384
"""How many characters of an utterance are examined, from its end: about a quarter of an hour of speech."""


def spoken_opt_out(text: str, language: str) -> bool:
    """Return whether an utterance asks not to be called again.

    `language` is the call's BCP 47 tag. English is heard in every language, because people fall back on it with a
    machine, or the call was set to a language that the party does not speak; in a language that has no rules (or
    `multi`) all are heard. A third language is not guessed at. Takes time in proportion to the text, and looks at
    the last `MAX_CHARACTERS` of it.
    """
    return _asks([rules_of(each) for each in _heard_in(language)], text)


def opt_out_listener(language: str) -> Callable[[str], bool]:
    """Return `spoken_opt_out` for calls in `language`, with the rules loaded now and not at the first utterance.

    Loading takes some 50 ms a language, once in a process.
    """
    return partial(_asks, [rules_of(each) for each in _heard_in(language)])


def _asks(heard: Iterable[Rules], text: str) -> bool:
    examined = text[-MAX_CHARACTERS:]
    # Nearly all utterances end here: the words alone show that nothing is asked, whatever their order.
    possible = [rules for rules in heard if rules.may_be_in(examined)]
    sentences = _SENTENCE.findall(examined) if possible else ()
    return any(rules.asks(sentence) for sentence in sentences for rules in possible)


@cache
def rules_of(language: str) -> Rules:
    """Return the rules of one of `LANGUAGES`; they are read once."""
    return load_rules(language)


def _heard_in(language: str) -> Iterable[str]:
    primary = language.replace("_", "-").partition("-")[0].lower()
    return {"en", primary} if primary in LANGUAGES else LANGUAGES


# A full stop between figures is part of a time of day: "before 9.30".
_SENTENCE = re.compile(r"(?:[^.!?;…]|(?<=\d)\.(?=\d))+[.!?;…]*")

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl")
"""The primary subtags of the languages that are listened to."""


# ── onto the list ─────────────────────────────────────────────────────────────────────────────────────────────────────

BY_CLIENT = "client"
BY_CALLER = "caller"
"""Who put a number on the list, as its entry says. A caller whose number may be forged is `UNVERIFIED_CALLER`."""


@attrs.frozen(kw_only=True)
class OptOutRequests:
    """Requests of clients."""

    gate: DiallingGate
    calls: Calls
    journal: CallJournal

    async def stop_calling(self, agent: Agent, *, number: str, call_sid: str, reason: str) -> dict[str, Any]:
        """Put a number, or the other party of a call, on the do-not-call list; it holds from the next dial on.

        Exactly one of `number` and `call_sid` is not empty. Returns `to`, and `added`: False where it was there
        already. Raises `OutboundRefused` for what is no number, `UnknownCall` for a call that is not the agent's, and
        one of `STORE_FAILURES`.
        """
        if bool(number) == bool(call_sid):
            raise OutboundRefused("bad_arguments", "Give either the number or the callSid, and not both.")
        try:
            to = normalise(number or number_of_other_party(await self._call(agent, call_sid)))
            added = await self.gate.stop_calling(
                to, agent_id=agent.agent_id, reason=reason or "asked by the client", added_by=BY_CLIENT
            )
        except NumberError:
            # Its own text repeats the number.
            hint = (
                "Write a plus sign, the country code and the number, such as +14155552671."
                if number
                else "The other party of that call withholds its number, or has none that could be called."
            )
            raise OutboundRefused("number_invalid", f"This is not a telephone number in E.164 form. {hint}") from None
        return {"to": to, "added": added}

    async def _call(self, agent: Agent, call_sid: str) -> CallInfo | CallRecord:
        live = self.calls.find_session(call_sid, agent.agent_id)
        if live is not None:
            return live.info
        record = await self.journal.get(call_sid)
        if record is None or record.agent_id != agent.agent_id:
            raise UnknownCall(call_sid)
        return record


@attrs.frozen
class HeardOptOuts:
    """Opt-outs that were said on calls; implements `actors.ports.OptOuts`."""

    gate: DiallingGate

    async def stop_calling(self, call: CallInfo) -> None:
        """Put the other party of a call on the agent's do-not-call list. Idempotent. Raises `StoreFailed`.

        An opt-out is stored at once, even where the number may be forged; the entry then says so, for the operator. A
        party with a withheld number, or an address without one, cannot be called: that is logged and no error.
        """
        is_certain = call.verified or call.direction is Direction.OUTBOUND
        try:
            await self.gate.stop_calling(
                number_of_other_party(call),
                agent_id=call.agent_id,
                reason=f"said so on call {call.call_sid}",
                added_by=BY_CALLER if is_certain else UNVERIFIED_CALLER,
            )
        except NumberError:
            log.info("opt_out_without_number", call_sid=call.call_sid, agent_id=call.agent_id)


def number_of_other_party(call: CallInfo | CallRecord) -> str:
    """Return the number of the other party of a call; the carrier's text if that holds no number."""
    party = call.caller if call.direction is Direction.INBOUND else call.called
    return number_in(party) or party
