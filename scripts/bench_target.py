"""The daemon that load is thrown at, as callers and clients know it, and the markers by which they know their turns.

Every utterance carries a marker that no other has, and a client repeats what it was told: so an answer tells by itself
which turn of which call it belongs to.
"""

from __future__ import annotations

import re
import secrets
from urllib.parse import urlsplit

import attrs

from scripts.bench_http import Pool
from scripts.bench_wire import Wheel

_RUN = secrets.token_hex(4)
_MARKER = re.compile(rf"load{_RUN}c(\d+)t(\d+)", re.IGNORECASE)


class PeerFailed(Exception):
    """The relay did not do what a caller or a client needs to begin."""


@attrs.frozen(kw_only=True)
class Relay:
    """The daemon that everything is thrown at, and what its agent's clients and the carrier know of it."""

    wheel: Wheel
    url: str
    agent_id: str
    client_token: str = attrs.field(repr=False)
    carrier_token: str = attrs.field(repr=False)
    webhooks: Pool

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return address_of(self.url)


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


def marked_words(number: int, turn: int) -> str:
    """Return what a call says in a turn."""
    return f"This is load{_RUN}c{number}t{turn}, are you there?"


def read_marker(text: str) -> tuple[int, int] | None:
    """Return the number of the call and of the turn whose words are in a text; of several, the last."""
    found = _MARKER.findall(text)
    return (int(found[-1][0]), int(found[-1][1])) if found else None
