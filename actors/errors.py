"""The exception tree, on one page.

Each class says which side failed, because that decides what the caller hears next.

    CallError
    ├── LineClosed              the carrier's side: the caller's line no longer takes speech
    ├── ResponderError          the answering side: carries the reason a waiting message gets
    │   ├── ClientAbsent        no session of the agent can take the turn
    │   ├── ClientLeft          the session went away with the turn in hand
    │   ├── ClientFailed        the client answered with an error, or with nothing that can be spoken
    │   └── AnsweringMachineFailed  the answering machine could not answer
    ├── StoreFailed             our side: what the caller left could not be made durable
    ├── CallTaken               another run of the relay has the call: a write about it was refused
    ├── CallRefused             admission: full, draining, no record of it can be opened, or it is already here
    └── UnknownCall             a tool named a call that this agent does not have
"""

from __future__ import annotations

from typing import ClassVar

from actors.call_values import Reason


class CallError(Exception):
    """Base of everything that can go wrong in a call."""


class LineClosed(CallError):
    """The line to the caller is closed: nothing more can be spoken."""


class ResponderError(CallError):
    """The responder that was asked will not answer the turn."""

    reason: ClassVar[Reason] = Reason.CLIENT_FAILED


class ClientAbsent(ResponderError):
    """No session of the agent can take the turn."""

    reason: ClassVar[Reason] = Reason.CLIENT_ABSENT


class ClientLeft(ResponderError):
    """The client's session ended while it had the turn in hand."""

    reason: ClassVar[Reason] = Reason.CLIENT_LEFT


class ClientFailed(ResponderError):
    """The client refused the turn, or answered nothing that can be spoken."""


class AnsweringMachineFailed(ResponderError):
    """The answering machine could not answer: its service failed or refused."""


class StoreFailed(CallError):
    """A write was not made durable; what it carried must be written again."""


class CallTaken(CallError):
    """A write was refused because another run of the relay has the call; it must not be written again."""


class CallRefused(CallError):
    """A call was not admitted; `code` is `full`, `draining`, `already_here`, `no_record` or `over`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class UnknownCall(CallError):
    """The agent has no live call of that id."""
