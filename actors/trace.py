"""What a call keeps of its steps, and the times of its turns, for those who look at it. Pure.

    event ──▶ Conversation ──commands──▶ Trace.note ──▶ Step         what happened, and what the call did then
                                         Trace.note_… ──▶ TurnTimes  when, in each turn, from one clock

A step is one event and the commands that it led to. Most events of a call lead to none: a frame that reports what was
played, a piece of an answer behind the first one. They are counted and not kept, so that 400 steps are an hour of talk
and not a minute. What is kept is bounded in number and in length: the newest `MAX_STEPS`, with texts of at most
`LONGEST_TEXT` characters, and without the transcripts that commands carry; the call has its own. A trace is made with a
call's first step that leads to something, because most calls of a busy daemon only listen.

Nothing is formatted here: that is done where a call is looked at (`actors.narration`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

import attrs

from actors.call_values import CallInfo, Line
from actors.commands import (
    By,
    CancelTurn,
    Command,
    HoldUtterance,
    NoteTurn,
    ReleaseUtterances,
    Speak,
    StartTurn,
    StoreMessage,
    TurnOutcome,
)
from actors.deadlines import Deadline
from actors.events import (
    AgentSpeaking,
    CallerBargedIn,
    CallerSpeaking,
    CarrierFailed,
    DeadlinePassed,
    DigitPressed,
    Event,
    FrameAccepted,
    FrameRejected,
    FrameUnknown,
    HangUpRequested,
    MessageTaken,
    MoveDue,
    MoveRequested,
    PartialPromptHeard,
    PieceSaid,
    SessionStarted,
    SpeechPlayed,
    TransferRequested,
    TurnFailed,
    TurnFinished,
    UtteranceHeard,
)
from actors.phases import Phase
from actors.transcript import Cut

MAX_STEPS = 400
MAX_TURNS = 500
"""An hour's call has some 300. Of one that has more, the oldest are dropped, and counted."""
LONGEST_TEXT = 1_000
"""Characters of one text in a step: a sentence quotes a few words of it, and counts the others."""

# Without commands these change nothing that a reader would call a step. They are counted, and not kept.
QUIET: frozenset[type[Event]] = frozenset(
    {
        SessionStarted,
        PartialPromptHeard,
        CallerSpeaking,
        AgentSpeaking,
        SpeechPlayed,
        FrameAccepted,
        PieceSaid,
        TurnFinished,
        TurnFailed,
        DeadlinePassed,
    }
)
# Without commands, one that follows another of its kind is the same step once more: else one flood of bad frames would
# push everything out that happened before it.
REPEATED: frozenset[type[Event]] = frozenset({FrameRejected, FrameUnknown, CarrierFailed, DigitPressed})

# That words were held is all that a reader is told of it.
_HELD = HoldUtterance(0, "")
_CUT = frozenset({TurnOutcome.INTERRUPTED, TurnOutcome.SUPERSEDED, TurnOutcome.HUNG_UP, TurnOutcome.MOVED})


@attrs.frozen
class Asked:
    """The client that a turn was given to: its name in its own words (perhaps empty), and how it is reached."""

    name: str
    how: str


@attrs.define(eq=False)
class Step:
    """One step of a call: an event, the commands that it led to, and what else its sentence needs. Set by `Trace` only.

    `number` counts the steps of the call from 1. `at` is monotonic, in seconds. `commands` are without those that only
    keep the books, and without `StartTurn`: `starts_turn` says that there was one, of `turn`, which is the newest one
    after the step. `phase` is where the call was then. `times` is how often it happened in a row. `waited` is how many
    seconds the caller had waited when a deadline came, and `due` which one that was, None for a filler. `cut` is the
    speech that a barge-in cut off. `message_id` is that of the message which was left, empty until that is durable.
    """

    number: int
    at: float
    event: Event
    commands: Sequence[Command]
    phase: Phase
    turn: TurnTimes | None = None
    starts_turn: bool = False
    times: int = 1
    waited: float | None = None
    due: Deadline | None = None
    cut: Cut | None = None
    message_id: str = ""

    @property
    def late(self) -> tuple[int, str, Asked | None]:
        """What may still become different after the session has kept it: equal ones have the same sentence."""
        return self.times, self.message_id, None if self.turn is None else self.turn.client


@attrs.frozen
class Part:
    """A part of a turn's time: what it was spent on, and how many seconds it took."""

    name: str
    seconds: float


@attrs.define(eq=False)
class TurnTimes:
    """The times of one turn: monotonic seconds, all stamped by the call session. Set by `Trace` only; None for never.

    `arrived`: the words that it answers were read from the line, or its predecessor was given up. `stored`: they were
    durable. `asked`: the client or the answering machine was asked. `first`: the first piece of the answer came. `out`:
    that piece was sent. `last`: the turn was over. `heard`: the caller had heard the answer, by the carrier's report;
    or `cut`: the answer was cut off. `client` is who was asked, None as long as that is not known; `fillers` are the
    times at which fillers were said meanwhile.
    """

    turn: int
    by: By
    arrived: float
    stored: float | None = None
    asked: float | None = None
    first: float | None = None
    out: float | None = None
    last: float | None = None
    heard: float | None = None
    cut: float | None = None
    outcome: TurnOutcome | None = None
    client: Asked | None = None
    fillers: tuple[float, ...] = ()

    @property
    def first_word(self) -> float | None:
        """Seconds from the arrival of the words to the first word sent; None if there was none."""
        return None if self.out is None else self.out - self.arrived

    @property
    def end(self) -> float:
        """The last time that is known of it."""
        heard = self.cut if self.heard is None else self.heard
        later = (heard, self.last, self.out, self.first, self.asked, self.stored)
        return next((at for at in later if at is not None), self.arrived)

    @property
    def seconds(self) -> float:
        """How long it took as a whole, as far as is known."""
        return self.end - self.arrived

    def parts(self) -> tuple[Part, ...]:
        """Return what its time was spent on, in order; the sum of it is `seconds`.

        `storing` and `asking` are the relay's; `thinking` is the client's, up to its first piece; `sending` is the
        relay's; `speaking` is the client's, up to its last piece; `playing` is the telephone's, up to the end of what
        was heard.
        """
        before, parts = self.arrived, []
        for name, at in self._stamps():
            parts.append(Part(name, at - before))
            before = at
        return tuple(parts)

    def _stamps(self) -> list[tuple[str, float]]:
        end = self.cut if self.heard is None else self.heard
        known = (
            ("storing", self.stored),
            ("asking", self.asked),
            ("thinking", self.first),
            ("sending", self.out),
            ("speaking", self.last),
            ("playing", end),
        )
        return [(name, at) for name, at in known if at is not None]


@attrs.frozen(kw_only=True)
class TurnRow:
    """The times of a turn for its record: milliseconds since `began`, a wall-clock time with a zone; no words."""

    turn: int
    by: By
    outcome: TurnOutcome | None
    began: datetime
    arrived_ms: int
    stored_ms: int | None
    asked_ms: int | None
    first_ms: int | None
    out_ms: int | None
    last_ms: int | None
    heard_ms: int | None


@attrs.frozen(kw_only=True)
class CallGlance:
    """A live call as it is in this moment, in a line: what costs the same however long it has gone on.

    `version` and `by` are those of `CallView`. `last_words` are what the other party is saying, or else what was said
    last; `first_word` is how many seconds the newest answer took that was waited for, None if there was none.
    """

    info: CallInfo
    version: int
    phase: Phase
    by: By | None
    last_words: str = attrs.field(repr=False)
    first_word: float | None
    clock: WallClock


@attrs.frozen(kw_only=True)
class CallView:
    """A live call as it is in this moment, for those who show it. Made when it is asked for, and never by the call.

    `version` is another one after each event of the call, in its later sessions too. `by` is who answers, None where
    only last words are said, or nobody has begun. `transcript` is what was said: its last line grows with the answer,
    and `hearing` with what the caller is saying. `left_out` counts the steps that are not in `steps` any more, and
    `turns_left_out` the turns.
    """

    info: CallInfo
    version: int
    phase: Phase
    by: By | None
    transcript: tuple[Line, ...] = attrs.field(repr=False)
    hearing: str = attrs.field(repr=False)
    turns: tuple[TurnTimes, ...] = ()
    steps: tuple[Step, ...] = ()
    left_out: int = 0
    turns_left_out: int = 0
    clock: WallClock


@attrs.frozen
class WallClock:
    """What a monotonic time is on the wall: `zero`, in seconds, was `at`, which has a zone."""

    zero: float
    at: datetime

    def time_of(self, monotonic: float) -> datetime:
        """Return the wall-clock time of a monotonic one."""
        return self.at + timedelta(seconds=monotonic - self.zero)


@attrs.define(eq=False)
class Trace:
    """The steps and turns of one call, in all its sessions in this process. One task writes it; others only read."""

    clock: WallClock
    steps: deque[Step] = attrs.field(factory=lambda: deque(maxlen=MAX_STEPS), init=False)
    turns: deque[TurnTimes] = attrs.field(factory=lambda: deque(maxlen=MAX_TURNS), init=False)
    # The newest turn, whether it runs or not; the one whose first piece is being sent; and the one of which the caller
    # has not heard everything. None where there is none.
    newest: TurnTimes | None = attrs.field(default=None, init=False)
    unsent: TurnTimes | None = attrs.field(default=None, init=False)
    unheard: TurnTimes | None = attrs.field(default=None, init=False)
    # How many steps and turns there were.
    _steps: int = attrs.field(default=0, init=False)
    _turns: int = attrs.field(default=0, init=False)
    # When the words came, and were durable, that no turn has been started for yet.
    _arrived: float | None = attrs.field(default=None, init=False)
    _stored: float | None = attrs.field(default=None, init=False)

    @property
    def is_awaited(self) -> bool:
        """Whether the newest turn has not begun to be answered, as far as is known."""
        return self.newest is None or self.newest.first is None

    @property
    def left_out(self) -> int:
        """How many steps are not kept any more."""
        return self._steps - len(self.steps)

    @property
    def turns_left_out(self) -> int:
        """How many turns are not kept any more."""
        return self._turns - len(self.turns)

    # ── what happened ───────────────────────────────────────────────────────────────────────────────────────────────

    def note(self, event: Event, commands: Sequence[Command], now: float, phase: Phase, arrived: float) -> Step:
        """Keep a step, before its commands are performed; return it. `arrived` is when its event was read."""
        kind = type(event)
        if not commands and kind in REPEATED and self.steps and type(self.steps[-1].event) is kind:
            step = self.steps[-1]
            step.times += 1
            return step
        if kind is UtteranceHeard:
            self._arrived, self._stored = arrived, None
        before = self.newest
        kept: list[Command] = []
        for command in commands:
            kind_of_command = type(command)
            if kind_of_command in _LEFT_OUT:
                continue
            note = self._NOTED.get(kind_of_command)
            keep = command if note is None else note(self, command, now)
            if keep is not None:
                kept.append(keep)
        turn = self.newest
        if kept and kind is PieceSaid and turn is not None and turn.first is None:
            turn.first = now
            self.unsent = turn
        if (text := _TEXTS.get(kind)) is not None:
            if len(getattr(event, text)) > LONGEST_TEXT:
                event = attrs.evolve(event, **{text: getattr(event, text)[:LONGEST_TEXT]})
        elif (strip := _STRIPPED.get(kind)) is not None:
            event = strip(event)
        self._steps += 1
        step = Step(self._steps, now, event, kept, phase, turn, turn is not before)
        self.steps.append(step)
        return step

    # What a command says of a turn is stamped, and what is kept of it returned; None for nothing.

    def _begin_turn(self, start: StartTurn, now: float) -> None:
        arrived = now if self._arrived is None else self._arrived
        self.newest = TurnTimes(start.request.turn, start.by, arrived, self._stored)
        self.turns.append(self.newest)
        self._turns += 1
        self._arrived = self._stored = self.unsent = self.unheard = None

    def _note_held(self, _hold: HoldUtterance, now: float) -> Command:
        if self._arrived is None:  # keys come one by one
            self._arrived = now
        return _HELD

    def _end_turn(self, note: NoteTurn, now: float) -> Command:
        turn = self.newest
        if turn is not None and turn.turn == note.turn:
            turn.outcome, turn.last = note.outcome, now
            if turn.out is not None and note.outcome in _CUT:
                turn.cut, self.unheard = now, None
        return note

    def _note_speech(self, speech: Speak, now: float) -> Command | None:
        turn = self.newest
        if speech.preemptible and turn is not None and turn.last is None:
            turn.fillers = (*turn.fillers, now)
        return speech if speech.text else None

    def _note_message(self, message: StoreMessage, _now: float) -> Command:
        draft = attrs.evolve(message.draft, body="", preferences="", transcript=(), said=None)
        return StoreMessage(draft, None if message.unless_back is None else ())

    # By their kinds, and not by a match: that asks of each command whether it is one of seven, in each turn. Any other
    # is kept as it is.
    _NOTED: ClassVar[Mapping[type[Command], Callable[[Any, Any, float], Command | None]]] = {
        StartTurn: _begin_turn,
        HoldUtterance: _note_held,
        Speak: _note_speech,
        NoteTurn: _end_turn,
        StoreMessage: _note_message,
    }

    # ── what was done ───────────────────────────────────────────────────────────────────────────────────────────────

    def note_stored(self, now: float) -> None:
        """Stamp that the caller's words are durable."""
        turn = self.newest
        if self._arrived is None and turn is not None and turn.asked is None:
            turn.stored = now
        else:
            self._stored = now

    def note_asked(self, number: int, now: float) -> None:
        """Stamp that a turn was started."""
        turn = self.newest
        if turn is not None and turn.turn == number:
            turn.asked = now

    def note_client(self, number: int, client: Asked) -> None:
        """Set which client a turn was given to. No-op for a turn that is not the newest any more."""
        turn = self.newest
        if turn is not None and turn.turn == number:
            turn.client = client

    def note_sent(self, now: float) -> None:
        """Stamp that the first piece of an answer was sent. Only while `unsent` is set."""
        turn, self.unsent = self.unsent, None
        if turn is not None:
            turn.out = now
            self.unheard = turn
            if turn.last is not None:  # the piece was the whole answer: it is not over before it was sent
                turn.last = now

    def note_played(self, now: float, *, is_all: bool) -> None:
        """Stamp that our speech was heard, `is_all` or up to a pause. Only a turn that is over was heard to its end."""
        turn = self.unheard
        if turn is not None and turn.last is not None:
            turn.heard = now
            if is_all:
                self.unheard = None

    def note_cut(self, step: Step, cut: Cut, now: float) -> None:
        """Keep what a barge-in cut off."""
        step.cut = Cut(cut.at, cut.heard[-LONGEST_TEXT:], cut.unheard[:LONGEST_TEXT])
        turn, self.unheard = self.unheard, None
        if turn is not None and turn.cut is None:
            turn.heard, turn.cut = None, now

    # ── for its record ──────────────────────────────────────────────────────────────────────────────────────────────

    def rows(self, after: int) -> tuple[TurnRow, ...]:
        """Return the times of the turns whose number is higher than `after`, for their record."""
        return tuple(map(self._row_of, filter(lambda turn: turn.turn > after, self.turns)))

    def _row_of(self, turn: TurnTimes) -> TurnRow:
        zero = self.clock.zero

        def ms(at: float | None) -> int | None:
            return None if at is None else round((at - zero) * 1000)

        return TurnRow(
            turn=turn.turn,
            by=turn.by,
            outcome=turn.outcome,
            began=self.clock.at,
            arrived_ms=round((turn.arrived - zero) * 1000),
            stored_ms=ms(turn.stored),
            asked_ms=ms(turn.asked),
            first_ms=ms(turn.first),
            out_ms=ms(turn.out),
            last_ms=ms(turn.last),
            heard_ms=ms(turn.heard),
        )


# The turn's end says it.
_LEFT_OUT: frozenset[type[Command]] = frozenset({ReleaseUtterances, CancelTurn})
# The attribute of an event whose text may be long.
_TEXTS: Mapping[type[Event], str] = {
    UtteranceHeard: "text",
    PartialPromptHeard: "text",
    CallerBargedIn: "heard",
    SpeechPlayed: "text",
    CarrierFailed: "description",
    FrameRejected: "why",
    FrameUnknown: "kind",
    HangUpRequested: "say",
    PieceSaid: "text",
}
# What is kept of an event that is not for a reader as it is.
_STRIPPED: Mapping[type[Event], Callable[[Any], Event]] = {
    MessageTaken: lambda event: MessageTaken(event.turn, ""),
    TransferRequested: lambda event: TransferRequested("", event.operator),
    MoveRequested: lambda _event: MoveRequested(""),
    MoveDue: lambda _event: MoveDue(""),
}
