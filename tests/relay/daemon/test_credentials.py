"""The daemon's credentials: the settings', or with `--local` a secret that the simulated carrier shares."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from relay.daemon.credentials import (
    LOCAL_ACCOUNT,
    Credentials,
    carrier_credentials,
    carrier_token,
    require_loopback,
    token_path,
)
from relay.errors import SettingsError
from relay.settings import Settings


def settings_at(path: Path) -> Settings:
    return Settings(database_url=f"sqlite:///{path / 'relay.db'}")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_is_allowed(host: str) -> None:
    """Every name of this machine's own loopback will do."""
    require_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.com", "localhost.example.com", ""])
def test_anything_else_is_refused(host: str) -> None:
    """An address that others can reach is refused, and the error says what to do."""
    with pytest.raises(SettingsError, match=r"loopback only.*RELAY_HOST.*drop --local"):
        require_loopback(host)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///relay.db", "relay.db.token"),
        ("sqlite:////var/lib/relay/calls.db", "/var/lib/relay/calls.db.token"),
        ("sqlite://", "relay.db.token"),
        ("sqlite:///:memory:", "relay.db.token"),
        ("postgresql://host/relay", "relay.db.token"),
        ("postgresql://relay:secret@host/calls", "calls.db.token"),
        ("postgresql://host", "relay.db.token"),
        ("postgresql://host/../etc/passwd", "_etc_passwd.db.token"),
    ],
)
def test_the_secret_is_kept_beside_the_database(url: str, path: str) -> None:
    """Its file has the database's name with `.token`; without a file it is in the working directory."""
    assert token_path(Settings(database_url=url)) == Path(path)


def test_a_database_url_that_is_none_is_said_to_be_so() -> None:
    """The operator is told which setting to fix; its value, which may hold a password, is not shown."""
    with pytest.raises(SettingsError, match="DATABASE_URL") as refusal:
        token_path(Settings(database_url="relay:hidden@db"))
    assert "hidden" not in str(refusal.value)


def test_the_secret_is_made_once(tmp_path: Path) -> None:
    """The first to ask makes it, everybody after gets the same."""
    token = carrier_token(settings_at(tmp_path))
    assert len(token) >= 32
    assert carrier_token(settings_at(tmp_path)) == token


def test_each_database_has_a_secret_of_its_own(tmp_path: Path) -> None:
    """What signs for one daemon does not sign for another."""
    (tmp_path / "other").mkdir()
    assert carrier_token(settings_at(tmp_path)) != carrier_token(settings_at(tmp_path / "other"))


def test_only_its_owner_may_read_the_secret(tmp_path: Path) -> None:
    """The file has mode 0600."""
    settings = settings_at(tmp_path)
    carrier_token(settings)
    assert stat.S_IMODE(token_path(settings).stat().st_mode) == 0o600


def test_the_carrier_s_own_token_wins(tmp_path: Path) -> None:
    """With credentials set no secret is made up."""
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'relay.db'}", twilio_auth_token="given")
    assert carrier_token(settings) == "given"
    assert not token_path(settings).exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A missing directory is said with the path."""
    with pytest.raises(SettingsError, match=r"cannot be kept in .*/none/relay\.db\.token: No such file"):
        carrier_token(settings_at(tmp_path / "none"))


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "is empty; remove the file"), (b"\xff", "cannot be read .*; remove the file")]
)
def test_a_file_that_holds_no_secret_is_not_used(tmp_path: Path, content: bytes, words: str) -> None:
    """An empty or damaged file is not replaced behind a running daemon's back, but the operator is told how."""
    settings = settings_at(tmp_path)
    token_path(settings).write_bytes(content)
    with pytest.raises(SettingsError, match=words):
        carrier_token(settings)
    assert token_path(settings).read_bytes() == content


def test_without_local_all_that_the_carrier_needs_must_be_set() -> None:
    """Everything that is missing is named at once; what is set is used as it is."""
    with pytest.raises(SettingsError, match=r"TWILIO_AUTH_TOKEN, PUBLIC_URL must be set .*relay serve --local"):
        carrier_credentials(Settings(twilio_account_sid="AC1"), local=False)
    settings = Settings(twilio_account_sid="AC1", twilio_auth_token="given", public_url="https://voice.example.com")
    assert carrier_credentials(settings, local=False) == Credentials("AC1", "given", "AC1")


def test_a_local_daemon_orders_calls_of_a_stand_in_alone(tmp_path: Path) -> None:
    """Without another origin for the carrier's API no call is ordered, whatever account is set: somebody would pay."""
    settings = settings_at(tmp_path)
    assert carrier_credentials(settings, local=True).orders_as is None
    paid = settings.model_copy(update={"twilio_account_sid": "AC1"})
    assert carrier_credentials(paid, local=True).orders_as is None
    stand_in = settings.model_copy(update={"twilio_api_base_url": "http://127.0.0.1:9000"})
    assert carrier_credentials(stand_in, local=True).orders_as == LOCAL_ACCOUNT
