"""The simulated carrier's account: signs and posts webhooks, and places calls.

    async with open_carrier(sid, token, "http://127.0.0.1:8080") as carrier:
        async with carrier.call("reception") as call:
            await call.say("Hello?")
            print((await call.hear()).text)

Calls run in the carrier's nursery; the block that placed one holds a `SimulatedCall`. What goes wrong on the relay's
side (a webhook that fails, TwiML that no carrier would take) is raised in that block, never guessed around. Source:
Twilio's pages on webhooks, their security and their time limits.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urljoin

import attrs
import httpx2
import trio

from relay.simulator.carrier.audio import Audio, measure
from relay.simulator.carrier.callee import Answers, Callee, Unanswered
from relay.simulator.carrier.connection_overrides import ConnectionOverrides
from relay.simulator.carrier.fault_plan import WebhookFailed
from relay.simulator.carrier.signing import sign
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.carrier.webhook_client import CallFacts
from relay.simulator.carrier.websocket import WebSocket, open_websocket

WEBHOOK_TIMEOUT = 15.0
"""Seconds that the carrier waits for an answer to a webhook, at most."""

CALLS_KEPT = 1000
"""Calls that are remembered after their end, so that the REST API can say that they have ended."""


@asynccontextmanager
async def open_carrier(
    account_sid: str,
    auth_token: str,
    base_url: str,
    *,
    speech_rate: float | None = None,
    via: str | None = None,
    dial_status: str = "completed",
    everybody: Callee | None = None,
) -> AsyncIterator[Carrier]:
    """Open an account at the simulated carrier, with its connection pool and the nursery of its calls.

    `base_url` is the relay's public origin, over which everything is signed; where it is `https`, TwiML must name a
    `wss` socket. `via` is another origin to connect to, for a daemon whose public name does not lead to it from here.
    `speech_rate` is in characters per second, None for speech that takes no time. `dial_status` is how a dialled call
    ends, in the carrier's words (completed, busy, no-answer, failed, canceled), unless `callees` says otherwise of its
    number; `everybody` is who is at all other numbers, with more to say than that.
    """
    async with (
        # The wait for a free connection is the simulator's own, and no answer that the relay is late with.
        httpx2.AsyncClient(
            timeout=httpx2.Timeout(WEBHOOK_TIMEOUT, pool=None), limits=httpx2.Limits(max_connections=200)
        ) as client,
        trio.open_nursery() as nursery,
    ):
        yield Carrier(
            account_sid, auth_token, base_url.rstrip("/"), speech_rate, via, dial_status, client, nursery, everybody
        )


@attrs.frozen
class Carrier:
    """An open account; see `open_carrier` for the fields. `callees` are scripts by number, `calls` all calls by id."""

    account_sid: str
    auth_token: str = attrs.field(repr=False)
    base_url: str
    speech_rate: float | None
    via: str | None
    dial_status: str
    _client: httpx2.AsyncClient
    _nursery: trio.Nursery
    everybody: Callee | None = None
    callees: dict[str, Callee] = attrs.field(factory=dict)
    calls: dict[str, SimulatedCall] = attrs.field(factory=dict)

    @asynccontextmanager
    async def call(
        self,
        agent_id: str,
        *,
        caller: str = "+15550100001",
        called: str = "+15550100002",
        direction: str = "inbound",
        attestation: str = "TN-Validation-Passed-A",
        document: str | None = None,
    ) -> AsyncIterator[SimulatedCall]:
        """Place a call; the block begins once its first session is open, or it is over without one.

        `document` is the TwiML that an outbound call was created with; without it the voice webhook is asked. At the
        end of the block the caller hangs up and the callbacks are delivered; a block that raises or is cancelled breaks
        the call off. Raises `WebhookFailed`, `TwimlRefused` or `EndlessCall` for what the relay did wrong, at
        whichever end of the block it is known.
        """
        facts = CallFacts(
            agent_id=agent_id,
            call_sid="CA" + secrets.token_hex(16),
            caller=caller,
            called=called,
            direction=direction,
            attestation=attestation,
        )
        placed = SimulatedCall(self, facts)
        self.keep(placed)
        self._nursery.start_soon(placed.live, document)
        try:
            await placed.connected()
            yield placed
            await placed.hang_up()
            await placed.wait_ended()
        finally:
            placed.abandon()

    def keep(self, call: SimulatedCall) -> None:
        """Remember a call, and forget the oldest of those that ended long ago."""
        self.calls[call.call_sid] = call
        if len(self.calls) > CALLS_KEPT:
            ended = [sid for sid, each in self.calls.items() if each.over]
            for sid in ended[: len(self.calls) - CALLS_KEPT]:
                del self.calls[sid]

    def callee(self, number: str) -> Callee:
        """Return who is at the other end of a number."""
        usual = Answers() if self.dial_status == "completed" else Unanswered(self.dial_status)
        return self.callees.get(number, self.everybody or usual)

    async def fetch_audio(self, url: str) -> Audio | None:
        """Fetch and measure what `<Play>` names, where that is the relay's: nothing else is connected to, ever.

        Raises `WebhookFailed` for what a carrier could not play.
        """
        full = urljoin(self.base_url, url)
        if not full.startswith(self.base_url + "/"):
            return None
        try:
            with trio.fail_after(WEBHOOK_TIMEOUT):
                response = await self._client.get(self._door(full), headers={"Host": _host(full)})
        except (httpx2.HTTPError, trio.TooSlowError) as error:
            raise WebhookFailed(full, 0, f"no answer ({type(error).__name__})") from error
        return measure(full, response)

    async def post(self, url: str, fields: Mapping[str, str], *, token: str | None = None) -> httpx2.Response:
        """Post a signed form to a URL of the relay's, or a path; `token` identifies a request that is repeated.

        It is tried again as the fragment of the URL says. Any status is an answer. Raises `WebhookFailed` when there is
        none within 15 seconds, or within the time that the fragment allows.
        """
        overrides = ConnectionOverrides.of(url)
        full = urljoin(self.base_url, url).partition("#")[0]
        headers = {
            "Host": _host(full),
            "X-Twilio-Signature": sign(self.auth_token, full, fields),
            "I-Twilio-Idempotency-Token": token or secrets.token_hex(16),
            "User-Agent": "TwilioProxy/1.1",
        }
        request = self._client.build_request(
            "POST",
            self._door(full),
            data=dict(fields),
            headers=headers,
            timeout=httpx2.Timeout(overrides.rt / 1000, connect=overrides.ct / 1000, pool=None),
        )
        try:
            with trio.fail_after(overrides.tt / 1000):
                for _ in range(overrides.rc):
                    response = await self._try(request, overrides)
                    if response is not None:
                        return response
                return await self._client.send(request)
        except (httpx2.HTTPError, trio.TooSlowError) as error:
            raise WebhookFailed(full, 0, f"no answer ({type(error).__name__})") from error

    async def _try(self, request: httpx2.Request, overrides: ConnectionOverrides) -> httpx2.Response | None:
        """Send a request that may be tried again; None if it is to be."""
        try:
            response = await self._client.send(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            if "ct" not in overrides.rp:
                raise
        except httpx2.ReadTimeout:
            if "rt" not in overrides.rp:
                raise
        else:
            return None if overrides.retries_after(response.status_code) else response
        return None

    @asynccontextmanager
    async def open_socket(self, url: str) -> AsyncIterator[WebSocket]:
        """Open a signed WebSocket to the URL of a `<ConversationRelay>`. Raises `WebSocketRefused`."""
        signature = sign(self.auth_token, url)
        async with open_websocket(url, headers=[("x-twilio-signature", signature)], via=self.via) as socket:
            yield socket

    def _door(self, url: str) -> str:
        return url.replace(self.base_url, self.via.rstrip("/"), 1) if self.via else url


def _host(url: str) -> str:
    return httpx2.URL(url).netloc.decode()
