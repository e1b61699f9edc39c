"""What `relay tail` prints: a line for each entry of a call, for people; or one JSON object a line, for programs.

| kind | facts beside `at`, `callSid`, `agentId`, `text` |
|---|---|
| `begun` | – |
| `line` | `speaker`, `note`, `firstWordMs`, and `heard` of a line that was cut off |
| `more` | `speaker`: the rest of the line before |
| `cut` | `speaker`, `heard`: the line was cut off after all |
| `decision` | – |
| `away` | –; `text` is why it has no session: it may have another |
| `back` | –: it has one again |
| `ended` | –; `text` is the outcome |
| `lost` | `text` alone: there is no connection, and it is tried again |
"""

from __future__ import annotations

import json
import zlib
from typing import Protocol

import click
from rich.console import Console
from rich.text import Text

from relay.cli.printing import print_beside, printable, warn
from relay.cli.watching.call_tail import Entry
from relay.console.words import SPEAKERS, outcome

# Colours that can be read on light and on dark, and none that means trouble.
_COLOURS = ("cyan", "magenta", "green", "blue", "dark_orange", "purple", "dark_cyan", "deep_pink3")
_SHOWN = 8


class Report(Protocol):
    """Where entries go: `JsonReport` or `PersonReport`."""

    def tell(self, entry: Entry) -> None:
        """Print an entry."""
        ...

    def lost(self, why: str) -> None:
        """Print that there is no connection at the moment."""
        ...


class JsonReport:
    """Entries as JSON lines on standard output."""

    def tell(self, entry: Entry) -> None:
        """Print an entry."""
        click.echo(json.dumps(entry.document()))

    def lost(self, why: str) -> None:
        """Print that there is no connection at the moment."""
        click.echo(json.dumps({"kind": "lost", "text": why}))


class PersonReport:
    """Entries as lines on standard output: the time (UTC), the call in its colour, who speaks, what is said."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)

    def tell(self, entry: Entry) -> None:
        """Print an entry."""
        colour = _COLOURS[zlib.crc32(entry.call_sid.encode()) % len(_COLOURS)]
        head = Text.assemble((entry.at[11:19], "dim"), " ", (f"[{short(entry.call_sid)}]", colour), " ")
        # As `Text`, not as markup, and without control characters: a caller must not steer the terminal.
        print_beside(self._console, head, _body(entry))

    def lost(self, why: str) -> None:
        """Print on standard error that there is no connection at the moment."""
        warn(f"{why}; trying again.")


def short(call_sid: str) -> str:
    """Return what a call is called in a line: the first digits of its SID."""
    return printable(call_sid.removeprefix("CA")[:_SHOWN])


def _body(entry: Entry) -> Text:
    text, who = printable(entry.text), SPEAKERS.get(entry.speaker, printable(entry.speaker))
    match entry.kind:
        case "line" if not entry.is_note:
            body = Text.assemble((f"{who}: ", "bold"), text if entry.heard is None else "")
            if entry.heard is not None:
                body.append_text(_cut(text, printable(entry.heard)))
            if entry.first_word_ms is not None:
                body.append(f"  {entry.first_word_ms / 1000:.2f} s", "dim")
            return body
        case "line":
            return Text(f"note: {text}", "dim")
        case "more":
            return Text.assemble((f"{who}: ", "bold"), f"… {text}")
        case "cut":
            return Text.assemble((f"{who}: ", "bold"), _cut(text, printable(entry.heard or "")))
        case "ended":
            return Text(f"ended: {printable(outcome(entry.text))}", "bold dim")
        case _:
            return Text(text, "dim")


def _cut(text: str, heard: str) -> Text:
    """Return a line that was cut off, in words too: not every terminal strikes out."""
    unheard = text.removeprefix(heard)
    return Text.assemble(
        heard,
        (unheard, "dim strike"),
        ("  (heard until here: " if heard else "  (not heard", "dim"),
        (f"“{heard[-40:]}”)" if heard else ")", "dim"),
    )
