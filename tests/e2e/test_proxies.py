"""Behind a proxy that pools its connections nobody pays for what somebody else has sent.

Real nginx and HAProxy, as operators run them; they retry nothing, so that what is lost is seen.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import httpx2
import pytest
import trio

from relay.simulator.carrier.signing import sign
from relay.simulator.load.local_daemon import ACCOUNT, LocalDaemon
from tests.e2e.parties import Access
from tests.e2e.proxies import Configure, behind, haproxy, marks_of, nginx
from tests.http1_peer import CHUNKED, chunk, head, peer

REQUESTS = 1000
AT_ONCE = 12
FORM = "Content-Type: application/x-www-form-urlencoded"


@pytest.mark.parametrize("proxy", [pytest.param(each, marks=marks_of(each.__name__)) for each in (nginx, haproxy)])
async def test_no_good_request_is_lost_among_bad_ones(
    daemon: LocalDaemon, agent: Access, proxy: Configure, tmp_path: Path
) -> None:
    """Of a thousand requests over pooled connections, a third of them good, each good one gets its own answer."""
    choose = random.Random(7)
    answers: Counter[tuple[str, int]] = Counter()
    todo = list(range(REQUESTS))
    form = {"CallSid": "CA" + "5" * 32, "AccountSid": ACCOUNT, "CallStatus": "completed"}
    path = f"/webhooks/{agent.agent_id}/call-status"
    signed = {"X-Twilio-Signature": sign(daemon.token, f"{daemon.url}{path}", form)}

    async def work(origin: str, http: httpx2.AsyncClient) -> None:
        host, _, port = origin.removeprefix("http://").partition(":")
        while todo:
            number = todo.pop()
            match choose.choice(["webhook", "health", "stranger", "stranger", "token", "raw", "abandoned"]):
                case "webhook":
                    answer = await http.post(path, data=form, headers=signed)
                    answers["webhook", answer.status_code] += 1
                case "health":
                    answers["health", (await http.get("/health")).status_code] += 1
                case "stranger":
                    unsigned = {**form, "Body": "x" * choose.choice([0, 10, 5_000, 50_000])}
                    prefix = choose.choice(["", "/unbuffered"])
                    bad = await http.post(
                        prefix + choose.choice([path, "/mcp", "/sse", "/health", "/none"]), data=unsigned
                    )
                    answers["bad", bad.status_code] += 1
                case "token":
                    bad = await http.post("/mcp", json={"number": number}, headers={"Authorization": "Bearer wrong"})
                    answers["bad", bad.status_code] += 1
                case "raw":
                    async with peer(host, int(port)) as client:
                        await client.send(head("POST", f"/unbuffered{path}", CHUNKED, FORM) + chunk(b"CallSid=C"))
                        await trio.sleep(0.01)
                        await client.send(chunk(b"A1") + chunk(b""))
                        answers["bad", (await client.answer("POST")).status] += 1
                case _:  # leaves in the middle
                    async with peer(host, int(port)) as client:
                        await client.send(head("POST", f"/unbuffered{path}", "Content-Length: 3000", FORM) + b"Call")
                        await trio.sleep(0.01)

    async with (
        behind(proxy, daemon, tmp_path) as origin,
        httpx2.AsyncClient(base_url=origin, timeout=30) as http,
        trio.open_nursery() as nursery,
    ):
        for _ in range(AT_ONCE):
            nursery.start_soon(work, origin, http)
    good = {kind: {status for each, status in answers if each == kind} for kind in ("webhook", "health")}
    assert good == {"webhook": {204}, "health": {200}}, answers
    assert {status for kind, status in answers if kind == "bad"} <= {401, 403, 404, 405, 413, 421}, answers
    assert sum(answers.values()) > REQUESTS * 0.7
