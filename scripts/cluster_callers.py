"""Callers who talk until they are told to stop, the clients that answer them, and what both notice of a cluster.

Each utterance carries a marker that no other has, and the client repeats what it is told: an answer belongs to the
words whose marker it carries. A caller whose line broke off behind the words, and who hears nothing, says them again,
as people do: what was on its way to a process that died reached nobody.
"""

from __future__ import annotations

import random
import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from relay.cli.one_line import leaves_of
from relay.simulator.carrier.exchange import Carrier, open_carrier
from relay.simulator.carrier.fault_plan import CallOver, EndlessCall, TwimlRefused, WebhookFailed
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.echo_client import EchoFailed, open_echo_client
from relay.simulator.load.inbound_load import number_of
from relay.simulator.load.load_report import Latency
from relay.simulator.load.local_daemon import ACCOUNT
from relay.speech.locales import locale_for
from scripts.local_cluster import LocalCluster

ANSWER_WITHIN = 30.0
"""Seconds after which an answer is lost."""

PATIENCE = 10.0
"""Seconds after which a caller whose line broke off says it again: longer than the relay waits for a client."""

THINK = (0.6, 1.8)
"""Seconds between an answer and the next words, at least and at most."""

RECONNECT = 1.0
"""Seconds after which a client that lost the relay comes back; the published ones are no faster."""

HANG_UP_SECONDS = 60.0
"""How long the callers may take to finish their turns and hang up."""


BEFORE, AFTER = 4.0, 12.0
"""Seconds for which everybody talks before something happens, and after it."""

REPORT_SECONDS = 5.0


@attrs.define(eq=False, kw_only=True)
class Tally:
    """What callers saw: turns, calls that ended before their time, and seconds for what they waited for.

    `asked` are turns, `repeated` those that a caller said again; `cut` are calls by why they ended. A caller whom the
    machine answers hangs up. `sessions` are the gaps between a call's sessions, `waits` from the words to the end of
    the answer.
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
    def is_clean(self) -> bool:
        """Whether nothing was lost: each turn answered, on its own call, and no call ended before its time."""
        return not (self.lost or self.crossed or self.malformed or self.cut)

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


@attrs.define(eq=False)
class Crowd:
    """Calls that go on until `stop`. `tally` may be read at any time; `agents` are the ids of those who are called.

    `live` calls have a session, `over` are those that have ended."""

    carrier: Carrier
    agents: Sequence[str]
    tally: Tally = attrs.field(factory=Tally)
    live: int = 0
    over: int = 0
    _is_stopped: bool = False
    _run: str = attrs.field(factory=lambda: secrets.token_hex(4))

    def stop(self) -> None:
        """Have each caller hang up after the answer that they wait for."""
        self._is_stopped = True

    async def run(self, calls: int) -> None:
        """Have so many callers call, and talk until they are told to stop."""
        async with trio.open_nursery() as nursery:
            for number in range(calls):
                nursery.start_soon(self._call, number)
                await trio.sleep(0.05)

    async def _call(self, number: int) -> None:
        self.tally.calls += 1
        agent = self.agents[number % len(self.agents)]
        try:
            async with self.carrier.call(agent, caller=number_of(number)) as call, trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_sessions, call)
                self.live += 1
                try:
                    await self._talk(call, number)
                finally:
                    self.live -= 1
                    self.tally.malformed += call.malformed
                nursery.cancel_scope.cancel("the caller hangs up")
        except* (WebhookFailed, TwimlRefused, EndlessCall, CallOver) as errors:
            self.tally.cut[str(next(leaves_of(errors)))] += 1
        self.over += 1

    async def _watch_sessions(self, call: SimulatedCall) -> None:
        """Measure from the end of each session to the next."""
        try:
            while True:
                await call.until(lambda: not call.is_connected)
                began = trio.current_time()
                await call.until(lambda: call.is_connected)
                self.tally.sessions.append(trio.current_time() - began)
        except (CallOver, WebhookFailed, TwimlRefused, EndlessCall):
            pass  # which is counted where the caller talks

    async def _talk(self, call: SimulatedCall, number: int) -> None:
        turn = 0
        while not self._is_stopped:
            if await self._take_turn(call, number, turn) == "machine":
                return  # it has taken a message, or said goodbye
            turn += 1
            await trio.sleep(random.uniform(*THINK))  # noqa: S311 - nobody must not guess it

    async def _take_turn(self, call: SimulatedCall, number: int, turn: int) -> str:
        """Say something and wait for the answer; return by whom it came, empty if by nobody."""
        words = f"This is load{self._run}c{number}t{turn}, are you there?"
        sessions, said = len(call.sessions), trio.current_time()
        await call.say(words)
        self.tally.asked += 1
        path = ""
        try:
            with trio.move_on_at(said + ANSWER_WITHIN):
                with trio.move_on_at(said + PATIENCE):
                    path = await self._hear_answer(call, number, turn)
                if not path and len(call.sessions) > sessions:
                    self.tally.repeated += 1
                    await call.say(words)
                if not path:
                    path = await self._hear_answer(call, number, turn)
        finally:
            if path:
                self.tally.waits.append(trio.current_time() - said)
            else:
                self.tally.lost += 1
        return path

    async def _hear_answer(self, call: SimulatedCall, number: int, turn: int) -> str:
        phrases = locale_for("en-US").phrases
        while True:
            text = (await call.hear()).text
            markers = [(int(a), int(b)) for a, b in re.findall(rf"load{self._run}c(\d+)t(\d+)", text)]
            self.tally.crossed += sum(each[0] != number for each in markers)
            if (number, turn) in markers:
                self.tally.answered += 1
                return "client"
            if phrases.apology in text or phrases.unavailable in text:
                self.tally.by_machine += 1
                return "machine"


@attrs.frozen
class ReturningClient:
    """An agent's client that comes back whenever the relay is lost."""

    _url: str
    _token: str = attrs.field(repr=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be there until cancelled; started once it is there for the first time."""
        is_started = False
        while True:
            try:
                async with open_echo_client(f"{self._url}/sse", token=self._token) as client:
                    if not is_started:
                        is_started = True
                        task_status.started()
                    await client.over.wait()
            except* (EchoFailed, OSError, trio.BrokenResourceError):
                pass
            await trio.sleep(RECONNECT)


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
        crowd = Crowd(carrier, names)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_report, crowd, note)
            async with trio.open_nursery() as talking:
                talking.start_soon(crowd.run, calls)
                while crowd.live + crowd.over < calls:  # noqa: ASYNC110 - the calls begin within seconds
                    await trio.sleep(0.1)
                await trio.sleep(BEFORE)
                await event(cluster, names)
                await trio.sleep(AFTER)
                crowd.stop()
                talking.cancel_scope.deadline = trio.current_time() + HANG_UP_SECONDS
            nursery.cancel_scope.cancel("the callers have hung up")
        clients.cancel_scope.cancel("nobody calls any more")
    return crowd.tally


async def _report(crowd: Crowd, note: Callable[[str], None]) -> None:
    while True:
        await trio.sleep(REPORT_SECONDS)
        tally = crowd.tally
        note(f"{crowd.live} calls, {tally.asked} turns asked, {tally.answered} answered, {tally.cut.total()} calls cut")
