"""What the callers of a load run saw, in counts and in distributions of waiting times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs

from relay.simulator.load.load_report import Latency


@attrs.define
class Tally:
    """What callers saw in one order's time."""

    asked: int = 0
    answered: int = 0
    lost: int = 0
    crossed: int = 0
    duplicated: int = 0
    other: int = 0
    barge_ins: int = 0
    superseded: int = 0
    turn: list[float] = attrs.field(factory=list)
    first_word: list[float] = attrs.field(factory=list)
    late: list[float] = attrs.field(factory=list)
    ended: Counter[str] = attrs.field(factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """Return the counts, and milliseconds by percentile."""
        counts = {name: value for name, value in attrs.asdict(self).items() if isinstance(value, int)}
        return {
            **counts,
            "ended": dict(self.ended),
            "turnMs": percentiles(self.turn),
            "firstWordMs": percentiles(self.first_word),
            "lateMs": percentiles(self.late),
        }


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return the distribution of some times by nearest rank, in milliseconds; empty where there are none."""
    return attrs.asdict(Latency.of(seconds, digits=3)) if seconds else {}
