"""Where the slowest turns lose their time, by measurement: each one's way through the daemon, against the usual one's.

    generator: sent ───────────────────────▶ posted ──────────▶ heard
    daemon:       └▶ taken … request out ──┘   └▶ answer read … spoken ─┘      see `bench_stages`

Every moment of a turn is given to one kind: the collector's where it stopped everything, the journal's and the client's
where the turn was with them, its own work where its task ran, and waiting for the loop where it did not. Of the waiting
and the work is told apart what the loop's thread lost to the interpreter's lock, or to other processes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from scripts.bench_daemon import HERE
from scripts.bench_generator import Way
from scripts.bench_turns import Load, Tell, staffed, warm_up

QUEUE = "waiting behind other work of the loop"
WORK = "its own work in the loop"
COLLECTOR = "the collector"
LOCK = "the loop's thread waits for the interpreter's lock, or a page"
PROCESSOR = "the loop's thread is ready, and gets no processor"
WAKING = "the idle loop wakes up"
BEHIND = "the journal: behind the batch before"
HAND_OVER = "the journal: until the loop hands it to its thread"
BATCH = "the journal: until its thread begins"
COMMIT = "the journal: its batch, to the commit"
CLIENT = "client and load generator, and the network"
KINDS = (QUEUE, WORK, COLLECTOR, LOCK, PROCESSOR, WAKING, BEHIND, HAND_OVER, BATCH, COMMIT, CLIENT)

SLOWEST, USUAL = 0.99, (0.45, 0.55)
"""From which share of all turns on one is slow, and between which it is usual."""

Span = tuple[str, str, float, float]
"""A stage, a kind, and from when to when."""


async def tail(way: Way, load: Load, seconds: float, tell: Tell) -> dict[str, Any]:
    """Return what the usual and the slowest turns are made of, in milliseconds, by kind and by stage."""
    async with staffed(HERE, way, tell, probe="stages") as station:
        await station.order("call", count=load.calls)
        await station.order("talk", seconds=2 * warm_up(seconds), interval=load.interval)
        result = await station.order("talk", seconds=seconds, interval=load.interval, follow=True)
        seen = await station.probe()
    return {
        "way": way,
        "load": load.name,
        "turns": result["answered"],
        "turnMs": result["turnMs"],
        "lateMs": result["lateMs"],
        "pauses": _pauses(result["followed"], seen),
        "longestBatchMs": max((end - begin for begin, end in seen["allBatches"]), default=0.0) * 1000,
        **breakdown(result["followed"], seen),
    }


def _pauses(followed: Sequence[Mapping[str, Any]], seen: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how often the collector ran meanwhile, and for how long at most, by generation."""
    since = min((each["sent"] for each in followed), default=0.0)
    pauses = [each for each in seen["pauses"] if each[1] > since]
    of_generation = [[end - begin for begin, end, number in pauses if number == each] for each in range(3)]
    return [{"count": len(each), "longestMs": max(each, default=0.0) * 1000} for each in of_generation]


def breakdown(followed: Sequence[Mapping[str, Any]], seen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the means of the usual and of the slowest turns, by kind and by stage, of those that were seen whole."""
    turns = [_Turn(each, seen) for each in followed]
    whole = sorted((each for each in turns if each.is_whole), key=lambda turn: turn.seconds)
    count = len(whole)
    slow = whole[int(count * SLOWEST) :]
    usual = whole[int(count * USUAL[0]) : int(count * USUAL[1])] or slow
    delays = _Delays.of(seen)
    shares = [_mean(group, delays) for group in (usual, slow)]
    return {
        "notSeenWhole": len(turns) - count,
        "slow": len(slow),
        "kinds": {kind: [kinds[kind] for kinds, _stages in shares] for kind in KINDS},
        "stages": {stage: [stages[stage] for _kinds, stages in shares] for stage in shares[1][1]},
    }


def _mean(group: Sequence[_Turn], delays: _Delays) -> tuple[Counter[str], Counter[str]]:
    """Return milliseconds a turn, by kind and by stage."""
    kinds: Counter[str] = Counter()
    stages: Counter[str] = Counter()
    for turn in group:
        for stage, kind, begin, end in turn.spans():
            stages[stage] += (end - begin) * 1000 / len(group)  # type: ignore[assignment]
            for part, seconds in delays.part(kind, begin, end):
                kinds[part] += seconds * 1000 / len(group)  # type: ignore[assignment]
    return kinds, stages


WAY_IN = (("words come in", "prompt read"), ("words come in", "taken"), ("state machine", "hold asked"))
HELD = (("words are held", "settled"), ("words are held", "held"))
WAY_OUT = (("request goes out", "asked"), ("request goes out", "request out"))
WAY_BACK = (
    ("answer comes in", "answer read"),
    ("answer reaches the call", "answer taken"),
    ("answer reaches the call", "said"),
    ("answer is spoken", "spoken"),
)
"""The stages of a turn, each with the mark at which it, or a part of it, is over."""

OPTIONAL = frozenset({"asked"})
"""Turns that a tool waits for are not asked for."""


class _Turn:
    """One turn: what the generator saw of it, and the daemon."""

    def __init__(self, followed: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        key = f"{followed['call']}.{followed['turn']}"
        self.sent, self.posted, self.heard = followed["sent"], followed["posted"], followed["heard"]
        self._marks: Mapping[str, Sequence[float]] = seen["marks"].get(key, {})
        self._batch: Sequence[float] | None = seen["batches"].get(key)

    @property
    def seconds(self) -> float:
        """From the words to the first word of the answer."""
        return float(self.heard - self.sent)

    @property
    def is_whole(self) -> bool:
        """Whether it was seen at every stage, in their order."""
        stages = (*WAY_IN, ("words are held", "handed over"), *HELD, *WAY_OUT, *WAY_BACK)
        marks = [mark for _stage, mark in stages if mark not in OPTIONAL]
        moments = [self._marks[each][3] for each in marks if each in self._marks]
        return len(moments) == len(marks) and self._batch is not None and moments == sorted(moments)

    def spans(self) -> Iterator[Span]:
        """Return its way, without a gap."""
        marks, batch = self._marks, self._batch
        assert batch is not None
        yield from self._along(self.sent, WAY_IN)
        asked = marks["hold asked"][3]
        handed = marks["handed over"][3]
        yield "words are held", HAND_OVER, asked, handed
        yield "words are held", BATCH, handed, batch[0]
        yield "words are held", COMMIT, batch[0], batch[1]
        yield from self._along(batch[1], HELD)
        yield from self._along(marks["held"][3], WAY_OUT)
        yield "client", CLIENT, marks["request out"][3], self.posted
        yield from self._along(self.posted, WAY_BACK)
        yield "caller", CLIENT, marks["spoken"][3], self.heard

    def _along(self, since: float, stages: Sequence[tuple[str, str]]) -> Iterator[Span]:
        for stage, mark in stages:
            if mark in self._marks:
                yield from self._until(stage, since, self._marks[mark])
                since = self._marks[mark][3]

    def _until(self, stage: str, since: float, mark: Sequence[float]) -> Iterator[Span]:
        idle, began, step, now = mark
        if step > since:
            ends = ((QUEUE, idle), (WAKING, began), (QUEUE, step))
            for kind, end in ends:
                if end > since:
                    yield stage, kind, since, end
                    since = end
        yield stage, WORK, since, now


@attrs.frozen
class _Delays:
    """What held turns up: rounds with what their thread lost, pauses of the collector, batches of the journal."""

    rounds: Sequence[Sequence[float]]
    pauses: Sequence[Sequence[float]]
    batches: Sequence[Sequence[float]]
    round_ends: Sequence[float]
    pause_ends: Sequence[float]
    batch_ends: Sequence[float]

    @classmethod
    def of(cls, seen: Mapping[str, Any]) -> _Delays:
        """Return those of a run."""
        spans = seen["rounds"], seen["pauses"], seen["allBatches"]
        return cls(*spans, *([each[1] for each in kind] for kind in spans))

    def part(self, kind: str, begin: float, end: float) -> Iterator[tuple[str, float]]:
        """Part a span into what it was, and what stopped everything meanwhile."""
        rest = end - begin
        if kind == HAND_OVER:
            behind = sum(shared for shared, _batch in _overlaps(self.batches, self.batch_ends, begin, end))
            yield BEHIND, behind
            rest -= behind
        if kind in {BATCH, COMMIT, CLIENT}:
            yield kind, rest
            return
        stopped = sum(shared for shared, _pause in _overlaps(self.pauses, self.pause_ends, begin, end))
        yield COLLECTOR, stopped
        rest -= stopped
        for shared, (since, until, lost, delayed) in _overlaps(self.rounds, self.round_ends, begin, end):
            share = shared / (until - since)
            for part, seconds in ((LOCK, (lost - delayed) * share), (PROCESSOR, delayed * share)):
                taken = min(rest, seconds)
                yield part, taken
                rest -= taken
        yield kind, rest


def _overlaps(
    spans: Sequence[Sequence[float]], ends: Sequence[float], begin: float, end: float
) -> Iterator[tuple[float, Sequence[float]]]:
    """Return the spans that share time with one, and how much; both in order."""
    place = bisect_left(ends, begin)
    while place < len(spans) and spans[place][0] < end:
        shared = min(end, spans[place][1]) - max(begin, spans[place][0])
        if shared > 0:
            yield shared, spans[place]
        place += 1
