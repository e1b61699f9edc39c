"""The settings: where they come from, what is refused and in which words, and that the README knows them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.config import Settings, documented, load
from relay.errors import SettingsError

REPOSITORY = Path(__file__).parents[2]

# One usable value for each setting, as written in the environment and as read.
GIVEN: dict[str, tuple[str, object]] = {
    "TWILIO_ACCOUNT_SID": ("AC1", "AC1"),
    "TWILIO_AUTH_TOKEN": ("carrier-secret", "carrier-secret"),
    "TWILIO_API_BASE_URL": ("http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
    "TWILIO_PHONE_NUMBER": ("+14155552671", "+14155552671"),
    "PUBLIC_URL": ("https://voice.example.com/", "https://voice.example.com"),
    "ANTHROPIC_API_KEY": ("machine-secret", "machine-secret"),
    "ANTHROPIC_BASE_URL": ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
    "ANSWERING_MACHINE_MODEL": ("claude-sonnet-4-5", "claude-sonnet-4-5"),
    "DEFAULT_VOICE_GREETING": ("Good morning.", "Good morning."),
    "DEFAULT_VOICE_ID": ("voice-1", "voice-1"),
    "DEFAULT_VOICE_LANGUAGE": ("de-DE", "de-DE"),
    "DATABASE_URL": ("sqlite:///other.db", "sqlite:///other.db"),
    "RELAY_HOST": ("::1", "::1"),
    "RELAY_PORT": ("0", 0),
    "RELAY_CLIENT_TIMEOUT": ("2.5", 2.5),
    "RELAY_FILLER_SECONDS": ("0", 0.0),
    "RELAY_ALLOWED_HOSTS": ("relay.lan", "relay.lan"),
    "RELAY_ALLOWED_ORIGINS": ("https://inspector.example", "https://inspector.example"),
    "RELAY_MAX_CALLS": ("5", 5),
    "RELAY_MAX_CALL_SECONDS": ("600", 600.0),
    "RELAY_DRAIN_SECONDS": ("0", 0.0),
    "RELAY_ALLOW_UNASSIGNED_NUMBERS": ("true", True),
    "RELAY_ALLOWED_COUNTRIES": ("US, CA", "US, CA"),
    "RELAY_CALLING_HOURS": ("09:00-20:00", "09:00-20:00"),
    "RELAY_REQUIRE_CONSENT": ("yes", True),
    "RELAY_CALLS_PER_NUMBER_PER_DAY": ("0", 0),
    "RELAY_TRANSFERS_PER_NUMBER_PER_DAY": ("3", 3),
    "RELAY_CALLS_PER_AGENT_PER_MINUTE": ("4", 4),
    "RELAY_CALLS_PER_SECOND": ("0.5", 0.5),
    "RELAY_RING_SECONDS": ("40", 40),
    "RELAY_SPEECH_ENGINE": ("carrier", "carrier"),
    "ELEVENLABS_API_KEY": ("speech-secret", "speech-secret"),
    "ELEVENLABS_BASE_URL": ("http://127.0.0.1:9002/", "http://127.0.0.1:9002"),
    "RELAY_AUDIO_SECONDS": ("60", 60.0),
    "RELAY_RETENTION_DAYS": ("0", 0),
    "RELAY_KEEP_TRANSCRIPTS": ("true", True),
}

VARIABLES = [name for name, _default, _help in documented()]


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    """The path of a settings file that is not there yet."""
    return tmp_path / ".env"


def value_of(settings: Settings, variable: str) -> object:
    return getattr(settings, variable.lower())


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_setting_comes_from_the_environment(env_file: Path, variable: str) -> None:
    """A variable sets its own setting, in its own type, and no other."""
    text, value = GIVEN[variable]
    settings = load({variable: text}, env_file)
    assert value_of(settings, variable) == value
    assert type(value_of(settings, variable)) is type(value)
    others = [name for name in VARIABLES if value_of(settings, name) != value_of(Settings(), name)]
    assert others == [variable]


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_setting_comes_from_the_file(env_file: Path, variable: str) -> None:
    """The file may say everything that the environment may."""
    text, value = GIVEN[variable]
    env_file.write_text(f"{variable}={text}\n")
    assert value_of(load({}, env_file), variable) == value


def test_the_environment_wins_over_the_file(env_file: Path) -> None:
    """Of a setting that both name, the environment's value counts; what only the file names counts too."""
    env_file.write_text("RELAY_PORT=9000\nRELAY_HOST=::1\n")
    settings = load({"RELAY_PORT": "9001"}, env_file)
    assert (settings.relay_port, settings.relay_host) == (9001, "::1")


def test_an_empty_value_is_none(env_file: Path) -> None:
    """An empty variable leaves the default, and so switches off for one run what the file names."""
    env_file.write_text("ANTHROPIC_API_KEY=machine-secret\nRELAY_PORT=\n")
    settings = load({"ANTHROPIC_API_KEY": ""}, env_file)
    assert (settings.anthropic_api_key, settings.relay_port) == (None, 8080)


def test_values_of_the_file_are_taken_as_they_are(env_file: Path) -> None:
    """A dollar sign in a secret is part of the secret."""
    env_file.write_text("TWILIO_AUTH_TOKEN='a${HOME}b'\n")
    assert load({}, env_file).twilio_auth_token == "a${HOME}b"


def test_the_working_directory_s_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without being told of a file, `.env` in the working directory is the one; the process's environment wins."""
    monkeypatch.chdir(tmp_path)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("RELAY_PORT", "9001")
    Path(".env").write_text("RELAY_PORT=9000\nRELAY_MAX_CALLS=7\n")
    settings = load()
    assert (settings.relay_port, settings.relay_max_calls) == (9001, 7)


def test_a_missing_file_is_no_error(env_file: Path) -> None:
    """Nothing said anywhere means the defaults."""
    assert load({}, env_file) == Settings()


def test_a_file_that_cannot_be_read_is_named(env_file: Path) -> None:
    """A file in no known encoding is refused as a whole, by its name."""
    env_file.write_bytes(b"RELAY_HOST=\xff\xfe\n")
    with pytest.raises(SettingsError, match=r"\.env cannot be read .*; mend or remove it"):
        load({}, env_file)


def test_other_programs_variables_are_ignored(env_file: Path) -> None:
    """Only names that begin as ours do are looked at."""
    assert load({"PATH": "/bin", "TWILIO_EDGE": "dublin", "RELAYS": "2"}, env_file) == Settings()


@pytest.mark.parametrize("where", ["environment", "file"])
def test_a_misspelt_name_is_refused(env_file: Path, where: str) -> None:
    """An unknown `RELAY_*` name is an error, wherever it stands, and the name that was meant is offered."""
    if where == "file":
        env_file.write_text("RELAY_MAX_CALS=5\n")
    with pytest.raises(SettingsError, match=r"RELAY_MAX_CALS is not a setting.*Did you mean RELAY_MAX_CALLS\?"):
        load({"RELAY_MAX_CALS": "5"} if where == "environment" else {}, env_file)


def test_a_name_like_no_other_is_refused_with_a_pointer(env_file: Path) -> None:
    """Where no setting is near, the operator is told where all of them are listed."""
    with pytest.raises(SettingsError, match="README"):
        load({"RELAY_XYZZY": "5"}, env_file)


@pytest.mark.parametrize(
    ("variable", "text", "hint"),
    [
        ("RELAY_PORT", "http", "up to 65535"),
        ("RELAY_PORT", "65536", "up to 65535"),
        ("RELAY_PORT", "-1", "up to 65535"),
        ("RELAY_CLIENT_TIMEOUT", "soon", "seconds, more than 0"),
        ("RELAY_CLIENT_TIMEOUT", "0", "seconds, more than 0"),
        ("RELAY_CLIENT_TIMEOUT", "nan", "seconds, more than 0"),
        ("RELAY_MAX_CALLS", "0", "1 or more"),
        ("RELAY_MAX_CALLS", "1.5", "1 or more"),
        ("RELAY_MAX_CALL_SECONDS", "-3", "seconds, more than 0"),
        ("RELAY_DRAIN_SECONDS", "-1", "seconds"),
        ("DEFAULT_VOICE_LANGUAGE", "e", "such as en-US"),
        ("PUBLIC_URL", "voice.example.com", "such as https://voice.example.com"),
        ("TWILIO_PHONE_NUMBER", "4155552671", "such as +14155552671"),
        ("RELAY_ALLOWED_COUNTRIES", "USA", "such as US,CA"),
        ("RELAY_CALLING_HOURS", "21:00-08:00", "such as 08:00-21:00"),
        ("RELAY_REQUIRE_CONSENT", "perhaps", "true or false"),
        ("RELAY_CALLS_PER_SECOND", "0", "more than 0"),
        ("RELAY_RING_SECONDS", "3", "5 to 120"),
        ("RELAY_SPEECH_ENGINE", "festival", "espeak, elevenlabs, carrier"),
        ("ELEVENLABS_BASE_URL", "api.elevenlabs.io", "origin"),
        ("RELAY_RETENTION_DAYS", "-1", "for ever"),
        ("RELAY_FILLER_SECONDS", "-1", "0 is never"),
        ("RELAY_ALLOWED_ORIGINS", "inspector.example", "such as https://a.example"),
        ("PUBLIC_URL", "wss://voice.example.com", "such as https://voice.example.com"),
        ("PUBLIC_URL", "https://voice.example.com/relay", "such as https://voice.example.com"),
        ("PUBLIC_URL", "https://voice.example.com?a=b", "such as https://voice.example.com"),
        ("PUBLIC_URL", "https://voice.example.com:99999", "such as https://voice.example.com"),
        ("PUBLIC_URL", "https://", "such as https://voice.example.com"),
        ("PUBLIC_URL", "http://[::1", "such as https://voice.example.com"),
        ("TWILIO_API_BASE_URL", "api.twilio.com", "such as http://127.0.0.1:9000"),
    ],
)
def test_a_value_that_cannot_be_is_refused(env_file: Path, variable: str, text: str, hint: str) -> None:
    """The variable, its value and what it takes are said, and where to mend it."""
    with pytest.raises(SettingsError) as refusal:
        load({variable: text}, env_file)
    sentence = str(refusal.value)
    assert sentence.startswith(f"{variable} cannot be '{text}' (")
    assert hint in sentence
    assert sentence.endswith(f"Mend it in the environment or in {env_file}.")


def test_all_wrong_values_are_named_at_once(env_file: Path) -> None:
    """Two mistakes take one start to find, and what is right is not mentioned."""
    with pytest.raises(SettingsError) as refusal:
        load({"RELAY_PORT": "http", "RELAY_MAX_CALLS": "0", "RELAY_HOST": "::1"}, env_file)
    sentence = str(refusal.value)
    assert "RELAY_PORT cannot be" in sentence
    assert "RELAY_MAX_CALLS cannot be" in sentence
    assert "RELAY_HOST" not in sentence


@pytest.mark.parametrize("variable", ["TWILIO_AUTH_TOKEN", "ANTHROPIC_API_KEY", "DATABASE_URL"])
def test_secrets_are_not_in_the_repr(env_file: Path, variable: str) -> None:
    """Whoever prints or logs the settings does not print a token, a key or a database's password."""
    text = "postgresql+psycopg://relay:hidden@db/relay" if variable == "DATABASE_URL" else "hidden"
    assert "hidden" not in repr(load({variable: text}, env_file))


def test_every_setting_is_documented() -> None:
    """Each setting is listed once, with its default and a word on what it means."""
    entries = list(documented())
    assert [name for name, _default, _help in entries] == list(GIVEN)
    assert all(value_of(Settings(), name) == default for name, default, _help in entries)
    assert all(meaning for _name, _default, meaning in entries)


@pytest.mark.parametrize(("variable", "default"), [(name, default) for name, default, _help in documented()])
def test_the_readme_lists_every_setting(variable: str, default: object) -> None:
    """The table of settings has the variable's name in its first cell and its default in the second."""
    lines = (REPOSITORY / "README.md").read_text().splitlines()
    rows = [line.split("|")[1:] for line in lines if line.startswith("|") and f"`{variable}`" in line.split("|")[1]]
    assert len(rows) == 1, f"README.md should have one row of a table for {variable}"
    if default not in {None, ""}:
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        shown = shown.lower() if isinstance(default, bool) else shown
        assert f"`{shown}`" in rows[0][1]


def test_a_local_run_may_dial_what_belongs_to_nobody(env_file: Path) -> None:
    """With `--local` the gate lets the numbers of demos through at any hour; what is set still wins."""
    rules = load({}, env_file, local=True).gate_rules()
    assert rules.allow_unassigned
    assert rules.calling_hours.is_all_day
    strict = load({"RELAY_ALLOW_UNASSIGNED_NUMBERS": "false"}, env_file, local=True).gate_rules()
    assert not strict.allow_unassigned
    assert not load({}, env_file).gate_rules().allow_unassigned


def test_the_gate_goes_by_the_settings(env_file: Path) -> None:
    """Each setting of the gate becomes its rule."""
    given = {
        "RELAY_ALLOWED_COUNTRIES": "us, CA",
        "RELAY_CALLING_HOURS": "09:00-20:00",
        "RELAY_REQUIRE_CONSENT": "true",
        "RELAY_CALLS_PER_NUMBER_PER_DAY": "2",
        "RELAY_TRANSFERS_PER_NUMBER_PER_DAY": "3",
        "RELAY_CALLS_PER_AGENT_PER_MINUTE": "4",
    }
    rules = load(given, env_file).gate_rules()
    assert rules.countries == {"US", "CA"}
    assert str(rules.calling_hours) == "09:00 to 20:00"
    assert rules.require_consent
    limits = (rules.calls_per_number_per_day, rules.transfers_per_number_per_day, rules.calls_per_agent_per_minute)
    assert limits == (2, 3, 4)


def test_a_country_that_does_not_exist_is_refused(env_file: Path) -> None:
    """Two letters that name no country are an error that names the setting."""
    with pytest.raises(SettingsError, match="RELAY_ALLOWED_COUNTRIES"):
        load({"RELAY_ALLOWED_COUNTRIES": "XX"}, env_file).gate_rules()
