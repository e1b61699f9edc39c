"""`relay doctor`: can real calls work?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from relay.cli.printing import example, json_option, print_beside, print_json, printable
from relay.errors import RelayError

if TYPE_CHECKING:
    from relay.cli.checks.check import Finding


@click.command(epilog=example("relay doctor"))
@json_option
def doctor(as_json: bool) -> None:
    """Check whether real calls can work: settings, database, public address, signatures, keys.

    Run it where the daemon runs, with the same settings, while the daemon is up; one that was started with --local is
    checked as such. It changes nothing but what every command does: it brings the database's tables up to date.
    """
    import trio
    from rich.console import Console
    from rich.text import Text

    from relay import settings as config
    from relay.cli.checks.check import Verdict
    from relay.cli.checks.examination import CHECKS, examine

    console = Console(highlight=False)
    width = max(len(check.name) for check in CHECKS)

    def tell(finding: Finding) -> None:
        if not as_json:
            head = Text(f"{finding.verdict.value:<7}  {finding.check:<{width}}  ")
            print_beside(console, head, Text(printable(finding.text)))

    async def run() -> list[Finding]:
        warnings: list[str] = []
        return await examine(partial(config.load, warn=warnings.append), tell, warnings=warnings)

    findings = trio.run(run)
    failed = [each.check for each in findings if each.verdict is Verdict.FAILED]
    if as_json:
        print_json({"healthy": not failed, "checks": [each.as_json() for each in findings]})
    if failed:
        raise RelayError(f"Fix what failed, then ask again: {', '.join(failed)}.")
