"""What is asked of the carrier about calls, and what it says of them: frozen values, checked when they are built.

Source: the vendor's page on the Call resource, and its published description of the API.
"""

from __future__ import annotations

from datetime import datetime

import attrs
from attrs.validators import and_, ge, le, matches_re, max_len, min_len, optional

from actors.call_values import E164, LONGEST_RING, SHORTEST_RING

MAX_TWIML = 4000
"""Characters of TwiML that a request can carry; longer orders must be fetched from a URL."""

STATUS_EVENTS = ("initiated", "ringing", "answered", "completed")
"""What a status callback is told of. The event `completed` is any end, such as busy or no-answer."""

_URL = matches_re(r"https?://\S+")


@attrs.frozen(kw_only=True)
class PlaceCall:
    """A call to be placed. Numbers are E.164; an order that the carrier could only refuse cannot be built.

    `twiml` is executed once the callee answers. `status_callback` gets every event in `STATUS_EVENTS`. After
    `ring_seconds` (the carrier adds up to 5) the call counts as not answered, and `time_limit` seconds end it in any
    case. `detect_machine` is the URL that learns whether a person or a machine answered, about four seconds into the
    call, while the call goes on; None asks for no detection.
    """

    to: str = attrs.field(repr=False, validator=matches_re(E164))
    from_: str = attrs.field(repr=False, validator=matches_re(E164))
    twiml: str = attrs.field(repr=False, validator=and_(min_len(1), max_len(MAX_TWIML)))
    status_callback: str = attrs.field(validator=_URL)
    ring_seconds: int = attrs.field(default=25, validator=and_(ge(SHORTEST_RING), le(LONGEST_RING)))
    time_limit: int = attrs.field(validator=and_(ge(1), le(86_400)))
    detect_machine: str | None = attrs.field(default=None, validator=optional(_URL))


@attrs.frozen
class PlacedCall:
    """A call that the carrier has taken on. `waited` is the time in our queue, in seconds."""

    sid: str
    status: str
    waited: float = 0.0


@attrs.frozen(kw_only=True)
class UnclaimedCall:
    """A call that was being placed when the task that ordered it was cancelled.

    `placed` is None where the carrier did not answer either: then `request` and `since` (UTC) are what to look for.
    """

    request: PlaceCall
    placed: PlacedCall | None
    since: datetime


@attrs.frozen(kw_only=True)
class NumberState:
    """Where a number of the account's leads; `is_led_elsewhere` is to an application or a trunk, not to `voice_url`."""

    sid: str
    voice_url: str
    voice_method: str
    is_led_elsewhere: bool


@attrs.frozen(kw_only=True)
class CallState:
    """A call as the carrier has it. `duration` is in seconds, None until it has ended; times are UTC.

    `status` is one of queued, ringing, in-progress, completed, busy, failed, no-answer, canceled; `answered_by` is the
    verdict of the machine detection, where there was one.
    """

    sid: str
    status: str
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    duration: int | None
    answered_by: str | None
