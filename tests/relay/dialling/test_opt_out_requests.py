"""Opt-outs on the real list: sent by a client, or said by a party on a call."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest
import trio
import trio.testing

from actors.call_session import CallServices
from actors.call_values import Direction
from actors.calls import Calls
from actors.clients import Presence
from actors.errors import StoreFailed, UnknownCall
from actors.policy import Policy
from relay.dialling.dial_check import DiallingGate
from relay.dialling.opt_out import HeardOptOuts, OptOutRequests
from relay.errors import OutboundRefused
from relay.store.call_journal import CallJournal
from relay.store.database import Database, open_database
from relay.store.do_not_call import DoNotCallList
from relay.store.waiting_messages import WaitingMessages
from tests.fakes import MemoryLine, RecordingObserver, call_info
from tests.relay.dialling.parties import OURS, THEIRS, agent


@attrs.define(eq=False)
class Setup:
    """The do-not-call list, the records and the registry, on one database."""

    database: Database
    nursery: trio.Nursery
    journal: CallJournal
    calls: Calls

    @property
    def requests(self) -> OptOutRequests:
        return OptOutRequests(gate=DiallingGate(self.database), calls=self.calls, journal=self.journal)

    @property
    def heard(self) -> HeardOptOuts:
        return HeardOptOuts(DiallingGate(self.database))

    async def connect(self, **changes: object) -> None:
        """Connect a call to its line."""
        info = call_info(**changes)
        self.calls.announce(info, Policy())
        self.nursery.start_soon(self.calls.connect, info, MemoryLine())
        await trio.testing.wait_all_tasks_blocked()
        assert self.calls.find_session(info.call_sid, info.agent_id) is not None

    async def listed(self) -> list[tuple[str, str | None, str, str]]:
        """Return the entries of the list: number, agent, reason, and who added it."""
        entries = await DoNotCallList(self.database).list_all()
        return [(each.number, each.agent_id, each.reason, each.added_by) for each in entries]


@pytest.fixture
def setup(database: Database, nursery: trio.Nursery) -> Iterator[Setup]:
    journal = CallJournal(database)
    services = CallServices(
        responders={}, messages=WaitingMessages(database), journal=journal, observer=RecordingObserver()
    )
    yield Setup(database, nursery, journal, Calls(services, Presence(grace=10), max_calls=9))
    nursery.cancel_scope.cancel()


async def test_a_number_is_listed_for_the_agent(setup: Setup) -> None:
    """However the number is written, it is listed in one form, for this agent alone, with the client's reason."""
    result = await setup.requests.stop_calling(agent(), number="+1 555 987-6543", call_sid="", reason="by letter")
    assert result == {"to": THEIRS, "added": True}
    assert await setup.listed() == [(THEIRS, "my-client", "by letter", "client")]


async def test_listing_twice_does_no_harm(setup: Setup) -> None:
    """The second wish is told that the number was there already."""
    for added in (True, False):
        result = await setup.requests.stop_calling(agent(), number=THEIRS, call_sid="", reason="")
        assert result["added"] is added


@pytest.mark.parametrize(
    ("direction", "caller", "called"), [(Direction.INBOUND, THEIRS, OURS), (Direction.OUTBOUND, OURS, THEIRS)]
)
@pytest.mark.parametrize("is_live", [True, False])
async def test_the_other_party_of_a_call_is_listed(
    setup: Setup, direction: Direction, caller: str, called: str, *, is_live: bool
) -> None:
    """Whoever the agent talks to, or talked to, is meant; never the agent's own number."""
    if is_live:
        await setup.connect(call_sid="CA1", direction=direction, caller=caller, called=called)
    else:
        await setup.journal.announce_call("CA1", "my-client", direction, caller, called)
    assert (await setup.requests.stop_calling(agent(), number="", call_sid="CA1", reason=""))["to"] == THEIRS


async def test_nothing_is_learnt_of_other_agents_calls(setup: Setup) -> None:
    """A call of another agent looks like one that never was, live or on record."""
    await setup.connect(call_sid="CA1", agent_id="another")
    await setup.journal.announce_call("CA2", "another", Direction.INBOUND, THEIRS, OURS)
    for call_sid in ("CA1", "CA2", "CA3"):
        with pytest.raises(UnknownCall):
            await setup.requests.stop_calling(agent(), number="", call_sid=call_sid, reason="")
    assert await setup.listed() == []


@pytest.mark.parametrize("number", ["the landlord", "911", "+", "sip:ada@example.com"])
async def test_what_is_no_number_is_refused(setup: Setup, number: str) -> None:
    """The refusal says how numbers are written, and does not repeat what was given."""
    with pytest.raises(OutboundRefused) as caught:
        await setup.requests.stop_calling(agent(), number=number, call_sid="", reason="")
    assert (caught.value.code, "+14155552671" in str(caught.value)) == ("number_invalid", True)
    assert repr(number) not in str(caught.value)


@pytest.mark.parametrize("caller", ["", "anonymous", "sip:ada@example.com"])
async def test_who_withholds_the_number_cannot_be_listed(setup: Setup, caller: str) -> None:
    """A call whose other party has no number is refused with that reason."""
    await setup.connect(call_sid="CA1", caller=caller)
    with pytest.raises(OutboundRefused, match="withholds") as caught:
        await setup.requests.stop_calling(agent(), number="", call_sid="CA1", reason="")
    assert caught.value.code == "number_invalid"


@pytest.mark.parametrize(("number", "call_sid"), [("", ""), (THEIRS, "CA1")])
async def test_one_of_the_two_is_enough(setup: Setup, number: str, call_sid: str) -> None:
    """Neither or both of number and call is an error that says so."""
    with pytest.raises(OutboundRefused, match="not both"):
        await setup.requests.stop_calling(agent(), number=number, call_sid=call_sid, reason="")


@pytest.mark.parametrize("direction", list(Direction))
async def test_who_says_so_on_a_call_is_listed(setup: Setup, direction: Direction) -> None:
    """The other party is listed for the agent, and the entry tells on which call it was said."""
    caller, called = (THEIRS, OURS) if direction is Direction.INBOUND else (OURS, THEIRS)
    info = call_info(call_sid="CA1", direction=direction, caller=caller, called=called)
    await setup.heard.stop_calling(info)
    by = "unverified caller" if direction is Direction.INBOUND else "caller"
    assert await setup.listed() == [(THEIRS, "my-client", "said so on call CA1", by)]


async def test_a_caller_whose_carrier_vouches_for_the_number_is_believed(setup: Setup) -> None:
    """Only what may be forged is marked."""
    await setup.heard.stop_calling(call_info(caller=THEIRS, verified=True, attestation="A"))
    assert [by for *_, by in await setup.listed()] == ["caller"]


@pytest.mark.parametrize("address", [f"sip:{THEIRS}@pbx.example", f"whatsapp:{THEIRS}", f"client:{THEIRS}"])
async def test_a_number_inside_an_address_is_listed(setup: Setup, address: str) -> None:
    """Whoever calls from it is the one who could be called."""
    await setup.heard.stop_calling(call_info(caller=address))
    assert [number for number, *_ in await setup.listed()] == [THEIRS]


@pytest.mark.parametrize("address", ["sip:ada@example.com", "client:ada", "whatsapp:ada", "", "+266696687"])
async def test_an_address_without_a_number_lists_nobody(setup: Setup, address: str) -> None:
    """There is nobody to be called."""
    await setup.heard.stop_calling(call_info(caller=address))
    assert await setup.listed() == []


async def test_who_says_so_and_withholds_the_number_is_no_error(setup: Setup) -> None:
    """There is nobody to be listed, and the call goes on."""
    await setup.heard.stop_calling(call_info(caller="anonymous"))
    assert await setup.listed() == []


async def test_an_opt_out_that_was_not_kept_is_reported(database_url: str) -> None:
    """When the database cannot be used the call learns it, and can try again."""
    async with open_database(database_url) as database:
        pass
    with pytest.raises(StoreFailed):
        await HeardOptOuts(DiallingGate(database)).stop_calling(call_info(caller=THEIRS))
