"""What it costs to look is measured, and compared with the rounds around it."""

from __future__ import annotations

import pytest

from scripts.bench_console import figures
from tests.bench_here import Bench, bench

__all__ = ["bench"]


@pytest.mark.slow
def test_what_it_costs_to_look_is_measured(bench: Bench) -> None:
    """Every kind of view is read, no turn is lost by it, and both sides have their figures."""
    options = ("--calls", "3", "--readers", "5", "--no-browser", "--seconds", "1", "--rounds", "1")
    result = bench("console", *options)
    assert result["turns"] > result["lost"] == 0
    assert {name: view["views"] for name, view in result["views"].items()} == {
        "Live, page": 1,
        "Call, page": 1,
        "Live, JSON": 1,
        "Call, JSON": 1,
    }
    assert (
        sum(view["eventsPerSecond"] for view in result["views"].values()) > 0
    )  # in a second not every call has a turn
    rows = {row["name"]: row for row in result["figures"]}
    assert rows["CPU ms a turn"]["alone"] > 0
    assert rows["turn p50 (ms)"]["compared"] is not None
    assert 0 < rows["renderings a second a view"]["watched"] <= 4


def test_a_watched_round_is_compared_with_those_around_it() -> None:
    """A call that costs more with every turn is no cost of being looked at; what is above its aim is named."""

    def taken(wait: float, cpu: float) -> dict[str, object]:
        waits = {"p50": wait, "p95": wait, "p99": wait}
        return {"firstWordMs": waits, "turnMs": {**waits, "p99": 5 * wait}, "cpuShare": cpu, "cpuMs": cpu / 10}

    alone = [taken(1, 20), taken(2, 22), taken(3, 24)]
    watched = [taken(1.5, 22) | {"renderingsPerSecond": 2.0}, taken(3, 26) | {"renderingsPerSecond": 2.2}]
    rows = {row["name"]: row for row in figures(alone, watched)}
    assert rows["first word p95 (ms)"]["compared"] == [1.0, pytest.approx(1.1), 1.2]
    assert rows["CPU, % of a core"]["compared"] == [1, 2, 3]
    assert rows["renderings a second a view"]["watched"] == pytest.approx(2.1)
    assert [name for name, row in rows.items() if row["isMissed"]] == []
    slower = [each | {"turnMs": {"p50": 9, "p95": 9, "p99": 9}} for each in watched]
    missed = [row["name"] for row in figures(alone, slower) if row["isMissed"]]
    assert missed == ["turn p95 (ms)"]
