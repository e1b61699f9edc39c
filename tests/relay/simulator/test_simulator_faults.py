"""What a script prints of the errors that end it."""

from __future__ import annotations

from relay.simulator.faults import CallOver, reasons_in


def test_reasons_are_found_however_deep() -> None:
    """Each text comes once, in order; an error without any is named by its kind."""
    inner = ExceptionGroup("in a nursery", [CallOver("it hung up"), OSError()])
    group = ExceptionGroup("in another", [ValueError("first"), inner, ValueError("first")])
    assert reasons_in(group) == ["first", "the call is over: it hung up", "OSError"]
