"""What the doctor says of the keys, over stand-ins for the vendors' services."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from relay.cli.checks.check import CheckFailed, Undetermined
from relay.cli.checks.vendors import answering_machine, carrier, speech
from relay.settings import Settings
from relay.store.agent_registry import AgentRegistry
from relay.store.database import open_database
from tests.relay.cli.checks.small_server import Reply, small_server

pytestmark = pytest.mark.usefixtures("time_limit")

ACCOUNT = "/2010-04-01/Accounts/AC1.json"
MODEL = "/v1/models/claude-haiku-4-5"
TOKEN, KEY = "twilio-secret", "anthropic-secret"


def settings_for(url: str) -> Settings:
    return Settings(
        twilio_account_sid="AC1",
        twilio_auth_token=TOKEN,
        twilio_api_base_url=url,
        anthropic_api_key=KEY,
        anthropic_base_url=url,
    )


def as_json(code: int, /, **fields: str) -> Reply:
    return Reply(code, json.dumps(fields).encode(), {"content-type": "application/json"})


async def test_good_credentials_are_well() -> None:
    """An active account that answers to its token is fine, and the token went out as the password."""
    async with small_server({ACCOUNT: as_json(200, status="active", type="Full")}) as server:
        assert await carrier(settings_for(server.url)) == "The credentials are good."
    ((_path, headers),) = server.asked
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode() == f"AC1:{TOKEN}"


async def test_a_trial_account_is_reported() -> None:
    """A trial account is good credentials, and may not be enough for a call."""
    async with small_server({ACCOUNT: as_json(200, status="active", type="Trial")}) as server:
        assert "trial account" in await carrier(settings_for(server.url))


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_wrong_credentials_are_reported(status: int) -> None:
    """What the carrier refuses is wrong; the secret is not shown."""
    async with small_server({ACCOUNT: as_json(status, message=TOKEN)}) as server:
        with pytest.raises(CheckFailed, match=str(status)) as found:
            await carrier(settings_for(server.url))
    assert not isinstance(found.value, Undetermined)
    assert TOKEN not in found.value.detail + found.value.fix


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b'{"status": "suspended"}'),
        Reply(200, b'{"status": "closed"}'),
        Reply(403, b'{"code": 10001, "message": "Account is not active", "status": 403}'),
        Reply(401, b'{"code": 20005, "message": "Account not active", "status": 401}'),
    ],
    ids=["suspended", "closed", "10001", "20005"],
)
async def test_a_suspended_account_is_reported(reply: Reply) -> None:
    """The token of a suspended account is good for nothing, and no other token would be better."""
    async with small_server({ACCOUNT: reply}) as server:
        with pytest.raises(CheckFailed, match="suspended") as found:
            await carrier(settings_for(server.url))
    assert not isinstance(found.value, Undetermined)


@pytest.mark.parametrize("reply", [as_json(500), Reply(200, b"<html>")], ids=["out of order", "another's page"])
async def test_a_carrier_that_does_not_say_proves_nothing(reply: Reply) -> None:
    """An answer that says nothing of the credentials is no failure of theirs."""
    async with small_server({ACCOUNT: reply}) as server:
        with pytest.raises(Undetermined):
            await carrier(settings_for(server.url))


async def test_vendors_out_of_reach_prove_nothing() -> None:
    """Without a network it cannot be told whether a key is good."""
    async with small_server({}) as server:
        pass
    with pytest.raises(Undetermined, match="Connection refused"):
        await carrier(settings_for(server.url))
    with pytest.raises(Undetermined, match="cannot be reached"):
        await answering_machine(settings_for(server.url))


async def test_a_good_key_is_well() -> None:
    """A key that may use the model is fine."""
    model = as_json(200, type="model", id="claude-haiku-4-5", display_name="H", created_at="2025-10-01T00:00:00Z")
    async with small_server({MODEL: model}) as server:
        assert "claude-haiku-4-5" in await answering_machine(settings_for(server.url))


@pytest.mark.parametrize("status", [401, 403])
async def test_a_wrong_key_is_reported(status: int) -> None:
    """What Anthropic refuses is wrong; the secret is not shown."""
    async with small_server({MODEL: as_json(status, message=KEY)}) as server:
        with pytest.raises(CheckFailed, match=str(status)) as found:
            await answering_machine(settings_for(server.url))
    assert not isinstance(found.value, Undetermined)
    assert KEY not in found.value.detail + found.value.fix


async def test_a_model_that_is_not_there_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """At Anthropic's own address an unknown model is a wrong ANSWERING_MACHINE_MODEL."""
    async with small_server({}) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        with pytest.raises(CheckFailed, match="no model claude-haiku-4-5") as found:
            await answering_machine(Settings(anthropic_api_key=KEY))
    assert "ANSWERING_MACHINE_MODEL" in found.value.fix


@pytest.mark.parametrize(
    "reply", [Reply(404), as_json(529), Reply(200, b"<html>")], ids=["no models", "overloaded", "another's page"]
)
async def test_an_address_that_does_not_say_proves_nothing(reply: Reply) -> None:
    """A gateway without a list of models, or a busy service, says nothing of the key."""
    async with small_server({MODEL: reply}) as server:
        with pytest.raises(Undetermined):
            await answering_machine(settings_for(server.url))


# ── ElevenLabs ──────────────────────────────────────────────────────────────────────────────────────────────────────

SUBSCRIPTION, DEFAULT_VOICE, AGENTS_VOICE = "/v1/user/subscription", "EXAVITQu4vr4xnSDxMaL", "AAAAAAAAAAAAAAAAAAAA"
CREDIT = Reply(200, b'{"character_count": 400, "character_limit": 10000}')
GOOD = {
    SUBSCRIPTION: CREDIT,
    f"/v1/voices/{DEFAULT_VOICE}": Reply(200, b"{}"),
    f"/v1/voices/{AGENTS_VOICE}": Reply(200, b"{}"),
}


async def ask_elevenlabs(directory: Path, replies: Mapping[str, Reply], **changes: str) -> str:
    """Ask a stand-in about the default voice, and about that of an agent."""
    url = f"sqlite:///{directory / 'relay.db'}"
    async with open_database(url) as database:
        await AgentRegistry(database).add("my-client", voice=f"{AGENTS_VOICE}-flash_v2_5")
    async with small_server(replies) as server:
        given = {"database_url": url, "elevenlabs_api_key": KEY, "elevenlabs_base_url": server.url}
        try:
            told: str | CheckFailed = await speech(Settings(**(given | changes)))  # type: ignore[arg-type]
        except CheckFailed as ill:
            told = ill
    assert {headers["xi-api-key"] for _path, headers in server.asked} <= {KEY}
    if isinstance(told, CheckFailed):
        raise told
    return told


async def test_a_key_with_its_voices_and_credit_is_well(tmp_path: Path) -> None:
    """Key, voices and what is left are told."""
    told = await ask_elevenlabs(tmp_path, GOOD)
    assert told == "The key is good, has the voices, and 9600 credits are left."


async def test_the_carriers_own_voice_is_not_asked_for(tmp_path: Path) -> None:
    """An empty voice is none of the account's."""
    replies = {path: reply for path, reply in GOOD.items() if DEFAULT_VOICE not in path}
    assert "9600" in await ask_elevenlabs(tmp_path, replies, default_voice_id="")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({SUBSCRIPTION: Reply(401, b'{"detail": {"status": "invalid_api_key"}}')}, "ELEVENLABS_API_KEY"),
        ({SUBSCRIPTION: Reply(401, b'{"detail": {"type": "auth", "code": "invalid_api_key"}}')}, "ELEVENLABS_API_KEY"),
        ({f"/v1/voices/{DEFAULT_VOICE}": Reply(404, b'{"detail": {"code": "voice_not_found"}}')}, "DEFAULT_VOICE_ID"),
        ({f"/v1/voices/{DEFAULT_VOICE}": Reply(400, b'{"detail": {"status": "voice_not_found"}}')}, "DEFAULT_VOICE_ID"),
        ({f"/v1/voices/{AGENTS_VOICE}": Reply(404)}, "my-client's voice"),
        ({SUBSCRIPTION: Reply(200, b'{"character_count": 10000, "character_limit": 10000}')}, "no credit"),
        ({SUBSCRIPTION: Reply(200, b'{"character_count": 10001, "character_limit": 10000}')}, "no credit"),
    ],
)
async def test_what_keeps_elevenlabs_from_speaking_is_reported(
    tmp_path: Path, changes: dict[str, Reply], told: str
) -> None:
    """A key that is no good, a voice that is gone, an account without credit: each with what to do."""
    with pytest.raises(CheckFailed, match=told) as found:
        await ask_elevenlabs(tmp_path, GOOD | changes)
    assert not isinstance(found.value, Undetermined)
    assert found.value.fix
    assert KEY not in found.value.detail + found.value.fix


@pytest.mark.parametrize(
    "changes",
    [
        {SUBSCRIPTION: Reply(401, b'{"detail": {"status": "missing_permissions"}}')},
        {f"/v1/voices/{DEFAULT_VOICE}": Reply(403, b'{"detail": {"code": "missing_permissions"}}')},
        {SUBSCRIPTION: Reply(500)},
        {SUBSCRIPTION: Reply(200, b"<html>")},
        {SUBSCRIPTION: Reply(200, b'{"character_count": null, "character_limit": "10"}')},
        {f"/v1/voices/{AGENTS_VOICE}": Reply(503)},
    ],
)
async def test_what_elevenlabs_does_not_tell_is_left_open(tmp_path: Path, changes: dict[str, Reply]) -> None:
    """A key that may only speak is a good one."""
    with pytest.raises(Undetermined):
        await ask_elevenlabs(tmp_path, GOOD | changes)


async def test_elevenlabs_out_of_reach_proves_nothing(tmp_path: Path) -> None:
    """Without a network it cannot be told."""
    with pytest.raises(Undetermined, match="cannot be reached"):
        await ask_elevenlabs(tmp_path, {}, elevenlabs_base_url="http://127.0.0.1:1")
