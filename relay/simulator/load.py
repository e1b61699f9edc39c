"""Call load: many simulated calls at once, every answer checked to belong to the words it follows.

    plan ─▶ caller 1 … caller N ─▶ one tally ─▶ report

Each utterance carries a marker that no other has. A client under test repeats what it is told, so its answer carries
the marker back: an answer that never comes is lost, one with another call's marker went to the wrong call. An answer
without any marker was not the client's: it is sorted by the phrases that the plan knows of each path, and counts as
`other` where it matches none. Nothing is assumed about who answered.
"""

from __future__ import annotations

import math
import random
import re
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

import attrs
import trio
from attrs.validators import and_, ge, gt, le, optional
from rich.table import Table

from relay.simulator.call import SimulatedCall
from relay.simulator.carrier import Carrier, open_carrier
from relay.simulator.faults import CallOver, EndlessCall, TwimlRefused, WebhookFailed

SETTLE = 1.0
"""Seconds to wait for a marked answer after speech that is neither marked nor known: it may have been a filler."""


THINK_SPREAD = (0.5, 1.5)
"""How much shorter or longer than the plan a caller thinks: people do not speak in step, and a crowd that does would
measure how the relay serves a queue of itself."""


@attrs.frozen(kw_only=True)
class LoadPlan:
    """What to do: `calls` at once with `turns` each, every time in seconds.

    `rate` starts so many calls a second (None: all at once), `think` passes on average between an answer and the next
    words, `answer_within` makes an answer lost. `phrases` maps a response path to phrases that only it says. `via` is
    another origin to connect to than `url`, as for `open_carrier`.
    """

    url: str
    agent_id: str
    account_sid: str
    auth_token: str = attrs.field(repr=False)
    calls: int = attrs.field(validator=and_(ge(1), le(10_000)))
    turns: int = attrs.field(validator=and_(ge(1), le(1_000)))
    rate: float | None = attrs.field(default=None, validator=optional(gt(0)))
    think: float = attrs.field(default=0.0, validator=ge(0))
    answer_within: float = attrs.field(default=30.0, validator=gt(0))
    phrases: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    via: str | None = None

    @property
    def at_most(self) -> float:
        """How long the whole run may take: every answer as late as it may be, and a minute for the rest."""
        ramp = self.calls / self.rate if self.rate else 0
        return ramp + self.turns * (self.think + self.answer_within + SETTLE) + 60


@attrs.frozen(kw_only=True)
class Latency:
    """A distribution of waiting times in milliseconds, by nearest rank; all zero when nothing was measured."""

    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Return the distribution of some times in seconds."""
        ordered = sorted(seconds)

        def rank(share: float) -> float:
            return round(ordered[math.ceil(share * len(ordered)) - 1] * 1000, 1) if ordered else 0.0

        return cls(p50=rank(0.5), p95=rank(0.95), p99=rank(0.99), max=rank(1))


@attrs.frozen(kw_only=True)
class LoadReport:
    """What came of a plan. `first_word` ends with the first piece of the answer, `turn` with its last.

    `calls` were begun and `turns` asked; `answered` counts turns by path. `stale` are answers to an earlier turn of the
    same call. `errors` counts what ended calls, by kind. `malformed` are frames that a carrier would refuse.
    """

    calls: int
    turns: int
    answered: Mapping[str, int]
    turn: Latency
    first_word: Latency
    lost: int
    wrong_call: int
    stale: int
    malformed: int
    errors: Mapping[str, int]
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether every turn was answered, on its own call, and every call ended as it should."""
        return not (self.lost or self.wrong_call or self.malformed or self.errors)

    def as_json(self) -> dict[str, object]:
        """Return it as JSON values; latencies are objects with milliseconds."""
        return attrs.asdict(self)

    def table(self) -> Table:
        """Return it as a table for people."""
        table = Table(title="Call load", show_header=False)
        paths = ", ".join(f"{path} {count}" for path, count in sorted(self.answered.items())) or "–"
        rows = {
            "calls": self.calls,
            "turns": self.turns,
            "seconds": f"{self.seconds:.1f}",
            "answered by": paths,
            "turn latency p50/p95/p99/max (ms)": _row(self.turn),
            "first-word latency p50/p95/p99/max (ms)": _row(self.first_word),
            "lost answers": self.lost,
            "answers to the wrong call": self.wrong_call,
            "answers to an earlier turn": self.stale,
            "malformed frames": self.malformed,
            "errors": ", ".join(f"{kind} {count}" for kind, count in sorted(self.errors.items())) or 0,
        }
        for name, value in rows.items():
            table.add_row(name, str(value))
        return table


@attrs.define
class Progress:
    """How far a run is; handed out about once a second, and meant to be read at once."""

    begun: int = 0
    live: int = 0
    finished: int = 0
    asked: int = 0
    answered: int = 0
    lost: int = 0


async def run_load(plan: LoadPlan, progress: Callable[[Progress], None] | None = None) -> LoadReport:
    """Carry out a plan and report; a run that exceeds `plan.at_most` is cut off, which is an error in the report.

    Raises nothing for what the relay does wrong: that is what the report is for. Cancelling breaks all calls off.
    """
    tally = _Tally(plan)
    began = trio.current_time()
    with trio.move_on_after(plan.at_most) as limit:
        async with trio.open_nursery() as watching:
            if progress:
                watching.start_soon(_watch, tally.progress, progress)
            async with (
                open_carrier(plan.account_sid, plan.auth_token, plan.url, via=plan.via) as carrier,
                trio.open_nursery() as callers,
            ):
                for number in range(plan.calls):
                    if plan.rate:
                        await trio.sleep_until(began + number / plan.rate)
                    callers.start_soon(tally.run_call, carrier, number)
            watching.cancel_scope.cancel()
    if limit.cancelled_caught:
        tally.errors["time limit of the run"] += 1
    return tally.report(trio.current_time() - began)


async def _watch(state: Progress, progress: Callable[[Progress], None]) -> None:
    while True:
        progress(state)
        await trio.sleep(1)


@attrs.define(eq=False)
class _Tally:
    """The callers, and what they saw."""

    plan: LoadPlan
    progress: Progress = attrs.field(factory=Progress)
    answered: Counter[str] = attrs.field(factory=Counter)
    errors: Counter[str] = attrs.field(factory=Counter)
    turn: list[float] = attrs.field(factory=list)
    first_word: list[float] = attrs.field(factory=list)
    wrong_call: int = 0
    stale: int = 0
    malformed: int = 0
    run_id: str = attrs.field(factory=lambda: secrets.token_hex(4))

    async def run_call(self, carrier: Carrier, number: int) -> None:
        """Be one caller."""
        self.progress.begun += 1
        self.progress.live += 1
        try:
            async with carrier.call(self.plan.agent_id, caller=f"+1555{number:07d}") as call:
                try:
                    for turn in range(self.plan.turns):
                        if turn:
                            await trio.sleep(self.plan.think * random.uniform(*THINK_SPREAD))
                        await self._take_turn(call, number, turn)
                finally:
                    self.malformed += call.malformed
        except (WebhookFailed, TwimlRefused, EndlessCall, CallOver) as error:
            self.errors[_kind(error)] += 1
        finally:
            self.progress.live -= 1
            self.progress.finished += 1

    async def _take_turn(self, call: SimulatedCall, number: int, turn: int) -> None:
        sent = trio.current_time()
        await call.say(f"This is {self._marker(number, turn)}, are you there?")
        self.progress.asked += 1
        answered = False
        try:
            with trio.move_on_after(self.plan.answer_within):
                answered = await self._hear_answer(call, number, turn, sent)
        finally:
            if answered:
                self.progress.answered += 1
            else:
                self.progress.lost += 1

    async def _hear_answer(self, call: SimulatedCall, number: int, turn: int, sent: float) -> bool:
        """Listen until this turn is answered, and note by whom and when. False when only a settling wait ran out."""
        first, ended, path = math.inf, 0.0, ""
        with trio.CancelScope() as settling:
            while path != "client":
                heard = await call.hear()
                first = min(first, heard.began)
                marker = self._read_marker(heard.text)
                if marker is None:
                    path, ended = self._path(heard.text), heard.ended
                    if path != "other":
                        break
                    settling.deadline = trio.current_time() + SETTLE
                elif marker == (number, turn):
                    path, ended = "client", heard.ended
                elif marker[0] == number:
                    self.stale += 1
                else:
                    self.wrong_call += 1
        if not path:
            return False
        self.answered[path] += 1
        self.first_word.append(first - sent)
        self.turn.append(ended - sent)
        return True

    def _marker(self, number: int, turn: int) -> str:
        # One word of letters and digits: whatever is done to speech on the way leaves it alone.
        return f"load{self.run_id}c{number}t{turn}"

    def _read_marker(self, text: str) -> tuple[int, int] | None:
        found = re.search(rf"load{self.run_id}c(\d+)t(\d+)", text, re.IGNORECASE)
        return (int(found[1]), int(found[2])) if found else None

    def _path(self, text: str) -> str:
        known = (path for path, phrases in self.plan.phrases.items() if any(phrase in text for phrase in phrases))
        return next(known, "other")

    def report(self, seconds: float) -> LoadReport:
        return LoadReport(
            calls=self.progress.begun,
            turns=self.progress.asked,
            answered=dict(self.answered),
            turn=Latency.of(self.turn),
            first_word=Latency.of(self.first_word),
            lost=self.progress.lost,
            wrong_call=self.wrong_call,
            stale=self.stale,
            malformed=self.malformed,
            errors=dict(self.errors),
            seconds=round(seconds, 3),
        )


def _kind(error: Exception) -> str:
    if isinstance(error, WebhookFailed):
        where = urlsplit(str(error)).path.partition(":")[0].rpartition("/")[2]
        return f"webhook {where} {error.status or 'unanswered'}"
    if isinstance(error, TwimlRefused):
        return f"TwiML refused ({error.code})"
    return "call ended early" if isinstance(error, CallOver) else "endless call"


def _row(latency: Latency) -> str:
    return " / ".join(f"{value:g}" for value in (latency.p50, latency.p95, latency.p99, latency.max))
