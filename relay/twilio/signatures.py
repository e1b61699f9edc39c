"""The signatures of the carrier's requests, checked by the vendor's own validator.

    signed text = public origin (settings) + path and query (raw bytes of the request) + the form's sorted fields
    signature   = base64(HMAC-SHA1(auth token, signed text)), in `X-Twilio-Signature`

The origin is never taken from the request: behind a proxy its scheme and host are not those that the carrier signed,
and a `Host` header is whatever the sender wants. The path is taken undecoded, because it was signed so.

Every check fails closed: a request that cannot be checked counts as not signed. A signature has no time in it, so a
captured request can be sent again: the one-use ticket and the idempotency token protect against replays.

Source: the vendor's "Webhooks Security" page; the validator's own traps were found by trying version 9.13.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import structlog
from attrs.validators import matches_re, min_len
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

log = structlog.get_logger(__name__)

_HEADER = b"x-twilio-signature"


def _not_noted(_code: str) -> None:
    pass


@attrs.frozen
class SignatureChecker:
    """Check requests against the account's token and the origin at which the carrier reaches this daemon.

    `public_url` is an origin (`https://voice.example.com`, no path, no slash at the end). An empty token raises,
    because anyone could sign with it. `note_refusal` gets what a request was that is not signed by the carrier:
    `unsigned`, or a `webhook` or an `upgrade` with a signature that is not right.
    """

    auth_token: str = attrs.field(repr=False, validator=min_len(1))
    public_url: str = attrs.field(validator=matches_re(r"https?://[^/?#]+"))
    note_refusal: Callable[[str], None] = attrs.field(default=_not_noted, repr=False)
    _validator: RequestValidator = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda self: RequestValidator(self.auth_token), takes_self=True)
    )

    def is_claimed(self, scope: Mapping[str, Any]) -> bool:
        """Return whether a request has a signature, good or bad: without one its body need not be waited for."""
        is_claimed = any(name.lower() == _HEADER for name, _ in scope["headers"])
        if not is_claimed:
            self.note_refusal("unsigned")
        return is_claimed

    def check_form(self, scope: Mapping[str, Any], form: Mapping[str, str]) -> bool:
        """Return whether a webhook with this ASGI scope and these form fields was signed by the carrier. Never raises.

        A form with repeated names must come as a `MultiDict`, of which the validator takes every value.
        """
        return self._noted("webhook", self._check([self.public_url], scope, form))

    def check_upgrade(self, scope: Mapping[str, Any]) -> bool:
        """Return whether a WebSocket upgrade with this ASGI scope was signed by the carrier. Never raises.

        The carrier signs the `wss` (or `ws`) address just as the TwiML gave it, without fields, but now and then with
        the default port added. The validator tries a port too, only it takes 80 for `wss`: so 443 is tried here.
        """
        origin = "ws" + self.public_url.removeprefix("http")
        origins = [origin, f"{origin}:443"] if origin.startswith("wss:") else [origin]
        is_claimed = any(name.lower() == _HEADER for name, _ in scope["headers"])
        return self._noted("upgrade" if is_claimed else "unsigned", self._check(origins, scope, {}))

    def _noted(self, kind: str, is_signed: bool) -> bool:
        if not is_signed:
            self.note_refusal(kind)
        return is_signed

    def _check(self, origins: list[str], scope: Mapping[str, Any], form: Mapping[str, str]) -> bool:
        try:
            signatures = [value for name, value in scope["headers"] if name.lower() == _HEADER]
            if len(signatures) != 1:
                return False
            signature = signatures[0].decode("ascii")
            target = _signed_target(scope)
            return any(self._validator.validate(origin + target, form, signature) for origin in origins)
        except Exception as error:  # noqa: BLE001 - whatever a hostile request provokes in there is a refusal
            log.warning("signature_not_checkable", error=type(error).__name__)
            return False


def _signed_target(scope: Mapping[str, Any]) -> str:
    path: str = scope["raw_path"].decode("ascii")
    query: str = scope["query_string"].decode("ascii")
    return f"{path}?{query}" if query else path
