"""A WebSocket that another node serves: the upgrade is passed on, and then bytes both ways.

    asker ──▶ upgrade ──▶ node ──▶ 101 ──▶ asker            and then        asker ◀══ bytes ══▶ node

The frames are read and checked at the node alone. What one side does not take the other is not asked for; a half that
one side ends is ended towards the other, and the rest may come for a moment; a side that is gone takes the other one
with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import structlog
import trio

from relay.cluster.forwarding import ANSWER_SECONDS, Outcome, connect
from relay.cluster.node_answer import SWITCHING, BrokenAnswerError, NodeAnswer, find_answer
from relay.cluster.node_connections import NodeConnections, NodeSocket
from relay.cluster.passed_request import encode_request
from relay.http.asgi import HAND_OVER, Scope, Send
from relay.http.peer_socket import PeerSocket

log = structlog.get_logger(__name__)

REST_SECONDS = 5.0
"""For what one side has still to say when the other has ended: a Close frame, which is answered at once."""
_LONGEST_REFUSAL = 65_536


@attrs.define(eq=False)
class Tunnels:
    """Pass upgrades on to other nodes. `name` is that of this node."""

    name: str
    connections: NodeConnections

    async def run(
        self,
        url: str,
        scope: Scope,
        send: Send,
        gives_up: Callable[[], Awaitable[bool]],
        note_status: Callable[[int], None] = lambda _status: None,
    ) -> Outcome:
        """Pass an upgrade on to the node at `url`, and then what either side sends; return when that is over.

        `gives_up` is asked whether no answer will come when there is none in time; `note_status` is called with the
        status of an answer that is relayed. Cancelling closes both connections.
        """
        head = encode_request(scope, self.name, upgrades=True)
        node = await connect(self.connections, url)
        if isinstance(node, Outcome):
            return node
        try:
            await node.send(head)
            opening = _Opening(node)
            while not opening.is_answered:
                with trio.move_on_after(ANSWER_SECONDS) as patience:
                    await opening.read()
                if patience.cancelled_caught and await gives_up():
                    return Outcome.SILENT
            return await self._relay(opening, scope, send, note_status)
        except (trio.BrokenResourceError, BrokenAnswerError):
            return Outcome.LOST
        finally:
            node.close()

    async def _relay(self, opening: _Opening, scope: Scope, send: Send, note_status: Callable[[int], None]) -> Outcome:
        answer = opening.answer
        if answer is None:
            return Outcome.LOST
        if answer.is_misdirected:
            return Outcome.MISDIRECTED
        note_status(answer.status)
        if answer.status != SWITCHING:
            body = await opening.read_refusal(answer)
            start = {"type": "websocket.http.response.start", "status": answer.status, "headers": answer.headers}
            await send(start)
            await send({"type": "websocket.http.response.body", "body": body})
            return Outcome.ANSWERED
        asker: PeerSocket | None = scope["extensions"][HAND_OVER]()
        if asker is not None:
            try:
                await _carry_both(asker, opening.node, answer.raw_head + opening.unread)
            finally:
                asker.close()
        return Outcome.ANSWERED


@attrs.define(eq=False)
class _Opening:
    """The answer of a node to an upgrade, while it comes."""

    node: NodeSocket
    answer: NodeAnswer | None = None
    unread: bytes = b""
    is_answered: bool = False

    async def read(self) -> None:
        """Read the head of the answer, or find that there will be none. Cancelling loses nothing.

        Raises `BrokenAnswerError`.
        """
        while self.answer is None:
            if not (data := await self.node.receive()):
                break
            self.answer, self.unread = find_answer(self.unread + data, "GET")
        self.is_answered = True

    async def read_refusal(self, answer: NodeAnswer) -> bytes:
        """Read the body of an answer that is none of an upgrade, as far as it comes, within bounds."""
        body = answer.take(self.unread)
        while answer.left and len(body) < _LONGEST_REFUSAL and (data := await self.node.receive()):
            body += answer.take(data)
        return body


async def _carry_both(asker: PeerSocket, node: NodeSocket, first: bytes) -> None:
    """Carry bytes both ways, after the `first` of the node, until both have ended or one is gone."""
    async with trio.open_nursery() as nursery:
        scope = nursery.cancel_scope
        nursery.start_soon(_carry, asker, node, scope)
        try:
            await asker.send(first)
        except trio.BrokenResourceError:
            scope.cancel("the asker is gone")
        await _carry(node, asker, scope)


async def _carry(source: NodeSocket, sink: NodeSocket, both: trio.CancelScope) -> None:
    """Carry bytes until the source ends, and end the sink; stop both ways where the sink is gone."""
    try:
        while data := await source.receive():
            await sink.send(data)
    except trio.BrokenResourceError:
        both.cancel("a side is gone")
        return
    sink.end()
    both.deadline = min(both.deadline, trio.current_time() + REST_SECONDS)
