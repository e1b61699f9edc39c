"""A session over Streamable HTTP is kept as long as somebody may come back to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest
import trio
import trio.testing
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types import JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from actors.clients import Presence
from actors.turn_queue import TurnQueues
from relay.agent import Agent
from relay.http.asgi import Head
from relay.mcp.transports.event_stream import Timing
from relay.mcp.transports.http_session import HttpSession, RequestIdInUseError
from tests.relay.mcp.mcp_relay import NOW, no_calls

TIMING = Timing(handshake_timeout=30, stream_patience=60, idle_timeout=1800)


@pytest.fixture
async def session() -> AsyncIterator[HttpSession]:
    """A session of anna that has just begun, with nobody to serve it."""
    agent = Agent(agent_id="anna", created_at=NOW)
    session = HttpSession(agent=agent, queues=TurnQueues(Presence(grace=0), no_calls()), token_digest=b"")
    yield session
    session.close("test")


def request(request_id: int | str) -> JSONRPCRequest:
    return JSONRPCRequest(jsonrpc="2.0", id=request_id, method="ping")


async def test_session_without_a_handshake_expires_first(
    session: HttpSession, autojump_clock: trio.testing.MockClock
) -> None:
    """Who begins a session and does not get ready keeps it for the length of a handshake."""
    await trio.sleep(29)
    assert session.expired(TIMING) is None
    await trio.sleep(1)
    assert session.expired(TIMING) == "no_handshake"


async def test_session_without_a_stream_is_kept_long(
    session: HttpSession, autojump_clock: trio.testing.MockClock
) -> None:
    """A client that only calls tools may be silent for half an hour; using the session begins the time anew."""
    session.become_ready()
    await trio.sleep(1700)
    with session.used(Head({"method": "POST", "headers": []})):
        await trio.sleep(5000)
        assert session.expired(TIMING) is None
    await trio.sleep(1799)
    assert session.expired(TIMING) is None
    await trio.sleep(1)
    assert session.expired(TIMING) == "idle"


async def test_closed_session_opens_no_stream(session: HttpSession) -> None:
    """A stream that comes too late ends at once; closing twice is closing once."""
    session.close("test")
    session.close("again")
    assert session.attach().closed
    assert not session.reachable


async def test_request_that_comes_too_late_is_not_waited_for(session: HttpSession) -> None:
    """A session that closes while a request's body is read leaves it without an answer, but not without an end."""
    session.close("test")
    exchange = session.begin_exchange([request(1)], is_batch=False)
    assert exchange.closed


async def test_end_of_a_former_stream_does_not_end_the_present_one(session: HttpSession) -> None:
    """A stream that was replaced may take its time to end."""
    former = session.attach()
    present = session.attach()
    assert former.closed
    session.detach(former)
    assert session.reachable
    session.detach(present)
    assert not session.reachable


async def test_ids_are_compared_as_the_dispatcher_does(session: HttpSession) -> None:
    """A number and the same number in quotes are one id, and both are free again when the exchange is over."""
    exchange = session.begin_exchange([request(1), request("a")], is_batch=True)
    for taken in (1, "1", "a"):
        with pytest.raises(RequestIdInUseError):
            session.begin_exchange([request(taken)], is_batch=False)
    session.end_exchange(exchange)
    assert session.exchange_of(1) is None
    session.begin_exchange([request("1")], is_batch=False)


async def test_messages_find_their_way(session: HttpSession) -> None:
    """Answers and what belongs to a request go to its exchange, all else to the stream, and nothing to nobody."""
    way = session._message_sink()
    about_seven = ServerMessageMetadata(related_request_id=7)
    note = JSONRPCNotification(jsonrpc="2.0", method="note")
    answer = JSONRPCResponse(jsonrpc="2.0", id=7, result={})
    await way.send(SessionMessage(answer))  # nobody waits for it
    await way.send(SessionMessage(note, metadata=about_seven))
    for lost in (SessionMessage(note), SessionMessage(request(9)), SessionMessage(request(9), metadata=about_seven)):
        with pytest.raises(anyio.ClosedResourceError):
            await way.send(lost)
    exchange = session.begin_exchange([request(7)], is_batch=False)
    outbox = session.attach()
    await way.send(SessionMessage(request(9)))
    await way.send(SessionMessage(note, metadata=about_seven))
    await way.send(SessionMessage(answer))
    assert b'"id":9' in await outbox.take()
    assert (await exchange.take()).count(b"event: message") == 2
