"""`relay attach`: let a program, Claude or a person answer an agent's calls."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs
import click
import trio

from relay.config import Settings
from relay.errors import RelayError

if TYPE_CHECKING:
    from relay.attach.report import Report
    from relay.attach.turn import Brain

_MODEL = str(attrs.fields(Settings).answering_machine_model.default)


def _origin(_context: click.Context, _option: click.Parameter, value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"} or parts.query:
        raise click.BadParameter("it must be the relay's origin, such as http://127.0.0.1:8080, without a path")
    return f"{parts.scheme}://{parts.netloc}"


@click.command()
@click.option(
    "--url",
    default="http://127.0.0.1:8080",
    show_default=True,
    envvar="COMMS_URL",
    show_envvar=True,
    metavar="ORIGIN",
    callback=_origin,
    help="Where the relay is.",
)
@click.option(
    "--token",
    envvar="COMMS_TOKEN",
    show_envvar=True,
    metavar="TOKEN",
    help="The agent's. On a command line other users of the machine can see it.",
)
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A file that holds the agent's token.",
)
@click.option(
    "--transport",
    type=click.Choice(["auto", "sse", "http"]),
    default="auto",
    show_default=True,
    help="How to connect; auto is sse, http is Streamable HTTP.",
)
@click.option("--command", metavar="COMMAND", help="A program that answers; no shell runs it. See docs/attach.md.")
@click.option("--claude", is_flag=True, help="Have Claude answer, with ANTHROPIC_API_KEY.")
@click.option("--model", metavar="MODEL", help=f"The Claude model that answers, instead of {_MODEL}.")
@click.option("--no-messages", is_flag=True, help="Leave the waiting messages where they are.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
def attach(
    *,
    url: str,
    token: str | None,
    token_file: Path | None,
    transport: str,
    command: str | None,
    claude: bool,
    model: str | None,
    no_messages: bool,
    as_json: bool,
) -> None:
    """Answer an agent's calls: with a program, with Claude, or from the keyboard.

    Connects to a running relay, comes back when the connection is lost, fetches and confirms waiting messages, and
    runs until SIGINT or SIGTERM.
    """
    if command is not None and claude:
        raise click.UsageError("give --command or --claude, not both")
    if model is not None and not claude:
        raise click.UsageError("--model is for --claude")
    # The MCP SDK takes a while to import, which the other commands need not wait for.
    from relay.attach.attachment import attach as run  # noqa: PLC0415
    from relay.attach.link import Transport  # noqa: PLC0415
    from relay.attach.report import JsonReport, PersonReport  # noqa: PLC0415

    # They log each loss of the connection with its traceback; the report says it in a sentence.
    for chatty in ("mcp.client.sse", "mcp.client.streamable_http"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    known = _token(token, token_file)
    report = JsonReport() if as_json else PersonReport()
    opener = _brain(report, command, _MODEL if model is None else model, claude=claude)
    reached = Transport.HTTP if transport == "http" else Transport.SSE

    async def work() -> None:
        await run(opener, report, url=url, token=known, transport=reached, fetches=not no_messages)

    trio.run(work)


def _token(given: str | None, file: Path | None) -> str:
    if file is not None:
        given = file.read_text().strip()
    if not given:
        raise click.UsageError("give the agent's token with --token-file, COMMS_TOKEN or --token")
    if not given.isascii() or not given.isprintable() or " " in given:
        raise click.UsageError("that is no token of the relay's")
    return given


def _brain(
    report: Report, command: str | None, model: str, *, claude: bool
) -> Callable[[Callable[[], None]], AbstractAsyncContextManager[Brain]]:
    """Say how to open the brain that was asked for. Raises `RelayError` for what is known to be missing."""
    if command is not None:
        from relay.attach.command import open_command_brain, split_command  # noqa: PLC0415

        words = split_command(command)
        return lambda _leave: open_command_brain(words, report)
    if claude:
        # The vendor's library takes a second to import.
        from relay.attach.claude import open_claude_brain  # noqa: PLC0415

        key = os.environ.get("ANTHROPIC_API_KEY")
        if not key:
            raise RelayError("--claude needs ANTHROPIC_API_KEY in the environment.")
        return lambda _leave: open_claude_brain(model=model, api_key=key)
    from relay.attach.person import open_person_brain  # noqa: PLC0415

    return lambda leave: open_person_brain(sys.stdin.fileno(), report, leave)
