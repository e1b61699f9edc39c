"""What `relay call` shows: a conversation for people, or one JSON object a line for programs.

| event | facts |
|---|---|
| `ringing` | `agentId`, `url` |
| `connected` | `callSid` |
| `greeting` | `text`: the relay begins to say it |
| `piece` | `text`, `last`, `filler`: a piece of an answer has come; `last` ends the answer |
| `heard` | `text`, `by` (`relay`, `filler`, `machine`, `unavailable`), `interrupted`: the caller has heard it, so far |
| `interrupted` | `heard`: you talked over it, and had heard so much; the `heard` line follows |
| `said` | `text` |
| `keys` | `keys` |
| `dialling`, `transferred` | `to`: the relay passes the caller on; somebody picked up |
| `transfer_over` | `to`, `status` in the carrier's words |
| `played` | `url` |
| `note` | `text` |
| `ended` | `by` (`you`, `relay`, `other side`, `failure`), `answered`, `why` |
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from rich.console import Console
from rich.text import Text

from relay.cli.printing import print_beside, printable

_SPEAKERS = {"relay": "relay", "filler": "relay", "machine": "relay", "unavailable": "relay"}
_REMARKS = {
    "filler": "  (filler: the client is still thinking)",
    "machine": "  (the answering machine has taken over)",
    "unavailable": "  (no client answered, and there is no answering machine)",
}
_ENDS = {
    "you": "You hung up.",
    "relay": "The relay hung up.",
    "other side": "The other side hung up.",
    "failure": "The call broke off.",
}
_NOTES = {
    "ringing": "Ringing {agentId} at {url} …",
    "connected": "Connected. {help}",
    "dialling": "You are being connected: {to} rings.",
    "transferred": "Connected to {to}. Nobody is there in a simulation; {outlook}",
    "transfer_over": "{to}: {status}.",
    "played": "Audio is played: {url}",
    "note": "{text}",
}
_WIDTH = 6


@attrs.define(eq=False)
class PersonReport:
    """The conversation as it sounds, a line for each thing that is said; `live` gets what is being said just now."""

    help: str = ""
    live: Callable[[str], None] = attrs.field(default=lambda _text: None)
    _console: Console = attrs.field(factory=lambda: Console(highlight=False), init=False)
    # Answers that have come, as far as they have, and were not heard to their end; and whether the last is complete.
    _unheard: deque[str] = attrs.field(factory=deque, init=False)
    _complete: bool = attrs.field(default=True, init=False)

    def tell(self, event: str, **facts: Any) -> None:
        """Print the event."""
        match event:
            case "greeting" | "piece":
                self._add(facts["text"], last=facts.get("last", True))
            case "heard":
                self._heard(facts["text"], facts["by"], interrupted=facts["interrupted"])
            case "said":
                self._line("you", facts["text"], "cyan")
            case "keys":
                self._line("you", f"[{facts['keys']}]", "cyan")
            case "interrupted":
                self._drop_unheard()
                if not facts["heard"]:
                    self._note("You interrupted before anything was heard.")
            case "ended":
                self._drop_unheard()
                if facts["answered"] or facts["by"] != "failure":  # else all there is to say is why
                    self._note(_ENDS[facts["by"]])
            case _:
                self._note(_NOTES[event].format_map({**facts, "help": self.help}).rstrip())

    def _drop_unheard(self) -> None:
        self._unheard.clear()
        self._complete = True
        self._show()

    def _add(self, text: str, *, last: bool) -> None:
        if self._complete:
            self._unheard.append("")
        self._unheard[-1] += text
        self._complete = last
        self._show()

    def _heard(self, text: str, by: str, *, interrupted: bool) -> None:
        place = next((place for place, each in enumerate(self._unheard) if each.strip().startswith(text)), None)
        if place is not None:  # with those before it, which were never heard
            for _ in range(place + 1):
                self._unheard.popleft()
            self._complete = self._complete or not self._unheard
        self._show()
        mark = "  — you interrupted here" if interrupted else ""
        self._line(_SPEAKERS[by], f"{text}{mark}{_REMARKS.get(by, '')}", "dim" if by == "filler" else "yellow")

    def _show(self) -> None:
        self.live(printable(" ".join(each.strip() for each in self._unheard if each.strip())))

    def _line(self, who: str, text: str, style: str) -> None:
        # As `Text`, not as markup, and without control characters: a client must not steer the terminal.
        head = Text.assemble((f"{who:>{_WIDTH}}", f"bold {style}"), "  ")
        print_beside(self._console, head, Text(printable(text), style=style))

    def _note(self, text: str) -> None:
        print_beside(self._console, Text(f"{'':>{_WIDTH}}  "), Text(printable(text), style="dim"))
