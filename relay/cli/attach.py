"""`relay attach`: let a program, Claude or a person answer an agent's calls."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from relay.cli.origin import checked_origin, origin_option
from relay.cli.printing import warn
from relay.daemon.address import find_daemon
from relay.environment import Given, cleaned, gather
from relay.errors import RelayError, SettingsError
from relay.settings import OF_ATTACH, Settings, documented

if TYPE_CHECKING:
    from relay.attach.report import Report
    from relay.attach.turn import Brain

_MODEL = str(Settings.model_fields["answering_machine_model"].default)


_URL = "http://127.0.0.1:8080"


@click.command()
@click.option(
    "--url",
    metavar="ORIGIN",
    callback=origin_option,
    help=f"Where the relay is, instead of COMMS_URL, or else the daemon of DATABASE_URL, or else {_URL}.",
)
@click.option(
    "--token",
    metavar="TOKEN",
    help="The agent's, instead of COMMS_TOKEN. On a command line other users of the machine can see it.",
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
    url: str | None,
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
    runs until SIGINT or SIGTERM. COMMS_URL, COMMS_TOKEN and ANTHROPIC_API_KEY may stand in the environment or in .env.
    """
    if command is not None and claude:
        raise click.UsageError("give --command or --claude, not both")
    if model is not None and not claude:
        raise click.UsageError("--model is for --claude")
    # The MCP SDK takes a while to import, which the other commands need not wait for.
    from relay.attach.client_session import attach as run
    from relay.attach.link import Transport
    from relay.attach.report import JsonReport, PersonReport

    # They log each loss of the connection with its traceback; the report says it in a sentence.
    for chatty in ("mcp.client.sse", "mcp.client.streamable_http"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    given = gather([*OF_ATTACH, *(name for name, _default, _help in documented())])
    for warning in given.warnings:
        warn(warning)
    origin = url or _origin_of(given)
    known = _token(token, token_file, given)
    report = JsonReport() if as_json else PersonReport()
    opener = _brain(report, command, _MODEL if model is None else model, given, claude=claude)
    reached = Transport.HTTP if transport == "http" else Transport.SSE

    async def work() -> None:
        await run(opener, report, url=origin, token=known, transport=reached, fetches=not no_messages)

    gc.enable()
    trio.run(work)


def _origin_of(given: Given) -> str:
    """Return where the relay is, by what is given beside the command line."""
    value = given.values.get("COMMS_URL")
    try:
        if value:
            return checked_origin(value)
    except click.BadParameter as error:
        raise click.UsageError(f"COMMS_URL ({given.places['COMMS_URL']}) cannot be used: {error.message}") from error
    try:
        daemon = find_daemon(given.values.get("DATABASE_URL") or str(Settings.model_fields["database_url"].default))
    except SettingsError:
        daemon = None  # the database is the daemon's affair: a client may run anywhere
    return _URL if daemon is None else daemon.url


def _token(option: str | None, file: Path | None, given: Given) -> str:
    """Return the agent's token: of the file, else of the command line, else of what is given beside it."""
    if file is not None:
        try:
            token, place = cleaned(file.read_text(encoding="utf-8-sig")), str(file)
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"the token in {file} cannot be read") from error
    elif option:
        token, place = cleaned(option), "--token"
    else:
        token, place = given.values.get("COMMS_TOKEN", ""), given.places.get("COMMS_TOKEN", "")
    if not token:
        raise click.UsageError("give the agent's token with --token-file, COMMS_TOKEN or --token")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise click.UsageError(f"that is no token of the relay's ({place}); copy it again")
    return token


def _brain(
    report: Report, command: str | None, model: str, given: Given, *, claude: bool
) -> Callable[[Callable[[], None]], AbstractAsyncContextManager[Brain]]:
    """Return what opens the brain that was asked for. Raises `RelayError` for what is known to be missing."""
    if command is not None:
        from relay.attach.command_brain import open_command_brain, split_command

        words = split_command(command)
        return lambda _leave: open_command_brain(words, report)
    if claude:
        # The vendor's library takes a second to import.
        from relay.attach.claude_brain import open_claude_brain

        key = given.values.get("ANTHROPIC_API_KEY")
        if not key:
            raise RelayError("--claude needs ANTHROPIC_API_KEY in the environment or in .env.")
        base_url = given.values.get("ANTHROPIC_BASE_URL") or None
        return lambda _leave: open_claude_brain(model=model, api_key=key, base_url=base_url)
    from relay.attach.person_brain import open_person_brain

    return lambda leave: open_person_brain(sys.stdin.fileno(), report, leave)
