"""`relay call` as it is used: at a terminal, with a script, and where nobody answers."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from relay.attach.answer_lines import read_some
from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.parties import AiClient, Turn, connected, message_left, register, repeat
from tests.forked_process import run_relay, settings_in

SECONDS = 110


def environment(**settings: str) -> dict[str, str]:
    """Give the environment of a user who has set nothing else."""
    foreign = ("TWILIO_", "RELAY_", "DATABASE_URL", "PUBLIC_URL", "COMMS_", "ANTHROPIC_", "NO_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"} | settings


def command(agent_id: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "relay", "call", agent_id, *options]


async def script(
    directory: Path, agent_id: str, lines: str, *options: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Pipe lines into `relay call`; return what it printed and its exit status."""
    words = command(agent_id, *options)
    given = settings_in(directory) | settings
    done = await run_relay(words, stdin=lines.encode(), cwd=directory, env=environment(**given))
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def events_in(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


# ── at a terminal ───────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.define(eq=False)
class Terminal:
    """A terminal with a command in it, and what was shown in it, without colours: `shown` in whole lines."""

    process: trio.Process
    _master: int
    _shown: bytes = b""

    @property
    def folded(self) -> str:
        return re.sub(rb"\x1b(\[[0-9;?]*[A-Za-z]|[=>])|\r", b"", self._shown).decode(errors="replace")

    @property
    def shown(self) -> str:
        return re.sub(r" *\n {8}", " ", self.folded)

    async def until(self, wanted: str, *, times: int = 1) -> None:
        """Read on until this has been shown so often."""
        # An OSError is how Linux says that the other side has closed it.
        with trio.move_on_after(SECONDS / 2), suppress(OSError):
            while self.shown.count(wanted) < times:
                self._shown += await read_some(self._master)
        assert self.shown.count(wanted) >= times, f"{wanted!r} was not shown in {self.shown!r}"

    def enter(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    async def press_until_over(self, key: str) -> None:
        """Press a key again and again: between two prompts the terminal itself takes it, as for any program."""
        while self.process.returncode is None:
            with suppress(OSError):
                self.enter(key)
            await trio.sleep(0.5)

    async def exit_status(self) -> int:
        """Read on until the command has ended; return its status."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_on)
            status = await self.process.wait()
            nursery.cancel_scope.cancel()
        return status

    async def _read_on(self) -> None:
        with suppress(OSError):
            while True:
                self._shown += await read_some(self._master)


def take_terminal() -> None:
    """Let standard input be the terminal of this process, so that Ctrl-C in it is its signal."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@asynccontextmanager
async def terminal(directory: Path, words: list[str]) -> AsyncIterator[Terminal]:
    """Run a command in a terminal of 100 columns for as long as the block lasts."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = await trio.lowlevel.open_process(
        words,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=directory,
        env=environment(**settings_in(directory)),
        preexec_fn=take_terminal,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        with trio.move_on_after(10, shield=True):
            await process.wait()
        os.close(master)


async def test_a_conversation_at_the_keyboard(keyless_daemon: LocalDaemon) -> None:
    """Words are answered, Enter and new words interrupt, keys are pressed, and Ctrl-D hangs up, with exit status 0."""
    with trio.fail_after(SECONDS):
        agent = await register(keyless_daemon)
        async with (
            connected(agent),
            terminal(keyless_daemon.directory, command(agent.agent_id, "--pace", "100")) as user,
        ):
            await user.until("Hello, how can I help you today?")
            user.enter("Which day is it?\r")
            await user.until("You said: Which day is it?")
            user.enter("Tell me " + "a long story " * 40 + "\r")
            await user.until("relay  …")
            await trio.sleep(0.5)  # fifty characters of five hundred, or more on a busy machine
            before = user.shown.count("you interrupted here")
            user.enter("\r")
            await user.until("you interrupted here", times=before + 1)
            user.enter("/keys 12#\r")
            await user.until("You said: 12")
            user.enter("7\r")
            await user.until("You said: 7")
            user.enter("/nonsense\r")
            await user.until("/keys 12#", times=2)
            async with trio.open_nursery() as pressing:
                pressing.start_soon(user.press_until_over, "\x04")
                status = await user.exit_status()
                pressing.cancel_scope.cancel()
    assert status == 0
    assert "You hung up." in user.shown
    assert "Traceback" not in user.shown


@pytest.mark.parametrize("leave", ["\x03", "SIGTERM"])
async def test_ways_to_hang_up(keyless_daemon: LocalDaemon, leave: str) -> None:
    """Ctrl-C and SIGTERM put the phone down, in one line and with exit status 0."""
    with trio.fail_after(SECONDS):
        agent = await register(keyless_daemon)
        async with connected(agent), terminal(keyless_daemon.directory, command(agent.agent_id)) as user:
            await user.until("you  ")
            await user.until("Hello, how can I help you today?")
            if leave == "SIGTERM":
                user.process.send_signal(signal.SIGTERM)
            else:
                user.enter(leave)
            assert await user.exit_status() == 0
    assert "You hung up." in user.shown
    assert "Traceback" not in user.shown


async def test_long_lines_are_folded_between_words(keyless_daemon: LocalDaemon) -> None:
    """At a terminal no word is broken, and what is said goes on below its own beginning."""
    story = "Tell me of the lighthouse keeper who answered the telephone for everybody in the village, every night."
    with trio.fail_after(SECONDS):
        agent = await register(keyless_daemon)
        async with connected(agent), terminal(keyless_daemon.directory, command(agent.agent_id, "--pace", "0")) as user:
            await user.until("Hello, how can I help you today?")
            user.enter(f"{story}\r")
            await user.until(f"You said: {story}")
            assert f"You said: {story}" not in user.folded
            user.enter("\x04")
            assert await user.exit_status() == 0


@pytest.mark.skipif(shutil.which("tmux") is None, reason="Install tmux to try the command in a terminal of its own")
async def test_in_a_window_of_tmux(keyless_daemon: LocalDaemon, tmp_path: Path) -> None:
    """In a real terminal: said, answered, interrupted, keys pressed, hung up; planted escapes are shown as text."""

    async def tmux(*words: str) -> str:
        done = await trio.run_process(["tmux", "-S", str(tmp_path / "tmux"), *words], capture_stdout=True)
        return done.stdout.decode()

    async def shows(text: str) -> None:
        while text not in " ".join((await tmux("capture-pane", "-p", "-S", "-200")).split()):  # noqa: ASYNC110
            await trio.sleep(0.1)

    async def enter(line: str) -> None:
        await tmux("send-keys", "-l", line)
        await tmux("send-keys", "Enter")

    async def answer(turn: Turn) -> str:
        planted = "\x1b]0;title\x07\u202e\u200b" if "plant" in turn.words else ""
        return f"{planted}You said: {turn.words}"

    settings = [f"{name}={value}" for name, value in environment(**settings_in(keyless_daemon.directory)).items()]
    words = shlex.join(["env", "-i", *settings, *command("AGENT", "--pace", "60")])
    with trio.fail_after(SECONDS):
        agent = await register(keyless_daemon)
        async with connected(agent, answer):
            line = (
                f"cd {keyless_daemon.directory} && {words.replace('AGENT', agent.agent_id)}; echo status=$?; sleep 60"
            )
            await tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "40", line)
            try:
                await shows("Hello, how can I help you today?")
                await enter("Now plant it.")
                await shows("You said: Now plant it.")
                assert "title" not in await tmux("display-message", "-p", "#{pane_title}")
                await enter("A story: " + "on and on " * 40)
                await shows("relay …")
                await trio.sleep(0.5)  # thirty characters of four hundred, or more on a busy machine
                await enter("")
                await shows("you interrupted here")
                await enter("/keys 12#")
                await shows("[12#]")
                await enter("/hang-up")
                await shows("You hung up.")
                await shows("status=0")
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                    await tmux("kill-server")


# ── with a script ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_script_waits_for_each_answer(keyless_daemon: LocalDaemon) -> None:
    """Each line is said when the one before has been answered; the last needs no newline; the end hangs up."""
    with trio.fail_after(SECONDS):
        agent = await register(keyless_daemon)
        async with connected(agent):
            done = await script(keyless_daemon.directory, agent.agent_id, "Hello?\n\n/keys 42#\n/wrong\nAnd\ttomorrow?")
            told = await script(keyless_daemon.directory, agent.agent_id, "Hello?\n/hangup\nNever said.\n", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    spoken = [
        line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip().startswith(("you ", "relay "))
    ]
    assert spoken == [
        ["relay", "Hello, how can I help you today?"],
        ["you", "Hello?"],
        ["relay", "You said: Hello?"],
        ["you", "[42#]"],
        ["relay", "You said: 42"],
        ["you", "And tomorrow?"],
        ["relay", "You said: And tomorrow?"],
    ]
    events = events_in(told)
    kinds = [each["event"] for each in events if each["event"] != "piece"]
    assert kinds == ["ringing", "connected", "greeting", "heard", "said", "heard", "ended"]
    pieces = [each["text"] for each in events if each["event"] == "piece" and not each["filler"]]
    assert "".join(pieces).strip() == "You said: Hello?"
    assert events[-1] == {"event": "ended", "by": "you", "answered": True, "why": ""}


async def test_a_client_that_dies_in_mid_turn(daemon: LocalDaemon) -> None:
    """The caller sees that the answering machine takes over; the client finds the message when it is back."""
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            agent = await register(daemon)
            dying = trio.Event()

            async def die(_turn: Turn) -> str:
                dying.set()
                await trio.sleep_forever()
                raise AssertionError

            async def be_the_client() -> None:
                async with connected(agent, die):
                    ready.set()
                    await dying.wait()

            ready = trio.Event()
            nursery.start_soon(be_the_client)
            await ready.wait()
            words = "The parcel is here.\nPlease call me back after 8.\nNo, that is all. Goodbye.\n"
            done = await script(daemon.directory, agent.agent_id, words)
            await message_left(daemon, agent)
            async with connected(agent) as client:
                (message,) = await client.fetch()
            nursery.cancel_scope.cancel()
    assert done.returncode == 0, done.stderr
    assert "the answering machine has taken over" in done.stdout
    assert "The relay hung up." in done.stdout
    assert "parcel" in json.dumps(message)


async def passing_on(turn: Turn, clients: list[AiClient], agent_id: str) -> str:
    """Answer, and pass the caller on."""
    if "person" not in turn.words:
        return await repeat(turn)
    await clients[0].tool(
        "comms_transfer_call",
        agentId=agent_id,
        callSid=(turn.params.model_dump(by_alias=True).get("metadata") or {})["callSid"],
        to="+14155550177",
        announcementText="One moment, I connect you.",
    )
    return ""


async def test_a_transfer_that_is_answered(keyless_daemon: LocalDaemon) -> None:
    """The caller sees who rings and picks up, is told that nobody is there, and the other side ends the call."""
    with trio.fail_after(SECONDS):
        agent = await register(keyless_daemon, number="+14155550100")
        clients: list[AiClient] = []
        async with connected(agent, lambda turn: passing_on(turn, clients, agent.agent_id)) as client:
            clients.append(client)
            async with terminal(keyless_daemon.directory, command(agent.agent_id, "--pace", "0")) as user:
                await user.until("Hello, how can I help you today?")
                user.enter("A person, please.\r")
                await user.until("Connected to +14155550177.")
                user.enter("Are you a person?\r")
                await user.until("The relay does not listen now")
                status = await user.exit_status()
            calls = await client.tool("comms_list_calls", agentId=agent.agent_id)
    assert status == 0
    assert "One moment, I connect you." in user.shown
    assert "+14155550177 rings." in user.shown
    assert "The other side hung up." in user.shown
    assert [each["transfer"] for each in calls["calls"]] == [{"to": "+14155550177", "outcome": "answered"}]


@pytest.mark.parametrize("outcome", ["busy", "failed"])
async def test_a_transfer_that_comes_back(keyless_daemon: LocalDaemon, outcome: str) -> None:
    """The caller sees who rings, why nobody is there, and goes on talking with the client."""
    with trio.fail_after(SECONDS):
        agent = await register(keyless_daemon, number="+14155550100")
        clients: list[AiClient] = []
        async with connected(agent, lambda turn: passing_on(turn, clients, agent.agent_id)) as client:
            clients.append(client)
            done = await script(
                keyless_daemon.directory,
                agent.agent_id,
                "A person, please.\nStill there?\n",
                "--json",
                "--transfer",
                outcome,
            )
    events = events_in(done)
    assert done.returncode == 0, done.stderr
    assert [each["to"] for each in events if each["event"] == "dialling"] == ["+14155550177"]
    assert [each["status"] for each in events if each["event"] == "transfer_over"] == [outcome]
    assert "You said: Still there?" in [each["text"] for each in events if each["event"] == "heard"]


# ── where nobody answers ────────────────────────────────────────────────────────────────────────────────────────────


async def test_nobody_answered(keyless_daemon: LocalDaemon, tmp_path: Path) -> None:
    """Whatever is the reason, it is one line on standard error with what to do, and exit status 1."""

    def reason(done: subprocess.CompletedProcess[str]) -> str:
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("Error: ")
        return line

    daemon, home = keyless_daemon, keyless_daemon.directory
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    with trio.fail_after(SECONDS):
        agent = await register(daemon)
        assert "no client answers" in reason(await script(home, agent.agent_id, "Hello?\n"))
        assert "relay agents list" in reason(await script(home, "nobody", "Hello?\n"))
        wrong = await script(home, agent.agent_id, "", TWILIO_AUTH_TOKEN="another")
        assert "TWILIO_AUTH_TOKEN" in reason(wrong)
        assert "relay serve --local" in reason(await script(nowhere, agent.agent_id, ""))
        no_secret = await script(nowhere, agent.agent_id, "", "--url", daemon.url)
        assert "no secret" in reason(no_secret)
        with_secret = await script(
            nowhere, agent.agent_id, "", "--url", f"{daemon.url}/", TWILIO_AUTH_TOKEN=daemon.token
        )
        assert with_secret.returncode == 0
        assert "No daemon answers" in reason(await script(home, agent.agent_id, "", "--url", "http://127.0.0.1:1"))
    assert list(nowhere.iterdir()) == []
