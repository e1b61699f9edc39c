from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree as ET

import pytest
import trio
import trio.testing

from actors.call_record import CallKind
from actors.errors import StoreFailed
from relay.dialling.calling_hours import CallingHours
from relay.dialling.dial_check import DiallingGate
from relay.dialling.requests import VoiceMessageRequest
from relay.dialling.verdict import DialKind, GateRules
from relay.dialling.voice_messages import VoiceMessages
from relay.errors import DatabaseError, OutboundRefused
from relay.speech.audio_files import AudioFiles, AudioOptions
from relay.speech.engines.port import SpeechFailed
from relay.store.agent_registry import AgentRegistry
from relay.store.call_journal import CallJournal
from relay.store.database import Database
from relay.twilio.rest_errors import CallOutcomeUnknown, CarrierRefused
from tests.fakes_store import WallClock
from tests.limits import HANGING
from tests.relay.dialling.parties import DEFAULTS, DO_NOT_CALL, OURS, PUBLIC_URL, THEIRS, Parties, agent
from tests.relay.speech.engines.scripted_engine import ScriptedEngine

SID = f"CA{1:032}"
TEXT = "Reminder: your appointment is tomorrow at 3 PM."


@pytest.fixture
def engine() -> ScriptedEngine:
    """Have an engine that speaks at once, for two seconds."""
    ready = ScriptedEngine(size=32_000)
    ready.go.set()
    return ready


@pytest.fixture
def audio(tmp_path: Path) -> AudioFiles:
    """Have a store of audio."""
    return AudioFiles(AudioOptions(directory=tmp_path / "audio"))


def messages(
    parties: Parties, engine: ScriptedEngine | None, audio: AudioFiles, *, has_carrier: bool = True
) -> VoiceMessages:
    """Put the messages together."""
    return VoiceMessages(
        dialler=parties.dialler(has_carrier=has_carrier),
        journal=cast("CallJournal", parties.records),
        engine=engine,
        audio=audio,
        urls=parties.urls,
        defaults=DEFAULTS,
    )


def wish(**changes: Any) -> VoiceMessageRequest:
    """Wish for the usual message."""
    return VoiceMessageRequest(**({"to": THEIRS, "text": TEXT} | changes))


def orders(parties: Parties) -> ET.Element:
    """Return the carrier's orders for the one call."""
    (request,) = parties.carrier.requests
    return ET.fromstring(request.twiml)


async def kept(audio: AudioFiles, parties: Parties) -> bool:
    """Tell whether the audio of the last message that was ordered can be played."""
    url = ET.fromstring(parties.carrier.requests[-1].twiml).findtext("Play") or ""
    return await audio.find(url.rpartition("/")[2].removesuffix(".wav")) is not None


def expired(audio: AudioFiles) -> list[bool]:
    """Tell of each file whether its time is over."""
    return [each.stat().st_mtime <= audio.now() for each in audio.options.directory.glob("*.wav")]


# ── a message that is sent ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_text_is_spoken_and_played(engine: ScriptedEngine, audio: AudioFiles) -> None:
    """The client learns of the call and the audio; the carrier is to play it, and finds it there."""
    parties = Parties()
    result = await messages(parties, engine, audio).send(agent(), wish())
    url = result.pop("audioUrl")
    assert result == {"callSid": SID, "status": "queued", "to": THEIRS, "from": OURS, "durationSeconds": 2.0}
    assert orders(parties).findtext("Play") == url
    assert url.startswith(f"{PUBLIC_URL}/audio/")
    assert await kept(audio, parties)
    assert parties.observer.dials == [("voice_message", "placed")]


async def test_the_dial_of_a_message_is_counted_first(engine: ScriptedEngine, audio: AudioFiles) -> None:
    """The gate counts before speech is paid for, and the record is opened when the call has its name."""
    parties = Parties()
    await messages(parties, engine, audio).send(agent(), wish())
    assert parties.log == ["checked", "created", "announced"]
    assert parties.gate.counted == [("my-client", THEIRS, DialKind.VOICE_MESSAGE)]
    row = parties.records.rows[SID]
    assert (row.kind, row.caller, row.called) == (CallKind.VOICE_MESSAGE, OURS, THEIRS)


async def test_a_message_opens_with_who_is_calling(engine: ScriptedEngine, audio: AudioFiles) -> None:
    """Before the audio the carrier says that a machine speaks, unless the operator switched that off."""
    parties = Parties()
    await messages(parties, engine, audio).send(agent(), wish())
    assert [each.tag for each in orders(parties)] == ["Say", "Play"]
    parties = Parties()
    await messages(parties, engine, audio).send(agent(discloses=False), wish())
    assert [each.tag for each in orders(parties)] == ["Play"]


async def test_a_message_is_cleaned_before_it_is_spoken(engine: ScriptedEngine, audio: AudioFiles) -> None:
    """The engine gets what can be heard, with the voice and the language of the wish."""
    parties = Parties()
    made = wish(text="**Reminder** 😀", voice="wished-voice", language="de-DE")
    await messages(parties, engine, audio).send(agent(voice="agent-voice"), made)
    assert engine.asked == [("Reminder", "wished-voice", "de-DE")]


async def test_the_carrier_may_speak_itself(audio: AudioFiles) -> None:
    """Without an engine the text is in the orders, and there is no audio to tell of."""
    parties = Parties()
    result = await messages(parties, None, audio).send(agent(discloses=False), wish())
    assert (result["audioUrl"], result["durationSeconds"]) == (None, None)
    assert [(each.tag, each.text) for each in orders(parties)] == [("Say", TEXT)]
    assert parties.carrier.requests[0].time_limit == DEFAULTS.time_limit


async def test_a_message_has_limits(engine: ScriptedEngine, audio: AudioFiles) -> None:
    """It rings as long as wished, nobody asks whether a machine answers, and the call ends soon after the audio."""
    parties = Parties()
    await messages(parties, engine, audio).send(agent(), wish(ring_seconds=40))
    (request,) = parties.carrier.requests
    assert (request.ring_seconds, request.detect_machine, request.time_limit) == (40, None, 62)


async def test_a_replaced_voice_is_reported(engine: ScriptedEngine, audio: AudioFiles) -> None:
    """The client learns that another voice spoke, and which."""
    parties = Parties()
    engine.other_voice = "b-voice"
    assert (await messages(parties, engine, audio).send(agent(), wish()))["otherVoice"] == "b-voice"


async def test_only_what_may_be_dialled_is_spoken(audio: AudioFiles, database: Database) -> None:
    """Of many messages at once to one number, so many are paid for as the gate lets through."""
    parties, spoken, said = Parties(), ScriptedEngine(size=16_000), []
    spoken.go.set()

    async def send(sender: VoiceMessages, number: int) -> None:
        try:
            said.append((await sender.send(agent(), wish(text=f"Message {number}.")))["status"])
        except OutboundRefused as refusal:
            said.append(refusal.code)

    await AgentRegistry(database).add("my-client", number=OURS)
    rules = GateRules(allow_unassigned=True, calling_hours=CallingHours(0, 1440), calls_per_agent_per_minute=0)
    parties.real_gate = DiallingGate(database, rules)
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            for number in range(32):
                nursery.start_soon(send, messages(parties, spoken, audio), number)
    assert sorted(said) == ["number_daily_limit"] * 27 + ["queued"] * 5
    assert len(spoken.asked) == 5


async def test_failing_speech_uses_up_no_place(engine: ScriptedEngine, audio: AudioFiles, database: Database) -> None:
    """However often speech failed, the number may still be called as often as before."""
    parties = Parties()
    await AgentRegistry(database).add("my-client", number=OURS)
    rules = GateRules(allow_unassigned=True, calling_hours=CallingHours(0, 1440), calls_per_number_per_day=1)
    parties.real_gate = DiallingGate(database, rules)
    engine.failure = SpeechFailed("speech_busy", "Try again.")
    for _each in range(3):
        with pytest.raises(OutboundRefused, match="Try again"):
            await messages(parties, engine, audio).send(agent(), wish())
    engine.failure = None
    assert (await messages(parties, engine, audio).send(agent(), wish()))["status"] == "queued"
    with pytest.raises(OutboundRefused, match="1 calls to this number"):
        await messages(parties, engine, audio).send(agent(), wish())


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_dry_run_of_a_message_speaks_nothing(engine: ScriptedEngine, audio: AudioFiles) -> None:
    """The verdict comes back; nothing is spoken, counted or ordered."""
    parties = Parties()
    result = await messages(parties, engine, audio, has_carrier=False).send(agent(), wish(dry_run=True))
    assert (result["dryRun"], result["allowed"]) == (True, True)
    assert (engine.asked, parties.gate.counted, parties.log) == ([], [], ["explained"])


async def refused(parties: Parties, engine: ScriptedEngine | None, audio: AudioFiles, made: VoiceMessageRequest) -> str:
    """Send a message that is refused, and return the code."""
    with pytest.raises(OutboundRefused) as caught:
        await messages(parties, engine, audio).send(agent(), made)
    assert parties.observer.dials == [("voice_message", caught.value.code)]
    return caught.value.code


@pytest.mark.parametrize("text", ["", "  \n", "😀", "\x00"])
async def test_a_message_that_cannot_be_heard_is_refused(engine: ScriptedEngine, audio: AudioFiles, text: str) -> None:
    """Nothing is asked of anybody for a text of which nothing is left."""
    parties = Parties()
    assert await refused(parties, engine, audio, wish(text=text)) == "nothing_to_say"
    assert (engine.asked, parties.log) == ([], [])


async def test_the_gate_refuses_before_anything_is_spoken(engine: ScriptedEngine, audio: AudioFiles) -> None:
    """Speech costs money with some engines; none is made for a number that may not be called."""
    parties = Parties()
    parties.gate.refusals = (DO_NOT_CALL,)
    assert await refused(parties, engine, audio, wish()) == "do_not_call"
    assert (engine.asked, parties.log) == ([], ["checked"])


async def test_a_failing_engine_dials_nothing(engine: ScriptedEngine, audio: AudioFiles) -> None:
    """Its reason is the refusal's, and the gate's place is given back."""
    parties = Parties()
    engine.failure = SpeechFailed("speech_key_refused", "Check the key.")
    assert await refused(parties, engine, audio, wish()) == "speech_key_refused"
    assert (parties.log, parties.gate.counted) == (["checked", "given back"], [])


async def test_a_place_that_cannot_be_given_back_hides_no_reason(engine: ScriptedEngine, audio: AudioFiles) -> None:
    """What the client learns is why nothing was dialled; the place stays counted."""
    parties = Parties()
    engine.failure = SpeechFailed("speech_key_refused", "Check the key.")
    parties.gate.keeps_places = True
    assert await refused(parties, engine, audio, wish()) == "speech_key_refused"
    assert len(parties.gate.counted) == 1


async def test_a_message_that_is_cancelled_while_it_is_spoken_gives_its_place_back(
    engine: ScriptedEngine, audio: AudioFiles
) -> None:
    """Whoever changes their mind before anything was ordered has used up nothing."""
    parties = Parties()
    engine.go = trio.Event()
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(messages(parties, engine, audio).send, agent(), wish())
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert (len(engine.asked), parties.gate.counted, parties.carrier.requests) == (1, [], [])


async def test_audio_that_cannot_be_kept_dials_nothing(engine: ScriptedEngine, tmp_path: Path) -> None:
    """A store without room refuses, and the gate's place is given back."""
    parties = Parties()
    audio = AudioFiles(AudioOptions(directory=tmp_path, max_bytes=10))
    assert await refused(parties, engine, audio, wish()) == "audio_store_full"
    assert (parties.log, parties.gate.counted) == (["checked", "given back"], [])


async def test_a_text_that_the_carrier_cannot_take_is_named(audio: AudioFiles) -> None:
    """Said by the carrier itself, a text must fit into its orders."""
    parties = Parties()
    with pytest.raises(OutboundRefused, match="text is too long") as caught:
        await messages(parties, None, audio).send(agent(), wish(text="a > " * 700))
    assert caught.value.code == "too_long"


async def test_audio_of_a_refused_call_expires_at_once(engine: ScriptedEngine, audio: AudioFiles) -> None:
    """What nobody will play cannot be fetched any more."""
    parties = Parties()
    parties.carrier.failure = CarrierRefused("number_blocked", 21216, "Blocked.", False)
    assert await refused(parties, engine, audio, wish()) == "number_blocked"
    assert not await kept(audio, parties)
    assert parties.records.rows == {}


async def test_audio_of_a_call_that_may_ring_is_kept(engine: ScriptedEngine, audio: AudioFiles) -> None:
    """Where nobody knows whether there is a call, whoever answers it hears the message."""
    parties = Parties()
    parties.carrier.failure = CallOutcomeUnknown(THEIRS, OURS, WallClock().time)
    assert await refused(parties, engine, audio, wish()) == "outcome_unknown"
    assert await kept(audio, parties)


async def test_audio_of_a_cancelled_message_expires(engine: ScriptedEngine, audio: AudioFiles) -> None:
    """Also while the cancellation is on its way."""
    parties = Parties()
    parties.carrier.held = trio.Event()
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(messages(parties, engine, audio).send, agent(), wish())
            await parties.carrier.was_asked.wait()
            nursery.cancel_scope.cancel()
    assert expired(audio) == [True]


async def test_a_message_is_sent_even_if_it_is_not_recorded(engine: ScriptedEngine, audio: AudioFiles) -> None:
    """Once the telephone rings the client learns so, whatever the database does."""
    parties = Parties()
    parties.records.failing = True
    assert (await messages(parties, engine, audio).send(agent(), wish()))["callSid"] == SID


async def test_without_a_verdict_no_message_is_sent(engine: ScriptedEngine, audio: AudioFiles) -> None:
    """A database that cannot be used comes out as it is."""
    parties = Parties()
    parties.gate.failing = True
    with pytest.raises((StoreFailed, DatabaseError)):
        await messages(parties, engine, audio).send(agent(), wish())
    assert (engine.asked, parties.carrier.requests) == ([], [])
