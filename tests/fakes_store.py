"""Stand-ins for the store: the ports of a call over dictionaries, and a wall clock that the test turns.

`MemoryMessageStore` and `MemoryJournal` pass the same checks as the real ones: see `tests/contracts/message_store.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import attrs
import trio

from actors.call_record import CallKind, CallProgress
from actors.call_values import Callee, CallInfo, CallSummary, Direction, MessageDraft
from actors.errors import StoreFailed


@attrs.define
class WallClock:
    """A clock that stands still until it is turned."""

    time: datetime = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def turn(self, *, seconds: float) -> None:
        """Turn the clock on, or back."""
        self.time += timedelta(seconds=seconds)


@attrs.define(eq=False)
class MemoryJournal:
    """A `Journal` over dictionaries, with the door for announced calls. With `failing` set, it refuses everything."""

    failing: bool = False
    announced: dict[str, str] = attrs.field(factory=dict)
    calls: dict[str, CallInfo] = attrs.field(factory=dict)
    held: dict[str, dict[int, str]] = attrs.field(factory=dict)
    closed: dict[str, CallSummary] = attrs.field(factory=dict)
    picked_up: dict[str, Callee] = attrs.field(factory=dict)

    async def announce_call(
        self,
        call_sid: str,
        agent_id: str,
        direction: Direction,
        caller: str,
        called: str,
        *,
        kind: CallKind = CallKind.CALL,
    ) -> None:
        await self._reach()
        self.announced.setdefault(call_sid, agent_id)

    async def open_call(self, call: CallInfo) -> None:
        await self._reach()
        self.calls[call.call_sid] = call
        self.held.setdefault(call.call_sid, {})
        self.closed.pop(call.call_sid, None)

    async def hold_utterance(self, call_sid: str, turn: int, text: str) -> None:
        await self._reach()
        if call_sid not in self.calls:
            raise StoreFailed("words of an unknown call")
        self.held[call_sid][turn] = text

    async def release_utterances(self, call_sid: str, through_turn: int) -> None:
        await self._reach()
        self.let_go(call_sid, through_turn)

    async def close_call(self, call_sid: str, summary: CallSummary) -> None:
        await self._reach()
        if call_sid in self.calls or call_sid in self.announced:
            self.closed.setdefault(call_sid, summary)

    async def note_progress(self, agent_id: str, progress: CallProgress, **_what_it_leaves: object) -> None:
        await self._reach()
        self.announced.setdefault(progress.call_sid, agent_id)
        if progress.is_over:
            self.closed.setdefault(progress.call_sid, CallSummary(outcome="not_connected"))

    async def note_picked_up(self, agent_id: str, call_sid: str, callee: Callee) -> None:
        await self._reach()
        if self.announced.get(call_sid) == agent_id:
            self.picked_up[call_sid] = callee

    def let_go(self, call_sid: str, through_turn: int) -> None:
        """Drop the words of turns up to this one."""
        held = self.held.get(call_sid, {})
        for turn in [each for each in held if each <= through_turn]:
            del held[turn]

    async def _reach(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.failing:
            raise StoreFailed("the journal is told to fail")


@attrs.define(eq=False)
class MemoryMessageStore:
    """A `MessageStore` over dictionaries, beside the journal whose words it lets go of.

    `messages` keeps what was left, by id and oldest first; what is in `shown` is never changed. With `failing` set, it
    refuses everything.
    """

    journal: MemoryJournal = attrs.field(factory=MemoryJournal)
    failing: bool = False
    messages: dict[str, MessageDraft] = attrs.field(factory=dict)
    shown: set[str] = attrs.field(factory=set)

    async def leave(self, draft: MessageDraft, on_stored: Callable[[str], None] | None = None) -> str:
        await trio.lowlevel.checkpoint()
        if self.failing:
            raise StoreFailed("the store is told to fail")
        message_id = self._same_key(draft) or f"msg_{len(self.messages) + 1}"
        self.messages[message_id] = draft
        self.journal.let_go(draft.call_sid, draft.through_turn)
        if on_stored is not None:
            on_stored(message_id)
        return message_id

    def _same_key(self, draft: MessageDraft) -> str | None:
        for message_id, stored in self.messages.items():
            same = (stored.agent_id, stored.call_sid, stored.part) == (draft.agent_id, draft.call_sid, draft.part)
            if same and message_id not in self.shown:
                return message_id
        return None
