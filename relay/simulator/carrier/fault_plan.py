"""What can be wrong with a simulated call: faults of the relay's, as the carrier sees them, and of the script's."""

from __future__ import annotations

from urllib.parse import urlsplit


class WebhookFailed(Exception):
    """The relay did not answer a webhook as it must; `status` is the HTTP status, or 0 when no answer came."""

    def __init__(self, url: str, status: int, why: str, body: str = "") -> None:
        super().__init__(f"{urlsplit(url).path}: {why}")
        self.status = status
        self.body = body


class TwimlRefused(Exception):
    """The carrier would not take this TwiML; `code` is the error it would report."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{why} (error {code})")
        self.code = code


class FrameRefused(Exception):
    """The carrier would not take this frame."""


class EndlessCall(Exception):
    """One TwiML document led to the next without an end, as a relay that crashes in every session makes them."""


class ScriptError(Exception):
    """The script wants the caller to do what this call's TwiML does not allow, or what no caller can."""


class CallOver(Exception):
    """The call has ended, so nothing more can be heard or said; `unfinished` is speech that was never closed."""

    def __init__(self, why: str, unfinished: str = "") -> None:
        super().__init__(f"the call is over: {why}")
        self.unfinished = unfinished
