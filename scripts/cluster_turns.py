"""What it costs that nothing enters at the agent's home: the same turns with and without it, in one run.

    client ──▶ relay-1 ──┐                              client ──┐
                         ├──▶ relay-3, the home    and           ├──▶ relay-3
    carrier ─▶ relay-2 ──┘                              carrier ─┘

HAProxy is left out of it, so that each enters where it is to. The client is the lean one of load runs: a published one
takes longer for a turn than the relay does. CPU is what the nodes say of themselves, less what they use at rest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import fmean

import attrs
import httpx2
import trio

from relay.simulator.load.costs import DaemonMeter
from relay.simulator.load.echo_client import open_echo_client
from relay.simulator.load.inbound_load import LoadPlan, run_load
from relay.simulator.load.load_report import LoadReport
from relay.simulator.load.local_daemon import ACCOUNT
from scripts.local_cluster import LocalCluster

AGENT = "agent-1"
CLIENT_AT, CARRIER_AT, HOME = "relay-1", "relay-2", "relay-3"

ROUNDS = 2
"""How often each way is measured, in turn: what else the machine does meanwhile is in both."""

THINK = 1.0
REST_SECONDS = 3.0

MOST_AT_ENTRY = 0.5
"""What the two entry nodes may use together, as a share of what the home does."""

NOTHING = 0.05
"""What counts as nothing, as a share of it: clock ticks, and a heartbeat that took longer than at rest."""


@attrs.frozen(kw_only=True)
class Round:
    """One load, and the CPU of each node for a turn, in milliseconds."""

    load: LoadReport
    cpu: Mapping[str, float]

    @property
    def share(self) -> float:
        """What the nodes that are not the home use of the home's CPU."""
        return sum(each for name, each in self.cpu.items() if name != HOME) / self.cpu[HOME]


@attrs.frozen(kw_only=True)
class HopCosts:
    """The rounds in which the home was asked directly, and those in which everything came by way of other nodes."""

    direct: Sequence[Round]
    passed_on: Sequence[Round]

    def rows(self) -> dict[str, str]:
        """Return it as a table shows it."""
        rounds = [*self.direct, *self.passed_on]
        added = _least(self.passed_on, _p50) - _least(self.direct, _p50)
        return {
            "calls × turns, rounds": f"{rounds[0].load.calls} × {rounds[0].load.turns // rounds[0].load.calls}, "
            f"{len(self.direct)} directly and {len(self.passed_on)} by way of others",
            "lost": str(sum(each.load.lost for each in rounds)),
            "crossed": str(sum(each.load.wrong_call for each in rounds)),
            "turn, p50 / p99, asked directly": _latency(self.direct),
            "turn, p50 / p99, client at one, carrier at another": _latency(self.passed_on),
            "added p50": f"{added:.1f} ms",
            "CPU per turn, asked directly": _cpu(self.direct),
            "CPU per turn, by way of others": _cpu(self.passed_on),
            "at the entry nodes, of the home's": " and ".join(
                f"{_mean(each, _share):.2f}" for each in (self.direct, self.passed_on)
            ),
        }

    @property
    def missed(self) -> list[str]:
        """The rules that were missed."""
        rounds = [*self.direct, *self.passed_on]
        direct, passed_on = _mean(self.direct, _share), _mean(self.passed_on, _share)
        rules = {
            "every turn answered on its own call": all(each.load.clean for each in rounds),
            f"at most {MOST_AT_ENTRY} of the home's CPU at the entry nodes: {passed_on:.2f}": passed_on
            <= MOST_AT_ENTRY,
            f"none of it when asked directly: {direct:.2f}": direct <= NOTHING,
        }
        return [rule for rule, is_kept in rules.items() if not is_kept]


async def measure_turns(cluster: LocalCluster, calls: int, turns: int, note: Callable[[str], None]) -> HopCosts:
    """Have calls take turns both ways, and return what each cost."""
    token = await cluster.register(AGENT)
    await cluster.be_at_home(token, HOME)
    direct: list[Round] = []
    passed_on: list[Round] = []
    async with _meters(cluster) as meters:
        for _ in range(ROUNDS):
            for rounds, client_at, carrier_at in ((direct, HOME, HOME), (passed_on, CLIENT_AT, CARRIER_AT)):
                plan = LoadPlan(
                    url=cluster.url,
                    via=cluster.nodes[carrier_at].daemon.url,
                    agent_id=AGENT,
                    account_sid=ACCOUNT,
                    auth_token=cluster.token,
                    calls=calls,
                    turns=turns,
                    think=THINK,
                )
                async with open_echo_client(f"{cluster.nodes[client_at].daemon.url}/sse", token=token):
                    rounds.append(await _measure(plan, meters))
                note(f"client at {client_at}, carrier at {carrier_at}: {rounds[-1].load.turn} ms")
    return HopCosts(direct=direct, passed_on=passed_on)


async def _measure(plan: LoadPlan, meters: Mapping[str, DaemonMeter]) -> Round:
    began, rested = await _read(meters), trio.current_time()
    await trio.sleep(REST_SECONDS)
    before, loaded = await _read(meters), trio.current_time()
    load = await run_load(plan)
    after, ended = await _read(meters), trio.current_time()
    at_rest = {name: (before[name] - began[name]) / (loaded - rested) for name in meters}
    used = {name: after[name] - before[name] - at_rest[name] * (ended - loaded) for name in meters}
    return Round(load=load, cpu={name: 1000 * each / load.turns for name, each in used.items()})


async def _read(meters: Mapping[str, DaemonMeter]) -> dict[str, float]:
    return {name: await meter.cpu_seconds() or 0.0 for name, meter in meters.items()}


@asynccontextmanager
async def _meters(cluster: LocalCluster) -> AsyncIterator[dict[str, DaemonMeter]]:
    async with AsyncExitStack() as stack:
        clients = {name: httpx2.AsyncClient(base_url=node.daemon.url) for name, node in cluster.nodes.items()}
        yield {name: DaemonMeter(await stack.enter_async_context(http)) for name, http in clients.items()}


def _mean(rounds: Sequence[Round], figure: Callable[[Round], float]) -> float:
    return fmean(map(figure, rounds))


def _p50(each: Round) -> float:
    return each.load.turn.p50


def _share(each: Round) -> float:
    return each.share


def _least(rounds: Sequence[Round], figure: Callable[[Round], float]) -> float:
    """Return the figure of the round that was disturbed least."""
    return min(map(figure, rounds))


def _latency(rounds: Sequence[Round]) -> str:
    return f"{_least(rounds, _p50):.1f} / {_least(rounds, lambda each: each.load.turn.p99):.1f} ms"


def _cpu(rounds: Sequence[Round]) -> str:
    figures = {name: fmean(each.cpu[name] for each in rounds) for name in rounds[0].cpu}
    return ", ".join(f"{name} {figure:.2f} ms" for name, figure in figures.items())
