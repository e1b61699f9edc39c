from __future__ import annotations

from typing import Any, cast
from xml.etree import ElementTree as ET

import attrs
import pytest
import trio
import trio.testing

from actors.call_values import Voicemail
from actors.errors import CallRefused, StoreFailed
from relay.dialling.outbound_calls import Conversations
from relay.dialling.requests import CallRequest, Defaults
from relay.dialling.verdict import DialKind
from relay.errors import DatabaseError, OutboundRefused
from relay.reception import Reception
from relay.twilio.rest_errors import CallOutcomeUnknown, CarrierRefused
from relay.twilio.urls import RETRIES
from tests.fakes_store import WallClock
from tests.relay.dialling.parties import DEFAULTS, DO_NOT_CALL, OURS, PUBLIC_URL, QUIET_HOURS, THEIRS, Parties, agent

SID = f"CA{1:032}"


def conversations(parties: Parties, *, has_carrier: bool = True, defaults: Defaults = DEFAULTS) -> Conversations:
    """Put the calls together."""
    return Conversations(
        dialler=parties.dialler(has_carrier=has_carrier),
        reception=cast("Reception", parties.reception),
        urls=parties.urls,
        defaults=defaults,
    )


def wish(**changes: Any) -> CallRequest:
    """Wish for a call to the usual number."""
    return CallRequest(**({"to": THEIRS} | changes))


def relay_element(parties: Parties) -> ET.Element:
    """Return the <ConversationRelay> of the one call that was ordered."""
    (request,) = parties.carrier.requests
    found = ET.fromstring(request.twiml).find("Connect/ConversationRelay")
    assert found is not None
    return found


async def refused(parties: Parties, made: CallRequest, **parts: Any) -> OutboundRefused:
    """Make a call that is refused, and return why; nobody is expected any more, and no telephone rang."""
    with pytest.raises(OutboundRefused) as caught:
        await conversations(parties, **parts).make_call(agent(), made)
    return caught.value


# ── a call that is placed ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_call_is_placed() -> None:
    """The client learns at once what the call is called, how it stands, and which numbers it connects."""
    parties = Parties()
    result = await conversations(parties).make_call(agent(), wish(to="+1 (555) 987-6543"))
    assert result == {"callSid": SID, "status": "queued", "to": THEIRS, "from": OURS}
    (request,) = parties.carrier.requests
    assert (request.to, request.from_) == (THEIRS, OURS)
    assert parties.observer.dials == [("call", "placed")]


async def test_the_dial_is_counted_last() -> None:
    """The gate counts only when all else is ready, and the call is expected before it is ordered."""
    parties = Parties()
    await conversations(parties).make_call(agent(), wish())
    assert parties.log == ["explained", "expected", "checked", "created", "placed"]
    assert parties.gate.counted == [("my-client", THEIRS, DialKind.CALL)]


async def test_the_order_names_the_call_until_it_has_a_name() -> None:
    """The call's webhooks carry the order under which the reception expects it."""
    parties = Parties()
    await conversations(parties).make_call(agent(), wish())
    ((order, call),) = parties.reception.expected.items()
    (request,) = parties.carrier.requests
    assert request.status_callback == f"{PUBLIC_URL}/webhooks/my-client/call-status?order={order}" + RETRIES
    assert (call.call_sid, parties.reception.names) == (order, {order: SID})


async def test_the_socket_has_its_ticket_and_its_address() -> None:
    """What answers is connected to our socket, with the ticket that the reception gave."""
    parties = Parties()
    await conversations(parties).make_call(agent(), wish())
    relay = relay_element(parties)
    parameter = relay.find("Parameter")
    assert parameter is not None
    assert parameter.attrib == {"name": "ticket", "value": "the-ticket"}
    assert relay.get("url") == "wss://voice.example.com/webhooks/my-client/voice-ws"


async def test_it_is_found_out_who_picks_up() -> None:
    """The carrier is asked, for every conversation, whether a person or a machine answers."""
    parties = Parties()
    await conversations(parties).make_call(agent(), wish())
    assert parties.carrier.requests[0].detect_machine == f"{PUBLIC_URL}/webhooks/my-client/answered-by" + RETRIES


async def test_ringing_and_talking_have_limits() -> None:
    """The carrier gives up ringing after the time that was wished, and ends the call later than the relay would."""
    parties = Parties()
    defaults = attrs.evolve(DEFAULTS, max_call_seconds=100.5)
    await conversations(parties, defaults=defaults).make_call(agent(), wish(ring_seconds=40))
    (request,) = parties.carrier.requests
    assert (request.ring_seconds, request.time_limit) == (40, 161)


async def test_the_gate_learns_the_zone_and_the_purpose() -> None:
    """What the client knows of the callee reaches the gate, both times."""
    parties = Parties()
    await conversations(parties).make_call(agent(), wish(zone="Europe/Berlin", purpose="reminders"))
    assert parties.gate.asked == [("Europe/Berlin", "reminders")] * 2


# ── how it sounds ───────────────────────────────────────────────────────────────────────────────────────────────────


OF_AGENT = {"greeting": "Agent here.", "voice": "agent-voice", "language": "de-DE", "system_prompt": "Be the agent."}
OF_WISH = {"greeting": "Wished.", "voice": "wished-voice", "language": "fr-FR", "system_prompt": "Be as wished."}


@pytest.mark.parametrize(
    ("of_agent", "of_wish", "expected"),
    [
        ({}, {}, ("Hello from the settings.", "settings-voice", "en-US", "")),
        (OF_AGENT, {}, ("Agent here.", "agent-voice", "de-DE", "Be the agent.")),
        (OF_AGENT, OF_WISH, ("Wished.", "wished-voice", "fr-FR", "Be as wished.")),
    ],
    ids=["settings", "agent", "wish"],
)
async def test_the_request_goes_before_the_agent_and_that_before_the_settings(
    of_agent: dict[str, str], of_wish: dict[str, str], expected: tuple[str, ...]
) -> None:
    """Greeting, voice, language and prompt are each chosen so, for the carrier and for the reception alike."""
    parties = Parties()
    await conversations(parties).make_call(agent(**of_agent), wish(**of_wish))
    (call,) = parties.reception.expected.values()
    assert (call.greeting, call.voice, call.language, call.system_prompt) == expected
    relay = relay_element(parties)
    assert (relay.get("welcomeGreeting"), relay.get("voice"), relay.get("language")) == expected[:3]


async def test_an_empty_greeting_is_a_choice() -> None:
    """Who wishes for no greeting gets none, whatever the agent and the settings have."""
    parties = Parties()
    await conversations(parties).make_call(agent(greeting="Agent here."), wish(greeting=""))
    assert "welcomeGreeting" not in relay_element(parties).attrib


async def test_markup_is_not_read_aloud() -> None:
    """What a client writes for a screen is cleaned before it is spoken."""
    parties = Parties()
    made = wish(greeting="**Hello** 😀 & bye", on_voicemail=Voicemail.LEAVE_MESSAGE, for_voicemail="# Call me")
    await conversations(parties).make_call(agent(), made)
    (call,) = parties.reception.expected.values()
    assert (call.greeting.split(), call.for_voicemail) == (["Hello", "and", "bye"], "Call me")


async def test_the_call_opens_with_who_is_calling() -> None:
    """Before anything else the carrier says that a machine speaks, and for whom, in the call's language."""
    parties = Parties()
    await conversations(parties).make_call(agent(name="Praxis Ada"), wish(language="de-DE"))
    say = ET.fromstring(parties.carrier.requests[0].twiml)[0]
    assert (say.tag, say.text) == ("Say", "Guten Tag, hier spricht ein KI-Assistent im Auftrag von Praxis Ada.")


async def test_an_agent_may_do_without_the_disclosure() -> None:
    """Where the operator switched it off, the call begins with the greeting."""
    parties = Parties()
    await conversations(parties).make_call(agent(discloses=False), wish())
    assert [each.tag for each in ET.fromstring(parties.carrier.requests[0].twiml)] == ["Connect"]


async def test_a_screened_call_says_nothing_before_a_person_is_there() -> None:
    """The carrier has no greeting to say; the reception has it for the relay."""
    parties = Parties()
    await conversations(parties).make_call(agent(), wish(wait_for_human=True, greeting="Your results are here."))
    (call,) = parties.reception.expected.values()
    assert (call.screened, call.greeting) == (True, "Your results are here.")
    assert "results" not in parties.carrier.requests[0].twiml


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_dry_run_dials_nothing() -> None:
    """The verdict comes back, and nothing is counted, expected or ordered, even where no call could be placed."""
    parties = Parties()
    result = await conversations(parties, has_carrier=False).make_call(agent(number=None), wish(dry_run=True))
    assert (result["dryRun"], result["allowed"], result["to"]) == (True, True, THEIRS)
    assert (parties.log, parties.gate.counted, parties.observer.dials) == (["explained"], [], [])


async def test_a_dry_run_explains_refusals() -> None:
    """What the gate objects to is the result of a dry run, and no error."""
    parties = Parties()
    parties.gate.refusals = (DO_NOT_CALL,)
    result = await conversations(parties).make_call(agent(), wish(dry_run=True))
    assert (result["allowed"], [each["name"] for each in result["refusals"]]) == (False, ["do_not_call"])


async def test_the_gate_refuses() -> None:
    """All refusals are told with what lifts them, the first gives the code, and no place is taken."""
    parties = Parties()
    parties.gate.refusals, parties.gate.next_allowed = (DO_NOT_CALL, QUIET_HOURS), WallClock().time
    refusal = await refused(parties, wish())
    assert refusal.code == "do_not_call"
    for text in ("The number is on the list.", "Its removal.", "Its owner may be asleep.", "Waiting."):
        assert text in str(refusal)
    assert [each["name"] for each in refusal.details["refusals"]] == ["do_not_call", "quiet_hours"]
    assert refusal.details["nextAllowed"] == "2026-11-22T09:00:00Z"
    assert (parties.log, parties.observer.dials) == (["explained"], [("call", "do_not_call")])


async def test_the_gate_may_change_its_mind() -> None:
    """Of two calls that ask for the last place at once, the one that lost is withdrawn before anything is ordered."""
    parties = Parties()
    parties.gate.refusals_when_counting = (QUIET_HOURS,)
    assert (await refused(parties, wish())).code == "quiet_hours"
    assert parties.log == ["explained", "expected", "checked", "withdrawn"]


async def test_without_a_carrier_no_call_is_placed() -> None:
    """The refusal names the settings that are missing."""
    refusal = await refused(Parties(), wish(), has_carrier=False)
    assert refusal.code == "no_carrier"
    assert "TWILIO_ACCOUNT_SID" in str(refusal)
    assert "TWILIO_API_BASE_URL" in str(refusal)


async def test_a_full_house_takes_no_more_calls() -> None:
    """The reception's refusal keeps its code, and nothing is counted."""
    parties = Parties()
    parties.reception.refusal = CallRefused("full", "all places are taken")
    assert (await refused(parties, wish())).code == "full"
    assert parties.log == ["explained", "expected"]


async def test_a_greeting_that_does_not_fit_is_named() -> None:
    """Orders that are longer than the carrier takes are refused before they are counted."""
    parties = Parties()
    refusal = await refused(parties, wish(greeting="Hello. " * 600))
    assert (refusal.code, "greeting" in str(refusal)) == ("too_long", True)
    assert parties.log == ["explained", "expected", "withdrawn"]


@pytest.mark.parametrize(
    "changes",
    [
        {"on_voicemail": Voicemail.LEAVE_MESSAGE},
        {"on_voicemail": Voicemail.LEAVE_MESSAGE, "for_voicemail": " "},
        {"for_voicemail": "Call me back."},
        {"on_voicemail": Voicemail.GO_ON, "for_voicemail": "Call me back."},
        {"ring_seconds": 4},
        {"ring_seconds": 121},
    ],
)
def test_what_makes_no_sense_cannot_be_asked(changes: dict[str, Any]) -> None:
    """The message for a voicemail and the choice to leave one go together, and a telephone rings as long as it can."""
    with pytest.raises(ValueError, match=r"for_voicemail|ring_seconds"):
        wish(**changes)


@pytest.mark.parametrize(
    ("retryable", "hint"), [(True, "A retry may succeed later"), (False, "would be refused again")]
)
async def test_the_carrier_refuses(*, retryable: bool, hint: str) -> None:
    """The refusal says why, and whether it is any use to try again; the call is expected no more."""
    parties = Parties()
    parties.carrier.failure = CarrierRefused("country_not_permitted", 21215, "Not this country.", retryable)
    refusal = await refused(parties, wish())
    assert (refusal.code, refusal.details) == ("country_not_permitted", {"retryable": retryable})
    assert "Not this country." in str(refusal)
    assert hint in str(refusal)
    assert parties.log[-1] == "withdrawn"
    assert parties.observer.dials == [("call", "country_not_permitted")]


async def test_a_call_that_may_ring_stays_expected() -> None:
    """Where nobody knows whether there is a call, the client must not dial again, and the call would work."""
    parties = Parties()
    parties.carrier.failure = CallOutcomeUnknown(THEIRS, OURS, WallClock().time)
    refusal = await refused(parties, wish())
    assert (refusal.code, "Do not dial again" in str(refusal)) == ("outcome_unknown", True)
    assert len(parties.reception.expected) == 1
    assert "withdrawn" not in parties.log


@pytest.mark.parametrize("fails_late", [False, True])
async def test_without_a_verdict_nothing_is_dialled(*, fails_late: bool) -> None:
    """A database that cannot be used comes out as it is, whenever it fails, and nobody is expected."""
    parties = Parties()

    def fail() -> None:
        parties.gate.failing = True

    if fails_late:
        parties.reception.meanwhile = fail
    else:
        fail()
    with pytest.raises((StoreFailed, DatabaseError)):
        await conversations(parties).make_call(agent(), wish())
    assert (parties.carrier.requests, parties.reception.expected) == ([], {})
    assert parties.observer.dials == [("call", "store_failed")]


async def test_a_call_is_not_taken_back_because_it_was_not_recorded() -> None:
    """Once the telephone rings the client learns so, whatever the database does."""
    parties = Parties()
    parties.reception.failing = True
    assert (await conversations(parties).make_call(agent(), wish()))["callSid"] == SID


async def test_a_call_that_nobody_waits_for_is_expected_no_more() -> None:
    """Cancelled while the carrier is asked, the call gives its place back."""
    parties = Parties()
    parties.carrier.held = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conversations(parties).make_call, agent(), wish())
        await trio.testing.wait_all_tasks_blocked()
        assert len(parties.reception.expected) == 1
        nursery.cancel_scope.cancel()
    assert parties.reception.expected == {}
    assert parties.observer.dials == []


async def test_a_refusal_holds_no_number() -> None:
    """No text of a refusal repeats the number that was asked for, nor ours."""
    parties = Parties()
    parties.carrier.failure = CallOutcomeUnknown(THEIRS, OURS, WallClock().time)
    for changes in ({}, {"greeting": "x" * 4000}):
        text = str(await refused(parties, wish(**changes)))
        assert THEIRS[-7:] not in text
        assert OURS[-7:] not in text
