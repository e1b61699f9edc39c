"""The limits of the port."""

from __future__ import annotations

import attrs
from attrs.validators import ge, gt


@attrs.frozen(kw_only=True)
class ListenerOptions:
    """The limits of the port; sizes in bytes, times in seconds."""

    backlog: int = attrs.field(default=512, validator=gt(0))
    max_connections: int = attrs.field(default=10_000, validator=gt(0))
    """When there are as many, one that waits for its peer gives way to the next. If there is none, more are accepted
    and closed at once: a refused connection tells a proxy more than one that hangs."""
    max_header_bytes: int = attrs.field(default=16 * 1024, validator=gt(0))
    max_message_bytes: int = attrs.field(default=64 * 1024, validator=gt(0))
    """The largest WebSocket message; the carrier's are a few hundred bytes."""
    ping_interval: float = attrs.field(default=20.0, validator=gt(0))
    keep_alive: float = attrs.field(default=3600.0, validator=gt(0))
    """Long, because a client posts its answers over pooled connections, and a server that closes one under its hand
    loses the answer. Idle connections cost little, and give way."""
    head_within: float = attrs.field(default=20.0, validator=gt(0))
    """For the head of a request: of the first from the connection on, of the others from their first byte on."""
    drain_within: float = attrs.field(default=5.0, validator=gt(0))
    drain_bytes: int = attrs.field(default=2 << 20, validator=gt(0))
    """How much of a request is read and dropped when it was answered before it was complete; twice what a client may
    post at once."""
    linger: float = attrs.field(default=2.0, validator=gt(0))
    peer_patience: float = attrs.field(default=5.0, validator=gt(0))
    handler_patience: float = attrs.field(default=30.0, validator=gt(0))
    grace: float = attrs.field(default=5.0, validator=ge(0))
    """How long connections may go on after `stop`."""

    @property
    def look_interval(self) -> float:
        """How often connections are looked at: so often that no limit is passed by much more than a quarter."""
        shortest = min(
            self.ping_interval,
            self.keep_alive,
            self.head_within,
            self.drain_within,
            self.linger,
            self.handler_patience,
        )
        return min(shortest / 4, 0.5)
