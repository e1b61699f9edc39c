"""Markers of a load run: by them an answer tells whose words, and which turn, it belongs to.

Each utterance carries a marker that no other has, and a client under test repeats what it is told.
"""

from __future__ import annotations

import re
import secrets

import attrs


@attrs.frozen
class Markers:
    """The markers of one run: those of another one are not found."""

    _run: str = attrs.field(factory=lambda: secrets.token_hex(4))

    def words(self, call: int, turn: int) -> str:
        """Return what the party of a call says in a turn."""
        # One word of letters and digits: whatever is done to speech on the way leaves it alone.
        return f"This is load{self._run}c{call}t{turn}, are you there?"

    def find(self, text: str) -> list[tuple[int, int]]:
        """Return the call and the turn of each marker in a text."""
        found = re.findall(rf"load{self._run}c(\d+)t(\d+)", text, re.IGNORECASE)
        return [(int(call), int(turn)) for call, turn in found]
