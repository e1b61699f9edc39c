"""Callers of a load run, thin enough to be hundreds in one process.

voice webhook ─▶ TwiML ─▶ signed upgrade ─▶ setup ─▶ prompt … text frames … ─▶ Close ─▶ the carrier's callbacks
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree as ET

from relay.simulator.carrier.signing import sign
from relay.simulator.carrier.webhook_client import CallFacts
from relay.simulator.load.local_daemon import ACCOUNT
from scripts.bench_frames import CLOSE, PING, PONG, TEXT, FrameReader, frame
from scripts.bench_http import HttpReader, request
from scripts.bench_target import Relay, address_of, marked_words
from scripts.bench_wire import Connection


class Caller:
    """A call. `on_answer` gets each complete answer with the moment of its first frame, `on_over` why it ended."""

    def __init__(
        self,
        relay: Relay,
        number: int,
        on_answer: Callable[[Caller, str], None],
        on_over: Callable[[Caller, str], None],
    ) -> None:
        self.relay, self.number = relay, number
        self.turn = 0
        self.sent_at = self.posted_at = self.first_at = self.due = 0.0
        self.waited = 0.0
        self.is_waiting = self.barges_in = False
        self.answered: set[int] = set()
        self.superseded: set[int] = set()
        self._on_answer, self._on_over = on_answer, on_over
        self._on_live: Callable[[], None] = lambda: None
        self._facts = CallFacts(
            agent_id=relay.agent_id,
            call_sid="CA" + secrets.token_hex(16),
            caller=f"+1555{number:07d}",
            called="+15550100002",
            direction="inbound",
            attestation="TN-Validation-Passed-A",
        )
        self._heard = ""
        self._action = ""
        self._connection: Connection | None = None
        self._frames = FrameReader(self._take)
        self._http = HttpReader(self._upgraded, self._frames.feed, lambda: None)
        self._is_hanging_up = False

    @property
    def call_sid(self) -> str:
        """The carrier's name for the call."""
        return self._facts.call_sid

    # the beginning

    def call(self, on_live: Callable[[], None]) -> None:
        """Announce the call, and connect it."""
        self._on_live = on_live
        self._post(self._facts.voice_url, {"CallStatus": "ringing"}, self._connect)

    def _post(self, path: str, more: dict[str, str], on_answer: Callable[[int, bytes, bytes], None]) -> None:
        # Without what the carrier keeps to itself: when it tries again.
        url = (path if path.startswith("http") else f"{self.relay.url}{path}").partition("#")[0]
        fields = self._facts.fields(ACCOUNT, more["CallStatus"]) | more
        headers = {
            "Host": urlsplit(url).netloc,
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Twilio-Signature": sign(self.relay.carrier_token, url, fields),
            "I-Twilio-Idempotency-Token": secrets.token_hex(16),
        }
        target = url.removeprefix(self.relay.url)
        self.relay.webhooks.request(request("POST", target, headers, urlencode(fields).encode()), on_answer)

    def _connect(self, status: int, _head: bytes, body: bytes) -> None:
        document = ET.fromstring(body) if status == 200 else None  # noqa: S314 - our own daemon wrote it
        noun = None if document is None else document.find("Connect/ConversationRelay")
        if document is None or noun is None:
            self._on_over(self, f"voice webhook: {status} {body[:200].decode(errors='replace')}")
            return
        connect = document.find("Connect")
        self._action = "" if connect is None else connect.get("action", "")
        self._parameters = {each.get("name", ""): each.get("value", "") for each in noun.iter("Parameter")}
        url = noun.get("url", "")
        parts = urlsplit(url)
        headers = {
            "Host": parts.netloc,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
            "Sec-WebSocket-Version": "13",
            "X-Twilio-Signature": sign(self.relay.carrier_token, url),
        }
        self._connection = Connection(self.relay.wheel, address_of(url), self._read)
        self._connection.send(request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path, headers))

    def _upgraded(self, status: int, _head: bytes) -> None:
        if status != 101:
            self._on_over(self, f"upgrade: {status}")
            return
        self._send(
            {
                "type": "setup",
                "sessionId": "VX" + secrets.token_hex(16),
                "accountSid": ACCOUNT,
                "callSid": self._facts.call_sid,
                "from": self._facts.caller,
                "to": self._facts.called,
                "callType": "PSTN",
                "direction": "inbound",
                "callStatus": "IN_PROGRESS",
                "customParameters": self._parameters,
            }
        )
        self._on_live()

    # the middle

    def say(self, now: float) -> None:
        """Take the next turn."""
        self.turn += 1
        self.sent_at, self.posted_at, self.first_at, self.is_waiting = now, 0.0, 0.0, True
        words = marked_words(self.number, self.turn)
        self._send({"type": "prompt", "voicePrompt": words, "lang": "en-US", "last": True})

    def moments(self) -> dict[str, float]:
        """Return when the turn went through our hands, in seconds of `perf_counter`."""
        turn = {"call": self.number, "turn": self.turn}
        return turn | {"sent": self.sent_at, "posted": self.posted_at, "heard": self.first_at}

    def interrupt(self) -> None:
        """Talk over whatever comes or is spoken; the words themselves are `say`'s."""
        self._heard = ""
        self._send({"type": "interrupt", "utteranceUntilInterrupt": "", "durationUntilInterruptMs": 0})

    def _send(self, message: dict[str, Any]) -> None:
        if self._connection is not None:
            self._connection.send(frame(json.dumps(message).encode()))

    def _read(self, data: bytes) -> None:
        if data:
            self._http.feed(data)
        else:
            self._ended()

    def _take(self, opcode: int, payload: bytes) -> None:
        assert self._connection is not None
        if opcode == TEXT:
            self._hear(json.loads(payload))
        elif opcode == PING:
            self._connection.send(frame(payload, PONG))
        elif opcode == CLOSE:
            self._connection.send(frame(payload, CLOSE))
            self._connection.close()

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] != "text" or message.get("preemptible"):
            return
        token = message["token"]
        if token and not self._heard:
            self.first_at = self.relay.wheel.read_at
        self._heard += token
        if message.get("last"):
            heard, self._heard = self._heard, ""
            if heard.strip():
                self._on_answer(self, heard)

    # the end

    def hang_up(self) -> None:
        """Put the phone down; `on_over` hears of it when the callbacks are answered."""
        self._is_hanging_up = True
        if self._connection is not None:
            self._connection.send(frame((1000).to_bytes(2, "big"), CLOSE))

    def _ended(self) -> None:
        why = "" if self._is_hanging_up else "call ended early"
        more = {"CallStatus": "completed", "SessionStatus": "completed", "SessionDuration": "1", "CallDuration": "1"}

        def completed(*_answer: object) -> None:
            self._on_over(self, why)

        def act(*_answer: object) -> None:
            self._post(f"/webhooks/{self.relay.agent_id}/call-status", more, completed)

        if self._action:
            self._post(self._action, more, act)
        else:
            act()
