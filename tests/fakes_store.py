"""Stand-ins for the store: the ports of a call over dictionaries, and a wall clock that the test turns.

`MemoryMessageStore` and `MemoryJournal` pass the same checks as the real ones: see `tests/contracts/message_store.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import attrs
import trio

from actors.call_record import CallKind, CallProgress
from actors.call_values import Callee, CallInfo, CallSummary, Direction, MessageDraft, TakenOver, TranscriptChange
from actors.errors import CallTaken, StoreFailed
from actors.trace import TurnRow
from relay.store.call_states import Announcement, KeptCall


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
    """A `Journal` over dictionaries, with the door for announced calls. With `failing` set, it refuses everything.

    Calls in `taken` are another run's; what such a run has left of a call is put into `kept` and `left`.
    """

    failing: bool = False
    announced: dict[str, str] = attrs.field(factory=dict)
    kept: dict[str, KeptCall] = attrs.field(factory=dict)
    left: dict[str, TakenOver] = attrs.field(factory=dict)
    taken: set[str] = attrs.field(factory=set)
    lines: dict[str, dict[int, str]] = attrs.field(factory=dict)
    calls: dict[str, CallInfo] = attrs.field(factory=dict)
    held: dict[str, dict[int, str]] = attrs.field(factory=dict)
    closed: dict[str, CallSummary] = attrs.field(factory=dict)
    turns: dict[str, list[TurnRow]] = attrs.field(factory=dict)
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
        announced: Announcement | None = None,
    ) -> None:
        await self._reach()
        if announced is not None:
            self.kept[call_sid] = KeptCall(info=announced.info)
        self.announced.setdefault(call_sid, agent_id)

    async def expect_call(self, announced: Announcement) -> None:
        await self._reach()
        self.kept[announced.info.call_sid] = KeptCall(info=announced.info)

    async def forget_order(self, order: str) -> None:
        await self._reach()
        self.kept.pop(order, None)

    async def find_state(self, call_sid: str, agent_id: str) -> KeptCall | None:
        await self._reach()
        kept = self.kept.get(call_sid)
        return kept if kept is not None and kept.info.agent_id == agent_id else None

    async def open_call(self, call: CallInfo, *, must_answer: bool = False) -> TakenOver | None:
        await self._reach(call.call_sid)
        self.calls[call.call_sid] = call
        self.held.setdefault(call.call_sid, {})
        self.closed.pop(call.call_sid, None)
        return self.left.pop(call.call_sid, None)

    async def hold_utterance(self, call_sid: str, turn: int, text: str, said: TranscriptChange | None = None) -> None:
        await self._reach(call_sid)
        if call_sid not in self.calls:
            raise StoreFailed("words of an unknown call")
        self.held[call_sid][turn] = text
        self.write(call_sid, said)

    async def release_utterances(self, call_sid: str, through_turn: int, said: TranscriptChange | None = None) -> None:
        await self._reach(call_sid)
        self.let_go(call_sid, through_turn)
        self.write(call_sid, said)

    async def close_call(
        self,
        call_sid: str,
        summary: CallSummary,
        said: TranscriptChange | None = None,
        turns: Sequence[TurnRow] = (),
    ) -> None:
        await self._reach(call_sid)
        self.turns.setdefault(call_sid, []).extend(turns)
        self.write(call_sid, said)
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

    def write(self, call_sid: str, said: TranscriptChange | None) -> None:
        """Apply a change to what was said in a call."""
        if said is not None:
            before = {number: text for number, text in self.lines.get(call_sid, {}).items() if number < said.first}
            self.lines[call_sid] = before | dict(enumerate((each.text for each in said.lines), said.first))

    async def _reach(self, call_sid: str = "") -> None:
        await trio.lowlevel.checkpoint()
        if call_sid in self.taken:
            raise CallTaken("the call is told to be another run's")
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
        if draft.call_sid in self.journal.taken:
            raise CallTaken("the call is told to be another run's")
        message_id = self._same_key(draft) or f"msg_{len(self.messages) + 1}"
        self.messages[message_id] = draft
        self.journal.let_go(draft.call_sid, draft.through_turn)
        self.journal.write(draft.call_sid, draft.said)
        if on_stored is not None:
            on_stored(message_id)
        return message_id

    def _same_key(self, draft: MessageDraft) -> str | None:
        for message_id, stored in self.messages.items():
            same = (stored.agent_id, stored.call_sid, stored.part) == (draft.agent_id, draft.call_sid, draft.part)
            if same and message_id not in self.shown:
                return message_id
        return None
