"""The handoff data: why a session was ended, sent with its end and returned by the carrier's next webhook.

    TransferOrder, Moving ──encode──▶ `end` frame ──▶ carrier ──signed webhook──▶ read ──▶ the same, or None

It comes back signed by the carrier, so it is authentic; but another version of the relay may have written it, or it may
have been truncated. So it is validated like all input.
"""

from __future__ import annotations

from typing import Literal

import attrs
import structlog
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from actors.call_values import E164, LONGEST_RING, SHORTEST_RING
from actors.transfer import TransferOrder

log = structlog.get_logger(__name__)

# Strict: what is not of the very form that is written here was not written here.
_STRICT = ConfigDict(frozen=True, strict=True)


@attrs.frozen
class Moving:
    """The call goes on in another session, of whichever process the carrier asks."""


class _Order(BaseModel):
    model_config = _STRICT

    to: str = Field(pattern=f"^{E164}$")
    announcement: str = ""
    confirm: bool = False
    ring: int = Field(ge=SHORTEST_RING, le=LONGEST_RING)
    language: str = ""
    voice: str = ""


class _Transfer(BaseModel):
    """Marks the JSON as a transfer."""

    model_config = _STRICT

    transfer: _Order


class _Move(BaseModel):
    """Marks it as a move."""

    model_config = _STRICT

    moving: Literal[True]


_Envelope: TypeAdapter[_Transfer | _Move] = TypeAdapter(_Transfer | _Move)


def encode_handoff_data(reason: TransferOrder | Moving) -> str:
    """Return the JSON text for the `end` frame."""
    if isinstance(reason, Moving):
        return _Move(moving=True).model_dump_json()
    written = _Order(
        to=reason.to,
        announcement=reason.announcement,
        confirm=reason.confirm,
        ring=reason.ring_seconds,
        language=reason.language,
        voice=reason.voice,
    )
    return _Transfer(transfer=written).model_dump_json()


def read_handoff_data(text: str, *, call_sid: str) -> TransferOrder | Moving | None:
    """Read the returned text; None, and a log line, if it gives no reason known here. An empty text is not logged."""
    if not text:
        return None
    try:
        envelope = _Envelope.validate_json(text)
    except ValidationError as error:
        # The library's own text repeats what it could not read.
        log.warning("handoff_not_understood", call_sid=call_sid, errors=error.error_count())
        return None
    if isinstance(envelope, _Move):
        return Moving()
    read = envelope.transfer
    return TransferOrder(
        to=read.to,
        announcement=read.announcement,
        confirm=read.confirm,
        ring_seconds=read.ring,
        language=read.language,
        voice=read.voice,
    )
