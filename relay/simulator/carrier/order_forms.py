"""What the relay asks of the REST API, read and checked as the service would, with the errors it would answer.

Source: Twilio's page on the Call resource for the parameters, its error dictionary for the codes. Where they name
none (a callback's address, a limit, parameters that contradict each other) the nearest stands in: 21609, 21209, 20001.
Unknown parameters are ignored, as by the service; that is what the contract test is for.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from xml.sax.saxutils import escape

import attrs

from relay.simulator.carrier.outbound_legs import Order
from relay.simulator.carrier.webhook_client import CallFacts

MAX_TWIML = 4000

_E164 = re.compile(r"\+[1-9]\d{1,14}")
_URL = re.compile(r"https?://[^\s/_]+(/\S*)?")
_EVENTS = frozenset({"initiated", "ringing", "answered", "completed"})

_TEXTS = {
    20001: (400, "The parameters do not go together"),
    20003: (401, "Authenticate"),
    20004: (405, "Method not allowed"),
    20404: (404, "The requested resource was not found"),
    20429: (429, "Too Many Requests"),
    10004: (429, "Call concurrency limit exceeded"),
    21201: (400, "No 'To' number is specified"),
    21205: (400, "Url is not a valid URL, or there is neither Url nor Twiml"),
    21208: (400, "Timeout is not valid"),
    21209: (400, "Method is not valid"),
    21210: (400, "The source phone number is not owned by the account or verified"),
    21211: (400, "The phone number you are attempting to call is not valid"),
    21212: (400, "The 'From' number is not a valid phone number"),
    21213: (400, "No 'From' number is specified"),
    21214: (400, "The 'To' phone number cannot be reached"),
    21215: (400, "The account is not authorized to call this country"),
    21216: (400, "The account is not allowed to call this number"),
    21217: (400, "The phone number does not appear to be valid"),
    21219: (400, "The number is unverified; trial accounts may only make calls to verified numbers"),
    21220: (400, "The call is not in a state in which it can be changed"),
    21609: (400, "The 'StatusCallback' URL is not valid"),
}


class ApiRefused(Exception):
    """The API does not do it; `code` is Twilio's error."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return self._meaning[0]

    @property
    def answer(self) -> Mapping[str, object]:
        """The JSON of the answer."""
        status, text = self._meaning
        more = f"https://www.twilio.com/docs/errors/{self.code}"
        return {"code": self.code, "message": text, "more_info": more, "status": status}

    @property
    def _meaning(self) -> tuple[int, str]:
        return _TEXTS.get(self.code, (400, "The request was refused"))


@attrs.frozen
class Change:
    """What is to become of a call: a `status` that ends it, or else `twiml` that it is to follow."""

    status: str | None
    twiml: str | None


def read_order(form: Iterable[tuple[str, str]]) -> tuple[CallFacts, Order]:
    """Read the form that creates a call, which gets its id here. Raises `ApiRefused`."""
    pairs = [*form]
    fields = dict(pairs)
    to, caller = fields.get("To", ""), fields.get("From", "")
    for number, missing, invalid in ((to, 21201, 21211), (caller, 21213, 21212)):
        if not number:
            raise ApiRefused(missing)
        if not _E164.fullmatch(number):
            raise ApiRefused(invalid)
    events = frozenset(value for name, value in pairs if name == "StatusCallbackEvent")
    order = Order(
        twiml=None if "Url" in fields else fields.get("Twiml"),  # Url wins, says the documentation
        url=fields.get("Url"),
        status_callback=fields.get("StatusCallback"),
        events=events or frozenset({"completed"}),
        ring_seconds=_count(fields.get("Timeout", "60"), 600, 21208),
        time_limit=_count(fields.get("TimeLimit", "14400"), 86_400, 20001),
        verdict_callback=_verdict_callback(fields),
    )
    _check(order, fields)
    facts = CallFacts(
        agent_id="",
        call_sid="CA" + secrets.token_hex(16),
        caller=caller,
        called=to,
        direction="outbound-api",
        attestation="",
    )
    return facts, order


def read_change(fields: Mapping[str, str]) -> Change:
    """Read the form that changes a call; a URL becomes TwiML that leads to it. Raises `ApiRefused`."""
    status, twiml, url = fields.get("Status"), fields.get("Twiml"), fields.get("Url")
    if (twiml and url) or not (twiml or url or status) or status not in {None, "canceled", "completed"}:
        raise ApiRefused(20001)
    if twiml and len(twiml) > MAX_TWIML:
        raise ApiRefused(20001)
    if url:
        if not _URL.fullmatch(url):
            raise ApiRefused(21205)
        twiml = f"<Response><Redirect>{escape(url)}</Redirect></Response>"
    return Change(status, twiml)


def read_query(query: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Read the filters and the page of a list. Raises `ApiRefused`."""
    fields = dict(query)
    _count(fields.get("PageSize", "50"), 1000, 20001)
    if not re.fullmatch(r"\d{1,6}", fields.get("Page", "0")):
        raise ApiRefused(20001)
    return fields


def _check(order: Order, fields: Mapping[str, str]) -> None:
    if not (order.url or order.twiml) or (order.url and not _URL.fullmatch(order.url)):
        raise ApiRefused(21205)
    if order.twiml and len(order.twiml) > MAX_TWIML:
        raise ApiRefused(20001)
    for callback in (order.status_callback, order.verdict_callback):
        if callback is not None and not _URL.fullmatch(callback):
            raise ApiRefused(21609)
    if not order.events <= _EVENTS:
        raise ApiRefused(20001)
    if any(value != "POST" for name, value in fields.items() if name.endswith("Method")):
        raise ApiRefused(21209)  # GET is legal at the service; the simulator posts


def _verdict_callback(fields: Mapping[str, str]) -> str | None:
    if fields.get("MachineDetection") not in {"Enable", "DetectMessageEnd"} or fields.get("AsyncAmd") != "true":
        return None
    return fields.get("AsyncAmdStatusCallback")


def _count(value: str, most: int, code: int) -> int:
    if not re.fullmatch(r"\d{1,6}", value) or not 1 <= int(value) <= most:
        raise ApiRefused(code)
    return int(value)
