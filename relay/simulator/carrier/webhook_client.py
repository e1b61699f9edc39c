"""The carrier's requests about one call: which fields it posts, and what it takes for an answer.

Source: Twilio's pages on the voice webhook's parameters and on call status callbacks; the error codes are those that
its debugger would show.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Protocol
from xml.sax.saxutils import escape

import attrs
import httpx2

from relay.simulator.carrier.audio import Audio
from relay.simulator.carrier.callee import Callee
from relay.simulator.carrier.fault_plan import WebhookFailed
from relay.simulator.carrier.websocket import WebSocket


class Account(Protocol):
    """What a call needs of the carrier: `exchange.Carrier`, whose module imports that of a call."""

    @property
    def account_sid(self) -> str:
        """The account's id."""
        ...

    @property
    def base_url(self) -> str:
        """The relay's public origin."""
        ...

    @property
    def speech_rate(self) -> float | None:
        """Characters of speech per second."""
        ...

    def callee(self, number: str) -> Callee:
        """Return who is at the other end of a number."""
        ...

    async def post(self, url: str, fields: Mapping[str, str]) -> httpx2.Response:
        """Post a signed form. Raises `WebhookFailed` without an answer."""
        ...

    async def fetch_audio(self, url: str) -> Audio | None:
        """Fetch and measure what `<Play>` names; None where that is not the relay's. Raises `WebhookFailed`."""
        ...

    def open_socket(self, url: str) -> AbstractAsyncContextManager[WebSocket]:
        """Open a signed WebSocket. Raises `WebSocketRefused`."""
        ...


@attrs.frozen(kw_only=True)
class CallFacts:
    """What the carrier says of a call in every request. `attestation` is `StirVerstat`, empty where it is not sent."""

    agent_id: str
    call_sid: str
    caller: str
    called: str
    direction: str
    attestation: str

    @property
    def voice_url(self) -> str:
        """Where the carrier asks what to do with a new call."""
        return f"/webhooks/{self.agent_id}/voice"

    def fields(self, account_sid: str, status: str) -> dict[str, str]:
        """Return the form fields that every webhook of this call has."""
        fields = {
            "AccountSid": account_sid,
            "ApiVersion": "2010-04-01",
            "CallSid": self.call_sid,
            "CallStatus": status,
            "Direction": self.direction,
        }
        for side, number in (
            ("From", self.caller),
            ("Caller", self.caller),
            ("To", self.called),
            ("Called", self.called),
        ):
            fields |= {side: number, f"{side}City": "", f"{side}State": "CA", f"{side}Zip": "", f"{side}Country": "US"}
        if self.attestation:
            fields["StirVerstat"] = self.attestation
        return fields


async def fetch_twiml(
    account: Account, facts: CallFacts, url: str, *, status: str = "in-progress", extra: Mapping[str, str] | None = None
) -> str:
    """Post a webhook and return the TwiML it answers with; plain text is read aloud, as the carrier does.

    Raises `WebhookFailed` for anything else.
    """
    response = await account.post(url, {**facts.fields(account.account_sid, status), **(extra or {})})
    code, text = response.status_code, response.text
    if code != 200:
        raise WebhookFailed(url, code, f"answered {code} (error 11200)", text)
    kind = response.headers.get("content-type", "").partition(";")[0]
    if kind == "text/plain" and text.strip():
        return f"<Response><Say>{escape(text.strip())}</Say></Response>"
    if kind not in {"text/xml", "application/xml"}:
        raise WebhookFailed(url, code, f"answered with the content type {kind!r} (error 12300)", text)
    return text


async def post_completed(account: Account, facts: CallFacts, seconds: float) -> None:
    """Post the status callback of a call that is over. Raises `WebhookFailed` unless it is answered with a 2xx."""
    url = f"/webhooks/{facts.agent_id}/call-status"
    extra = {
        "CallDuration": str(round(seconds)),
        "Duration": str(-(-round(seconds) // 60)),
        "Timestamp": format_datetime(datetime.now(UTC)),
        "SequenceNumber": "0",
        "CallbackSource": "call-progress-events",
    }
    response = await account.post(url, {**facts.fields(account.account_sid, "completed"), **extra})
    if not response.is_success:
        raise WebhookFailed(url, response.status_code, f"answered {response.status_code} (error 15003)", response.text)
