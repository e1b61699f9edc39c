"""The carrier's REST API on loopback: calls are created, changed, asked for and listed, with Twilio's own errors.

    POST …/Calls.json ─▶ checks ─▶ Order ─▶ a SimulatedCall of its own (see `outbound`)
    POST …/Calls/{sid}.json ─▶ redirect or hang up, of inbound calls too
    GET  …/Calls/{sid}.json, …/Calls.json ─▶ what the carrier knows

    async with open_carrier(…) as carrier, open_rest(carrier) as rest:
        rest.callee("+15559876543", Answers(after=0.1))
        …                                        # the relay, told TWILIO_API_BASE_URL=rest.url, places a call
        call = await rest.next_call()
        print((await call.hear()).text)

It is as strict as the service is documented to be, and notes every request, which the contract test holds against
Twilio's published description. Sources: that description, Twilio's page on the Call resource, its error dictionary.
"""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import attrs
import trio
from attrs.validators import ge, gt, in_, optional

from relay.http.listener import ListenerOptions, bind, serve_on
from relay.simulator.carrier.call_resource import listed, resource
from relay.simulator.carrier.callee import Callee, Refused
from relay.simulator.carrier.exchange import Carrier
from relay.simulator.carrier.order_forms import ApiRefused, read_change, read_order, read_query
from relay.simulator.carrier.outbound_legs import place
from relay.simulator.carrier.simulated_call import SimulatedCall

_MAX_BODY = 64 * 1024
_REMEMBERED = 1000

_PATH = re.compile(r"/2010-04-01/Accounts/(?P<account>[^/.]+)(?:/Calls(?:/(?P<sid>[^/.]+))?)?\.json")


@attrs.frozen(kw_only=True)
class ApiRequest:
    """A request as it came: `path` without the query, `fields` of the query or of the form, in order."""

    method: str
    path: str
    fields: tuple[tuple[str, str], ...]


@attrs.frozen(kw_only=True)
class FaultPlan:
    """How the API misbehaves. `busy` requests are turned away with a 429 before anything is done.

    Then the answers to `lost` requests that were carried out do not arrive: `how` is `silence` (nothing comes), `cut`
    (the connection breaks in the middle), `garbage` (a page with status 200), `empty` (`{}`), `misnamed` (a SID
    that is none) or `error` (a 503). No answer is sent before `held` is set, where there is such an event.
    """

    busy: int = attrs.field(default=0, validator=ge(0))
    lost: int = attrs.field(default=0, validator=ge(0))
    how: str = attrs.field(
        default="silence", validator=in_({"silence", "cut", "garbage", "empty", "misnamed", "error"})
    )
    held: trio.Event | None = None


@asynccontextmanager
async def open_rest(
    carrier: Carrier,
    *,
    numbers: Collection[str] | None = None,
    calls_per_second: float | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    listeners: Sequence[trio.SocketListener] | None = None,
) -> AsyncIterator[RestApi]:
    """Serve the REST API of a carrier's account for the length of the block; calls under way at its end are cut.

    What the relay does wrong in a call is raised by the methods of that call, not here.
    `numbers` are those that the account may call from (None: any). More than `calls_per_second` wait in the carrier's
    queue, as the service has it; None starts all at once. `listeners` are sockets that were bound before, for a relay
    that must be told the address first; else one is bound. Raises `ListenError` when the address cannot be had.
    """
    bound = await bind(host, port) if listeners is None else listeners
    async with trio.open_nursery() as nursery:
        api = RestApi(carrier, nursery, None if numbers is None else frozenset(numbers), calls_per_second)
        actual_host, actual_port = await nursery.start(
            partial(serve_on, bound, api, ListenerOptions(grace=0), stop=trio.Event())
        )
        api.url = f"http://{actual_host}:{actual_port}"
        yield api
        nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class RestApi:
    """The API as an ASGI app, and what it saw: the newest `requests`. `url` is what `TWILIO_API_BASE_URL` must say."""

    _carrier: Carrier
    _nursery: trio.Nursery
    _numbers: frozenset[str] | None
    _calls_per_second: float | None = attrs.field(validator=optional(gt(0)))
    url: str = ""
    requests: deque[ApiRequest] = attrs.field(factory=lambda: deque(maxlen=_REMEMBERED))
    fault_plan: FaultPlan = attrs.field(factory=FaultPlan)
    _unseen: deque[SimulatedCall] = attrs.field(factory=lambda: deque(maxlen=_REMEMBERED))
    _changed: trio.Event = attrs.field(factory=trio.Event)
    _starts_at: float = 0.0

    # ── what a test or a demo sees ──────────────────────────────────────────────────────────────────────────────────

    def callee(self, number: str, callee: Callee) -> None:
        """Set the callee of a number, for orders and for `<Dial>`. Without a script a callee answers."""
        self._carrier.callees[number] = callee

    @property
    def calls(self) -> Sequence[SimulatedCall]:
        """The calls that were ordered over the API, oldest first."""
        return [call for call in self._carrier.calls.values() if call.facts.direction == "outbound-api"]

    def has(self, sid: str) -> bool:
        """Return whether there is a call of this id, inbound or outbound."""
        return sid in self._carrier.calls

    async def call(self, sid: str) -> SimulatedCall:
        """Return the call of an id, waiting until it was ordered."""
        while not self.has(sid):
            await self._changed.wait()
        return self._carrier.calls[sid]

    async def next_call(self) -> SimulatedCall:
        """Wait for the next call that is ordered; each is returned once."""
        while not self._unseen:
            await self._changed.wait()
        return self._unseen.popleft()

    async def requested(self, count: int) -> None:
        """Wait until so many requests have come, whatever became of them; up to as many as are remembered."""
        while len(self.requests) < count:
            await self._changed.wait()

    # ── the service ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one HTTP request."""
        if scope["type"] != "http":
            return
        is_lost = False
        try:
            request = await self._admit(scope, receive)
            status, answer = self._serve(request)
            if self.fault_plan.lost:
                self.fault_plan = attrs.evolve(self.fault_plan, lost=self.fault_plan.lost - 1)
                is_lost = True
        except ApiRefused as refusal:
            status, answer = refusal.status, refusal.answer
        if self.fault_plan.held is not None:
            await self.fault_plan.held.wait()
        if is_lost:
            await _lose(self.fault_plan.how, receive, send)
        else:
            await _send(send, status, json.dumps(answer))

    async def _admit(self, scope: Any, receive: Any) -> ApiRequest:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = await _read(receive)
        raw = body if scope["method"] == "POST" else scope["query_string"]
        fields = tuple(parse_qsl(raw.decode(), keep_blank_values=True))
        request = ApiRequest(method=scope["method"], path=scope["path"], fields=fields)
        self.requests.append(request)
        self._note_change()
        known = f"{self._carrier.account_sid}:{self._carrier.auth_token}".encode()
        if headers.get("authorization") != f"Basic {base64.b64encode(known).decode()}":
            raise ApiRefused(20003)
        if self.fault_plan.busy:
            self.fault_plan = attrs.evolve(self.fault_plan, busy=self.fault_plan.busy - 1)
            raise ApiRefused(20429)
        return request

    def _serve(self, request: ApiRequest) -> tuple[int, Mapping[str, object]]:
        """Carry a request out and return status and answer. Raises `ApiRefused`; waits for nothing."""
        path = _PATH.fullmatch(request.path)
        if path is None or path["account"] != self._carrier.account_sid:
            raise ApiRefused(20404)
        account = self._carrier.account_sid
        match request.method, path["sid"]:
            case "GET", None if not request.path.endswith("/Calls.json"):
                return 200, {"sid": account, "status": "active", "type": "Full", "friendly_name": "Simulated"}
            case "POST", None if request.path.endswith("/Calls.json"):
                return 201, resource(account, self._create(request))
            case "GET", None:
                return 200, listed(account, self._carrier.calls.values(), read_query(request.fields))
            case "POST", str(sid):
                return 200, resource(account, self._update(self._find(sid), dict(request.fields)))
            case "GET", str(sid):
                return 200, resource(account, self._find(sid))
            case _:
                raise ApiRefused(20004)

    def _find(self, sid: str) -> SimulatedCall:
        if sid not in self._carrier.calls:
            raise ApiRefused(20404)
        return self._carrier.calls[sid]

    def _create(self, request: ApiRequest) -> SimulatedCall:
        facts, order = read_order(request.fields)
        if self._numbers is not None and facts.caller not in self._numbers:
            raise ApiRefused(21210)
        callee = self._carrier.callees.get(facts.called)
        if isinstance(callee, Refused):
            raise ApiRefused(callee.code)
        call = SimulatedCall(self._carrier, facts)
        call.queued_seconds = self._queue()
        self._carrier.keep(call)
        self._unseen.append(call)
        self._nursery.start_soon(call.run, partial(place, self._carrier, call, order, call.queued_seconds))
        self._note_change()
        return call

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _queue(self) -> float:
        """Take the next start that the account may make; return how many seconds from now it is."""
        if self._calls_per_second is None:
            return 0.0
        now = trio.current_time()
        begins = max(now, self._starts_at)
        self._starts_at = begins + 1 / self._calls_per_second
        return begins - now

    def _update(self, call: SimulatedCall, fields: Mapping[str, str]) -> SimulatedCall:
        change = read_change(fields)
        if call.ended_at is not None:
            raise ApiRefused(21220)
        is_live = call.status == "in-progress"
        if change.status == "completed" or (change.status == "canceled" and not is_live):
            self._nursery.start_soon(call.hang_up)
        elif change.twiml is not None and is_live:
            self._nursery.start_soon(call.redirect, change.twiml)
        else:
            raise ApiRefused(21220)
        return call


async def _read(receive: Any) -> bytes:
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if len(body) > _MAX_BODY or not event.get("more_body"):
            return bytes(body[:_MAX_BODY])


async def _send(send: Any, status: int, text: str, kind: bytes = b"application/json") -> None:
    body = text.encode()
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lose(how: str, receive: Any, send: Any) -> None:
    match how:
        case "silence":
            while (await receive())["type"] != "http.disconnect":
                pass
        case "cut":  # a handler that returns with its response unfinished has its connection closed
            await send({"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"1000")]})
            await send({"type": "http.response.body", "body": b'{"sid": "CA', "more_body": True})
        case "garbage":
            await _send(send, 200, "<html>Please log in</html>", b"text/html")
        case "empty":
            await _send(send, 200, "{}")
        case "misnamed":
            await _send(send, 201, '{"sid": "CA1/../Messages", "status": "queued"}')
        case _:
            await _send(send, 503, "upstream connect error", b"text/plain")
