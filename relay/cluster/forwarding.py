"""Requests on their way to another node, and the answers on their way back, as they come.

    asker ──receive──▶ RequestBody ──▶ NodeSocket ──▶ node
      ▲                                                │
      └──send── NodeAnswer ◀───────────────────────────┘

Nothing is read from one side before the other has taken what was read before: so a peer that does not read stops the
one that sends, and nothing piles up in between. A half of a connection that one side ends is ended towards the other;
a side that is gone takes the other one with it. A client's stream is asked for by a request that is complete only when
the client has left: so its home can tell that from a hop that is gone.

There is no limit on how long an answer takes: a stream lasts for hours, and a tool call for minutes. Who asks has
limits of its own, and so has the node. But a stream of events is never silent for long; one that is comes from a node
that cannot be reached from here, and ends, so that its client looks for another way.

A request that was sent may have been performed, whatever became of the connection. It is sent again only if it may be
performed twice; then also over a new connection, because one that was kept may just have been closed.

Most answers come at once. So who asks is watched only after a moment: that saves a task for each of them.
"""

from __future__ import annotations

import enum
import math
from contextlib import suppress

import attrs
import structlog
import trio

from relay.cluster.node_answer import BrokenAnswerError, NodeAnswer, find_answer
from relay.cluster.node_connections import NodeConnections, NodeRefusedError, NodeSocket, NodeUnreachableError
from relay.cluster.passed_request import LAST_CHUNK, PassedRequest, encode_request

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 1.5
"""For the first byte of an answer that comes at once."""
STREAM_SECONDS = 10.0
"""For the next bytes of a stream of events: its node sends a comment every 2.5 seconds, so three are missing and the
fourth is due. With half of that a busy machine cuts live clients off."""
_UNWATCHED_SECONDS = 0.1


class Outcome(enum.Enum):
    """What became of a request that was passed on. Only after `ANSWERED` was something sent to who asks."""

    ANSWERED = enum.auto()
    """The answer was relayed, or as much of it as came."""
    REFUSED = enum.auto()
    """Nobody listens at the node's address: nothing was sent."""
    UNREACHABLE = enum.auto()
    """There was no connection within the time, or no answer: nothing was sent, or only what may be sent again."""
    MISDIRECTED = enum.auto()
    """The node is not the home, and has done nothing."""
    SILENT = enum.auto()
    """The node did not answer, and is dead."""
    LOST = enum.auto()
    """The connection broke before an answer. Whether the request was performed is not known."""
    LEFT = enum.auto()
    """Who asks has left before its request was complete."""


async def connect(connections: NodeConnections, url: str) -> NodeSocket | Outcome:
    """Connect to the node at `url`; return instead what becomes of what was to be passed on, where that fails."""
    try:
        return await connections.connect(url)
    except NodeRefusedError:
        return Outcome.REFUSED
    except NodeUnreachableError:
        return Outcome.UNREACHABLE


@attrs.define(eq=False)
class Forwarder:
    """Pass requests on to other nodes. `name` is that of this node; `connections` are run by the owner of both."""

    name: str
    connections: NodeConnections = attrs.field(factory=NodeConnections)

    async def pass_on(self, url: str, request: PassedRequest) -> Outcome:
        """Pass a request on to the node at `url`, and its answer back; return when that is over.

        Cancelling closes the connection to the node.
        """
        head = encode_request(request.scope, self.name, is_held_open=request.is_held_open)
        node = self.connections.take(url)
        if node is not None:
            outcome = await self._pass(url, node, head, request)
            if outcome is not Outcome.LOST or not (request.may_repeat and request.body.can_repeat):
                return outcome
        made = await connect(self.connections, url)
        return made if isinstance(made, Outcome) else await self._pass(url, made, head, request)

    async def _pass(self, url: str, node: NodeSocket, head: bytes, request: PassedRequest) -> Outcome:
        passing = _Passing(node, request)
        try:
            return await passing.run(head)
        finally:
            if passing.is_done:
                self.connections.keep(url, node)
            else:
                node.close()


@attrs.define(eq=False)
class _Passing:
    """One request on one connection to a node."""

    _node: NodeSocket
    _request: PassedRequest
    _unread: bytes = attrs.field(default=b"", init=False)
    _answer: NodeAnswer | None = attrs.field(default=None, init=False)
    _is_sent: bool = attrs.field(default=False, init=False)
    """Whether the whole request was, but for the end of one that is held open."""
    _has_ended: bool = attrs.field(default=False, init=False)
    """Whether our half of the connection is over."""
    _is_answered: bool = attrs.field(default=False, init=False)
    """Whether the whole answer has come."""
    _has_left: bool = attrs.field(default=False, init=False)
    """Whether the asker has, before its request was complete."""

    @property
    def is_done(self) -> bool:
        """Whether the connection can take another request."""
        answer = self._answer
        is_over = self._is_answered and self._is_sent and not (self._has_ended or self._request.is_held_open)
        return is_over and answer is not None and answer.keeps_alive and not answer.ends_with_connection

    async def run(self, head: bytes) -> Outcome:
        """Send the request, relay the answer, and return what became of both."""
        body = self._request.body
        piece = body.take_now()
        try:
            await self._node.send(head + body.encode(piece) if piece or body.is_whole else head)
        except trio.BrokenResourceError:
            return Outcome.LOST
        if body.is_whole:
            self._is_sent = True
            outcome: Outcome | None = None
            with trio.move_on_after(_UNWATCHED_SECONDS):
                outcome = await self._read_head()
            if outcome is not None:
                return outcome
            if self._answer is not None and len(self._unread) >= self._answer.left:
                return await self._relay(self._answer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_asker, nursery.cancel_scope)
            outcome = await self._follow_node()
            nursery.cancel_scope.cancel("the answer is over")
        return Outcome.LEFT if self._has_left else outcome

    # ── to the node ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _follow_asker(self, passing: trio.CancelScope) -> None:
        """Send what comes of the request; then end the connection, as far as the asker does."""
        body = self._request.body
        try:
            while not body.is_whole:
                piece = await body.receive()
                if piece is None:
                    self._has_left = True
                    passing.cancel("the asker has left")
                    return
                if data := body.encode(piece):
                    await self._node.send(data)
        except trio.BrokenResourceError:
            return  # it may have answered before the end, and closed; what it has said is read
        self._is_sent = True
        await body.wait_left()
        if not self._is_answered:  # else the exchange is over, and nobody has left
            if self._request.is_held_open:
                with suppress(trio.BrokenResourceError):
                    await self._node.send(LAST_CHUNK)
            self._has_ended = True
            self._node.end()

    # ── to the asker ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _follow_node(self) -> Outcome:
        began = trio.current_time()
        while self._answer is None:
            outcome: Outcome | None = None
            with trio.move_on_after(ANSWER_SECONDS) as patience:
                outcome = await self._read_head()
            if outcome is not None:
                return outcome
            gives_up = self._request.gives_up
            if self._is_sent and self._request.is_stream and trio.current_time() - began >= STREAM_SECONDS:
                return Outcome.UNREACHABLE
            if patience.cancelled_caught and self._is_sent and gives_up is not None and await gives_up():
                return Outcome.SILENT
        return await self._relay(self._answer)

    async def _read_head(self) -> Outcome | None:
        """Read the head of the answer; return what became of the request where it is not to be relayed.

        Cancelling loses nothing.
        """
        try:
            while True:
                answer, self._unread = find_answer(self._unread, self._request.scope["method"])
                if answer is not None:
                    break
                data = await self._node.receive()
                if not data:
                    return Outcome.LOST
                self._unread += data
        except BrokenAnswerError as error:
            log.warning("node_answer_broken", why=str(error))
            return Outcome.LOST
        if answer.is_misdirected:
            return Outcome.MISDIRECTED
        self._answer = answer
        return None

    async def _relay(self, answer: NodeAnswer) -> Outcome:
        """Relay the answer. Where the node leaves in the middle it stays incomplete, which the asker is shown."""
        self._request.note_status(answer.status)
        send = self._request.send
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        data, self._unread = self._unread, b""
        silence = STREAM_SECONDS if answer.is_event_stream else math.inf
        try:
            while True:
                piece = answer.take(data)
                self._is_answered = is_last = not answer.left
                if piece or is_last:
                    await send({"type": "http.response.body", "body": piece, "more_body": not is_last})
                if is_last:
                    break
                with trio.move_on_after(silence) as patience:
                    data = await self._node.receive() or b""
                if patience.cancelled_caught:
                    log.warning("node_stream_silent", seconds=silence)
                    break
                if not data:
                    if answer.ends_with_connection:
                        await send({"type": "http.response.body", "body": b"", "more_body": False})
                    break
        except BrokenAnswerError as error:
            log.warning("node_answer_broken", why=str(error))
        return Outcome.ANSWERED
