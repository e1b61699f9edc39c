"""`relay top` and `relay tail` beside a call: in a terminal, in a pipe, from elsewhere, and where they are refused."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from relay.cli.watching.call_tail import Entry
from relay.cli.watching.console_api import console_api
from relay.cli.watching.entrance import Entrance
from relay.cli.watching.following import Wanted, follow
from relay.simulator.carrier.callee import Answers, Unanswered
from relay.simulator.load.local_daemon import LocalDaemon
from relay.store.operator_actions import OperatorActions
from tests.e2e.browser import OperatorAccess, register_operator
from tests.e2e.calling_out import HUMAN, Outside, transfer
from tests.e2e.parties import Access, ask, calling, connected, database_of, eventually, metrics, own_url, register
from tests.forked_process import run_relay, settings_in

SECONDS = 110
PLANTED = "\x1b[31mred\x1b]0;title\x07 \u202ebidi\u200b [bold]markup[/]"


def environment(**settings: str) -> dict[str, str]:
    """Give the environment of a user who has set nothing else."""
    foreign = ("TWILIO_", "RELAY_", "DATABASE_URL", "PUBLIC_URL", "COMMS_", "ANTHROPIC_", "NO_COLOR", "TMUX")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"TERM": "xterm-256color", "LANG": "C.UTF-8"} | settings


async def run(directory: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its output in a pipe."""
    command = [sys.executable, "-m", "relay", *words]
    done = await run_relay(command, cwd=directory, env=environment(**settings_in(directory), **settings))
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


# ── in a terminal ───────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen
class Tmux:
    """A terminal of 120 columns with a command in it."""

    socket: str
    directory: Path

    async def tell(self, *words: str) -> str:
        done = await trio.run_process(
            ["tmux", "-L", self.socket, "-f", "/dev/null", *words],
            cwd=self.directory,
            env=environment(**settings_in(self.directory)),
            capture_stdout=True,
        )
        return done.stdout.decode()

    async def press(self, *keys: str) -> None:
        await self.tell("send-keys", *keys)

    async def until(self, *wanted: str, without: str = "\0") -> str:
        """Wait until all of this is shown, and that is not; return what is."""
        shown = ""
        with trio.move_on_after(SECONDS / 2):
            while not all(each in shown for each in wanted) or without in shown:
                await trio.sleep(0.2)
                shown = await self.tell("capture-pane", "-p", "-S", "-100")
        assert all(each in shown for each in wanted), f"{wanted} is not shown in:\n{shown}"
        assert without not in shown, f"{without} is shown in:\n{shown}"
        return shown


@asynccontextmanager
async def terminal(directory: Path, *words: str) -> AsyncIterator[Tmux]:
    """Run a command of the relay in tmux for the length of the block; its exit status is shown at its end."""
    if shutil.which("tmux") is None:
        pytest.skip("Install tmux to run the tests of terminals")
    tmux = Tmux(f"relay-test-{secrets.token_hex(4)}", directory)
    command = shlex.join([sys.executable, "-m", "relay", *words])
    await tmux.tell("new-session", "-d", "-x", "120", "-y", "30", f"{command}; echo ended with $?; sleep 600")
    try:
        yield tmux
    finally:
        with trio.move_on_after(10, shield=True):
            await tmux.tell("kill-server")


async def test_top_and_tail_beside_a_call(daemon: LocalDaemon, agent: Access, operator: OperatorAccess) -> None:
    """The call is in the list, opens, and grows in place; its lines come beside it, as text; both end well."""
    own = ("--as", operator.name)
    with trio.fail_after(SECONDS):
        async with connected(agent), calling(daemon, agent, caller="+15550147123") as call:
            await call.connected()
            async with (
                terminal(daemon.directory, "top", *own) as top,
                terminal(daemon.directory, "tail", call.call_sid.removeprefix("CA")[:12], *own) as tail,
            ):
                await top.until("+15550147123", " client session", "Filter")
                await top.press("/0147123", "Enter")
                # Where there is more to say of the calls, the line with the filter goes on in the next one.
                await top.until("filter:", "0147123", "+15550147123")
                await top.press("Enter")
                await top.until("1 Conversation", call.call_sid)
                await tail.until("a call from +15550147123")
                await ask(call, f"Is it raining? {PLANTED}")
                await top.until("caller: Is it raining?", "client: You said: Is it raining?")
                lines = await tail.until("caller: Is it raining?", "client: You said: Is it raining?")
                assert "[31mred ]0;title" in lines
                assert "[bold]markup[/]" in lines
                assert "\x1b" not in lines
                await top.press("3")
                await top.until("The caller said")
                await call.hang_up()
                await tail.until("ended: the other party hung up", "ended with 0")
                await top.until("over: the other party hung up")
                await top.press("q")
                await top.until("ended with 0")


async def test_what_is_done_in_a_terminal(daemon: LocalDaemon, agent: Access, operator: OperatorAccess) -> None:
    """Said, taken, handed back, not transferred, hung up: the caller hears it, and it is on record."""
    with trio.fail_after(SECONDS):
        async with connected(agent), calling(daemon, agent, caller="+15550147125") as call:
            await call.connected()
            async with terminal(daemon.directory, "top", "--as", operator.name) as top:
                await top.until("+15550147125")
                await top.press("/0147125", "Enter")
                await top.until("filter:", "0147125", "+15550147125")
                await top.press("Enter")
                await top.until(call.call_sid, "Take over")
                # In one go: what follows the key is the line, and no command.
                await top.press("sThis is txh.", "Enter")
                assert (await call.hear()).text == "This is txh."
                await top.press("Escape")
                await top.until("Take over")
                await top.press("t")
                await top.until("At the next pause")
                await top.press("Enter")
                await top.until("The call is yours at its next pause.", "Hand back", f"operator {operator.name}")
                await call.say("Who is there?")
                await top.press("sA person.", "Enter")
                assert (await call.hear()).text == "A person."
                await top.press("Escape")
                await top.until("Hand back")
                await top.press("t")
                await top.until("The call is handed back.", "Take over")
                await top.press("x112", "Enter")
                await top.until("This number must not be dialled.", "emergency_number")
                await top.press("Escape")
                await top.until("Hang up", without="Transfer this call")
                await top.press("h")
                await top.until("Hang up now")
                await top.press("Up", "Goodbye.", "Down", "Down", "Enter")
                assert (await call.hear()).text == "Goodbye."
                await call.wait_ended()
                await top.until("over: we hung up")
        async with database_of(daemon) as database:
            newest = await OperatorActions(database).list(call_sid=call.call_sid)
    done = [(each.action.operator, each.action.name, each.outcome) for each in reversed(newest)]
    names = ["say", "take_over", "say", "hand_back", "hang_up"]
    assert done == [(operator.name, each, "done") for each in names]


async def test_ctrl_c_ends_it_and_its_session(daemon: LocalDaemon, operator: OperatorAccess) -> None:
    """With the exit status that shells expect; the record has when the session began and ended, and how."""
    with trio.fail_after(SECONDS):
        before = (await metrics(daemon))["relay_console_streams"]
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "relay", "tail", "--as", operator.name],
            cwd=daemon.directory,
            env=environment(**settings_in(daemon.directory)),
            # A shell has what it runs in the background ignore SIGINT, and so do its children.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        try:
            async with database_of(daemon) as database:
                record = OperatorActions(database)

                async def has_begun() -> bool:
                    newest = await record.list(operator=operator.name, call_sid=None, limit=1)
                    return newest[0].action.name == "sign_in"

                async def is_followed() -> bool:
                    return (await metrics(daemon))["relay_console_streams"] > before

                await eventually(has_begun)
                await eventually(is_followed)  # an interrupt in the middle of an import may get lost
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 130
                newest = await record.list(operator=operator.name, call_sid=None, limit=2)
        finally:
            process.kill()
    assert [(each.action.name, each.action.detail) for each in newest] == [("sign_out", ""), ("sign_in", "terminal")]


# ── in a pipe, and from elsewhere ───────────────────────────────────────────────────────────────────────────────────


async def test_in_a_pipe(daemon: LocalDaemon, agent: Access, operator: OperatorAccess, tmp_path: Path) -> None:
    """One plain table, or JSON; from elsewhere with a token, where no database is."""
    own = ("--as", operator.name)
    elsewhere = {"RELAY_OPERATOR_TOKEN": operator.token}
    with trio.fail_after(SECONDS):
        async with connected(agent), calling(daemon, agent, caller="+15550147124") as call:
            await call.connected()
            await ask(call, "Is it raining?")
            table = await run(daemon.directory, "top", *own)
            document = await run(tmp_path, "top", "--url", own_url(daemon), "--json", **elsewhere)
            lines = await run(tmp_path, "tail", call.call_sid, "--no-follow", "--url", own_url(daemon), **elsewhere)
            objects = await run(daemon.directory, "tail", "--agent", agent.agent_id, "--no-follow", "--json", *own)
    assert (table.returncode, document.returncode, lines.returncode, objects.returncode) == (0, 0, 0, 0)
    assert "\x1b" not in table.stdout + lines.stdout
    (shown,) = [line for line in table.stdout.splitlines() if "+15550147124" in line]
    assert shown.startswith(call.call_sid.removeprefix("CA")[:8])
    assert "client" in shown
    found = json.loads(document.stdout)["calls"]
    assert [each["from"] for each in found if each["callSid"] == call.call_sid] == ["+15550147124"]
    assert "client: You said: Is it raining?" in lines.stdout
    told = [json.loads(line) for line in objects.stdout.splitlines()]
    assert {each["callSid"] for each in told} == {call.call_sid}
    assert ("caller", "Is it raining?") in [(each.get("speaker"), each["text"]) for each in told]


@attrs.frozen
class Told:
    """A report of `relay tail` for a test to wait on."""

    entries: list[Entry] = attrs.field(factory=list)

    def tell(self, entry: Entry) -> None:
        self.entries.append(entry)

    def lost(self, why: str) -> None:
        raise AssertionError(why)

    @property
    def steps(self) -> list[tuple[str, str]]:
        """What became of the call."""
        return [(each.kind, each.text) for each in self.entries if each.kind in {"begun", "away", "back", "ended"}]

    async def until(self, kind: str) -> None:
        """Wait until the newest step is of a kind."""

        async def is_told() -> bool:
            await trio.lowlevel.checkpoint()
            return bool(self.steps) and self.steps[-1][0] == kind

        await eventually(is_told)

    async def until_note(self, part: str) -> None:
        """Wait until a note that holds these words is told."""

        async def is_told() -> bool:
            await trio.lowlevel.checkpoint()
            return any(each.is_note and part in each.text for each in self.entries)

        await eventually(is_told)


async def test_a_call_that_is_transferred(outside: Outside, dialling_agent: Access) -> None:
    """The tail says that the call is away, goes on when it is back, and ends when it is over; so does a late one."""
    operator, told, told_late = await register_operator(outside.daemon), Told(), Told()
    entrance = Entrance(own_url(outside.daemon), {"Authorization": f"Bearer {operator.token}"})
    outside.rest.callee(HUMAN, Unanswered("no-answer", after=1.0))
    async with connected(dialling_agent) as client, outside.carrier.call(dialling_agent.agent_id) as call:
        await ask(call, "I want a human.")
        async with console_api(entrance) as api, trio.open_nursery() as nursery:
            nursery.start_soon(follow, api, Wanted(call=call.call_sid), told)
            await told.until("begun")
            await transfer(client, call)
            await told.until("away")
            page = (await api.http.get(f"/console/calls/{call.call_sid}")).text
            nursery.start_soon(follow, api, Wanted(call=call.call_sid), told_late)
            await told_late.until("away")
            await told.until("back")
            await told.until_note("not answered")  # what is said while it is away is not told
            outside.rest.callee(HUMAN, Answers(talks=1.0))
            await transfer(client, call)
            await told.until("away")
            await call.wait_ended()
    assert "being transferred" in page
    assert "shown when the call is back" in page
    assert f"/console/stream?view=call&amp;call={call.call_sid}" in page  # by which it is live again
    away, back = ("away", "being transferred"), ("back", "the call goes on")
    for each in (told, told_late):
        assert each.steps[1:] == [away, back, away, ("ended", "transferred")]


async def test_what_is_refused_is_one_line(keyless_daemon: LocalDaemon, tmp_path: Path) -> None:
    """With what to do: no daemon, no token, a wrong one, a client's, an operator who is none, a call that is none.

    Of a daemon that is sent no wrong tokens by other tests: after some of them it answers with nothing else.
    """
    daemon, agent, operator = keyless_daemon, await register(keyless_daemon), await register_operator(keyless_daemon)
    there = ("--url", own_url(daemon))
    with trio.fail_after(SECONDS):
        refused = {
            "relay serve": await run(tmp_path, "top"),
            "RELAY_OPERATOR_TOKEN": await run(tmp_path, "tail", *there),
            "answered 401": await run(tmp_path, "top", *there, RELAY_OPERATOR_TOKEN="op_wrong"),
            "This is a client's token": await run(tmp_path, "tail", *there, RELAY_OPERATOR_TOKEN=agent.token),
            "relay operators list": await run(daemon.directory, "top", "--as", "nobody"),
            "Nobody answers": await run(
                tmp_path, "tail", "--url", "http://127.0.0.1:1", RELAY_OPERATOR_TOKEN=operator.token
            ),
            "relay top --once": await run(daemon.directory, "tail", "ffffffff", "--as", operator.name),
        }
    for words, done in refused.items():
        assert done.returncode == 1
        assert words in done.stderr
        assert len([line for line in done.stderr.splitlines() if line.startswith("Error: ")]) == 1
        assert "Traceback" not in done.stderr
