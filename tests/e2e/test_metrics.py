"""What `/metrics` says of a relay that runs: of its turns, its queues, what it turned away, and what it keeps."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
import pytest
import trio

from relay import __version__
from relay.daemon import gauges
from relay.simulator.load.echo_client import open_echo_client
from relay.simulator.load.inbound_load import LoadPlan, run_load
from relay.simulator.load.local_daemon import ACCOUNT
from tests.e2e.parties import ask, calling, connected, eventually, metrics, register
from tests.e2e.relay_here import RelayHere, run_relay_here

REPOSITORY = Path(__file__).parents[2]
SHOWN = ("deploy/grafana/relay.json", "deploy/prometheus/relay.rules.yml", "docs/operations.md")

AT_ONCE, ROUNDS = 20, 10
"""A thousand calls, which these were tried with, take a minute and more where others work too."""


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "BEATS_PER_LOOK", 1)


async def when(here: RelayHere, name: str, value: float) -> dict[str, float]:
    """Wait until a metric has a value; return all of them."""
    found: dict[str, float] = {}

    async def has_it() -> bool:
        found.update(await metrics(here))
        return found.get(name) == value

    await eventually(has_it)
    return found


async def has_lag(here: RelayHere) -> bool:
    """Whether it was measured how late the loop is."""
    return (await metrics(here))["relay_loop_lag_seconds_count"] > 0


async def test_a_call_in_figures(tmp_path: Path) -> None:
    """While a call lasts its client and its connections are there; afterwards its turns, and nothing else of it."""
    async with run_relay_here(tmp_path) as here:
        agent = await register(here)
        async with connected(agent):
            async with calling(here, agent) as call:
                await ask(call, "Hello.")
                await ask(call, "And again.")
                during = await metrics(here)
            after = await when(here, 'relay_turn_seconds_count{by="client",part="heard"}', 2)
            # Measured twice a second, and these turns may have been quicker than that.
            await eventually(lambda: has_lag(here))
    assert during['relay_sessions{transport="sse",way="sampling"}'] == 1
    assert during["relay_listener_connections"] >= 3
    assert {each: during[f'relay_residue{{kind="{each}"}}'] for each in ("tasks", "sockets", "entries")} == {
        "tasks": 0,
        "sockets": 0,
        "entries": 0,
    }
    assert (during["relay_ready"], during["relay_draining"]) == (1, 0)
    assert any(name.startswith("relay_build_info{") and f'"{__version__}"' in name for name in during)
    parts = [after[f'relay_turn_seconds_count{{by="client",part="{part}"}}'] for part in ("stored", "client", "out")]
    assert parts == [2, 2, 2]
    assert after['relay_store_seconds_count{op="commit"}'] > 0
    assert {f'relay_queue_depth{{queue="{each}"}}' for each in ("inbox", "outbox", "writer")} <= after.keys()
    assert {f'relay_queue_depth_high{{queue="{each}"}}' for each in ("inbox", "outbox", "writer")} <= after.keys()


async def test_what_callers_left_is_counted_until_it_is_confirmed(tmp_path: Path) -> None:
    """A message waits, is held while a client has it in hand, and is gone when that has confirmed it."""
    async with run_relay_here(tmp_path) as here:
        agent = await register(here)
        async with calling(here, agent) as call:
            await call.say("Please call me back.")
            await call.hear()
        left = await when(here, 'relay_waiting_messages{state="waiting"}', 1)
        assert left["relay_oldest_waiting_seconds"] > 0
        async with connected(agent) as client:
            (message,) = await client.fetch()
            held = await when(here, 'relay_waiting_messages{state="held"}', 1)
            assert held['relay_waiting_messages{state="waiting"}'] == 0
            await client.tool("comms_get_waiting_messages", acknowledge=[message["id"]])
            gone = await when(here, 'relay_waiting_messages{state="held"}', 0)
    assert gone["relay_oldest_waiting_seconds"] == 0


@pytest.mark.one_daemon("what one node turns away never comes to another, and each counts for itself")
async def test_what_is_turned_away_is_counted_by_its_door(tmp_path: Path) -> None:
    """A webhook without a signature, and one with a wrong one; a client without a token, or with an unknown one."""
    async with run_relay_here(tmp_path) as here, httpx2.AsyncClient(base_url=here.url) as http:
        agent = await register(here)
        webhook = f"/webhooks/{agent.agent_id}/voice"
        await http.post(webhook, data={"CallSid": "CA1"})
        await http.post(webhook, data={"CallSid": "CA1"}, headers={"X-Twilio-Signature": "wrong"})
        await http.get("/sse")
        await http.get("/sse?token=unknown")
        await http.post("/mcp", json={}, headers={"Authorization": "Bearer unknown"})
        await http.get("/console", headers={"Authorization": "Bearer op_unknown"})
        found = await metrics(here)
    assert found['relay_refusals_total{code="unsigned",door="signature"}'] == 1
    assert found['relay_refusals_total{code="webhook",door="signature"}'] == 1
    assert found['relay_refusals_total{code="unauthorized",door="token"}'] == 3
    assert 'relay_refusals_total{code="unauthorized",door="operator"}' not in found  # there is no console yet


async def test_what_is_shown_and_watched_is_measured(tmp_path: Path) -> None:
    """Each metric in the dashboard, the alerts and the manual is one that a running relay has."""
    async with run_relay_here(tmp_path) as here, httpx2.AsyncClient() as http:
        page = (await http.get(f"{here.url}/metrics")).text
    known = set(re.findall(r"^# TYPE (relay_\w+) ", page, re.MULTILINE))
    known |= {f"{name}_{part}" for name in known for part in ("bucket", "sum", "count")}
    for file in SHOWN:
        named = set(re.findall(r"\brelay_[a-z_]+", (REPOSITORY / file).read_text()))
        assert len(named) > 10, file
        assert named - known == set(), file


@pytest.mark.slow
async def test_hundreds_of_calls_leave_no_residue(tmp_path: Path) -> None:
    """Twenty at once, with a turn each: when the last one is over no task, no socket and no entry is left of them."""
    async with run_relay_here(tmp_path) as here:
        agent = await register(here)
        async with open_echo_client(agent.sse_url):
            plan = LoadPlan(
                url=here.url,
                agent_id=agent.agent_id,
                account_sid=ACCOUNT,
                auth_token=here.token,
                calls=AT_ONCE,
                turns=1,
            )
            for _ in range(ROUNDS):
                report = await run_load(plan)
                assert report.clean, report

            async def nothing_left() -> bool:
                await trio.lowlevel.checkpoint()
                return set(here.relay.gauges.residue().values()) == {0}

            await eventually(nothing_left)
            end = await metrics(here)
    assert end['relay_calls_total{outcome="completed"}'] == AT_ONCE * ROUNDS
    assert [end[f'relay_residue{{kind="{kind}"}}'] for kind in ("tasks", "sockets", "entries")] == [0, 0, 0]
