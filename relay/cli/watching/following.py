"""What `relay tail` follows: one call from its beginning to its end, or all of them from now on.

    one call    its own stream ──▶ CallTail ──▶ report                          ends with the call
    all calls   the stream of live calls ──▶ those that have changed, asked one after the other ──▶ CallTail ──▶ report

A stream for each call lost: a daemon has fifty for all who look.
"""

from __future__ import annotations

import re

import attrs

from relay.cli.opened_database import find_id
from relay.cli.watching.call_tail import CallTail, Entry, is_over
from relay.cli.watching.console_api import LIVE, ConsoleApi, Lost, State, UnknownCall, call_path
from relay.cli.watching.tail_report import Report
from relay.errors import RelayError

_WHOLE_SID = re.compile(r"CA[0-9a-fA-F]{32}")


@attrs.frozen(kw_only=True)
class Wanted:
    """What is to be printed: one call, or all (of an agent); by now, or as it happens."""

    call: str | None = None
    agent_id: str = ""
    follows: bool = True


async def follow(api: ConsoleApi, wanted: Wanted, report: Report) -> None:
    """Report what is wanted, until it has ended. Raises `RelayError`."""
    try:
        if wanted.call is not None:
            call_sid = await _whole_sid(api, wanted.call)
            await (_OneCall(api, report).follow(call_sid) if wanted.follows else _now(api, [call_sid], report))
        elif wanted.follows:
            await _AllCalls(api, report, wanted.agent_id).follow()
        else:
            calls = await api.live_calls(agent=wanted.agent_id)
            await _now(api, [each["callSid"] for each in calls], report, may_be_gone=True)
    except Lost as lost:
        raise RelayError(f"{lost}.") from lost


async def _whole_sid(api: ConsoleApi, given: str) -> str:
    """Return the SID of the call that is meant; of one that is over, all of it has to be given."""
    if _WHOLE_SID.fullmatch(given):
        return given
    known = [each["callSid"] for each in await api.live_calls()]
    start = given if given.startswith("CA") else f"CA{given}"
    return find_id(
        start,
        known,
        what="call going on that begins with",
        command="relay top --once; of a call that is over give its whole SID",
    )


async def _now(api: ConsoleApi, call_sids: list[str], report: Report, *, may_be_gone: bool = False) -> None:
    """Report all that is known of calls, in the order of time. Those that `may_be_gone` are left out if they are."""
    entries: list[Entry] = []
    for call_sid in call_sids:
        try:
            entries += CallTail().since(await api.get(call_path(call_sid)), whole=True)
        except UnknownCall:
            # One that was going on has ended at this moment, and its record waits for the database.
            if not may_be_gone:
                raise
    for each in sorted(entries, key=lambda each: each.at):
        report.tell(each)


@attrs.frozen(eq=False)
class _OneCall:
    api: ConsoleApi
    report: Report
    tail: CallTail = attrs.field(factory=CallTail, init=False)

    async def follow(self, call_sid: str) -> None:
        await self.api.follow(call_path(call_sid), self._take, self.report.lost)

    async def _take(self, state: State) -> bool:
        for each in self.tail.since(state):
            self.report.tell(each)
        return not is_over(state)


@attrs.define(eq=False)
class _AllCalls:
    api: ConsoleApi
    report: Report
    agent_id: str
    _tails: dict[str, CallTail] = attrs.field(factory=dict, init=False)
    _rows: dict[str, State] = attrs.field(factory=dict, init=False)
    _is_first: bool = attrs.field(default=True, init=False)

    async def follow(self) -> None:
        await self.api.follow(LIVE, self._take, self.report.lost, agent=self.agent_id)

    async def _take(self, state: State) -> bool:
        calls = [*state["calls"], *await self.api.later_pages(state, agent=self.agent_id)]
        rows = {each["callSid"]: each for each in calls}
        for call_sid in [*rows, *(self._tails.keys() - rows.keys())]:
            if call_sid not in rows or rows[call_sid] != self._rows.get(call_sid):
                await self._look_at(call_sid)
        self._rows, self._is_first = rows, False
        return True

    async def _look_at(self, call_sid: str) -> None:
        tail = self._tails.setdefault(call_sid, CallTail())
        try:
            state = await self.api.get(call_path(call_sid))
        except UnknownCall:  # it ended at this moment, and its record waits for the database
            del self._tails[call_sid]
            return
        entries = tail.since(state)
        for each in [] if self._is_first else entries:
            self.report.tell(each)
        if is_over(state):
            del self._tails[call_sid]
