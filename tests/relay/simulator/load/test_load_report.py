"""What a load run comes to, as numbers, as JSON and as a table."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from relay.simulator.load.load_report import Latency, LoadReport
from relay.simulator.load.outbound_load import OutboundReport

LOAD = LoadReport(
    calls=3,
    turns=6,
    answered={"client": 5, "machine": 1},
    turn=Latency.of([0.002]),
    first_word=Latency.of([0.001]),
    lost=0,
    wrong_call=0,
    stale=0,
    malformed=0,
    errors={},
    seconds=1.5,
)
CALLS_OUT = OutboundReport(placed=3, refused={}, picked_up=3, reach=Latency.of([0.03]), load=LOAD)


def shown(report: LoadReport | OutboundReport) -> str:
    """Print a report's table."""
    console = Console(file=io.StringIO(), width=120)
    console.print(report.table())
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_percentiles() -> None:
    """Percentiles are by nearest rank, in milliseconds; of nothing they are zero."""
    assert Latency.of([n / 1000 for n in range(1, 101)]) == Latency(p50=50.0, p95=95.0, p99=99.0, max=100.0)
    assert Latency.of([]) == Latency(p50=0.0, p95=0.0, p99=0.0, max=0.0)


def test_a_latency_for_people() -> None:
    """The four numbers stand in one cell."""
    assert str(Latency(p50=1.0, p95=2.5, p99=3.0, max=4.0)) == "1 / 2.5 / 3 / 4"


@pytest.mark.parametrize("report", [LOAD, CALLS_OUT])
def test_the_report_as_json_and_as_a_table(report: LoadReport | OutboundReport) -> None:
    """The report is plain JSON, and a table for people with the same numbers."""
    assert json.loads(json.dumps(report.as_json()))["answered"] == {"client": 5, "machine": 1}
    text = shown(report)
    assert "client 5, machine 1" in text
    assert "answers to the wrong call" in text


def test_a_report_of_calls_out_tells_what_became_of_them() -> None:
    """Placed, refused by code, answered, and how long it took to reach the callees."""
    report = OutboundReport(placed=3, refused={"full": 2, "quiet_hours": 1}, picked_up=3, reach=LOAD.turn, load=LOAD)
    values = json.loads(json.dumps(report.as_json()))
    assert (values["placed"], values["refused"], values["picked_up"]) == (3, {"full": 2, "quiet_hours": 1}, 3)
    assert values["reach"]["p50"] == 2.0
    assert "full 2, quiet_hours 1" in shown(report)


def test_refused_calls_are_not_clean() -> None:
    """A call that was refused, or that nobody could speak in, makes a run unclean."""
    assert CALLS_OUT.clean
    assert not OutboundReport(placed=2, refused={"full": 1}, picked_up=2, reach=LOAD.turn, load=LOAD).clean
    assert not OutboundReport(placed=3, refused={}, picked_up=2, reach=LOAD.turn, load=LOAD).clean


def test_advice_names_the_settings_in_the_way() -> None:
    """Each refusal that a setting lifts has the setting in the advice; others have none."""
    report = OutboundReport(
        placed=0, refused={"agent_minute_limit": 9, "do_not_call": 1}, picked_up=0, reach=LOAD.turn, load=LOAD
    )
    assert report.advice == ["RELAY_CALLS_PER_AGENT_PER_MINUTE=0"]
