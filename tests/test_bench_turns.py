"""A turn through a whole daemon is measured, counted, and compared, and nothing is lost on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from scripts.bench import main
from scripts.bench_daemon import BenchFailed, prepare
from scripts.bench_frames import CLOSE, TEXT, FrameReader, frame
from scripts.bench_http import EventReader, HttpReader
from scripts.bench_tail import BATCH, BEHIND, CLIENT, COLLECTOR, COMMIT, HAND_OVER, KINDS, QUEUE, WORK, breakdown
from scripts.bench_tally import percentiles
from scripts.bench_target import marked_words, read_marker
from tests.bench_here import Bench, bench

__all__ = ["bench"]

BENCH = Path(__file__).parents[1] / "scripts" / "bench.py"


@pytest.mark.slow
def test_a_turn_is_measured_over_each_way(bench: Bench) -> None:
    """Every way to a client, paced and saturated, has its CPU and its waiting times, and every turn its own answer."""
    rows = bench("turns", "--seconds", "0.25", "--calls", "40", "--no-counts")
    assert {(row["way"], row["load"]) for row in rows} == {
        (way, load) for way in ("sse", "mcp", "converse") for load in ("40 calls", "50 saturated")
    }
    for row in rows:
        assert row["asked"] == row["answered"] > 0
        assert row["lost"] == row["crossed"] == row["duplicated"] == row["other"] == 0
        assert row["cpuMs"] > 0
        assert 0 < row["turnMs"]["p50"] <= row["turnMs"]["p99"]
        assert 0 < row["firstWordMs"]["p50"] <= row["turnMs"]["p99"]


@pytest.mark.slow
def test_what_a_turn_is_made_of_is_counted(bench: Bench) -> None:
    """A probe in a daemon of its own counts what Trio does in a turn; the daemon that is timed has none."""
    (row,) = bench("turns", "--seconds", "0.2", "--calls", "20", "--no-saturated", "--way", "sse")
    assert row["counts"]["perTurn"].keys() >= {"steps", "tasks", "scopes", "handOvers", "rounds"}
    assert row["counts"]["perTurn"]["steps"] > 1


async def test_a_revision_that_is_not_there_is_named() -> None:
    """Nothing is made for a revision that nobody knows."""
    with pytest.raises(BenchFailed, match="there is no revision no-such-thing"):
        await prepare("no-such-thing", print)


def test_a_command_says_in_one_line_what_it_lacks() -> None:
    """The command ends with 1 and says which revision is not there."""
    result = CliRunner().invoke(main, ["turns", "--quick", "--against", "no-such-thing"])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: there is no revision no-such-thing")


def test_words_say_whose_they_are() -> None:
    """The last marker in a text is what it answers, whatever stands around it."""
    assert read_marker(f"You said: {marked_words(3, 4)} {marked_words(5, 6)}") == (5, 6)
    assert read_marker("Sorry?") is None


def test_percentiles_are_by_nearest_rank() -> None:
    """Times in seconds become milliseconds; of nothing there is nothing."""
    assert percentiles([0.1, 0.2, 0.3, 0.4]) == {"p50": 200, "p95": 400, "p99": 400, "max": 400}
    assert percentiles([]) == {}


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_responses_are_read_however_they_are_cut(size: int) -> None:
    """Responses by length, in chunks and without a body follow each other on a connection."""
    stream = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        b"HTTP/1.1 204 No Content\r\n\r\n"
    )
    seen: list[tuple[int, bytes]] = []
    statuses: list[int] = []
    bodies = [b""]

    def end() -> None:
        seen.append((statuses[-1], bodies.pop()))
        bodies.append(b"")

    def add(body: bytes) -> None:
        bodies[-1] += body

    reader = HttpReader(lambda status, _head: statuses.append(status), add, end)
    for start in range(0, len(stream), size):
        reader.feed(stream[start : start + size])
    assert seen == [(200, b"hello"), (202, b""), (200, b"abcde"), (204, b"")]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_events_and_frames_are_read_however_they_are_cut(size: int) -> None:
    """An event is handed over when its blank line is there, a frame when its last byte is."""
    events: list[tuple[bytes, bytes]] = []
    reader = EventReader(lambda name, data: events.append((name, data)))
    stream = b": ping\n\nevent: endpoint\ndata: /messages\n\ndata: {}\r\n\r\n"
    for start in range(0, len(stream), size):
        reader.feed(stream[start : start + size])
    assert events == [(b"endpoint", b"/messages"), (b"message", b"{}")]

    frames: list[tuple[int, bytes]] = []
    parts = FrameReader(lambda opcode, payload: frames.append((opcode, payload)))
    stream = b"\x81\x02hi" + b"\x81\x7e\x01\x00" + b"x" * 256 + b"\x88\x02\x03\xe8"
    for start in range(0, len(stream), size):
        parts.feed(stream[start : start + size])
    assert frames == [(TEXT, b"hi"), (TEXT, b"x" * 256), (CLOSE, b"\x03\xe8")]
    assert frame(b"hi") == b"\x81\x82\0\0\0\0hi"
    assert len(frame(b"x" * 300)) == 2 + 2 + 4 + 300


@pytest.mark.slow
async def test_turns_that_are_talked_over_are_told_apart() -> None:
    """Of turns that are talked over none counts as lost, and none of the others is. It is run as people run it."""
    options = ("--turns", "300", "--barge-ins", "50", "--calls", "10")
    with trio.fail_after(240):
        done = await trio.run_process(
            [sys.executable, str(BENCH), "soak", "--json", *options], capture_stdout=True, stderr=subprocess.DEVNULL
        )
    result = json.loads(done.stdout)
    assert result["lost"] == result["crossed"] == result["duplicated"] == result["unanswered"] == 0
    assert 0 < result["superseded"] < result["barge_ins"] <= 50
    assert result["asked"] == result["answered"] + result["superseded"]


@pytest.mark.slow
def test_what_is_kept_is_measured(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle calls and sessions have a weight."""
    monkeypatch.setattr("scripts.bench_memory.REST", 0.1)
    (memory,) = bench("memory", "--calls", "50", "--way", "sse")
    assert memory["acceptSeconds"] > 0
    assert memory["kbAnIdleCall"] is not None


@pytest.mark.slow
def test_how_a_turn_grows_is_measured(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn has a cost for each length of its call."""
    monkeypatch.setattr("scripts.bench_history.CALLS", 5)
    history = bench("history", "--lines", "0", "--lines", "20", "--way", "mcp")
    assert [(row["lines"], row["cpuMs"] > 0) for row in history] == [(0, True), (20, True)]


@pytest.mark.slow
def test_the_time_of_a_turn_is_shared_out_among_the_layers(bench: Bench) -> None:
    """Every look belongs to a layer, and the journal's thread and the scheduler are seen."""
    result = bench("profile", "--calls", "10", "--saturated", "--seconds", "0.5")
    layers = {each["layer"]: each for each in result["layers"]}
    assert sum(each["share"] for each in layers.values()) == pytest.approx(1)
    for each in layers.values():
        assert not each["parts"] or sum(each["parts"].values()) == pytest.approx(each["share"])
    assert "its thread, SQLite" in layers["journal"]["parts"]
    assert layers.keys() >= {"scheduler, epoll", "posts of clients", "asking the client", "actor", "outbound frames"}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["sse", "converse"])
def test_turns_are_followed_through_the_daemon(bench: Bench, way: str) -> None:
    """Nearly every turn is seen at each of its stages, and its time is shared out among them without a rest."""
    result = bench("tail", "--way", way, "--calls", "10", "--saturated", "--seconds", "0.2")
    assert result["notSeenWhole"] < result["turns"] / 20
    for group in (0, 1):
        kinds, stages = (sum(each[group] for each in result[by].values()) for by in ("kinds", "stages"))
        assert kinds == pytest.approx(stages)
    assert result["kinds"][WORK][0] > 0


def test_every_moment_of_a_turn_has_one_kind() -> None:
    """What the collector stopped is its own, not the work's or the waiting's in which it fell."""
    names = ("prompt read", "taken", "hold asked", "settled", "held", "asked", "request out", "answer read")
    # Each of them is reached a second after the one before, in a task that has run since the middle of that second.
    marks = {name: (0.0, 0.0, at + 0.5, at + 1.0) for at, name in zip((0, 1, 2, 4, 5, 6, 7, 9), names, strict=True)}
    marks |= {name: (0.0, 0.0, at + 0.5, at + 1.0) for at, name in ((10, "answer taken"), (11, "said"), (12, "spoken"))}
    marks["handed over"] = (0.0, 0.0, 3.0, 3.25)
    seen = {
        "marks": {"3.4": marks},
        "batches": {"3.4": (3.5, 4.0)},
        "allBatches": [(2.5, 3.125), (3.5, 4.0)],
        "rounds": [],
        "pauses": [(1.0, 1.25, 2)],
    }
    followed = [{"call": 3, "turn": 4, "sent": 0.0, "posted": 9.0, "heard": 14.0}]
    result = breakdown(followed, seen)
    slow = {kind: result["kinds"][kind][1] for kind in KINDS}
    # Eleven tasks, half a second of waiting and of work in each; one of them while the collector ran.
    in_journal = {BEHIND: 125, HAND_OVER: 125, BATCH: 250, COMMIT: 500}
    expected = {QUEUE: 5250, WORK: 5500, COLLECTOR: 250, CLIENT: 2000} | in_journal
    assert slow == dict.fromkeys(KINDS, 0) | expected
    assert sum(slow.values()) == sum(each[1] for each in result["stages"].values()) == 14_000


def test_a_turn_that_was_not_seen_whole_is_counted_apart() -> None:
    """A turn whose marks are missing has no part in the means."""
    followed = [{"call": 1, "turn": 1, "sent": 0.0, "posted": 1.0, "heard": 2.0}]
    result = breakdown(followed, {"marks": {}, "batches": {}, "allBatches": [], "rounds": [], "pauses": []})
    assert (result["notSeenWhole"], result["slow"]) == (1, 0)
