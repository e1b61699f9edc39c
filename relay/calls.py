"""What is known and wanted of a call outside the call itself: values that the parts of the relay hand to each other.

Pure and frozen; none of them imports the part that makes it or the one that takes it.
"""

from __future__ import annotations

import attrs
from attrs.validators import ge, in_, matches_re, min_len

from actors.call_values import CallInfo, Direction, Voicemail
from relay.agent import Agent


@attrs.frozen(kw_only=True)
class OutgoingCall:
    """A conversation that is about to be placed. `order` names it until the carrier has given it a call sid.

    Numbers are E.164. `expires_in` is how many seconds, from now, a callee may take until the voice socket is open.
    """

    order: str = attrs.field(validator=matches_re(r"[A-Za-z0-9_-]{16,64}"))
    agent: Agent
    caller: str = attrs.field(repr=False, validator=min_len(1))
    called: str = attrs.field(repr=False, validator=min_len(1))
    greeting: str = attrs.field(default="", repr=False)
    system_prompt: str = attrs.field(default="", repr=False)
    voice: str
    language: str
    screened: bool = False
    on_voicemail: Voicemail = Voicemail.HANG_UP
    for_voicemail: str = attrs.field(default="", repr=False)
    expires_in: float = attrs.field(default=120.0, validator=ge(1))


# ── what the carrier reports ────────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen(kw_only=True)
class IncomingCall:
    """A call that the carrier asks about, as its signed webhook describes it.

    `caller` and `called` are the numbers as the carrier names them; `attestation` is the letter with which the
    caller's own carrier vouches for the number (A in full, B for the customer, C for the gateway) or empty;
    `is_passed_on` says that it comes with a reservation: the call was diverted, or the verdict is somebody else's.
    `idempotency_token` is the same for all repeats of one request, and empty where the carrier gave none. `attempt` is
    0 for a call's first session; a session lost on the way is resumed as 1, 2 and so on, and so is one that comes back
    from a transfer; then `greeting` is what the carrier shall say first, in place of the agent's own, and `note` says
    what happened in between, for whoever answers. Of a call that `is_unheard` nothing was heard yet: its session begins
    as the one before did.
    """

    agent: Agent
    call_sid: str = attrs.field(validator=min_len(1))
    caller: str = ""
    called: str = ""
    direction: Direction = Direction.INBOUND
    attestation: str = attrs.field(default="", validator=in_(("", "A", "B", "C")))
    is_passed_on: bool = False
    idempotency_token: str = attrs.field(default="", repr=False)
    attempt: int = attrs.field(default=0, validator=ge(0))
    greeting: str | None = None
    note: str = attrs.field(default="", repr=False)
    is_unheard: bool = False

    @property
    def verified(self) -> bool:
        """Whether the caller's carrier vouches in full for the number, and nobody stands between it and us."""
        return self.attestation == "A" and not self.is_passed_on


@attrs.frozen(kw_only=True)
class Admission:
    """The leave to connect a call: `ticket` is for its socket, once.

    The TwiML is made from `call_info` alone: its greeting, voice and language. `repeat` says that the same request was
    admitted before, with this ticket.
    """

    ticket: str = attrs.field(repr=False, validator=min_len(1))
    call_info: CallInfo
    repeat: bool = False
