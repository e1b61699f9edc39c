"""The tools for using the telephone turn checked arguments into wishes, and answers and refusals into results."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.sse import sse_client

from actors.call_values import Voicemail
from actors.errors import StoreFailed, UnknownCall
from relay.agent import Agent
from relay.dialling.requests import CallRequest, TransferRequest, VoiceMessageRequest
from relay.errors import OutboundRefused
from relay.mcp.tools.toolbox import Toolbox
from tests.relay.mcp.mcp_relay import NOW, RunningRelay, called
from tests.relay.mcp.memory_outbound import VERDICT, MemoryOutbound
from tests.sids import sid

VOICE = "XB0fDUnXU5powFXDhCwa"
ANNA = Agent(agent_id="anna", created_at=NOW)
BERLIN = "+4930123456"
CALL: dict[str, Any] = {"to": BERLIN}
MESSAGE: dict[str, Any] = {"to": BERLIN, "text": "Hello."}
TRANSFER: dict[str, Any] = {"to": BERLIN, "callSid": sid()}
DIALLING = (("comms_make_call", CALL), ("comms_send_voice_message", MESSAGE), ("comms_transfer_call", TRANSFER))


def a_telephone(failure: Exception | None = None) -> MemoryOutbound:
    return MemoryOutbound(failure=failure, calls={("anna", sid()), ("bert", sid(2))})


async def call(
    outbound: MemoryOutbound, name: str, arguments: dict[str, Any], agent: Agent = ANNA
) -> types.CallToolResult:
    """Call a tool, and check its result, good or bad, as the TypeScript clients do."""
    result = await called(Toolbox(outbound.tools()), agent, name, arguments)
    validator_of(name).validate(result.structured_content)
    return result


@cache
def validator_of(name: str) -> jsonschema.Draft202012Validator:
    """Return what checks the results of a tool; the schema itself is checked once."""
    jsonschema.Draft202012Validator.check_schema(schema_of(name))
    return jsonschema.Draft202012Validator(schema_of(name))


def schema_of(name: str) -> dict[str, Any]:
    (definition,) = (each for each in Toolbox(MemoryOutbound().tools()).definitions if each.name == name)
    assert definition.output_schema is not None
    return definition.output_schema


async def content(outbound: MemoryOutbound, name: str, **arguments: Any) -> dict[str, Any]:
    result = await call(outbound, name, arguments)
    assert not result.is_error, result.structured_content
    return dict(result.structured_content or {})


async def error(outbound: MemoryOutbound, name: str, **arguments: Any) -> dict[str, Any]:
    result = await call(outbound, name, arguments)
    assert result.is_error
    return dict(result.structured_content["error"])


# ── wishes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_call_is_requested_with_the_given_arguments() -> None:
    """Every argument of a call reaches whoever places it, for the token's agent."""
    outbound = a_telephone()
    placed = await content(
        outbound,
        "comms_make_call",
        to="+49 30 123456",
        greeting="Good morning.",
        systemPrompt="You remind people.",
        voice=VOICE,
        language="de-DE",
        waitForHuman=True,
        onVoicemail="leave_message",
        voicemailMessage=" Please call back. ",
        ringSeconds=40,
        timeZone="Europe/Berlin",
        purpose="reminders",
    )
    assert placed == {"callSid": sid(), "status": "queued", "to": "+49 30 123456", "from": "+15550002222"}
    wish = CallRequest(
        to="+49 30 123456",
        greeting="Good morning.",
        system_prompt="You remind people.",
        voice=VOICE,
        language="de-DE",
        wait_for_human=True,
        on_voicemail=Voicemail.LEAVE_MESSAGE,
        for_voicemail="Please call back.",
        ring_seconds=40,
        zone="Europe/Berlin",
        purpose="reminders",
    )
    assert outbound.wishes == [("anna", wish)]


async def test_voice_message_is_requested_with_the_given_arguments() -> None:
    """Every argument of a voice message reaches whoever sends it."""
    outbound = a_telephone()
    sent = await content(
        outbound,
        "comms_send_voice_message",
        **MESSAGE,
        voice=VOICE,
        language="en-US",
        ringSeconds=5,
        timeZone="Europe/Berlin",
        purpose="reminders",
    )
    assert sent["audioUrl"] == "https://voice.example.com/audio/x.wav"
    wish = VoiceMessageRequest(
        to=BERLIN,
        text="Hello.",
        voice=VOICE,
        language="en-US",
        ring_seconds=5,
        zone="Europe/Berlin",
        purpose="reminders",
    )
    assert outbound.wishes == [("anna", wish)]


async def test_transfer_is_requested_with_the_given_arguments() -> None:
    """Every argument of a transfer reaches whoever carries it out."""
    outbound = a_telephone()
    arguments = {"ringSeconds": 120, "timeZone": "Europe/Berlin", "purpose": "support"}
    passed_on = await content(
        outbound, "comms_transfer_call", **TRANSFER, **arguments, announcementText="One moment.", confirm=True
    )
    assert passed_on == {"callSid": sid(), "status": "transferring", "to": BERLIN}
    wish = TransferRequest(
        to=BERLIN,
        call_sid=sid(),
        announcement="One moment.",
        confirm=True,
        ring_seconds=120,
        zone="Europe/Berlin",
        purpose="support",
    )
    assert outbound.wishes == [("anna", wish)]


@pytest.mark.parametrize("left_out", [{}, dict.fromkeys(("greeting", "systemPrompt", "voice", "ringSeconds"))])
async def test_what_is_left_out_is_left_to_others(left_out: dict[str, None]) -> None:
    """An argument that is missing or null is not decided here: the agent's or the relay's own counts."""
    outbound = a_telephone()
    await call(outbound, "comms_make_call", {**CALL, **left_out})
    assert outbound.wishes == [("anna", CallRequest(to=BERLIN))]


async def test_empty_greeting_is_no_greeting() -> None:
    """An empty greeting is a wish of its own, unlike one that is left out."""
    outbound = a_telephone()
    await call(outbound, "comms_make_call", {**CALL, "greeting": ""})
    assert outbound.wishes == [("anna", CallRequest(to=BERLIN, greeting=""))]


async def test_calls_as_people_write_them_are_accepted() -> None:
    """The documented examples of the three tools are good arguments as they stand."""
    outbound = MemoryOutbound(calls={("my-client", "CA0123456789abcdef0123456789abcdef")})
    agent = Agent(agent_id="my-client", created_at=NOW)
    for name, arguments in (
        (
            "comms_make_call",
            {
                "agentId": "my-client",
                "to": "+15559876543",
                "greeting": "Hi, this is your AI assistant calling about your appointment.",
                "systemPrompt": "You are a friendly appointment reminder assistant.",
            },
        ),
        (
            "comms_send_voice_message",
            {
                "agentId": "my-client",
                "to": "+15559876543",
                "text": "Reminder: your appointment is tomorrow at 3 PM.",
            },
        ),
        (
            "comms_transfer_call",
            {
                "agentId": "my-client",
                "callSid": "CA0123456789abcdef0123456789abcdef",
                "to": "+15551234567",
                "announcementText": "Connecting you to a human client now.",
            },
        ),
    ):
        assert not (await call(outbound, name, arguments, agent)).is_error
    assert [wish.to for _, wish in outbound.wishes] == ["+15559876543", "+15559876543", "+15551234567"]


@pytest.mark.parametrize("wish", Voicemail)
async def test_every_way_with_a_machine_can_be_asked_for(wish: Voicemail) -> None:
    """The schema names all that can be done when a machine picks up, and all of it is accepted."""
    outbound = a_telephone()
    words = {"voicemailMessage": "Please call back."} if wish is Voicemail.LEAVE_MESSAGE else {}
    await call(outbound, "comms_make_call", {**CALL, "onVoicemail": wish.value, **words})
    _, wished = outbound.wishes[0]
    assert isinstance(wished, CallRequest)
    assert wished.on_voicemail is wish
    (definition, *_) = Toolbox(outbound.tools()).definitions
    assert wish.value in definition.input_schema["properties"]["onVoicemail"]["enum"]


# ── bad arguments ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "arguments", "field"),
    [
        *((name, {**good, "to": None}, "to") for name, good in DIALLING),
        *((name, {**good, "to": ""}, "to") for name, good in DIALLING),
        *((name, {**good, "to": 4930123456}, "to") for name, good in DIALLING),
        *((name, {**good, "to": "+" + "1" * 64}, "to") for name, good in DIALLING),
        *((name, {**good, "ringSeconds": 4}, "ringSeconds") for name, good in DIALLING),
        *((name, {**good, "ringSeconds": 121}, "ringSeconds") for name, good in DIALLING),
        *((name, {**good, "ringSeconds": "long"}, "ringSeconds") for name, good in DIALLING),
        *((name, {**good, "timeZone": ""}, "timeZone") for name, good in DIALLING),
        *((name, {**good, "timeZone": "x" * 65}, "timeZone") for name, good in DIALLING),
        *((name, {**good, "purpose": "x" * 101}, "purpose") for name, good in DIALLING),
        *((name, {**good, "dryRun": "perhaps"}, "dryRun") for name, good in DIALLING),
        *((name, {**good, "when": "now"}, "when") for name, good in DIALLING),
        ("comms_make_call", {**CALL, "greeting": "x" * 1001}, "greeting"),
        ("comms_make_call", {**CALL, "greeting": {"text": "Hi"}}, "greeting"),
        ("comms_make_call", {**CALL, "systemPrompt": "x" * 20_001}, "systemPrompt"),
        ("comms_make_call", {**CALL, "voice": ""}, "voice"),
        ("comms_make_call", {**CALL, "voice": "x" * 101}, "voice"),
        ("comms_make_call", {**CALL, "language": "en_US"}, "language"),
        ("comms_make_call", {**CALL, "language": "English (US)"}, "language"),
        ("comms_make_call", {**CALL, "language": "en" + "-variant" * 5}, "language"),
        ("comms_make_call", {**CALL, "waitForHuman": "maybe"}, "waitForHuman"),
        ("comms_make_call", {**CALL, "onVoicemail": "shout"}, "onVoicemail"),
        ("comms_make_call", {**CALL, "onVoicemail": "leave_message"}, "voicemailMessage"),
        ("comms_make_call", {**CALL, "voicemailMessage": "Call me."}, "onVoicemail"),
        ("comms_make_call", {**CALL, "voicemailMessage": "x" * 1001}, "voicemailMessage"),
        ("comms_send_voice_message", {"to": BERLIN}, "text"),
        ("comms_send_voice_message", {**MESSAGE, "text": ""}, "text"),
        ("comms_send_voice_message", {**MESSAGE, "text": "x" * 3001}, "text"),
        ("comms_send_voice_message", {**MESSAGE, "language": "d"}, "language"),
        ("comms_transfer_call", {"to": BERLIN}, "callSid"),
        ("comms_transfer_call", {**TRANSFER, "callSid": ""}, "callSid"),
        ("comms_transfer_call", {**TRANSFER, "callSid": "x" * 65}, "callSid"),
        ("comms_transfer_call", {**TRANSFER, "announcementText": "x" * 1001}, "announcementText"),
        ("comms_transfer_call", {**TRANSFER, "confirm": "1?"}, "confirm"),
        ("comms_stop_calling", {}, "number and callSid"),
        ("comms_stop_calling", {"number": "", "callSid": ""}, "number and callSid"),
        ("comms_stop_calling", {"number": BERLIN, "callSid": sid()}, "number and callSid"),
        ("comms_stop_calling", {"number": BERLIN, "reason": "x" * 501}, "reason"),
    ],
)
async def test_bad_arguments_name_the_field_and_do_nothing(name: str, arguments: dict[str, Any], field: str) -> None:
    """A model that sends a wrong argument is told which one, and nobody's telephone rings."""
    outbound = a_telephone()
    told = await error(outbound, name, **arguments)
    assert told["code"] == "bad_arguments"
    assert field in told["message"]
    assert (outbound.wishes, outbound.stopped) == ([], [])


@pytest.mark.parametrize(
    ("given", "tag"),
    [("de", "de"), ("multi", "multi"), ("es-419", "es-419"), ("zh-Hant-TW", "zh-Hant-TW"), ("EN-us", "en-US")],
)
async def test_language_tags_of_all_forms_are_accepted(given: str, tag: str) -> None:
    """A tag may have a script, a region by number, or any case; it goes on in its usual one."""
    outbound = a_telephone()
    await call(outbound, "comms_make_call", {**CALL, "language": given})
    assert outbound.wishes == [("anna", CallRequest(to=BERLIN, language=tag))]


@pytest.mark.parametrize("name", ["comms_make_call", "comms_send_voice_message"])
@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("klingon", "such as en-US or de-DE"),
        ("en US", "Did you mean en-US?"),
        ("english", "Did you mean en-US?"),
        ("de_DE", "Did you mean de-DE?"),
        ("jp", "Did you mean ja-JP?"),
        ("", "such as en-US or de-DE"),
        ("{why}", "such as en-US or de-DE"),
    ],
)
async def test_a_language_that_is_none_is_reported_with_the_nearest(name: str, given: str, meant: str) -> None:
    """A model learns which tag it should have given, before anybody's telephone rings."""
    outbound = a_telephone()
    arguments = MESSAGE if "voice" in name else CALL
    told = await error(outbound, name, **arguments, language=given)
    assert told["code"] == "bad_arguments"
    assert "language" in told["message"]
    assert meant in told["message"]
    assert outbound.wishes == []


async def test_a_call_in_a_language_that_nobody_has_is_not_placed() -> None:
    """A language that is neither spoken nor understood would cut the call; a voice message may do."""
    outbound = a_telephone()
    told = await error(outbound, "comms_make_call", **CALL, language="eu-ES")
    assert "no conversation can be held in it" in told["message"]
    assert outbound.wishes == []
    await content(outbound, "comms_send_voice_message", **MESSAGE, language="eu-ES")
    await content(outbound, "comms_make_call", **CALL, language="ca-ES")
    assert [getattr(wish, "language", None) for _agent, wish in outbound.wishes] == ["eu-ES", "ca-ES"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [(VOICE, VOICE), (f"{VOICE}-turbo_v4-1.0_0.5_0.75", f"{VOICE}-turbo_v4-1.0_0.5_0.75"), ("none", "")],
)
async def test_the_voice_of_a_call_is_an_id_or_none(given: str, kept: str) -> None:
    """An id goes on as it is, with what follows it; `none` is the telephone service's own, which is an empty voice."""
    outbound = a_telephone()
    await content(outbound, "comms_make_call", **CALL, voice=given)
    assert [getattr(wish, "voice", None) for _agent, wish in outbound.wishes] == [kept]


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("", "20 letters and digits"),
        ("Sarah", "Did you mean EXAVITQu4vr4xnSDxMaL?"),
        ("Polly.Joanna", "speak in no conversation"),
        (VOICE[:-1], "this id has 19"),
        (f"{VOICE}-2.0_0.5_0.5", "speed"),
        (f"{VOICE} ", "20 letters and digits"),
    ],
)
async def test_a_voice_that_is_none_is_reported_with_a_hint(given: str, hint: str) -> None:
    """A voice that would drop the call at once is refused before it is placed."""
    outbound = a_telephone()
    assert hint in (await error(outbound, "comms_make_call", **CALL, voice=given))["message"]
    assert outbound.wishes == []


@pytest.mark.parametrize("voice", ["Polly.Joanna-Neural", "Google.de-DE-Wavenet-A", "alice", VOICE])
async def test_a_voice_message_may_have_a_voice_of_the_carrier(voice: str) -> None:
    """Where the carrier speaks messages, its own voices are as good as the conversation's."""
    outbound = a_telephone()
    await content(outbound, "comms_send_voice_message", **MESSAGE, voice=voice)
    assert [getattr(wish, "voice", None) for _agent, wish in outbound.wishes] == [voice]


@pytest.mark.parametrize(("name", "arguments"), [*DIALLING, ("comms_stop_calling", {"number": BERLIN})])
async def test_nothing_is_dialled_for_another_agent(name: str, arguments: dict[str, Any]) -> None:
    """A token acts for its own agent, whatever `agentId` says."""
    outbound = a_telephone()
    assert (await error(outbound, name, agentId="bert", **arguments))["code"] == "not_your_agent"
    assert (outbound.wishes, outbound.stopped) == ([], [])


# ── results ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "arguments"), DIALLING)
async def test_dry_run_answers_with_the_verdict(name: str, arguments: dict[str, Any]) -> None:
    """A dry run is a good result, also where the number must not be dialled, and says why and until when."""
    outbound = a_telephone()
    assert await content(outbound, name, **arguments, dryRun=True) == {"dryRun": True, **VERDICT}
    assert [wish.dry_run for _, wish in outbound.wishes] == [True]


@pytest.mark.parametrize(("name", "_arguments"), DIALLING)
def test_results_of_all_kinds_keep_to_the_schema(name: str, _arguments: object) -> None:
    """A number that is none has no form to be told, and a carrier that speaks by itself makes no audio."""
    schema = schema_of(name)
    jsonschema.validate({"dryRun": True, **VERDICT, "to": None, "zones": [], "nextAllowed": None}, schema)
    placed = {"callSid": sid(), "status": "queued", "to": BERLIN, "from": BERLIN}
    jsonschema.validate({**placed, "audioUrl": None, "durationSeconds": None}, schema)


@pytest.mark.parametrize(("name", "_arguments"), DIALLING)
@pytest.mark.parametrize("answer", [{}, {"to": BERLIN}, {"dryRun": True}, {"error": {"code": "x"}}])
def test_half_a_result_breaks_the_schema(name: str, _arguments: object, answer: dict[str, Any]) -> None:
    """The schema asks for a whole result, a whole verdict, or an error."""
    with pytest.raises(jsonschema.ValidationError):
        validator_of(name).validate(answer)


@pytest.mark.parametrize(("name", "arguments"), DIALLING)
async def test_refused_number_is_an_error_with_its_reasons(name: str, arguments: dict[str, Any]) -> None:
    """What the gate refuses comes back with its sentence for the model and its rules for programs."""
    details = {"refusals": VERDICT["refusals"], "nextAllowed": VERDICT["nextAllowed"]}
    outbound = a_telephone(OutboundRefused("quiet_hours", "It is night there. Wait until 07:00 UTC.", details))
    assert await error(outbound, name, **arguments) == {
        "code": "quiet_hours",
        "message": "It is night there. Wait until 07:00 UTC.",
        "details": details,
    }


async def test_refusal_of_the_carrier_says_whether_later_is_better() -> None:
    """What the carrier refuses comes back in words, with a word for programs on trying again."""
    outbound = a_telephone(OutboundRefused("carrier_busy", "Try again in a few seconds.", {"retryable": True}))
    refused = await error(outbound, "comms_make_call", **CALL)
    assert (refused["code"], refused["details"]) == ("carrier_busy", {"retryable": True})


@pytest.mark.parametrize(("name", "arguments"), DIALLING)
async def test_database_that_fails_is_reported(name: str, arguments: dict[str, Any]) -> None:
    """Without its record nothing is dialled, and the model may try again."""
    assert (await error(a_telephone(StoreFailed("disk full")), name, **arguments))["code"] == "try_again"


async def test_call_of_another_agent_cannot_be_passed_on() -> None:
    """Whether somebody else has such a call is not told."""
    outbound = a_telephone()
    theirs = await error(outbound, "comms_transfer_call", to=BERLIN, callSid=sid(2))
    nobodys = await error(outbound, "comms_transfer_call", to=BERLIN, callSid=sid(3))
    assert theirs == nobodys
    assert theirs["code"] == "unknown_call"
    assert outbound.wishes == []


# ── stop calling ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_number_is_not_called_any_more() -> None:
    """A number is put on the list with the reason; a second time changes nothing, and says so."""
    outbound = a_telephone()
    arguments = {"number": BERLIN, "callSid": "", "reason": "Said so."}
    assert await content(outbound, "comms_stop_calling", **arguments) == {"to": BERLIN, "added": True}
    assert await content(outbound, "comms_stop_calling", **arguments) == {"to": BERLIN, "added": False}
    assert outbound.stopped == [("anna", BERLIN, "", "Said so.")] * 2


async def test_other_party_of_a_call_is_not_called_any_more() -> None:
    """A call names the number as well."""
    outbound = a_telephone()
    assert await content(outbound, "comms_stop_calling", callSid=sid()) == {"to": "+15550001111", "added": True}
    assert outbound.stopped == [("anna", "", sid(), "")]


async def test_unknown_call_names_no_number() -> None:
    """A call that is not the agent's says so, and asks for the number instead of for a live call."""
    told = await error(a_telephone(UnknownCall(sid(2))), "comms_stop_calling", callSid=sid(2))
    assert told["code"] == "unknown_call"
    assert "number" in told["message"]


# ── what hosts see ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_hosts_learn_what_a_tool_does_to_the_world() -> None:
    """What makes a telephone ring is marked so that hosts ask first; stopping calls is not, and may be repeated."""
    hints = {each.name: each.annotations for each in Toolbox(MemoryOutbound().tools()).definitions}
    for name, _ in DIALLING:
        assert hints[name] == types.ToolAnnotations(
            read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
        )
    assert hints["comms_stop_calling"] == types.ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    )


@asynccontextmanager
async def sdk_client(relay: RunningRelay, agent_id: str = "anna") -> AsyncIterator[Client]:
    """Connect the SDK's own client, which checks results against the schemas that it was shown."""
    async with Client(sse_client(relay.sse_url(agent_id))) as client:
        await client.list_tools()
        yield client


async def told(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool through the SDK, which checks what came back, and return it."""
    result = await client.call_tool(name, arguments)
    assert isinstance(result, types.CallToolResult)
    assert result.is_error == ("error" in result.structured_content)
    return dict(result.structured_content)


async def test_sdk_client_lists_and_calls_the_tools(relay: RunningRelay) -> None:
    """Over SSE, a published client sees the four tools and takes results, verdicts and errors of each."""
    relay.outbound.calls = {("anna", sid())}
    async with sdk_client(relay) as client:
        names = {each.name for each in (await client.list_tools()).tools}
        assert {"comms_stop_calling", *(name for name, _ in DIALLING)} <= names
        for name, arguments in DIALLING:
            assert (await told(client, name, **arguments))["to"] == BERLIN
            assert await told(client, name, **arguments, dryRun=True) == {"dryRun": True, **VERDICT}
            assert "ringSeconds" in (await told(client, name, **arguments, ringSeconds=1))["error"]["message"]
        assert (await told(client, "comms_stop_calling", callSid=sid()))["added"] is True
    assert {agent_id for agent_id, _ in relay.outbound.wishes} == {"anna"}


async def test_sdk_client_of_another_agent_gets_nowhere(relay: RunningRelay) -> None:
    """Over SSE, a token of bert's neither acts for anna nor passes on, or learns of, a call of hers."""
    relay.outbound.calls = {("anna", sid())}
    async with sdk_client(relay, "bert") as client:
        for name, arguments in DIALLING:
            assert (await told(client, name, **arguments, agentId="anna"))["error"]["code"] == "not_your_agent"
        for name, arguments in (("comms_transfer_call", TRANSFER), ("comms_stop_calling", {"callSid": sid()})):
            assert (await told(client, name, **arguments))["error"]["code"] == "unknown_call"
    assert (relay.outbound.wishes, relay.outbound.stopped) == ([], [])
