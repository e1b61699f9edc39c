"""The daemon that load is thrown at, as callers and clients know it, and the markers by which they know their turns."""

from __future__ import annotations

from urllib.parse import urlsplit

import attrs

from relay.simulator.load.markers import Markers
from scripts.bench_http import Pool
from scripts.bench_wire import Wheel

_MARKERS = Markers()


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
    return _MARKERS.words(number, turn)


def read_marker(text: str) -> tuple[int, int] | None:
    """Return the number of the call and of the turn whose words are in a text; of several, the last."""
    return next(reversed(_MARKERS.find(text)), None)
