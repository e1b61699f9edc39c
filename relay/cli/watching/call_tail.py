"""What is new in a call since it was looked at last: from its whole state, line by line. Pure.

    state, state, … ──CallTail.since──▶ Entry, Entry, …          each once, in the order of time

An answer grows while it is spoken, so it is an entry only when it is complete. What is known of it later is one of its
own: that it was cut off, and how much of it was heard.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from relay.cli.watching.console_api import State
from relay.console.words import away

_ANSWERING = frozenset({"client answering", "machine answering"})
_ANSWERS = frozenset({"agent", "machine"})


@attrs.frozen(kw_only=True)
class Entry:
    """What is printed once. `kind` is begun, line, more, cut, decision, away, back or ended.

    Of a line that was cut off, `heard` is what the caller heard of it. `more` is the rest of the line before.
    """

    at: str
    call_sid: str
    agent_id: str
    kind: str
    text: str = attrs.field(repr=False)
    speaker: str = ""
    is_note: bool = False
    heard: str | None = attrs.field(default=None, repr=False)
    first_word_ms: int | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        document: dict[str, Any] = {
            "at": self.at,
            "callSid": self.call_sid,
            "agentId": self.agent_id,
            "kind": self.kind,
            "text": self.text,
        }
        if self.speaker:
            document |= {"speaker": self.speaker, "note": self.is_note, "heard": self.heard}
            document |= {"firstWordMs": self.first_word_ms}
        return document


def is_over(state: State) -> bool:
    """Whether a call has ended, and will not go on in another session."""
    return not state["live"] and bool(state["outcome"] or state["endedAt"])


@attrs.define(eq=False)
class CallTail:
    """One call, of which each entry is given once."""

    _lines: dict[tuple[str, str, int], State] = attrs.field(factory=dict, init=False)
    _decisions: set[tuple[str, str, str]] = attrs.field(factory=set, init=False)
    _has_begun: bool = attrs.field(default=False, init=False)
    _is_away: bool = attrs.field(default=False, init=False)
    _has_ended: bool = attrs.field(default=False, init=False)

    def since(self, state: State, *, whole: bool = False) -> list[Entry]:
        """Return what is new in a state; with `whole` also an answer that still grows."""
        entries = [*self._decided(state), *self._said(state, whole=whole)]
        # Of the same moment, what was decided comes before what was said: sorting keeps that order.
        entries.sort(key=lambda each: each.at)
        if not self._has_begun:
            self._has_begun = True
            way = "from" if state["direction"] == "inbound" else "to"
            party = state["from"] if state["direction"] == "inbound" else state["to"]
            text = f"a call {way} {party or 'a withheld number'}, agent {state['agentId']}"
            entries.insert(0, _entry(state, state["since"], "begun", text))
        if (changed := self._away_or_back(state, entries)) is not None:
            entries.insert(0 if changed.kind == "back" else len(entries), changed)
        if is_over(state) and not self._has_ended:
            self._has_ended = True
            at = state["endedAt"] or (entries[-1].at if entries else state["since"])
            entries.append(_entry(state, at, "ended", state["outcome"] or "over"))
        return entries

    def _away_or_back(self, state: State, entries: list[Entry]) -> Entry | None:
        """Return that the session is over and the call is not, or that it has one again; None if nothing changed."""
        last = state["decisions"][-1]["at"] if state["decisions"] else state["since"]
        if state["live"] and self._is_away:
            self._is_away = False
            return _entry(state, entries[0].at if entries else last, "back", "the call goes on")
        if state.get("away") and not self._is_away:
            self._is_away = True
            return _entry(state, last, "away", away(state["transfer"] or ""))
        return None

    def _decided(self, state: State) -> Iterator[Entry]:
        for each in state["decisions"]:
            key = (each["at"], each["kind"], each["text"])
            if key not in self._decisions:
                self._decisions.add(key)
                yield _entry(state, each["at"], "decision", each["text"])

    def _said(self, state: State, *, whole: bool) -> Iterator[Entry]:
        lines = [each for each in state["lines"] or () if not each["partial"]]
        times: dict[tuple[str, str], int] = {}
        for number, line in enumerate(lines):
            place = (line["at"], line["speaker"])
            times[place] = times.get(place, 0) + 1
            key = (*place, times[place])
            known = self._lines.get(key)
            if known is None and not whole and number == len(lines) - 1 and _still_grows(state, line):
                continue
            self._lines[key] = line
            yield from _new_of(state, line, known)


def _still_grows(state: State, line: State) -> bool:
    if not state["live"] or line["speaker"] not in _ANSWERS or line["note"] or state["phase"] not in _ANSWERING:
        return False
    turns = state["turns"]
    return not turns or turns[-1]["last"] is None


def _new_of(state: State, line: State, known: State | None) -> Iterator[Entry]:
    """Yield what is new of a line: all of it, the rest, or that it was cut off."""
    if known is None:
        yield _entry(
            state,
            line["at"],
            "line",
            line["text"],
            speaker=line["speaker"],
            is_note=line["note"],
            heard=line["heard"],
            first_word_ms=line["firstWordMs"],
        )
        return
    rest = line["text"].removeprefix(known["text"])
    if rest and len(rest) < len(line["text"]):
        yield _entry(state, line["at"], "more", rest.strip(), speaker=line["speaker"])
    if line["heard"] is not None and known["heard"] is None:
        yield _entry(state, line["at"], "cut", line["text"], speaker=line["speaker"], heard=line["heard"])


def _entry(state: State, at: str, kind: str, text: str, **facts: Any) -> Entry:
    return Entry(at=at, call_sid=state["callSid"], agent_id=state["agentId"], kind=kind, text=text, **facts)
