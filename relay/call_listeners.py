"""One fan-out of all that happens to calls: the calls report to it alone, and it passes each report on.

    CallSession, Calls ──Observer──▶ ┌───────────────┐ ──every report──▶ CallMeter
                       ──CallNews──▶ │ CallListeners │ ──CallNews──────▶ client sessions, transfers
                       ──changed───▶ └───────────────┘ ──changed───────▶ who shows calls, while they do

Each listener gets every report of its kind, in the order in which the listeners were added, and knows of no other one.
None may wait or raise: they are called in the middle of a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from actors.call_values import CallInfo, CallSummary, Reason
from actors.commands import NoteTurn
from actors.errors import StoreFailed
from actors.events import CallNews
from actors.ports import Observer
from actors.trace import TurnTimes


@attrs.define(eq=False)
class CallListeners:
    """Those who listen to all calls. Implements `actors.ports.Observer`."""

    _observers: list[Observer] = attrs.field(factory=list)
    _news: list[Callable[[CallNews], None]] = attrs.field(factory=list, init=False)
    _turn_listeners: list[Callable[[CallInfo, NoteTurn], None]] = attrs.field(factory=list, init=False)
    _watchers: tuple[Callable[[str], None], ...] = attrs.field(default=(), init=False)

    def on_news(self, listener: Callable[[CallNews], None]) -> None:
        """Pass all news of calls to `listener`, from now on."""
        self._news.append(listener)

    def on_turn(self, listener: Callable[[CallInfo, NoteTurn], None]) -> None:
        """Pass the end of each turn to `listener`, from now on."""
        self._turn_listeners.append(listener)

    @contextmanager
    def watching(self, watcher: Callable[[str], None]) -> Iterator[None]:
        """Call `watcher` with the call SID at each event of each call, inside the block.

        That is a dozen times in each turn, so it may do no more than note the call.
        """
        self._watchers = (*self._watchers, watcher)
        try:
            yield
        finally:
            self._watchers = tuple(each for each in self._watchers if each is not watcher)

    def publish(self, news: CallNews) -> None:
        """Pass news of a call on."""
        for listener in self._news:
            listener(news)

    # ── Observer ────────────────────────────────────────────────────────────────────────────────────────────────────

    def changed(self, call_sid: str) -> None:
        """Pass on that a call has had another event; without watchers this is all that it costs."""
        for watcher in self._watchers:
            watcher(call_sid)

    def turn_ended(self, call: CallInfo, note: NoteTurn) -> None:
        """Pass on how a turn ended."""
        for each in self._observers:
            each.turn_ended(call, note)
        for listener in self._turn_listeners:
            listener(call, note)

    def turn_over(self, call: CallInfo, turn: TurnTimes) -> None:
        """Pass on the times of a turn."""
        for each in self._observers:
            each.turn_over(call, turn)

    def never_connected(self, call: CallInfo, *, is_placed: bool) -> None:
        """Pass on that a call never had a session."""
        for each in self._observers:
            each.never_connected(call, is_placed=is_placed)

    def message_left(self, call: CallInfo, reason: Reason, message_id: str) -> None:
        """Pass on that a waiting message is durable."""
        for each in self._observers:
            each.message_left(call, reason, message_id)

    def frame_rejected(self, call: CallInfo, why: str) -> None:
        """Pass on that a frame was dropped."""
        for each in self._observers:
            each.frame_rejected(call, why)

    def frame_unknown(self, call: CallInfo, kind: str) -> None:
        """Pass on that a frame of an unknown type came."""
        for each in self._observers:
            each.frame_unknown(call, kind)

    def carrier_failed(self, call: CallInfo, description: str) -> None:
        """Pass on what the carrier refused."""
        for each in self._observers:
            each.carrier_failed(call, description)

    def call_ended(self, call: CallInfo, summary: CallSummary, seconds: float) -> None:
        """Pass on that a session is over."""
        for each in self._observers:
            each.call_ended(call, summary, seconds)

    def call_crashed(self, call: CallInfo, error: BaseException, stage: str) -> None:
        """Pass on an error that stopped at the firewall."""
        for each in self._observers:
            each.call_crashed(call, error, stage)

    def call_taken(self, call: CallInfo) -> None:
        """Pass on that another run of the relay has the call."""
        for each in self._observers:
            each.call_taken(call)

    def not_stored(self, call: CallInfo, error: StoreFailed, what: str) -> None:
        """Pass on that something of a call could not be stored."""
        for each in self._observers:
            each.not_stored(call, error, what)
