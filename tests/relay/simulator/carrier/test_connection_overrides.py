"""What the fragment of a webhook's address tells the carrier: neither sent nor signed, and obeyed."""

from __future__ import annotations

import pytest
import trio

from relay.simulator.carrier.connection_overrides import ConnectionOverrides
from relay.simulator.carrier.exchange import open_carrier
from relay.simulator.carrier.fault_plan import WebhookFailed
from tests.relay.simulator.scripted_relay import ACCOUNT, TOKEN, scripted

HOOK = "/hook"
RETRIED = f"{HOOK}#rc=2&rp=ct,rt,5xx"


def test_without_a_fragment_a_missing_connection_is_tried_again_once() -> None:
    """Those are the carrier's defaults."""
    assert ConnectionOverrides.of("https://voice.example/hook?a=1") == ConnectionOverrides(
        ct=5000, rt=15_000, tt=15_000, rc=1, rp=frozenset({"ct"})
    )


def test_a_fragment_says_otherwise() -> None:
    """Each pair overrides one default; `all` is every reason, and what does not show here is allowed."""
    given = ConnectionOverrides.of("/hook#ct=100&rt=200&tt=300&rc=5&rp=all&sni=y&e=dublin")
    assert (given.ct, given.rt, given.tt, given.rc) == (100, 200, 300, 5)
    assert given.rp == {"4xx", "5xx", "ct", "rt"}


@pytest.mark.parametrize("fragment", ["rc=6", "rc=-1", "rc=two", "rp=6xx", "rp=", "ct=99", "rt=15001", "retries=2"])
def test_a_fragment_that_the_carrier_does_not_know_is_refused(fragment: str) -> None:
    """A misspelt one would do nothing in a live call, so here it fails."""
    with pytest.raises(WebhookFailed, match=f"no connection override: #{fragment}"):
        ConnectionOverrides.of(f"{HOOK}#{fragment}")


async def test_the_fragment_is_neither_sent_nor_signed() -> None:
    """The relay sees the address without it, and finds the signature right."""
    async with scripted() as (relay, carrier):
        await carrier.post(RETRIED, {"CallSid": "CA1"})
    (posted,) = relay.posted
    assert (posted.path, posted.signed) == (HOOK, True)


@pytest.mark.parametrize(
    ("url", "status", "times"),
    [(RETRIED, 503, 3), (RETRIED, 404, 1), (RETRIED, 200, 1), (HOOK, 503, 1), (f"{HOOK}#rc=1&rp=4xx", 404, 2)],
)
async def test_an_answer_is_a_reason_to_try_again_where_the_fragment_says_so(url: str, status: int, times: int) -> None:
    """Every attempt is the same request, by the same token; the last answer counts."""
    async with scripted() as (relay, carrier):
        relay.statuses[HOOK] = status
        response = await carrier.post(url, {"CallSid": "CA1"})
    assert (response.status_code, len(relay.posted)) == (status, times)
    assert len({each.headers["i-twilio-idempotency-token"] for each in relay.posted}) == 1


async def test_a_silent_relay_is_asked_again() -> None:
    """No answer in time is a reason where the fragment names it; the time for all attempts is bounded."""
    asked: list[bytes] = []

    async def say_nothing(stream: trio.SocketStream) -> None:
        asked.append(await stream.receive_some())
        await stream.receive_some()

    async with trio.open_nursery() as nursery:
        (listener, *_more) = await nursery.start(trio.serve_tcp, say_nothing, 0)
        port = listener.socket.getsockname()[1]
        async with open_carrier(ACCOUNT, TOKEN, f"http://127.0.0.1:{port}") as carrier:
            for url, times in ((f"{HOOK}#rc=2&rp=rt&rt=100", 3), (f"{HOOK}#rc=2&rp=ct&rt=100", 1)):
                asked.clear()
                with pytest.raises(WebhookFailed, match="no answer"):
                    await carrier.post(url, {})
                assert len(asked) == times
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("url", [RETRIED, f"{HOOK}#rc=2&rp=5xx"])
async def test_nobody_there_is_no_answer(url: str) -> None:
    """Every attempt is refused, however many there are, and then the webhook has failed."""
    async with scripted() as (_relay, carrier):
        pass
    async with open_carrier(ACCOUNT, TOKEN, carrier.base_url) as late:
        with pytest.raises(WebhookFailed, match="ConnectError"):
            await late.post(url, {})
