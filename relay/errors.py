"""Errors that a person at the command line is meant to read: what is wrong, and what to do."""

from __future__ import annotations


class RelayError(Exception):
    """Base of errors whose text is shown to the operator as it is."""


class SettingsError(RelayError):
    """Say which setting is wrong and what it takes."""


class AgentError(RelayError):
    """Say why an agent could not be added, found or changed."""


class DatabaseError(RelayError):
    """Say why the database cannot be used."""
