"""The requests of a client that dial a number: a conversation, a voice message, a transfer.

The tools check a client's input and explain what is wrong; here invalid values raise when they are built.
"""

from __future__ import annotations

import attrs
from attrs.validators import ge, le, optional

from actors.call_values import LONGEST_RING, SHORTEST_RING, Voicemail


@attrs.frozen(kw_only=True)
class DialRequest:
    """The number `to`, as the client wrote it, is to be dialled. None means: as the agent or the settings have it.

    `zone` is the IANA name of the callee's time zone where it is known, `purpose` what consent was given for. A
    `dry_run` asks the gate and dials nothing.
    """

    to: str = attrs.field(repr=False)
    ring_seconds: int | None = attrs.field(default=None, validator=optional([ge(SHORTEST_RING), le(LONGEST_RING)]))
    zone: str | None = None
    purpose: str | None = None
    dry_run: bool = False


@attrs.frozen(kw_only=True)
class CallRequest(DialRequest):
    """A call that a client wants to make.

    `wait_for_human` keeps the greeting back until a person is known to have answered. `for_voicemail` is said to a
    voicemail, with `LEAVE_MESSAGE` only.
    """

    greeting: str | None = attrs.field(default=None, repr=False)
    system_prompt: str | None = attrs.field(default=None, repr=False)
    voice: str | None = None
    language: str | None = None
    wait_for_human: bool = False
    on_voicemail: Voicemail = Voicemail.HANG_UP
    for_voicemail: str = attrs.field(default="", repr=False)

    @for_voicemail.validator
    def _goes_with_a_voicemail(self, _attribute: attrs.Attribute[str], value: str) -> None:
        if bool(value.strip()) != (self.on_voicemail is Voicemail.LEAVE_MESSAGE):
            raise ValueError("for_voicemail and LEAVE_MESSAGE need each other")


@attrs.frozen(kw_only=True)
class VoiceMessageRequest(DialRequest):
    """A spoken message that a client wants to send."""

    text: str = attrs.field(repr=False)
    voice: str | None = None
    language: str | None = None


@attrs.frozen(kw_only=True)
class TransferRequest(DialRequest):
    """A live call that a client transfers to a person at the number `to`.

    `announcement` is said to the caller first; `confirm` lets the callee press 1 before the two are connected.
    """

    call_sid: str
    announcement: str = attrs.field(default="", repr=False)
    confirm: bool = False
