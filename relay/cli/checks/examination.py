"""All checks, in order, on one set of settings; the checks of what is on this machine are here too."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import trio
from sqlalchemy import Connection, delete, false

from actors.errors import StoreFailed
from relay.agent import Agent
from relay.cli.checks import own_numbers as numbers
from relay.cli.checks import reach, vendors
from relay.cli.checks.check import Check, CheckFailed, Finding, NotApplicable, Undetermined, Verdict
from relay.cli.checks.nodes import nodes
from relay.daemon.address import find_daemon
from relay.daemon.credentials import find_carrier_token
from relay.errors import SettingsError
from relay.http import descriptors
from relay.settings import Settings
from relay.speech.languages import lacking, read_language
from relay.speech.voices import read_voice
from relay.store import schema
from relay.store.agent_registry import AgentRegistry
from relay.store.database import open_database
from relay.store.engine import exposed_files, file_of, require_database, shown
from relay.store.files import beside_database, exposed

CHECK_SECONDS = 10.0

# A secret of the simulated carrier, the address and secret of the daemon, the audio of voice messages.
_KEPT_BESIDE = (".token", ".daemon", ".audio")


async def examine(
    load: Callable[[], Settings],
    tell: Callable[[Finding], None],
    *,
    patience: float = CHECK_SECONDS,
    warnings: Sequence[str] = (),
) -> list[Finding]:
    """Run all checks in order, telling each finding as soon as it is there; return all of them.

    `load` gives the settings or raises `SettingsError`, and fills `warnings`, which the finding about the
    settings repeats; `patience` is how many seconds each check may take. Only
    opening a database cannot be cut short: SQLite gives up after some seconds, PostgreSQL as `connect_timeout` in its
    URL says. Cancelling closes all that was opened.
    """
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        tell(finding)

    try:
        settings = load()
    except SettingsError as error:
        note(Finding("settings", Verdict.FAILED, str(error)))
        for check in CHECKS[1:]:
            note(Finding(check.name, Verdict.SKIPPED, "Not asked before settings is ok."))
        return findings
    settings = await trio.to_thread.run_sync(_as_local, settings)
    for check in CHECKS:
        passed = {each.check for each in findings if each.verdict is Verdict.OK}
        finding = await check.run(settings, passed, patience)
        if check.name == "settings" and warnings:
            finding = attrs.evolve(finding, fix=" ".join(each for each in (finding.fix, *warnings) if each))
        note(finding)
    return findings


def _as_local(settings: Settings) -> Settings:
    """Return the settings that a daemon which was started with `--local` has made for itself, if one runs here."""
    daemon = find_daemon(settings.database_url)
    if daemon is None or not daemon.is_local:
        return settings
    return settings.model_copy(
        update={"public_url": daemon.public_url, "twilio_auth_token": find_carrier_token(settings)}
    )


async def _settings(settings: Settings) -> str:
    """Look for what `relay serve` asks for without `--local`; a daemon that runs with it needs nothing."""
    daemon = await trio.to_thread.run_sync(find_daemon, settings.database_url)
    if daemon is not None and daemon.is_local:
        return "The daemon runs with --local: `relay call` and the simulated carrier reach it, real callers do not."
    missing = [
        f"{name} ({source})"
        for name, value, source in (
            ("TWILIO_ACCOUNT_SID", settings.twilio_account_sid, "on the first page of the Twilio console"),
            ("TWILIO_AUTH_TOKEN", settings.twilio_auth_token, "beside it"),
            ("PUBLIC_URL", settings.public_url, "the https origin at which the carrier reaches the daemon"),
        )
        if not value
    ]
    if missing:
        raise CheckFailed(
            "Real calls need more settings.",
            f"Set {', '.join(missing)}, in the environment or in .env. Without an account: relay serve --local",
        )
    return "All that real calls need is set."


async def _files(settings: Settings) -> str:
    """Check whether others on this machine can read what callers said, or the secrets that are kept beside it.

    Before the database is opened: that restricts the permissions, and then the finding would be lost.
    """
    if found := await trio.to_thread.run_sync(_exposed, settings.database_url):
        names = " ".join(shlex.quote(str(each)) for each in found)
        raise CheckFailed(
            "Others on this machine may look into files that hold what callers said, or secrets.",
            f"Take that from them with: chmod go= {names}",
        )
    return "The files of the database, and what is kept beside it, are their owner's alone."


def _exposed(database_url: str) -> list[Path]:
    database = file_of(database_url)
    beside = [beside_database(database_url, suffix) for suffix in _KEPT_BESIDE]
    return [*([] if database is None else exposed_files(database)), *exposed(beside)]


async def _database(settings: Settings) -> str:
    """Bring the tables up to date, as every command does, and write."""
    require_database(settings.database_url)
    try:
        async with open_database(settings.database_url) as database:
            await database.write(_delete_nothing)
    except StoreFailed as error:
        fix = "Give the relay's user the right to write there, or set DATABASE_URL to another place."
        raise CheckFailed(f"{shown(settings.database_url)} can be read, but {error}.", fix) from error
    return f"{shown(settings.database_url)} is up to date and takes writes."


def _delete_nothing(connection: Connection) -> None:
    # Matches no row, and yet is refused where writing is: on a replica, or without the right.
    connection.execute(delete(schema.agents).where(false()))


async def _answering_machine(settings: Settings) -> str:
    """Ask whether the key is good, and compare with the daemon, which may have been started with other settings."""
    daemon = await trio.to_thread.run_sync(find_daemon, settings.database_url)
    is_on = None if daemon is None or daemon.live is None else daemon.live.get("answeringMachine")
    if not settings.anthropic_api_key:
        if is_on:
            raise NotApplicable(
                "Not set here: ANTHROPIC_API_KEY. The daemon was started with one, and its answering machine is on.",
                "To have the key checked, set it in this terminal too, or in .env.",
            )
        raise NotApplicable(
            "Not set: ANTHROPIC_API_KEY.",
            "There is no answering machine: callers whose client is away hear that nobody is available.",
        )
    found = await vendors.answering_machine(settings)
    if is_on is False:
        raise CheckFailed(
            f"{found} But the daemon was started without it: its answering machine is off.", "Start it again."
        )
    return found


async def _agents(settings: Settings) -> str:
    async with open_database(settings.database_url) as database:
        registered = await AgentRegistry(database).list()
    if not registered:
        raise CheckFailed("No agent is registered, so no number can be answered.", "Add one with: relay agents add ID")
    return f"Registered: {len(registered)}."


async def _voices(settings: Settings) -> str:
    """Check whether each agent's language and voice, or those of the settings, can be used in a conversation."""
    async with open_database(settings.database_url) as database:
        registered = await AgentRegistry(database).list()
    wrong = [sentence for agent in registered for sentence in _unusable(agent)]
    if wrong:
        raise CheckFailed(" ".join(wrong), "Set others with: relay agents set ID --language TAG --voice VOICE")
    own = {each.agent_id: each.language for each in registered if each.language}
    doubts = [f"{agent_id} ({tag}): {gaps}." for agent_id, tag in own.items() if (gaps := lacking(tag))]
    if gaps := lacking(settings.default_voice_language):
        doubts.append(f"DEFAULT_VOICE_LANGUAGE ({settings.default_voice_language}): {gaps}.")
    if doubts:
        raise Undetermined(f"Calls may fail at once in the language of {' '.join(doubts)}", "Only a call can show.")
    return "Every language and voice has the form that the carrier takes."


def _unusable(agent: Agent) -> Iterator[str]:
    """Return what an earlier version let through, or a hand in the database wrote."""
    for name, value, read in (("language", agent.language, read_language), ("voice", agent.voice, read_voice)):
        try:
            if value:
                read(value)
        except ValueError as error:
            yield f"{agent.agent_id}'s {name} cannot be used: {error}"


async def _descriptors(settings: Settings) -> str:
    """Compare what the daemon may raise its limit to with what as many calls as it takes need."""
    await trio.lowlevel.checkpoint()
    got, needed = descriptors.attainable(), descriptors.needed_for(settings.relay_max_calls)
    if got < needed:
        raise CheckFailed(
            f"A process may have {got} file descriptors here; {settings.relay_max_calls} calls at once need {needed}.",
            "Raise the hard limit (ulimit -Hn; LimitNOFILE= of a systemd unit), or lower RELAY_MAX_CALLS.",
        )
    return f"A process may have {got} here; {settings.relay_max_calls} calls at once need {needed}."


CHECKS = (
    Check(name="settings", look=_settings),
    Check(name="descriptors", look=_descriptors),
    Check(name="files", look=_files),
    Check(name="database", look=_database),
    Check(
        name="public_url",
        look=reach.public_url,
        needs=("public_url",),
        if_silent="Look at the proxy or tunnel in front of the daemon, and at the daemon's log.",
    ),
    Check(name="signature", look=reach.signature, needs=("twilio_auth_token",), after="public_url"),
    Check(name="upgrade", look=reach.upgrade, after="signature", if_silent=reach.FORWARD_UPGRADES),
    Check(
        name="nodes",
        look=nodes,
        needs=("relay_node_url",),
        consequence="A daemon serves the database alone.",
        after="database",
        if_silent="Look whether this machine may reach every node at its RELAY_NODE_URL.",
    ),
    Check(
        name="carrier", look=vendors.carrier, needs=("twilio_account_sid", "twilio_auth_token"), silence=Undetermined
    ),
    Check(name="anthropic", look=_answering_machine, silence=Undetermined),
    Check(name="agents", look=_agents, after="database"),
    Check(name="voices", look=_voices, after="agents"),
    Check(
        name="webhooks",
        look=numbers.webhooks,
        needs=("twilio_account_sid", "twilio_auth_token", "public_url"),
        after="agents",
        silence=Undetermined,
    ),
    Check(
        name="elevenlabs",
        look=vendors.speech,
        needs=("elevenlabs_api_key",),
        consequence="Voice messages are spoken by another engine.",
        after="database",
        silence=Undetermined,
    ),
)
"""In the order in which they are told; a check comes later than the one that it depends on."""
