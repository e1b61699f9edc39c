"""The board: what the pages Live and Call show, read from the calls at a beat, and only while someone looks.

    CallSession ──changed──▶ CallListeners ──▶ set.add           nothing else, and nothing at all without viewers
    beat: 0.5 s, a call 0.25 s ──▶ Calls ──view()──▶ state ──▶ parts ──▶ Feed ──after──▶ every stream that shows it

Pull, not push: calls copy nothing, the board reads them. A feed is one view in one form, shared by all who look at it;
it holds the newest state and no queue, so a slow reader skips what it missed. Without one beat for all, tabs fall out
of step and each has a rendering of its own.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from enum import StrEnum
from functools import partial
from itertools import count

import attrs
import trio

from actors.call_session import CallSession
from actors.calls import Calls
from relay.console.ended_views import over
from relay.console.first_words import FirstWords
from relay.console.fragments import Fragments
from relay.console.refused import Refused
from relay.console.rendering import Renderer
from relay.console.viewing import call_of, row_of
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


class Form(StrEnum):
    """How a state is written: parts of a page, or JSON."""

    HTML = "html"
    JSON = "json"


@attrs.frozen
class OneCall:
    """The view of one call."""

    call_sid: str


View = LiveFilter | OneCall


@attrs.define(eq=False)
class Feed:
    """One view in one form, for all who look at it. `version` is that of its newest state, and 0 before the first."""

    view: View
    form: Form
    fragments: Fragments
    viewers: int = 0
    version: int = 0
    is_broken: bool = False
    is_settled: bool = True
    """Whether the newest state was made a beat after the last change: what a call does then has its times too."""
    session: CallSession | None = None
    last: CallState | None = None
    """Of a call, the state that was shown last."""
    _parts: dict[str, tuple[int, str]] = attrs.field(factory=dict, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def put(self, parts: Mapping[str, str], version: int) -> None:
        """Keep the parts that have changed; no-op if none has."""
        new = {name: (version, text) for name, text in parts.items() if self._text(name) != text}
        if new:
            self._parts |= new
            self.version = version
            self._notify()

    def fail(self) -> None:
        """End all who look at it: it cannot be shown."""
        self.is_broken = True
        self._notify()

    async def after(self, version: int) -> Mapping[str, str]:
        """Wait for a state that is newer than a version, and return its parts that are; none if it is broken."""
        while self.version <= version and not self.is_broken:
            await self._changed.wait()
        return {name: text for name, (since, text) in self._parts.items() if since > version and not self.is_broken}

    def _text(self, name: str) -> str | None:
        known = self._parts.get(name)
        return None if known is None else known[1]

    def _notify(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


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
    _feeds: dict[tuple[View, Form], Feed] = attrs.field(factory=dict, init=False)
    _versions: Iterator[int] = attrs.field(factory=partial(count, 1), init=False)
    _rows: dict[str, Row] = attrs.field(factory=dict, init=False)
    _changed: set[str] = attrs.field(factory=set, init=False)
    _watched: trio.Event = attrs.field(factory=trio.Event, init=False)
    # None where the database does not say.
    _backlog: Backlog | None = attrs.field(default=None, init=False)

    # ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────────

    def live(self, wanted: LiveFilter) -> LiveState:
        """Return the calls that are going on, oldest first, and the figures of all."""
        sessions = self.calls.live()
        rows = sorted((self._row(each) for each in sessions), key=lambda row: (row.since, row.call_sid))
        self._rows = {each.call_sid: each for each in rows}
        found = [each for each in rows if wanted.takes(each)]
        backlog = self._backlog
        oldest = None if backlog is None else backlog.oldest
        facts = Facts(
            live=len(rows),
            most=self.calls.max_calls,
            first_word=self.first_words.p95(),
            clients=self.clients(),
            with_machine=sum(each.by == "machine" for each in rows),
            waiting=None if backlog is None else backlog.waiting + backlog.held,
            oldest=oldest,
            oldest_for="" if oldest is None else age((self.calls.now() - oldest).total_seconds()),
        )
        first = (wanted.page - 1) * ROWS
        return LiveState(
            facts=facts,
            filter=wanted,
            rows=tuple(found[first : first + ROWS]),
            found=len(found),
            node=self.node,
            banner=self.banner() or "",
        )

    def call(self, call_sid: str) -> CallState | None:
        """Return a call that is going on; None for one that has no session here now."""
        call = self.calls.find_known(call_sid)
        if call is None or call.session is None:
            return None
        transfer = call.transfer.stage.value if call.transfer is not None and call.is_transferring else ""
        session = call.session
        return call_of(session.view(), self._row(session), transfer=transfer, banner=self.banner() or "")

    def _row(self, session: CallSession) -> Row:
        call_sid, operator = session.info.call_sid, self.operator_of(session)
        known = self._rows.get(call_sid)
        if known is not None and known.version == session.version and known.operator == operator:
            return known
        return row_of(session.view(), operator)

    async def look_at_messages(self) -> None:
        """Look how many messages wait. Where the database does not say, that is not known."""
        with trio.move_on_after(1):
            try:
                self._backlog = await self.backlogs.look()
            except STORE_FAILURES:
                self._backlog = None

    # ── who looks ───────────────────────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def feed(self, view: View, form: Form) -> AsyncIterator[Feed]:
        """Yield the feed of a view, kept up to date inside the block. Raises `Refused` for a call that is not known."""
        key = (view, form)
        feed = self._feeds.get(key)
        if feed is None:
            if isinstance(view, OneCall) and self.call(view.call_sid) is None:
                raise Refused(404, "not_live", "No call of this id is going on here. Reload its page.")
            feed = self._feeds[key] = Feed(view, form, Fragments(self.renderer))
            feed.is_settled = False  # so that the next beat makes its first state
            self._watched.set()
        feed.viewers += 1
        try:
            yield feed
        finally:
            feed.viewers -= 1
            if not feed.viewers and self._feeds.get(key) is feed:
                del self._feeds[key]

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
            if not self._feeds:
                return
            changed, self._changed = self._changed, set()
            for feed in [*self._feeds.values()]:
                is_due = isinstance(feed.view, OneCall) or feed.version == 0 or beat % BEATS_OF_LIVE == 0
                if is_due and (self._has_changed(feed, changed) or beat % BEATS_OF_BANNER == 0):
                    await self._refresh(feed)
            await trio.sleep(CALL_BEAT)

    def _has_changed(self, feed: Feed, changed: set[str]) -> bool:
        if not isinstance(feed.view, OneCall):
            return True  # what has not changed of it is not rendered again, and not sent
        call = self.calls.find_known(feed.view.call_sid)
        session = None if call is None else call.session
        has_changed = feed.view.call_sid in changed or session is not feed.session
        is_due = has_changed or not feed.is_settled
        feed.session, feed.is_settled = session, not has_changed
        return is_due

    async def _refresh(self, feed: Feed) -> None:
        """Make the newest state of a view. A fault in it ends those who look at it, and nothing else."""
        try:
            parts = await self._parts(feed)
        except Exception as error:  # noqa: BLE001 - the firewall of a view
            report("console_view_failed", error, view=type(feed.view).__name__)
            feed.fail()
            self._feeds = {key: each for key, each in self._feeds.items() if each is not feed}
        else:
            feed.put(parts, next(self._versions))

    async def _parts(self, feed: Feed) -> Mapping[str, str]:
        view = feed.view
        state: LiveState | CallState
        if isinstance(view, OneCall):
            now = self.call(view.call_sid)
            if now is None and feed.last is not None:
                now = over(feed.last, self.calls.ended.find(view.call_sid), banner=self.banner() or "")
            if now is None:
                return {}  # it ended before anything of it was shown
            state = feed.last = now
        else:
            state = self.live(view)
        if feed.form is Form.JSON:
            return {"state": json.dumps(state.document())}
        if isinstance(state, LiveState):
            return await feed.fragments.live(state, webhook=self.webhook)
        return await feed.fragments.call(state)
