"""What became of calls under which a node was killed: the rules that hold for them, and a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from relay.simulator.load.markers import Markers
from scripts.cluster_callers import Tally
from scripts.cluster_clients import Question

CLIENT_SECONDS = 8.0
"""How long callers wait for a client that is lost."""


@attrs.define(eq=False, kw_only=True)
class Findings:
    """What became of the calls. `sessions_within` is the limit for the next session, in seconds.

    `unlike` are the calls whose next request lacked something, by what; `absence` is how long the client was away.
    """

    tally: Tally
    sessions_within: float
    in_hand: int = 0
    in_hand_answered: int = 0
    outbound: int = 0
    screened: int = 0
    screened_early: int = 0
    greeted: int = 0
    transfers: int = 0
    transfers_back: int = 0
    not_resumed: int = 0
    unlike: Mapping[str, Sequence[int]] = attrs.field(factory=dict)
    messages: int = 0
    absence: float = 0.0

    def rows(self) -> dict[str, str]:
        """Return it as a table shows it."""
        unlike = ", ".join(f"{what}: {len(calls)}" for what, calls in self.unlike.items() if calls)
        return {
            **self.tally.rows(),
            "words in hand, answered unasked": f"{self.in_hand}, {self.in_hand_answered}",
            "calls out, prompt and voice their own": str(self.outbound),
            "screened, greeted, heard before": f"{self.screened}, {self.greeted}, {self.screened_early}",
            "in transfer, back from it": f"{self.transfers}, {self.transfers_back}",
            "not as before": unlike or "0",
            "messages besides": str(self.messages),
            "client away for": f"{self.absence:.1f} s",
        }

    @property
    def missed(self) -> list[str]:
        """The rules that were missed."""
        return [rule for rule, is_kept in self._rules() if not is_kept]

    def _rules(self) -> Iterator[tuple[str, bool]]:
        tally, is_back = self.tally, self.absence <= CLIENT_SECONDS
        slow = [each for each in tally.sessions if each > self.sessions_within]
        yield f"next session within {self.sessions_within:g} s: {len(slow)} later", not slow
        yield f"each call goes on: {self.not_resumed} do not", not self.not_resumed
        for what, calls in self.unlike.items():
            yield f"{what} as before: not in calls {', '.join(map(str, calls))}", not calls
        yield (
            f"words in hand answered: {self.in_hand_answered} of {self.in_hand}",
            self.in_hand_answered == self.in_hand,
        )
        yield f"nothing lost: {tally.lost}", not tally.lost
        yield f"nothing crossed: {tally.crossed}", not tally.crossed
        yield f"no call cut: {tally.cut.total()}", not tally.cut
        yield f"no frame malformed: {tally.malformed}", not tally.malformed
        yield f"no message besides: {self.messages}", not self.messages
        yield f"no machine while the client is waited for: {tally.by_machine}", not (tally.by_machine and is_back)
        yield f"nothing said before a person is known: {self.screened_early} calls", not self.screened_early
        yield f"each callee greeted: {self.greeted} of {self.screened}", self.greeted == self.screened
        yield (
            f"back from the transfer: {self.transfers_back} of {self.transfers}",
            self.transfers_back == self.transfers,
        )


def is_whole(asked: Question, heard: Sequence[tuple[int, int]], markers: Markers) -> bool:
    """Return whether the history of a request has these turns, each with its answer, in this order."""
    said = iter([(role, markers.find(text)) for role, text in asked.history[:-1]])
    expected = [(role, turn) for turn in heard for role in ("user", "assistant")]
    # Each is looked for behind the one before, because the iterator goes on where it was.
    return all(any(role == who and turn in found for who, found in said) for role, turn in expected)
