"""Calls that are over, as the values that the pages show.

    the last state of a live call + EndedCall (memory) ──over──▶ CallState      for who has the page open
    record, turns, transcript (database) + EndedCall ──EndedViews.find──▶ CallState

What was decided is in memory only, for the last calls; words are on disk only where transcripts are kept.
"""

from __future__ import annotations

import attrs

from actors.calls import Call, Calls
from actors.ended_calls import EndedCall
from actors.phases import Phase
from relay.console.viewing import said, turns_of
from relay.console.views import CallState, Decided, Row, Turn
from relay.store.call_journal import CallJournal
from relay.store.schema import storable


def over(last: CallState, ended: EndedCall | None, call: Call | None = None, *, banner: str) -> CallState:
    """Return a call whose session is over, of the last state that was shown of it; what was said is left out.

    `call` is the call as it was known last: it may be away, and has the outcome of its transfer.
    """
    is_away = call is not None and call.is_away
    state = attrs.evolve(
        last,
        is_live=False,
        is_away=is_away,
        lines=None,
        transfer=transfer_of(call),
        banner=banner,
        row=attrs.evolve(last.row, phase=Phase.OVER),
    )
    if ended is None:
        return state
    return attrs.evolve(
        state,
        ended="" if is_away else ended.outcome.value,
        ended_at=None if is_away else ended.clock.time_of(ended.ended),
        seconds=None if is_away else ended.ended - ended.clock.zero,
        decisions=_decisions(ended),
        left_out=ended.left_out,
        turns=turns_of(ended.turns, ended.clock),
        turns_left_out=ended.turns_left_out,
    )


def transfer_of(call: Call | None) -> str:
    """Return how far a call's transfer is, or what became of it; empty if there was none."""
    transfer = None if call is None else call.transfer
    if transfer is None:
        return ""
    return transfer.outcome.value if transfer.is_settled else transfer.stage.value


@attrs.frozen(kw_only=True)
class EndedViews:
    """Finds calls that are over, or have no session at present."""

    calls: Calls
    journal: CallJournal

    async def find(self, call_sid: str, *, banner: str = "") -> CallState | None:
        """Return a call by its record; None for one that is not on record. Raises `DatabaseError`."""
        record = await self.journal.get(call_sid)
        if record is None:
            return None
        transcript = await self.journal.transcript(call_sid)
        ended = self.calls.ended.find(call_sid)
        known = self.calls.find_known(call_sid)
        is_away = known is not None and known.is_away
        turns = await self.journal.turns(call_sid) if ended is None else ()
        row = Row(
            call_sid=call_sid,
            agent_id=record.agent_id,
            caller=storable(record.caller),
            called=storable(record.called),
            direction=record.direction.value,
            by="",
            operator="",
            phase=Phase.OVER,
            since=record.connected_at or record.started_at,
            first_word=None,
            last_words="",
        )
        state = CallState(
            row=row,
            info=None,
            lines=said(transcript) if transcript else None,
            turns=tuple(Turn(**each) for each in turns),
            connection=0,
            transfer="" if record.transfer_outcome is None else record.transfer_outcome.value,
            is_live=False,
            is_away=is_away,
            ended="" if is_away or record.outcome is None else record.outcome.value,
            ended_at=None if is_away else record.ended_at or record.line_ended_at,
            seconds=None if is_away else record.duration_seconds,
            carrier_error=storable(record.carrier_error or ""),
            banner=banner,
        )
        if ended is None:
            return state
        return attrs.evolve(
            state,
            decisions=_decisions(ended),
            left_out=ended.left_out,
            turns=turns_of(ended.turns, ended.clock),
            turns_left_out=ended.turns_left_out,
        )


def _decisions(ended: EndedCall) -> tuple[Decided, ...]:
    return tuple(
        Decided(at=ended.clock.time_of(each.at), kind=each.kind, text=storable(each.text)) for each in ended.decisions
    )
