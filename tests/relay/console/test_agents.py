"""The page of agents: each with its sessions, and ending one of them."""

from __future__ import annotations

import attrs
import pytest

from actors.call_values import Availability
from relay.console.agents import AgentsPage
from relay.console.answers import Redirect
from relay.console.audit import Audit
from relay.console.refused import Refused
from relay.console.words import in_units
from relay.mcp.client_sessions import ClientHere
from relay.store.agent_registry import AgentRegistry
from relay.store.database import Database
from relay.store.operator_actions import OperatorActions
from relay.store.outbound_switches import OutboundSwitches
from tests.fakes_store import WallClock
from tests.relay.console.rendered import EVE, HOSTILE, asked, shown

HERE = ClientHere(
    agent_id="anna",
    session="5e551011",
    name="goose",
    version="1.2.3",
    transport="SSE",
    answers_by="sampling",
    since=WallClock().time,
    ready=True,
    waits=False,
    wakes=False,
    is_silent=False,
    heard=75.0,
    turns=2,
    unread=4096,
)


@attrs.define(eq=False)
class Clients:
    """Client sessions, and what was ended of them."""

    sessions: list[ClientHere] = attrs.field(factory=list)
    ended: list[tuple[str, str]] = attrs.field(factory=list)

    def here(self) -> list[ClientHere]:
        return self.sessions

    def availability(self, agent_id: str) -> Availability:
        is_here = any(each.agent_id == agent_id for each in self.sessions)
        return Availability.HERE if is_here else Availability.AWAY

    def end(self, agent_id: str, session: str) -> bool:
        self.ended.append((agent_id, session))
        return True


@pytest.fixture
def clients() -> Clients:
    return Clients()


@pytest.fixture
def page(database: Database, clock: WallClock, clients: Clients) -> AgentsPage:
    return AgentsPage(
        agents=AgentRegistry(database, clock),
        switches=OutboundSwitches(database, clock),
        here=clients.here,
        availability=clients.availability,
        end=clients.end,
        audit=Audit(OperatorActions(database, clock)),
        url="http://127.0.0.1:8080",
        default_language="en-US",
        has_answering_machine=True,
    )


async def test_how_to_begin(page: AgentsPage) -> None:
    """Without agents, and without clients, the page has the lines that help."""
    document = await shown(page.show)
    assert "relay agents add my-client" in document.text
    await page.agents.add("anna")
    document = await shown(page.show)
    assert "No client is connected: callers reach the answering machine." in document.text
    assert "http://127.0.0.1:8080/mcp" in document.text
    without = attrs.evolve(page, has_answering_machine=False)
    assert "callers hear that nobody is available" in (await shown(without.show)).text


async def test_an_agent_and_its_session(page: AgentsPage, clients: Clients) -> None:
    """Number, language, switch, presence; the client, its way, when it was heard, what it has in hand."""
    await page.agents.add("anna", number="+14155550100", language="de-DE")
    await page.agents.add("ben")
    await page.switches.disable("ben", reason="too many calls")
    clients.sessions.append(HERE)
    text = (await shown(page.show)).text
    for words in ("+14155550100", "de-DE", "a client answers", "goose 1.2.3", "is asked", "SSE", "1 min 15 s ago"):
        assert words in text
    for words in ("4096 B", "22 Nov 2026 09:00:00", "dials nothing: too many calls", "en-US by default", "No session."):
        assert words in text
    assert "connect a client" not in text


@pytest.mark.parametrize(
    ("client", "way"),
    [
        (HERE, "is asked"),
        (attrs.evolve(HERE, answers_by="turn tools", waits=True), "waits in a tool call"),
        (attrs.evolve(HERE, answers_by="turn tools", wakes=True), "can be woken"),
        (attrs.evolve(HERE, answers_by="turn tools"), "does not wait for calls"),
        (attrs.evolve(HERE, is_silent=True), "silent"),
        (attrs.evolve(HERE, ready=False), "in its handshake"),
    ],
)
async def test_how_it_gets_a_turn(page: AgentsPage, clients: Clients, client: ClientHere, way: str) -> None:
    """Each way has its words."""
    await page.agents.add("anna")
    clients.sessions.append(client)
    assert way in (await shown(page.show)).text


async def test_ending_a_session(page: AgentsPage, clients: Clients) -> None:
    """The session is ended, on record with its agent; one that is over is a conflict with words."""
    await page.agents.add("anna")
    clients.sessions.append(HERE)
    assert (await shown(page.show)).all("dialog", id="end-5e551011")
    arguments = {"agent_id": "anna", "session": "5e551011"}
    assert await page.end_session(asked(arguments=arguments)) == Redirect("/console/agents?ended=5e551011")
    assert clients.ended == [("anna", "5e551011")]
    (action,) = await page.audit.actions.list()
    assert (action.action.name, action.action.agent_id, action.outcome) == ("end_session", "anna", "done")
    clients.sessions.clear()
    with pytest.raises(Refused, match="over already"):
        await page.end_session(asked(arguments=arguments))
    with pytest.raises(Refused):
        await page.end_session(asked(arguments={"agent_id": "ben", "session": "5e551011"}))
    assert "was ended" in (await shown(page.show, query={"ended": "5e551011"})).text


async def test_who_only_reads_is_offered_nothing(page: AgentsPage, clients: Clients) -> None:
    """The role read sees the session, and no button."""
    await page.agents.add("anna")
    clients.sessions.append(HERE)
    document = await shown(page.show, EVE)
    assert "goose" in document.text
    assert not document.all("dialog", id="end-5e551011")


async def test_planted_markup_is_text(page: AgentsPage, clients: Clients) -> None:
    """Names of agents and clients, and what an address says, are text on the page."""
    await page.agents.add("anna", name=HOSTILE)
    await page.switches.disable("anna", reason=HOSTILE)
    clients.sessions.append(attrs.evolve(HERE, name=HOSTILE, version=HOSTILE))
    document = await shown(page.show, query={"ended": HOSTILE})
    assert document.planted() == []
    assert HOSTILE in document.text


def test_lengths() -> None:
    """Two units, the largest ones; none is negative."""
    assert [in_units(each) for each in (-1, 59.9, 61, 3700, 90_000)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "1 h 1 min",
        "1 d 1 h",
    ]
