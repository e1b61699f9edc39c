"""The command line: `relay serve` runs the daemon, `relay doctor` examines it, `relay attach` is a client of it.

The other commands use its database, whether it runs or not.

Data goes to standard output, as a table or with `--json` as one JSON document; what is wrong, and what to do about it,
goes to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import click
import trio

from actors.errors import StoreFailed
from relay import __version__, config
from relay.commands.agents import agents
from relay.commands.attach import attach
from relay.commands.calls import calls
from relay.commands.consents import consents
from relay.commands.dnc import dnc
from relay.commands.gate import gate
from relay.commands.messages import messages
from relay.commands.status import status
from relay.errors import RelayError
from relay.printing import json_option, print_json, print_line

if TYPE_CHECKING:
    from relay.doctor.check import Finding

# Both carry a text that is made for the operator.
_EXPECTED = (RelayError, StoreFailed)


class RelayGroup(click.Group):
    """A group whose commands end with exit code 1 and one sentence when the relay refuses something."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Anything else than an expected error keeps its traceback: it is a fault of ours."""
        try:
            return super().invoke(ctx)
        except _EXPECTED as error:
            raise click.ClickException(str(error)) from error
        except ExceptionGroup as group:
            expected, others = group.split(_EXPECTED)
            if expected is None or others is not None:
                raise
            raise click.ClickException("\n".join(_texts(expected))) from group


def _texts(group: BaseExceptionGroup[BaseException]) -> Iterable[str]:
    for error in group.exceptions:
        yield from _texts(error) if isinstance(error, BaseExceptionGroup) else [str(error)]


@click.group(cls=RelayGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="relay")
def main() -> None:
    """A telephone for AI clients: callers speak, your MCP client answers."""


for command in (agents, attach, calls, consents, dnc, gate, messages, status):
    main.add_command(command)


@main.command()
@click.option("--host", metavar="ADDRESS", help="The address to listen on, instead of RELAY_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port, instead of RELAY_PORT; 0 picks a free one.")
@click.option(
    "--local", is_flag=True, help="Run without the carrier: loopback only, with a token for the simulated carrier."
)
def serve(host: str | None, port: int | None, local: bool) -> None:
    """Run the daemon until SIGTERM or SIGINT; a second signal stops it at once."""
    # The daemon imports all there is; the other commands need not wait for that.
    from relay.daemon import serve as run_daemon  # noqa: PLC0415

    warnings: list[str] = []
    settings = config.load(local=local, warn=warnings.append)
    if host is not None:
        settings = attrs.evolve(settings, relay_host=host)
    if port is not None:
        settings = attrs.evolve(settings, relay_port=port)

    async def run() -> None:
        await run_daemon(settings, local=local, warnings=warnings)

    trio.run(run)


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check whether real calls can work: settings, database, public address, signatures, keys.

    Run it where the daemon runs, with the same settings, while the daemon is up; one that was started with --local is
    checked as such. It changes nothing but what every command does: it brings the database's tables up to date.
    """
    # The vendors' libraries take a second to import.
    from relay.doctor.check import Verdict  # noqa: PLC0415
    from relay.doctor.examination import examine  # noqa: PLC0415

    def tell(finding: Finding) -> None:
        if not as_json:
            print_line(f"{finding.verdict.value:<7}  {finding.check:<10}  {finding.text}")

    async def run() -> list[Finding]:
        warnings: list[str] = []
        return await examine(partial(config.load, warn=warnings.append), tell, warnings=warnings)

    findings = trio.run(run)
    failed = [each.check for each in findings if each.verdict is Verdict.FAILED]
    if as_json:
        print_json({"healthy": not failed, "checks": [each.as_json() for each in findings]})
    if failed:
        raise RelayError(f"Mend what failed, then ask again: {', '.join(failed)}.")
