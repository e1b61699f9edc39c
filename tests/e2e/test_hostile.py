"""Whatever a stranger or a broken carrier sends: the daemon lives, and another call notices nothing.

In each test a well-behaved call converses all the while; each of its answers must be the one to its own last words.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import pytest
import trio

from relay.simulator.carrier.signing import sign
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.parties import Access, ask, calling, carrier_of, connected, metrics
from tests.hostile_inputs import MALFORMED_FRAMES, RAW_INPUTS, throw

PATIENCE = 20.0
"""Seconds that another caller waits for an answer, at most; a daemon that hangs is one that fails."""

LONGEST_MESSAGE = 64 * 1024

CRASHES = {"call_crashed", "handler_failed"}
"""What is logged when an error got further than the firewall of its own connection, or into a call."""


@attrs.define
class Bystander:
    """A call that goes on, with all answers in their order."""

    call: SimulatedCall
    said: int = 0

    async def converse(self, while_: str) -> None:
        """Say the next thing and hear the answer to it; `while_` tells what else happens, should that fail."""
        self.said += 1
        words = f"Line {self.said}."
        answer = ""
        with trio.move_on_after(PATIENCE):
            answer = await ask(self.call, words)
        assert answer == f"You said: {words}", f"during {while_}"


@pytest.fixture
async def bystander(daemon: LocalDaemon, agent: Access) -> AsyncIterator[Bystander]:
    """Keep a call going with a client that repeats what it hears, on one line from its beginning to its end."""
    async with connected(agent), calling(daemon, agent) as call:
        yield Bystander(call)
        assert len(call.sessions) == 1
    assert call.outcomes[-1].status == "completed"


async def crashes(daemon: LocalDaemon) -> list[str]:
    """Name the errors in the daemon's log that should not have happened."""
    return [each["event"] for each in await daemon.events() if each["event"] in CRASHES]


async def test_raw_inputs_do_no_harm(daemon: LocalDaemon, agent: Access, bystander: Bystander) -> None:
    """While a stranger sends each of the raw inputs to the voice socket, signed, another call goes on unharmed."""
    host, _, port = daemon.url.removeprefix("http://").partition(":")
    path = f"/webhooks/{agent.agent_id}/voice-ws"
    signature = sign(daemon.token, f"ws://{host}:{port}{path}").encode()
    before = await crashes(daemon)
    for hostile in RAW_INPUTS:
        stream = await throw(hostile, host, int(port), path=path, headers={b"X-Twilio-Signature": signature})
        async with stream:
            await bystander.converse(f"{hostile.name}, while connected")
        await bystander.converse(f"{hostile.name}, after it left")
    assert await crashes(daemon) == before


async def test_raw_inputs_to_the_clients_door_do_no_harm(daemon: LocalDaemon, bystander: Bystander) -> None:
    """The raw inputs at the path of the MCP clients, all connected at once, do not touch a call either."""
    host, _, port = daemon.url.removeprefix("http://").partition(":")
    async with trio.open_nursery() as nursery:

        async def attack(number: int) -> None:
            async with await throw(RAW_INPUTS[number], host, int(port), path="/sse"):
                await trio.sleep_forever()

        for number in range(len(RAW_INPUTS)):
            nursery.start_soon(attack, number)
        for _ in range(50):
            await bystander.converse("all raw inputs at once")
        nursery.cancel_scope.cancel("the attack is over")
    await bystander.converse("the end of the attack")


async def test_malformed_frames_harm_only_their_own_call(
    daemon: LocalDaemon, agent: Access, bystander: Bystander
) -> None:
    """Each malformed frame, sent in a call of its own, leaves another call alone; that call ends in order."""
    before = await crashes(daemon)
    async with carrier_of(daemon) as carrier:
        for frame in MALFORMED_FRAMES:
            async with carrier.call(agent.agent_id) as call:
                await call.send_raw(frame.payload)
                await bystander.converse(f"the frame: {frame.name}")
            # What is too big to be read closes the socket; all else is no reason to.
            assert call.outcomes[0].status == ("failed" if len(frame.payload) > LONGEST_MESSAGE else "completed")
    assert await crashes(daemon) == before
    assert (await metrics(daemon))["relay_live_calls"] == 1


async def test_a_call_survives_malformed_frames(daemon: LocalDaemon, agent: Access, bystander: Bystander) -> None:
    """A call in which some frames are rubbish goes on: what is said between them is answered."""
    async with calling(daemon, agent) as call:
        for number in range(30):
            await call.send_raw(b"\x00\xff")
            await call.send_raw('{"type": "no such type"}')
            assert await ask(call, f"Number {number}.") == f"You said: Number {number}."
            await bystander.converse("rubbish in another call")
    assert call.malformed == 0


async def test_ten_bad_frames_in_a_row_end_the_call(daemon: LocalDaemon, agent: Access, bystander: Bystander) -> None:
    """The tenth bad frame in a row is the last: the relay ends the session in order."""
    async with calling(daemon, agent) as call:
        for _ in range(9):
            await call.send_raw("rubbish")
        assert await ask(call, "Still there?") == "You said: Still there?"
        await call.quiet()  # the carrier's own frames about what was played would end the row
        for _ in range(10):
            await call.send_raw("rubbish")
        await call.wait_ended()
    assert call.outcomes[-1].status == "ended"
    await bystander.converse("the end of the other call")


@pytest.mark.parametrize(
    "message",
    [
        pytest.param('{"type": "prompt", "voicePrompt": "' + "x" * 10_000_000 + '", "last": true}', id="text"),
        pytest.param(bytes(10_000_000), id="binary"),
    ],
)
async def test_ten_megabytes_cost_only_their_own_line(
    daemon: LocalDaemon, agent: Access, bystander: Bystander, message: str | bytes
) -> None:
    """A message of ten megabytes closes its socket; the call goes on over a new one, and others notice nothing."""
    async with calling(daemon, agent) as call:
        await call.send_raw(message)
        with trio.fail_after(PATIENCE):
            while len(call.sessions) < 2:
                await bystander.converse("ten megabytes in another call")
        assert await ask(call, "Still there?") == "You said: Still there?"
    assert call.outcomes[0].close_code in {1009, 1006}
