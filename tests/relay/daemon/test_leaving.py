"""When a node that leaves does what."""

from __future__ import annotations

import pytest

from relay.daemon.leaving import LEAVE_SECONDS, MOVE_SECONDS, NOTICE_SECONDS, Times


@pytest.mark.parametrize("drain", [0.0, 0.5, 2.0, 8.0, 10.0, 60.0])
def test_a_node_that_hands_over_is_gone_soon_after_its_drain_time(drain: float) -> None:
    """Calls have most of it to move when their callers have spoken; what is left then moves at its end."""
    times = Times.plan(100.0, drain, hands_over=True)
    assert 100.0 <= times.moves_at <= times.forced_at < times.closed_at < times.gone_at == 100.0 + drain + LEAVE_SECONDS
    assert times.forced_at == 100.0 + max(drain, NOTICE_SECONDS)
    assert times.forced_at - times.moves_at == min(MOVE_SECONDS, max(drain, NOTICE_SECONDS))


def test_who_says_farewell_has_the_whole_drain_time_before() -> None:
    """And as long as it takes for it."""
    assert Times.plan(100.0, 60.0, hands_over=False) == Times(moves_at=160.0)
