"""Calls that move: to their next session, or to the next process of a daemon that is restarted; nobody hears of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from actors.events import MoveRequested
from relay.daemon.leaving import MOVE_SECONDS
from relay.simulator.carrier.exchange import Carrier, open_carrier
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.local_daemon import ACCOUNT, LocalDaemon
from tests.e2e.calling_out import free_port
from tests.e2e.parties import ask, calling, connected, messages_of, register
from tests.e2e.relay_here import run_relay_here
from tests.e2e.test_shutdown import begin_to_stop
from tests.forked_process import run_local_daemon

HANDOFF = '{"moving":true}'


@asynccontextmanager
async def patient_proxy(port: int) -> AsyncIterator[str]:
    """Bring connections to a port of this machine as soon as somebody listens there; return the proxy's origin.

    So a balancer is set up that tries again while a daemon is restarted. What a daemon took that was killed before it
    answered anything goes to the next one.
    """

    async def serve(near: trio.SocketStream) -> None:
        await _PassedOn(near, port).run()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel("the test is over")


@attrs.define(eq=False)
class _PassedOn:
    """A connection of the carrier, which sends one request at a time; it outlasts the daemons that answer on it."""

    near: trio.SocketStream
    port: int
    # What nobody has answered yet.
    unanswered: bytearray = attrs.field(factory=bytearray, init=False)
    is_socket: bool = attrs.field(default=False, init=False)

    async def run(self) -> None:
        while not self.is_socket:
            if not self.unanswered:
                self.unanswered.extend(await self._receive())
                if not self.unanswered:
                    return
            async with await self._connect() as far, trio.open_nursery() as nursery:
                with suppress(trio.BrokenResourceError):
                    await far.send_all(self.unanswered)
                    nursery.start_soon(self._send, far, nursery.cancel_scope)
                    async for chunk in far:
                        self.is_socket |= chunk.startswith(b"HTTP/1.1 101 ")
                        self.unanswered.clear()
                        await self.near.send_all(chunk)
                nursery.cancel_scope.cancel("the daemon is gone")

    async def _connect(self) -> trio.SocketStream:
        while True:
            try:
                return await trio.open_tcp_stream("127.0.0.1", self.port)
            except OSError:
                await trio.sleep(0.05)

    async def _receive(self) -> bytes:
        with suppress(trio.BrokenResourceError):
            return bytes(await self.near.receive_some())
        return b""

    async def _send(self, far: trio.SocketStream, scope: trio.CancelScope) -> None:
        while chunk := await self._receive():
            self.unanswered.extend(chunk)
            with suppress(trio.BrokenResourceError):  # what reads from it finds that it is gone
                await far.send_all(chunk)
        scope.cancel("the carrier is gone")


@attrs.frozen
class Deployment:
    """One daemon after another on one database and one address, and the carrier that reaches them by it."""

    directory: Path
    port: int
    origin: str
    carrier: Carrier

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[LocalDaemon]:
        """Run a daemon that hands its calls over as soon as it is told to stop."""
        async with run_local_daemon(self.directory, settings(self.origin), port=self.port) as daemon:
            yield daemon


def settings(origin: str) -> dict[str, str]:
    return {
        "PUBLIC_URL": origin,
        "TWILIO_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
        "RELAY_DRAIN": "handover",
        "RELAY_DRAIN_SECONDS": "0",
    }


@asynccontextmanager
async def deployed(directory: Path) -> AsyncIterator[Deployment]:
    """Open the address and the carrier, without a daemon yet."""
    port = free_port()
    async with (
        patient_proxy(port) as origin,
        open_carrier(ACCOUNT, settings(origin)["TWILIO_AUTH_TOKEN"], origin) as carrier,
    ):
        yield Deployment(directory, port, origin, carrier)


def assert_moved(call: SimulatedCall) -> None:
    """Check that the call went from its first session to its second in silence, and that none counts as lost."""
    assert (call.outcomes[0].status, call.outcomes[0].handoff) == ("ended", HANDOFF)
    assert len(call.sessions) == 2
    assert call.greeting == ""
    assert "voice-ended?attempt=1&amp;lost=0#" in call.documents[-2]
    assert not [line for line in call.heard if "sorry" in line]


async def test_a_call_moves_to_its_next_session_in_the_wait_for_the_answer(tmp_path: Path) -> None:
    """The caller speaks, and is answered in the next session, which has the whole conversation; nobody notices.

    The process that is asked how the call goes on is the one that it was in.
    """
    async with run_relay_here(tmp_path) as here:
        agent = await register(here)
        async with connected(agent) as client, calling(here, agent) as call:
            assert await ask(call, "One.") == "You said: One."
            (session,) = here.relay.calls.live()
            session.inbox.post(MoveRequested(HANDOFF))
            assert await ask(call, "Two.") == "You said: Two."
        first, second = await client.asked.receive(), await client.asked.receive()
        messages = await messages_of(here, agent)
    assert_moved(call)
    assert second.history == [*first.history, ("assistant", "You said: One."), ("user", "Two.")]
    assert messages == ()


@pytest.mark.one_daemon("a call is held for the next process only where there is no other node that takes it at once")
async def test_a_call_goes_on_in_the_next_process(tmp_path: Path) -> None:
    """The caller speaks, is held in silence while the daemon is restarted, and is answered by the next one.

    The old daemon ends at once. The next one knows what was said, and answers what the caller had just said first.
    """
    async with deployed(tmp_path) as there, AsyncExitStack() as stack:
        first = await stack.enter_async_context(there.daemon())
        agent = await register(first)
        call = await stack.enter_async_context(there.carrier.call(agent.agent_id))
        async with connected(agent) as client:
            assert await ask(call, "One.") == "You said: One."
            before = await client.asked.receive()
            await begin_to_stop(first)
            await call.say("Two.")
            assert await first.process.wait() == 0
        assert [event["holds"] for event in await first.events("call_held")] == [1]
        async with there.daemon() as second, connected(agent, at=second) as next_client:
            assert (await call.hear()).text == "You said: Two."
            after = await next_client.asked.receive()
            assert await ask(call, "Three.") == "You said: Three."
            await call.hang_up()
            await call.wait_ended()
        assert_moved(call)
        assert after.history == [*before.history, ("assistant", "You said: One."), ("user", "Two.")]
        assert await messages_of(first, agent) == ()


@pytest.mark.one_daemon("a node has no more than its drain time for calls to move, and no call is held there")
async def test_who_says_nothing_moves_at_the_end(tmp_path: Path) -> None:
    """A silent call is waited for some seconds; one whose caller has spoken is held until the next process takes it."""
    async with deployed(tmp_path) as there, AsyncExitStack() as stack:
        first = await stack.enter_async_context(there.daemon())
        agent = await register(first)
        talking = await stack.enter_async_context(there.carrier.call(agent.agent_id))
        silent = await stack.enter_async_context(there.carrier.call(agent.agent_id))
        async with connected(agent):
            assert await ask(silent, "One.") == "You said: One."
            await begin_to_stop(first)
            stopped = trio.current_time()
            await talking.say("Two.")
            await talking.until(lambda: talking.outcomes)
            assert silent.is_connected
            await silent.until(lambda: silent.outcomes)
            assert trio.current_time() - stopped > MOVE_SECONDS - 1
            assert await first.process.wait() == 0
        async with there.daemon() as second, connected(agent, at=second):
            assert (await talking.hear()).text == "You said: Two."
            for call in (talking, silent):
                assert await ask(call, "Are you there?") == "You said: Are you there?"
                await call.hang_up()
                await call.wait_ended()
                assert_moved(call)
