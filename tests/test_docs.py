"""The documentation, held to what is so: links lead somewhere, snippets can be read, and the programs in it run.

README.md, docs/**.md ──markdown-it──▶ fences (json, yaml, python, sh, typescript), links, headings
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import trio
from markdown_it import MarkdownIt
from markdown_it.token import Token

from relay.cli.main import main
from relay.settings import OF_OPERATORS, Settings
from relay.store.message_record import MessageStatus
from scripts.demo_attach import brain_of_the_page
from tests.conformance.test_mcp_conformance import APPLY
from tests.e2e.parties import ask, calling, eventually, message_left, messages_of, register
from tests.forked_process import run_local_daemon
from tests.mcp_clients import CLIENTS, TYPESCRIPT_2, prepare

REPOSITORY = Path(__file__).parents[1]
_AT_THE_TOP = [REPOSITORY / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md")]
PAGES = [*_AT_THE_TOP, *sorted((REPOSITORY / "docs").rglob("*.md"))]
LIMIT = 90


class Fence(NamedTuple):
    """A block of code on a page, and the line that it begins in."""

    page: Path
    line: int
    text: str


@cache
def tokens_of(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text())


def fences(language: str) -> list[Any]:
    """Give the blocks of one language on all pages, each as a case of a test."""
    found = [
        Fence(page, (token.map or [0])[0] + 1, token.content)
        for page in PAGES
        for token in tokens_of(page)
        if token.type == "fence" and token.info == language
    ]
    return [pytest.param(each, id=f"{each.page.name}:{each.line}") for each in found]


def fence_after(page: str, heading: str, language: str) -> str:
    """Give the first block of a language below a heading."""
    tokens = tokens_of(REPOSITORY / "docs" / page)
    start = next(i for i, each in enumerate(tokens) if each.type == "inline" and each.content == heading)
    return next(each.content for each in tokens[start:] if each.type == "fence" and each.info == language)


# ── snippets ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fence", fences("json"))
def test_json_can_be_pasted(fence: Fence) -> None:
    """What is shown as JSON is one document or several, one after the other."""
    unread = fence.text.strip()
    while unread:
        _document, end = json.JSONDecoder().raw_decode(unread)
        unread = unread[end:].lstrip()


@pytest.mark.parametrize("fence", fences("yaml"))
def test_yaml_can_be_pasted(fence: Fence) -> None:
    """What is shown as YAML is a mapping."""
    yaml = importlib.import_module("yaml")  # it has no types of its own
    assert isinstance(yaml.safe_load(fence.text), dict)


@pytest.mark.parametrize("fence", fences("python"))
def test_python_compiles(fence: Fence) -> None:
    """What is shown as Python is Python."""
    compile(fence.text, f"{fence.page.name}:{fence.line}", "exec")


def command_lines(fence: Fence) -> Iterator[list[str]]:
    """Give the words of each `relay` command in a block; brackets around what may be left out are taken off."""
    for line in fence.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.replace("[", "").replace("]", ""), comments=True)
        if words and words[0] in {"relay", ".venv/bin/relay"}:
            yield words[1:]


@pytest.mark.parametrize("fence", fences("sh"))
def test_commands_exist(fence: Fence) -> None:
    """Each `relay` command that is shown is one, with options that it has."""
    for words in command_lines(fence):
        command: click.Command = main
        for word in words:
            if not isinstance(command, click.Group):
                break
            inner = command.get_command(click.Context(command), word)
            assert inner is not None, words
            command = inner
        options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= options, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_exist(page: Path) -> None:
    """Each setting that is named is one: an unknown name would keep the daemon from starting."""
    known = {*OF_OPERATORS, *(name.upper() for name in Settings.model_fields)}
    assert set(re.findall(r"\bRELAY_[A-Z]+(?:_[A-Z]+)*\b", page.read_text())) <= known


# ── what a page names ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_tests_exist(page: Path) -> None:
    """Each file of ours that a page names is there, and each test that it names is in its file."""
    named = re.findall(r"`((?:actors|relay|scripts|tests|docs|deploy)/[\w./]+)(?:::(\w+))?`", page.read_text())
    missing = [name for name, _ in named if not (REPOSITORY / name).exists()]
    assert missing == []
    assert [test for name, test in named if test and f"def {test}(" not in (REPOSITORY / name).read_text()] == []


# ── links ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def anchors(page: Path) -> set[str]:
    """Give the anchors of a page's headings, as GitHub makes them."""
    tokens = tokens_of(page)
    headings = [tokens[i + 1].content for i, each in enumerate(tokens) if each.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, REPOSITORY / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A link within the repository leads to a file that is there, and to a heading in it."""
    inline = [each for token in tokens_of(page) for each in token.children or []]
    for target in [str(each.attrs["href"]) for each in inline if each.type == "link_open"]:
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_what_is_said_to_conform_does() -> None:
    """Each scenario of the conformance suite that docs/conformance.md names as passing is one that must pass."""
    page = (REPOSITORY / "docs" / "conformance.md").read_text()
    table = page.partition("**What passes**")[2].partition("**What cannot pass")[0]
    named = {name for line in table.splitlines() for name in re.findall(r"`([a-z0-9-]+)`", line.partition(" | ")[0])}
    assert named <= APPLY, named - APPLY


# ── programs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_demo_runs_the_program_of_the_page() -> None:
    """What `scripts/demo` runs behind `relay attach` is what docs/attach.md shows."""
    assert brain_of_the_page() == fence_after("attach.md", "Ten lines of Python", "python")


def python_program(directory: Path) -> list[str]:
    """Save the Python program of docs/setup.md; it asks for messages every moment, so that the test need not wait."""
    program = fence_after("setup.md", "Your own program, in Python", "python")
    (directory / "brain.py").write_text(program.replace("sleep(15)", "sleep(0.2)").replace("sleep(2)", "sleep(0.2)"))
    return [sys.executable, str(directory / "brain.py")]


def typescript_program(directory: Path) -> list[str]:
    """Save the TypeScript program of docs/setup.md where it finds the SDK."""
    prepare(TYPESCRIPT_2)
    (directory / "node_modules").symlink_to(CLIENTS / "node_modules")
    (directory / "brain.mjs").write_text(fence_after("setup.md", "Your own program, in TypeScript", "typescript"))
    return ["node", str(directory / "brain.mjs")]


@asynccontextmanager
async def running(command: list[str], url: str, token: str) -> AsyncIterator[list[str]]:
    """Run a program for as long as the block lasts, and give the lines that it has printed."""
    lines: list[str] = []
    is_over = False
    environment = {**os.environ, "COMMS_URL": url, "COMMS_TOKEN": token}
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, env=environment)

    async def read() -> None:
        assert process.stdout is not None
        unread = b""
        async for chunk in process.stdout:
            *whole, unread = (unread + chunk).split(b"\n")
            lines.extend(line.decode() for line in whole)
        assert is_over, f"the program ended by itself, having printed {lines}"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        try:
            yield lines
        finally:
            is_over = True
            process.kill()
            with trio.move_on_after(5, shield=True):
                await process.wait()
            nursery.cancel_scope.cancel("the test is over")


async def has_printed(lines: list[str], *wanted: str) -> bool:
    """Tell whether each of these was printed, in a line of its own or in one with more."""
    await trio.lowlevel.checkpoint()
    return all(any(each in line for line in lines) for each in wanted)


async def until_answered(words: str, *parties: Any) -> None:
    """Call until a client answers: one that comes back after a restart tells nobody."""
    while True:
        async with calling(*parties) as call:
            if f"You said: {words}" in await ask(call, words):
                return
        await trio.sleep(0.1)


NEEDS_NODE = pytest.mark.skipif(
    os.environ.get("CI") != "true" and not (shutil.which("node") and shutil.which("npm")),
    reason="the TypeScript program needs node and npm, which are not installed",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "save", [python_program, pytest.param(typescript_program, marks=[pytest.mark.node, NEEDS_NODE])]
)
async def test_a_program_of_the_page_does_what_the_page_says(save: Any, tmp_path: Path) -> None:
    """It prints and confirms what was left, says a first sentence first, and comes back after a restart."""
    command = save(tmp_path)
    with trio.fail_after(LIMIT):
        async with run_local_daemon(tmp_path) as first:
            agent = await register(first)
            async with calling(first, agent) as call:
                await ask(call, "The parcel is here.")
            await message_left(first, agent)
            async with running(command, first.url, agent.token) as lines:
                await eventually(partial(has_printed, lines, "connected", ": The parcel is here."))
                async with calling(first, agent) as call:
                    await call.say("Is it raining?")
                    assert (await call.next_token()).text.strip() == "Let me see."
                    assert (await call.hear()).text.strip().endswith("You said: Is it raining?")
                await first.stop()
                async with run_local_daemon(tmp_path, port=int(first.url.rpartition(":")[2])) as second:
                    await until_answered("Still there?", second, agent)


@pytest.mark.slow
async def test_the_client_of_the_readme(tmp_path: Path) -> None:
    """It shows what was left and then confirms it, answers, tells of a lost relay, comes back, and ends in one line."""
    (tmp_path / "client.py").write_text(fence_after("../README.md", "Connect a client", "python"))
    command = [sys.executable, str(tmp_path / "client.py")]
    with trio.fail_after(LIMIT):
        async with run_local_daemon(tmp_path) as first:
            agent = await register(first)
            async with calling(first, agent) as call:
                await ask(call, "The parcel is here.")
            await message_left(first, agent)
            async with running(command, first.url, agent.token) as lines:
                await eventually(partial(has_printed, lines, "Connected", "left: The parcel is here."))
                await eventually(partial(is_confirmed, first, agent))
                async with calling(first, agent) as call:
                    for words in ("Is it raining?", "And tomorrow?"):
                        assert await ask(call, words) == f"You said: {words}"
                assert await has_printed(lines, "says: And tomorrow?")
                await first.kill()
                async with run_local_daemon(tmp_path, port=int(first.url.rpartition(":")[2])) as second:
                    await until_answered("Still there?", second, agent)
                assert await has_printed(lines, f"Not connected to {first.url}")


async def is_confirmed(daemon: Any, agent: Any) -> bool:
    """Tell whether all that was left for an agent is confirmed."""
    return all(each.status is MessageStatus.ACKNOWLEDGED for each in await messages_of(daemon, agent))


@pytest.mark.parametrize(
    ("page", "heading"),
    [
        ("../README.md", "Connect a client"),
        ("setup.md", "Your own program, in Python"),
        ("clients.md", "Turn tools"),
    ],
)
async def test_a_program_without_a_relay_says_so_and_ends_in_one_line(page: str, heading: str, tmp_path: Path) -> None:
    """Where no relay answers a program of a page says so and goes on trying; Ctrl-C ends it without a traceback."""
    program = fence_after(page, heading, "python").replace("http://127.0.0.1:8080", "http://127.0.0.1:1")
    (tmp_path / "client.py").write_text(program)
    environment = {**os.environ, "COMMS_URL": "http://127.0.0.1:1", "COMMS_TOKEN": "none"}
    process = await trio.lowlevel.open_process(
        [sys.executable, str(tmp_path / "client.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        # A shell has what it runs in the background ignore SIGINT, and so do its children.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    shown = b""
    try:
        with trio.fail_after(LIMIT):
            while b"trying again" not in shown:
                shown += await process.stdout.receive_some()
            process.send_signal(signal.SIGINT)
            async for chunk in process.stdout:
                shown += chunk
            assert await process.wait() == 0
    finally:
        process.kill()
    assert b"Traceback" not in shown
    assert b"answered any more" in shown


@pytest.mark.e2e
async def test_the_client_without_sampling_holds_a_conversation(tmp_path: Path) -> None:
    """The program of docs/clients.md answers several turns by its tool calls alone."""
    program = fence_after("clients.md", "Turn tools", "python")
    with trio.fail_after(LIMIT):
        async with run_local_daemon(tmp_path) as daemon:
            agent = await register(daemon)
            (tmp_path / "converse.py").write_text(
                program.replace("http://127.0.0.1:8080", daemon.url).replace("TOKEN", agent.token)
            )
            async with running([sys.executable, str(tmp_path / "converse.py")], daemon.url, agent.token):
                await until_answered("Is anybody there?", daemon, agent)
                async with calling(daemon, agent) as call:
                    for words in ("Is it raining?", "And tomorrow?"):
                        assert await ask(call, words) == f"You said: {words}"
