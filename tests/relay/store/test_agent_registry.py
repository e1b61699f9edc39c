"""Agents and tokens."""

from __future__ import annotations

import hashlib

import attrs
import pytest
from sqlalchemy import text

from actors.call_record import CallProgress
from actors.call_values import CallSummary, Direction
from relay.errors import AgentError
from relay.store.agent_registry import AgentRegistry
from relay.store.call_journal import CallJournal
from relay.store.client_hellos import ClientHellos
from relay.store.homes import Home, Homes
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import call, draft


async def test_a_token_acts_for_its_agent(registry: AgentRegistry) -> None:
    """The token that was shown finds the agent with all that it was registered with."""
    agent, token = await registry.add(
        "my-client", number="+14155552671", greeting="Hi!", system_prompt="Be brief.", voice="v", language="de-DE"
    )
    assert agent.number == "+14155552671"
    assert await registry.by_token(token) == agent == await registry.get("my-client")


async def test_a_token_is_not_kept(registry: AgentRegistry) -> None:
    """The database knows only the hash of a token."""
    _agent, token = await registry.add("my-client")
    kept = await registry.database.read(lambda connection: connection.execute(text("SELECT * FROM agents")).all())
    assert len(token) >= 43
    assert token not in str(kept)


@pytest.mark.parametrize("token", ["", "x", "\ud800", "\0", "a" * 100_000])
async def test_another_token_finds_nobody(registry: AgentRegistry, token: str) -> None:
    """Whatever else is offered as a token acts for nobody, and is no error."""
    await registry.add("my-client")
    assert await registry.by_token(token) is None


async def test_a_rotated_token_is_no_good(registry: AgentRegistry) -> None:
    """After a rotation only the new token acts for the agent."""
    agent, old = await registry.add("my-client")
    new = await registry.rotate("my-client")
    assert await registry.by_token(old) is None
    assert await registry.by_token(new) == agent


async def test_the_digest_of_a_token_changes_with_it(registry: AgentRegistry) -> None:
    """A session that keeps the digest of its token can tell when the token was rotated or the agent removed."""
    _agent, token = await registry.add("my-client")
    assert await registry.token_digest("my-client") == hashlib.sha256(token.encode()).digest()
    token = await registry.rotate("my-client")
    assert await registry.token_digest("my-client") == hashlib.sha256(token.encode()).digest()
    await registry.remove("my-client")
    assert await registry.token_digest("my-client") is None


async def test_agents_are_listed_by_id(registry: AgentRegistry) -> None:
    """All agents are listed, in order."""
    for name in ("b", "a"):
        await registry.add(name)
    assert [each.agent_id for each in await registry.list()] == ["a", "b"]


async def test_an_id_is_taken_once(registry: AgentRegistry) -> None:
    """A second agent of the same id is refused, and the first keeps its token."""
    agent, token = await registry.add("my-client")
    with pytest.raises(AgentError, match="relay agents rotate my-client"):
        await registry.add("my-client")
    assert await registry.by_token(token) == agent


@pytest.mark.parametrize("agent_id", ["", "a b", "../x", "-a", "a" * 65, "ä", "a\n"])
async def test_an_id_that_is_none_is_refused(registry: AgentRegistry, agent_id: str) -> None:
    """Ids stand in URLs, so they are of letters, digits and little else."""
    with pytest.raises(AgentError, match="letters, digits"):
        await registry.add(agent_id)
    assert await registry.list() == ()


@pytest.mark.parametrize(
    "number", ["", "4155552671", "+1", "+14155552671 ext. 5", "hello", "+1415555267123456", "+1 415 555 2671"]
)
async def test_a_number_that_is_none_is_refused(registry: AgentRegistry, number: str) -> None:
    """A number must be one that can be dialled from anywhere."""
    with pytest.raises(AgentError, match=r"E\.164"):
        await registry.add("my-client", number=number)


async def test_an_unknown_agent_cannot_be_changed(registry: AgentRegistry) -> None:
    """Rotating or removing an agent that is not there says how to see those that are."""
    assert await registry.get("nobody") is None
    with pytest.raises(AgentError, match="relay agents list"):
        await registry.rotate("nobody")
    with pytest.raises(AgentError, match="relay agents list"):
        await registry.remove("nobody")


async def test_removing_forgets_what_is_the_agents(
    registry: AgentRegistry, journal: CallJournal, waiting: WaitingMessages, hellos: ClientHellos
) -> None:
    """Whoever registers the same id later finds nothing of the agent before; other agents keep all."""
    _agent, token = await registry.add("my-client")
    await registry.add("other")
    for name, sid in (("my-client", "CA1"), ("other", "CA2")):
        await hellos.remember("key", name, "{}")
        await journal.open_call(call(sid, name))
        await journal.close_call(sid, CallSummary(outcome="completed"))
        await waiting.acknowledge(name, [await waiting.leave(draft(agent_id=name, call_sid=sid))])
    await registry.remove("my-client")
    await registry.add("my-client")
    assert await registry.by_token(token) is None
    assert await hellos.recall("key", "my-client") is None
    assert [each.agent_id for each in await waiting.list_all()] == ["other"]
    assert [each.agent_id for each in await journal.list_calls()] == ["other"]
    assert await hellos.recall("key", "other") == "{}"


async def test_an_agent_with_waiting_messages_is_not_removed(registry: AgentRegistry, waiting: WaitingMessages) -> None:
    """What callers left is not thrown away in passing, but it can be."""
    await registry.add("my-client")
    await waiting.leave(draft())
    with pytest.raises(AgentError, match=r"1 waiting message.*--discard-messages"):
        await registry.remove("my-client")
    assert len(await waiting.list_all()) == 1
    await registry.remove("my-client", discard_messages=True)
    assert await waiting.list_all() == ()


async def test_an_agent_with_held_utterances_is_not_removed(registry: AgentRegistry, journal: CallJournal) -> None:
    """Words that the next start would make a message of count as one."""
    await registry.add("my-client")
    await journal.open_call(call())
    await journal.hold_utterance("CA1", 1, "hello?")
    await journal.close_call("CA1", CallSummary(outcome="failed"))
    with pytest.raises(AgentError, match="1 waiting message"):
        await registry.remove("my-client")


async def test_a_home_goes_with_its_agent(registry: AgentRegistry, journal: CallJournal) -> None:
    """Where calls go on it stays until they are over; who knew it takes the next one of the id, as a later one."""
    homes = Homes(registry.database)
    await registry.add("my-client")
    await homes.take("my-client", "node-a", await homes.take("my-client", "node-b", None))
    await journal.open_call(call())
    await registry.remove("my-client")
    known = await homes.find("my-client")
    assert known is not None
    await journal.close_call("CA1", CallSummary(outcome="completed"))
    await registry.remove("my-client")
    assert await homes.find("my-client") is None
    await registry.add("my-client")
    assert await homes.take("my-client", "node-b", known) == Home("my-client", "node-b", known.epoch + 1)


async def test_a_live_call_outlives_its_agent(
    registry: AgentRegistry, journal: CallJournal, waiting: WaitingMessages
) -> None:
    """What the caller says after the agent was removed is still kept."""
    await registry.add("my-client")
    await journal.open_call(call())
    await registry.remove("my-client")
    await journal.hold_utterance("CA1", 1, "hello?")
    await waiting.leave(draft(through_turn=1))
    assert len(await waiting.list_all("my-client")) == 1


async def test_the_line_of_a_call_that_is_over_outlives_its_agent(
    registry: AgentRegistry, journal: CallJournal, waiting: WaitingMessages
) -> None:
    """When the carrier has said that a call is over, its last words may still come."""
    await registry.add("my-client")
    await journal.open_call(call())
    await journal.note_progress("my-client", CallProgress(call_sid="CA1", status="completed"))
    await registry.remove("my-client")
    await journal.hold_utterance("CA1", 1, "hello?")
    await waiting.leave(draft(through_turn=1))
    assert len(await waiting.list_all("my-client")) == 1


async def begin(journal: CallJournal, state: str) -> None:
    """Bring the call CA1 to a state in which it is not over."""
    if state == "announced":
        await journal.announce_call("CA1", "my-client", Direction.INBOUND, "+15550100001", "+15550100002")
        return
    if state == "ringing":
        await journal.note_progress("my-client", CallProgress(call_sid="CA1", status="ringing"))
        return
    await journal.open_call(call())
    if state == "transferred":
        await journal.close_call("CA1", CallSummary(outcome="transferred"))
    if state == "over at the carrier":
        await journal.note_progress("my-client", CallProgress(call_sid="CA1", status="completed"))


@pytest.mark.parametrize("state", ["announced", "ringing", "live", "transferred", "over at the carrier"])
async def test_an_id_is_not_given_out_while_calls_of_a_removed_agent_go_on(
    registry: AgentRegistry, journal: CallJournal, state: str
) -> None:
    """Else its calls would be shown to somebody else; once they are over the id is free, and they are gone."""
    await registry.add("my-client")
    await begin(journal, state)
    await registry.remove("my-client")
    with pytest.raises(AgentError, match="not over yet"):
        await registry.add("my-client")
    await registry.add("another")
    await journal.close_call("CA1", CallSummary(outcome="completed"))
    await journal.note_progress("my-client", CallProgress(call_sid="CA1", status="completed"))
    await registry.add("my-client")
    assert await journal.list_calls("my-client") == ()


@pytest.mark.parametrize("left", ["message", "held words"])
async def test_what_is_said_after_the_removal_is_for_no_later_agent(
    registry: AgentRegistry, journal: CallJournal, waiting: WaitingMessages, left: str
) -> None:
    """The operator is told how many messages are there and how to print them; only a second removal frees the id."""
    await registry.add("my-client")
    await journal.open_call(call())
    await registry.remove("my-client")
    await journal.hold_utterance("CA1", 1, "hello?")
    if left == "message":
        await waiting.leave(draft(through_turn=1))
    await journal.close_call("CA1", CallSummary(outcome="completed"))
    for refused in (registry.add("my-client"), registry.remove("my-client")):
        with pytest.raises(AgentError, match=r"1 (waiting )?message.*export --agent my-client.*--discard-messages"):
            await refused
    assert len(await waiting.list_all("my-client")) == (left == "message")
    await registry.remove("my-client", discard_messages=True)
    await registry.add("my-client")
    assert (await waiting.list_all(), await journal.list_calls()) == ((), ())


async def test_a_removed_agent_that_left_nothing_is_unknown(registry: AgentRegistry) -> None:
    """Removing it again is the same mistake as removing one that never was."""
    await registry.add("my-client")
    await registry.remove("my-client")
    with pytest.raises(AgentError, match="relay agents list"):
        await registry.remove("my-client")


async def test_a_change_is_of_what_is_given(registry: AgentRegistry) -> None:
    """What is not given stays, an empty text takes a thing away, and the token stays good."""
    agent, token = await registry.add("my-client", greeting="Hi!", voice="v", name="Ada", discloses=False)
    changed = await registry.change("my-client", number="+14155552671", greeting="", name="Ada's office")
    assert changed == attrs.evolve(agent, number="+14155552671", greeting=None, name="Ada's office")
    assert await registry.by_token(token) == changed
    assert (await registry.change("my-client", number="", discloses=True)).number is None
    assert await registry.get("my-client") == attrs.evolve(changed, number=None, discloses=True)


async def test_a_change_of_nothing_is_none(registry: AgentRegistry) -> None:
    """Changing nothing gives the agent as it is, and other agents are left alone by any change."""
    agent, _token = await registry.add("my-client")
    other, _token = await registry.add("other")
    assert await registry.change("my-client") == agent
    await registry.change("my-client", name="Ada")
    assert await registry.get("other") == other


async def test_a_change_that_cannot_be_is_refused(registry: AgentRegistry) -> None:
    """An agent that is not there, or a number that is none, changes nothing."""
    agent, _token = await registry.add("my-client")
    with pytest.raises(AgentError, match="relay agents list"):
        await registry.change("nobody", name="Ada")
    with pytest.raises(AgentError, match=r"E\.164"):
        await registry.change("my-client", number="hello", name="Ada")
    assert await registry.get("my-client") == agent


async def test_fillers_come_back_as_they_were_given(registry: AgentRegistry) -> None:
    """None, none at all and some are told apart, and words that cannot be stored are fixed."""
    agent, _token = await registry.add("my-client")
    assert (agent.fillers, agent.long_filler) == (None, None)
    assert await registry.get("my-client") == agent
    silent = await registry.change("my-client", no_fillers=True)
    assert (silent.fillers, silent.long_filler) == ((), "")
    given = await registry.change("my-client", fillers=["Moment\ud800.", " "], long_filler="Gleich.")
    assert (given.fillers, given.long_filler) == (("Moment\ufffd.",), "Gleich.")
    assert await registry.change("my-client", fillers=[""], long_filler=" ") == agent


async def test_an_agent_is_added_with_its_fillers(registry: AgentRegistry) -> None:
    """What is returned is what is kept, also where nothing is to be said."""
    for name, fillers in (("a", ["One.", "Two."]), ("b", None)):
        agent, _token = await registry.add(name, fillers=fillers, no_fillers=True)
        assert (agent.fillers, agent.long_filler) == (tuple(fillers or ()), "")
        assert await registry.get(name) == agent
