"""Live calls as the values that the pages show. Pure.

    CallGlance ──row_of──▶ Row          CallView ──call_of──▶ CallState

Text comes from callers and clients: what no encoding can carry is replaced here, everything else is shown as it is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import attrs

from actors.call_values import Line, Speaker
from actors.commands import By
from actors.narration import decide, turn_label
from actors.phases import Phase
from actors.trace import CallGlance, CallView, Step, TurnTimes, WallClock
from actors.transcript import Cut
from relay.console.views import UNAVAILABLE, CallState, Decided, Row, Said, Turn
from relay.store.schema import storable

LONGEST_LAST_WORDS = 200
# A line of the transcript begins when the first piece of its answer is handled, so both have the same time; but the
# sessions of a call have clocks of their own.
_SAME_TIME = timedelta(seconds=0.25)


def answerer(by: By | None, phase: Phase) -> str:
    """Return who answers, for `Row.by`."""
    if phase is Phase.UNAVAILABLE:
        return UNAVAILABLE
    return "" if by is None else by.value


@attrs.define(eq=False)
class SeenCall:
    """What was made of a call's turns and steps at earlier looks, as far as they cannot change any more."""

    turns: dict[int, Turn] = attrs.field(factory=dict)
    # By the numbers of the steps, with what of them was `late`.
    decided: dict[int, tuple[object, Decided | None]] = attrs.field(factory=dict)


def row_of(glance: CallGlance, operator: str = "") -> Row:
    """Return a live call in a line; `operator` has taken it over, empty for none."""
    info = glance.info
    return Row(
        call_sid=info.call_sid,
        agent_id=info.agent_id,
        caller=storable(info.caller),
        called=storable(info.called),
        direction=info.direction.value,
        by=answerer(glance.by, glance.phase),
        operator=operator,
        phase=glance.phase,
        since=glance.clock.at,
        first_word=glance.first_word,
        last_words=storable(" ".join(glance.last_words.split())[-LONGEST_LAST_WORDS:]),
        version=glance.version,
    )


def call_of(
    view: CallView, row: Row, *, transfer: str = "", banner: str = "", seen: SeenCall | None = None
) -> CallState:
    """Return all of a live call. `seen` is of its earlier looks; what is seen now is kept in it."""
    seen = SeenCall() if seen is None else seen
    turns = _turns(view, seen)
    client = next((each.client for each in reversed(turns) if each.client), "")
    hearing = storable(view.hearing)
    lines = said(view.transcript, view.steps, view.turns, view.clock)
    if hearing:
        lines = (*lines, Said(speaker="caller", text=hearing, at=None, is_partial=True))
    return CallState(
        row=row,
        info=view.info,
        lines=lines,
        turns=turns,
        turns_left_out=view.turns_left_out,
        decisions=_decisions(view, seen),
        left_out=view.left_out,
        connection=view.info.attempt + 1,
        client=client,
        transfer=transfer,
        banner=banner,
    )


def _turns(view: CallView, seen: SeenCall) -> tuple[Turn, ...]:
    """Return the times of its turns: only those of the newest can still change."""
    turns = tuple(seen.turns.get(each.turn) or _turn(each, view.clock) for each in view.turns)
    seen.turns = {each.turn: each for each in turns[:-1]}
    return turns


def _decisions(view: CallView, seen: SeenCall) -> tuple[Decided, ...]:
    """Return what was decided, oldest first, with a few words of the parties."""
    known, seen.decided = seen.decided, {}
    for step in view.steps:
        late, kept = step.late, known.get(step.number)
        seen.decided[step.number] = kept if kept is not None and kept[0] == late else (late, _decided(step, view))
    return tuple(each for _late, each in seen.decided.values() if each is not None)


def _decided(step: Step, view: CallView) -> Decided | None:
    each = decide(step, direction=view.info.direction)
    if each is None:
        return None
    return Decided(at=view.clock.time_of(each.at), kind=each.kind, text=storable(each.text))


def turns_of(turns: Iterable[TurnTimes], clock: WallClock) -> tuple[Turn, ...]:
    """Return the times of turns, since the call began."""
    return tuple(_turn(each, clock) for each in turns)


def _turn(turn: TurnTimes, clock: WallClock) -> Turn:
    def ms(at: float | None) -> float | None:
        return None if at is None else (at - clock.zero) * 1000

    return Turn(
        turn=turn.turn,
        by=turn.by.value,
        outcome="" if turn.outcome is None else turn.outcome.value,
        arrived=(turn.arrived - clock.zero) * 1000,
        stored=ms(turn.stored),
        asked=ms(turn.asked),
        first=ms(turn.first),
        out=ms(turn.out),
        last=ms(turn.last),
        heard=ms(turn.heard),
        cut=ms(turn.cut),
        client="" if turn.client is None else storable(turn.client.name),
        fillers=tuple((at - clock.zero) * 1000 for at in turn.fillers),
    )


def said(
    lines: Sequence[Line], steps: Iterable[Step] = (), turns: Iterable[TurnTimes] = (), clock: WallClock | None = None
) -> tuple[Said, ...]:
    """Return a conversation, with what was cut off of it and how long its answers took, where the trace has that."""
    cuts = {step.cut.at: step.cut for step in steps if step.cut is not None}
    begun = [] if clock is None else [(clock.time_of(each.first), each) for each in turns if each.first is not None]
    answered = _answered_turns(lines, begun)
    shown = []
    for number, line in enumerate(lines):
        is_spoken = line.speaker is not Speaker.CALLER and not line.is_note
        cut = cuts.pop(line.at, None) if is_spoken else None
        turn = answered.get(number)
        text = line.text if cut is None or not cut.unheard else line.text + cut.unheard
        shown.append(
            Said(
                speaker=line.speaker.value,
                text=storable(text),
                at=line.at,
                heard=None if text is line.text else storable(line.text),
                is_note=line.is_note,
                turn="" if turn is None else turn_label(turn.turn),
                first_word=None if turn is None else turn.first_word,
            )
        )
    return tuple(_with_unheard(shown, cuts.values()))


def _with_unheard(shown: list[Said], cuts: Iterable[Cut]) -> list[Said]:
    """Add the answers of which nothing was heard: they are no lines of the transcript. Those before it are left out."""
    for cut in cuts:
        place = next((number for number, each in enumerate(shown) if each.at is not None and each.at > cut.at), None)
        if cut.unheard and place != 0:
            unheard = Said(speaker="agent", text=storable(cut.unheard), at=cut.at, heard="")
            shown.insert(len(shown) if place is None else place, unheard)
    return shown


def _answered_turns(lines: Sequence[Line], begun: list[tuple[datetime, TurnTimes]]) -> dict[int, TurnTimes]:
    """Return the turns that lines answer, by the numbers of the lines: of each turn the line that begins nearest to it.

    A greeting and the first answer, say, can both begin within the time that counts as the same.
    """
    nearest: dict[int, tuple[timedelta, int, TurnTimes]] = {}
    for number, line in enumerate(lines):
        if line.speaker in {Speaker.CALLER, Speaker.RELAY} or line.is_note:
            continue
        place = bisect_left(begun, line.at, key=lambda each: each[0])
        near = begun[max(0, place - 1) : place + 1]
        if not near:
            continue
        apart, turn = min(((abs(at - line.at), turn) for at, turn in near), key=lambda each: each[0])
        if apart < _SAME_TIME and (turn.turn not in nearest or apart < nearest[turn.turn][0]):
            nearest[turn.turn] = (apart, number, turn)
    return {number: turn for _apart, number, turn in nearest.values()}
