"""What the pages Live and Call show, as plain values: for templates, and as JSON for programs. Pure.

    LiveState   the calls that are going on, a `Row` each, and the figures above them (`Facts`)
    CallState   one call: what was `Said`, its `Turn`s, what was `Decided`

`viewing` makes them of calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from actors.call_values import CallInfo
from actors.narration import turn_label
from actors.phases import Phase
from relay.store.schema import timestamp

ROWS = 50

UNAVAILABLE = "unavailable"
"""Who answers where only that sentence is said, beside the values of `By`."""


@attrs.frozen(kw_only=True)
class LiveFilter:
    """Which calls are asked for: those with this text in a number, the agent, or the last words; one agent's."""

    text: str = ""
    agent_id: str = ""
    page: int = 1

    def takes(self, row: Row) -> bool:
        """Whether a call is one of them."""
        if self.agent_id and row.agent_id != self.agent_id:
            return False
        if not self.text:
            return True
        wanted = self.text.casefold().strip()
        return any(
            wanted in each.casefold() for each in (row.caller, row.called, row.agent_id, row.last_words, row.operator)
        )


@attrs.frozen(kw_only=True, cache_hash=True)
class Row:
    """A call that is going on, in a line. `by` is who answers, empty if that is not known; `first_word` in seconds.

    Most events of a call change its `version` and nothing that is shown: so it says nothing of whether two are equal.
    """

    call_sid: str
    agent_id: str
    caller: str
    called: str
    direction: str
    by: str
    operator: str
    phase: Phase
    since: datetime
    first_word: float | None
    last_words: str = attrs.field(repr=False)
    version: int = attrs.field(default=0, eq=False)

    @property
    def party(self) -> str:
        """The number of the other end of the line; empty if it is withheld."""
        return self.caller if self.direction == "inbound" else self.called

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "callSid": self.call_sid,
            "agentId": self.agent_id,
            "from": self.caller,
            "to": self.called,
            "direction": self.direction,
            "by": self.by or None,
            "operator": self.operator or None,
            "phase": self.phase.value,
            "since": timestamp(self.since),
            "firstWordMs": None if self.first_word is None else round(self.first_word * 1000),
            "lastWords": self.last_words,
        }


@attrs.frozen(kw_only=True)
class Facts:
    """The five figures above the calls; `first_word` is the 95th percentile of five minutes, in seconds."""

    live: int
    most: int
    first_word: float | None
    clients: int
    with_machine: int
    waiting: int | None
    oldest: datetime | None = None
    oldest_for: str = ""

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "live": self.live,
            "most": self.most,
            "firstWordP95Ms": None if self.first_word is None else round(self.first_word * 1000),
            "clientSessions": self.clients,
            "withMachine": self.with_machine,
            "waitingMessages": self.waiting,
            "oldestWaiting": None if self.oldest is None else timestamp(self.oldest),
        }


@attrs.frozen(kw_only=True)
class LiveState:
    """All of what the page Live shows: `rows` are those of its page, of the `found` that the filter takes."""

    facts: Facts
    filter: LiveFilter
    rows: tuple[Row, ...]
    found: int
    node: str = ""
    banner: str = ""

    @property
    def pages(self) -> int:
        """How many pages there are, one at least."""
        return max(1, -(-self.found // ROWS))

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return _document(self)

    def head(self) -> dict[str, Any]:
        """Return its document without what is in `lists`."""
        return {
            "node": self.node or None,
            "banner": self.banner or None,
            "facts": self.facts.document(),
            "found": self.found,
            "page": self.filter.page,
            "pages": self.pages,
        }

    def lists(self) -> Mapping[str, Sequence[Row]]:
        """Return what there are several of in its document, by their names there."""
        return {"calls": self.rows}


@attrs.frozen(kw_only=True)
class Said:
    """A line of a conversation. Of one that was cut off `heard` is what was heard of `text`; else it is None.

    `first_word` is how many seconds the caller waited for it, `turn` the turn that it answers.
    """

    speaker: str
    text: str = attrs.field(repr=False)
    at: datetime | None
    heard: str | None = None
    is_note: bool = False
    is_partial: bool = False
    turn: str = ""
    first_word: float | None = None

    @property
    def was_heard(self) -> str:
        """What of it was heard: all, unless it was cut off."""
        return self.text if self.heard is None else self.heard

    @property
    def cut_off(self) -> str:
        """What of it was sent, and not heard."""
        return self.text[len(self.was_heard) :]

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "speaker": self.speaker,
            "text": self.text,
            "at": None if self.at is None else timestamp(self.at),
            "heard": self.heard,
            "note": self.is_note,
            "partial": self.is_partial,
            "firstWordMs": None if self.first_word is None else round(self.first_word * 1000),
        }


@attrs.frozen(kw_only=True)
class Turn:
    """The times of a turn, in milliseconds since the call began; None for what did not happen.

    `fillers` are the times at which fillers were said meanwhile, and `client` is who was asked, if that is known.
    """

    turn: int
    by: str
    outcome: str
    arrived: float
    stored: float | None = None
    asked: float | None = None
    first: float | None = None
    out: float | None = None
    last: float | None = None
    heard: float | None = None
    cut: float | None = None
    client: str = ""
    fillers: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """Its number as it is read."""
        return turn_label(self.turn)

    @property
    def first_word(self) -> float | None:
        """Milliseconds from the arrival of the words to the first word sent."""
        return None if self.out is None else self.out - self.arrived

    @property
    def total(self) -> float:
        """Milliseconds as a whole, as far as is known."""
        return self.parts()[-1][2] if self.parts() else 0.0

    def parts(self) -> tuple[tuple[str, float, float], ...]:
        """Return what its time was spent on: the name of each part, its beginning and end since the words arrived."""
        end = self.cut if self.heard is None else self.heard
        has_spoken = self.first is not None
        stamps = (
            ("storing", self.stored),
            ("asking", self.asked),
            ("thinking", self.first if has_spoken else self.last),
            ("sending", self.out),
            ("speaking", self.last if has_spoken else None),
            ("playing", end),
        )
        before, parts = self.arrived, []
        for name, at in stamps:
            if at is not None:
                parts.append((name, before - self.arrived, at - self.arrived))
                before = at
        return tuple(parts)

    @property
    def number(self) -> str:
        """Its label without the word."""
        return self.label.removeprefix("turn ")

    def bars(self) -> str:
        """Return its parts as JSON, for the drawing: milliseconds since the words arrived."""
        return json.dumps({name: [round(begin, 2), round(end, 2)] for name, begin, end in self.parts()})

    def marks(self) -> str:
        """Return when fillers were said in it, as JSON for the drawing: milliseconds since the words arrived."""
        return json.dumps([round(at - self.arrived, 2) for at in self.fillers])

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        times = ("arrived", "stored", "asked", "first", "out", "last", "heard", "cut")
        return {
            "turn": self.turn,
            "by": self.by,
            "client": self.client or None,
            "outcome": self.outcome or None,
            **{name: _ms(getattr(self, name)) for name in times},
        }


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


@attrs.frozen(kw_only=True)
class Decided:
    """What happened in a call, and what it did then, as a sentence; `kind` is whose event it was."""

    at: datetime
    kind: str
    text: str

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"at": timestamp(self.at), "kind": self.kind, "text": self.text}


@attrs.frozen(kw_only=True)
class CallState:
    """All of what the page of a call shows.

    `row` is the call in a line; of one that is over `ended` says how, and `lines` are None where they were not kept.
    One that `is_away` has no session now, and is not over: it is being transferred, or its line was lost.
    """

    row: Row
    info: CallInfo | None
    lines: tuple[Said, ...] | None = attrs.field(repr=False)
    turns: tuple[Turn, ...] = ()
    turns_left_out: int = 0
    decisions: tuple[Decided, ...] = attrs.field(default=(), repr=False)
    left_out: int = 0
    connection: int = 1
    client: str = ""
    transfer: str = ""
    is_live: bool = True
    is_away: bool = False
    ended: str = ""
    ended_at: datetime | None = None
    seconds: float | None = None
    carrier_error: str = ""
    banner: str = ""

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return _document(self)

    def head(self) -> dict[str, Any]:
        """Return its document without what is in `lists`."""
        return {
            **self.row.document(),
            "live": self.is_live,
            "away": self.is_away,
            "transfer": self.transfer or None,
            "outcome": self.ended or None,
            "endedAt": None if self.ended_at is None else timestamp(self.ended_at),
            "connection": self.connection,
            "client": self.client or None,
            "banner": self.banner or None,
            "turnsLeftOut": self.turns_left_out,
            "leftOut": self.left_out,
        }

    def lists(self) -> Mapping[str, Sequence[Said | Turn | Decided] | None]:
        """Return what there are several of in its document, by their names there; None for what is not known."""
        return {"lines": self.lines, "turns": self.turns, "decisions": self.decisions}


def _document(state: LiveState | CallState) -> dict[str, Any]:
    lists = {
        name: None if values is None else [each.document() for each in values] for name, values in state.lists().items()
    }
    return {**state.head(), **lists}
