"""Callers who talk until they are told to stop, and what they notice of a cluster.

Each utterance carries a marker that no other has, and the client repeats what it is told: an answer belongs to the
words whose marker it carries. A caller whose line broke off behind the words, and who hears nothing, says them again,
as people do: what was on its way to a process that died reached nobody.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import attrs
import trio

from relay.cli.one_line import leaves_of
from relay.simulator.carrier.exchange import Carrier, open_carrier
from relay.simulator.carrier.fault_plan import CallOver, EndlessCall, TwimlRefused, WebhookFailed
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.inbound_load import number_of
from relay.simulator.load.load_report import Latency
from relay.simulator.load.local_daemon import ACCOUNT
from relay.simulator.load.markers import Markers
from relay.speech.locales import locale_for
from scripts.cluster_clients import ReturningClient
from scripts.local_cluster import LocalCluster

ANSWER_WITHIN = 30.0
"""Seconds after which an answer is lost."""

PATIENCE = 10.0
"""Seconds after which a caller whose line broke off says it again: longer than the relay waits for a client."""

THINK = (0.6, 1.8)
"""Seconds between an answer and the next words, at least and at most."""

HANG_UP_SECONDS = 60.0
"""How long the callers may take to finish their turns and hang up."""


BEFORE, AFTER = 4.0, 12.0
"""Seconds for which everybody talks before something happens, and after it."""

REPORT_SECONDS = 5.0

CALL_FAULTS = (WebhookFailed, TwimlRefused, EndlessCall, CallOver)
"""How a call ends before its time."""


@attrs.define(eq=False, kw_only=True)
class Utterance:
    """What a caller said in a turn, at `said_at` first, and by whom it was answered: `client`, `machine` or nobody."""

    call: int
    turn: int
    said_at: float
    call_sid: str = ""
    times_said: int = 1
    answered_by: str = ""
    answered_at: float = math.inf


@attrs.define(eq=False, kw_only=True)
class Tally:
    """What callers saw: turns, calls that ended before their time, and seconds for what they waited for.

    `asked` are turns, `repeated` those that a caller said again; `cut` are calls by why they ended. A caller whom the
    machine answers hangs up. `sessions` are the times from when the carrier asked how a call goes on to the call's next
    session, `waits` from the words to the end of the answer.
    """

    calls: int = 0
    asked: int = 0
    answered: int = 0
    by_machine: int = 0
    repeated: int = 0
    lost: int = 0
    crossed: int = 0
    malformed: int = 0
    cut: Counter[str] = attrs.field(factory=Counter)
    sessions: list[float] = attrs.field(factory=list)
    waits: list[float] = attrs.field(factory=list)

    @property
    def missed(self) -> list[str]:
        """The rules that were missed: each turn answered, on its own call, and no call ended before its time."""
        counts = {
            "turns lost": self.lost,
            "answers crossed": self.crossed,
            "frames malformed": self.malformed,
            "calls cut": self.cut.total(),
        }
        return [f"{what}: {number}" for what, number in counts.items() if number]

    def rows(self) -> dict[str, str]:
        """Return it as a table shows it."""
        gaps = Latency.of(self.sessions)
        cut = ", ".join(f"{count} × {why}" for why, count in self.cut.most_common())
        return {
            "calls": str(self.calls),
            "turns asked": str(self.asked),
            "answered by the client": str(self.answered),
            "answered by the machine": str(self.by_machine),
            "said again by the caller": str(self.repeated),
            "lost": str(self.lost),
            "crossed": str(self.crossed),
            "calls cut": f"{self.cut.total()} ({cut})" if cut else "0",
            "sessions resumed": str(len(self.sessions)),
            "next session after, p50 / p99 / max": f"{gaps.p50:g} / {gaps.p99:g} / {gaps.max:g} ms",
            "wait for an answer, p50": f"{Latency.of(self.waits).p50 / 1000:.2f} s",
            "longest wait for an answer": f"{max(self.waits, default=0.0):.2f} s",
        }


OpenCall = Callable[[int], AbstractAsyncContextManager[SimulatedCall]]
"""Make the call of a number, or have it made, for the length of a block."""


@attrs.define(eq=False)
class Crowd:
    """Callers who talk until `stop`. `tally` and `utterances` may be read at any time.

    `live` calls have a session, `over` are those that have ended; `cuts` is why a call ended before its time.
    """

    _open_call: OpenCall
    tally: Tally = attrs.field(factory=Tally)
    markers: Markers = attrs.field(factory=Markers)
    utterances: list[Utterance] = attrs.field(factory=list)
    cuts: dict[int, str] = attrs.field(factory=dict)
    live: int = 0
    over: int = 0
    is_stopped: bool = False

    def stop(self) -> None:
        """Have each caller hang up after the answer that they wait for."""
        self.is_stopped = True

    async def run(self, calls: int) -> None:
        """Have so many callers call, and talk until they are told to stop."""
        async with trio.open_nursery() as nursery:
            for number in range(calls):
                nursery.start_soon(self.call, number)
                await trio.sleep(0.05)

    async def all_live(self, calls: int) -> None:
        """Wait until so many calls have a session, or had one."""
        while self.live + self.over < calls:  # noqa: ASYNC110 - the calls begin within seconds
            await trio.sleep(0.1)

    async def call(
        self, number: int, *, turns: float = math.inf, at_last: Callable[[SimulatedCall], Awaitable[None]] | None = None
    ) -> None:
        """Make one call, and talk for so many turns; then the caller does something `at_last`, and hangs up."""
        self.tally.calls += 1
        try:
            async with self._open_call(number) as call, trio.open_nursery() as nursery:
                nursery.start_soon(self.watch_sessions, call)
                self.live += 1
                try:
                    if await self._talk(call, number, turns) and at_last is not None:
                        await at_last(call)
                finally:
                    self.live -= 1
                    self.tally.malformed += call.malformed
                nursery.cancel_scope.cancel("the caller hangs up")
        except* CALL_FAULTS as errors:
            self.cuts[number] = str(next(leaves_of(errors)))
            self.tally.cut[self.cuts[number]] += 1
        self.over += 1

    async def say(self, call: SimulatedCall, number: int, turn: int) -> Utterance:
        """Say the words of a turn for the first time."""
        utterance = Utterance(call=number, turn=turn, said_at=trio.current_time(), call_sid=call.call_sid)
        self.utterances.append(utterance)
        await call.say(self.markers.words(number, turn))
        self.tally.asked += 1
        return utterance

    async def watch_sessions(self, call: SimulatedCall) -> None:
        """Measure from when the carrier asks how the call goes on to the next session."""
        try:
            while True:
                await call.until(lambda: not call.is_connected)
                await call.until(lambda: call.is_connected)
                self.tally.sessions.append(trio.current_time() - call.asked_at)
        except CALL_FAULTS:
            pass  # which is counted where the caller talks

    async def _talk(self, call: SimulatedCall, number: int, turns: float) -> bool:
        """Take turns; return whether the client has answered all of them."""
        turn = 0
        while turn < turns and not self.is_stopped:
            if await self._take_turn(call, number, turn) == "machine":
                return False  # it has taken a message, or said goodbye
            turn += 1
            await trio.sleep(random.uniform(*THINK))  # noqa: S311 - nobody must not guess it
        return True

    async def _take_turn(self, call: SimulatedCall, number: int, turn: int) -> str:
        """Say something and wait for the answer; return by whom it came, empty if by nobody."""
        sessions = len(call.sessions)
        utterance = await self.say(call, number, turn)
        try:
            with trio.move_on_at(utterance.said_at + ANSWER_WITHIN):
                with trio.move_on_at(utterance.said_at + PATIENCE):
                    await self._hear_answer(call, utterance)
                if not utterance.answered_by and len(call.sessions) > sessions:
                    self.tally.repeated += 1
                    utterance.times_said += 1
                    await call.say(self.markers.words(number, turn))
                if not utterance.answered_by:
                    await self._hear_answer(call, utterance)
        finally:
            if utterance.answered_by:
                self.tally.waits.append(utterance.answered_at - utterance.said_at)
            else:
                self.tally.lost += 1
        return utterance.answered_by

    async def _hear_answer(self, call: SimulatedCall, utterance: Utterance) -> None:
        phrases = locale_for("en-US").phrases
        while not utterance.answered_by:
            text = (await call.hear()).text
            markers = self.markers.find(text)
            self.tally.crossed += sum(each[0] != utterance.call for each in markers)
            if (utterance.call, utterance.turn) in markers:
                self.tally.answered += 1
                utterance.answered_by = "client"
            elif phrases.apology in text or phrases.unavailable in text:
                self.tally.by_machine += 1
                utterance.answered_by = "machine"
        utterance.answered_at = trio.current_time()


def inbound(carrier: Carrier, agents: Sequence[str]) -> OpenCall:
    """Return how callers of numbers of their own call these agents in turn."""
    return lambda number: carrier.call(agents[number % len(agents)], caller=number_of(number))


Event = Callable[[LocalCluster, Sequence[str]], Awaitable[None]]
"""What happens to a cluster under calls on these agents; over when the cluster is whole again."""


async def talk_during(
    cluster: LocalCluster, agents: int, calls: int, event: Event, note: Callable[[str], None]
) -> Tally:
    """Have calls on so many agents talk, let something happen, and return what the callers noticed of it.

    `note` is told how it goes. What the event raises breaks the calls off.
    """
    names = [f"agent-{number}" for number in range(1, agents + 1)]
    async with open_carrier(ACCOUNT, cluster.token, cluster.url) as carrier, trio.open_nursery() as clients:
        for name in names:
            await clients.start(ReturningClient(cluster.url, await cluster.register(name)).run)
        crowd = Crowd(inbound(carrier, names))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(report, crowd, note)
            async with trio.open_nursery() as talking:
                talking.start_soon(crowd.run, calls)
                await crowd.all_live(calls)
                await trio.sleep(BEFORE)
                await event(cluster, names)
                await trio.sleep(AFTER)
                crowd.stop()
                talking.cancel_scope.deadline = trio.current_time() + HANG_UP_SECONDS
            nursery.cancel_scope.cancel("the callers have hung up")
        clients.cancel_scope.cancel("nobody calls any more")
    return crowd.tally


async def report(crowd: Crowd, note: Callable[[str], None]) -> None:
    """Tell how it goes, every few seconds, until cancelled."""
    while True:
        await trio.sleep(REPORT_SECONDS)
        tally = crowd.tally
        note(f"{crowd.live} calls, {tally.asked} turns asked, {tally.answered} answered, {tally.cut.total()} calls cut")
