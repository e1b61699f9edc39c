"""A scripted relay, a simulated carrier with its REST API, and the product's client of it, all on loopback."""

from __future__ import annotations

import io
import math
import struct
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio

from relay.http.listener import ListenerOptions, serve
from relay.simulator.carrier.exchange import Carrier, open_carrier
from relay.simulator.carrier.rest_service import RestApi, open_rest
from relay.twilio.call_orders import PlaceCall, UnclaimedCall
from relay.twilio.rest import CarrierCalls, CarrierOptions, open_carrier_calls
from tests.limits import HANGING
from tests.relay.simulator.scripted_relay import ACCOUNT, TOKEN, Handler, ScriptedRelay, echo

OURS = "+15550100002"
THEIRS = "+15559876543"

QUICK = CarrierOptions(timeout=3.0, calls_per_second=1000.0, attempts=3, backoff=0.001, max_backoff=0.001)


@attrs.define
class AudibleRelay(ScriptedRelay):
    """A scripted relay that also serves audio: `sounds` by path, as content type and bytes."""

    sounds: dict[str, tuple[str, bytes]] = attrs.field(factory=dict)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket" or scope["method"] != "GET":
            await super().__call__(scope, receive, send)
            return
        kind, body = self.sounds.get(scope["path"], ("text/plain", b""))
        headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200 if body else 404, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@attrs.frozen
class Bench:
    """The parties, and what the client reported as unclaimed."""

    relay: AudibleRelay
    carrier: Carrier
    rest: RestApi
    client: CarrierCalls
    unclaimed: list[UnclaimedCall]

    def order(self, twiml: str | None = None, **changes: Any) -> PlaceCall:
        """Write an order for a call; without TwiML it is connected to the relay's socket."""
        fields = {
            "to": THEIRS,
            "from_": OURS,
            "twiml": twiml or self.relay.connect(),
            "status_callback": self.relay.origin + "/status",
            "time_limit": 600,
        }
        return PlaceCall(**{**fields, **changes})

    def statuses(self) -> list[str]:
        """Return the statuses that callbacks told, in order."""
        return [fields["CallStatus"] for fields in self.relay.fields_of("/status")]


@asynccontextmanager
async def ordering(
    talk: Handler = echo,
    *,
    options: CarrierOptions = QUICK,
    auth_token: str = TOKEN,
    speech_rate: float | None = None,
    **rest: Any,
) -> AsyncIterator[Bench]:
    """Open a bench; all within 10 seconds."""
    relay, stop, unclaimed = AudibleRelay(talk), trio.Event(), list[UnclaimedCall]()
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            run = partial(serve, relay, ListenerOptions(grace=0.1), host="127.0.0.1", port=0, stop=stop)
            _host, port = await nursery.start(run)
            relay.origin = f"http://127.0.0.1:{port}"
            async with (
                open_carrier(ACCOUNT, TOKEN, relay.origin, speech_rate=speech_rate) as carrier,
                open_rest(carrier, **rest) as api,
                open_carrier_calls(
                    ACCOUNT, auth_token, base_url=api.url, on_unclaimed=unclaimed.append, options=options
                ) as client,
            ):
                yield Bench(relay, carrier, api, client, unclaimed)
            stop.set()


def tone(seconds: float, *, rate: int = 8000) -> bytes:
    """Make a WAV file of a 440 Hz tone at half of full scale, 16 bit, mono."""
    samples = [round(16_384 * math.sin(2 * math.pi * 440 * n / rate)) for n in range(round(seconds * rate))]
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(rate)
        recording.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return file.getvalue()
