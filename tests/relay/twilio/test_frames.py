"""The codec of the voice socket: what the carrier may send, what it may not, and what we send."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.events import (
    AgentSpeaking,
    CallerBargedIn,
    CallerSpeaking,
    CarrierFailed,
    DigitPressed,
    FrameAccepted,
    FrameRejected,
    FrameUnknown,
    PartialPromptHeard,
    PhoneEvent,
    SpeechPlayed,
    UtteranceHeard,
)
from relay.twilio import frames
from relay.twilio.frames import Setup, parse
from tests.hostile_inputs import MALFORMED_FRAMES, MalformedFrame
from tests.sids import NO_SIDS, sid

CUT_AT_HELLO = CallerBargedIn("hello", 0)
WITH_TICKET = Setup(call_sid=sid(), custom_parameters={"ticket": "t"})
OF_ACCOUNT_7 = Setup(call_sid=sid(), account_sid="7", custom_parameters={"ticket": "t"})


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        ('{"type":"prompt","voicePrompt":"Hi.","lang":"en-US","last":true}', UtteranceHeard("Hi.", "en-US")),
        ('{"type":"prompt","voicePrompt":"Hi","last":false}', PartialPromptHeard("Hi")),
        (
            '{"type":"interrupt","utteranceUntilInterrupt":"Well","durationUntilInterruptMs":340}',
            CallerBargedIn("Well", 340),
        ),
        ('{"type":"dtmf","digit":"#"}', DigitPressed("#")),
        ('{"type":"error","description":"Invalid message"}', CarrierFailed("Invalid message")),
        ('{"type":"info","name":"agentSpeaking","value":"on"}', AgentSpeaking(True)),
        ('{"type":"info","name":"agentSpeaking","value":"off"}', AgentSpeaking(False)),
        ('{"type":"info","name":"clientSpeaking","value":"on"}', CallerSpeaking(True)),
        ('{"type":"info","name":"tokensPlayed","value":"Well, "}', SpeechPlayed("Well, ")),
        ('{"type":"info","name":"roundTripDelayMs","value":"148"}', FrameAccepted()),
    ],
)
def test_each_kind_of_frame_is_its_event(frame: str, event: PhoneEvent) -> None:
    """Every frame of the carrier's table becomes the event that says the same."""
    assert parse(frame) == event


def test_a_setup_frame_names_the_call_and_carries_its_parameters() -> None:
    """The first frame gives the call, the account, both numbers and the custom parameters."""
    frame = {
        "type": "setup",
        "sessionId": "VX1",
        "accountSid": "AC1",
        "parentCallSid": "",
        "callSid": sid(),
        "from": "+15550001111",
        "to": "+15550002222",
        "forwardedFrom": "+15550003333",
        "callType": "PSTN",
        "callerName": "ANNE",
        "direction": "inbound",
        "callStatus": "IN_PROGRESS",
        "customParameters": {"ticket": "t"},
    }
    assert parse(json.dumps(frame)) == Setup(
        call_sid=sid(),
        account_sid="AC1",
        session_id="VX1",
        caller="+15550001111",
        called="+15550002222",
        direction="inbound",
        call_type="PSTN",
        forwarded_from="+15550003333",
        caller_name="ANNE",
        custom_parameters={"ticket": "t"},
    )


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        ('{"type":"setup","callSid":"CA00000000000000000000000000000001"}', Setup(call_sid=sid())),
        (
            '{"type":"setup","callSid":"CA00000000000000000000000000000001","from":null,"customParameters":null}',
            Setup(call_sid=sid()),
        ),
        (
            '{"type":"setup","callSid":"CA00000000000000000000000000000001","customParameters":{"ticket":7,"other":null}}',
            Setup(call_sid=sid(), custom_parameters={"ticket": "7", "other": ""}),
        ),
        ('{"type":"prompt","voicePrompt":"Hi"}', UtteranceHeard("Hi")),
        ('{"type":"prompt","voicePrompt":"Hi","last":null,"lang":null}', UtteranceHeard("Hi")),
        ('{"type":"prompt","voicePrompt":42}', UtteranceHeard("42")),
        ('{"type":"prompt","voicePrompt":null}', UtteranceHeard("")),
        ('{"type":"prompt","voicePrompt":"Hi","turnState":{"deep":[1]}}', UtteranceHeard("Hi")),
        ('{"type":"interrupt"}', CallerBargedIn("", 0)),
        ('{"type":"interrupt","durationUntilInterruptMs":"340"}', CallerBargedIn("", 340)),
        ('{"type":"interrupt","durationUntilInterruptMs":340.6}', CallerBargedIn("", 340)),
        ('{"type":"interrupt","durationUntilInterruptMs":""}', CallerBargedIn("", 0)),
        ('{"type":"dtmf","digit":5}', DigitPressed("5")),
        ('{"type":"error"}', CarrierFailed("")),
        ('{"type":"info","name":"tokensPlayed","value":42}', SpeechPlayed("42")),
        ('{"type":"info","name":"somethingNew","value":{"any":["thing"]}}', FrameAccepted()),
    ],
)
def test_the_carriers_known_variations_are_taken(frame: str, event: Setup | PhoneEvent) -> None:
    """Unknown keys, missing optional ones, null for empty, and numbers for strings are read as they are meant."""
    assert parse(frame) == event


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        ('{"type":"interrupt","utteranceUntilInterrupt":"hello","durationUntilInterruptMs":-5}', CUT_AT_HELLO),
        ('{"type":"interrupt","utteranceUntilInterrupt":"hello","durationUntilInterruptMs":"1.2 s"}', CUT_AT_HELLO),
        ('{"type":"interrupt","utteranceUntilInterrupt":"hello","durationUntilInterruptMs":1e999}', CUT_AT_HELLO),
        ('{"type":"interrupt","utteranceUntilInterrupt":"hello","durationUntilInterruptMs":NaN}', CUT_AT_HELLO),
        ('{"type":"interrupt","utteranceUntilInterrupt":"hello","durationUntilInterruptMs":[]}', CUT_AT_HELLO),
        ('{"type":"interrupt","utteranceUntilInterrupt":["hello"]}', CallerBargedIn("", 0)),
        ('{"type":"interrupt","utteranceUntilInterrupt":false,"durationUntilInterruptMs":{}}', CallerBargedIn()),
        ('{"type":"prompt","voicePrompt":"Hi","lang":["de-DE"]}', UtteranceHeard("Hi")),
        ('{"type":"prompt","voicePrompt":"Hi","lang":true,"last":false}', PartialPromptHeard("Hi")),
        ('{"type":"error","description":{"code":64107}}', CarrierFailed("")),
        ('{"type":"info","name":["agentSpeaking"],"value":"on"}', FrameAccepted()),
        ('{"type":"setup","callSid":"CA00000000000000000000000000000001","from":["+1"]}', Setup(call_sid=sid())),
        (
            '{"type":"setup","callSid":"CA00000000000000000000000000000001","callerName":false,"direction":{}}',
            Setup(call_sid=sid()),
        ),
        (
            '{"type":"setup","callSid":"CA00000000000000000000000000000001","customParameters":[]}',
            Setup(call_sid=sid()),
        ),
        (
            '{"type":"setup","callSid":"CA00000000000000000000000000000001","customParameters":{"ticket":"t","vip":true}}',
            WITH_TICKET,
        ),
        (
            '{"type":"setup","callSid":"CA00000000000000000000000000000001","customParameters":{"a":[],"ticket":"t","b":{"c":1}}}',
            WITH_TICKET,
        ),
        (
            '{"type":"setup","callSid":"CA00000000000000000000000000000001","customParameters":{"ticket":["t"]}}',
            Setup(call_sid=sid()),
        ),
        (
            '{"type":"setup","callSid":"CA00000000000000000000000000000001","accountSid":7,"to":1e999,"customParameters":{"ticket":"t"}}',
            OF_ACCOUNT_7,
        ),
    ],
)
def test_a_field_that_nothing_depends_on_spoils_no_frame(frame: str, event: Setup | PhoneEvent) -> None:
    """It counts as left out, whatever is in it, and the rest of the frame says what it says."""
    assert parse(frame) == event


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ('{"type":"connected"}', "connected"),
        ('{"type":"configUpdated","value":{}}', "configUpdated"),
        ('{"type":"turn-state"}', "turn-state"),
        ('{"type":"x","voicePrompt":"Hi"}', "x"),
        ('{"type":""}', ""),
        ('{"type":"two words"}', ""),
        ('{"type":"<script>"}', ""),
        ('{"type":"Setup","callSid":"CA00000000000000000000000000000001"}', "Setup"),
        ('{"type":"prompt "}', ""),
        ('{"type":"' + "a" * 41 + '"}', ""),
    ],
)
def test_a_type_that_is_not_known_is_distinguished_from_a_fault(frame: str, kind: str) -> None:
    """The carrier adds types; only a name of a usual form is repeated."""
    assert parse(frame) == FrameUnknown(kind)


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        ("", "json_invalid"),
        (" ", "json_invalid"),
        ("not json", "json_invalid"),
        ("null", "dict_type"),
        ("[]", "dict_type"),
        ("5", "dict_type"),
        ('"setup"', "dict_type"),
        ("{}", "union_tag_not_found"),
        ('{"type":null}', "union_tag_invalid"),
        ('{"type":["setup"]}', "union_tag_invalid"),
        ('{"type":"setup"}', "setup.callSid:missing"),
        ('{"type":"setup","callSid":null}', "setup.callSid:string_pattern_mismatch"),
        ('{"type":"prompt"}', "prompt.voicePrompt:missing"),
        ('{"type":"prompt","voicePrompt":true}', "prompt.voicePrompt:string_type"),
        ('{"type":"prompt","voicePrompt":["Hi"]}', "prompt.voicePrompt:string_type"),
        ('{"type":"prompt","voicePrompt":1e999}', "prompt.voicePrompt:value_error"),
        ('{"type":"prompt","voicePrompt":"\\ud800"}', "json_invalid"),
        ('{"type":"prompt","voicePrompt":"\ud800"}', "string_unicode"),
        ('{"type":"prompt","voicePrompt":"Hi","last":"perhaps"}', "prompt.last:bool_parsing"),
        ('{"type":"dtmf"}', "dtmf.digit:missing"),
        ('{"type":"dtmf","digit":"55"}', "dtmf.digit:string_pattern_mismatch"),
        ('{"type":"dtmf","digit":"5\\n"}', "dtmf.digit:string_pattern_mismatch"),
        ('{"type":"info","name":"agentSpeaking","value":"loudly"}', "info.value"),
        ('{"type":"info","name":"tokensPlayed","value":["Well"]}', "info.value"),
        ('{"type":"prompt","voicePrompt":"Hi","deep":' + "[" * 50_000 + "}", "json_invalid"),
        ('{"type":"prompt","voicePrompt":"' + "a" * 70_000 + '"}', "too_long"),
        (b'{"type":"prompt","voicePrompt":"Hi"}', "binary"),
        (b"", "binary"),
    ],
)
def test_what_is_no_frame_is_rejected_with_a_word_of_why(frame: str | bytes, why: str) -> None:
    """Anything else is one value that names the fault and nothing of the content."""
    assert parse(frame) == FrameRejected(why)


@pytest.mark.parametrize("given", NO_SIDS)
def test_a_setup_that_names_no_call_is_rejected(given: str) -> None:
    """A call SID is CA and 32 hexadecimal digits; a setup with anything else in its place carries no call."""
    frame = json.dumps({"type": "setup", "callSid": given, "customParameters": {"ticket": "t"}})
    assert parse(frame) == FrameRejected("setup.callSid:string_pattern_mismatch")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_KEYS = ["callSid", "customParameters", "voicePrompt", "last", "lang", "utteranceUntilInterrupt"]
_KEYS += ["durationUntilInterruptMs", "digit", "description", "name", "value", "from"]
_NEAR_FRAMES = st.builds(
    lambda kind, fields: json.dumps({**fields, "type": kind}),
    st.sampled_from(["setup", "prompt", "interrupt", "dtmf", "error", "info"]) | _JSON,
    st.dictionaries(st.sampled_from(_KEYS), _JSON | st.sampled_from(["on", "tokensPlayed", "agentSpeaking", 1e308])),
)


@given(st.binary() | st.text() | st.characters(categories=["Cs"]) | _JSON.map(json.dumps) | _NEAR_FRAMES)
@example('{"type":"interrupt","durationUntilInterruptMs":1e308}')
def test_no_frame_whatsoever_raises(data: str | bytes) -> None:
    """Any bytes, any text and any JSON, near misses of real frames above all, give a value that a call takes."""
    event = parse(data)
    assert isinstance(event, (Setup, *typing.get_args(PhoneEvent)))


@pytest.mark.parametrize("frame", MALFORMED_FRAMES, ids=lambda frame: frame.name)
def test_no_malformed_frame_raises(frame: MalformedFrame) -> None:
    """What a hostile peer is known to send is dropped, or made do with."""
    assert isinstance(parse(frame.payload), (Setup, *typing.get_args(PhoneEvent)))


def test_speech_goes_out_as_text_frames() -> None:
    """A piece of speech keeps its spaces, and what is not given is left to the carrier."""
    assert json.loads(frames.text(" well ", last=False)) == {"type": "text", "token": " well ", "last": False}


def test_a_text_frame_can_carry_every_attribute() -> None:
    """Language and the two interruption attributes go out under the carrier's names."""
    assert json.loads(frames.text("Ja", last=True, lang="de-DE", interruptible=False, preemptible=True)) == {
        "type": "text",
        "token": "Ja",
        "last": True,
        "lang": "de-DE",
        "interruptible": False,
        "preemptible": True,
    }


@given(st.text() | st.text(st.characters(categories=["Cs", "Lu"])))
def test_speech_is_always_valid_utf8(token: str) -> None:
    """A client's lone surrogate, which would break the socket, is dropped; all else arrives as it was said."""
    sent = json.loads(frames.text(token, last=True).encode("utf-8"))["token"]
    assert sent == "".join(character for character in token if not "\ud800" <= character <= "\udfff")


def test_the_end_frame_has_the_carriers_form() -> None:
    """Ending is encoded as the carrier's table has it, with what shall come back at the action URL."""
    assert json.loads(frames.end()) == {"type": "end"}
    assert json.loads(frames.end('{"to":"x"}')) == {"type": "end", "handoffData": '{"to":"x"}'}


PLAIN = (
    '{"type":"prompt","voicePrompt":"Hi","lang":"en-US","last":true}',
    '{"type":"info","name":"tokensPlayed","value":"Hello"}',
    '{"type":"info","name":"agentSpeaking","value":"on"}',
)
SIGNS = ("{", "}", "[", "]", '"', ",", ":", "\\", " ", "0", "1e9", "-", "true", "null", '"on"', '"last"', '"x":1,')
ODD_SIGNS = ("\ud800", "\\ud800", "\\u0000", "\x00", "\ufeff", "é", '"type":"info",', '"last":false,', "NaN")


@settings(max_examples=300)
@given(
    frame=st.sampled_from(PLAIN),
    changes=st.lists(
        st.tuples(st.integers(0, 70), st.integers(0, 8), st.sampled_from((*SIGNS, *ODD_SIGNS, ""))), max_size=3
    ),
)
def test_a_frame_of_the_documented_form_is_read_as_any_other(
    frame: str, changes: Iterable[tuple[int, int, str]]
) -> None:
    """The quick way for the most frequent frames takes nothing that the tolerant one reads otherwise, or refuses."""
    for place, length, sign in changes:
        frame = frame[:place] + sign + frame[place + length :]
    event = parse(frame)
    if not isinstance(event, FrameRejected):
        assert parse('{"unknown":0,' + frame.lstrip()[1:]) == event  # which the quick way leaves alone
