"""Errors that a person at the command line is meant to read: what is wrong, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class RelayError(Exception):
    """Base of errors whose text is shown to the operator as it is."""


class SettingsError(RelayError):
    """Say which setting is wrong and what it takes."""


class AgentError(RelayError):
    """Say why an agent could not be added, found or changed."""


class DatabaseError(RelayError):
    """Say why the database cannot be used."""


class OutboundRefused(RelayError):
    """Say why nothing was dialled or changed: `code` for programs, the text for whoever asked, with what to do.

    The text holds no telephone number. `details` are facts for programs, such as each refusal of the gate.
    """

    def __init__(self, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.details = dict(details or {})
