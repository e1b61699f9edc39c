"""The page of a call: what is said in it, how long its turns take, what it decides, and what operators did."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from markupsafe import Markup

from relay.console.answers import Answer, Asked, Page, Route, Section
from relay.console.asked_calls import call_sid_of
from relay.console.board import Board
from relay.console.ended_views import EndedViews
from relay.console.fragments import Fragments
from relay.console.refused import Refused
from relay.errors import STORE_FAILURES
from relay.store.operator_actions import OperatorActions, RecordedAction

_MOST_ACTIONS = 100
_NOT_KEPT = Markup('<li class="empty"><p>Words were not kept (RELAY_KEEP_TRANSCRIPTS=false).</p></li>')
_WHEN_IT_IS_BACK = Markup('<li class="empty"><p>What was said is shown when the call is back.</p></li>')


@attrs.frozen(kw_only=True)
class CallPage:
    """`/console/calls/<call_sid>`."""

    board: Board
    ended: EndedViews
    actions: OperatorActions

    def routes(self) -> Sequence[Route]:
        """Return its routes."""
        return [Route(rule="/calls/<call_sid>", function=self.show)]

    async def show(self, asked: Asked) -> Answer:
        """Show a call that is going on, or is over."""
        call_sid = call_sid_of(asked.arguments["call_sid"])
        state = self.board.call(call_sid)
        if state is None:
            state = await self.ended.find(call_sid, banner=self.board.banner() or "")
        if state is None:
            raise Refused(404, "unknown_call", "No call of this id is on record here. It may be another relay's.")
        goes_on = state.is_live or state.is_away
        parts = await Fragments(self.board.renderer, self.board.pace).call(state)
        values = {
            "state": state,
            "parts": {"conversation": _WHEN_IT_IS_BACK if state.is_away else _NOT_KEPT, **parts},
            "audit": await self._audit(call_sid),
            "goes_on": goes_on,
            "call_sid": call_sid,
            "stream": f"/console/stream?view=call&call={call_sid}" if goes_on else "",
        }
        title = state.row.party or "withheld"
        return Page(template="call.html", title=title, section=Section.LIVE, values=values)

    async def _audit(self, call_sid: str) -> Sequence[RecordedAction] | None:
        try:
            return (await self.actions.list(call_sid=call_sid, limit=_MOST_ACTIONS))[::-1]
        except STORE_FAILURES:
            return None
