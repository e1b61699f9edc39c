"""What goes with an ended session to the carrier and comes back with its next webhook: whom to connect the caller to.

    TransferOrder ──encode──▶ `end` frame ──▶ carrier ──signed webhook──▶ read ──▶ TransferOrder, or None

It comes back signed by the carrier, so nobody has tampered with it; but it may have been written by another version of
the relay, or been cut short on its way. So it is checked like anything else that comes from outside.
"""

from __future__ import annotations

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from actors.call_values import E164, LONGEST_RING, SHORTEST_RING
from actors.transfer import TransferOrder

log = structlog.get_logger(__name__)

# Strict: what is not of the very form that is written here was not written here.
_STRICT = ConfigDict(frozen=True, strict=True)


class _Order(BaseModel):
    model_config = _STRICT

    to: str = Field(pattern=f"^{E164}$")
    announcement: str = ""
    confirm: bool = False
    ring: int = Field(ge=SHORTEST_RING, le=LONGEST_RING)
    language: str = ""
    voice: str = ""


class _Envelope(BaseModel):
    """Marks the JSON as a transfer, so that other reasons to end a session can have their own one day."""

    model_config = _STRICT

    transfer: _Order


def encode_handoff_data(order: TransferOrder) -> str:
    """Return the JSON text for the `end` frame."""
    written = _Order(
        to=order.to,
        announcement=order.announcement,
        confirm=order.confirm,
        ring=order.ring_seconds,
        language=order.language,
        voice=order.voice,
    )
    return _Envelope(transfer=written).model_dump_json()


def read_handoff_data(text: str, *, call_sid: str) -> TransferOrder | None:
    """Read what came back; None, and a line in the log, for what is no transfer. An empty text says nothing of one."""
    if not text:
        return None
    try:
        read = _Envelope.model_validate_json(text).transfer
    except ValidationError as error:
        # The library's own text repeats what it could not read.
        log.warning("handoff_not_understood", call_sid=call_sid, errors=error.error_count())
        return None
    return TransferOrder(
        to=read.to,
        announcement=read.announcement,
        confirm=read.confirm,
        ring_seconds=read.ring,
        language=read.language,
        voice=read.voice,
    )
