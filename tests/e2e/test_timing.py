"""How long a caller waits: for a silent client exactly as long as the settings say, for an absent one not at all.

The upper bounds leave room for a busy machine; what the relay itself needs is some milliseconds.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from actors.call_values import Reason
from relay.simulator.claude.stand_in import Behaviour, ClaudeStandIn
from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.conftest import IMPATIENCE
from tests.e2e.parties import Access, Turn, ask, calling, connected, message_left, register, stay_silent
from tests.forked_process import run_local_daemon
from tests.limits import HANGING
from tests.mcp_clients import PYTHON_2, start_client

DEFAULT_TIMEOUT = 8.0
LATE = 2.0
"""Seconds by which something may be late on a busy machine."""


@pytest.mark.slow
async def test_a_silent_client_has_eight_seconds(daemon: LocalDaemon, agent: Access) -> None:
    """By default the answering machine speaks eight seconds after the caller, and the client is told to stop.

    Until then the caller is told twice to wait.
    """
    async with connected(agent, stay_silent) as client, calling(daemon, agent) as call:
        asked = trio.current_time()
        await call.say("Hello?")
        waited = [(await call.next_token()).at - asked for _ in range(3)]
        with trio.fail_after(HANGING):
            assert (await client.withdrawn.receive()).words == "Hello?"
    late = [seconds - due for seconds, due in zip(waited, (2.5, 5, DEFAULT_TIMEOUT), strict=True)]
    assert all(0 <= each < LATE for each in late), late
    assert (await message_left(daemon, agent)).reason is Reason.CLIENT_TIMEOUT


async def test_a_slow_client_is_excused(daemon: LocalDaemon, agent: Access) -> None:
    """A caller who has waited for some seconds is told so once, and then hears the answer."""

    async def think(turn: Turn) -> str:
        await trio.sleep(3)
        return f"You said: {turn.words}"

    async with connected(agent, think), calling(daemon, agent) as call:
        assert await ask(call, "Hello?") == "You said: Hello?"
        await call.quiet()
        greeting, *heard = call.heard
    assert greeting == "Hello, how can I help you today?"
    assert heard == ["One moment, please.", "You said: Hello?"]


async def test_the_setting_says_how_long_a_client_has(hasty_daemon: LocalDaemon) -> None:
    """RELAY_CLIENT_TIMEOUT is how long a caller waits for a silent client."""
    agent = await register(hasty_daemon)
    async with connected(agent, stay_silent), calling(hasty_daemon, agent) as call:
        asked = trio.current_time()
        await call.say("Hello?")
        heard = await call.hear()
    assert IMPATIENCE <= heard.began - asked < IMPATIENCE + LATE
    assert "May I take a message" in heard.text


async def test_a_client_that_falls_silent_is_waited_for_anew(hasty_daemon: LocalDaemon) -> None:
    """Each piece gives the client the whole time again; then the machine goes on in the same breath."""

    async def falter(turn: Turn) -> str:
        await trio.sleep(IMPATIENCE / 2)
        await turn.say(1, "Let me see. ")
        return await stay_silent(turn)

    agent = await register(hasty_daemon)
    async with connected(agent, falter), calling(hasty_daemon, agent) as call:
        asked = trio.current_time()
        await call.say("Hello?")
        first = await call.next_token()
        second = await call.next_token()
    assert (first.text.strip(), second.text.strip()[:9]) == ("Let me see.", "I'm sorry")
    assert second.at - asked >= IMPATIENCE * 1.5


async def test_without_a_client_nobody_waits(daemon: LocalDaemon, agent: Access) -> None:
    """A caller of an agent whose client is away hears the answering machine at once."""
    async with calling(daemon, agent) as call:
        asked = trio.current_time()
        await call.say("Hello?")
        assert (await call.next_token()).at - asked < LATE


async def test_the_apology_does_not_wait_for_the_model(
    daemon: LocalDaemon, agent: Access, claude: ClaudeStandIn
) -> None:
    """The answering machine's first words are heard while Claude is still thinking about the next ones."""
    claude.behaviour = Behaviour(delay=5.0)
    async with calling(daemon, agent) as call:
        asked = trio.current_time()
        await call.say("Hello?")
        assert (await call.next_token()).at - asked < LATE


async def test_a_killed_client_is_not_waited_for(daemon: LocalDaemon, agent: Access) -> None:
    """When the client's process dies with a turn in hand, the machine speaks at once."""
    async with start_client(PYTHON_2, agent.sse_url, "--think", "60") as client:
        await client.next("ready")
        async with calling(daemon, agent) as call:
            await call.say("The parcel is here.")
            await client.next("sampling")
            client.kill()
            killed = trio.current_time()
            assert (await call.next_token()).at - killed < LATE
    message = await message_left(daemon, agent)
    assert (message.reason, message.body) == (Reason.CLIENT_LEFT, "The parcel is here.")


async def test_a_client_that_comes_back_in_time_answers(daemon: LocalDaemon, agent: Access) -> None:
    """A caller who speaks just after the client was lost is answered by it when it is back within the limit."""
    async with connected(agent):
        pass
    async with calling(daemon, agent) as call:
        await call.say("Are you there?")
        async with connected(agent):
            assert (await call.hear()).text == "You said: Are you there?"


async def test_the_settings_say_how_a_silent_caller_is_asked(tmp_path: Path) -> None:
    """RELAY_SILENCE_SECONDS and RELAY_SILENCE_QUESTIONS: one question, then a goodbye, and the relay hangs up."""
    settings = {"RELAY_SILENCE_SECONDS": "0.3", "RELAY_SILENCE_QUESTIONS": "1", "DEFAULT_VOICE_GREETING": "Yes?"}
    async with run_local_daemon(tmp_path, settings) as daemon:
        agent = await register(daemon)
        async with connected(agent), calling(daemon, agent) as call:
            await call.wait_ended()
    assert call.heard == ("Yes?", "Are you still there?", "I can't hear you, so I will hang up now. Goodbye.")
