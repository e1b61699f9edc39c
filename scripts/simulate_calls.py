#!/usr/bin/env python3
"""Put call load on a running relay from a simulated carrier, and print what callers would have noticed.

    scripts/simulate_calls.py --url http://127.0.0.1:8080 --agent my-client --calls 200 --turns 30 --think 1

Run it with the project's environment (`scripts/environment` makes it): .venv/bin/python scripts/simulate_calls.py …
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import AsyncExitStack
from typing import Any

import attrs
import click
import httpx2
import trio
from rich.console import Console

from relay import config, logs
from relay.errors import RelayError
from relay.local import carrier_token
from relay.simulator.costs import Costs, DaemonMeter, memory_of_idle_call, run_metered_load
from relay.simulator.echo_client import EchoFailed, open_echo_client
from relay.simulator.load import LoadPlan, LoadReport, Progress
from relay.speech.phrases import phrases_for

IDLE_SECONDS = 2.0
"""How long idle calls stay open before the daemon's memory is read."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--url", required=True, help="The relay's public origin, such as http://127.0.0.1:8080.")
@click.option("--agent", "agent_id", required=True, help="The agent whose number is called.")
@click.option("--calls", type=click.IntRange(1, 10_000), required=True, help="Calls at once.")
@click.option("--turns", type=click.IntRange(1, 1_000), required=True, help="Turns in each call.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Calls begun in a second. [default: all]")
@click.option(
    "--think", type=click.FloatRange(min=0), default=0.0, help="Seconds between an answer and the next words."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
@click.option("--account-sid", envvar="TWILIO_ACCOUNT_SID", default="AC" + "0" * 32, help="The carrier's account.")
@click.option(
    "--auth-token",
    envvar="TWILIO_AUTH_TOKEN",
    help="What webhooks are signed with. [default: the secret that `relay serve --local` keeps beside DATABASE_URL]",
)
@click.option("--language", default="en-US", help="The agent's language, by which fixed phrases are recognised.")
@click.option(
    "--echo-client",
    "client_token",
    metavar="TOKEN",
    help="Also be the agent's client, which answers at once. Without it your own client must repeat what it is told.",
)
@click.option("--idle/--no-idle", default=True, help="Also measure memory for each idle call, first.")
def main(
    as_json: bool, auth_token: str | None, language: str, client_token: str | None, idle: bool, **plan: Any
) -> None:
    """Simulate many calls at once. Exits 1 when an answer was lost, went to the wrong call, or a call failed."""
    logs.configure(logging.WARNING)
    phrases = phrases_for(language)
    try:
        load = LoadPlan(
            auth_token=auth_token or carrier_token(config.load()),
            phrases={"machine": [phrases.apology], "unavailable": [phrases.unavailable]},
            **plan,
        )
        report, costs = trio.run(_run, load, client_token, idle, Console(stderr=True))
    except* (RelayError, EchoFailed, httpx2.HTTPError, OSError) as group:
        raise click.ClickException("; ".join(str(each) or type(each).__name__ for each in group.exceptions)) from group
    if as_json:
        click.echo(json.dumps(report.as_json() | {"costs": attrs.asdict(costs)}, indent=2))
    else:
        table = report.table()
        table.add_row("relay's CPU for each turn (ms)", _number(costs.cpu_ms_per_turn))
        table.add_row("relay's memory for each idle call (kB)", _number(costs.kb_per_idle_call))
        Console().print(table)
    sys.exit(0 if report.clean else 1)


async def _run(plan: LoadPlan, client_token: str | None, idle: bool, console: Console) -> tuple[LoadReport, Costs]:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=plan.url, timeout=10))
        if client_token:
            await stack.enter_async_context(open_echo_client(f"{plan.url}/sse?token={client_token}"))
        meter, memory = DaemonMeter(http), None
        if idle:
            console.print(f"opening {plan.calls} idle calls", highlight=False)
            memory = await memory_of_idle_call(plan, meter, IDLE_SECONDS)
        status = stack.enter_context(console.status("calling"))

        def show(progress: Progress) -> None:
            turns = f"{progress.answered} of {progress.asked} turns answered"
            status.update(f"{progress.live} calls live, {progress.finished} over; {turns}")

        report, cpu = await run_metered_load(plan, meter, show)
        return report, Costs(cpu_ms_per_turn=cpu, kb_per_idle_call=memory)


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()
