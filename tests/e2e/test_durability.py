"""Nothing is lost: whatever is killed, and whenever, the words of a caller come out at the other end, and only there.

A daemon that was killed is started again in the same directory, on another port, as an operator's service manager does.
Callers may come back for a second only: what they said becomes a message then, and a test need not wait for a minute.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
import trio
from sqlalchemy import Connection, update

from actors.call_values import Reason
from relay.simulator.carrier.signing import sign
from relay.simulator.claude.stand_in import Behaviour, ClaudeStandIn
from relay.simulator.load.local_daemon import LocalDaemon
from relay.store.call_journal import CallJournal
from relay.store.message_record import HOLD_SECONDS
from relay.store.schema import messages, utc_now
from tests.e2e.parties import (
    Access,
    Turn,
    ask,
    calling,
    calling_until_killed,
    connected,
    database_of,
    message_left,
    messages_of,
    register,
    session_address,
    stay_silent,
    ticket_in,
)
from tests.e2e.three_nodes import kill_all
from tests.forked_process import run_local_daemon
from tests.sids import sid

SOON = {"RELAY_RETURN_SECONDS": "1"}

# ── the daemon dies ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.both_engines
@pytest.mark.slow
async def test_killed_before_the_machine_answered(
    tmp_path: Path, machine: dict[str, str], claude: ClaudeStandIn
) -> None:
    """Killed while the answering machine was still thinking, the daemon has the caller's words when it is back."""
    claude.behaviour = Behaviour(delay=60)
    async with run_local_daemon(tmp_path, machine) as daemon:
        agent = await register(daemon)
        async with calling_until_killed(daemon, agent) as call:
            await call.say("The key is under the mat.")
            await call.next_token()  # the apology: from its first word on the message is durable
            await kill_all(daemon)
    async with run_local_daemon(tmp_path, machine) as daemon, connected(agent, at=daemon) as client:
        (message,) = await client.fetch()
    assert (message["reason"], message["body"]) == ("client_absent", "The key is under the mat.")


@pytest.mark.both_engines
@pytest.mark.slow
async def test_killed_while_a_client_had_the_utterance(tmp_path: Path) -> None:
    """Killed while a client was thinking, the daemon makes a message of these words, not of those answered before."""
    both_asked = trio.Event()

    async def answer_once(turn: Turn) -> str:
        if turn.words == "Is anybody in?":
            return "Yes."
        both_asked.set()
        return await stay_silent(turn)

    async with run_local_daemon(tmp_path, SOON) as daemon:
        agent = await register(daemon)
        async with connected(agent, answer_once), calling_until_killed(daemon, agent) as call:
            await ask(call, "Is anybody in?")
            await call.say("The key is under the mat.")
            await both_asked.wait()
            await trio.sleep(0.3)  # letting go of answered words is durable a tenth of a second later
            await kill_all(daemon)
    async with run_local_daemon(tmp_path, SOON) as daemon:
        message = await message_left(daemon, agent)
        async with database_of(daemon) as database:
            record = await CallJournal(database).get(call.call_sid)
    assert (message.reason, message.body) == (Reason.RELAY_RESTARTED, "The key is under the mat.")
    assert record is not None
    assert record.outcome == "relay_restarted"


# ── the client dies ─────────────────────────────────────────────────────────────────────────────────────────────────


async def leave_a_message(daemon: LocalDaemon, agent: Access, words: str) -> None:
    """Call an agent whose client is away, and say something."""
    async with calling(daemon, agent) as call:
        await ask(call, words)


async def end_the_holds(daemon: LocalDaemon, agent: Access) -> None:
    """Put a minute into the past: what was fetched is offered again from now on."""

    def work(connection: Connection) -> None:
        past = utc_now() - timedelta(seconds=1)
        connection.execute(update(messages).where(messages.c.agent_id == agent.agent_id).values(held_until=past))

    async with database_of(daemon) as database:
        await database.write(work)


@pytest.mark.both_engines
async def test_a_client_that_dies_before_confirming_gets_it_again(daemon: LocalDaemon, agent: Access) -> None:
    """What a client fetched and never confirmed is held for a minute, and then offered to the next one."""
    await leave_a_message(daemon, agent, "The key is under the mat.")
    async with connected(agent) as client:
        (first,) = await client.fetch()
    (held,) = await messages_of(daemon, agent)
    async with connected(agent) as client:
        assert await client.fetch() == []
        await end_the_holds(daemon, agent)
        (again,) = await client.fetch()
    assert held.status == "held"
    assert HOLD_SECONDS == 60
    assert (again["id"], again["body"], again["deliveries"]) == (first["id"], first["body"], 2)


async def test_what_was_confirmed_never_comes_back(daemon: LocalDaemon, agent: Access) -> None:
    """A confirmed message is offered to no client any more, however often and late it is asked for."""
    await leave_a_message(daemon, agent, "The key is under the mat.")
    async with connected(agent) as client:
        (message,) = await client.fetch()
        done = await client.tool("comms_acknowledge_messages", ids=[message["id"]])
        await end_the_holds(daemon, agent)
        assert await client.fetch() == []
    assert done == {"acknowledged": [message["id"]], "unknown": []}
    async with connected(agent) as client:
        assert await client.fetch() == []


async def test_what_is_said_after_a_fetch_is_a_message_of_its_own(daemon: LocalDaemon, agent: Access) -> None:
    """Words that the caller adds after a client was shown the message come as a second one, and none comes twice."""
    async with calling(daemon, agent) as call:
        await ask(call, "The key is under the mat.")
        async with connected(agent) as client:
            (first,) = await client.fetch()
            await ask(call, "And the cat is hungry.")
            (second,) = await client.fetch()
    assert first["id"] != second["id"]
    assert "the cat is hungry" in second["body"]


# ── what must not be kept ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.both_engines
async def test_logs_hold_no_secrets(tmp_path: Path, machine: dict[str, str]) -> None:
    """After calls on all paths, a crash and refused strangers, the log has no number, no words, no token, no ticket."""
    private = ["xylophone", "quagmire", "zeppelin"]
    settings = machine | {"RELAY_CLIENT_TIMEOUT": "0.5"}
    caller = "+15557654321"
    async with run_local_daemon(tmp_path, settings) as daemon:
        agent = await register(daemon, system_prompt="zeppelin")
        private += [daemon.token, agent.token, caller[1:], "15550100002"]
        async with calling(daemon, agent, caller=caller) as call:
            await ask(call, "It is about the xylophone. Call me after 8.")
            await call.send_raw('{"type": "prompt", "quagmire": "quagmire"}')
            await call.send_raw("quagmire")
        async with connected(agent, stay_silent) as client, calling(daemon, agent, caller=caller) as call:
            await client.fetch()
            await ask(call, "xylophone?")
        private.append(ticket_in(call.twiml))
        async with session_address(daemon, agent) as address, httpx2.AsyncClient(base_url=daemon.url) as http:
            private.append(address.partition("session_id=")[2])
            await http.post(address, content=b'{"quagmire": 1}')
            await http.get("/sse?token=quagmire")
            await http.post(f"/webhooks/{agent.agent_id}/voice", data={"From": caller, "CallSid": sid()})
        async with calling_until_killed(daemon, agent) as call:
            await call.say("xylophone!")
            await call.next_token()
            await daemon.kill()
    log = all_logs(tmp_path)
    assert len(log.splitlines()) > 10
    assert [each for each in private if each in log] == []


def all_logs(directory: Path) -> str:
    return "".join(each.read_text() for each in directory.rglob("daemon.log"))


# ── what was over stays over ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
async def test_a_call_that_has_ended_stays_ended(tmp_path: Path) -> None:
    """Its first webhook, sent again after the end and after a restart, connects nothing and opens no second record."""
    settings = {"TWILIO_AUTH_TOKEN": "0" * 32, "RELAY_DRAIN_SECONDS": "1"}
    async with run_local_daemon(tmp_path, settings) as daemon:
        agent = await register(daemon)
        async with calling(daemon, agent) as call:
            await ask(call, "Is anybody in?")
            await call.hang_up()
            await call.wait_ended()
        assert "<Connect" not in await again(daemon, agent, call.call_sid)
    async with run_local_daemon(tmp_path, settings) as daemon:
        for _ in range(2):
            assert "<Connect" not in await again(daemon, agent, call.call_sid)
        assert "<Connect" in await again(daemon, agent, "CA" + "5" * 32)
        async with database_of(daemon) as database:
            record = await CallJournal(database).get(call.call_sid)
            assert len(await CallJournal(database).list_calls(agent.agent_id)) == 2
    assert record is not None
    assert record.state == "ended"


async def again(daemon: LocalDaemon, agent: Access, call_sid: str) -> str:
    """Send a call's first webhook, as the carrier or whoever has recorded it does; return the TwiML."""
    url = f"{daemon.url}/webhooks/{agent.agent_id}/voice"
    fields = {"CallSid": call_sid, "CallStatus": "ringing", "From": "+14155550101", "To": "+14155550102"}
    async with httpx2.AsyncClient() as http:
        answer = await http.post(url, data=fields, headers={"X-Twilio-Signature": sign(daemon.token, url, fields)})
    assert answer.status_code == 200
    return answer.text
