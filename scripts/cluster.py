"""What becomes of live calls when something happens to a cluster: a table of what the callers noticed.

    callers (simulated carrier), clients ──▶ HAProxy ──▶ three nodes ──▶ PostgreSQL
                                                ▲            ▲              ▲
                                                └── kill, roll, partition, outage, soak

Everything runs on this machine, in a directory that is removed afterwards. `scripts/cluster` makes the environment
first, and runs this as a module, so that its parts find each other.
"""

from __future__ import annotations

import functools
import json
import logging
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import attrs
import click
import trio
from rich.console import Console
from rich.table import Table

from relay import logs
from relay.cli.one_line import in_one_line
from relay.simulator.load.local_daemon import DaemonFailed
from scripts.cluster_callers import Event, talk_during
from scripts.cluster_events import Promise, Promised, cut_off, kill_home, note, take_database_away
from scripts.cluster_hosts import Vanishing
from scripts.cluster_kill import CALLS_OUT, kill_under_calls
from scripts.cluster_restarts import Restarts
from scripts.cluster_soak import RETURN_SECONDS, soak
from scripts.cluster_turns import measure_turns
from scripts.local_cluster import MOST_NODES, LocalCluster, run_local_cluster
from scripts.local_postgresql import NotInstalled, free_port

MOST_SECONDS = 600
"""What a run may take before it counts as hanging."""

SETTINGS = {"RELAY_DRAIN": "handover", "RELAY_DRAIN_SECONDS": "0"}
"""With these a node that is told to stop passes its calls on at once."""

DRAIN_SECONDS = 10.0
"""For a deployment: calls move when their callers have spoken, for most of it."""

ENTRIES = {"/webhooks/": "relay-2", "/n/": "relay-2", "/": "relay-1"}
"""Where `kill --entry` has what comes in: the carrier's all at one node, the client's at another."""

HOME = "relay-3"
"""Where the agent is at home then."""


class Outcome(Protocol):
    """What came of a run."""

    @property
    def missed(self) -> list[str]:
        """The rules that were missed."""
        ...

    def rows(self) -> dict[str, str]:
        """Return it as a table shows it."""
        ...


@attrs.frozen(kw_only=True)
class Load:
    """What every command is told: how many calls on how many agents, how to print, and where logs are to stay."""

    calls: int
    agents: int
    as_json: bool = False
    keep: Path | None = None


def _loads(agents: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a load as its first argument, with so many agents unless an option says otherwise."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @click.option("--calls", type=click.IntRange(1, 500), default=50, show_default=True, help="Calls at once.")
        @click.option("--agents", type=click.IntRange(1, 50), default=agents, show_default=True, help="Whom they call.")
        @click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
        @click.option(
            "--keep", type=click.Path(path_type=Path, file_okay=False), help="Where to leave the nodes' logs."
        )
        @functools.wraps(command)
        def with_load(calls: int, agents: int, as_json: bool, keep: Path | None, **options: Any) -> None:
            command(Load(calls=calls, agents=agents, as_json=as_json, keep=keep), **options)

        return with_load

    return decorate


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run a cluster on this machine, and have callers talk while something goes wrong.

    The exit status is 1 where something was lost, or a call was cut, or another rule missed; it is said which.
    """


@main.command()
def demo() -> None:
    """Kill one node, then restart each in turn, under eight calls: about two minutes."""
    note("1. A node is killed, with eight calls on it")
    _play_event("demo: kill", kill_home, Load(calls=8, agents=1))
    note("2. Each node is restarted in turn, as for a deploy")
    _roll("demo: roll", Load(calls=8, agents=3), rounds=1, drain_seconds=DRAIN_SECONDS)


@main.command()
@_loads(1)
@click.option(
    "--entry", is_flag=True, help="Kill the node through which all lines pass; home and client are elsewhere."
)
def kill(load: Load, entry: bool) -> None:
    """Kill (SIGKILL) the home of calls of every kind, and start it again.

    A third have words in hand at that moment, some were made by the relay, with a prompt and a voice of their own, some
    of those are still screened, and one is being transferred. There is one agent, whatever --agents says.
    """
    rest_port = free_port()
    killed = {"entry": ENTRIES["/n/"], "home": HOME} if entry else {}
    _play(
        "kill --entry" if entry else "kill",
        lambda cluster: kill_under_calls(cluster, rest_port, load.calls, note, **killed),
        load,
        {**CALLS_OUT, "TWILIO_API_BASE_URL": f"http://127.0.0.1:{rest_port}"},
        entries=ENTRIES if entry else None,
    )


@main.command()
@_loads(1)
@click.option("--turns", type=click.IntRange(1, 1000), default=20, show_default=True, help="Turns of each call.")
def turns(load: Load, turns: int) -> None:
    """Measure what passing on costs: client at one node, carrier at another, home at the third, and all at the home."""
    _play("turns", lambda cluster: measure_turns(cluster, load.calls, turns, note), load)


@main.command("soak")
@_loads(3)
@click.option("--seconds", type=float, default=300.0, show_default=True, help="For how long.")
def soak_command(load: Load, seconds: float) -> None:
    """Kill (SIGKILL) a node at random every 20 seconds, and start it again each time."""
    _play(
        f"soak ({seconds:g} s)",
        lambda cluster: soak(cluster, load.calls, load.agents, seconds, note),
        load,
        {"RELAY_RETURN_SECONDS": str(RETURN_SECONDS)},
    )


@main.command()
@_loads(3)
@click.option("--rounds", type=click.IntRange(1, 10), default=2, show_default=True, help="How often each is restarted.")
@click.option(
    "--drain-seconds", type=click.FloatRange(0), default=DRAIN_SECONDS, show_default=True, help="As the nodes'."
)
def roll(load: Load, rounds: int, drain_seconds: float) -> None:
    """Restart each node in turn, with RELAY_DRAIN=handover, and again.

    Each must end with 0, two seconds after its drain time at the latest; callers must not wait longer than 5 seconds.
    """
    _roll(f"roll ({rounds} rounds, {drain_seconds:g} s to drain)", load, rounds=rounds, drain_seconds=drain_seconds)


def _roll(name: str, load: Load, *, rounds: int, drain_seconds: float) -> None:
    restarts = Restarts(rounds, drain_seconds, note)
    _play_promise(name, restarts.run, load, restarts, {"RELAY_DRAIN_SECONDS": f"{drain_seconds:g}"})


@main.command()
@_loads(3)
@click.option("--between", type=click.Choice(["database", "nodes"]), default="database", show_default=True)
@click.option("--seconds", type=float, default=20.0, show_default=True, help="For how long.")
def partition(load: Load, between: str, seconds: float) -> None:
    """Cut the home of most calls off: what goes to PostgreSQL, or what comes from the other nodes, gets no answer.

    Connections stay open, as with a server that hangs. Packets that vanish need a network namespace, and root.
    """
    _play_event(f"partition ({between}, {seconds:g} s)", partial(cut_off, between, seconds), load, has_doors=True)


@main.command()
@_loads(3)
@click.option("--hung", is_flag=True, help="PostgreSQL stops where it is, instead of being killed.")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="For how long; 0 is a restart.")
def outage(load: Load, hung: bool, seconds: float) -> None:
    """Take PostgreSQL away: it is killed and started again, or hangs."""
    what = f"outage ({'hung' if hung else 'away'}, {seconds:g} s)"
    _play_event(what, partial(take_database_away, hung, seconds), load)


@main.command()
@_loads(1)
@click.option("--what", type=click.Choice(["home", "entry"]), default="home", show_default=True)
def vanish(load: Load, what: str) -> None:
    """Have the host of the calls' home vanish, or one that passes things on to it: its network link goes down.

    Nodes have network namespaces of their own, which needs root and iproute2. The next session of each call must be
    there 5 seconds after the carrier has asked.
    """
    vanishing = Vanishing(what, note)
    _play_promise(f"vanish ({what})", vanishing.run, load, vanishing, has_hosts=True)


# ── running and printing ────────────────────────────────────────────────────────────────────────────────────────────


def _play_promise(
    name: str, event: Event, load: Load, promise: Promise, settings: Mapping[str, str] | None = None, **cluster: Any
) -> None:
    """Have something happen to a cluster under calls, of which more is promised than that nothing is lost."""

    async def work(running: LocalCluster) -> Promised:
        return Promised(await talk_during(running, load.agents, load.calls, event, note), promise)

    _play(name, work, load, settings, **cluster)


def _play_event(
    name: str, event: Event, load: Load, settings: Mapping[str, str] | None = None, *, has_doors: bool = False
) -> None:
    """Have something happen to a cluster under calls, and print what the callers noticed; exit with 1 for a loss."""
    _play(
        name,
        lambda cluster: talk_during(cluster, load.agents, load.calls, event, note),
        load,
        settings,
        has_doors=has_doors,
    )


def _play(
    name: str,
    work: Callable[[LocalCluster], Awaitable[Outcome]],
    load: Load,
    settings: Mapping[str, str] | None = None,
    **cluster: Any,
) -> None:
    """Do something with a cluster, made with `run_local_cluster`'s options, and print what came of it as a table.

    Exits with 1 where a rule was missed, and says which.
    """
    # What the simulated carrier notices of lines that break is in the table.
    logs.configure(logging.ERROR)
    # So is what the SDK notices: it logs each connection that breaks as an error.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    with in_one_line(DaemonFailed, NotInstalled), tempfile.TemporaryDirectory(prefix="relay-cluster-") as temporary:
        directory = Path(temporary)
        if load.keep is not None:
            load.keep.mkdir(parents=True, exist_ok=True)
            directory = Path(tempfile.mkdtemp(dir=load.keep))
        outcome = trio.run(partial(_run, work, directory, {**SETTINGS, **(settings or {})}, cluster))
    if load.as_json:
        click.echo(json.dumps({"run": name, **outcome.rows(), "missed": outcome.missed}))
    else:
        table = Table(title=name, show_header=False)
        for row in outcome.rows().items():
            table.add_row(*row)
        Console().print(table)
    for rule in outcome.missed:
        note(f"missed: {rule}")
    if outcome.missed:
        raise SystemExit(1)


async def _run(
    work: Callable[[LocalCluster], Awaitable[Outcome]],
    directory: Path,
    settings: Mapping[str, str],
    options: Mapping[str, Any],
) -> Outcome:
    try:
        with trio.fail_after(MOST_SECONDS):
            async with run_local_cluster(directory, MOST_NODES, settings, **options) as cluster:
                note(f"{', '.join(cluster.nodes)} are ready behind {cluster.url}")
                return await work(cluster)
    except trio.TooSlowError:
        raise DaemonFailed(f"the run hangs: it has taken {MOST_SECONDS} s") from None


if __name__ == "__main__":
    main(prog_name="scripts/cluster")
