"""An operator in a call, as its state machine knows one: who takes it, whether they have it, what is still to be said.

Pure. Of the person there is only the name here; whether one is still at the screen is for `actors.operator_seat`.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from actors.call_values import Line, Speaker

# The notes about it, for the client, or who answers instead of it. In English, like every text for a client.
TAKEN_NOTE = "A person has taken this call over. What is said from here on is said by that person, not by you."
SPOKE_NOTE = "A person has spoken in this call; it is yours again."
SILENT_NOTE = "A person had this call, and said nothing; it is yours again."

# What an operator may have typed while somebody else speaks: more is not a conversation.
MOST_WAITING = 16


def is_left_taken(lines: Iterable[Line]) -> bool:
    """Return whether an operator had the call when these lines end."""
    notes = [line.text for line in lines if line.is_note and line.text in {TAKEN_NOTE, SPOKE_NOTE, SILENT_NOTE}]
    return notes[-1:] == [TAKEN_NOTE]


@attrs.define
class TakeOver:
    """The operator of one call session: none, one who takes the call at its next pause, or one who has it.

    What is to be said waits here while another speaks: lines of operators, who need not have the call, and the notice
    that a person has it now.
    """

    operator: str = ""
    is_seated: bool = False
    has_spoken: bool = False
    _waiting: list[tuple[Speaker, str]] = attrs.field(factory=list, init=False)

    @property
    def is_due(self) -> bool:
        """Whether an operator is to have the call at its next pause."""
        return bool(self.operator) and not self.is_seated

    def is_of(self, operator: str) -> bool:
        """Whether this operator has the call."""
        return self.is_seated and self.operator == operator

    def sit_down(self, notice: str) -> None:
        """Hand the call to the operator who is due. The notice is said before what waits by now."""
        self.is_seated, self.has_spoken = True, False
        if notice:
            self._waiting.insert(0, (Speaker.RELAY, notice))

    def leave(self) -> str:
        """Take the call from the operator; return the note about it, empty if it never was theirs."""
        was_seated, self.operator, self.is_seated = self.is_seated, "", False
        self._waiting = [(speaker, text) for speaker, text in self._waiting if speaker is not Speaker.RELAY]
        return (SPOKE_NOTE if self.has_spoken else SILENT_NOTE) if was_seated else ""

    def wait(self, text: str) -> None:
        """Keep a line to be said. No-op if too many wait."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append((Speaker.OPERATOR, text))

    @property
    def is_full(self) -> bool:
        """Whether no more lines can wait."""
        return len(self._waiting) >= MOST_WAITING

    def take_waiting(self) -> list[tuple[Speaker, str]]:
        """Return what waits to be said, once."""
        waiting, self._waiting = self._waiting, []
        self.has_spoken = self.has_spoken or any(speaker is Speaker.OPERATOR for speaker, _text in waiting)
        return waiting
