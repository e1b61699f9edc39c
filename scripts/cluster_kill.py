"""Calls of every kind, a node that is killed under them, and the rules that hold for each call.

    all talk ──▶ a third have words in hand, some are screened, one is being transferred ──▶ SIGKILL ──▶ all talk on

What the next responder is told is read from the client's next request for each call, what the caller hears of a voice
from the TwiML. Words that a caller said into the dying node are no words in hand: they are said again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from relay.simulator.carrier.callee import Answers, Unanswered
from relay.simulator.carrier.exchange import Carrier, open_carrier
from relay.simulator.carrier.fault_plan import CallOver
from relay.simulator.carrier.rest_service import RestApi, open_rest
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.inbound_load import number_of
from relay.simulator.load.local_daemon import ACCOUNT, DaemonFailed
from relay.simulator.load.markers import Markers
from relay.store.database import open_database
from relay.store.waiting_messages import WaitingMessages
from scripts.cluster_callers import AFTER, BEFORE, HANG_UP_SECONDS, Crowd, Utterance, report
from scripts.cluster_clients import Question, ReturningClient, ToolFailed
from scripts.cluster_findings import Findings, is_whole
from scripts.local_cluster import LocalCluster

AGENT, OWN_NUMBER = "agent-1", "+15550001111"
HUMAN = "+15551234567"
"""To whom the call that is transferred goes, and who does not answer."""

AGENT_PROMPT, AGENT_VOICE = "You answer for a workshop.", "agentagentagentagent"
OWN_PROMPT, OWN_VOICE = "You remind a customer of order", "callcallcallcallcall"

CALLS_OUT = {
    "RELAY_ALLOW_UNASSIGNED_NUMBERS": "true",
    "RELAY_CALLING_HOURS": "00:00-24:00",
    "RELAY_CALLS_PER_SECOND": "1000",
    "RELAY_CALLS_PER_AGENT_PER_MINUTE": "0",
    "RELAY_CALLS_PER_AGENT_PER_DAY": "0",
}
"""What a node needs to be allowed these calls."""

VERDICT_SECONDS = 7.0
"""How long the carrier takes to recognise a person: into the time after the kill, and before one is assumed."""

RING_SECONDS = 8.0
"""How long it rings at who does not answer: until after the kill as well."""

IN_HAND_SECONDS = 10.0
"""Within which the client is asked what is to be in hand, and what else is to be under way is."""

SETTLED = 0.5
"""Seconds before the kill for which an answer must have been heard: one in the moment before it may be asked again."""

RESTART_SECONDS = 10.0


@attrs.define(eq=False)
class Parties:
    """Who talks: callers, callees, and the client, who keeps back the answers to the calls that are `held`."""

    carrier: Carrier
    rest: RestApi
    markers: Markers = attrs.field(factory=Markers)
    calls: dict[int, SimulatedCall] = attrs.field(factory=dict)
    questions: dict[int, list[Question]] = attrs.field(factory=lambda: defaultdict(list))
    held: frozenset[int] = frozenset()
    in_hand: dict[int, int] = attrs.field(factory=dict)
    """The turn that the client keeps back, by the number of the call."""
    released: trio.Event = attrs.field(factory=trio.Event)
    heard_early: set[int] = attrs.field(factory=set)
    greeted: set[int] = attrs.field(factory=set)
    crossed: int = 0
    client: ReturningClient = attrs.field(init=False)
    crowd: Crowd = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.crowd = Crowd(self.open_call, markers=self.markers)

    async def answer(self, question: Question) -> str:
        """Repeat what the caller said, for a call that is held only when it is released."""
        for number, turn in self.markers.find(question.words)[-1:]:
            self.questions[number].append(question)
            self.crossed += self.calls[number].call_sid != question.call_sid
            if number in self.held and not self.released.is_set():
                self.in_hand[number] = turn
                await self.released.wait()
        return f"You said: {question.words}"

    @asynccontextmanager
    async def open_call(self, number: int) -> AsyncIterator[SimulatedCall]:
        """Make a call, or have it made; that of a screened callee begins when they have been greeted."""
        if not is_outbound(number):
            async with self.carrier.call(AGENT, caller=number_of(number)) as call:
                self.calls[number] = call
                yield call
            return
        to, after = number_of(number), VERDICT_SECONDS if is_screened(number) else 0.0
        self.rest.callee(to, Answers(answered_by="human", verdict_after=after))
        call = self.calls[number] = await self._ordered(number, to)
        try:
            await call.connected()
            if is_screened(number):
                await self._be_greeted(call, number)
            yield call
            await call.hang_up()
            await call.wait_ended()
        finally:
            call.abandon()

    async def _ordered(self, number: int, to: str) -> SimulatedCall:
        try:
            made = await self.client.tool(
                "comms_make_call",
                to=to,
                greeting=greeting_of(number),
                systemPrompt=prompt_of(number),
                voice=OWN_VOICE,
                waitForHuman=is_screened(number),
            )
        except ToolFailed as error:
            raise CallOver(str(error)) from error
        return await self.rest.call(made["callSid"])

    async def _be_greeted(self, call: SimulatedCall, number: int) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.crowd.watch_sessions, call)
            opening = len(call.heard)
            await call.until(lambda: bool(call.answered_by))
            if len(call.heard) > opening:
                self.heard_early.add(number)
            with trio.move_on_after(IN_HAND_SECONDS):
                while greeting_of(number) not in (await call.hear()).text:
                    pass
                self.greeted.add(number)
            nursery.cancel_scope.cancel("greeted")


def is_outbound(number: int) -> bool:
    """Return whether the relay makes the call: each fifth."""
    return number % 5 == 0


def is_screened(number: int) -> bool:
    """Return whether its callee is screened: of each second call out."""
    return number % 10 == 0


def prompt_of(number: int) -> str:
    """Return what the responder of a call is told."""
    return f"{OWN_PROMPT} {number}." if is_outbound(number) else AGENT_PROMPT


def greeting_of(number: int) -> str:
    """Return what the callee of a call out hears first."""
    return f"It is about order {number}."


async def kill_under_calls(
    cluster: LocalCluster, rest_port: int, calls: int, note: Callable[[str], None], *, entry: str = "", home: str = ""
) -> Findings:
    """Have calls talk, kill the home of their agent, or `entry`, and return what became of them.

    With `entry` the agent's home is `home` from the beginning, and all lines come by way of `entry`.
    """
    async with (
        open_carrier(ACCOUNT, cluster.token, cluster.url) as carrier,
        open_rest(carrier, port=rest_port) as rest,
        trio.open_nursery() as clients,
    ):
        token = await cluster.register(
            AGENT, "--number", OWN_NUMBER, "--system-prompt", AGENT_PROMPT, "--voice", AGENT_VOICE
        )
        if home:
            await cluster.be_at_home(token, home)
        parties = Parties(carrier, rest)
        parties.client = ReturningClient(cluster.url, token, parties.answer)
        await clients.start(parties.client.run)
        async with trio.open_nursery() as reporting:
            reporting.start_soon(report, parties.crowd, note)
            killed_at = await _play(cluster, parties, calls, entry, note)
            reporting.cancel_scope.cancel("the callers have hung up")
        findings = _judge(parties, calls, killed_at, sessions_within=5.0 if entry else 3.0)
        findings.messages = await _messages_after(cluster, 2.0)
        clients.cancel_scope.cancel("nobody calls any more")
    return findings


async def _play(cluster: LocalCluster, parties: Parties, calls: int, entry: str, note: Callable[[str], None]) -> float:
    """Have all calls made, the node killed and started again, and all callers hang up; return when it was killed."""
    crowd = parties.crowd
    screened = [number for number in range(calls) if is_screened(number)]
    others = [number for number in range(calls) if not is_screened(number)]
    async with trio.open_nursery() as talking:
        for number in others:
            talking.start_soon(crowd.call, number)
            await trio.sleep(0.05)
        await crowd.all_live(len(others))
        await trio.sleep(BEFORE)
        for number in screened:
            talking.start_soon(crowd.call, number)
        await _get_under_way(parties, screened, others, note)
        name = entry or await cluster.home_of(AGENT)
        if name is None:
            raise DaemonFailed("the agent has no home")
        node, killed_at = cluster.nodes[name], trio.current_time()
        await node.daemon.kill()
        note(f"{name} is killed, {'which lines pass through' if entry else 'the home'}; {len(parties.in_hand)} in hand")
        await trio.sleep(SETTLED)
        parties.released.set()
        await trio.sleep(RESTART_SECONDS)
        await node.start()
        note(f"{name} is back")
        await trio.sleep(AFTER)
        crowd.stop()
        talking.cancel_scope.deadline = trio.current_time() + HANG_UP_SECONDS
    return killed_at


async def _get_under_way(
    parties: Parties, screened: Sequence[int], others: Sequence[int], note: Callable[[str], None]
) -> None:
    """Have a call in transfer, callees screened, and words of a third of the calls in hand."""
    transferred = others[0]
    parties.rest.callee(HUMAN, Unanswered("no-answer", after=RING_SECONDS))
    with trio.move_on_after(IN_HAND_SECONDS) as waiting:
        for number in screened:
            while number not in parties.calls:  # noqa: ASYNC110 - the tool is about to return
                await trio.sleep(0.05)
            await parties.calls[number].connected()
        await parties.client.tool("comms_transfer_call", callSid=parties.calls[transferred].call_sid, to=HUMAN)
        await parties.calls[transferred].until(lambda: bool(parties.calls[transferred].dialled))
        # At last, because the relay waits 8 seconds for an answer.
        parties.held = frozenset(others[1::2][: max(1, (len(screened) + len(others)) // 3)])
        while len(parties.in_hand) < len(parties.held):  # noqa: ASYNC110 - each caller speaks within seconds
            await trio.sleep(0.05)
    if waiting.cancelled_caught:
        note("not all that was to be under way is")


def _judge(parties: Parties, calls: int, killed_at: float, *, sessions_within: float) -> Findings:
    crowd, said = parties.crowd, defaultdict[int, list[Utterance]](list)
    for utterance in crowd.utterances:
        said[utterance.call].append(utterance)
    crowd.tally.crossed += parties.crossed
    unlike: dict[str, list[int]] = {"history": [], "prompt": [], "voice": []}
    for number, call in sorted(parties.calls.items()):
        asked = next((each for each in parties.questions[number] if each.at > killed_at), None)
        voice = OWN_VOICE if is_outbound(number) else AGENT_VOICE
        if asked is None or not asked.system_prompt.startswith(prompt_of(number)):
            unlike["prompt"].append(number)
        if asked is None or not is_whole(asked, _heard_before(said[number], killed_at), parties.markers):
            unlike["history"].append(number)
        if any(session.attributes.get("voice") != voice for session in call.sessions):
            unlike["voice"].append(number)
    in_hand = [
        each for each in crowd.utterances if parties.in_hand.get(each.call) == each.turn and each.said_at < killed_at
    ]
    transferred = [call for call in parties.calls.values() if call.dialled]
    return Findings(
        tally=crowd.tally,
        sessions_within=sessions_within,
        in_hand=len(in_hand),
        in_hand_answered=sum(each.answered_by == "client" and each.times_said == 1 for each in in_hand),
        outbound=sum(map(is_outbound, parties.calls)),
        screened=sum(map(is_screened, range(calls))),
        screened_early=len(parties.heard_early),
        greeted=len(parties.greeted),
        transfers=len(transferred),
        transfers_back=sum(len(call.sessions) > 1 for call in transferred),
        not_resumed=sum(len(call.sessions) < 2 for call in parties.calls.values()),
        unlike=unlike,
        absence=max(parties.client.absences, default=0.0),
    )


def _heard_before(said: Sequence[Utterance], killed_at: float) -> list[tuple[int, int]]:
    return [
        (each.call, each.turn)
        for each in said
        if each.answered_by == "client" and each.answered_at < killed_at - SETTLED
    ]


async def _messages_after(cluster: LocalCluster, seconds: float) -> int:
    """Count the agent's messages when those have been stored that calls leave at their end."""
    await trio.sleep(seconds)
    async with open_database(cluster.database_url) as database:
        return len(await WaitingMessages(database).list_all(AGENT))
