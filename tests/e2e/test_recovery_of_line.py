"""A line that breaks in mid-call: the carrier asks how to go on, and the conversation goes on where it was."""

from __future__ import annotations

import trio

from actors.call_values import Reason
from relay.simulator.load.local_daemon import LocalDaemon
from relay.store.call_journal import CallJournal
from tests.e2e.parties import (
    Access,
    Turn,
    ask,
    calling,
    connected,
    database_of,
    eventually,
    message_left,
    messages_of,
    repeat,
    stay_silent,
)

CUT_OFF = "I'm sorry, we were cut off. Please go on."


async def has_ended(daemon: LocalDaemon, call_sid: str) -> bool:
    async with database_of(daemon) as database:
        record = await CallJournal(database).get(call_sid)
    return record is not None and record.ended_at is not None


async def test_a_broken_line_is_replaced(daemon: LocalDaemon, agent: Access) -> None:
    """The carrier connects the call anew, the caller hears what happened, and the client goes on answering."""
    async with connected(agent), calling(daemon, agent) as call:
        await ask(call, "One.")
        await call.break_line()
        assert await ask(call, "Two.") == "You said: Two."
        assert call.greeting == CUT_OFF
    assert [each.status for each in call.outcomes] == ["failed", "completed"]


async def test_the_client_gets_the_whole_conversation(daemon: LocalDaemon, agent: Access) -> None:
    """The first turn on the new line carries what was said on the old one, in order, under a new turn number."""
    async with connected(agent) as client, calling(daemon, agent) as call:
        await ask(call, "One.")
        await call.break_line()
        await ask(call, "Two.")
        first, second = await client.asked.receive(), await client.asked.receive()
    assert second.history == [
        *first.history,
        ("assistant", "You said: One."),
        ("assistant", CUT_OFF),
        ("user", "Two."),
    ]
    assert (second.params.metadata or {})["callSid"] == call.call_sid
    assert (second.params.metadata or {})["turn"] > (first.params.metadata or {})["turn"]


async def test_a_question_on_the_broken_line_is_asked_again(daemon: LocalDaemon, agent: Access) -> None:
    """A caller who is back need not repeat what nobody had answered when the line broke, and leaves no message."""
    lost = trio.Event()

    async def miss_the_first(turn: Turn) -> str:
        return await (repeat(turn) if lost.is_set() else stay_silent(turn))

    async with connected(agent, miss_the_first) as client, calling(daemon, agent) as call:
        await call.say("Which day is the delivery?")
        await client.asked.receive()
        lost.set()
        await call.break_line()
        assert (await call.hear()).text == "You said: Which day is the delivery?"
        assert await ask(call, "Thank you.") == "You said: Thank you."
    await eventually(lambda: has_ended(daemon, call.call_sid))
    assert await messages_of(daemon, agent) == ()


async def test_a_question_of_a_caller_who_does_not_come_back_is_kept(daemon: LocalDaemon, agent: Access) -> None:
    """The line breaks and then the call is over: the question becomes a message as soon as the carrier says so."""
    async with connected(agent, stay_silent) as client:
        async with calling(daemon, agent) as call:
            await call.say("The key is under the mat.")
            await client.asked.receive()
        message = await message_left(daemon, agent)
    assert (message.reason, message.body) == (Reason.UNANSWERED, "The key is under the mat.")


async def test_a_line_that_breaks_every_time_is_given_up(daemon: LocalDaemon, agent: Access) -> None:
    """After three new lines that broke as well the caller hears an apology, and the call is over."""
    async with connected(agent), calling(daemon, agent) as call:
        for number in range(4):
            await ask(call, f"Attempt {number}.")
            await call.break_line()
        await call.wait_ended()
    assert len(call.sessions) == 4
    assert call.heard[-1].startswith("I'm sorry")


async def test_a_call_stays_with_the_client_that_took_it(daemon: LocalDaemon, agent: Access) -> None:
    """Another client, which has not followed the call, is not asked because the line broke."""

    async def answer_otherwise(turn: Turn) -> str:
        return f"The other one: {(await repeat(turn)).lower()}"

    async with connected(agent) as taker, connected(agent, answer_otherwise), calling(daemon, agent) as call:
        assert (await ask(call, "One.")).startswith("The other one")
        assert (await taker.tool("comms_take_call", callSid=call.call_sid))["status"] == "yours"
        assert await ask(call, "Two.") == "You said: Two."
        await call.break_line()
        assert await ask(call, "Three.") == "You said: Three."
