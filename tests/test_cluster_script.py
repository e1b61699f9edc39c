"""What `scripts/cluster` is made of: doors that can be shut, what callers noticed, and the rules that hold for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from click.testing import CliRunner

from relay.simulator.load.load_report import Latency, LoadReport
from relay.simulator.load.markers import Markers
from scripts import cluster as script
from scripts import cluster_callers, cluster_kill, cluster_soak, cluster_turns
from scripts.cluster_callers import Tally, Utterance
from scripts.cluster_clients import Question
from scripts.cluster_findings import Findings, is_whole
from scripts.cluster_kill import CALLS_OUT, kill_under_calls
from scripts.cluster_soak import Soak, account_for, soak
from scripts.cluster_turns import HopCosts, Round, measure_turns
from scripts.local_cluster import Door, LocalCluster, configure, run_local_cluster
from scripts.local_postgresql import free_port
from tests.e2e.proxies import marks_of
from tests.forked_process import RELAY, opener
from tests.postgresql_server import programs


async def test_a_shut_door_keeps_what_comes_until_it_is_opened() -> None:
    """Connections stay, new ones are made, and nothing is lost."""
    target = await trio.open_tcp_listeners(0, host="127.0.0.1")
    door = Door(free_port(), target[0].socket.getsockname()[1])

    async def echo(stream: trio.SocketStream) -> None:
        async for piece in stream:
            await stream.send_all(piece)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, target)
        await nursery.start(door.serve)
        async with await trio.open_tcp_stream("127.0.0.1", door.port) as stream:
            await stream.send_all(b"one")
            assert await stream.receive_some() == b"one"
            door.shut()
            await stream.send_all(b"two")
            with trio.move_on_after(0.1) as waiting:
                await stream.receive_some()
            assert waiting.cancelled_caught
            async with await trio.open_tcp_stream("127.0.0.1", door.port) as later:
                await later.send_all(b"three")
                door.open()
                assert await stream.receive_some() == b"two"
                assert await later.receive_some() == b"three"
        nursery.cancel_scope.cancel()


async def test_a_door_to_nobody_closes() -> None:
    """As the port itself would."""
    door = Door(free_port(), free_port())
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve)
        async with await trio.open_tcp_stream("127.0.0.1", door.port) as stream:
            assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()


def test_a_run_in_which_every_turn_was_answered_is_clean() -> None:
    """Also where the machine answered, or a caller had to say it again."""
    tally = Tally(calls=1, asked=2, answered=1, by_machine=1, repeated=1, waits=[0.1, 2.0], sessions=[0.25])
    assert not tally.missed
    assert tally.rows()["longest wait for an answer"] == "2.00 s"
    assert tally.rows()["next session after, p50 / p99 / max"] == "250 / 250 / 250 ms"


@pytest.mark.parametrize("tally", [Tally(lost=1), Tally(crossed=1), Tally(malformed=1)])
def test_a_run_with_a_loss_is_not(tally: Tally) -> None:
    """Whatever it is that was lost."""
    assert tally.missed


def test_a_call_that_was_cut_is_a_loss() -> None:
    """And the table says why it was."""
    tally = Tally(calls=1)
    tally.cut["the call is over: failed"] += 1
    assert tally.missed
    assert tally.rows()["calls cut"] == "1 (1 × the call is over: failed)"


@pytest.mark.parametrize("command", ["demo", "kill", "turns", "soak", "roll", "partition", "outage"])
def test_each_command_has_a_help(command: str) -> None:
    """It says what happens, without starting anything."""
    result = CliRunner().invoke(script.main, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


# ── the rules ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_kill_that_nobody_noticed_misses_no_rule() -> None:
    """Also where callers had to say again what the dying node had not heard."""
    assert Findings(tally=Tally(calls=2, repeated=1, sessions=[0.2, 2.9]), sessions_within=3.0).missed == []


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({"tally": Tally(sessions=[0.2, 3.1])}, "next session within 3 s: 1 later"),
        ({"not_resumed": 1}, "each call goes on: 1 do not"),
        ({"unlike": {"history": [4, 7], "voice": []}}, "history as before: not in calls 4, 7"),
        ({"in_hand": 3, "in_hand_answered": 2}, "words in hand answered: 2 of 3"),
        ({"messages": 1}, "no message besides: 1"),
        ({"tally": Tally(by_machine=1), "absence": 7.9}, "no machine while the client is waited for: 1"),
        ({"screened": 2, "greeted": 1}, "each callee greeted: 1 of 2"),
        ({"screened_early": 1}, "nothing said before a person is known: 1 calls"),
        ({"transfers": 1}, "back from the transfer: 0 of 1"),
    ],
)
def test_a_rule_that_was_missed_is_named(changed: dict[str, Any], missed: str) -> None:
    """Which one, and how often."""
    assert attrs.evolve(Findings(tally=Tally(), sessions_within=3.0), **changed).missed == [missed]


def test_the_machine_may_answer_when_the_client_stays_away() -> None:
    """After the eight seconds for which it is waited for."""
    assert Findings(tally=Tally(by_machine=1), sessions_within=3.0, absence=8.1).missed == []


def test_a_history_is_whole_with_each_turn_and_its_answer_in_order() -> None:
    """What else was said in between does no harm."""
    markers = Markers()
    first, second, now = (markers.words(3, turn) for turn in range(3))
    said = (
        ("user", first),
        ("assistant", f"You said: {first}"),
        ("assistant", "We were cut off."),
        ("user", second),
        ("assistant", f"You said: {second}"),
    )

    def asked(*history: tuple[str, str]) -> Question:
        return Question(at=1.0, call_sid="CA1", system_prompt="", history=(*history, ("user", now)))

    heard = [(3, 0), (3, 1)]
    assert is_whole(asked(*said), heard, markers)
    assert not is_whole(asked(*said[:-1]), heard, markers)
    assert not is_whole(asked(*said[3:], *said[:3]), heard, markers)
    assert is_whole(asked(), [], markers)


def test_each_utterance_of_a_soak_is_looked_for() -> None:
    """It was answered, at once or when it was said again, or is in a message; or it is unaccounted for."""
    part = Soak()
    part.crowd = cluster_callers.Crowd(cluster_callers.inbound(None, []), markers=part.markers)  # type: ignore[arg-type]
    part.crowd.utterances = [
        Utterance(call=1, turn=0, said_at=0.0, answered_by="client"),
        Utterance(call=2, turn=0, said_at=0.0, answered_by="client", times_said=2),
        Utterance(call=3, turn=0, said_at=0.0, answered_by="machine"),
        Utterance(call=4, turn=0, said_at=0.0),
        Utterance(call=5, turn=0, said_at=0.0, call_sid="CA5"),
    ]
    fates = account_for(part, [f"{part.markers.words(3, 0)} {part.markers.words(1, 0)}", part.markers.words(4, 0)])
    assert (fates.answered, fates.answered_again, fates.in_message, fates.in_both) == (1, 1, 2, 1)
    (lost,) = fates.unaccounted
    assert lost == "turn 0 of CA5, said 1 times, of which nobody was asked, call hung up"
    assert fates.missed == [f"each utterance accounted for: not {lost}"]


def test_what_passing_on_may_cost() -> None:
    """At most half of the home's CPU at the other nodes, and nothing where the home is asked directly."""
    load = LoadReport(
        calls=2,
        turns=4,
        answered={"client": 4},
        turn=Latency.of([0.01]),
        first_word=Latency.of([0.01]),
        lost=0,
        wrong_call=0,
        stale=0,
        malformed=0,
        errors={},
        seconds=1.0,
    )
    direct = Round(load=load, cpu={"relay-1": 0.0, "relay-2": 0.01, "relay-3": 2.0})
    passed_on = Round(load=load, cpu={"relay-1": 0.5, "relay-2": 0.4, "relay-3": 2.0})
    assert HopCosts(direct=[direct], passed_on=[passed_on]).missed == []
    dear = attrs.evolve(passed_on, cpu={"relay-1": 1.2, "relay-3": 2.0})
    assert HopCosts(direct=[passed_on], passed_on=[dear]).missed == [
        "at most 0.5 of the home's CPU at the entry nodes: 0.60",
        "none of it when asked directly: 0.45",
    ]


def test_what_comes_in_may_be_led_to_one_node() -> None:
    """As long as it is there; the lines for sockets that name a node make way."""
    text = configure(8000, {"relay-1": 8001, "relay-2": 8002}, {"/n/": "relay-2", "/": "relay-1"})
    lines = [line.strip() for line in text.splitlines() if "use-server" in line and not line.strip().startswith("#")]
    assert lines == ["use-server relay-2 if { path_beg /n/ }", "use-server relay-1 if { path_beg / }"]


# ── the runs, in small ──────────────────────────────────────────────────────────────────────────────────────────────

_EACH_HAS_HAPROXY = pytest.mark.parametrize("proxy", [pytest.param("haproxy", marks=marks_of("haproxy"))])


@asynccontextmanager
async def a_cluster(directory: Path, **settings: str) -> AsyncIterator[LocalCluster]:
    programs()
    async with run_local_cluster(
        directory, settings={**script.SETTINGS, **settings}, open_process=opener(RELAY)
    ) as cluster:
        yield cluster


# The published client leaves its streams open when its connection is cut.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
@_EACH_HAS_HAPROXY
async def test_calls_of_every_kind_outlive_their_home(
    proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are few calls, too, one is screened, one is in transfer, and one has words in hand."""
    for name, seconds in {"BEFORE": 0.5, "VERDICT_SECONDS": 5.0, "AFTER": 6.0, "RESTART_SECONDS": 0.5}.items():
        monkeypatch.setattr(cluster_kill, name, seconds)
    port = free_port()
    settings = {**CALLS_OUT, "TWILIO_API_BASE_URL": f"http://127.0.0.1:{port}"}
    async with a_cluster(tmp_path, **settings) as cluster:
        findings = await kill_under_calls(cluster, port, 4, lambda _text: None)
    assert (findings.outbound, findings.screened, findings.transfers, findings.in_hand) == (1, 1, 1, 1)
    assert findings.absence > 0
    findings.sessions_within = 30.0  # how fast it is depends on what else the machine does
    assert findings.missed == []


@pytest.mark.slow
@_EACH_HAS_HAPROXY
async def test_turns_are_measured_both_ways(proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And all are answered."""
    for name, value in {"ROUNDS": 1, "THINK": 0.0, "REST_SECONDS": 0.2}.items():
        monkeypatch.setattr(cluster_turns, name, value)
    async with a_cluster(tmp_path) as cluster:
        costs = await measure_turns(cluster, 2, 3, lambda _text: None)
    assert [each.load.answered for each in (*costs.direct, *costs.passed_on)] == [{"client": 6}, {"client": 6}]
    assert costs.passed_on[0].load.clean


# The published client leaves its streams open when its connection is cut.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
@_EACH_HAS_HAPROXY
async def test_a_short_soak(proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node is killed once, callers leave with words in hand, and each utterance is found."""
    for name, value in {"BETWEEN_KILLS": 4.0, "DOWN_SECONDS": 0.5, "TURNS": (1, 2), "LEAVERS": 0.7}.items():
        monkeypatch.setattr(cluster_soak, name, value)
    async with a_cluster(tmp_path, RELAY_RETURN_SECONDS="5") as cluster:
        fates = await soak(cluster, 3, 1, 5.0, lambda _text: None)
    assert fates.kills.total() == 1
    assert fates.in_message
    assert fates.missed == []
