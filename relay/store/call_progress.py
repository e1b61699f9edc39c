"""What becomes of a call's row when something is heard of it: functions from the row as it is to what changes.

The carrier's webhooks come in any order, more than once, and some never. So each of its facts is kept by a rule that
does not ask which came last: the furthest status, the earliest end, the longest length, the first error in a fixed
order. Ours stand in columns of their own beside them, and `relay.store.call_record` chooses between the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import RowMapping

from actors.call_values import Callee, CallSummary
from relay.calls import ENDED_STATUSES, CallKind, CallProgress, TransferOutcome

# The outcome of a line that ended because its caller is being passed on: the call itself goes on.
TRANSFERRED = "transferred"

Changes: TypeAlias = dict[str, Any]

# How far a call has come (the carrier's Call resource). It has one end only; should two be told all the same, the one
# counts that says most of it.
_RANKS = {
    status: rank
    for rank, status in enumerate(
        ("queued", "initiated", "ringing", "in-progress", "failed", "canceled", "no-answer", "busy", "completed")
    )
}


def announced(call: RowMapping, kind: CallKind, caller: str, called: str) -> Changes:
    """Add to a call that was heard of before what only its announcement says."""
    return _filled(call, caller, called) | ({} if kind is CallKind.CALL else {"kind": kind.value})


def opened(call: RowMapping, facts: Mapping[str, Any], at: datetime) -> Changes:
    """Open the line, for the first time or again. A call that is over for the carrier stays over: it was quicker."""
    connected_at = call["connected_at"] or at
    changes: Changes = {**facts, "connected_at": connected_at, "line_ended_at": None, "outcome": None}
    changes |= {name: facts[name] or call[name] for name in ("caller", "called")}
    if call["carrier_status"] in ENDED_STATUSES:
        return changes | {"duration_seconds": _seconds(connected_at, call["ended_at"])}
    return changes | {"ended_at": None, "duration_seconds": None}


def closed(call: RowMapping, summary: CallSummary, at: datetime) -> Changes:
    """Close the line, or the record of a call that never had one. Nothing changes where that was done before."""
    had_line = call["connected_at"] is not None
    done_before = call["line_ended_at"] if had_line else call["outcome"]
    if done_before is not None:
        return {}
    turns_by = dict(call["turns_by"])
    for answerer, turns in summary.turns_by.items():
        turns_by[answerer] = turns_by.get(answerer, 0) + turns
    changes: Changes = {"outcome": summary.outcome, "turns_by": turns_by}
    if had_line:
        changes["line_ended_at"] = at
    if call["ended_at"] is None and summary.outcome != TRANSFERRED:
        changes |= ended(call, at)
    return changes


def progressed(call: RowMapping, progress: CallProgress, now: datetime) -> Changes:
    """Take in what the carrier says; the end of a call is dated by the carrier, else by when it is first heard of."""
    changes = _filled(call, progress.caller, progress.called) | {
        "carrier_status": max(call["carrier_status"], progress.status, key=_rank),
        "carrier_seconds": max(_told(call["carrier_seconds"], progress.seconds), default=None),
        "carrier_error": min(_told(call["carrier_error"], progress.error or None), key=_error_order, default=None),
    }
    if progress.is_over:
        ended_at = min(_told(call["carrier_ended_at"], progress.at), default=None)
        changes["carrier_ended_at"] = ended_at
        changes |= ended(call, ended_at or call["ended_at"] or now)
        if call["transfer_outcome"] == TransferOutcome.DIALLING.value:
            # Whoever watched the transfer may have ended with an earlier run. What the dial itself reports counts more,
            # whichever is heard first.
            changes["transfer_outcome"] = TransferOutcome.CALLER_GONE.value
    return changes


def picked_up(call: RowMapping, verdict: str) -> Changes:
    """Take in who picked up: the first verdict that says something stays."""
    has_verdict = call["picked_up_by"] not in {None, Callee.UNKNOWN.value}
    return {} if has_verdict else {"picked_up_by": verdict}


def transferred(call: RowMapping, to: str | None, outcome: TransferOutcome) -> Changes:
    """Take in how a transfer goes: with `to` it is a new one, without the one that is under way."""
    if to is not None:
        return {"transfer_to": to, "transfer_outcome": outcome.value}
    is_decided = call["transfer_outcome"] not in {None, TransferOutcome.DIALLING.value}
    if is_decided and outcome is TransferOutcome.DIALLING:
        return {}
    return {"transfer_outcome": outcome.value}


def failed(call: RowMapping, code: str) -> Changes:
    """Take in an error that was met while something was asked of the carrier, where it has told of none."""
    return {} if call["carrier_error"] else {"carrier_error": code}


def ended(call: RowMapping, at: datetime) -> Changes:
    """End the call, once and for all."""
    # The carrier dates to the second and by its own clock, and ours may be set back: nothing ends before it began.
    ended_at = max(at, call["opened_at"])
    return {"ended_at": ended_at, "duration_seconds": _seconds(call["connected_at"] or ended_at, ended_at)}


def _seconds(begin: datetime, end: datetime) -> float:
    return max(0.0, round((end - begin).total_seconds(), 3))


def _filled(call: RowMapping, caller: str, called: str) -> Changes:
    return {"caller": call["caller"] or caller, "called": call["called"] or called}


def _told(*values: Any) -> list[Any]:
    return [each for each in values if each is not None]


def _rank(status: str | None) -> int:
    # A word that the carrier did not have when this was written says nothing that the others do not.
    return _RANKS.get(status or "", -1)


def _error_order(code: str) -> tuple[bool, str]:
    # The carrier's own codes say more than those of the telephone network, such as `sip_486`.
    return not code.isdigit(), code
