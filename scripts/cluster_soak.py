"""Nodes that are killed one after another, at random, under calls that come and go: what becomes of each utterance.

    callers ──▶ talk, hang up, call again; some hang up with words in hand     clients ──▶ fetch and confirm messages
    every 20 s a node is killed and started again

At the end each utterance is looked for: in an answer that its caller has heard, or in a waiting message.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

import attrs
import trio

from relay.simulator.carrier.exchange import open_carrier
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.local_daemon import ACCOUNT
from relay.simulator.load.markers import Markers
from relay.store.database import open_database
from relay.store.waiting_messages import WaitingMessages
from scripts.cluster_callers import HANG_UP_SECONDS, PATIENCE, Crowd, Tally, Utterance, inbound, report
from scripts.cluster_clients import Question, ReturningClient, ToolFailed
from scripts.local_cluster import LocalCluster

RETURN_SECONDS = 15
"""RELAY_RETURN_SECONDS of the nodes: what a killed node's callers have said becomes a message after that."""

BETWEEN_KILLS = 20.0
DOWN_SECONDS = 2.0
"""How long a killed node is away before it is started again."""

TURNS = (3, 10)
"""How many turns a call has; one that goes on for minutes is lost too often to be kept by anybody."""

LEAVERS = 0.3
"""The share of the callers who hang up before their last words are answered."""

LAST_WORDS = 1000
"""The turn of words that the client does not answer."""

MESSAGES_EVERY = 2.0
CONFIRM_AFTER = 0.5
"""Seconds between fetching messages and confirming them, in which the node may be killed."""

# A run that was killed is over ten seconds after it was last seen, or when the next one starts.
_SWEPT_SECONDS = RETURN_SECONDS + 20.0


@attrs.frozen(kw_only=True)
class Fates:
    """What became of a soak: of each utterance, and of the messages."""

    tally: Tally
    kills: Counter[str]
    answered: int
    answered_again: int
    in_message: int
    in_both: int
    unaccounted: Sequence[str]
    messages: int
    confirmed: int
    offered_again: int

    def rows(self) -> dict[str, str]:
        """Return it as a table shows it."""
        return {
            **self.tally.rows(),
            "nodes killed": f"{self.kills.total()} ({', '.join(f'{n} {c}' for n, c in sorted(self.kills.items()))})",
            "utterances answered as they were said": str(self.answered),
            "said again by the caller, and answered": str(self.answered_again),
            "in a waiting message": str(self.in_message),
            "answered, and in a message too": str(self.in_both),
            "unaccounted for": str(len(self.unaccounted)),
            "messages, confirmed": f"{self.messages}, {self.confirmed}",
            "confirmed, and offered again": str(self.offered_again),
        }

    @property
    def missed(self) -> list[str]:
        """The rules that were missed."""
        found = ", ".join(self.unaccounted)
        rules = {
            f"each utterance accounted for: not {found}": not self.unaccounted,
            f"no confirmed message offered again: {self.offered_again}": not self.offered_again,
            f"nothing crossed: {self.tally.crossed}": not self.tally.crossed,
        }
        return [rule for rule, is_kept in rules.items() if not is_kept]


@attrs.define(eq=False)
class Soak:
    """Who takes part: callers, and the clients, which confirm what they have fetched."""

    markers: Markers = attrs.field(factory=Markers)
    asked: dict[tuple[int, int], trio.Event] = attrs.field(factory=lambda: defaultdict(trio.Event))
    """By call and turn: the client has been asked, so the relay has stored the words."""
    confirmed: set[str] = attrs.field(factory=set)
    offered_again: int = 0
    kills: Counter[str] = attrs.field(factory=Counter)
    numbers: count[int] = attrs.field(factory=count)
    crowd: Crowd = attrs.field(init=False)

    async def answer(self, question: Question) -> str:
        """Repeat what the caller said, but for last words."""
        found = self.markers.find(question.words)
        for each in found:
            self.asked[each].set()
        if any(turn == LAST_WORDS for _call, turn in found):
            await trio.sleep_forever()
        return f"You said: {question.words}"

    async def keep_calling(self) -> None:
        """Call again and again until the crowd is stopped."""
        while not self.crowd.is_stopped:
            number = next(self.numbers)
            leaves = random.random() < LEAVERS  # noqa: S311 - as in all of this module, nobody must not guess it
            at_last = partial(self._leave, number) if leaves else None
            await self.crowd.call(number, turns=random.randint(*TURNS), at_last=at_last)  # noqa: S311
            await trio.sleep(0.5)

    async def _leave(self, number: int, call: SimulatedCall) -> None:
        """Say the last words, again if nobody seems to have them, and return when the client has."""
        utterance = await self.crowd.say(call, number, LAST_WORDS)
        is_with_client = self.asked[number, LAST_WORDS]
        with trio.move_on_after(PATIENCE):
            await is_with_client.wait()
        if not is_with_client.is_set():
            utterance.times_said += 1
            await call.say(self.markers.words(number, LAST_WORDS))
            with trio.move_on_after(PATIENCE):
                await is_with_client.wait()

    async def keep_fetching(self, client: ReturningClient) -> None:
        """Fetch messages and confirm them, until cancelled."""
        while True:
            try:
                fetched = (await client.tool("comms_get_waiting_messages"))["messages"]
                ids = [str(each["id"]) for each in fetched]
                self.offered_again += sum(each in self.confirmed for each in ids)
                await trio.sleep(CONFIRM_AFTER)
                if ids:
                    done = await client.tool("comms_acknowledge_messages", ids=ids)
                    self.confirmed.update(done["acknowledged"])
            except ToolFailed:
                pass  # it is fetched again, with what is offered again because nobody has confirmed it
            await trio.sleep(MESSAGES_EVERY)

    async def keep_killing(self, cluster: LocalCluster, seconds: float, note: Callable[[str], None]) -> None:
        """Kill a node at random every 20 seconds, and start it again, for so long."""
        until = trio.current_time() + seconds
        while (next_kill := trio.current_time() + BETWEEN_KILLS) <= until:
            node = random.choice(list(cluster.nodes.values()))  # noqa: S311
            await node.daemon.kill()
            self.kills[node.name] += 1
            note(f"{node.name} is killed")
            await trio.sleep(DOWN_SECONDS)
            await node.start()
            note(f"{node.name} is back")
            await trio.sleep_until(next_kill)
        await trio.sleep_until(until)


async def soak(cluster: LocalCluster, calls: int, agents: int, seconds: float, note: Callable[[str], None]) -> Fates:
    """Kill nodes under so many calls at once for so long, and return what became of everything."""
    part, names = Soak(), [f"agent-{number}" for number in range(1, agents + 1)]
    async with open_carrier(ACCOUNT, cluster.token, cluster.url) as carrier, trio.open_nursery() as others:
        part.crowd = Crowd(inbound(carrier, names), markers=part.markers)
        others.start_soon(report, part.crowd, note)
        for name in names:
            client = ReturningClient(cluster.url, await cluster.register(name), part.answer)
            await others.start(client.run)
            others.start_soon(part.keep_fetching, client)
        async with trio.open_nursery() as talking:
            for _ in range(calls):
                talking.start_soon(part.keep_calling)
                await trio.sleep(0.05)
            await part.keep_killing(cluster, seconds, note)
            part.crowd.stop()
            talking.cancel_scope.deadline = trio.current_time() + HANG_UP_SECONDS
        note("all callers have hung up; what is unanswered is to become a message")
        fates = await _find_all(cluster, part)
        others.cancel_scope.cancel("nobody calls any more")
    return fates


async def _find_all(cluster: LocalCluster, part: Soak) -> Fates:
    """Look for each utterance until all are found, or nothing more is to be expected."""
    deadline = trio.current_time() + _SWEPT_SECONDS
    while True:
        async with open_database(cluster.database_url) as database:
            messages = await WaitingMessages(database).list_all()
        fates = account_for(part, [each.body for each in messages])
        if not fates.unaccounted or trio.current_time() > deadline:
            return fates
        await trio.sleep(1)


def account_for(part: Soak, bodies: Sequence[str]) -> Fates:
    """Return what became of everything; `bodies` are those of all messages that were left."""
    left = {found for body in bodies for found in part.markers.find(body)}
    answered = [each for each in part.crowd.utterances if each.answered_by == "client"]
    others = [each for each in part.crowd.utterances if each.answered_by != "client"]
    return Fates(
        tally=part.crowd.tally,
        kills=part.kills,
        answered=sum(each.times_said == 1 for each in answered),
        answered_again=sum(each.times_said > 1 for each in answered),
        in_message=sum((each.call, each.turn) in left for each in others),
        in_both=sum((each.call, each.turn) in left for each in answered),
        unaccounted=[_describe(part, each) for each in others if (each.call, each.turn) not in left],
        messages=len(bodies),
        confirmed=len(part.confirmed),
        offered_again=part.offered_again,
    )


def _describe(part: Soak, lost: Utterance) -> str:
    asked = (
        "of which the client was asked" if part.asked[lost.call, lost.turn].is_set() else "of which nobody was asked"
    )
    end = part.crowd.cuts.get(lost.call, "hung up")
    return f"turn {lost.turn} of {lost.call_sid or lost.call}, said {lost.times_said} times, {asked}, call {end}"
