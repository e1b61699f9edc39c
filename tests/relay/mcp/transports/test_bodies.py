"""Bytes of unfinished requests: bounded for each agent, whatever the others do."""

from __future__ import annotations

import pytest

from relay.mcp.transports.bodies import Bodies, TooMuchUnderWay


def test_agent_may_have_so_many_bytes_under_way() -> None:
    """The sum of an agent's unfinished bodies is bounded; another agent's count for itself, and finished ones not."""
    bodies = Bodies(patience=1, most=100)
    with bodies.reading("anna") as first, bodies.reading("anna") as second, bodies.reading("bert") as other:
        first(60)
        second(40)
        other(100)
        with pytest.raises(TooMuchUnderWay):
            second(1)
    with bodies.reading("anna") as third:
        third(100)


def test_refused_body_counts_no_longer() -> None:
    """What was refused gives its bytes back, so an agent that sent too much is let in again."""
    bodies = Bodies(patience=1, most=100)
    for _ in range(3):
        with pytest.raises(TooMuchUnderWay), bodies.reading("anna") as count:
            count(101)
    with bodies.reading("anna") as count:
        count(100)
