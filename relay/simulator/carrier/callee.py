"""Who is at the other end of a number that is called, by the REST API or by `<Dial>`: scripts, keyed by number."""

from __future__ import annotations

import attrs
from attrs.validators import ge, in_, optional

PEOPLE = frozenset({"human", "unknown", ""})
"""Verdicts of the machine detection with which a person may listen."""

MACHINES = frozenset({"machine_start", "machine_end_beep", "machine_end_silence", "machine_end_other", "fax"})
"""Verdicts with which no person does."""


@attrs.frozen(kw_only=True)
class Answers:
    """Somebody, or something, picks up after ringing for `after` seconds.

    `answered_by` is what the carrier's machine detection makes of it, `verdict_after` seconds into the call; empty, it
    never comes to a verdict. In a session somebody says each of `says` and hears the answer before the next. A machine
    says them as a recording does, whatever it is told meanwhile. It hangs up `hangs_up_after` seconds after it has
    heard the last answer, or after the recording, or after picking up where it says nothing.

    On a leg that `<Dial>` made, `presses` are the keys for a `<Gather>`; who presses none hangs up `hangs_up_after`
    seconds after he was asked, or lets the time for it pass. Once connected, he stays for `talks` seconds.
    """

    after: float = attrs.field(default=0.0, validator=ge(0))
    answered_by: str = attrs.field(default="human", validator=in_({*PEOPLE, *MACHINES}))
    verdict_after: float = attrs.field(default=0.0, validator=ge(0))
    says: tuple[str, ...] = ()
    presses: str = ""
    hangs_up_after: float | None = attrs.field(default=None, validator=optional(ge(0)))
    talks: float = attrs.field(default=0.0, validator=ge(0))


@attrs.frozen
class Unanswered:
    """Nobody picks up: after ringing for `after` seconds the call ends with this status."""

    status: str = attrs.field(validator=in_({"busy", "no-answer", "failed", "canceled"}))
    after: float = attrs.field(default=0.0, validator=ge(0))


@attrs.frozen
class Refused:
    """The REST API refuses to call this number, with an error of the carrier's. A `<Dial>` to it fails."""

    code: int


Callee = Answers | Unanswered | Refused
