"""`relay agents`: register agents, manage their tokens, and say where their clients and the carrier reach the relay."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from relay.cli.groups import HelpGroup
from relay.cli.hosts import HOSTS
from relay.cli.opened_database import with_database
from relay.cli.printing import example, json_option, print_json, print_record, print_table, warn
from relay.errors import AgentError

if TYPE_CHECKING:
    from relay.agent import Agent
    from relay.settings import Settings
    from relay.store.database import Database


@click.group(cls=HelpGroup, epilog=example("relay agents add my-client --for vscode"))
def agents() -> None:
    """Register and change agents, and manage their tokens."""


def _normalised(_context: click.Context, _option: click.Parameter, number: str | None) -> str | None:
    """Put a number into E.164 form, before the database is opened for it; an empty one stays empty."""
    from relay.dialling.numbers import normalise

    return normalise(number) if number else number


def _checked(read: Callable[[str], str]) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Return a check of an option, made before the database is opened for it; an empty one stays empty."""

    def check(_context: click.Context, option: click.Parameter, given: str | None) -> str | None:
        try:
            return read(given) if given else given
        except ValueError as error:
            raise AgentError(f"{option.opts[0]} cannot be used: {error}") from error

    return check


def _voice(given: str) -> str:
    from relay.speech.voices import read_voice

    read_voice(given.strip())
    return given.strip()


def _language(given: str) -> str:
    from relay.speech.languages import lacking, read_language

    tag = read_language(given.strip())
    if gaps := lacking(tag):
        warn(f"A call in {tag} may fail at once: {gaps}. Voice messages may still do.")
    return tag


def _given(_context: click.Context, _option: click.Parameter, sentences: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return None for an option that may be repeated and was not given at all, as for the others."""
    return sentences or None


_NARROW = ("agentId", "number", "language", "waitingMessages")

# What can be said of an agent, when it is added and later.
_DESCRIPTION = (
    click.option(
        "--number",
        metavar="E164",
        callback=_normalised,
        help="Its telephone number, such as +14155552671; calls are made from it.",
    ),
    click.option("--greeting", metavar="TEXT", help="What a caller hears first, instead of DEFAULT_VOICE_GREETING."),
    click.option("--system-prompt", metavar="TEXT", help="What its client is told with each turn."),
    click.option(
        "--voice",
        metavar="VOICE",
        callback=_checked(_voice),
        help="An ElevenLabs voice, instead of DEFAULT_VOICE_ID; none is the carrier's own for the language.",
    ),
    click.option(
        "--language",
        metavar="TAG",
        callback=_checked(_language),
        help="Such as en-US, instead of DEFAULT_VOICE_LANGUAGE.",
    ),
    click.option(
        "--name", metavar="TEXT", help='On whose behalf it calls, as its calls say first, such as "Ada\'s office".'
    ),
    click.option(
        "--filler",
        "fillers",
        metavar="TEXT",
        multiple=True,
        callback=_given,
        help="What a caller hears who waits for its client; given several times, they are said by turns.",
    ),
    click.option("--long-filler", metavar="TEXT", help="What a caller hears who waits longer."),
    click.option("--no-fillers", is_flag=True, help="Let callers wait in silence, but for fillers given with this."),
)


def _describing(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_DESCRIPTION):
        command = option(command)
    return command


_for_host = click.option(
    "--for",
    "host",
    type=click.Choice(sorted(HOSTS)),
    help="Print what to paste for this host, with the token in it.",
)


@agents.command("add", epilog=example("relay agents add my-client --for vscode"))
@click.argument("agent_id", metavar="ID")
@_describing
@click.option(
    "--disclosure/--no-disclosure",
    "discloses",
    default=True,
    show_default=True,
    help="Whether calls that it makes open with the sentence that a machine is calling.",
)
@_for_host
@json_option
def add_agent(*, agent_id: str, host: str | None, as_json: bool, **described: Any) -> None:
    """Register an agent and print its token, which is shown only now."""

    from relay.store.agent_registry import AgentRegistry

    async def work(database: Database, settings: Settings) -> dict[str, str]:
        _agent, token = await AgentRegistry(database).add(agent_id, **described)
        return _addresses(settings, agent_id, token)

    _print_access(with_database(work, creates=True), host, as_json=as_json)


@agents.command("set", epilog=example("relay agents set my-client --language de-DE --voice none"))
@click.argument("agent_id", metavar="ID")
@_describing
@click.option(
    "--disclosure/--no-disclosure",
    "discloses",
    default=None,
    help="Whether calls that it makes open with the sentence that a machine is calling.",
)
@json_option
def set_agent(*, agent_id: str, as_json: bool, no_fillers: bool, **described: Any) -> None:
    """Change what is given of an agent, and print it. Its next calls are so.

    An empty text takes a thing away: --greeting "" brings the greeting of the settings back, --filler "" the fillers of
    the call's language.
    """
    from relay.store.agent_registry import AgentRegistry

    if not no_fillers and all(each is None for each in described.values()):
        raise click.UsageError("Say what to change, such as --name or --number. See: relay agents set --help")

    async def work(database: Database, _settings: Settings) -> Agent:
        return await AgentRegistry(database).change(agent_id, no_fillers=no_fillers, **described)

    changed = with_database(work)
    print_record(_description(changed) if as_json else _description(changed) | _readable(changed), as_json=as_json)


@agents.command("rotate", epilog=example("relay agents rotate my-client --for claude-code"))
@click.argument("agent_id", metavar="ID")
@_for_host
@json_option
def rotate_agent(agent_id: str, host: str | None, as_json: bool) -> None:
    """Replace an agent's token; the old one is invalid from then on."""

    from relay.store.agent_registry import AgentRegistry

    async def work(database: Database, settings: Settings) -> dict[str, str]:
        return _addresses(settings, agent_id, await AgentRegistry(database).rotate(agent_id))

    _print_access(with_database(work), host, as_json=as_json)


@agents.command("list", epilog=example("relay agents list"))
@json_option
def list_agents(as_json: bool) -> None:
    """List the agents."""

    from relay.store.agent_registry import AgentRegistry
    from relay.store.waiting_messages import WaitingMessages

    async def work(database: Database, _settings: Settings) -> list[dict[str, Any]]:
        waiting = WaitingMessages(database)
        return [
            _description(each) | {"waitingMessages": await waiting.count(each.agent_id)}
            for each in await AgentRegistry(database).list()
        ]

    found = with_database(work)
    if as_json:
        print_json({"agents": found})
    else:
        columns = ["agentId", "number", "name", "discloses", "voice", "language", "waitingMessages", "createdAt"]
        print_table(
            found, columns, empty="No agents. Add one with: relay agents add ID", narrow=_NARROW, whole="--json"
        )


@agents.command("remove", epilog=example("relay agents remove my-client"))
@click.argument("agent_id", metavar="ID")
@click.option("--discard-messages", is_flag=True, help="Throw away the messages that wait for it.")
@json_option
def remove_agent(agent_id: str, discard_messages: bool, as_json: bool) -> None:
    """Forget an agent: its token, messages, and ended calls with their transcripts.

    Refused while messages wait for it. The do-not-call list stays. Calls that are going on go on; what is said in them
    is kept, for nobody but you, and while it is there no new agent can have the id: remove it again then.
    """

    from relay.store.agent_registry import AgentRegistry

    async def work(database: Database, _settings: Settings) -> None:
        await AgentRegistry(database).remove(agent_id, discard_messages=discard_messages)

    with_database(work)
    if as_json:
        print_json({"removed": agent_id})
    else:
        click.echo(f"Agent {agent_id} is removed.")


def _description(agent: Agent) -> dict[str, Any]:
    from relay.store.schema import timestamp

    return {
        "agentId": agent.agent_id,
        "number": agent.number,
        "name": agent.name,
        "discloses": agent.discloses,
        "greeting": agent.greeting,
        "systemPrompt": agent.system_prompt,
        "voice": agent.voice,
        "language": agent.language,
        "fillers": None if agent.fillers is None else list(agent.fillers),
        "longFiller": agent.long_filler,
        "createdAt": timestamp(agent.created_at),
    }


def _readable(agent: Agent) -> dict[str, str | None]:
    """Return for people what programs get as a list, or as a text that may be empty."""
    short = agent.fillers if agent.fillers is None else " | ".join(agent.fillers) or "none"
    return {
        "voice": "none" if agent.voice == "" else agent.voice,
        "fillers": short,
        "longFiller": "none" if agent.long_filler == "" else agent.long_filler,
    }


def _addresses(settings: Settings, agent_id: str, token: str) -> dict[str, str]:
    """Return the addresses at which the agent's client and the carrier reach the relay."""
    from relay.daemon.address import find_daemon
    from relay.twilio.urls import CarrierUrls

    daemon = find_daemon(settings.database_url)
    # An IPv6 address stands in brackets in a URL (RFC 3986, section 3.2.2).
    host = f"[{settings.relay_host}]" if ":" in settings.relay_host else settings.relay_host
    configured = settings.public_url or f"http://{host}:{settings.relay_port}"
    # What the daemon listens on need not be what the settings here say: it may have been started with --port.
    origin = configured if daemon is None else daemon.public_url
    return {
        "agentId": agent_id,
        "token": token,
        # With the token inside, because most clients that speak SSE take an address and no headers.
        "sseUrl": f"{origin}/sse?token={quote(token, safe='')}",
        "mcpUrl": f"{origin}/mcp",
        "voiceWebhook": CarrierUrls(origin).voice(agent_id),
    }


def _print_access(access: dict[str, str], host: str | None, *, as_json: bool) -> None:
    if host is None:
        if not as_json:
            click.echo("Keep the token: it is not shown again.\n")
        print_record(access, as_json=as_json)
        return
    chosen = HOSTS[host]
    paste = chosen.lines(access["mcpUrl"].removesuffix("/mcp"), access["token"])
    if as_json:
        print_json(access | {"for": host, "where": chosen.where, "paste": paste, "then": chosen.then})
        return
    click.echo("Keep the token: it is not shown again.\n")
    print_record(access, as_json=False)
    click.echo(f"\nPaste {chosen.where}:\n\n{paste}\n\n{chosen.then}")
