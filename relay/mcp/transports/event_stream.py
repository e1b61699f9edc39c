"""Event streams of both transports: write events, send comments, ping.

outbox ──▶ write_events ──▶ the response      idle for a while: a comment line, so that dead paths show themselves
ping_while_quiet ──▶ returns                  the client has been silent for too long
"""

from __future__ import annotations

from typing import Protocol

import attrs
import trio
from attrs.validators import gt

from relay.http.asgi import Send
from relay.http.streaming import COMMENT
from relay.mcp.session import McpSession


@attrs.frozen(kw_only=True)
class Timing:
    """How long sessions and their streams wait for what, in seconds.

    `comment_interval` of silence on a stream puts a comment on the wire. `ping_interval` after it was last heard a
    client is asked for a sign of life; when it has not given one after `ping_timeout` it gets no turns until it does.
    Nothing heard for `silence_timeout` from then on ends its session. A session must be ready `handshake_timeout` after
    it began.
    A client that looks like a known one is given `reconnect_patience` to shake hands before it is taken for that one.

    Over Streamable HTTP only: a session that was not used for `idle_timeout` is over; one that could be asked to
    sample, but has lost its stream, after `stream_patience` already. `body_patience` is for the body of a POST. A POST
    that is not answered after `stream_after` is answered by a stream.
    """

    # Less than half of the time after which the kernel takes a peer that acknowledges nothing for lost (see
    # `relay.http.listener`): with 10 seconds a comment had it begin anew, and a cut network was noticed after 13.
    comment_interval: float = attrs.field(default=2.5, validator=gt(0))
    # Below 3, when the kernel begins to probe a quiet connection: what is written while a probe is out restarts its
    # count, as above, and meanwhile a tool call waits for callers on behalf of a client that is cut off. Proxies wait
    # for a first byte for half a minute and more, programs on a plain HTTP library for as little as 5 seconds (httpx).
    # Not lower, because most tools answer within a second or two, and until its stream begins a response can still say
    # that the session is over.
    stream_after: float = attrs.field(default=2.5, validator=gt(0))
    ping_interval: float = attrs.field(default=20.0, validator=gt(0))
    # Well below the time limit of an answer: a client that needs longer for a ping would answer no turn in time.
    ping_timeout: float = attrs.field(default=3.0, validator=gt(0))
    # A client whose connection lives is slow, not dead: the 1.x Python SDK reads nothing while its model thinks, and
    # most programs on it do not come back once their session is gone. The kernel finds dead peers, see `listener`; this
    # bounds what is neither: a client that is connected but does not respond, or one that died behind a proxy that has
    # not noticed.
    silence_timeout: float = attrs.field(default=300.0, validator=gt(0))
    handshake_timeout: float = attrs.field(default=30.0, validator=gt(0))
    reconnect_patience: float = attrs.field(default=1.0, validator=gt(0))
    # The SDK's own server waits as long; a client without a stream gives no other sign that it is still there.
    idle_timeout: float = attrs.field(default=1800.0, validator=gt(0))
    # Far beyond all tries of the SDKs, which give up after some seconds. The 404 that its client gets then is what has
    # it begin anew, and be there for calls again; with a session kept for long it would never come back.
    stream_patience: float = attrs.field(default=60.0, validator=gt(0))
    body_patience: float = attrs.field(default=20.0, validator=gt(0))


class Source(Protocol):
    """The source of a stream's bytes: the `Outbox` of a session, or the `Exchange` of a request."""

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        ...

    async def take(self) -> bytes:
        """Wait for bytes and return them, or nothing once it is closed. Cancelling loses none."""
        ...


async def write_events(source: Source, send: Send, comment_interval: float) -> None:
    """Send what the source yields until it is closed, and a comment after each interval of silence."""
    while not source.closed:
        chunk = COMMENT
        with trio.move_on_after(comment_interval):
            chunk = await source.take()
        if chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def ping_while_quiet(session: McpSession, timing: Timing) -> None:
    """Ping a client that is quiet, again and again; return when it has not answered for too long.

    A client that has a turn in hand is not asked: one that handles one request at a time could not answer. It is asked
    soon after a turn was cancelled, because such a client goes on with that one and should get no other meanwhile.
    """
    asked_at = session.heard_at
    while True:
        due = max(session.heard_at, asked_at) + timing.ping_interval
        if session.sampler.free_at > asked_at:
            due = min(due, session.sampler.free_at)
        if trio.current_time() < due:
            with trio.move_on_at(due):
                await session.sampler.wait_for_cancelled_turn()
            continue
        asked_at = trio.current_time()
        if session.busy or await session.answers_ping(timing.ping_timeout):
            continue
        session.fall_silent()
        if trio.current_time() >= max(session.silent_since, session.heard_at) + timing.silence_timeout:
            return
