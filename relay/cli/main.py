"""The command line: `relay serve` runs the daemon, `relay doctor` examines it, `relay attach` is a client of it.

The other commands use its database, whether it runs or not.

Data goes to standard output, as a table or with `--json` as one JSON document; what is wrong, and what to do about it,
goes to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import click

from relay import __version__
from relay.cli.groups import LazyCommand, LazyGroup
from relay.cli.printing import example

# Each summary is the first sentence of the command's own help; without them all would be imported for `relay --help`.
COMMANDS = {
    "agents": "Register and change agents, and manage their tokens.",
    "attach": "Answer an agent's calls: with a program, with Claude, or from the keyboard.",
    "call": "Call an agent and talk with its client, without a telephone and free of charge.",
    "calls": "Look at the records of calls.",
    "completion": "Print a script that completes commands and options in a shell.",
    "console": "Print a link that signs you in to the console, and open it.",
    "consents": "Record who agreed to be called.",
    "dnc": "Keep the list of numbers that must not be called.",
    "doctor": "Check whether real calls can work: settings, database, public address, signatures, keys.",
    "gate": "Ask whether a number may be dialled; stop an agent from dialling.",
    "messages": "Read, confirm and export what callers left for the agents.",
    "nodes": "Look at the nodes of a cluster.",
    "operators": "Add and remove who may use the console, and look at what they did.",
    "serve": "Run the daemon until SIGTERM or SIGINT; a second signal stops it at once.",
    "status": "Show the running daemon: its address, who is connected, live calls, waiting messages.",
    "tail": "Print what is said and decided in calls, as it happens, line by line.",
    "top": "Show the calls that are going on, and who answers them.",
}


@click.group(
    cls=LazyGroup,
    lazy={name: LazyCommand(f"relay.cli.{name}", summary) for name, summary in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example("relay serve --local", "relay agents add my-client", "relay call my-client"),
)
@click.version_option(__version__, prog_name="relay")
def main() -> None:
    """A telephone for AI clients: callers speak, your MCP client answers."""
