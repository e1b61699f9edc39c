"""How the demo prints what happens: a title for each part, a line for each thing that is said, notes in between."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from relay.cli.printing import print_beside

_console = Console(highlight=False)


def title(text: str) -> None:
    """Begin a part of the demo."""
    tell(f"\n[bold]{text}[/]")


def said(who: str, words: str) -> None:
    """Print who said what."""
    print_beside(_console, Text.from_markup(f"  [{_colour(who)}]{who:>6}[/]  "), Text(words.strip()))


def quote(label: str, words: str) -> None:
    """Print what somebody wrote or left, in one piece, after a label in the markup of rich."""
    print_beside(_console, Text("  "), Text.from_markup(f"{label}: ").append(f"“{' '.join(words.split())}”"))


def note(text: str) -> None:
    """Print something that happened beside the conversation."""
    print_beside(_console, Text("  "), Text(text, style="dim"))


def tell(text: str) -> None:
    """Print a line as it is, in the markup of rich."""
    print_beside(_console, Text(), Text.from_markup(text))


def _colour(who: str) -> str:
    return "yellow" if who == "relay" else "cyan"
