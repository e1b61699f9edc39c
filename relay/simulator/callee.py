"""Who is at the other end of a number that is called, by the REST API or by `<Dial>`: scripts, keyed by number."""

from __future__ import annotations

import attrs
from attrs.validators import ge, in_, optional


@attrs.frozen(kw_only=True)
class Answers:
    """Somebody, or something, picks up after ringing for `after` seconds.

    `answered_by` is what the carrier's machine detection makes of it, `verdict_after` seconds into the call. In a
    session it says each of `says` and hears the answer before the next; a machine does not wait for the greeting to
    end. `presses` are the keys for a `<Gather>`. It hangs up `hangs_up_after` seconds after it has heard the last
    answer, or after picking up where it says nothing; and on a leg that `<Dial>` has connected it stays for `talks`
    seconds.
    """

    after: float = attrs.field(default=0.0, validator=ge(0))
    answered_by: str = "human"
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
