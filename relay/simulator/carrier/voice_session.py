"""One ConversationRelay session: the carrier's side of a voice socket, from `setup` to whichever end it takes.

    the relay's frames ─▶ reader ─▶ tokens for the script, pieces for playback
    the script's words ─▶ prompt, dtmf, interrupt          playback ─▶ info frames

Every end is one `Outcome`: the caller hung up, the relay said `end`, or the socket was lost. Source: Twilio's pages on
the WebSocket messages and on `<Connect>`'s action callback.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import attrs
import structlog
import trio

from relay.simulator.carrier import voice_frames as frames
from relay.simulator.carrier.fault_plan import FrameRefused, ScriptError
from relay.simulator.carrier.speaking import Earpiece, Reports
from relay.simulator.carrier.websocket import WebSocket, WebSocketClosed

log = structlog.get_logger(__name__)

BAD_FRAMES = 10
"""So many malformed frames in a row and the carrier closes the socket with 1007."""

CLOSE_PATIENCE = 5.0
"""Seconds that the relay has to answer a Close frame."""


@attrs.frozen
class Outcome:
    """How a session ended, in the words of the action callback.

    `status` is `completed` (the caller hung up), `ended` (the relay sent `end`) or `failed`. `close_code` is the code
    with which the relay closed the socket, where it did.
    """

    status: str
    handoff: str | None = None
    error_code: str = ""
    error_message: str = ""
    close_code: int | None = None


@attrs.frozen
class Token:
    """A text frame as it came: `at` is Trio's clock; `preemptible` speech makes way for what comes after it."""

    text: str
    last: bool
    at: float
    preemptible: bool = False


@attrs.define(eq=False)
class Session:
    """A session on an open socket. `attributes` are those of `<ConversationRelay>`, `setup` is its first frame.

    `make_earpiece` makes what it is played on. `on_token` and `on_heard` are told what the relay sent and what the
    caller has heard of it.
    """

    _socket: WebSocket
    attributes: Mapping[str, str]
    _setup: Mapping[str, object]
    _make_earpiece: Callable[[Reports], Earpiece]
    _on_token: Callable[[Token], None]
    _on_heard: Callable[[str], None]
    malformed: int = 0
    played: list[str] = attrs.field(factory=list)
    digits: str = ""
    _bad_in_a_row: int = 0
    _hung_up: bool = False
    _guess: str = ""
    _thaw: trio.Event | None = None
    _playback: Earpiece = attrs.field(init=False)
    _reading: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def __attrs_post_init__(self) -> None:
        reports = Reports(self._report_speaking, self._report_played, self._on_heard)
        self._playback = self._make_earpiece(reports)
        self._playback.add(self.attributes.get("welcomeGreeting", ""), last=True, announced=False)

    @property
    def is_speaking(self) -> bool:
        """Whether the caller hears something, or is about to."""
        return self._playback.can_be_cut

    async def open(self) -> None:
        """Send `setup`, the first frame."""
        await self._tell(self._setup)

    async def run(self) -> Outcome:
        """Play the greeting and serve the session until it ends. Raises nothing of the line's."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._playback.run)
            outcome = Outcome("completed")
            with self._reading:  # which ends by itself only when the caller hung up and the relay does not close
                outcome = await self._read()
            self._playback.cut()
            nursery.cancel_scope.cancel()
        return attrs.evolve(outcome, status="completed", error_code="", error_message="") if self._hung_up else outcome

    # ── what the caller does ────────────────────────────────────────────────────────────────────────────────────────

    async def say(self, words: str, *, last: bool = True) -> None:
        """Speak as the caller; with `last` false it is a guess, which `partialPrompts` must allow."""
        if not last and self.attributes.get("partialPrompts") != "true":
            raise ScriptError("partialPrompts is off in the TwiML, so the carrier sends no guesses")
        language = self.attributes.get("transcriptionLanguage") or self.attributes.get("language", "en-US")
        await self._inform("speaker-events", "clientSpeaking", "on")
        await self._tell({"type": "prompt", "voicePrompt": words, "lang": language, "last": last})
        self._guess = "" if last else words
        if last:
            await self._inform("speaker-events", "clientSpeaking", "off")

    async def switch_provider(self, value: object) -> None:
        """Go over to another provider of speech, and say so where the TwiML asks for that event.

        The form of `value` is not published.
        """
        await self._inform("config-updated", "configUpdated", value)

    async def press(self, keys: str) -> None:
        """Press keys, one frame each. Raises `ScriptError` where the TwiML does not ask for them."""
        if self.attributes.get("dtmfDetection") != "true":
            raise ScriptError("dtmfDetection is off in the TwiML, so the carrier reports no keys")
        for key in keys:
            if key not in "0123456789ABCD*#":
                raise ScriptError(f"{key!r} is no key of a telephone")
            await self._tell({"type": "dtmf", "digit": key})

    async def interrupt(self, heard: str | None = None) -> None:
        """Talk over the agent: playback stops, the rest is discarded, and the relay is told what came out.

        `heard` overrides what playback counted. Raises `ScriptError` where the TwiML does not let speech interrupt.
        """
        if self.attributes.get("interruptible", "any") in {"none", "false", "dtmf"}:
            raise ScriptError("the TwiML does not let the caller's speech interrupt")
        cut = self._playback.cut()
        await self._tell(
            {
                "type": "interrupt",
                "utteranceUntilInterrupt": cut.heard.strip() if heard is None else heard,
                "durationUntilInterruptMs": cut.after_ms,
            }
        )
        if cut.speaking:
            await self._inform("speaker-events", "agentSpeaking", "off")

    async def send_raw(self, message: str | bytes) -> None:
        """Send a WebSocket message as it is, however wrong."""
        await self._deliver(message)

    async def hang_up(self) -> None:
        """Put the phone down: the carrier closes the socket normally.

        With `partialPromptOnHangup` what the caller had begun to say comes first, as a prompt like any other.
        """
        if self._guess and self.attributes.get("partialPromptOnHangup") == "true":
            await self.say(self._guess)
        self._hung_up = True
        self._end_freeze()
        self._reading.deadline = trio.current_time() + CLOSE_PATIENCE
        await self._close(1000, "Closing websocket session")

    async def break_off(self) -> None:
        """Lose the connection to the relay without a Close frame."""
        self._end_freeze()
        await self._socket.break_off()

    def freeze(self) -> None:
        """Take no more notice of what the relay sends, not even of its Close frame, until one of the two above."""
        self._thaw = self._thaw or trio.Event()

    async def quiet(self) -> None:
        """Wait until everything that the relay has sent so far was played."""
        await self._playback.quiet()

    # ── what the relay does ─────────────────────────────────────────────────────────────────────────────────────────

    async def _read(self) -> Outcome:
        try:
            while True:
                message = await self._socket.receive()
                if self._thaw is not None:
                    continue
                try:
                    frame = frames.read(message)
                except FrameRefused as refusal:
                    if await self._refuse(message, refusal):
                        break
                    continue
                self._bad_in_a_row = 0
                if isinstance(frame, frames.End):
                    # Twilio's documentation leaves open whether queued speech is played out; here `end` cuts it off.
                    self._playback.cut()
                    await self._close(1000, "Closing websocket session")
                    return Outcome("ended", frame.handoff, close_code=await self._closed_by_relay())
                self._perform(frame)
            return Outcome(
                "failed", None, "64105", "Too many consecutive malformed messages", await self._closed_by_relay()
            )
        except WebSocketClosed as closed:
            if self._thaw is not None:
                await self._thaw.wait()
            return Outcome("failed", None, "64105", f"WebSocket ended: {closed}", closed.code)

    def _end_freeze(self) -> None:
        if self._thaw is not None:
            self._thaw.set()

    def _perform(self, frame: frames.Text | frames.Play | frames.SendDigits | frames.SwitchLanguage) -> None:
        match frame:
            case frames.Text(token, last, preemptible):
                default = self.attributes.get("preemptible") == "true"
                self._playback.add(token, last=last, preemptible=preemptible or default)
                self._on_token(Token(token, last, trio.current_time(), preemptible))
            case frames.Play(source):
                self.played.append(source)
            case frames.SendDigits(digits):
                self.digits += digits
            case frames.SwitchLanguage():
                pass  # nothing that a script could hear

    async def _refuse(self, message: str | bytes, refusal: FrameRefused) -> bool:
        """Send the relay an error about its frame; return whether that was one too many."""
        self.malformed += 1
        self._bad_in_a_row += 1
        log.warning("relay_frame_refused", why=str(refusal))
        shown = message if isinstance(message, str) else message.decode(errors="replace")
        await self._tell({"type": "error", "description": f"Invalid message received: {shown[:500]}"})
        if self._bad_in_a_row < BAD_FRAMES:
            return False
        await self._close(1007, "Too many consecutive malformed messages")
        return True

    async def _closed_by_relay(self) -> int | None:
        """Read on until the relay's Close frame, for a while, and return its code."""
        with trio.move_on_after(CLOSE_PATIENCE):
            while True:
                try:
                    await self._socket.receive()
                except WebSocketClosed as closed:
                    return closed.code
        return None

    # ── sending ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _report_speaking(self, on: bool) -> None:
        await self._inform("speaker-events", "agentSpeaking", "on" if on else "off")

    async def _report_played(self, text: str) -> None:
        await self._inform("tokens-played", "tokensPlayed", text)

    async def _inform(self, event: str, name: str, value: object) -> None:
        wanted = f"{self.attributes.get('events', '')} {self.attributes.get('debug', '')}".split()
        if event in wanted:
            await self._tell({"type": "info", "name": name, "value": value})

    async def _tell(self, fields: Mapping[str, object]) -> None:
        await self._deliver(json.dumps(fields))

    async def _deliver(self, message: str | bytes) -> None:
        try:
            await self._socket.send(message)
        except WebSocketClosed:
            log.debug("frame_undeliverable")  # the reader learns how the session ended, and says so

    async def _close(self, code: int, reason: str) -> None:
        with trio.move_on_after(CLOSE_PATIENCE):  # a relay that does not read must not hold the call up
            await self._socket.close(code, reason)
