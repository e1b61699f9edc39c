"""`relay attach` and a whole daemon: a program, Claude and nobody behind a telephone that really rings."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio
from markdown_it import MarkdownIt

from relay.attach.backoff import Pauses
from relay.attach.claude_brain import open_claude_brain
from relay.attach.client_session import Session, attach, stay_attached
from relay.attach.command_brain import open_command_brain
from relay.attach.link import Transport
from relay.attach.turn import Brain
from relay.simulator.claude.stand_in import Behaviour, ClaudeStandIn, Reply, Say, serve_stand_in
from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.parties import Access, ask, calling, eventually, message_left, messages_of, register
from tests.forked_process import run_local_daemon, run_relay
from tests.relay.attach.attach_fakes import ANSWER_IN_TEXT, BY_THE_WORD, LIMIT, KeptReport, python

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[3] / "docs" / "attach.md"
pytestmark = pytest.mark.e2e

QUICK = Pauses(first=0.05, most=0.2, steady=60.0)

RELAY = [sys.executable, "-m", "relay"]

ALOUD = """
import json, sys

for line in sys.stdin:
    turn = json.loads(line)
    if turn["type"] == "turn":
        print(json.dumps({"turn": turn["turn"], "partial": "It is raining. "}))
        held = turn
    else:
        print(json.dumps({"turn": held["turn"], "partial": "Take an umbrella."}))
        print(json.dumps({"turn": held["turn"], "done": True}))
"""
"""Says its second sentence when it is handed a message, that is when the test wants it."""


@asynccontextmanager
async def attached(
    brain: AbstractAsyncContextManager[Brain],
    report: KeptReport,
    daemon: LocalDaemon,
    agent: Access,
    *,
    fetches: bool = False,
) -> AsyncIterator[Brain]:
    """Hold a brain at an agent's telephone for the length of the block."""
    with trio.fail_after(LIMIT):
        async with brain as thinking, trio.open_nursery() as nursery:
            session = Session(brain=thinking, report=report, fetches=fetches)
            nursery.start_soon(stay_attached, session, daemon.url, agent.token, Transport.SSE, QUICK)
            await report.wait_for("connected")
            yield thinking
            nursery.cancel_scope.cancel("the test is over")


def brain_of_the_page() -> str:
    """Give the program that docs/attach.md shows."""
    blocks = [each for each in MarkdownIt().parse(PAGE.read_text()) if each.type == "fence"]
    (program,) = [each.content for each in blocks if each.info == "python"]
    return program


async def test_the_ten_lines_of_the_page_hold_a_conversation(daemon: LocalDaemon, tmp_path: Path) -> None:
    """The example runs as it stands: three turns are answered, and SIGTERM ends it all with exit code 0."""
    agent = await register(daemon)
    brain = tmp_path / "brain.py"
    brain.write_text(brain_of_the_page())
    assert len(brain.read_text().splitlines()) == 10
    token = tmp_path / "token"
    token.write_text(f"{agent.token}\n")
    options = ["--url", daemon.url, "--token-file", str(token), "--command", f"{sys.executable} {brain}", "--json"]
    with trio.fail_after(LIMIT):
        process = await trio.lowlevel.open_process([*RELAY, "attach", *options], stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            assert json.loads(await process.stdout.receive_some())["event"] == "connected"
            async with calling(daemon, agent) as call:
                for words in ("Is it raining?", "And tomorrow?", "Thank you."):
                    assert await ask(call, words) == f"You said: {words}"
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        finally:
            process.kill()


async def test_a_piece_is_heard_before_the_program_is_done(daemon: LocalDaemon) -> None:
    """The caller hears the first sentence while the program does not know the second yet."""
    agent, report = await register(daemon), KeptReport()
    opening = open_command_brain(python(ALOUD), report)
    async with attached(opening, report, daemon, agent) as brain, calling(daemon, agent) as call:
        await call.say("How is the weather?")
        assert (await call.next_token()).text.strip() == "It is raining."
        await brain.take_message({"id": "go on"})
        assert (await call.hear()).text.strip() == "Take an umbrella."


async def test_a_program_that_dies_in_a_turn_leaves_the_caller_to_the_relay(daemon: LocalDaemon) -> None:
    """The relay takes over at once, the program is begun again, and the next call is answered."""
    agent, report = await register(daemon), KeptReport()
    async with attached(open_command_brain(python(BY_THE_WORD), report, QUICK), report, daemon, agent):
        async with calling(daemon, agent) as call:
            assert "nobody is available" in await ask(call, "Please die.")
        await report.wait_for("program")
        async with calling(daemon, agent) as call:
            assert await ask(call, "Hello again.") == "You said: Hello again."
    assert [each["why"] for each in report.of("refused")] == ["the program has ended"]


async def test_a_daemon_that_was_restarted_is_found_again(tmp_path: Path) -> None:
    """Attached once, the brain answers through a stop and a start of the relay."""
    report = KeptReport()
    async with run_local_daemon(tmp_path) as first:
        agent = await register(first)
        port = int(first.url.rpartition(":")[2])
        async with attached(open_command_brain(python(ANSWER_IN_TEXT), report), report, first, agent):
            await first.stop()
            await report.wait_for("lost")
            async with run_local_daemon(tmp_path, port=port) as second:
                await report.wait_for("connected", times=2)
                async with calling(second, agent) as call:
                    assert await ask(call, "Hello?") == "You said: Hello?"


async def test_a_waiting_message_is_handed_over_and_confirmed(daemon: LocalDaemon) -> None:
    """What was left while nobody was there reaches the program, and only then counts as read."""
    agent, report = await register(daemon), KeptReport()
    async with calling(daemon, agent) as call:
        await ask(call, "The parcel is here.")
    left = await message_left(daemon, agent)
    code = "import sys\nfor line in sys.stdin: print(line)"  # what it prints is nobody's answer, and told as such
    async with attached(open_command_brain(python(code), report), report, daemon, agent, fetches=True):
        assert (await report.wait_for("confirmed"))["id"] == left.id
        await report.wait_for("bad_line")

        async def acknowledged() -> bool:
            return [each.status.value for each in await messages_of(daemon, agent)] == ["acknowledged"]

        await eventually(acknowledged)
    assert report.of("message")[0]["body"] == "The parcel is here."


async def test_two_calls_at_once_keep_their_answers(daemon: LocalDaemon) -> None:
    """A call whose turn takes for ever holds up no other, and each caller hears the answer to their own words."""
    agent, report = await register(daemon), KeptReport()
    async with attached(open_command_brain(python(BY_THE_WORD), report), report, daemon, agent):
        async with calling(daemon, agent) as one, calling(daemon, agent) as two:
            assert await ask(one, "I am one.") == "You said: I am one."
            await one.say("Now wait.")
            await report.wait_for("turn", times=2)
            assert await ask(two, "I am two.") == "You said: I am two."
        await report.wait_for("withdrawn")


async def test_claude_answers_sentence_by_sentence(daemon: LocalDaemon) -> None:
    """With Claude as the brain the caller hears its first sentence while it streams the second."""
    agent, report = await register(daemon), KeptReport()
    answer = Behaviour(
        rule=lambda _request: Reply(Say("It is Tuesday. Anything else?")), breaks="stall", breaks_after=4
    )
    async with trio.open_nursery() as nursery:
        stand_in: ClaudeStandIn = await nursery.start(lambda **given: serve_stand_in(behaviour=answer, **given))
        brain = open_claude_brain(model="claude-test", api_key="test", base_url=stand_in.url)
        async with attached(brain, report, daemon, agent), calling(daemon, agent) as call:
            await call.say("Which day is it?")
            assert (await call.next_token()).text.strip() == "It is Tuesday."
            await call.hang_up()
            await report.wait_for("withdrawn")
        nursery.cancel_scope.cancel("the test is over")


async def test_leaving_ends_it_all(daemon: LocalDaemon) -> None:
    """A brain that has had enough, such as a person who presses Ctrl-D, ends the attachment."""
    agent, report = await register(daemon), KeptReport()
    leaving: list[Callable[[], None]] = []

    @asynccontextmanager
    async def open_brain(leave: Callable[[], None]) -> AsyncIterator[Brain]:
        leaving.append(leave)
        async with open_command_brain(python(ANSWER_IN_TEXT), report) as brain:
            yield brain

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await attach(
                    open_brain, report, url=daemon.url, token=agent.token, transport=Transport.SSE, fetches=False
                )

            nursery.start_soon(run)
            await report.wait_for("connected")
            leaving[0]()


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (["--command", "no-such-program"], 1, "no-such-program cannot be run"),
        (["--command", sys.executable, "--claude"], 2, "not both"),
        (["--model", "m"], 2, "--model is for --claude"),
        (["--claude"], 1, "ANTHROPIC_API_KEY"),
        (["--url", "http://127.0.0.1:1/sse"], 2, "origin"),
        (["--token", ""], 2, "give the agent's token"),
        (["--token", "two words"], 2, "no token"),
    ],
)
async def test_wrong_usage_says_what_is_wrong(
    options: list[str], code: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot work is told on standard error before anything is connected to."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    done = await run_relay([*RELAY, "attach", "--token", "t", *options])
    assert (done.returncode, done.stdout) == (code, b"")
    assert why in done.stderr.decode()


async def test_a_refused_token_ends_the_command(daemon: LocalDaemon) -> None:
    """The command says that the token is refused, and what to do, and exits with 1."""
    options = ["--url", daemon.url, "--token", "wrong", "--command", f"{sys.executable} -c pass"]
    with trio.fail_after(LIMIT):
        done = await run_relay([*RELAY, "attach", *options])
    assert done.returncode == 1
    assert "refused the token (401)" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
