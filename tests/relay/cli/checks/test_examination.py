"""The whole examination: which checks are made, in which order, and what one failure means for the others."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from relay.cli.checks.check import Finding, Verdict
from relay.cli.checks.examination import CHECKS, examine
from relay.errors import SettingsError
from relay.settings import Settings
from relay.simulator.load.local_daemon import ACCOUNT
from relay.store.agent_registry import AgentRegistry
from relay.store.database import open_database
from relay.store.engine import open_engine
from tests.forked_process import run_local_daemon
from tests.relay.cli.checks.small_server import Reply, small_server

pytestmark = pytest.mark.usefixtures("time_limit")

NAMES = [
    *("settings", "descriptors", "files", "database", "public_url", "signature", "upgrade", "nodes", "carrier"),
    *("anthropic", "agents", "voices", "webhooks", "elevenlabs"),
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings with a database of their own and nothing else."""
    url = f"sqlite:///{tmp_path / 'relay.db'}"
    open_engine(url).dispose()
    return Settings(database_url=url)


async def findings_for(settings: Settings, patience: float = 10) -> dict[str, Finding]:
    """Examine these settings; return the findings by check."""
    return {each.check: each for each in await examine(lambda: settings, lambda _: None, patience=patience)}


@pytest.mark.e2e
async def test_a_daemon_with_all_it_needs_is_well(tmp_path: Path) -> None:
    """With a daemon that runs, an agent, and vendors that take the keys, every check is fine."""
    account, model = f"/2010-04-01/Accounts/{ACCOUNT}.json", "/v1/models/claude-haiku-4-5"
    as_json = {"content-type": "application/json"}
    replies = {
        account: Reply(200, b'{"status": "active"}', as_json),
        model: Reply(200, b'{"id": "claude-haiku-4-5"}', as_json),
        "/v1/user/subscription": Reply(200, b'{"character_count": 1, "character_limit": 10}', as_json),
        "/v1/voices/EXAVITQu4vr4xnSDxMaL": Reply(200, b"{}", as_json),
    }
    async with (
        small_server(replies) as vendors,
        run_local_daemon(tmp_path, {"ANTHROPIC_API_KEY": "key", "ANTHROPIC_BASE_URL": vendors.url}) as daemon,
    ):
        await daemon.register("my-client")
        settings = Settings(
            database_url=f"sqlite:///{tmp_path / 'relay.db'}",
            public_url=daemon.url,
            twilio_account_sid=ACCOUNT,
            twilio_auth_token=daemon.token,
            twilio_api_base_url=vendors.url,
            anthropic_api_key="key",
            anthropic_base_url=vendors.url,
            elevenlabs_api_key="key",
            elevenlabs_base_url=vendors.url,
        )
        found = await findings_for(settings)
    of_one = dict.fromkeys(NAMES, Verdict.OK) | {"nodes": Verdict.SKIPPED}
    assert {name: finding.verdict for name, finding in found.items()} == of_one


async def test_findings_are_reported_as_they_come(settings: Settings) -> None:
    """Each finding is told once, in the order of the checks, and returned."""
    told: list[Finding] = []
    findings = await examine(lambda: settings, told.append)
    assert told == findings
    assert [each.check for each in told] == NAMES == [each.name for each in CHECKS]


async def test_missing_settings_are_named_with_the_way_out(settings: Settings) -> None:
    """Each setting that real calls need is named, and how to try the relay without them."""
    fix = (await findings_for(settings.model_copy(update={"twilio_account_sid": "AC1"})))["settings"].fix
    assert "TWILIO_ACCOUNT_SID" not in fix
    assert "TWILIO_AUTH_TOKEN" in fix
    assert "PUBLIC_URL" in fix
    assert "relay serve --local" in fix


async def test_what_a_missing_setting_is_needed_for_is_skipped(settings: Settings) -> None:
    """Without an address and credentials nothing is asked of anybody; it is said what a missing key means."""
    found = await findings_for(settings)
    assert {name for name, each in found.items() if each.verdict is Verdict.SKIPPED} == {*NAMES[4:10], *NAMES[11:]}
    assert found["public_url"].text == "Not set: PUBLIC_URL."
    assert "nobody is available" in found["anthropic"].text


async def test_settings_that_cannot_be_read_leave_nothing_to_check() -> None:
    """The fault is told in its own words, and all else is skipped."""

    def load() -> Settings:
        raise SettingsError("RELAY_PROT is not a setting of the relay. Did you mean RELAY_PORT?")

    first, *others = await examine(load, lambda _: None)
    assert (first.check, first.verdict) == ("settings", Verdict.FAILED)
    assert "RELAY_PORT?" in first.detail
    assert [each.check for each in others] == NAMES[1:]
    assert {each.verdict for each in others} == {Verdict.SKIPPED}


async def test_a_check_after_a_failed_one_is_skipped(settings: Settings) -> None:
    """One fault is one failure: what builds on it is skipped, naming it."""
    async with small_server({}) as server:
        found = await findings_for(
            settings.model_copy(update={"public_url": server.url, "twilio_auth_token": "secret"})
        )
    assert found["public_url"].verdict is Verdict.FAILED
    assert (found["signature"].verdict, found["signature"].detail) == (
        Verdict.SKIPPED,
        "Not asked before public_url is ok.",
    )
    assert found["upgrade"].verdict is Verdict.SKIPPED


async def test_silence_is_bounded(settings: Settings) -> None:
    """A server that never answers is a failure at the public address, and leaves it open at a vendor's."""
    replies = {"/health": Reply(0), "/2010-04-01/Accounts/AC1.json": Reply(0), "/v1/models/claude-haiku-4-5": Reply(0)}
    async with small_server(replies) as server:
        silent = settings.model_copy(
            update={
                "public_url": server.url,
                "twilio_account_sid": "AC1",
                "twilio_auth_token": "secret",
                "twilio_api_base_url": server.url,
                "anthropic_api_key": "key",
                "anthropic_base_url": server.url,
            }
        )
        found = await findings_for(silent, patience=0.05)
    assert found["public_url"].verdict is Verdict.FAILED
    assert "no answer within 0.05 seconds" in found["public_url"].detail
    assert "proxy" in found["public_url"].fix
    assert found["carrier"].verdict is found["anthropic"].verdict is Verdict.UNKNOWN


async def test_an_agent_is_asked_for(settings: Settings) -> None:
    """Without an agent it is told how to add one; with one that check is fine."""
    without = (await findings_for(settings))["agents"]
    assert (without.verdict, without.fix) == (Verdict.FAILED, "Add one with: relay agents add ID")
    async with open_database(settings.database_url) as database:
        await AgentRegistry(database).add("my-client")
    assert (await findings_for(settings))["agents"].verdict is Verdict.OK


async def test_a_database_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    """A directory that is not there is named, and agents cannot be looked for."""
    found = await findings_for(Settings(database_url=f"sqlite:///{tmp_path / 'none' / 'relay.db'}"))
    assert found["database"].verdict is Verdict.FAILED
    assert "directory" in found["database"].text
    assert found["agents"].verdict is Verdict.SKIPPED


async def test_a_database_of_a_newer_relay_is_reported(settings: Settings, tmp_path: Path) -> None:
    """A database that this relay is too old for is left alone."""
    await findings_for(settings)
    connection = sqlite3.connect(tmp_path / "relay.db")
    connection.execute("UPDATE alembic_version SET version_num = 'from-the-future'")
    connection.commit()
    connection.close()
    found = (await findings_for(settings))["database"]
    assert found.verdict is Verdict.FAILED
    assert "newer relay" in found.text


async def test_a_database_that_takes_no_writes_is_reported(settings: Settings, tmp_path: Path) -> None:
    """A database that can only be read is a failure."""
    await findings_for(settings)
    reading = f"sqlite:///file:{tmp_path / 'relay.db'}?mode=ro&uri=true"
    found = (await findings_for(Settings(database_url=reading)))["database"]
    assert found.verdict is Verdict.FAILED
    assert "right to write" in found.text


@pytest.mark.e2e
async def test_a_local_daemon_is_checked_as_such(tmp_path: Path) -> None:
    """Beside a daemon that was started with `--local` all that it needs is fine, at the address that it has."""
    async with run_local_daemon(tmp_path) as daemon:
        await daemon.register("my-client")
        found = await findings_for(Settings(database_url=f"sqlite:///{tmp_path / 'relay.db'}"))
    fine = {name for name, each in found.items() if each.verdict is Verdict.OK}
    assert fine == {
        "settings",
        "descriptors",
        "files",
        "database",
        "public_url",
        "signature",
        "upgrade",
        "agents",
        "voices",
    }
    assert daemon.url in found["public_url"].text
    assert "--local" in found["settings"].text


@pytest.mark.e2e
@pytest.mark.parametrize("is_on", [True, False])
async def test_a_key_that_daemon_and_operator_do_not_share_is_reported(tmp_path: Path, *, is_on: bool) -> None:
    """The doctor does not say that there is no answering machine while the daemon has one, nor the other way round."""
    model = {
        "/v1/models/claude-haiku-4-5": Reply(200, b'{"id": "claude-haiku-4-5"}', {"content-type": "application/json"})
    }
    async with small_server(model) as vendors:
        given = {"ANTHROPIC_API_KEY": "key", "ANTHROPIC_BASE_URL": vendors.url}
        settings = Settings(database_url=f"sqlite:///{tmp_path / 'relay.db'}")
        if not is_on:
            settings = settings.model_copy(update={"anthropic_api_key": "key", "anthropic_base_url": vendors.url})
        async with run_local_daemon(tmp_path, given if is_on else {}):
            found = (await findings_for(settings))["anthropic"]
    if is_on:
        assert found.verdict is Verdict.SKIPPED
        assert "its answering machine is on" in found.text
    else:
        assert found.verdict is Verdict.FAILED
        assert "its answering machine is off" in found.text


async def test_languages_and_voices_of_all_agents_are_looked_at(settings: Settings) -> None:
    """What an earlier version let through is named by its agent; what may only be unknown to us is left open."""
    async with open_database(settings.database_url) as database:
        registry = AgentRegistry(database)
        await registry.add("anna", language="de-DE", voice="EXAVITQu4vr4xnSDxMaL")
        await registry.add("bert", voice="none")
        found = (await findings_for(settings))["voices"]
        assert found.verdict is Verdict.OK
        await registry.add("carl", language="eu-ES")
        found = (await findings_for(settings))["voices"]
        assert (found.verdict, "carl (eu-ES)" in found.detail) == (Verdict.UNKNOWN, True)
        await registry.add("dora", language="english")
        await registry.add("emil", voice="Joanna")
        found = (await findings_for(settings))["voices"]
    assert found.verdict is Verdict.FAILED
    assert "dora's language" in found.detail
    assert "Did you mean en-US?" in found.detail
    assert "emil's voice" in found.detail
    assert "anna" not in found.detail
    assert "relay agents set ID" in found.fix


async def test_warnings_about_the_settings_are_in_the_report(settings: Settings) -> None:
    """A name that is nearly a setting's is told of with the settings, which are no failure for it."""
    complete = settings.model_copy(
        update={"twilio_account_sid": "AC1", "twilio_auth_token": "t", "public_url": "https://127.0.0.1:1"}
    )
    findings = await examine(lambda: complete, lambda _: None, warnings=["ANTROPIC_API_KEY is not a setting."])
    assert (findings[0].verdict, findings[0].fix) == (Verdict.OK, "ANTROPIC_API_KEY is not a setting.")


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((f"relay.db{suffix}", 0o644) for suffix in ("", "-wal", "-shm", ".token", ".daemon")),
        *(("relay.db.token", mode) for mode in (0o604, 0o640, 0o620, 0o660, 0o755)),
    ],
)
async def test_files_others_may_read_are_reported(settings: Settings, tmp_path: Path, name: str, mode: int) -> None:
    """Each is named with the command that closes it; closed, all is well."""
    path = tmp_path / name
    path.touch()
    path.chmod(mode)
    found = (await findings_for(settings))["files"]
    assert (found.verdict, found.fix) == (Verdict.FAILED, f"Take that from them with: chmod go= {path}")
    if path.exists():  # looking at the database may have removed what lay beside it
        path.chmod(0o600)
    assert (await findings_for(settings))["files"].verdict is Verdict.OK


async def test_a_folder_of_audio_that_others_may_read_is_reported(tmp_path: Path) -> None:
    """Where the folder of the database has a blank in its name, too."""
    (tmp_path / "my relay").mkdir()
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'my relay' / 'relay.db'}")
    audio = tmp_path / "my relay" / "relay.db.audio"
    audio.mkdir(mode=0o755)
    found = (await findings_for(settings))["files"]
    assert (found.verdict, found.fix) == (Verdict.FAILED, f"Take that from them with: chmod go= '{audio}'")
    audio.chmod(0o700)
    assert (await findings_for(settings))["files"].verdict is Verdict.OK


async def test_calls_that_need_more_descriptors_than_there_are_is_reported(settings: Settings) -> None:
    """Where no process may have as many open sockets as the calls need, the doctor says how to raise that."""
    found = (await findings_for(settings.model_copy(update={"relay_max_calls": 10_000_000})))["descriptors"]
    assert found.verdict is Verdict.FAILED
    assert "LimitNOFILE" in found.text
    assert (await findings_for(settings.model_copy(update={"relay_max_calls": 1})))["descriptors"].verdict is Verdict.OK
