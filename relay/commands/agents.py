"""`relay agents`: register agents, manage their tokens, and say where their clients and the carrier reach the relay."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from relay.commands.opened import with_database
from relay.config import Settings
from relay.printing import json_option, print_json, print_record, print_table
from relay.store.agent_registry import AgentRegistry
from relay.store.database import Database
from relay.store.schema import timestamp
from relay.store.waiting_messages import WaitingMessages


@click.group()
def agents() -> None:
    """Register agents, and manage their tokens."""


@agents.command("add")
@click.argument("agent_id", metavar="ID")
@click.option("--number", metavar="E164", help="Its telephone number, such as +14155552671; calls are made from it.")
@click.option("--greeting", metavar="TEXT", help="What a caller hears first, instead of DEFAULT_VOICE_GREETING.")
@click.option("--system-prompt", metavar="TEXT", help="What its client is told with each turn.")
@click.option("--voice", metavar="VOICE", help="An ElevenLabs voice, instead of DEFAULT_VOICE_ID.")
@click.option("--language", metavar="TAG", help="Such as en-US, instead of DEFAULT_VOICE_LANGUAGE.")
@json_option
def add_agent(
    *,
    agent_id: str,
    number: str | None,
    greeting: str | None,
    system_prompt: str | None,
    voice: str | None,
    language: str | None,
    as_json: bool,
) -> None:
    """Register an agent and print its token, which is shown only now."""

    async def work(database: Database, settings: Settings) -> dict[str, str]:
        _agent, token = await AgentRegistry(database).add(
            agent_id, number=number, greeting=greeting, system_prompt=system_prompt, voice=voice, language=language
        )
        return _addresses(settings, agent_id, token)

    _print_access(with_database(work), as_json=as_json)


@agents.command("rotate")
@click.argument("agent_id", metavar="ID")
@json_option
def rotate_agent(agent_id: str, as_json: bool) -> None:
    """Give an agent a new token; the old one is no good from then on."""

    async def work(database: Database, settings: Settings) -> dict[str, str]:
        return _addresses(settings, agent_id, await AgentRegistry(database).rotate(agent_id))

    _print_access(with_database(work), as_json=as_json)


@agents.command("list")
@json_option
def list_agents(as_json: bool) -> None:
    """List the agents."""

    async def work(database: Database, _settings: Settings) -> list[dict[str, Any]]:
        waiting = WaitingMessages(database)
        return [
            {
                "agentId": each.agent_id,
                "number": each.number,
                "greeting": each.greeting,
                "systemPrompt": each.system_prompt,
                "voice": each.voice,
                "language": each.language,
                "createdAt": timestamp(each.created_at),
                "waitingMessages": await waiting.count(each.agent_id),
            }
            for each in await AgentRegistry(database).list()
        ]

    found = with_database(work)
    if as_json:
        print_json({"agents": found})
    else:
        columns = ["agentId", "number", "voice", "language", "waitingMessages", "createdAt"]
        print_table(found, columns, empty="No agents. Add one with: relay agents add ID")


@agents.command("remove")
@click.argument("agent_id", metavar="ID")
@click.option("--discard-messages", is_flag=True, help="Throw away the messages that wait for it.")
@json_option
def remove_agent(agent_id: str, discard_messages: bool, as_json: bool) -> None:
    """Forget an agent: its token, messages and ended calls. Refused while messages wait for it."""

    async def work(database: Database, _settings: Settings) -> None:
        await AgentRegistry(database).remove(agent_id, discard_messages=discard_messages)

    with_database(work)
    if as_json:
        print_json({"removed": agent_id})
    else:
        click.echo(f"Agent {agent_id} is removed.")


def _addresses(settings: Settings, agent_id: str, token: str) -> dict[str, str]:
    """Give the addresses at which the agent's client and the carrier reach the relay."""
    # An IPv6 address stands in brackets in a URL (RFC 3986, section 3.2.2).
    host = f"[{settings.relay_host}]" if ":" in settings.relay_host else settings.relay_host
    origin = settings.public_url or f"http://{host}:{settings.relay_port}"
    return {
        "agentId": agent_id,
        "token": token,
        # With the token inside, because most clients that speak SSE take an address and no headers.
        "sseUrl": f"{origin}/sse?token={quote(token, safe='')}",
        "mcpUrl": f"{origin}/mcp",
        "voiceWebhook": f"{origin}/webhooks/{agent_id}/voice",
    }


def _print_access(access: dict[str, str], *, as_json: bool) -> None:
    if not as_json:
        click.echo("Keep the token: it is not shown again.\n")
    print_record(access, as_json=as_json)
