#!/usr/bin/env python3
"""Measure what the parts of the relay cost, from one frame to a whole daemon, and print a table.

    scripts/bench [--quick | --seconds S] [--only NAME] [--json]
    scripts/bench turns [--against REV] …      a turn through a whole daemon; see `bench_commands`

*CPU* is processor time for each unit, of all threads of the process in which the part runs: waiting for a disk or a
peer is not in it. *Wall* is what one unit takes while the row's work goes on around it. The median of the rounds is
shown for each.

*Ratio* is the CPU of a unit over that of one pass of a calibration loop: plain Python, run in this process right
before and right after each round. A shared machine runs the same code at half the speed a minute later, so microseconds
of two runs, let alone of two machines, do not compare; ratios of one run do, and those of two runs nearly. A change is
faster when its ratio fell.

Rows with SQLite write to the temporary directory (TMPDIR names another disk) and flush it as the daemon does. Where
both ends of a connection are in this process the row says so, and its CPU is that of both. Rows of `relay serve` are
about that process alone, by its own metrics; these count in clock ticks of mostly 10 ms, too coarse for `--quick`.
Rows without CPU are about what a caller waits for, from end to end, with the relay in a process of its own.

`scripts/bench` makes the environment that it needs; with one at hand this is .venv/bin/python scripts/bench.py
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import re
import secrets
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import attrs
import click
import httpx2
import trio
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from actors.call_session import CallServices, CallSession
from actors.call_values import Availability, CallInfo, Direction, Line, MessageDraft, Reason, Speaker, TurnRequest
from actors.calls import Calls
from actors.clients import ClientResponder, Presence
from actors.commands import By, StartTurn
from actors.conversation import Conversation
from actors.events import CallerGone, PhoneEvent, PieceSaid, SpeechPlayed, TurnFinished, UtteranceHeard
from actors.policy import Policy
from actors.ports import Answer
from relay import logs
from relay.http.listener import ListenerOptions, serve
from relay.mcp.app import McpApp
from relay.mcp.tools.live_calls import AgentCalls
from relay.metrics import CallMeter
from relay.simulator.carrier.exchange import open_carrier
from relay.simulator.carrier.fault_plan import WebhookFailed
from relay.simulator.carrier.webhook_client import CallFacts, fetch_twiml, post_completed
from relay.simulator.load.costs import DaemonMeter, memory_of_idle_call, run_metered_load
from relay.simulator.load.echo_client import EchoFailed, Question, open_echo_client
from relay.simulator.load.inbound_load import LoadPlan
from relay.simulator.load.local_daemon import ACCOUNT, DaemonFailed, run_local_daemon
from relay.simulator.load.silent_client import Reachability, run_silent_client
from relay.speech.hygiene import SpeechFilter
from relay.store.agent_registry import AgentRegistry
from relay.store.call_journal import CallJournal
from relay.store.client_hellos import ClientHellos
from relay.store.database import Database, open_database
from relay.store.waiting_messages import WaitingMessages
from relay.twilio import frames
from scripts.bench_commands import console, history, memory, profile, soak, tail, turns

SECONDS, QUICK_SECONDS = 2.0, 0.2
SPAN = click.FloatRange(min=0, min_open=True, max=60)
ROUNDS = 5
CALIBRATION_PASSES = 100
CALLS, THINK = 20, 0.2
"""Calls at once in the row of a whole turn, and seconds between an answer and the next words: far from saturation."""

KILLS = 20
"""Clients that are killed in a row of lost ones; each is a process, which takes much longer to start than to miss."""

AGENT = "bench"
NOW = datetime.now(UTC)
CALL = CallInfo(call_sid="CA0", agent_id=AGENT, caller="+15550100001", called="+15550100002", started_at=NOW)
WORDS = "Could you tell me whether the parcel has arrived yet, please?"
PIECES = ("It came this morning, ", "and it is waiting at the front desk.")
HISTORY = tuple(Line((Speaker.CALLER, Speaker.AGENT)[number % 2], WORDS, NOW) for number in range(11))
PROSE = "Your parcel came this morning. It is at the front desk, and somebody is there until six. "
MARKDOWN = (
    "# Parcel\n\n- **Where:** the [front desk](https://example.com/desk?x=1) 📦\n- _Until:_ `18:00` & not later\n\n"
)
HEARD = [
    json.dumps({"type": "prompt", "voicePrompt": WORDS, "lang": "en-US", "last": True}),
    *(
        json.dumps({"type": "info", "name": name, "value": value})
        for name, value in (("agentSpeaking", "on"), ("tokensPlayed", PIECES[0]), ("agentSpeaking", "off"))
    ),
]


# ── measuring ───────────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen(kw_only=True)
class Sample:
    """What one round took, in seconds: `cpu` for all its units, `p50` and `p99` for one; `kb` is memory."""

    units: int = 1
    cpu: float | None = None
    p50: float | None = None
    p99: float | None = None
    kb: float | None = None


Round = Callable[[float], Awaitable[Sample]]
"""Work for about so many seconds, and say what it took."""


@attrs.frozen
class Row:
    """What is measured: `unit` says what one of it is, `open` gives its round, with a directory for its files.

    A row of a single round is not warmed up, and takes `share` times as long as the others.
    """

    name: str
    unit: str
    open: Callable[[Path], AbstractAsyncContextManager[Round]]
    rounds: int = ROUNDS
    share: int = 1


def in_batches(batch: Callable[[], int]) -> Round:
    """Repeat work that never waits. A batch returns its units, so many that looking at the clock costs nothing."""

    async def work(seconds: float) -> Sample:
        await trio.lowlevel.checkpoint()  # the one place where this row can be cancelled: a round is short
        units, cpu, until = 0, process_time(), perf_counter() + seconds
        while not units or perf_counter() < until:
            units += batch()
        return Sample(units=units, cpu=process_time() - cpu)

    return work


def one_by_one(
    unit: Callable[[int], Awaitable[object]], *, at_once: int = 1, meter: DaemonMeter | None = None
) -> Round:
    """Repeat work that waits, in so many tasks at once, and time each unit; a unit is told the number of its task.

    The processor time is that of the daemon with this meter, of this process without one.
    """

    async def work(seconds: float) -> Sample:
        walls: list[float] = []

        async def go_on(number: int) -> None:
            began = perf_counter()
            until = began + seconds
            while began < until:
                await unit(number)
                ended = perf_counter()
                walls.append(ended - began)
                began = ended

        before = await meter.cpu_seconds() if meter else process_time()
        async with trio.open_nursery() as nursery:
            for number in range(at_once):
                nursery.start_soon(go_on, number)
        after = await meter.cpu_seconds() if meter else process_time()
        walls.sort()
        return Sample(
            units=len(walls),
            cpu=None if before is None or after is None else after - before,
            p50=rank(walls, 0.50),
            p99=rank(walls, 0.99),
        )

    return work


def by_stopwatch(unit: Callable[[], Awaitable[float]], times: int | None = None) -> Round:
    """Repeat work that times itself, each unit giving its seconds: for so long, or so many times in a usual round."""

    async def work(seconds: float) -> Sample:
        waits: list[float] = []
        until = perf_counter() + seconds
        least = 1 if times is None else max(1, round(times * seconds / SECONDS))
        while len(waits) < least or (times is None and perf_counter() < until):
            waits.append(await unit())
        waits.sort()
        return Sample(units=len(waits), p50=rank(waits, 0.50), p99=rank(waits, 0.99))

    return work


def rank(ordered: Sequence[float], share: float) -> float:
    """Return a percentile by nearest rank."""
    return ordered[math.ceil(share * len(ordered)) - 1]


def calibrate() -> float:
    """Return the processor time, in seconds, of one pass of the loop that everything is compared with."""
    began = process_time()
    for _ in range(CALIBRATION_PASSES):
        words: dict[str, int] = {}
        for number in range(400):
            word = f"word {number % 50}"
            words[word] = words.get(word, 0) + len(word.split())
    return (process_time() - began) / CALIBRATION_PASSES


async def measure(row: Row, seconds: float) -> dict[str, Any]:
    """Return a row as JSON values, times in microseconds; null where there is nothing to tell.

    Raises `trio.TooSlowError` when it takes out of all proportion, and whatever its work raises.
    """
    samples, loops = [], []
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory, trio.fail_after(60 + 10 * seconds):
        async with row.open(Path(directory)) as work:
            if row.rounds > 1:
                await work(seconds / 20)
            loops.append(calibrate())
            for _ in range(row.rounds):
                samples.append(await work(seconds * row.share / row.rounds))
                loops.append(calibrate())
    cpu = [None if each.cpu is None else each.cpu / each.units for each in samples]
    around = [(before + after) / 2 for before, after in itertools.pairwise(loops)]
    ratios = [None if each is None else each / loop for each, loop in zip(cpu, around, strict=True)]
    return {
        "name": row.name,
        "unit": row.unit,
        "cpuUs": median(cpu, 1e6),
        "p50Us": median((each.p50 for each in samples), 1e6),
        "p99Us": median((each.p99 for each in samples), 1e6),
        "ratio": median(ratios),
        "kb": median(each.kb for each in samples),
        "loopUs": median(loops, 1e6),
    }


def median(values: Iterable[float | None], scale: float = 1) -> float | None:
    """Return the median of what was measured, to four digits; None when nothing was."""
    known = [each for each in values if each is not None]
    return float(f"{statistics.median(known) * scale:.4g}") if known else None


# ── the pure parts ──────────────────────────────────────────────────────────────────────────────────────────────────


def state_machine() -> Round:
    """Take a turn of a long call: words, two pieces, the end of the answer, both pieces played."""
    machine = Conversation(CALL, Policy(), availability=Availability.HERE, now=0)
    clock = itertools.count(5.0, 5.0)

    def turns() -> int:
        for now in itertools.islice(clock, 20):
            commands = machine.handle(UtteranceHeard(WORDS), now)
            turn = next(each.request.turn for each in commands if isinstance(each, StartTurn))
            for piece in PIECES:
                machine.handle(PieceSaid(turn, piece), now)
            machine.handle(TurnFinished(turn), now)
            for piece in PIECES:
                machine.handle(SpeechPlayed(piece), now)
        return 20

    return in_batches(turns)


def frame_parse() -> Round:
    """Read frames in the proportion in which a turn brings them."""
    return in_batches(lambda: sum(len(HEARD) for _ in range(25) if [frames.parse(each) for each in HEARD]))


def frame_encode() -> Round:
    """Write a piece of speech."""
    return in_batches(lambda: len([frames.text(PIECES[0], last=False) for _ in range(100)]))


def speech(text: str) -> Round:
    """Clean an answer that comes word by word."""
    tokens = re.findall(r"\s*\S+", text * 5)

    def answer() -> int:
        speech_filter = SpeechFilter()
        for token in tokens:
            speech_filter.feed(token)
        speech_filter.finish()
        return len(tokens)

    return in_batches(answer)


# ── a call ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Nowhere:
    """Every port that a row must fill and does not measure: waits as the real one would, and keeps nothing."""

    async def take(self, *_given: object, **_named: object) -> None:
        """Take anything."""
        await trio.lowlevel.checkpoint()

    say = say_goodbye = take
    open_call = hold_utterance = release_utterances = close_call = take

    async def take_message(self, _body: str, _preferences: str) -> bool:
        """Take a message from the answering machine."""
        await self.take()
        return True

    async def leave(self, draft: MessageDraft, on_stored: Callable[[str], None] | None = None) -> str:  # noqa: ARG002
        """Take a message."""
        await self.take()
        return "msg_0"


@attrs.define(eq=False)
class MemoryLine:
    """A line to a caller in this process, who says one thing at a time and waits for the answer."""

    # The caller's words and two reports of played pieces, which come with the words after them.
    _said: Any = attrs.field(factory=lambda: trio.open_memory_channel[PhoneEvent](3))
    _answered: Any = attrs.field(factory=lambda: trio.open_memory_channel[None](1))

    async def receive(self) -> PhoneEvent:
        """Wait for what the caller does."""
        event: PhoneEvent = await self._said[1].receive()
        return event

    async def speak(self, _text: str, *, last: bool, preemptible: bool = False) -> None:  # noqa: ARG002 - heard alike
        """Let the caller hear a piece."""
        if last:
            await self._answered[0].send(None)

    async def end(self, handoff: str = "") -> None:
        """Have nothing to end."""

    async def close(self, code: int) -> None:
        """Have nothing to close."""

    async def talk(self) -> None:
        """Be the caller for one turn."""
        await self._said[0].send(UtteranceHeard(WORDS))
        await self._answered[1].receive()
        for piece in PIECES:
            await self._said[0].send(SpeechPlayed(piece))

    async def hang_up(self) -> None:
        """End the call from the caller's side."""
        await self._said[0].send(CallerGone())


class Scripted:
    """A responder that says the same two pieces in every turn."""

    async def respond(self, _request: TurnRequest, answer: Answer) -> None:
        """Answer at once."""
        for piece in PIECES:
            await answer.say(piece)


@asynccontextmanager
async def call_actor(_directory: Path) -> AsyncIterator[Round]:
    """Take a turn through reader, inbox, loop and responder, with nothing stored."""
    services = CallServices(
        responders={By.CLIENT: Scripted()},
        messages=Nowhere(),
        journal=Nowhere(),
        observer=CallMeter(),
    )
    line = MemoryLine()

    async def live() -> None:
        await CallSession(CALL, line, services, Policy(), Availability.HERE).run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        yield one_by_one(lambda _number: line.talk())
        await line.hang_up()


# ── SQLite and MCP ──────────────────────────────────────────────────────────────────────────────────────────────────


def database_in(directory: Path) -> AbstractAsyncContextManager[Database]:
    """Open a fresh database."""
    return open_database(f"sqlite:///{directory / 'bench.db'}")


@asynccontextmanager
async def waiting_message(directory: Path) -> AsyncIterator[Round]:
    """Leave a message, fetch it, and confirm it."""
    numbers = itertools.count()
    draft = MessageDraft(
        call_sid=CALL.call_sid,
        part=1,
        agent_id=AGENT,
        direction=Direction.INBOUND,
        reason=Reason.CLIENT_ABSENT,
        caller=CALL.caller,
        called=CALL.called,
        body=WORDS,
        transcript=HISTORY,
    )
    async with database_in(directory) as database:
        store = WaitingMessages(database)

        async def whole_life(_number: int) -> None:
            message_id = await store.leave(attrs.evolve(draft, call_sid=f"CA{next(numbers)}"))
            await store.fetch(AGENT, 1)
            await store.acknowledge(AGENT, [message_id])

        yield one_by_one(whole_life)


@asynccontextmanager
async def held_words(calls: int, directory: Path) -> AsyncIterator[Round]:
    """Hold the words of a turn and let go of them, in so many calls at once."""
    turns = itertools.count(1)
    async with database_in(directory) as database:
        journal = CallJournal(database)
        for number in range(calls):
            await journal.open_call(attrs.evolve(CALL, call_sid=f"CA{number}"))

        async def turn(number: int) -> None:
            turn = next(turns)
            await journal.hold_utterance(f"CA{number}", turn, WORDS)
            await journal.release_utterances(f"CA{number}", turn)

        yield one_by_one(turn, at_once=calls)


@asynccontextmanager
async def sampling(directory: Path) -> AsyncIterator[Round]:
    """Ask a client for a turn over a real event stream; it lives in a task of this process."""
    presence, here = Presence(grace=10), trio.Event()
    request = TurnRequest(call=CALL, turn=1, history=HISTORY)
    async with database_in(directory) as database, trio.open_nursery() as nursery:
        agents = AgentRegistry(database)
        _agent, token = await agents.add(AGENT)
        messages, journal = WaitingMessages(database), CallJournal(database)
        services = CallServices(
            responders={By.CLIENT: ClientResponder(presence)},
            messages=messages,
            journal=journal,
            observer=CallMeter(),
        )
        calls = Calls(services, presence, max_calls=1)
        app = McpApp(
            agents=agents,
            hellos=ClientHellos(database),
            messages=messages,
            calls=AgentCalls(live=calls, journal=journal),
            presence=presence,
        )
        listen = partial(serve, app, ListenerOptions(), host="127.0.0.1", port=0, stop=trio.Event())
        host, port = await nursery.start(listen)
        with presence.watch(AGENT, lambda _availability: here.set()):
            async with open_echo_client(f"http://{host}:{port}/sse?token={token}"):
                await here.wait()
                yield one_by_one(lambda _number: ClientResponder(presence, calls.owner_of).respond(request, Nowhere()))
        nursery.cancel_scope.cancel("measured")


# ── relay serve ─────────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def daemon(directory: Path) -> AsyncIterator[tuple[LoadPlan, DaemonMeter]]:
    """Run a daemon with a client that answers at once; give a plan of calls to it, and its meter."""
    async with (
        run_local_daemon(directory) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=10) as http,
    ):
        access = await running.register(AGENT)
        plan = LoadPlan(
            url=running.url, agent_id=AGENT, account_sid=ACCOUNT, auth_token=running.token, calls=CALLS, turns=1
        )
        async with open_echo_client(access["sseUrl"]):
            yield plan, DaemonMeter(http)


@asynccontextmanager
async def webhooks(directory: Path) -> AsyncIterator[Round]:
    """Announce a call (signature, place, record, ticket) and say that it is over, so that its place is free again."""
    async with daemon(directory) as (plan, meter), open_carrier(ACCOUNT, plan.auth_token, plan.url) as carrier:

        async def announce_and_end(_number: int) -> None:
            sid = f"CA{secrets.token_hex(16)}"
            facts = CallFacts(
                agent_id=AGENT,
                call_sid=sid,
                caller=CALL.caller,
                called=CALL.called,
                direction="inbound",
                attestation="",
            )
            await fetch_twiml(carrier, facts, facts.voice_url)
            await post_completed(carrier, facts, 0)

        yield one_by_one(announce_and_end, meter=meter)


@asynccontextmanager
async def whole_turn(directory: Path) -> AsyncIterator[Round]:
    """Open silent calls, for their memory; then make calls of many turns, through the client and back.

    The CPU of a turn has its share of its call's beginning and end in it, the p99 the calls that all begin at once.
    """
    async with daemon(directory) as (plan, meter):

        async def work(seconds: float) -> Sample:
            idle = max(CALLS, min(200, round(25 * seconds)))
            kb = await memory_of_idle_call(attrs.evolve(plan, calls=idle), meter, rest=seconds / 10)
            turns = max(2, round(seconds / THINK))
            report, cpu = await run_metered_load(attrs.evolve(plan, turns=turns, think=THINK), meter)
            if not report.clean:
                raise DaemonFailed(f"the calls did not go well: {report.as_json()}")
            p50, p99 = report.turn.p50 / 1000, report.turn.p99 / 1000
            total = None if cpu is None else cpu / 1000 * report.turns
            return Sample(units=report.turns, cpu=total, p50=p50, p99=p99, kb=kb)

        yield work


@asynccontextmanager
async def first_word(path: str, directory: Path) -> AsyncIterator[Round]:
    """Have a client send the first piece of an answer whose rest is not there yet; until the caller hears it."""
    async with run_local_daemon(directory) as running:
        access = await running.register(AGENT)
        sent, heard = 0.0, trio.Event()

        async def begin(question: Question) -> str:
            nonlocal sent
            sent = trio.current_time()
            await question.say(1, PIECES[0])
            await heard.wait()
            return "".join(PIECES)

        async with (
            open_echo_client(f"{running.url}/{path}", token=access["token"], answer=begin),
            open_carrier(ACCOUNT, running.token, running.url) as carrier,
            carrier.call(AGENT) as call,
        ):

            async def turn() -> float:
                nonlocal heard
                heard = trio.Event()
                await call.say(WORDS)
                first = await call.next_token()
                heard.set()
                while not (await call.next_token()).last:
                    pass
                return first.at - sent

            yield by_stopwatch(turn)


@asynccontextmanager
async def lost_client(path: str, by: Reachability, directory: Path) -> AsyncIterator[Round]:
    """Kill a client that has a turn in hand, or is about to get one; until the caller hears that it is not there."""
    async with run_local_daemon(directory) as running, open_carrier(ACCOUNT, running.token, running.url) as carrier:
        access = await running.register(AGENT)

        async def kill() -> float:
            async with (
                run_silent_client(f"{running.url}/{path}", access["token"], by=by) as client,
                carrier.call(AGENT) as call,
            ):
                if by != "waiting":
                    await call.say(WORDS)
                    await client.asked()
                await client.kill()
                killed = trio.current_time()
                if by == "waiting":
                    await call.say(WORDS)
                token = await call.next_token()
                if token.preemptible:
                    raise EchoFailed("the relay did not notice that its client was killed, and told the caller to wait")
                return token.at - killed

        yield by_stopwatch(kill, times=KILLS)


# ── the table ───────────────────────────────────────────────────────────────────────────────────────────────────────

ROWS = {
    row.name: row
    for row in (
        Row("state_machine", "turn: words, 2 pieces, end, 2 played", lambda _: nullcontext(state_machine())),
        Row("call_actor", "turn over a line in memory", call_actor),
        Row("frame_parse", "frame", lambda _: nullcontext(frame_parse())),
        Row("frame_encode", "frame", lambda _: nullcontext(frame_encode())),
        Row("speech_plain", "token of plain prose", lambda _: nullcontext(speech(PROSE))),
        Row("speech_markdown", "token of markdown", lambda _: nullcontext(speech(MARKDOWN))),
        Row("waiting_message", "message left, fetched, confirmed; SQLite", waiting_message),
        Row("journal_1", "words held and released; SQLite", partial(held_words, 1)),
        Row("journal_100", "the same, 100 calls at once", partial(held_words, 100)),
        Row("sampling", "turn over SSE; both ends in this process", sampling),
        Row("webhooks", "call announced, then over: 2 signed requests to `relay serve`", webhooks),
        Row("whole_turn", f"turn in `relay serve`, {CALLS} calls; kB: idle call", whole_turn, rounds=1, share=3),
        Row("first_word_sse", "client's first piece, until the caller hears it", partial(first_word, "sse")),
        Row("first_word_mcp", "the same over Streamable HTTP", partial(first_word, "mcp")),
        Row(
            "killed_sse", "asked client killed, until the next rung", partial(lost_client, "sse", "sampling"), rounds=1
        ),
        Row("killed_mcp", "the same over Streamable HTTP", partial(lost_client, "mcp", "sampling"), rounds=1),
        Row("killed_tool_sse", "the same, words from a turn tool", partial(lost_client, "sse", "converse"), rounds=1),
        Row("killed_tool_mcp", "the same over Streamable HTTP", partial(lost_client, "mcp", "converse"), rounds=1),
        Row(
            "killed_waiting", "tool call that waits killed, and words", partial(lost_client, "mcp", "waiting"), rounds=1
        ),
    )
}


def table_of(results: Iterable[dict[str, Any]]) -> Table:
    """Return the results as a table for people."""
    table = Table(box=SIMPLE_HEAD, title="What a unit costs", caption="Compare ratios of one run, not microseconds.")
    table.add_column("row", no_wrap=True)
    table.add_column("unit")
    for title in ("CPU µs", "p50 µs", "p99 µs", "ratio", "kB"):
        table.add_column(title, justify="right", no_wrap=True)
    for each in results:
        figures = (each[key] for key in ("cpuUs", "p50Us", "p99Us", "ratio", "kb"))
        table.add_row(each["name"], each["unit"], *map(figure, figures))
    return table


def figure(value: float | None) -> str:
    """Return a number as people read it."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def causes(group: BaseExceptionGroup[Exception]) -> str:
    """Return what went wrong, without the nurseries it went through."""
    inner = (
        causes(each) if isinstance(each, BaseExceptionGroup) else str(each) or type(each).__name__
        for each in group.exceptions
    )
    return "; ".join(inner)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, metavar="NAME", type=click.Choice(list(ROWS)), help="Only this row; repeatable.")
@click.option("--seconds", default=SECONDS, show_default=True, type=SPAN, help="Measure each row for so long.")
@click.option("--quick", is_flag=True, help=f"The same as --seconds {QUICK_SECONDS}.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
@click.pass_context
def main(context: click.Context, only: tuple[str, ...], seconds: float, quick: bool, as_json: bool) -> None:
    """Measure what the relay's parts cost, and print a table; or, with a command, what a whole daemon does."""
    if context.invoked_subcommand is not None:
        return
    logs.configure(logging.WARNING)
    progress = Console(stderr=True, highlight=False)
    results = []
    for row in ROWS.values():
        if only and row.name not in only:
            continue
        progress.print(f"{row.name} …")
        try:
            results.append(trio.run(measure, row, QUICK_SECONDS if quick else seconds))
        except* (DaemonFailed, EchoFailed, WebhookFailed, httpx2.HTTPError, OSError, trio.TooSlowError) as group:
            raise click.ClickException(f"{row.name}: {causes(group)}") from group
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        Console().print(table_of(results))


for command in (turns, memory, history, soak, profile, tail, console):
    main.add_command(command)

if __name__ == "__main__":
    main()
