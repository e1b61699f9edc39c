"""`relay status`: what runs here. The daemon says what only it knows; the rest is in its database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from relay import __version__
from relay.cli.opened_database import with_database
from relay.cli.printing import example, json_option, print_json, print_record, print_table
from relay.errors import RelayError

if TYPE_CHECKING:
    from relay.daemon.address import RunningDaemon
    from relay.settings import Settings
    from relay.store.database import Database

_ABSENT = {"name": "", "version": "", "transport": "", "answersBy": "", "since": ""}


@click.command(epilog=example("relay status"))
@json_option
def status(as_json: bool) -> None:
    """Show the running daemon: its address, who is connected, live calls, waiting messages.

    Exits 1 when no daemon serves this database; the agents and their waiting messages are shown all the same.
    """

    from relay.daemon.address import find_daemon
    from relay.store.agent_registry import AgentRegistry
    from relay.store.engine import name_of
    from relay.store.waiting_messages import WaitingMessages

    async def work(database: Database, settings: Settings) -> tuple[dict[str, Any], RunningDaemon | None]:
        waiting = WaitingMessages(database)
        agents = [
            {"agentId": each.agent_id, "number": each.number, "waitingMessages": await waiting.count(each.agent_id)}
            for each in await AgentRegistry(database).list()
        ]
        daemon = find_daemon(settings.database_url)
        return _report(daemon, name_of(settings.database_url), agents), daemon

    report, daemon = with_database(work)
    if as_json:
        print_json(report)
    else:
        _print(report)
    if daemon is None:
        raise RelayError("No daemon serves this database. Start one with `relay serve`, or `relay serve --local`.")
    if daemon.live is None:
        raise RelayError(f"The daemon (process {daemon.pid}) does not answer at {daemon.url}. Look at its log.")


def _report(daemon: RunningDaemon | None, database: str, agents: list[dict[str, Any]]) -> dict[str, Any]:
    live = daemon.live if daemon is not None and daemon.live is not None else {}
    clients, calls = live.get("clients", []), live.get("liveCalls", [])
    known = (
        {
            "answers": daemon.live is not None,
            "url": daemon.url,
            "publicUrl": daemon.public_url,
            "local": daemon.is_local,
            "pid": daemon.pid,
            "version": daemon.version,
            "started": daemon.started,
            "draining": live.get("draining"),
            "answeringMachine": live.get("answeringMachine"),
        }
        if daemon is not None
        else {}
    )
    for agent in agents:
        agent_id = agent["agentId"]
        agent["clients"] = [_without_agent(each) for each in clients if each["agentId"] == agent_id]
        agent["waitingToolCalls"] = live.get("waitingToolCalls", {}).get(agent_id, 0)
        agent["liveCalls"] = sum(each["agentId"] == agent_id for each in calls)
    return {
        "running": daemon is not None,
        **known,
        "database": database,
        "agents": agents,
        "liveCalls": calls,
    }


def _without_agent(client: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in client.items() if name != "agentId"}


def _print(report: dict[str, Any]) -> None:
    """Print the daemon, a row for each client or agent without one, and the live calls."""
    if report["running"]:
        version = report["version"]
        shown = {"address": report["url"], "public address": report["publicUrl"]}
        if report["publicUrl"] == report["url"]:
            del shown["public address"]
        shown |= {
            "process": f"{report['pid']}, since {_clock(report['started'])}",
            "version": version if version == __version__ else f"{version} (this command is of {__version__})",
        }
        if report["answers"]:
            shown["answering machine"] = "on" if report["answeringMachine"] else "off: ANTHROPIC_API_KEY is not set"
        if report["draining"]:
            shown["draining"] = "yes: it takes no new calls"
        print_record(shown, as_json=False)
        click.echo()
    rows = [
        {
            "agent": agent["agentId"],
            "client": f"{client['name']} {client['version']}".strip() or ("none" if report["running"] else ""),
            "connected by": client["transport"],
            "answers by": client["answersBy"],
            "since": _clock(client["since"]),
            "live calls": agent["liveCalls"],
            "waiting messages": agent["waitingMessages"],
        }
        for agent in report["agents"]
        for client in agent["clients"] or [_unconnected(agent)]
    ]
    print_table(rows, list(rows[0]) if rows else [], empty="No agents. Add one with: relay agents add ID")
    if report["liveCalls"]:
        click.echo()
        calls = [each | {"since": _clock(each["since"])} for each in report["liveCalls"]]
        print_table(calls, ["callSid", "agentId", "direction", "from", "to", "since", "phase"], empty="")


def _clock(moment: str) -> str:
    """Return a moment of the daemon's, such as 2026-11-28T12:30:49.024Z, as people read it: 2026-11-28 12:30:49Z."""
    return f"{moment[:10]} {moment[11:19]}Z" if len(moment) > len("2026-11-28T12:30:49") else moment


def _unconnected(agent: dict[str, Any]) -> dict[str, str]:
    """Describe who answers for an agent without a session: clients of the newest protocol have none."""
    waiting = agent["waitingToolCalls"]
    if not waiting:
        return _ABSENT
    return _ABSENT | {
        "name": "a client without a session",
        "transport": "Streamable HTTP",
        "answersBy": "turn tools",
    }
