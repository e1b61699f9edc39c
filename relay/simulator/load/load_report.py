"""What a load run comes to: counts and distributions of waiting times, as JSON for programs and a table for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs
from rich.table import Table


@attrs.frozen(kw_only=True)
class Latency:
    """A distribution of waiting times in milliseconds, by nearest rank; all zero when nothing was measured."""

    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: Sequence[float], digits: int = 1) -> Latency:
        """Return the distribution of some times in seconds, with so many digits of a millisecond's fraction."""
        ordered = sorted(seconds)

        def rank(share: float) -> float:
            return round(ordered[math.ceil(share * len(ordered)) - 1] * 1000, digits) if ordered else 0.0

        return cls(p50=rank(0.5), p95=rank(0.95), p99=rank(0.99), max=rank(1))

    def __str__(self) -> str:
        """Return the four numbers as a table shows them."""
        return " / ".join(f"{value:g}" for value in (self.p50, self.p95, self.p99, self.max))


@attrs.frozen(kw_only=True)
class LoadReport:
    """What came of a plan. `first_word` ends with the first piece of the answer, `turn` with its last.

    `calls` were begun and `turns` asked; `answered` counts turns by path. `stale` are answers to an earlier turn of the
    same call. `errors` counts what ended calls, by kind. `malformed` are frames that a carrier would refuse.
    """

    calls: int
    turns: int
    answered: Mapping[str, int]
    turn: Latency
    first_word: Latency
    lost: int
    wrong_call: int
    stale: int
    malformed: int
    errors: Mapping[str, int]
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether every turn was answered, on its own call, and every call ended as it should."""
        return not (self.lost or self.wrong_call or self.malformed or self.errors)

    def as_json(self) -> dict[str, object]:
        """Return it as JSON values; latencies are objects with milliseconds."""
        return attrs.asdict(self)

    def table(self) -> Table:
        """Return it as a table for people."""
        table = Table(title="Call load", show_header=False)
        paths = ", ".join(f"{path} {count}" for path, count in sorted(self.answered.items())) or "–"
        rows = {
            "calls": self.calls,
            "turns": self.turns,
            "seconds": f"{self.seconds:.1f}",
            "answered by": paths,
            "turn latency p50/p95/p99/max (ms)": self.turn,
            "first-word latency p50/p95/p99/max (ms)": self.first_word,
            "lost answers": self.lost,
            "answers to the wrong call": self.wrong_call,
            "answers to an earlier turn": self.stale,
            "malformed frames": self.malformed,
            "errors": ", ".join(f"{kind} {count}" for kind, count in sorted(self.errors.items())) or 0,
        }
        for name, value in rows.items():
            table.add_row(name, str(value))
        return table


@attrs.define
class Progress:
    """How far a run is; handed out about once a second, and meant to be read at once."""

    begun: int = 0
    live: int = 0
    finished: int = 0
    asked: int = 0
    answered: int = 0
    lost: int = 0
