"""The handoff data of a transfer: sent with the end of a session, and returned by the carrier's next webhook.

    TransferOrder ──encode──▶ `end` frame ──▶ carrier ──signed webhook──▶ read ──▶ TransferOrder, or None

It comes back signed by the carrier, so it is authentic; but another version of the relay may have written it, or it may
have been truncated. So it is validated like all input.
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
    """Read the returned text; None, and a log line, if it is no transfer. An empty text is not logged."""
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
