"""What goes with an ended session to the carrier and comes back with its next webhook: whom to connect the caller to.

    Handoff ──written──▶ `end` frame ──▶ carrier ──signed webhook──▶ read ──▶ Handoff, or None

It comes back signed by the carrier, so nobody has tampered with it; but it may have been written by another version of
the relay, or been cut short on its way. So it is checked like anything else that comes from outside.
"""

from __future__ import annotations

from typing import Annotated

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from actors.call_values import LONGEST_RING, SHORTEST_RING

log = structlog.get_logger(__name__)

_Ring = Annotated[int, Field(ge=SHORTEST_RING, le=LONGEST_RING)]


class Handoff(BaseModel):
    """A caller to be passed on to the number `to` (E.164), after hearing `announcement` in `language` and `voice`.

    With `confirm` whoever picks up must press a key first. `ring` is in seconds.
    """

    # Strict: what is not of the very form that is written here was not written here.
    model_config = ConfigDict(frozen=True, strict=True)

    to: str = Field(pattern=r"^\+[1-9][0-9]{1,14}$", repr=False)
    announcement: str = Field(default="", repr=False)
    confirm: bool = False
    ring: _Ring
    language: str = ""
    voice: str = ""

    def written(self) -> str:
        """Return the JSON text for the `end` frame."""
        return _Envelope(transfer=self).model_dump_json()


class _Envelope(BaseModel):
    """Around the handoff, so that it can be told from what other reasons to end a session may hand over one day."""

    model_config = ConfigDict(frozen=True, strict=True)

    transfer: Handoff


def read(text: str, *, call_sid: str) -> Handoff | None:
    """Read what came back; None, and a line in the log, for what is no transfer. An empty text says nothing of one."""
    if not text:
        return None
    try:
        return _Envelope.model_validate_json(text).transfer
    except ValidationError as error:
        # The library's own text repeats what it could not read.
        log.warning("handoff_not_understood", call_sid=call_sid, errors=error.error_count())
        return None
