"""The board: what the pages Live and Call show, read from the calls at a beat, and only while someone looks.

    CallSession ──changed──▶ CallListeners ──▶ set.add           nothing else, and nothing at all without viewers
    beat: 0.5 s, a call 0.25 s ──▶ Calls ──glance, view──▶ state ──▶ parts ──▶ Feed ──▶ every stream that shows it

Pull, not push: calls copy nothing, the board reads them. A feed is one view in one form, shared by all who look at it.
Without one beat for all, tabs fall out of step and each has a rendering of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from itertools import count

import attrs
import trio

from actors.call_session import CallSession
from actors.calls import Call, Calls
from actors.commands import By
from relay.console.documents import Documents
from relay.console.ended_views import over
from relay.console.feed import Feed, Form, OneCall, View
from relay.console.first_words import FirstWords
from relay.console.fragments import Fragments
from relay.console.pace import Pace
from relay.console.refused import Refused
from relay.console.rendering import Renderer
from relay.console.viewing import SeenCall, call_of, row_of
from relay.console.views import ROWS, CallState, Facts, LiveFilter, LiveState, Row
from relay.console.words import age
from relay.errors import STORE_FAILURES
from relay.logs import report
from relay.store.backlog import Backlog, Backlogs

CALL_BEAT = 0.25
BEATS_OF_LIVE = 2
"""Live has every second one."""
BEATS_OF_BANNER = 8
"""A call is looked at so often also if nothing happens in it: the banner may have changed."""
MESSAGES_EVERY = 5.0


@attrs.define(eq=False)
class _Shown:
    """A feed, and what its states are made of."""

    feed: Feed
    fragments: Fragments
    documents: Documents
    is_settled: bool = False
    """Whether the newest state was made a beat after the last change: what a call does then has its times too."""
    session: CallSession | None = None
    call: Call | None = None
    last: CallState | None = None
    """Of a call, the call as it was known last, and the state that was shown last."""
    seen: SeenCall = attrs.field(factory=SeenCall)


def _no_operator(_session: CallSession) -> str:
    return ""


def _no_banner() -> str | None:
    return None


@attrs.define(eq=False, kw_only=True)
class Board:
    """Reads the calls for all who look. One task is in `run`.

    `clients` counts the client sessions. `watching` passes each change of a call on while its block lasts.
    `operator_of` is who has taken a call over, `banner` what every page says, `node` this node's name in a cluster.
    """

    calls: Calls
    backlogs: Backlogs
    first_words: FirstWords
    renderer: Renderer
    clients: Callable[[], int]
    watching: Callable[[Callable[[str], None]], AbstractContextManager[None]]
    webhook: str
    operator_of: Callable[[CallSession], str] = _no_operator
    banner: Callable[[], str | None] = _no_banner
    node: str = ""
    boot: str = attrs.field(factory=partial(secrets.token_hex, 4))
    pace: Pace = attrs.field(factory=Pace)
    _shown: dict[tuple[View, Form], _Shown] = attrs.field(factory=dict, init=False)
    _versions: Iterator[int] = attrs.field(factory=partial(count, 1), init=False)
    _rows: dict[str, Row] = attrs.field(factory=dict, init=False)
    _changed: set[str] = attrs.field(factory=set, init=False)
    _watched: trio.Event = attrs.field(factory=trio.Event, init=False)
    # None where the database does not say.
    _backlog: Backlog | None = attrs.field(default=None, init=False)

    # ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────────

    async def live(self, wanted: LiveFilter) -> LiveState:
        """Return the calls that are going on, oldest first, and the figures of all."""
        sessions = sorted(self.calls.live(), key=lambda each: (each.info.started_at, each.info.call_sid))
        self._forget_all_but(sessions)
        found = [each for each in sessions if wanted.agent_id in {"", each.info.agent_id}]
        first = (wanted.page - 1) * ROWS
        if wanted.text:  # only then it is needed what stands in a row that is not on the page
            rows = [each for each in await self._all_rows(found) if wanted.takes(each)]
            number, rows = len(rows), rows[first : first + ROWS]
        else:
            number, rows = len(found), await self._all_rows(found[first : first + ROWS])
        return LiveState(
            facts=self._facts(sessions),
            filter=wanted,
            rows=tuple(rows),
            found=number,
            node=self.node,
            banner=self.banner() or "",
        )

    def _facts(self, sessions: Sequence[CallSession]) -> Facts:
        backlog = self._backlog
        oldest = None if backlog is None else backlog.oldest
        return Facts(
            live=len(sessions),
            most=self.calls.max_calls,
            first_word=self.first_words.p95(),
            clients=self.clients(),
            with_machine=sum(each.answering is By.ANSWERING_MACHINE for each in sessions),
            waiting=None if backlog is None else backlog.waiting + backlog.held,
            oldest=oldest,
            oldest_for="" if oldest is None else age((self.calls.now() - oldest).total_seconds()),
        )

    async def _all_rows(self, sessions: Sequence[CallSession]) -> list[Row]:
        rows = []
        for each in sessions:
            row = self._rows[each.info.call_sid] = self._row(each)
            rows.append(row)
            await self.pace.breathe()
        return rows

    def _forget_all_but(self, sessions: Sequence[CallSession]) -> None:
        live = [each.info.call_sid for each in sessions]
        self._rows = {each: self._rows[each] for each in live if each in self._rows}

    def has(self, call_sid: str) -> bool:
        """Whether a call is going on, and has a session here now."""
        return self._session(call_sid) is not None

    def is_away(self, call_sid: str) -> bool:
        """Whether a call has no session now, and may have another one: it is transferred, or its line was lost."""
        call = self.calls.find_known(call_sid)
        return call is not None and call.is_away

    def call(self, call_sid: str, seen: SeenCall | None = None) -> CallState | None:
        """Return a call that is going on; None for one that has no session here now. `seen` is of earlier looks."""
        call = self.calls.find_known(call_sid)
        if call is None or call.session is None:
            return None
        transfer = call.transfer.stage.value if call.transfer is not None and call.is_transferring else ""
        row, banner = self._row(call.session), self.banner() or ""
        return call_of(call.session.view(), row, transfer=transfer, banner=banner, seen=seen)

    def _session(self, call_sid: str) -> CallSession | None:
        call = self.calls.find_known(call_sid)
        return None if call is None else call.session

    def _row(self, session: CallSession) -> Row:
        call_sid, operator = session.info.call_sid, self.operator_of(session)
        known = self._rows.get(call_sid)
        if known is not None and known.version == session.version and known.operator == operator:
            return known
        return row_of(session.glance(), operator)

    async def look_at_messages(self) -> None:
        """Look how many messages wait. Where the database does not say, that is not known."""
        with trio.move_on_after(1):
            try:
                self._backlog = await self.backlogs.look()
            except STORE_FAILURES:
                self._backlog = None

    # ── who looks ───────────────────────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def feed(self, view: View, form: Form, away: CallState | None = None) -> AsyncIterator[Feed]:
        """Yield the feed of a view, kept up to date inside the block.

        `away` is what is known of a call that `is_away`: it is shown until the call is back. Raises `Refused` for a
        call that is not known.
        """
        key = (view, form)
        shown = self._shown.get(key)
        if shown is None:
            if isinstance(view, OneCall) and away is None and not self.has(view.call_sid):
                raise Refused(404, "not_live", "No call of this id is going on here. Reload its page.")
            fragments, documents = Fragments(self.renderer, self.pace), Documents(self.pace)
            shown = self._shown[key] = _Shown(Feed(view, form, self.boot), fragments, documents, last=away)
            self._watched.set()
        shown.feed.viewers += 1
        try:
            yield shown.feed
        finally:
            shown.feed.viewers -= 1
            if not shown.feed.viewers and self._shown.get(key) is shown:
                del self._shown[key]

    # ── the beat ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Keep all feeds up to date while there are any. Runs until cancelled."""
        while True:
            await self._watched.wait()
            self._watched = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow_messages)
                with self.watching(self._on_change):
                    await self._beat()
                nursery.cancel_scope.cancel("nobody looks any more")

    def _on_change(self, call_sid: str) -> None:
        self._changed.add(call_sid)

    async def _follow_messages(self) -> None:
        while True:
            await self.look_at_messages()
            await trio.sleep(MESSAGES_EVERY)

    async def _beat(self) -> None:
        for beat in count():
            if not self._shown:
                return
            changed, self._changed = self._changed, set()
            for shown in [*self._shown.values()]:
                is_of_a_call = isinstance(shown.feed.view, OneCall)
                is_due = is_of_a_call or shown.feed.version == 0 or beat % BEATS_OF_LIVE == 0
                if is_due and (self._has_changed(shown, changed) or beat % BEATS_OF_BANNER == 0):
                    await self._refresh(shown)
            await trio.sleep(CALL_BEAT)

    def _has_changed(self, shown: _Shown, changed: set[str]) -> bool:
        view = shown.feed.view
        if not isinstance(view, OneCall):
            return True  # what has not changed of it is not rendered again, and not sent
        session = self._session(view.call_sid)
        has_changed = view.call_sid in changed or session is not shown.session
        is_due = has_changed or not shown.is_settled
        shown.session, shown.is_settled = session, not has_changed
        return is_due

    async def _refresh(self, shown: _Shown) -> None:
        """Make the newest state of a view. A fault in it ends those who look at it, and nothing else."""
        parts = None
        try:
            parts = await self._parts(shown)
        except Exception as error:  # noqa: BLE001 - the firewall of a view
            report("console_view_failed", error, view=type(shown.feed.view).__name__)
        if parts is None:
            shown.feed.fail()
            self._shown = {key: each for key, each in self._shown.items() if each is not shown}
        else:
            shown.feed.put(parts, next(self._versions))

    async def _parts(self, shown: _Shown) -> Mapping[str, str] | None:
        """Return what a view shows now; None for a call that ended before anything of it was shown.

        Who looks at that one shall come back, and find what is on record of it: here it would wait for ever.
        """
        view = shown.feed.view
        state: LiveState | CallState
        if isinstance(view, OneCall):
            shown.call = self.calls.find_known(view.call_sid) or shown.call
            now = self.call(view.call_sid, shown.seen)
            if now is None and shown.last is not None:
                ended = self.calls.ended.find(view.call_sid)
                now = over(shown.last, ended, shown.call, banner=self.banner() or "")
            if now is None:
                return None
            state = shown.last = now
        else:
            state = await self.live(view)
        if shown.feed.form is Form.JSON:
            return {"state": await shown.documents.of(state)}
        if isinstance(state, LiveState):
            return await shown.fragments.live(state, webhook=self.webhook)
        return await shown.fragments.call(state)
