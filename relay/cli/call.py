"""`relay call`: be the caller of a running daemon, at the keyboard or with a script."""

from __future__ import annotations

import gc
import signal
import sys
from typing import TYPE_CHECKING

import click
import trio

from relay import settings as config
from relay.cli.origin import origin_option
from relay.daemon.address import find_daemon
from relay.daemon.credentials import LOCAL_ACCOUNT, find_carrier_token
from relay.dialling.numbers import normalise
from relay.errors import RelayError
from relay.settings import Settings
from relay.store.engine import name_of

if TYPE_CHECKING:
    from relay.cli.caller.caller import Caller
    from relay.cli.caller.ring import Dialled, Ended

_PACE = 30.0
"""Characters a second at a keyboard: fast for speech, slow enough to talk over it."""


@click.command()
@click.argument("agent_id", metavar="AGENT")
@click.option(
    "--url",
    metavar="ORIGIN",
    callback=origin_option,
    help="The daemon's PUBLIC_URL. [default: that of the daemon which serves the database of the settings]",
)
@click.option("--from", "caller", metavar="E164", default="+14155550101", show_default=True, help="Who is calling.")
@click.option("--to", "called", metavar="E164", default="+14155550102", show_default=True, help="The number called.")
@click.option(
    "--transfer",
    type=click.Choice(["answered", "busy", "no-answer", "failed"]),
    default="answered",
    show_default=True,
    help="What becomes of a call that the client passes on.",
)
@click.option(
    "--pace",
    type=click.FloatRange(min=0),
    metavar="CHARACTERS",
    help=f"How fast the relay speaks, in characters a second; 0 takes no time. [default: {_PACE:g}, for a script 0]",
)
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
def call(
    *, agent_id: str, url: str | None, caller: str, called: str, transfer: str, pace: float | None, as_json: bool
) -> None:
    """Call an agent and talk with its client, without a telephone and free of charge.

    This plays the carrier: signed webhooks, a signed WebSocket, no audio. A daemon that runs with --local is found by
    its database; for another one the environment or .env has its TWILIO_AUTH_TOKEN and TWILIO_ACCOUNT_SID, and --url
    its PUBLIC_URL.

    \b
    At the keyboard:
      words, Enter    say them; while the relay speaks, that interrupts it
      Enter           interrupt
      5  *  #         a line that is one key presses it
      /keys 12#       press several keys
      /say 5          say what would be a key or a command
      /hang-up        hang up; so do Ctrl-D and Ctrl-C

    Lines from a pipe are a script: each is said when the one before has been answered, and the end hangs up.

    Exits 1 when nobody answered, with a line that says why.
    """
    # The simulator takes a while to import, which the other commands need not wait for.
    from relay.cli.caller.ring import Dialled, TransferEnd

    settings = config.load()
    origin, via, token = _daemon(settings, url)
    is_script = not sys.stdin.isatty()
    dialled = Dialled(
        agent_id=agent_id,
        url=origin,
        via=via,
        account_sid=settings.twilio_account_sid or LOCAL_ACCOUNT,
        auth_token=token,
        caller=normalise(caller),
        called=normalise(called),
        speech_rate=(None if is_script else _PACE) if pace is None else pace or None,
        is_script=is_script,
        transfer_end=TransferEnd(transfer),
    )
    gc.enable()
    ended = trio.run(_run, dialled, as_json)
    if not ended.answered or ended.by == "failure":
        raise RelayError(ended.why)


def _daemon(settings: Settings, url: str | None) -> tuple[str, str | None, str]:
    """Return the origin to sign for, another that leads there from here, and the secret. Raises `RelayError`."""
    daemon = find_daemon(settings.database_url)
    token = find_carrier_token(settings)
    if daemon is not None and url in {None, daemon.url, daemon.public_url}:
        origin, via = daemon.public_url, daemon.url if daemon.url != daemon.public_url else None
    elif url is not None:
        origin, via = url, None
    else:
        raise RelayError(
            f"No daemon serves the database {name_of(settings.database_url)}. Start one here with "
            "`relay serve --local`, set DATABASE_URL to that of a running one, or name one with --url."
        )
    if token is None:
        raise RelayError(
            f"There is no secret to sign the call with. Set TWILIO_AUTH_TOKEN to that of the daemon at {origin}, or "
            "run this where the database of a `relay serve --local` is."
        )
    return origin, via, token


async def _run(dialled: Dialled, as_json: bool) -> Ended:
    """Make the call; SIGINT and SIGTERM hang up, a second one breaks it off."""
    from relay.attach.report import JsonReport
    from relay.cli.caller.call_report import PersonReport
    from relay.cli.caller.caller import Caller
    from relay.cli.caller.lines import HELP, PipedLines, open_typed_lines

    async def ring(caller: Caller) -> Ended:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey_signals, caller)
            ended = await caller.ring()
            nursery.cancel_scope.cancel("the call is over")
        return ended

    if as_json or dialled.is_script or not sys.stdout.isatty():
        report = JsonReport() if as_json else PersonReport()
        return await ring(Caller(dialled, PipedLines(sys.stdin.fileno()), report))
    async with open_typed_lines() as lines:
        return await ring(Caller(dialled, lines, PersonReport(help=HELP, live=lines.show)))


async def _obey_signals(caller: Caller) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _signal in signals:
            caller.hang_up()
