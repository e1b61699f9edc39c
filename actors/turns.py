"""The turns of one call session: the one that runs, and what is counted over all of them. Pure.

One turn runs at a time. Each has a number that no other turn of the call has, so what arrives late from a turn that was
cancelled is known by it. How long the caller waits is counted from the newest utterance, whichever turn answers it.
"""

from __future__ import annotations

import attrs

from actors.commands import By, CancelTurn, Command, NoteTurn, TurnOutcome

# A reconnected call must not reuse the turn numbers of the session before it; no session comes near this many.
TURNS_PER_SESSION = 100_000


@attrs.define(eq=False)
class Turn:
    """A turn that runs: its number, who answers it, and what came of it so far.

    `first_word` is how many seconds after the newest utterance the answer began, None before that; `characters` is how
    many were said.
    """

    number: int
    by: By
    first_word: float | None = attrs.field(default=None, init=False)
    characters: int = attrs.field(default=0, init=False)
    says_goodbye: bool = attrs.field(default=False, init=False)

    @property
    def has_begun(self) -> bool:
        """Whether something audible was said."""
        return self.first_word is not None


@attrs.define(eq=False)
class Turns:
    """The account of a call session's turns.

    `asked_at` is when the caller began to wait; `handovers` is how many further client sessions were tried since.
    `answered_by` counts the answered turns by who answered.
    """

    asked_at: float
    _newest: int
    running: Turn | None = attrs.field(default=None, init=False)
    handovers: int = attrs.field(default=0, init=False)
    answered_by: dict[str, int] = attrs.field(factory=dict, init=False)

    @classmethod
    def of_session(cls, attempt: int, now: float) -> Turns:
        """Return the account of a call's first session, which is 0, or of a later one."""
        return cls(now, attempt * TURNS_PER_SESSION)

    @property
    def newest(self) -> int:
        """The highest number that a turn has."""
        return self._newest

    def get_running(self) -> Turn:
        """Return the turn that runs. Only where one does, as the phase says."""
        assert self.running is not None
        return self.running

    def next_number(self) -> int:
        """Return the number of a turn that is to begin."""
        self._newest += 1
        return self._newest

    def restart_wait(self, now: float) -> None:
        """Count from now how long the caller waits."""
        self.asked_at, self.handovers = now, 0

    def start(self, number: int, by: By) -> None:
        """Begin a turn."""
        self.running = Turn(number, by)

    def end(self, outcome: TurnOutcome) -> list[Command]:
        """Count the turn that runs as over, by itself."""
        turn, self.running = self.get_running(), None
        if outcome is TurnOutcome.ANSWERED:
            self.answered_by[turn.by] = self.answered_by.get(turn.by, 0) + 1
        return [NoteTurn(turn=turn.number, by=turn.by, outcome=outcome, first_word=turn.first_word)]

    def stop(self, outcome: TurnOutcome) -> list[Command]:
        """Cancel the turn that runs. No-op if none does."""
        return [] if self.running is None else [CancelTurn(self.running.number), *self.end(outcome)]
