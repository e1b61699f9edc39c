"""Errors whose text is for people, and their form in HTTP answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from actors.errors import StoreFailed


class RelayError(Exception):
    """Base of errors whose text is shown to the operator as it is."""


class SettingsError(RelayError):
    """Which setting is wrong and what it takes."""


class AgentError(RelayError):
    """Why an agent could not be added, found or changed."""


class OperatorError(RelayError):
    """Why an operator could not be added, found or changed."""


class DatabaseError(RelayError):
    """Why the database cannot be used."""


class ClusterError(RelayError):
    """Why this daemon cannot be a node of the cluster, or not any more."""


STORE_FAILURES = (StoreFailed, DatabaseError)
"""What the store raises when the database cannot be used: the one for a write, the other for a read."""


class OutboundRefused(RelayError):
    """Why nothing was dialled or changed: `code` for programs, the text for the client, with what to do.

    The text holds no telephone number. `details` are facts for programs, such as each refusal of the gate.
    """

    def __init__(self, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.details = dict(details or {})


def error_json(code: str, message: str, details: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return an error document; `code` is a snake_case word, `message` says what is wrong and what to do."""
    error: dict[str, Any] = {"code": code, "message": message}
    if details:
        error["details"] = dict(details)
    return {"error": error}


def error_document(code: str, message: str) -> bytes:
    """Return an error document as the body of a response: see `error_json`."""
    return json.dumps(error_json(code, message)).encode()


SERVER_ERROR = error_document("server_error", "Something failed here. Try again; the log of the relay says where.")
