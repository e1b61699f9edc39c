"""The phone's page in Chromium: typed, with a stubbed recognition, and spoken by a stubbed voice."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from relay.simulator.load.local_daemon import LocalDaemon
from relay.store.operators import Role
from tests.e2e.browser import Chromium, OperatorAccess, Tab, register_operator
from tests.e2e.calling_out import HUMAN, ended_record
from tests.e2e.parties import Access, AiClient, connected, own_url

pytestmark = pytest.mark.browser

STORY = "a long story, " * 40


def ring(tab: Tab, daemon: LocalDaemon, operator: OperatorAccess, agent: Access) -> Page:
    """Sign in, and ring the agent by its page."""
    tab.allowed.add(own_url(daemon).replace("http", "ws", 1))
    tab.sign_in(own_url(daemon), operator.token, f"/console/phone?agent={agent.agent_id}")
    tab.page.get_by_role("button", name="Ring").click()
    expect(tab.page.locator("#call-state")).to_have_text("Connected")
    return tab.page


def say(page: Page, words: str) -> None:
    page.get_by_label("What the caller says").fill(words)
    page.keyboard.press("Enter")


def heard(page: Page, words: str) -> None:
    """Expect words in the conversation, whole and not struck."""
    expect(page.get_by_role("log").locator("bdi", has_text=words).last).to_be_visible()


async def test_a_typed_call(chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess, agent: Access) -> None:
    """Three turns with a real client, an interruption by typing, keys, and who hangs up; the doors are signed ones."""

    def work(tab: Tab, client: AiClient) -> None:
        page = ring(tab, daemon, operator, agent)
        expect(page.get_by_label("What the caller says")).to_be_focused()
        heard(page, "Hello, how can I help you today?")
        for words in ("Which day is it?", "And tomorrow?", STORY):
            say(page, words)
            heard(page, f"You said: {words.strip()}")
        page.wait_for_timeout(1500)  # some words of six hundred characters, at sixteen a second
        page.get_by_label("What the caller says").press_sequentially("W")
        expect(page.get_by_text("heard until here").last).to_be_visible()
        expect(page.locator("s").last).to_contain_text("long story")
        page.keyboard.press("Backspace")
        page.get_by_role("button", name="Interrupt").focus()
        page.keyboard.press("4")
        heard(page, "You said: 4")
        page.get_by_role("button", name="hash", exact=True).click()
        heard(page, "You said: #")
        expect(page.locator("#sent")).to_have_text("4#")
        tab.shoot("phone-connected-1280")
        page.get_by_role("button", name="Hang up").click()
        expect(page.locator("#why")).to_have_text("You hung up.")
        expect(page.get_by_role("button", name="Ring")).to_be_focused()
        page.get_by_role("button", name="Ring").click()
        heard(page, "Hello, how can I help you today?")
        (call,) = chromium.wait_for(live_calls, client, agent)
        chromium.wait_for(end, client, agent, call["callSid"])
        expect(page.locator("#why")).to_have_text("The relay hung up.")

    async with connected(agent) as client:
        await chromium.drive(lambda tab: work(tab, client))


async def live_calls(client: AiClient, agent: Access) -> list[dict[str, Any]]:
    calls = (await client.tool("comms_list_calls", agentId=agent.agent_id))["calls"]
    return [each for each in calls if each["state"] == "live"]


async def end(client: AiClient, agent: Access, call_sid: str) -> None:
    await client.tool("comms_end_call", agentId=agent.agent_id, callSid=call_sid)


async def test_a_transfer(chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess, agent: Access) -> None:
    """The client passes the call on: the page hears what a caller hears, sees that it rings, and whom it has then."""

    def work(tab: Tab, client: AiClient) -> None:
        page = ring(tab, daemon, operator, agent)
        say(page, "A human, please.")
        heard(page, "You said: A human, please.")
        (call,) = chromium.wait_for(live_calls, client, agent)
        asked = partial(client.tool, "comms_transfer_call", callSid=call["callSid"], to=HUMAN)
        chromium.wait_for(partial(asked, announcementText="I am connecting you."))
        heard(page, "I am connecting you.")
        expect(page.locator("#call-state")).to_have_text(f"On hold: {HUMAN} rings")
        expect(page.get_by_label("What the caller says")).to_be_focused()
        tab.shoot("phone-transfer")
        expect(page.locator("#call-state")).to_have_text(f"Passed on: connected to {HUMAN}")
        page.get_by_role("button", name="Hang up").click()
        expect(page.locator("#why")).to_have_text("You hung up.")
        record = chromium.wait_for(ended_record, client, call["callSid"])
        assert record["transfer"] == {"to": HUMAN, "outcome": "answered"}

    async with connected(agent) as client:
        await chromium.drive(lambda tab: work(tab, client))


RECOGNITION = """
    window.recognitions = [];
    window.SpeechRecognition = window.webkitSpeechRecognition = class extends EventTarget {
        start() { window.recognitions.push(this); }
        abort() { this.onend?.(); }
        hear(text, isFinal) {
            const result = Object.assign([{ transcript: text }], { isFinal });
            this.onresult?.({ resultIndex: 0, results: [result] });
        }
    };
"""
ON_DEVICE = "window.SpeechRecognition.available = async (asked) => asked.processLocally ? 'available' : 'unavailable';"
MICROPHONE = """
    navigator.mediaDevices.getUserMedia = async () => {
        const context = new AudioContext(), tone = context.createOscillator();
        const out = context.createMediaStreamDestination();
        tone.connect(out);
        tone.start();
        return (window.microphone = out.stream);
    };
"""
FRAMES = """
    window.sentFrames = [];
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (text) {
        window.sentFrames.push(JSON.parse(text));
        return send.call(this, text);
    };
"""
VOICE = """
    window.speechSynthesis.speak = (utterance) => { (window.spoken ??= []).push(utterance); };
    window.speechSynthesis.cancel = () => { window.cancelled = (window.cancelled ?? 0) + 1; };
"""


async def test_words_that_the_microphone_hears(
    chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess, agent: Access
) -> None:
    """Recognition on this device, with its volume: partial words go as guesses, final ones as said; muted, neither."""

    def work(tab: Tab) -> None:
        for script in (RECOGNITION, ON_DEVICE, MICROPHONE, FRAMES):
            tab.context.add_init_script(script)
        page = ring(tab, daemon, operator, agent)
        assert page.evaluate("window.recognitions.length") == 0
        page.get_by_label("Speak by microphone").check()
        expect(page.get_by_text("Listening, on this device.")).to_be_visible()
        assert page.evaluate("window.recognitions.map((each) => each.processLocally)") == [True]
        volume = page.get_by_label("Volume")
        expect(volume).to_have_attribute("value", re.compile(r"0\.9"))
        page.evaluate("window.recognitions[0].hear('Which day', false)")
        expect(page.locator("li.partial")).to_contain_text("Which day")
        page.evaluate("window.recognitions[0].hear('Which day is it?', true)")
        heard(page, "You said: Which day is it?")
        expect(page.locator("li.partial")).to_have_count(0)
        said = [each for each in page.evaluate("window.sentFrames") if each["type"] == "say"]
        assert said == [
            {"type": "say", "text": "Which day", "last": False},
            {"type": "say", "text": "Which day is it?", "last": True},
        ]
        page.get_by_role("button", name="Mute").click()
        page.evaluate("window.recognitions[0].hear('Never heard.', true)")
        expect(page.get_by_text("Never heard.")).to_have_count(0)
        expect(volume).to_be_hidden()
        assert page.evaluate("window.microphone.getTracks().map((each) => each.readyState)") == ["ended"]

    async with connected(agent):
        await chromium.drive(work)


async def test_nothing_is_recognised_elsewhere_by_default(
    chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess, agent: Access
) -> None:
    """A browser that recognises online only is not asked to, until its switch is turned on."""

    def work(tab: Tab) -> None:
        tab.context.add_init_script(RECOGNITION)
        page = ring(tab, daemon, operator, agent)
        expect(page.get_by_label("Use this browser's online recognition")).not_to_be_checked()
        page.get_by_label("Speak by microphone").check()
        expect(page.get_by_text("cannot recognise speech on this device")).to_be_visible()
        assert page.evaluate("window.recognitions.length") == 0
        page.get_by_label("Use this browser's online recognition").check()
        expect(page.get_by_text("by the browser's online recognition")).to_be_visible()
        assert page.evaluate("window.recognitions.length") == 1

    async with connected(agent):
        await chromium.drive(work)


async def test_answers_that_are_read_aloud(
    chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess, agent: Access
) -> None:
    """Sentence by sentence; our own voice in the microphone is no caller; interrupted, what was heard is reported."""

    def work(tab: Tab) -> None:
        for script in (RECOGNITION, ON_DEVICE, FRAMES, VOICE):
            tab.context.add_init_script(script)
        tab.allowed.add(own_url(daemon).replace("http", "ws", 1))
        tab.sign_in(own_url(daemon), operator.token, f"/console/phone?agent={agent.agent_id}")
        page = tab.page
        page.get_by_label("Read answers aloud").check()
        page.get_by_label("Speak by microphone").check()
        page.get_by_role("button", name="Ring").click()
        expect(page.get_by_text("Listening, on this device.")).to_be_visible()
        page.evaluate("window.spoken[0].onend()")
        say(page, "First. Second. Third.")
        heard(page, "You said: First. Second. Third.")
        page.evaluate("window.recognitions.at(-1).hear('you said first', true)")
        page.evaluate("window.spoken[1].onend()")
        page.get_by_role("button", name="Interrupt").focus()
        page.keyboard.press("Escape")
        expect(page.get_by_text("heard until here")).to_be_visible()
        sent = page.evaluate("window.sentFrames")
        assert [each["text"] for each in sent if each["type"] == "played"] == [
            "Hello, how can I help you today?",
            "You said: First. ",
        ]
        assert [each["heard"] for each in sent if each["type"] == "interrupt"] == ["You said: First. Second. "]
        assert [each["text"] for each in sent if each["type"] == "say"] == ["First. Second. Third."]

    async with connected(agent):
        await chromium.drive(work)


async def test_the_look(chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess, agent: Access) -> None:
    """Before and in a call: nothing that keeps anyone out, nothing wider than the window."""

    def work(tab: Tab) -> None:
        tab.allowed.add(own_url(daemon).replace("http", "ws", 1))
        tab.sign_in(own_url(daemon), operator.token, f"/console/phone?agent={agent.agent_id}")
        faults = tab.faults_of_looks("phone")
        tab.page.get_by_role("button", name="Ring").click()
        heard(tab.page, "Hello, how can I help you today?")
        say(tab.page, "Which day is it?")
        heard(tab.page, "You said: Which day is it?")
        assert faults | tab.faults_of_looks("phone-in-call") == {}

    async with connected(agent):
        await chromium.drive(work)


async def test_text_is_text(chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess, agent: Access) -> None:
    """Markup in an answer, or typed by the caller, is shown and does nothing."""
    hostile = "<img src=x onerror=alert(1)> <b hx-get=/console>bold"

    def work(tab: Tab) -> None:
        page = ring(tab, daemon, operator, agent)
        say(page, hostile)
        expect(page.get_by_role("log")).to_contain_text("onerror")
        assert page.locator("#captions img, #captions b").count() == 0

    async with connected(agent):
        await chromium.drive(work)


async def test_a_socket_that_is_closed_says_why(
    chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess, agent: Access
) -> None:
    """A frame that no page sends ends the call, and the page shows the daemon's reason."""

    def work(tab: Tab) -> None:
        tab.context.add_init_script(
            "const Socket = WebSocket; window.WebSocket = class extends Socket {"
            " constructor(url) { super(url); window.phoneSocket = this; } };"
        )
        page = ring(tab, daemon, operator, agent)
        page.evaluate('window.phoneSocket.send(\'{"type":"dance"}\')')
        expect(page.locator("#why")).to_contain_text("does not know this frame")
        expect(page.get_by_role("button", name="Ring")).to_be_visible()

    async with connected(agent):
        await chromium.drive(work)


async def test_one_who_may_only_look(chromium: Chromium, daemon: LocalDaemon, agent: Access) -> None:
    """The page says why there is nothing to ring with."""
    reader = await register_operator(daemon, Role.READ)

    def work(tab: Tab) -> None:
        tab.sign_in(own_url(daemon), reader.token, "/console/phone")
        expect(tab.page.get_by_text("your role is read")).to_be_visible()
        expect(tab.page.get_by_role("button", name="Ring")).to_have_count(0)

    await chromium.drive(work)
