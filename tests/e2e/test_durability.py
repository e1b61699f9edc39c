"""Nothing is lost: whatever is killed, and whenever, the words of a caller come out at the other end, and only there.

A daemon that was killed is started again in the same directory, on another port, as an operator's service manager does.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import trio
from sqlalchemy import Connection, update

from actors.messages import Reason
from relay.simulator.claude import Behaviour, ClaudeStandIn
from relay.simulator.local_daemon import LocalDaemon, run_local_daemon
from relay.store.schema import messages
from tests.e2e.parties import (
    Access,
    Turn,
    ask,
    calling,
    connected,
    database_of,
    message_left,
    messages_of,
    register,
    stay_silent,
)
from tests.mcp_clients import PYTHON_2, start_client


async def test_killed_before_the_machine_answered(
    tmp_path: Path, machine: dict[str, str], claude: ClaudeStandIn
) -> None:
    """Killed while the answering machine was still thinking, the daemon has the caller's words when it is back."""
    claude.behaviour = Behaviour(delay=60)
    async with run_local_daemon(tmp_path, machine) as daemon:
        agent = await register(daemon)
        async with calling(daemon, agent) as call:
            await call.say("The key is under the mat.")
            await call.next_token()  # the apology: from its first word on the message is durable
            await daemon.kill()
            call.abandon()
    async with run_local_daemon(tmp_path, machine) as daemon, connected(agent, at=daemon) as client:
        (message,) = await client.fetch()
    assert (message["reason"], message["body"]) == ("client_absent", "The key is under the mat.")


async def test_killed_while_a_client_had_the_words(tmp_path: Path) -> None:
    """Killed while a client was thinking, the daemon makes a message of the words when it is back."""
    async with run_local_daemon(tmp_path) as daemon:
        agent = await register(daemon)
        async with start_client(PYTHON_2, agent.sse_url, "--think", "60") as client:
            await client.next("ready")
            async with calling(daemon, agent) as call:
                await call.say("The key is under the mat.")
                await client.next("sampling")
                await daemon.kill()
                call.abandon()
    async with run_local_daemon(tmp_path) as daemon:
        message = await message_left(daemon, agent)
    assert (message.reason, message.body) == (Reason.RELAY_RESTARTED, "The key is under the mat.")


async def test_killed_after_the_answer_leaves_nothing(tmp_path: Path) -> None:
    """Words that were answered a while before the crash are not offered again, and the call's record is closed."""
    async with run_local_daemon(tmp_path) as daemon:
        agent = await register(daemon)
        async with connected(agent), calling(daemon, agent) as call:
            await ask(call, "Hello.")
            await ask(call, "Hello again.")  # stored after the release of the words before, in the same order
        await daemon.kill()
