"""A daemon is killed under its calls, and the next one goes on with them: the carrier asks it, and it knows.

The next one is started on the same database, behind the same address, as an operator's service manager does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from actors.call_values import Reason
from actors.policy import Policy
from relay.simulator.carrier.callee import Answers
from relay.simulator.carrier.exchange import Carrier, open_carrier
from relay.simulator.carrier.rest_service import RestApi, open_rest
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.local_daemon import ACCOUNT, LocalDaemon
from relay.store.call_journal import CallJournal
from tests.e2e.calling_out import CALLEE, OWN_NUMBER, free_port
from tests.e2e.parties import (
    Access,
    Turn,
    ask,
    connected,
    database_of,
    eventually,
    message_left,
    messages_of,
    register,
    repeat,
    stay_silent,
)
from tests.e2e.test_handover import patient_proxy
from tests.forked_process import is_one_of_many, run_local_daemon

CUT_OFF = "I'm sorry, we were cut off. Please go on."
PROMPT = "You are a friendly appointment reminder assistant."
VOICE = "callcallcallcallcall"

pytestmark = [pytest.mark.slow, pytest.mark.both_engines]


@attrs.define
class Runs:
    """The daemon that runs now, and how to kill it and start the next."""

    directory: Path
    port: int
    carrier: Carrier
    rest: RestApi
    daemon: LocalDaemon
    _settings: dict[str, str]

    @asynccontextmanager
    async def next_run(self) -> AsyncIterator[LocalDaemon]:
        """Kill the daemon, and run the next one for the length of the block."""
        await self.daemon.kill()
        async with run_local_daemon(self.directory, self._settings, port=self.port) as daemon:
            yield daemon

    @asynccontextmanager
    async def calling(self, agent: Access) -> AsyncIterator[SimulatedCall]:
        """Call an agent; the caller hangs up at the end of the block."""
        async with self.carrier.call(agent.agent_id) as call:
            yield call


@asynccontextmanager
async def first_run(directory: Path, **settings: str) -> AsyncIterator[Runs]:
    """Run a daemon behind a proxy that tries again, with a carrier that knows only the proxy."""
    port, rest_port = free_port(), free_port()
    async with patient_proxy(port) as origin:
        given = {
            "PUBLIC_URL": origin,
            "TWILIO_API_BASE_URL": f"http://127.0.0.1:{rest_port}",
            "RELAY_ALLOW_UNASSIGNED_NUMBERS": "true",
            "RELAY_CALLING_HOURS": "00:00-24:00",
            **settings,
        }
        async with (
            run_local_daemon(directory, given, port=port) as daemon,
            open_carrier(ACCOUNT, daemon.token, origin) as carrier,
            open_rest(carrier, port=rest_port) as rest,
        ):
            yield Runs(directory, port, carrier, rest, daemon, given)


async def saved(daemon: LocalDaemon, call: SimulatedCall, words: str) -> None:
    """Wait until a line of a call is durable: what releases an utterance may be so a tenth of a second later."""

    async def is_saved() -> bool:
        async with database_of(daemon) as database:
            kept = await CallJournal(database).find_state(call.call_sid, call.facts.agent_id)
        return kept is not None and words in [line.text for line in kept.lines]

    await eventually(is_saved)


async def is_ringing(daemon: LocalDaemon) -> bool:
    """Whether the carrier has said that the telephone rings: until somebody picks up it says no more."""
    return any(event["status"] == "ringing" for event in await daemon.events("call_status"))


async def test_a_call_goes_on_with_all_that_was_said(tmp_path: Path) -> None:
    """The client of the next run gets the whole conversation, and no machine is heard: it is waited for."""
    async with first_run(tmp_path) as runs:
        agent = await register(runs.daemon, system_prompt=PROMPT, voice=VOICE, language="en-GB")
        async with runs.calling(agent) as call, connected(agent) as client:
            await ask(call, "One.")
            first = await client.asked.receive()
            await saved(runs.daemon, call, "You said: One.")
            async with runs.next_run() as daemon:
                await call.until(lambda: len(call.sessions) == 2)
                await call.say("Two.")
                async with connected(agent, at=daemon) as next_client:
                    assert (await call.hear()).text == "You said: Two."
                    second = await next_client.asked.receive()
                await call.hang_up()
                await call.wait_ended()
                assert await messages_of(daemon, agent) == ()
                async with database_of(daemon) as database:
                    record = await CallJournal(database).get(call.call_sid)
                    assert await CallJournal(database).find_state(call.call_sid, agent.agent_id) is None
    assert second.history == [
        *first.history,
        ("assistant", "You said: One."),
        ("assistant", CUT_OFF),
        ("user", "Two."),
    ]
    assert (call.attributes["voice"], call.attributes["language"], call.greeting) == (VOICE, "en-GB", CUT_OFF)
    assert second.params.system_prompt == first.params.system_prompt
    assert record is not None
    assert record.outcome == "completed"


async def test_words_in_hand_are_asked_again(tmp_path: Path) -> None:
    """What nobody had answered is answered before anything else, and leaves no message."""
    async with first_run(tmp_path) as runs:
        agent = await register(runs.daemon)
        async with runs.calling(agent) as call, connected(agent, stay_silent) as client:
            await call.say("Which day is the delivery?")
            await client.asked.receive()
            async with runs.next_run() as daemon, connected(agent, at=daemon):
                assert (await call.hear()).text == "You said: Which day is the delivery?"
                assert await ask(call, "Thank you.") == "You said: Thank you."
                await call.hang_up()
                await call.wait_ended()
                assert await messages_of(daemon, agent) == ()


async def test_what_was_cut_short_stays_cut_short(tmp_path: Path) -> None:
    """After a barge-in the next run knows only what the caller has heard of the answer."""

    async def go_on_and_on(turn: Turn) -> str:
        await turn.say(1, "We are open on weekdays, and ")
        return await stay_silent(turn)

    async with first_run(tmp_path) as runs:
        agent = await register(runs.daemon)
        async with runs.calling(agent) as call, connected(agent, go_on_and_on):
            await call.say("When are you open?")
            await call.next_token()
            await call.interrupt(heard="We are open")
            await saved(runs.daemon, call, "We are open")
            async with runs.next_run() as daemon, connected(agent, at=daemon) as client:
                await call.until(lambda: len(call.sessions) == 2)
                assert await ask(call, "On Sundays too?") == "You said: On Sundays too?"
                turn = await client.asked.receive()
                await call.hang_up()
                await call.wait_ended()
    assert ("assistant", "We are open") in turn.history
    assert ("user", "When are you open?") in turn.history


async def test_an_order_is_kept(tmp_path: Path) -> None:
    """A callee who picks up when the daemon that ordered the call is dead is greeted, and answered, as was ordered."""
    async with first_run(tmp_path) as runs:
        agent = await register(runs.daemon, number=OWN_NUMBER)
        runs.rest.callee(CALLEE, Answers(after=6, answered_by=""))
        async with connected(agent) as client:
            made = await client.tool(
                "comms_make_call", to=CALLEE, greeting="It is about Tuesday.", systemPrompt=PROMPT, voice=VOICE
            )
            call = await runs.rest.call(made["callSid"])
            await eventually(partial(is_ringing, runs.daemon))
            await trio.sleep(0.5)  # until the carrier has its answer
            async with runs.next_run() as daemon, connected(agent, at=daemon) as next_client:
                await call.connected()
                assert await ask(call, "Yes, this is Ada.") == "You said: Yes, this is Ada."
                turn = await next_client.asked.receive()
                await call.hang_up()
                await call.wait_ended()
    assert (turn.params.system_prompt or "").startswith(PROMPT)
    assert turn.history == [("assistant", "It is about Tuesday."), ("user", "Yes, this is Ada.")]
    assert len(call.sessions) == 1
    assert call.attributes["voice"] == VOICE


async def test_a_screened_call_stays_screened(tmp_path: Path) -> None:
    """It says nothing until the carrier knows who has picked up, also where another run has ordered it."""
    async with first_run(tmp_path) as runs:
        agent = await register(runs.daemon, number=OWN_NUMBER)
        runs.rest.callee(CALLEE, Answers(after=6, answered_by="human", verdict_after=2))
        async with connected(agent) as client:
            made = await client.tool("comms_make_call", to=CALLEE, greeting="It is about Tuesday.", waitForHuman=True)
            call = await runs.rest.call(made["callSid"])
            await eventually(partial(is_ringing, runs.daemon))
            await trio.sleep(0.5)  # until the carrier has its answer
            async with runs.next_run():
                await call.connected()
                assert "It is about Tuesday." not in call.heard
                with trio.fail_after(Policy().screening - 0.5):  # less than what a person is assumed after
                    assert (await call.hear()).text == "It is about Tuesday."
                await call.hang_up()
                await call.wait_ended()


async def test_a_caller_who_is_not_back_in_time_leaves_a_message(tmp_path: Path) -> None:
    """The question of a killed daemon's call becomes a message once, when the carrier has not asked for the call."""
    # Other nodes take a killed one for gone after some seconds, and nothing is to become a message before that.
    return_seconds = "6" if is_one_of_many() else "2"
    async with first_run(tmp_path, RELAY_RETURN_SECONDS=return_seconds) as runs:
        agent = await register(runs.daemon)
        async with runs.calling(agent) as call, connected(agent, stay_silent) as client:
            await call.say("The key is under the mat.")
            await client.asked.receive()
            await call.drop_line()  # the carrier asks nobody what comes next
            await trio.sleep(0.3)
            async with runs.next_run() as daemon:
                assert await messages_of(daemon, agent) == ()
                message = await message_left(daemon, agent)
                async with connected(agent, repeat, at=daemon) as next_client:
                    assert [each["body"] for each in await next_client.fetch()] == ["The key is under the mat."]
                await call.hang_up()
                await call.wait_ended()
    assert (message.reason, message.body) == (Reason.RELAY_RESTARTED, "The key is under the mat.")
