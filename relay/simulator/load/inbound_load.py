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
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import urlsplit

import attrs
import trio
from attrs.validators import and_, ge, gt, le, optional

from relay.simulator.carrier.exchange import open_carrier
from relay.simulator.carrier.fault_plan import CallOver, EndlessCall, TwimlRefused, WebhookFailed
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.load_report import Latency, LoadReport, Progress
from relay.simulator.load.markers import Markers

SETTLE = 1.0
"""Seconds to wait for a marked answer after speech that is neither marked nor known: it may have been a filler."""


HANG_UP_SECONDS = 10.0
"""How long the callers of a run that is stopped may take to hang up."""

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


async def run_load(
    plan: LoadPlan, progress: Callable[[Progress], None] | None = None, stop: trio.Event | None = None
) -> LoadReport:
    """Carry out a plan and report; a run that exceeds `plan.at_most` is cut off, which is an error in the report.

    `stop` cuts it off before its time: what was seen until then is reported, and turns under way count for nothing.
    Raises nothing for what the relay does wrong: that is what the report is for. Cancelling breaks all calls off.
    """
    tally = Tally(plan)
    async with open_carrier(plan.account_sid, plan.auth_token, plan.url, via=plan.via) as carrier:

        async def call_in(number: int) -> None:
            async with carrier.call(plan.agent_id, caller=number_of(number)) as call:
                await tally.converse(call, number)

        await tally.run(call_in, progress, stop)
    return tally.report()


def number_of(call: int) -> str:
    """Return, for the party of a plan's call, a number that no other has; none of them is assigned."""
    return f"+1555{call:07d}"


@attrs.define(eq=False)
class Tally:
    """The parties at the other end of the calls, and what they saw."""

    plan: LoadPlan
    progress: Progress = attrs.field(factory=Progress)
    answered: Counter[str] = attrs.field(factory=Counter)
    errors: Counter[str] = attrs.field(factory=Counter)
    turn: list[float] = attrs.field(factory=list)
    first_word: list[float] = attrs.field(factory=list)
    wrong_call: int = 0
    stale: int = 0
    malformed: int = 0
    seconds: float = 0.0
    markers: Markers = attrs.field(factory=Markers)
    _is_stopped: bool = attrs.field(default=False, init=False)
    _conversations: set[trio.CancelScope] = attrs.field(factory=set, init=False)

    async def run(
        self,
        call: Callable[[int], Awaitable[None]],
        progress: Callable[[Progress], None] | None = None,
        stop: trio.Event | None = None,
    ) -> None:
        """Make each call of the plan, at its rate and within its time; `call` gets the number of each, from 0.

        What `call` raises of the simulator's faults is counted.
        """
        began = trio.current_time()
        with trio.move_on_after(self.plan.at_most) as limit:
            async with trio.open_nursery() as watching:
                if progress:
                    watching.start_soon(self._watch, progress)
                if stop is not None:
                    watching.start_soon(self._stop_at, stop, watching.cancel_scope)
                async with trio.open_nursery() as calls:
                    for number in range(self.plan.calls):
                        if self.plan.rate:
                            await trio.sleep_until(began + number / self.plan.rate)
                        if self._is_stopped:
                            break
                        calls.start_soon(self._count, call, number)
                watching.cancel_scope.cancel()
        if self._is_stopped:
            self.errors["stopped before the end"] += 1
        elif limit.cancelled_caught:
            self.errors["time limit of the run"] += 1
        self.seconds = trio.current_time() - began

    async def converse(self, call: SimulatedCall, number: int) -> None:
        """Be the caller or the callee for all turns of one call. Raises `CallOver` when it ends earlier."""
        conversation = trio.CancelScope()
        self._conversations.add(conversation)
        if self._is_stopped:
            conversation.cancel("stopped")
        try:
            with conversation:
                for turn in range(self.plan.turns):
                    if turn:
                        await trio.sleep(self.plan.think * random.uniform(*THINK_SPREAD))
                    await self._take_turn(call, number, turn)
        finally:
            self._conversations.discard(conversation)
            self.malformed += call.malformed

    async def _stop_at(self, stop: trio.Event, run: trio.CancelScope) -> None:
        """Hang up for all callers, as people do: a call that only broke off is waited for by the relay."""
        await stop.wait()
        self._is_stopped = True
        run.deadline = trio.current_time() + HANG_UP_SECONDS
        for conversation in tuple(self._conversations):
            conversation.cancel("stopped")

    async def _watch(self, progress: Callable[[Progress], None]) -> None:
        while True:
            progress(self.progress)
            await trio.sleep(1)

    async def _count(self, call: Callable[[int], Awaitable[None]], number: int) -> None:
        self.progress.begun += 1
        self.progress.live += 1
        try:
            await call(number)
        except (WebhookFailed, TwimlRefused, EndlessCall, CallOver) as error:
            self.errors[_kind(error)] += 1
        finally:
            self.progress.live -= 1
            self.progress.finished += 1

    async def _take_turn(self, call: SimulatedCall, number: int, turn: int) -> None:
        sent = trio.current_time()
        await call.say(self.markers.words(number, turn))
        self.progress.asked += 1
        answered = False
        try:
            with trio.move_on_after(self.plan.answer_within):
                answered = await self._hear_answer(call, number, turn, sent)
        finally:
            if answered:
                self.progress.answered += 1
            elif self._is_stopped:
                self.progress.asked -= 1
            else:
                self.progress.lost += 1

    async def _hear_answer(self, call: SimulatedCall, number: int, turn: int, sent: float) -> bool:
        """Listen until this turn is answered, and note by whom and when. False when only a settling wait ran out."""
        first, ended, path = math.inf, 0.0, ""
        with trio.CancelScope() as settling:
            while path != "client":
                heard = await call.hear()
                first = min(first, heard.began)
                found = self.markers.find(heard.text)
                if not found:
                    path, ended = self._path(heard.text), heard.ended
                    if path != "other":
                        break
                    settling.deadline = trio.current_time() + SETTLE
                elif found[0] == (number, turn):
                    path, ended = "client", heard.ended
                elif found[0][0] == number:
                    self.stale += 1
                else:
                    self.wrong_call += 1
        if not path:
            return False
        self.answered[path] += 1
        self.first_word.append(first - sent)
        self.turn.append(ended - sent)
        return True

    def _path(self, text: str) -> str:
        known = (path for path, phrases in self.plan.phrases.items() if any(phrase in text for phrase in phrases))
        return next(known, "other")

    def report(self) -> LoadReport:
        """Return what was seen."""
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
            seconds=round(self.seconds, 3),
        )


def _kind(error: Exception) -> str:
    if isinstance(error, WebhookFailed):
        where = urlsplit(str(error)).path.partition(":")[0].rpartition("/")[2]
        return f"webhook {where} {error.status or 'unanswered'}"
    if isinstance(error, TwimlRefused):
        return f"TwiML refused ({error.code})"
    return "call ended early" if isinstance(error, CallOver) else "endless call"
