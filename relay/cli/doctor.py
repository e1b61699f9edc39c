"""`relay doctor`: can real calls work?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from relay.cli.printing import example, json_option, print_beside, print_json, printable
from relay.errors import RelayError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.cli.checks.check import Finding


@click.command(epilog=example("relay doctor", "relay doctor --fix"))
@json_option
@click.option("--fix", is_flag=True, help="Then set the webhooks of the agents' numbers at the carrier; asks first.")
@click.option("--yes", is_flag=True, help="With --fix: set them without asking.")
def doctor(as_json: bool, fix: bool, yes: bool) -> None:
    """Check whether real calls can work: settings, database, public address, signatures, keys.

    Run it where the daemon runs, with the same settings, while the daemon is up; one that was started with --local is
    checked as such. It changes nothing but what every command does: it brings the database's tables up to date.

    With --fix it sets, for each agent's number whose calls do not come here, the addresses that the carrier asks: A
    call comes in, and Call status changes. Numbers of a TwiML application or a SIP trunk are left alone.
    """
    if yes and not fix:
        raise click.UsageError("--yes is for --fix")
    if fix and as_json:
        raise click.UsageError("--fix asks; give it or --json")
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
    if fix and _set_webhooks(findings, yes=yes):
        click.echo("Once more:")
        findings = trio.run(run)
    failed = [each.check for each in findings if each.verdict is Verdict.FAILED]
    if as_json:
        print_json({"healthy": not failed, "checks": [each.as_json() for each in findings]})
    if failed:
        raise RelayError(f"Fix what failed, then ask again: {', '.join(failed)}.")


def _set_webhooks(findings: Iterable[Finding], *, yes: bool) -> int:
    """Set the webhooks of numbers that lead elsewhere; return how many were set. Raises `RelayError`."""
    import trio

    from relay import settings as config
    from relay.cli.checks.check import Verdict
    from relay.cli.checks.own_numbers import find_misled, lead_home
    from relay.daemon.address import find_daemon
    from relay.twilio.rest_errors import CarrierRefused

    verdicts = {each.check: each.verdict for each in findings}
    # Where the carrier's requests would not be answered, no number should lead.
    for check in ("settings", "public_url", "signature", "upgrade", "carrier"):
        if verdicts[check] is not Verdict.OK:
            raise RelayError(f"No number was set, because {check} is not ok: fix that first, then ask again.")
    settings = config.load()
    daemon = find_daemon(settings.database_url)
    if daemon is None or daemon.is_local:
        raise RelayError("No number was set, because no daemon takes real calls here. Start it without --local.")
    try:
        misled = trio.run(find_misled, settings)
        if not misled:
            click.echo(
                "No number of an agent can be set: each leads here, is none of the account's, or is set by hand."
            )
        done = 0
        for each in misled:
            name, number = each.agent.agent_id, printable(each.agent.number or "")
            if yes or click.confirm(f"{name}'s number {number} {each.how}. Set it to the agent's webhook?"):
                trio.run(lead_home, settings, each)
                click.echo(f"{name}'s number {number} leads here now.")
                done += 1
    except CarrierRefused as refusal:
        raise RelayError(f"The carrier did not set it. {refusal}") from None
    return done
