"""`relay gate`: ask what the gate says to a number, and stop an agent from dialling at all."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from relay.cli.groups import HelpGroup
from relay.cli.opened_database import require_agent, with_database
from relay.cli.printing import example, json_option, print_json, print_record, print_table

if TYPE_CHECKING:
    from relay.dialling.verdict import Verdict
    from relay.settings import Settings
    from relay.store.database import Database


# As `DialKind` has them: with it the numbers' metadata would be loaded for a help text.
KINDS = ("call", "voice_message", "transfer")


class _Instant(click.ParamType[datetime]):
    """A point in time in ISO 8601, with its offset from UTC: without one it could mean anything."""

    name = "ISO time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            self.fail(
                f"{value!r} is not a time with an offset, such as 2026-11-22T09:00+01:00 or 2026-11-22T08:00Z",
                param,
                ctx,
            )
        return at


@click.group(cls=HelpGroup, epilog=example("relay gate explain +14155552671 --agent my-client"))
def gate() -> None:
    """Ask whether a number may be dialled; stop an agent from dialling."""


@gate.command("explain", epilog=example("relay gate explain +14155552671 --agent my-client"))
@click.argument("number")
@click.option("--agent", metavar="ID", help="As this agent's call; without it the rules about agents are left out.")
@click.option("--kind", type=click.Choice(KINDS), default="call", show_default=True)
@click.option("--zone", metavar="IANA", help="Where the callee is, such as Europe/Berlin, instead of all candidates.")
@click.option("--at", metavar="ISO", type=_Instant(), help="At this time, such as 2026-11-22T09:00Z, instead of now.")
@json_option
def explain(*, number: str, agent: str | None, kind: str, zone: str | None, at: datetime | None, as_json: bool) -> None:
    """Print what each rule says to a number, and what would lift it. Nothing is dialled or counted."""

    from relay.dialling.dial_check import DiallingGate
    from relay.dialling.verdict import DialKind

    async def work(database: Database, settings: Settings) -> Verdict:
        await require_agent(database, agent)
        gate = DiallingGate(database, settings.gate_rules())
        return await gate.explain(number, agent_id=agent, kind=DialKind(kind), zone=zone, at=at)

    verdict = with_database(work)
    rules = _results(verdict)
    if as_json:
        print_json(verdict.as_json() | {"rules": rules})
        return
    answer = verdict.as_json()
    del answer["refusals"]
    print_record(answer | {"zones": ", ".join(verdict.zones)}, as_json=False)
    click.echo()
    print_table(rules, ["rule", "result", "sentence", "liftedBy"], empty="")


@gate.command("disable", epilog=example("relay gate disable my-client --reason 'under repair'"))
@click.argument("agent_id", metavar="ID")
@click.option("--reason", metavar="TEXT", default="", help="Why; kept until it is enabled.")
@json_option
def disable(agent_id: str, reason: str, as_json: bool) -> None:
    """Stop an agent from dialling, at once. Calls that are up go on, and it is still called."""

    from relay.store.outbound_switches import OutboundSwitches

    async def work(database: Database, _settings: Settings) -> None:
        await require_agent(database, agent_id)
        await OutboundSwitches(database).disable(agent_id, reason=reason)

    with_database(work)
    _print_switch(agent_id, enabled=False, as_json=as_json)


@gate.command("enable", epilog=example("relay gate enable my-client"))
@click.argument("agent_id", metavar="ID")
@json_option
def enable(agent_id: str, as_json: bool) -> None:
    """Allow an agent to dial again."""

    from relay.store.outbound_switches import OutboundSwitches

    async def work(database: Database, _settings: Settings) -> None:
        await require_agent(database, agent_id)
        await OutboundSwitches(database).enable(agent_id)

    with_database(work)
    _print_switch(agent_id, enabled=True, as_json=as_json)


def _print_switch(agent_id: str, *, enabled: bool, as_json: bool) -> None:
    if as_json:
        print_json({"agentId": agent_id, "outboundEnabled": enabled})
    else:
        click.echo(f"Agent {agent_id} may dial." if enabled else f"Agent {agent_id} dials nothing from now on.")


def _results(verdict: Verdict) -> list[dict[str, Any]]:
    from relay.dialling.verdict import Rule

    refused = {each.name: each for each in verdict.refusals}
    results = []
    for rule in Rule:
        refusal = refused.get(rule)
        result = "refuse" if refusal else "unchecked" if rule in verdict.unchecked else "pass"
        results.append(
            {
                "rule": rule.value,
                "result": result,
                "sentence": refusal.sentence if refusal else None,
                "liftedBy": refusal.lifted_by if refusal else None,
            }
        )
    return results
