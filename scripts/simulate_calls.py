#!/usr/bin/env python3
"""Put call load on a running relay from a simulated carrier, and print what callers would have noticed.

    scripts/simulate_calls.py --url http://127.0.0.1:8080 --agent my-client --calls 200 --turns 30 --think 1

With --turn-tools the script is also so many clients of the agent, which cannot be asked and answer by comms_converse.
With --outbound the calls go the other way: this script is the agent's client, which asks for them, the carrier that
places them, and everybody who is called.

    TWILIO_API_BASE_URL=http://127.0.0.1:9000 RELAY_CALLS_PER_SECOND=1000 RELAY_CALLS_PER_AGENT_PER_MINUTE=0 \\
        RELAY_CALLS_PER_NUMBER_PER_DAY=0 relay serve --local
    scripts/simulate_calls.py --outbound --rest-port 9000 --client-token TOKEN --url … --agent … --calls 200 --turns 30

Run it with the project's environment (`scripts/environment` makes it): .venv/bin/python scripts/simulate_calls.py …
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Ctrl-C while the rest is imported ends this without a word
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)

import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import attrs
import click
import httpx2
import trio
from rich.console import Console

from relay import logs
from relay import settings as config
from relay.cli.caller.ring import explain
from relay.cli.one_line import in_one_line, leaves_of
from relay.daemon.credentials import find_carrier_token, token_path
from relay.errors import RelayError
from relay.simulator.carrier.exchange import open_carrier
from relay.simulator.carrier.fault_plan import WebhookFailed
from relay.simulator.carrier.rest_service import open_rest
from relay.simulator.load.costs import Costs, DaemonMeter, cpu_of, memory_of_idle_call, run_metered_load
from relay.simulator.load.echo_client import EchoFailed, open_echo_client
from relay.simulator.load.inbound_load import LoadPlan
from relay.simulator.load.load_report import LoadReport, Progress
from relay.simulator.load.outbound_load import CalledElsewhere, OutboundReport, run_outbound_load
from relay.simulator.load.turn_tool_clients import TurnToolClient, open_turn_tool_clients
from relay.speech.locales import locale_for

IDLE_SECONDS = 2.0
"""How long idle calls stay open before the daemon's memory is read."""

REST = "TWILIO_API_BASE_URL=http://127.0.0.1:{port}"


Outcome: TypeAlias = "tuple[LoadReport | OutboundReport, Costs, Sequence[TurnToolClient]]"


@attrs.frozen(kw_only=True)
class Run:
    """How a plan is carried out: by calls that come in, or by calls that the relay makes."""

    plan: LoadPlan
    client_token: str | None
    turn_tools: int
    idle: bool
    outbound: bool
    rest_port: int
    numbers: tuple[str, ...]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--url", required=True, help="The relay's public origin, such as http://127.0.0.1:8080.")
@click.option("--agent", "agent_id", required=True, help="The agent whose number is called, or who calls.")
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
    "--client-token",
    "client_token",
    metavar="TOKEN",
    help="Also be the agent's client, which answers at once. Without it your own client must repeat what it is told; "
    "with --outbound and --turn-tools it is needed.",
)
@click.option(
    "--turn-tools",
    type=click.IntRange(1, 1_000),
    metavar="CLIENTS",
    help="Be so many clients instead, which answer with comms_converse: half over Streamable HTTP, half over SSE.",
)
@click.option("--idle/--no-idle", default=True, help="Also measure memory for each idle call, first; of inbound calls.")
@click.option(
    "--outbound",
    is_flag=True,
    help="Have the relay make the calls. Start it with RELAY_CALLS_PER_SECOND=1000, RELAY_CALLS_PER_AGENT_PER_MINUTE=0 "
    "and RELAY_CALLS_PER_NUMBER_PER_DAY=0, or it rightly refuses most; and without --local also with "
    "RELAY_ALLOW_UNASSIGNED_NUMBERS=true, RELAY_CALLING_HOURS=00:00-24:00, RELAY_ALLOWED_COUNTRIES=all, "
    "RELAY_CALLS_PER_AGENT_PER_DAY=0. The agent needs a number.",
)
@click.option(
    "--rest-port",
    type=click.IntRange(1, 65_535),
    help="With --outbound: where this script serves the carrier's REST API. The relay must have been started with "
    f"{REST.format(port='PORT')}.",
)
@click.option(
    "--to",
    "numbers",
    metavar="NUMBER[,…]",
    default="",
    help="With --outbound: whom to call, in turn. [default: a +1 555 number for each call]",
)
def main(
    *,
    as_json: bool,
    auth_token: str | None,
    language: str,
    client_token: str | None,
    turn_tools: int | None,
    idle: bool,
    outbound: bool,
    rest_port: int | None,
    numbers: str,
    **plan: Any,
) -> None:
    """Simulate many calls at once. Exits 1 when an answer was lost, went to the wrong call, or a call failed."""
    if outbound and (rest_port is None or client_token is None):
        raise click.UsageError(
            "--outbound needs --client-token TOKEN, the agent's, and --rest-port PORT, at which this script serves the "
            f"carrier's REST API to a relay that was started with {REST.format(port='PORT')}."
        )
    if turn_tools and (outbound or client_token is None):
        raise click.UsageError("--turn-tools needs --client-token TOKEN, the agent's, and calls that come in.")
    if not outbound and (rest_port or numbers):
        raise click.UsageError("--rest-port and --to belong to --outbound.")
    logs.configure(logging.WARNING)
    phrases = locale_for(language).phrases
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with in_one_line(EchoFailed, CalledElsewhere, httpx2.HTTPError, OSError, trio.TooSlowError):
        load = LoadPlan(
            auth_token=auth_token or _secret(),
            phrases={"machine": [phrases.apology], "unavailable": [phrases.unavailable]},
            **plan,
        )
        run = Run(
            plan=load,
            client_token=client_token,
            turn_tools=turn_tools or 0,
            idle=idle and not outbound,
            outbound=outbound,
            rest_port=rest_port or 0,
            numbers=tuple(each.strip() for each in numbers.split(",") if each.strip()),
        )
        report, costs, clients = trio.run(_run_until_stopped, run, console)
    if (why := _why_nothing_was_said(report, load)) is not None:
        raise click.ClickException(why)
    if as_json:
        click.echo(json.dumps(report.as_json() | {"costs": attrs.asdict(costs)} | _by_turn_tools(clients), indent=2))
    else:
        table = report.table()
        table.add_row("relay's CPU for each turn (ms)", _number(costs.cpu_ms_per_turn))
        if not outbound:
            table.add_row("relay's memory for each idle call (kB)", _number(costs.kb_per_idle_call))
        for name, value in _by_turn_tools(clients).items():
            table.add_row(name.replace("_", " "), str(value))
        Console().print(table)
    if isinstance(report, OutboundReport) and report.advice:
        console.print(f"Calls were refused that the relay makes when it is started with {', '.join(report.advice)}")
    sys.exit(0 if report.clean else 1)


def _secret() -> str:
    """Return the secret that `relay serve --local` keeps beside its database. Raises `click.UsageError`."""
    settings = config.load()
    secret = find_carrier_token(settings)
    if secret is None:
        raise click.UsageError(
            f"There is no secret to sign the calls with at {token_path(settings).absolute()}. Run this where "
            "`relay serve --local` runs, set DATABASE_URL to its database, or give --auth-token."
        )
    return secret


def _why_nothing_was_said(report: LoadReport | OutboundReport, plan: LoadPlan) -> str | None:
    """Say why not one call came about, where the relay's answer to all of them tells."""
    if isinstance(report, OutboundReport) or report.turns:
        return None
    refusals = [re.fullmatch(r"webhook voice (\d+|unanswered)", kind) for kind in report.errors]
    if not refusals or refusals[0] is None:
        return None
    status = 0 if refusals[0][1] == "unanswered" else int(refusals[0][1])
    return explain(WebhookFailed("/voice", status, f"answered {status}"), plan.agent_id, plan.url)


async def _run_until_stopped(run: Run, console: Console) -> Outcome:
    """Carry out the plan. Ctrl-C cuts it off, and what was seen so far is reported; before the calls it ends all."""
    stop, outcome = trio.Event(), None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_obey_signals, stop, console, nursery.cancel_scope)
        outcome = await _run(run, console, stop)
        nursery.cancel_scope.cancel("done")
    if outcome is None:
        raise click.Abort
    return outcome


async def _obey_signals(stop: trio.Event, console: Console, everything: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _signal in signals:
            if stop.is_set():
                everything.cancel("told to stop at once")
            stop.set()
            console.print("stopping; a second Ctrl-C prints nothing more")


async def _run(run: Run, console: Console, stop: trio.Event) -> Outcome:
    plan = run.plan
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=plan.url, timeout=10))
        meter, memory = DaemonMeter(http), None
        client = None
        clients: Sequence[TurnToolClient] = ()
        if run.client_token and run.turn_tools:
            connecting = open_turn_tool_clients(plan.url, run.client_token, run.turn_tools)
            clients = await stack.enter_async_context(connecting)
        elif run.client_token:
            client = await stack.enter_async_context(open_echo_client(f"{plan.url}/sse?token={run.client_token}"))
        if run.idle:
            console.print(f"opening {plan.calls} idle calls")
            try:
                memory = await memory_of_idle_call(plan, meter, IDLE_SECONDS, stop)
            except* WebhookFailed as group:
                failure = next(each for each in leaves_of(group) if isinstance(each, WebhookFailed))
                raise RelayError(explain(failure, plan.agent_id, plan.url)) from None
        if client is None or not run.outbound:
            status = stack.enter_context(console.status("calling"))
            inbound, cpu = await run_metered_load(plan, meter, _shown(status.update), stop)
            return inbound, Costs(cpu_ms_per_turn=cpu, kb_per_idle_call=memory), clients
        carrier = await stack.enter_async_context(open_carrier(plan.account_sid, plan.auth_token, plan.url))
        rest = await stack.enter_async_context(open_rest(carrier, port=run.rest_port))
        console.print(f"serving the carrier's REST API: the relay needs {REST.format(port=run.rest_port)}")
        status = stack.enter_context(console.status("calling"))
        outbound, seconds = await cpu_of(
            meter,
            lambda: run_outbound_load(
                plan, client.call_tool, rest, numbers=run.numbers, progress=_shown(status.update), stop=stop
            ),
        )
        turns = outbound.load.turns
        each = None if seconds is None or not turns else seconds * 1000 / turns
        return outbound, Costs(cpu_ms_per_turn=each, kb_per_idle_call=None), ()


def _shown(update: Callable[[str], None]) -> Callable[[Progress], None]:
    def show(progress: Progress) -> None:
        turns = f"{progress.answered} of {progress.asked} turns answered"
        update(f"{progress.live} calls live, {progress.finished} over; {turns}")

    return show


def _by_turn_tools(clients: Sequence[TurnToolClient]) -> dict[str, Any]:
    """Say what the clients of the turn tools did; nothing where there are none."""
    if not clients:
        return {}
    said = sorted(each.said for each in clients)
    not_taken = sum((each.not_taken for each in clients), Counter[str]())
    return {"turn_tool_clients": len(clients), "said_by_each": [said[0], said[-1]], "not_taken": dict(not_taken)}


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    signal.signal(signal.SIGINT, on_interrupt)
    main()
