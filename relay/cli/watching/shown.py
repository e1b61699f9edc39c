"""The words of `relay top`: the live calls, and one call, as text for cells and lines. Pure.

All text here is printable, and none of it is markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TypeAlias

from rich.text import Text

from actors.phases import Phase
from relay.cli.printing import printable
from relay.cli.watching.call_tail import is_over
from relay.cli.watching.console_api import State
from relay.console.views import Turn
from relay.console.words import (
    PARTS,
    PHASES,
    SPEAKERS,
    TURN_OUTCOMES,
    age,
    answerer,
    away,
    milliseconds,
    on_clock,
    outcome,
)

Cells: TypeAlias = tuple[str | Text, ...]

_BETWEEN = 2
"""Columns that a table puts around a cell."""
_LEAST = 20

COLUMNS = ("Caller", "Agent", "Answering", "For", "First word", "Last words")
TURN_COLUMNS = ("Turn", "By", "Outcome", "First word", "Whole", *(name for name, _whose in PARTS.values()))

# By who answers.
_COLOURS = {"client": "green", "machine": "dark_orange", "human": "cyan", "unavailable": "red"}


def facts(state: State, now: datetime) -> str:
    """Return the line above the calls."""
    known = state["facts"]
    parts = [f"{known['live']} live of {known['most']}"]
    if known["firstWordP95Ms"] is not None:
        parts.append(f"first word p95 {seconds(known['firstWordP95Ms'])}")
    parts.append(_many(known["clientSessions"], "client session"))
    if known["withMachine"]:
        parts.append(f"{known['withMachine']} with the machine")
    waiting = known["waitingMessages"]
    if waiting is not None:
        oldest = f" (oldest {age(_since(known['oldestWaiting'], now))})" if known["oldestWaiting"] else ""
        parts.append(f"{_many(waiting, 'waiting message')}{oldest}")
    if state["node"]:
        parts.append(f"node {printable(state['node'])}")
    if state["pages"] > 1:
        parts.append(f"page {state['page']} of {state['pages']}")
    return " · ".join(parts)


def party(call: State) -> str:
    """Return the number of the other end of the line."""
    is_inbound = call["direction"] == "inbound"
    number = printable(call["from"] if is_inbound else call["to"]) or "withheld"
    return number if is_inbound else f"→ {number}"


def answering(call: State) -> Text:
    """Return who answers, in words and in a colour, and what happens just now."""
    text = printable(answerer(call["by"]))
    who = f"{text} {printable(call['operator'])}" if call["operator"] else text
    return Text.assemble((who, _COLOURS.get(call["by"], "dim")), (f" {phase(call)}", "dim"))


def phase(call: State) -> str:
    """Return what happens in a call just now."""
    try:
        return PHASES[Phase(call["phase"])]
    except ValueError:  # of a newer daemon
        return printable(call["phase"])


def lasting(call: State, now: datetime) -> str:
    """Return for how long a call has been going on."""
    return on_clock(_since(call["since"], now))


def seconds(ms: float | None) -> str:
    """Return milliseconds in seconds; a dash for none."""
    return "–" if ms is None else f"{ms / 1000:.2f} s"


def row(call: State, now: datetime) -> Cells:
    """Return the cells of a live call, in the order of `COLUMNS`."""
    return (
        party(call),
        printable(call["agentId"]),
        answering(call),
        lasting(call, now),
        seconds(call["firstWordMs"]),
        printable(call["lastWords"]),
    )


def fitted(rows: Sequence[Cells], width: int) -> list[Cells]:
    """Return rows whose last cell is cut to what the others leave of a width, and of its own least width at least."""
    others = [[name, *cells] for name, *cells in zip(COLUMNS[:-1], *(each[:-1] for each in rows), strict=True)]
    taken = sum(max(Text(str(each)).cell_len for each in column) + _BETWEEN for column in others)
    room = max(_LEAST, width - taken - _BETWEEN)
    return [(*each[:-1], _cut_to(str(each[-1]), room)) for each in rows]


def _cut_to(text: str, room: int) -> Text:
    cell = Text(text)
    cell.truncate(room, overflow="ellipsis")
    return cell


# ── one call ────────────────────────────────────────────────────────────────────────────────────────────────────────


def head(call: State, now: datetime) -> Text:
    """Return what a call is, in a line."""
    parts = [Text(party(call), "bold"), Text(f"agent {printable(call['agentId'])}")]
    if call["live"]:
        parts += [answering(call), Text(lasting(call, now))]
    elif is_over(call):
        parts.append(Text(over(call)))
    else:
        parts.append(Text(f"away: {away(call.get('transfer') or '')}"))
    if call["client"]:
        parts.append(Text(f"client {printable(call['client'])}"))
    if call["connection"] > 1:
        parts.append(Text(f"connection {call['connection']}"))
    parts.append(Text(printable(call["callSid"]), "dim"))
    return Text(" · ").join(parts)


def over(call: State) -> str:
    """Return that a call is over, and how it ended."""
    return f"over: {printable(outcome(call['outcome']))}"


def conversation(call: State) -> Text:
    """Return what was said, a line each, with what the caller did not hear struck out."""
    if call["lines"] is None:
        return Text("What was said is not kept after a call (RELAY_KEEP_TRANSCRIPTS). Turns and decisions are.", "dim")
    if not call["lines"]:
        return Text("Nothing has been said yet.", "dim")
    return Text("\n").join(_said(each) for each in call["lines"])


def _said(line: State) -> Text:
    who = SPEAKERS.get(line["speaker"], printable(line["speaker"]))
    text = Text.assemble((f"{line['at'][11:19] if line['at'] else '':8}  ", "dim"))
    if line["note"]:
        return text.append(f"note: {printable(line['text'])}", "dim")
    text.append(f"{who}: ", "bold cyan" if line["speaker"] == "caller" else "bold")
    heard, said = line["heard"], printable(line["text"])
    if heard is None:
        text.append(said, "dim italic" if line["partial"] else "")
    else:
        heard = printable(heard)
        text.append(heard).append(said.removeprefix(heard), "dim strike").append("  (heard until here)", "dim")
    if line["firstWordMs"] is not None:
        text.append(f"  {seconds(line['firstWordMs'])}", "dim")
    return text


def decisions(call: State) -> Text:
    """Return what was decided, a sentence each."""
    lines = [Text(f"({call['leftOut']} earlier steps are left out)", "dim")] if call["leftOut"] else []
    lines += [Text.assemble((f"{each['at'][11:23]}  ", "dim"), printable(each["text"])) for each in call["decisions"]]
    return Text("\n").join(lines) if lines else Text("Nothing has been decided yet.", "dim")


def turns(call: State) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each turn's key and cells, in the order of `TURN_COLUMNS`."""
    for number, each in enumerate(call["turns"]):
        times = {name: each[name] for name in ("arrived", "stored", "asked", "first", "out", "last", "heard", "cut")}
        turn = Turn(
            turn=each["turn"], by=each["by"], outcome=each["outcome"] or "", client=each["client"] or "", **times
        )
        took = {name: end - begin for name, begin, end in turn.parts()}
        yield (
            str(number),
            (
                printable(str(turn.label)),
                printable(answerer(turn.by)),
                TURN_OUTCOMES.get(turn.outcome, printable(turn.outcome)) if turn.outcome else "…",
                seconds(turn.first_word),
                milliseconds(turn.total),
                *(milliseconds(took.get(name)) for name in PARTS),
            ),
        )


def _since(moment: str, now: datetime) -> float:
    return max(0.0, (now - datetime.fromisoformat(moment)).total_seconds())


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
