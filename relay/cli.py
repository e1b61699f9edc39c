"""The command line: `relay serve` runs the daemon, the other commands look into its database and change it.

The commands open the database themselves, so they work whether or not a daemon runs on it, and what they change a
running daemon sees at once. Data goes to standard output, as a table or with `--json` as one JSON document; what is
wrong, and what to do about it, goes to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import attrs
import click
import trio
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.errors import StoreFailed
from relay import __version__, config
from relay.config import Settings
from relay.errors import RelayError
from relay.store.agent_registry import AgentRegistry, unknown_agent
from relay.store.call_journal import CallJournal
from relay.store.call_record import CallState
from relay.store.database import Database, open_database
from relay.store.message_record import MessageStatus, WaitingMessage
from relay.store.schema import timestamp
from relay.store.waiting_messages import WaitingMessages

T = TypeVar("T")

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


@click.group(cls=RelayGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="relay")
def main() -> None:
    """A telephone for AI clients: callers speak, your MCP client answers."""


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")


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

    settings = config.load()
    if host is not None:
        settings = attrs.evolve(settings, relay_host=host)
    if port is not None:
        settings = attrs.evolve(settings, relay_port=port)

    async def run() -> None:
        await run_daemon(settings, local=local)

    trio.run(run)


# ── agents ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@main.group()
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

    _print_access(_with_database(work), as_json=as_json)


@agents.command("rotate")
@click.argument("agent_id", metavar="ID")
@json_option
def rotate_agent(agent_id: str, as_json: bool) -> None:
    """Give an agent a new token; the old one is no good from then on."""

    async def work(database: Database, settings: Settings) -> dict[str, str]:
        return _addresses(settings, agent_id, await AgentRegistry(database).rotate(agent_id))

    _print_access(_with_database(work), as_json=as_json)


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

    found = _with_database(work)
    if as_json:
        _print_json({"agents": found})
    else:
        columns = ["agentId", "number", "voice", "language", "waitingMessages", "createdAt"]
        _print_table(found, columns, empty="No agents. Add one with: relay agents add ID")


@agents.command("remove")
@click.argument("agent_id", metavar="ID")
@click.option("--discard-messages", is_flag=True, help="Throw away the messages that wait for it.")
@json_option
def remove_agent(agent_id: str, discard_messages: bool, as_json: bool) -> None:
    """Forget an agent: its token, messages and ended calls. Refused while messages wait for it."""

    async def work(database: Database, _settings: Settings) -> None:
        await AgentRegistry(database).remove(agent_id, discard_messages=discard_messages)

    _with_database(work)
    if as_json:
        _print_json({"removed": agent_id})
    else:
        click.echo(f"Agent {agent_id} is removed.")


# ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────────


@main.group()
def messages() -> None:
    """Read what callers left for the agents."""


@messages.command("list")
@click.option("--agent", metavar="ID", help="Only this agent's.")
@click.option("--status", type=click.Choice([each.value for each in MessageStatus]), help="Only those of this status.")
@json_option
def list_messages(agent: str | None, status: str | None, as_json: bool) -> None:
    """List the messages, oldest first. Looking at them changes nothing."""

    async def work(database: Database, _settings: Settings) -> list[dict[str, Any]]:
        wanted = None if status is None else MessageStatus(status)
        listed = await WaitingMessages(database).list_all(agent, wanted)
        if not listed:
            await _require_agent(database, agent)
        return [_message(each) for each in listed]

    found = _with_database(work)
    if as_json:
        _print_json({"messages": found})
    else:
        columns = ["id", "agentId", "status", "reason", "from", "createdAt", "body", "preferences"]
        _print_table(found, columns, empty="No messages.")


@messages.command("show")
@click.argument("message_id", metavar="ID")
@json_option
def show_message(message_id: str, as_json: bool) -> None:
    """Show one message with its transcript."""

    async def work(database: Database, _settings: Settings) -> dict[str, Any]:
        found = await WaitingMessages(database).get(message_id)
        if found is None:
            raise RelayError(f"There is no message {message_id!r}. See those that there are with: relay messages list")
        return _message(found)

    _print_record(_with_database(work), as_json=as_json)


def _message(message: WaitingMessage) -> dict[str, Any]:
    return message.as_json() | {"status": message.status.value}


# ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@main.group()
def calls() -> None:
    """Look at the records of calls."""


@calls.command("list")
@click.option("--agent", metavar="ID", help="Only this agent's.")
@click.option("--state", type=click.Choice([each.value for each in CallState]), help="Only those of this state.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@json_option
def list_calls(agent: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """List the calls, newest first."""

    async def work(database: Database, _settings: Settings) -> list[dict[str, Any]]:
        wanted = None if state is None else CallState(state)
        listed = await CallJournal(database).list_calls(agent, wanted, limit)
        if not listed:
            await _require_agent(database, agent)
        return [each.as_json() for each in listed]

    found = _with_database(work)
    if as_json:
        _print_json({"calls": found})
    else:
        columns = ["callSid", "agentId", "direction", "from", "to", "state", "startedAt", "durationSeconds", "outcome"]
        _print_table(found, columns, empty="No calls.")


@calls.command("show")
@click.argument("call_sid", metavar="SID")
@json_option
def show_call(call_sid: str, as_json: bool) -> None:
    """Show the record of one call."""

    async def work(database: Database, _settings: Settings) -> dict[str, Any]:
        found = await CallJournal(database).get(call_sid)
        if found is None:
            raise RelayError(f"There is no call {call_sid!r}. See those that there are with: relay calls list")
        return found.as_json()

    _print_record(_with_database(work), as_json=as_json)


# ── the database and the output ─────────────────────────────────────────────────────────────────────────────────────


def _with_database(work: Callable[[Database, Settings], Awaitable[T]]) -> T:
    """Run `work` on the database that the settings name."""
    settings = config.load()

    async def run() -> T:
        async with open_database(settings.database_url) as database:
            return await work(database, settings)

    return trio.run(run)


async def _require_agent(database: Database, agent_id: str | None) -> None:
    """Refuse a name that is nobody's. Asked only when nothing was found: what a removed agent left is still listed."""
    if agent_id is not None and await AgentRegistry(database).get(agent_id) is None:
        raise unknown_agent(agent_id)


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
    _print_record(access, as_json=as_json)


def _print_json(value: object) -> None:
    # Escaped to ASCII, so that no terminal or pipe encoding can stand in the way of what a caller said.
    click.echo(json.dumps(value, indent=2))


def _print_record(record: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        _print_json(record)
        return
    width = max(len(name) for name in record) + 2
    for name, value in record.items():
        if isinstance(value, list):
            click.echo(name)
            for line in value:
                click.echo(_printable(f"  {line['at']}  {line['speaker']}: {line['text']}"))
        else:
            click.echo(f"{name:<{width}}{_cell(value)}")


def _print_table(records: Sequence[dict[str, Any]], columns: Sequence[str], *, empty: str) -> None:
    if not records:
        click.echo(empty)
        return
    table = Table(*columns, box=None, pad_edge=False)
    for record in records:
        table.add_row(*(Text(_cell(record[name]), overflow="fold") for name in columns))
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        # Nobody looks: a row stays one line for grep and cut, however long.
        console.width = 10_000
    console.print(table)


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {each}" for name, each in value.items())
    return "" if value is None else _printable(str(value))


def _printable(text: str) -> str:
    """Replace control characters: what a caller said must not steer the operator's terminal."""
    return "".join(each if each.isprintable() else " " for each in text)


def _texts(group: BaseExceptionGroup[BaseException]) -> Iterable[str]:
    for error in group.exceptions:
        yield from _texts(error) if isinstance(error, BaseExceptionGroup) else [str(error)]
