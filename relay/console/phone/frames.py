"""What the page and the daemon send each other on the phone's socket: JSON objects with a `type`, and nothing binary.

| page → daemon | |
|---|---|
| `ring` | first of all; with `aloud` the page speaks what is said, and reports how far it is |
| `say` | `text`; with `last` false it is what was recognised so far |
| `interrupt` | the caller talks over the answer, of which this was `heard` (aloud only) |
| `press` | one `key` |
| `played`, `speaking` | aloud: this `text` was spoken to its end; the voice is `on`, or has no more to speak |
| `hang_up` | |

| daemon → page | |
|---|---|
| `ringing` | with `callSid` |
| `connected` | a session is open, with its `greeting` and `lang` |
| `token` | a piece of an answer: `text`, `last`, `preemptible` |
| `heard` | the caller has heard this `text` to its end |
| `cut` | speech was cut off; this was `heard` of it |
| `on_hold` | a transfer rings at `number`, or is `answered` there |
| `note` | a `text` for the person |
| `ended` | `why` |
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

_Words = Annotated[str, msgspec.Meta(max_length=2000)]
_Spoken = Annotated[str, msgspec.Meta(max_length=20_000)]
_Key = Annotated[str, msgspec.Meta(pattern=r"^[0-9*#]\Z")]

POLICY_VIOLATION = 1008
TRY_LATER = 1013


class PhoneFault(Exception):
    """The page has done what it must not: its socket is closed with this code and reason, 123 bytes at most."""

    def __init__(self, reason: str, code: int = POLICY_VIOLATION) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Ring(msgspec.Struct, tag="ring", forbid_unknown_fields=True, frozen=True):
    """Ring the agent."""

    aloud: bool = False


class Say(msgspec.Struct, tag="say", forbid_unknown_fields=True, frozen=True):
    """Speak as the caller."""

    text: _Words
    last: bool = True


class Interrupt(msgspec.Struct, tag="interrupt", forbid_unknown_fields=True, frozen=True):
    """Talk over the answer."""

    heard: _Spoken = ""


class Press(msgspec.Struct, tag="press", forbid_unknown_fields=True, frozen=True):
    """Press a key of the telephone."""

    key: _Key


class Played(msgspec.Struct, tag="played", forbid_unknown_fields=True, frozen=True):
    """A sentence was spoken to its end."""

    text: _Spoken


class Speaking(msgspec.Struct, tag="speaking", forbid_unknown_fields=True, frozen=True):
    """The voice has begun, or has nothing more to speak."""

    on: bool


class HangUp(msgspec.Struct, tag="hang_up", forbid_unknown_fields=True, frozen=True):
    """Put the phone down."""


Frame: TypeAlias = Ring | Say | Interrupt | Press | Played | Speaking | HangUp

_DECODER: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)


def read_frame(text: str | None) -> Frame:
    """Return the frame in a message; None is a binary one. Raises `PhoneFault` for what is none."""
    if text is None:
        raise PhoneFault("The phone takes no binary messages.")
    try:
        return _DECODER.decode(text.encode("utf-8", "surrogatepass"))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise PhoneFault("The phone does not know this frame. Reload the page.") from None
