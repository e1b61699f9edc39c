"""The load generator: a process of its own that is all callers and all clients of one daemon, and keeps the tally.

    bench ──a JSON line an order──▶ generator ──calls, clients──▶ daemon
    bench ◀──progress, then a result, a line each──┘

Its own processor time is in every result, with how late it came to what it had planned: a generator that is busy
measures itself, and says so. It serves its calls and clients between orders as well.
"""

from __future__ import annotations

import json
import math
import os
import random
import resource
import sys
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter, process_time
from typing import Any, Literal

from scripts.bench_callers import Caller
from scripts.bench_clients import Client, HttpClient, SseClient
from scripts.bench_http import Pool
from scripts.bench_tally import Tally
from scripts.bench_target import PeerFailed, Relay, read_marker
from scripts.bench_watchers import Watchers
from scripts.bench_wire import Wheel

Way = Literal["sse", "mcp", "converse"]
"""How clients are asked: by sampling over SSE or over Streamable HTTP, or by the turn tool over the latter."""

OPENING_AT_ONCE = 16
"""Calls that are being announced at once, and clients that shake hands: carriers do not ring in one instant, either."""

ANSWER_WITHIN = 30.0
"""Seconds after which an answer is lost."""

PACE_SPREAD = (0.5, 1.5)
"""How much sooner or later than its pace a caller speaks: a crowd that speaks in step measures a queue of itself."""

BARGE_IN_WITHIN = 0.03
"""Seconds after the words before, at most, or twice what the turn before took if that is more: while the client is
asked, while it answers, while that is spoken."""

_chance = random.Random()  # noqa: S311 - when somebody speaks is no secret


class Generator:
    """All callers and clients of one daemon; each order is a method, and blocks until it is carried out."""

    def __init__(self, relay: Relay) -> None:
        self.relay, self.wheel = relay, relay.wheel
        self.callers: dict[int, Caller] = {}
        self.clients: list[Client] = []
        self.watchers = Watchers(relay)
        self.leave = self.watchers.leave
        self.tally = Tally()
        self._numbers = 0
        self._until = self._interval = self._turns_left = 0.0
        self._barge_ins_left = 0
        self._followed: list[dict[str, float]] | None = None
        self._is_saturated = self._is_running = False

    # ── orders ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def connect(self, way: Way, count: int) -> dict[str, Any]:
        """Connect so many clients more."""
        kind = SseClient if way == "sse" else HttpClient
        new = [kind(self.relay, self._note_posted, converses=way == "converse") for _ in range(count)]
        self._each(new, lambda client, done: client.connect(done))
        self.clients += new
        return {"clients": len(self.clients)}

    def disconnect(self) -> dict[str, Any]:
        """End all client sessions."""
        for client in self.clients:
            client.close()
        self.clients.clear()
        return {}

    def call(self, count: int) -> dict[str, Any]:
        """Make so many calls more, in which nobody speaks yet."""
        began = perf_counter()
        numbers = range(self._numbers, self._numbers + count)
        self._numbers += count
        new = [Caller(self.relay, number, self._on_answer, self._on_over) for number in numbers]
        self.callers |= {each.number: each for each in new}
        self._each(new, lambda caller, done: caller.call(done))
        if self.tally.ended:
            raise PeerFailed(f"calls ended while they were made: {dict(self.tally.ended)}")
        return {"calls": len(self.callers), "seconds": perf_counter() - began}

    def hang_up(self) -> dict[str, Any]:
        """End all calls, and wait for the end of each."""
        for caller in tuple(self.callers.values()):
            caller.hang_up()
        self.wheel.run(lambda: not self.callers)
        return {}

    def rest(self, seconds: float) -> dict[str, Any]:
        """Let everything be."""
        until = perf_counter() + seconds
        self.wheel.at(until, lambda: None)  # it turns then
        self.wheel.run(lambda: perf_counter() >= until)
        return {}

    def watch(self, count: int, token: str) -> dict[str, Any]:
        """Have so many readers look at the console, as the operator with this token."""
        return self.watchers.watch(count, token, [each.call_sid for each in self.callers.values()])

    def talk(
        self,
        seconds: float = math.inf,
        interval: float = 0.0,
        turns: float = math.inf,
        barge_ins: int = 0,
        follow: bool = False,
    ) -> dict[str, Any]:
        """Have every caller take turns for so long, or so many in all; then wait for what is still to be answered.

        With an `interval` each speaks so often, without one as soon as it has its answer. Of a number of turns so
        many are talked over, before or after the answer came. With `follow` the result has each turn's moments.
        """
        self.tally = Tally()
        self._followed = [] if follow else None
        began, cpu = perf_counter(), process_time()
        self._until, self._interval, self._turns_left = began + seconds, interval, turns
        self._barge_ins_left = barge_ins
        self._is_running = True
        for caller in self.callers.values():
            self._plan(caller, began + _chance.uniform(0, interval))
        self.wheel.at(began + 1, self._tell_progress)
        self.wheel.run(lambda: not self._goes_on() and self._is_quiet())
        self._is_running = False
        spent, lasted = process_time() - cpu, perf_counter() - began
        self.tally.lost += sum(each.is_waiting for each in self.callers.values())
        result = self.tally.as_json() | {"seconds": lasted, "generatorCpu": spent}
        return result if self._followed is None else result | {"followed": self._followed}

    # ── what happens meanwhile ──────────────────────────────────────────────────────────────────────────────────────

    def _each(self, new: Sequence[Any], begin: Callable[[Any, Callable[[], None]], None]) -> None:
        """Begin all of them, a few at once, and wait for the last."""
        left, ready = list(reversed(new)), 0

        def next_one() -> None:
            if left:
                begin(left.pop(), done)

        def done() -> None:
            nonlocal ready
            ready += 1
            next_one()

        for _ in range(min(OPENING_AT_ONCE, len(new))):
            next_one()
        deadline = perf_counter() + 60 + len(new) / 20
        self.wheel.run(lambda: ready == len(new) or bool(self.tally.ended) or perf_counter() > deadline)
        if ready < len(new) and not self.tally.ended:
            raise PeerFailed(f"{len(new) - ready} of {len(new)} could not be opened in time")

    def _goes_on(self) -> bool:
        return perf_counter() < self._until and self._turns_left > 0 and bool(self.callers)

    def _is_quiet(self) -> bool:
        return not any(
            each.barges_in or (each.is_waiting and perf_counter() - each.sent_at < ANSWER_WITHIN)
            for each in self.callers.values()
        )

    def _plan(self, caller: Caller, due: float) -> None:
        caller.due = due
        self.wheel.at(due, partial(self._speak, caller, due))

    def _speak(self, caller: Caller, due: float) -> None:
        """Take a turn, and plan what breaks into it; a plan that another one took the place of is none."""
        now = perf_counter()
        if caller.due != due or caller.is_waiting or caller.number not in self.callers or not self._goes_on():
            return
        self.tally.late.append(now - caller.due)
        self._say(caller, now)
        if _chance.random() * self._turns_left < self._barge_ins_left:
            self._barge_ins_left -= 1
            caller.barges_in = True
            moment = now + _chance.uniform(0, max(BARGE_IN_WITHIN, 2 * caller.waited))
            self.wheel.at(moment, partial(self._barge_in, caller))

    def _say(self, caller: Caller, now: float) -> None:
        self._turns_left -= 1
        self.tally.asked += 1
        caller.say(now)

    def _barge_in(self, caller: Caller) -> None:
        caller.barges_in = False
        if caller.number not in self.callers:
            return
        self.tally.barge_ins += 1
        if caller.is_waiting:
            self.tally.superseded += 1
            caller.superseded.add(caller.turn)
        caller.interrupt()
        self._say(caller, perf_counter())

    def _note_posted(self, words: str) -> None:
        marker = read_marker(words)
        caller = None if marker is None else self.callers.get(marker[0])
        if caller is not None and marker is not None and caller.turn == marker[1]:
            caller.posted_at = perf_counter()

    def _on_answer(self, caller: Caller, heard: str) -> None:
        marker = read_marker(heard)
        if marker is None:
            self.tally.other += 1
            return
        number, turn = marker
        if number != caller.number:
            self.tally.crossed += 1
        elif turn in caller.answered:
            self.tally.duplicated += 1
        elif turn in caller.superseded:  # its answer had been on its way
            caller.answered.add(turn)
        elif turn == caller.turn and caller.is_waiting:
            caller.answered.add(turn)
            caller.is_waiting = False
            self.tally.answered += 1
            caller.waited = self.wheel.read_at - caller.sent_at
            self.tally.turn.append(caller.waited)
            if self._followed is not None:
                self._followed.append(caller.moments())
            if caller.posted_at:
                self.tally.first_word.append(max(0.0, caller.first_at - caller.posted_at))
            if self._is_running and not caller.barges_in:  # what it says next is planned then
                pause = self._interval * _chance.uniform(*PACE_SPREAD)
                self._plan(caller, max(self.wheel.read_at, caller.due + pause))
        else:
            self.tally.crossed += 1

    def _on_over(self, caller: Caller, why: str) -> None:
        self.callers.pop(caller.number, None)
        if why:
            self.tally.ended[why] += 1
            self.tally.lost += caller.is_waiting

    def _tell_progress(self) -> None:
        if self._is_running:
            told = {"asked": self.tally.asked, "answered": self.tally.answered, "live": len(self.callers)}
            _tell({"progress": told})
            self.wheel.at(perf_counter() + 1, self._tell_progress)


# ── the process ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main(url: str, agent_id: str, client_token: str, carrier_token: str) -> None:
    """Carry out orders from standard input until it ends."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wheel = Wheel()
    address = url.removeprefix("http://").rpartition(":")
    relay = Relay(
        wheel=wheel,
        url=url,
        agent_id=agent_id,
        client_token=client_token,
        carrier_token=carrier_token,
        webhooks=Pool(wheel, (address[0], int(address[2])), at_most=OPENING_AT_ONCE),
    )
    generator = Generator(relay)
    orders, is_over = bytearray(), False

    def read_order(_events: int) -> None:
        nonlocal is_over
        data = os.read(0, 65536)
        orders.extend(data)
        is_over = is_over or not data

    wheel.watch(0, read_order)
    while True:
        wheel.run(lambda: is_over or b"\n" in orders)
        if is_over:
            return
        line, _newline, rest = bytes(orders).partition(b"\n")
        orders[:] = rest
        order = json.loads(line)
        try:
            _tell({"result": getattr(generator, order.pop("do"))(**order)})
        except PeerFailed as failure:
            _tell({"failure": str(failure)})


if __name__ == "__main__":
    main(*sys.argv[1:])
