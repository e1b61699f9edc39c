"""What the fragment of a webhook's address overrides: how long the carrier waits, how often and after what it retries.

    https://voice.example/webhooks/a/voice-ended?attempt=0#rc=2&rp=ct,rt,5xx

The fragment is neither sent nor signed. Source: Twilio's page on connection overrides. It does not say how long the
carrier waits before it tries again, nor what a connection counts as that breaks after the request was sent: here it
waits for nothing, and that is no reason to try again.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

import attrs
from attrs.validators import and_, deep_iterable, ge, in_, le

from relay.simulator.carrier.fault_plan import WebhookFailed

_REASONS = frozenset({"4xx", "5xx", "ct", "rt"})
# Which edge asks, and whether TLS names the host: nothing that shows on loopback.
_IGNORED = frozenset({"e", "sni"})


@attrs.frozen
class ConnectionOverrides:
    """How one webhook is requested; times in milliseconds, the names are the carrier's.

    `ct` is the limit for a connection, `rt` for the answer, `tt` for everything. `rc` is how often a request is tried
    again, `rp` after what: no connection (`ct`), no answer (`rt`), or an answer with such a status.
    """

    ct: int = attrs.field(default=5000, validator=and_(ge(100), le(10_000)))
    rt: int = attrs.field(default=15_000, validator=and_(ge(100), le(15_000)))
    tt: int = attrs.field(default=15_000, validator=and_(ge(100), le(15_000)))
    rc: int = attrs.field(default=1, validator=and_(ge(0), le(5)))
    rp: frozenset[str] = attrs.field(default=frozenset({"ct"}), validator=deep_iterable(in_(_REASONS)))

    @classmethod
    def of(cls, url: str) -> ConnectionOverrides:
        """Read the fragment of a URL; raise `WebhookFailed` for one that the carrier does not know."""
        fragment = url.partition("#")[2]
        given = dict(parse_qsl(fragment, keep_blank_values=True))
        reasons = set(given.pop("rp", "ct").split(","))
        try:
            numbers = {name: int(value) for name, value in given.items() if name not in _IGNORED}
            return cls(rp=_REASONS if "all" in reasons else frozenset(reasons), **numbers)
        except (TypeError, ValueError) as error:
            raise WebhookFailed(url, 0, f"no connection override: #{fragment}") from error

    def retries_after(self, status: int) -> bool:
        """Return whether an answer with this status is a reason to try again."""
        return f"{status // 100}xx" in self.rp
