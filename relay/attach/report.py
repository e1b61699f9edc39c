"""The output of `relay attach`: lines for a person, or one JSON object a line for a program.

What callers said is shown, because that is what the command is for; it is never logged.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

import click
from rich.console import Console
from rich.text import Text

_SENTENCES = {
    "connected": "Connected to {url} over {transport}. Calls are answered from now on.",
    "lost": "Not connected: {why}. Trying again in {pause:.1f} s.",
    "turn": "{from}{doubt}: {text}",
    "answer": "Answer: {text}",
    "refused": "No answer to turn {turn}: {why}. The answering machine takes over.",
    "withdrawn": "Turn {turn} is over: the caller spoke again, hung up, or had waited too long.",
    "asked": "Your answer to {from}, in one line{limit}:",
    "seconds_left": "… {seconds} s left.",
    "unasked": "No turn waits for an answer; that line was ignored.",
    "message": "Message of {createdAt} from {from}: {body}  {preferences}",
    "confirmed": "Confirmed message {id}.",
    "unfetched": "The waiting messages could not be fetched: {why}. Trying again in a minute.",
    "program": "The program {why}; it is started again in {pause:.1f} s.",
    "bad_line": "Ignored what the program printed: {why}.",
}
_STYLES = {"turn": "cyan", "answer": "yellow", "message": "magenta"}
_TROUBLE = frozenset({"lost", "refused", "unfetched", "program", "bad_line"})


class Report(Protocol):
    """Where events go: `JsonReport`, or the `PersonReport` of `relay attach` or of `relay call`."""

    def tell(self, event: str, **facts: Any) -> None:
        """Report an event. Never waits for long, and never fails for what is in the facts."""
        ...


class JsonReport:
    """Events as JSON lines on standard output, for `relay call` too: `{"event": …}` with the facts beside it."""

    def tell(self, event: str, **facts: Any) -> None:
        """Print the event."""
        click.echo(json.dumps({"event": event, **facts}))


class PersonReport:
    """Events as coloured sentences on standard output, what went wrong on standard error."""

    def __init__(self) -> None:
        self._output = Console(soft_wrap=True, highlight=False)
        self._errors = Console(soft_wrap=True, highlight=False, stderr=True)

    def tell(self, event: str, **facts: Any) -> None:
        """Print the event in a sentence."""
        shown = facts | {"from": facts.get("from") or "withheld number"}
        shown["limit"] = f" ({seconds:.0f} s)" if (seconds := facts.get("seconds")) else ""
        shown["doubt"] = "" if facts.get("callerVerified") else " (not verified)"
        sentence = _SENTENCES[event].format_map(shown)
        # As `Text`, not as markup, and without control characters: a caller must not steer the terminal.
        text = Text("".join(each if each.isprintable() else " " for each in sentence))
        if event in _TROUBLE:
            self._errors.print(text, style="red")
        else:
            self._output.print(text, style=_STYLES.get(event, "dim"))
