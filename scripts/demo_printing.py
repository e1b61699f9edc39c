"""How the demo prints what happens: a title for each part, a line for each thing that is said, notes in between."""

from __future__ import annotations

from rich.console import Console

_console = Console(highlight=False, soft_wrap=True)


def title(text: str) -> None:
    """Begin a part of the demo."""
    _console.print(f"\n[bold]{text}[/]")


def said(who: str, words: str) -> None:
    """Print who said what."""
    colour = "yellow" if who == "relay" else "cyan"
    _console.print(f"  [{colour}]{who:>6}[/]  {words.strip()}")


def note(text: str) -> None:
    """Print something that happened beside the conversation."""
    _console.print(f"  [dim]{text}[/]")


def tell(text: str) -> None:
    """Print a line as it is, in the markup of rich."""
    _console.print(text)
