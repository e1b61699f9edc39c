"""The record of a call as its row, and as JSON. What it means, and how it changes, is in `actors.call_record`."""

from __future__ import annotations

from enum import Enum
from typing import Any

import attrs
from sqlalchemy import RowMapping

from actors.call_record import CallKind, CallRecord, CarrierStatus
from actors.call_values import Callee, CallOutcome, Direction
from actors.transfer import TransferOutcome
from relay.store.schema import timestamp

# Columns that are named otherwise than what they hold.
_COLUMNS = {
    "started_at": "opened_at",
    "line_outcome": "outcome",
    "line_seconds": "duration_seconds",
    "answered_by": "turns_by",
}
_ENUMS: dict[str, type[Enum]] = {
    "kind": CallKind,
    "direction": Direction,
    "line_outcome": CallOutcome,
    "carrier_status": CarrierStatus,
    "picked_up_by": Callee,
    "transfer_outcome": TransferOutcome,
}
_FIELDS = [(each.name, _COLUMNS.get(each.name, each.name), _ENUMS.get(each.name)) for each in attrs.fields(CallRecord)]


def record_of(row: RowMapping) -> CallRecord:
    """Read a row of `calls`."""
    given: dict[str, Any] = {name: row[column] for name, column, _ in _FIELDS}
    given |= {name: kind(given[name]) for name, _, kind in _FIELDS if kind and given[name] is not None}
    return CallRecord(**given)


def row_of(record: CallRecord) -> dict[str, Any]:
    """Return what a row of `calls` holds of a record, by column."""
    values = {column: getattr(record, name) for name, column, _ in _FIELDS}
    return {column: value.value if isinstance(value, Enum) else value for column, value in values.items()}


def record_as_json(record: CallRecord) -> dict[str, object]:
    """Return the record as tools and commands print it."""
    transfer = {"to": record.transfer_to, "outcome": record.transfer_outcome}
    return {
        "callSid": record.call_sid,
        "agentId": record.agent_id,
        "kind": record.kind,
        "direction": record.direction,
        "from": record.caller,
        "to": record.called,
        "state": record.state,
        "startedAt": timestamp(record.started_at),
        "endedAt": None if record.ended_at is None else timestamp(record.ended_at),
        "durationSeconds": record.duration_seconds,
        "outcome": record.outcome,
        "answeredBy": dict(record.answered_by),
        "pickedUpBy": record.picked_up_by,
        "transfer": None if record.transfer_outcome is None else transfer,
        "carrierStatus": record.carrier_status,
        "carrierError": record.carrier_error,
    }
