"""What the callers of a load run saw, in counts and in distributions of waiting times."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs


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
    ordered = sorted(seconds)
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {
        name: round(ordered[math.ceil(share * len(ordered)) - 1] * 1000, 3) for name, share in shares.items() if ordered
    }
