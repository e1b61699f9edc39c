"""What operators do in a call: say, take over, hand back, transfer, hang up. Each is a POST from the call's page.

    form ──▶ checked (`action_forms`) ──▶ once a key (`once`) ──▶ on record (`audit`) ──▶ Seats | Transfers
                                                                                             │
    204, or what the dialog shows ◀── why not (`action_refusals`) ◀──────────────────────────┘

The role and the page that a request comes from are checked before. For programs the same actions are below
`/console/api/calls/`, with errors as JSON. What is typed reaches the call as events, none waits for it to be spoken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import attrs
import trio

from actors.calls import Calls
from actors.errors import UnknownCall
from actors.seats import Seats
from relay.agent import Agent
from relay.console.action_forms import read_is_now, read_key, read_number, read_words
from relay.console.action_refusals import Refusals, TakenBy, gate_refusal
from relay.console.answers import Answer, Asked, Document, Fragment, Nothing, Route
from relay.console.asked_calls import call_sid_of
from relay.console.audit import Audit, Recorded
from relay.console.once import Once
from relay.console.refused import Refused
from relay.dialling.requests import TransferRequest
from relay.dialling.transfers import Transfers
from relay.errors import OutboundRefused
from relay.known_agents import KnownAgents

Work: TypeAlias = Callable[[Recorded], Awaitable[Answer]]

API = "/api"


@attrs.frozen(kw_only=True)
class CallActions:
    """The actions in calls of this node."""

    seats: Seats
    calls: Calls
    transfers: Transfers
    agents: KnownAgents
    audit: Audit
    refusals: Refusals
    once: Once = attrs.field(factory=Once)

    def routes(self) -> Sequence[Route]:
        """Return its routes: each for pages and for programs."""
        actions = {
            "say": self.say,
            "take": self.take,
            "hand-back": self.hand_back,
            "transfer": self.transfer,
            "hang-up": self.hang_up,
            "typing": self.typing,
        }
        return [
            Route(rule=f"{prefix}/calls/<call_sid>/{name}", method="POST", function=partial(self._answered, action))
            for prefix in ("", API)
            for name, action in actions.items()
        ]

    async def _answered(self, action: Callable[[Asked], Awaitable[Answer]], asked: Asked) -> Answer:
        """Perform an action; what is refused to a page's form is a part for its dialog."""
        try:
            return await action(asked)
        except Refused as refused:
            if not asked.is_part:
                raise
            values = {
                "message": refused.message,
                "code": refused.code,
                "field": refused.field,
                "taken_by": refused.operator if isinstance(refused, TakenBy) else "",
                "call_sid": asked.arguments["call_sid"],
                "when": asked.form.get("when", "pause"),
            }
            return Fragment(template="action_refused.html", values=values, status=refused.status)

    async def _perform(self, asked: Asked, name: str, work: Work) -> Answer:
        """Do something in a call, once for each key of a form, and on record. Raises `Refused`, or `StoreFailed`."""
        call_sid, key = call_sid_of(asked.arguments["call_sid"]), read_key(asked.form)

        async def recorded() -> Answer:
            call = self.calls.find_known(call_sid)
            if call is None:
                raise await self.refusals.not_there(call_sid)
            async with self.audit.recorded(asked.by, name, agent_id=call.agent_id, call_sid=call_sid) as action:
                return await work(action)

        return await (self.once.run((asked.by.operator, asked.path, key), recorded) if key else recorded())

    # ── actions ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def say(self, asked: Asked) -> Answer:
        """Speak in a call, after what is being said."""
        call_sid, text = asked.arguments["call_sid"], read_words(asked.form, "text", required=True)

        async def work(_action: Recorded) -> Answer:
            result = self.seats.say(call_sid, asked.by.operator, text)
            if not result.is_done:
                raise await self.refusals.of(call_sid, result)
            return Nothing()

        return await self._perform(asked, "say", work)

    async def take(self, asked: Asked) -> Answer:
        """Take a call over, at its next pause or now. From another operator only if the form names that one."""
        call_sid, is_now = asked.arguments["call_sid"], read_is_now(asked.form)

        async def work(action: Recorded) -> Answer:
            self._require_free(call_sid, asked.by.operator, asked.form.get("from", ""))
            result = self.seats.take(call_sid, asked.by.operator, now=is_now)
            if not result.is_done:
                raise await self.refusals.of(call_sid, result)
            action.detail = "now" if is_now else "at the pause"
            return Nothing()

        return await self._perform(asked, "take_over", work)

    async def hand_back(self, asked: Asked) -> Answer:
        """Hand a call back to its client, or who is there instead."""
        call_sid = asked.arguments["call_sid"]

        async def work(_action: Recorded) -> Answer:
            result = self.seats.hand_back(call_sid, asked.by.operator)
            if not result.is_done:
                raise await self.refusals.of(call_sid, result)
            return Nothing()

        return await self._perform(asked, "hand_back", work)

    async def hang_up(self, asked: Asked) -> Answer:
        """End a call, after last words if there are any."""
        call_sid, text = asked.arguments["call_sid"], read_words(asked.form, "text")

        async def work(_action: Recorded) -> Answer:
            result = self.seats.hang_up(call_sid, asked.by.operator, text)
            if not result.is_done:
                raise await self.refusals.of(call_sid, result)
            return Nothing()

        return await self._perform(asked, "hang_up", work)

    async def typing(self, asked: Asked) -> Answer:
        """Renew the time of the operator who has the call. Not on record: nothing happens in the call."""
        await trio.lowlevel.checkpoint()
        self.seats.typing(call_sid_of(asked.arguments["call_sid"]), asked.by.operator)
        return Nothing()

    async def transfer(self, asked: Asked) -> Answer:
        """Show what the gate says of a number; with `checked`, the number that it has allowed, transfer the call."""
        call_sid, number = call_sid_of(asked.arguments["call_sid"]), read_number(asked.form)
        announcement = read_words(asked.form, "announcement")
        request = TransferRequest(
            call_sid=call_sid, to=number, announcement=announcement, confirm=bool(asked.form.get("confirm"))
        )
        checked = asked.form.get("checked", "").strip()
        if not checked:
            return await self._check(asked, request)

        async def work(action: Recorded) -> Answer:
            self._require_free(call_sid, asked.by.operator)
            agent = await self._agent_of(call_sid)
            action.detail = (await self._transfer(agent, request, asked.by.operator))["to"]
            return Nothing()

        if checked != number:
            message = "The number was changed after it was checked. Check it again."
            raise Refused(409, "not_checked", message, field="to")
        return await self._perform(asked, "transfer", work)

    # ── what they are made of ───────────────────────────────────────────────────────────────────────────────────────

    def _require_free(self, call_sid: str, operator: str, taken_from: str = "") -> None:
        """Raise `TakenBy` if another operator has the call than this one, or the one whom it is to be taken from."""
        seat = self.seats.find(call_sid)
        if seat is not None and seat.operator not in {operator, taken_from}:
            raise TakenBy(seat.operator, seat.since)

    async def _agent_of(self, call_sid: str) -> Agent:
        call = self.calls.find_call(call_sid)
        agent = None if call is None else await self.agents.get(call.agent_id)
        if agent is None:
            raise await self.refusals.not_there(call_sid)
        return agent

    async def _transfer(self, agent: Agent, request: TransferRequest, operator: str) -> Mapping[str, str]:
        try:
            return await self.transfers.transfer_call(agent, request, operator=operator)
        except UnknownCall:
            raise await self.refusals.not_there(request.call_sid) from None
        except OutboundRefused as refused:
            raise gate_refusal(refused) from None

    async def _check(self, asked: Asked, request: TransferRequest) -> Answer:
        """Ask the gate, and dial nothing."""
        self._require_free(request.call_sid, asked.by.operator)
        agent = await self._agent_of(request.call_sid)
        verdict = await self._transfer(agent, attrs.evolve(request, dry_run=True), asked.by.operator)
        if asked.path.startswith(f"/console{API}/"):
            return Document(content=verdict)
        return Fragment(template="transfer_verdict.html", values={"verdict": verdict, "number": request.to})
