"""Behind a proxy that pools its connections nobody pays for what somebody else has sent; and the files for operators.

Real nginx and HAProxy. In the first test they retry nothing, so that what is lost is seen.
"""

from __future__ import annotations

import json
import random
import ssl
from collections import Counter
from pathlib import Path

import httpx2
import pytest
import trio
import trustme

from relay.simulator.carrier.signing import sign
from relay.simulator.load.local_daemon import ACCOUNT, LocalDaemon
from tests.e2e.calling_out import free_port
from tests.e2e.parties import Access, register
from tests.e2e.proxies import Configure, behind, haproxy, marks_of, nginx, operators_haproxy, operators_nginx
from tests.forked_process import run_local_daemon
from tests.http1_peer import CHUNKED, chunk, head, peer
from tests.limits import HANGING

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


@pytest.mark.parametrize(
    "proxy",
    [
        pytest.param(operators_nginx, marks=marks_of("nginx"), id="nginx"),
        pytest.param(operators_haproxy, marks=marks_of("haproxy"), id="haproxy"),
    ],
)
async def test_the_files_for_operators_serve_a_relay(proxy: Configure, tmp_path: Path) -> None:
    """By TLS: the doctor is content, an event stream comes at once, and what is for operators is closed."""
    port, authority = free_port(), trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    trusting = ssl.create_default_context(cafile=tmp_path / "authority.pem")
    origin = f"https://localhost:{port}"
    # A certificate that the machine trusts, as far as the daemon and its commands are concerned.
    settings = {"PUBLIC_URL": origin, "SSL_CERT_FILE": str(tmp_path / "authority.pem")}
    async with (
        run_local_daemon(tmp_path, settings) as daemon,
        behind(proxy, daemon, tmp_path, port),
        httpx2.AsyncClient(base_url=origin, verify=trusting, timeout=20) as http,
    ):
        agent = await register(daemon)
        checks = {each["check"]: each for each in json.loads(await daemon.command("doctor", "--json"))["checks"]}
        for name in ("public_url", "signature", "upgrade"):
            assert checks[name]["status"] == "ok", checks[name]
        assert origin in checks["public_url"]["detail"]

        bearer = {"Authorization": f"Bearer {agent.token}"}
        with trio.fail_after(HANGING):
            async with http.stream("GET", "/sse", headers=bearer) as stream:
                first = await anext(stream.aiter_lines())
                assert first == "event: endpoint"
        for closed in ("/metrics", "/console", "/console/api/live"):
            assert (await http.get(closed)).status_code == 404
        assert (await http.get("/health")).json()["status"] == "ok"
        async with httpx2.AsyncClient(base_url=daemon.url) as inside:
            assert (await inside.get("/metrics")).status_code == 200
