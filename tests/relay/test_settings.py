"""The settings: where they come from, what is refused and in which words, and that the README knows them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.errors import SettingsError
from relay.settings import Settings, documented, load

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
    "DEFAULT_VOICE_ID": ("XB0fDUnXU5powFXDhCwa", "XB0fDUnXU5powFXDhCwa"),
    "DEFAULT_VOICE_LANGUAGE": ("de-DE", "de-DE"),
    "DATABASE_URL": ("sqlite:///other.db", "sqlite:///other.db"),
    "RELAY_HOST": ("::1", "::1"),
    "RELAY_PORT": ("0", 0),
    "RELAY_NODE": ("relay-1", "relay-1"),
    "RELAY_NODE_URL": ("http://10.0.0.5:8080/", "http://10.0.0.5:8080"),
    "RELAY_CLIENT_TIMEOUT": ("2.5", 2.5),
    "RELAY_FILLER_SECONDS": ("0", 0.0),
    "RELAY_SILENCE_SECONDS": ("30", 30.0),
    "RELAY_SILENCE_QUESTIONS": ("0", 0),
    "RELAY_TAKEOVER_NOTICE": ("You are now talking to a person.", "You are now talking to a person."),
    "RELAY_ALLOWED_HOSTS": ("relay.lan", "relay.lan"),
    "RELAY_ALLOWED_ORIGINS": ("https://inspector.example", "https://inspector.example"),
    "RELAY_MAX_CALLS": ("5", 5),
    "RELAY_MAX_CALL_SECONDS": ("600", 600.0),
    "RELAY_DRAIN_SECONDS": ("0", 0.0),
    "RELAY_DRAIN": ("handover", "handover"),
    "RELAY_RETURN_SECONDS": ("90", 90.0),
    "RELAY_ALLOW_UNASSIGNED_NUMBERS": ("true", True),
    "RELAY_ALLOWED_COUNTRIES": ("US, CA", "US, CA"),
    "RELAY_CALLING_HOURS": ("09:00-20:00", "09:00-20:00"),
    "RELAY_REQUIRE_CONSENT": ("yes", True),
    "RELAY_CALLS_PER_NUMBER_PER_DAY": ("0", 0),
    "RELAY_TRANSFERS_PER_NUMBER_PER_DAY": ("3", 3),
    "RELAY_CALLS_PER_AGENT_PER_MINUTE": ("4", 4),
    "RELAY_CALLS_PER_AGENT_PER_DAY": ("40", 40),
    "RELAY_MINUTES_PER_AGENT_PER_DAY": ("90", 90),
    "RELAY_CALLS_PER_SECOND": ("0.5", 0.5),
    "RELAY_RING_SECONDS": ("40", 40),
    "RELAY_SPEECH_ENGINE": ("carrier", "carrier"),
    "ELEVENLABS_API_KEY": ("speech-secret", "speech-secret"),
    "ELEVENLABS_BASE_URL": ("http://127.0.0.1:9002/", "http://127.0.0.1:9002"),
    "RELAY_AUDIO_SECONDS": ("60", 60.0),
    "RELAY_RETENTION_DAYS": ("0", 0),
    "RELAY_KEEP_TRANSCRIPTS": ("true", True),
    "RELAY_LOG_LEVEL": ("WARNING", "warning"),
    "RELAY_LOG_FORMAT": ("console", "console"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("http://127.0.0.1:4318/otlp", "http://127.0.0.1:4318/otlp"),
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
    env_file.write_bytes(b"RELAY_HOST=caf\xe9\n")
    with pytest.raises(SettingsError, match=r"\.env cannot be read: it is not UTF-8 text. Fix or remove it\."):
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
        ("RELAY_NODE", "Relay_1", "small letters"),
        ("RELAY_NODE", "relay.lan", "small letters"),
        ("RELAY_NODE", "-relay", "hyphen"),
        ("RELAY_NODE_URL", "10.0.0.5:8080", "https://"),
        ("RELAY_RETURN_SECONDS", "0", "1 to 3600"),
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
        ("RELAY_SILENCE_SECONDS", "0", "more than 0"),
        ("RELAY_SILENCE_QUESTIONS", "-1", "without a question"),
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
    """The variable, its value and what it takes are said, and where to fix it."""
    with pytest.raises(SettingsError) as refusal:
        load({variable: text}, env_file)
    sentence = str(refusal.value)
    assert sentence.startswith(f"{variable} cannot be '{text}' (")
    assert hint in sentence
    assert sentence.endswith("Fix it in the environment.")
    assert "\n" not in sentence


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


SECRETS = ["TWILIO_AUTH_TOKEN", "ANTHROPIC_API_KEY", "ELEVENLABS_API_KEY", "TWILIO_ACCOUNT_SID"]


@pytest.mark.parametrize("variable", SECRETS)
@pytest.mark.parametrize(
    "around",
    [
        "{}\n",
        "{}\r\n",
        " {} ",
        "\t{}",
        "\ufeff{}",
        "{}\u200b",
        "\u00a0{}\u00a0",
        "{}\u2060\u00ad",
        '"{}"',
        "'{}'",
        ' "{}"\n',
        "“{}”",
        "{}\0",
    ],
)
def test_what_copying_leaves_around_a_secret_is_taken_away(env_file: Path, variable: str, around: str) -> None:
    """Line breaks, blanks, invisible characters and quotes around a value never reach a vendor."""
    secret = "0123456789abcdef0123456789abcdef"
    assert value_of(load({variable: around.format(secret)}, env_file), variable) == secret


@pytest.mark.parametrize("variable", SECRETS)
@pytest.mark.parametrize(
    "inside", ["abc def", "abc\ndef", "abc\u200bdef", "abc\u00a0def", "abc…def", 'abc"def', '"abcdef', "аbcdef"]
)
def test_a_secret_with_something_in_its_middle_is_refused_by_name(env_file: Path, variable: str, inside: str) -> None:
    """What is not one word of plain characters was not copied whole; nothing of it is repeated."""
    with pytest.raises(SettingsError) as refusal:
        load({variable: inside}, env_file)
    sentence = str(refusal.value)
    assert sentence.startswith(f"{variable} cannot be ")
    assert sentence.endswith("Fix it in the environment.")
    assert "\n" not in sentence
    if variable != "TWILIO_ACCOUNT_SID":
        assert "def" not in sentence


@pytest.mark.parametrize("blank", [" ", "\n", "\u200b", '""', "''", "\ufeff"])
def test_a_blank_secret_is_none(env_file: Path, blank: str) -> None:
    """Nothing between quotes or blanks is as good as nothing."""
    assert load({"ANTHROPIC_API_KEY": blank}, env_file).anthropic_api_key is None


FILES = {
    "a byte order mark": b"\xef\xbb\xbfTWILIO_AUTH_TOKEN=abc\nRELAY_PORT=9000\n",
    "line ends of Windows": b"TWILIO_AUTH_TOKEN=abc\r\nRELAY_PORT=9000\r\n",
    "line ends of Windows after quotes": b'TWILIO_AUTH_TOKEN="abc"\r\nRELAY_PORT="9000"\r\n',
    "UTF-16": "TWILIO_AUTH_TOKEN=abc\r\nRELAY_PORT=9000\r\n".encode("utf-16"),
    "quotes in quotes": b"TWILIO_AUTH_TOKEN='\"abc\"'\nRELAY_PORT=9000\n",
    "blanks around": b"TWILIO_AUTH_TOKEN = abc  \nRELAY_PORT=  9000\n",
    "a comment behind": b"TWILIO_AUTH_TOKEN=abc  # the live one\nRELAY_PORT=9000 # free\n",
    "export": b"export TWILIO_AUTH_TOKEN=abc\nexport RELAY_PORT=9000\n",
    "no line end": b"RELAY_PORT=9000\nTWILIO_AUTH_TOKEN=abc",
    "an invisible character at a name": "\u200bTWILIO_AUTH_TOKEN=abc\nRELAY_PORT=9000\n".encode(),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_files_of_all_editors_are_read(env_file: Path, content: bytes) -> None:
    """Whatever wrote the file, the values are the same."""
    env_file.write_bytes(content)
    settings = load({}, env_file)
    assert (settings.twilio_auth_token, settings.relay_port) == ("abc", 9000)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ANTROPIC_API_KEY", "ANTHROPIC_API_KEY"),
        ("TWILIO_AUTHTOKEN", "TWILIO_AUTH_TOKEN"),
        ("TWILLIO_AUTH_TOKEN", "TWILIO_AUTH_TOKEN"),
        ("TWILIO_TOKEN", "TWILIO_AUTH_TOKEN"),
        ("TWILIO_SID", "TWILIO_ACCOUNT_SID"),
        ("TWILIO_ACCOUNT_ID", "TWILIO_ACCOUNT_SID"),
        ("ELEVEN_LABS_API_KEY", "ELEVENLABS_API_KEY"),
        ("PUBLIC_URI", "PUBLIC_URL"),
        ("PUBLICURL", "PUBLIC_URL"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("DEFAULT_VOICE", "DEFAULT_VOICE_ID"),
        ("DEFAULT_LANGUAGE", "DEFAULT_VOICE_LANGUAGE"),
        ("anthropic_api_key", "ANTHROPIC_API_KEY"),
        ("COMM_TOKEN", "COMMS_TOKEN"),
    ],
)
@pytest.mark.parametrize("where", ["environment", "file"])
def test_a_name_near_a_setting_s_is_warned_of(env_file: Path, name: str, meant: str, where: str) -> None:
    """The warning has the name, where it stands, and what was meant; the value is not in it, and is not used."""
    warnings: list[str] = []
    env_file.write_text(f"# mine\n\n{name}=hidden\n" if where == "file" else "")
    settings = load({name: "hidden"} if where == "environment" else {}, env_file, warn=warnings.append)
    place = "the environment" if where == "environment" else f"{env_file}, line 3"
    assert warnings == [f"{name} ({place}) is not a setting, and is ignored. Did you mean {meant}?"]
    assert settings == Settings()


@pytest.mark.parametrize(
    "name",
    [
        "TWILIO_API_KEY",
        "TWILIO_API_SECRET",
        "TWILIO_EDGE",
        "TWILIO_REGION",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_MODEL",
        "OPENAI_API_KEY",
        "GITHUB_TOKEN",
        "TEST_DATABASE_URL",
        "DATABASE_HOST",
        "PUBLIC_DIR",
        "PATH",
        "LANGUAGE",
        "COMMS_TOKEN",
    ],
)
def test_names_of_others_are_left_alone(env_file: Path, name: str) -> None:
    """What other programs read gets no warning, however near it is."""
    warnings: list[str] = []
    assert load({name: "x"}, env_file, warn=warnings.append) == Settings()
    assert warnings == []


def test_what_is_set_rightly_too_is_not_missed(env_file: Path) -> None:
    """A second name beside the right one, such as that of another account, is somebody's own affair."""
    warnings: list[str] = []
    load({"TWILIO_AUTH_TOKEN": "a", "TWILIO_AUTH_TOKEN2": "b"}, env_file, warn=warnings.append)
    assert warnings == []


def test_a_line_that_is_no_setting_is_warned_of(env_file: Path) -> None:
    """A line that cannot be read does not vanish; its text may be a secret, so only its place is told."""
    env_file.write_text("RELAY_PORT=9000\nTWILIO_AUTH_TOKEN: hidden\nRELAY_HOST=::1\n")
    warnings: list[str] = []
    settings = load({}, env_file, warn=warnings.append)
    assert (settings.relay_port, settings.relay_host) == (9000, "::1")
    assert warnings == [f"{env_file}, line 2 is not NAME=value, and is ignored."]


@pytest.mark.parametrize(
    ("host", "url", "is_doubtful"),
    [
        ("", "http://10.0.0.1:8080", True),
        ("::1", "http://relay-1.relay-nodes:8080", True),
        ("0.0.0.0", "http://10.0.0.1:8080", False),
        ("", "http://127.0.0.1:8080", False),
        ("", "http://[::1]:8080", False),
        ("", "", False),
    ],
)
def test_a_node_that_only_its_own_machine_reaches_is_warned_of(
    env_file: Path, host: str, url: str, is_doubtful: bool
) -> None:
    """The warning says what to set; a proxy on the same host may lead there, so it is no error."""
    warnings: list[str] = []
    load({"RELAY_HOST": host, "RELAY_NODE_URL": url}, env_file, warn=warnings.append)
    assert ["Set RELAY_HOST to 0.0.0.0" in each for each in warnings] == [True] * is_doubtful


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("HTTPS://VOICE.EXAMPLE.COM", "https://voice.example.com"),
        ("https://Voice.Example.com/", "https://voice.example.com"),
        ("Http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        (" https://voice.example.com\n", "https://voice.example.com"),
        ("https://[2001:DB8::1]:8443/", "https://[2001:db8::1]:8443"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_origin_is_written_in_one_way(env_file: Path, given: str, origin: str) -> None:
    """Scheme and server are the same in capitals, and a slash at the end is none of the origin's."""
    assert load({"PUBLIC_URL": given}, env_file).public_url == origin


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("https://ada:sesame@voice.example.com", "user name or a password"),
        ("https://ada@voice.example.com", "user name or a password"),
        ("https://voice .example.com", "blank"),
        ("https://voice.exa\u200bmple.com", "invisible character"),
        ("https://bücher.example", "xn--"),
        ("https:/voice.example.com", "must begin with https://"),
        ("voice.example.com:443", "must begin with https://"),
        ("ftp://voice.example.com", "must begin with https://"),
        ("https://voice.example.com:port", "port"),
        ("https://voice.example.com/webhooks/a/voice", "Leave out what follows"),
        ("https://voice.example.com#x", "Leave out what follows"),
        ("https://[::1", "bracket"),
    ],
)
def test_a_public_url_that_cannot_be_is_refused_with_advice(env_file: Path, given: str, advice: str) -> None:
    """One line says what is wrong with it, and repeats no password."""
    with pytest.raises(SettingsError) as refusal:
        load({"PUBLIC_URL": given}, env_file)
    sentence = str(refusal.value)
    assert sentence.startswith("PUBLIC_URL cannot be ")
    assert advice in sentence
    assert "sesame" not in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("variable", ["RELAY_PORT", "RELAY_CALLING_HOURS", "TWILIO_PHONE_NUMBER", "PUBLIC_URL"])
@pytest.mark.parametrize("secret", ["sk-ant-api03-hidden", "0123456789abcdef0123456789abcdef", "sk_hidden"])
def test_a_secret_in_the_wrong_place_is_not_repeated(env_file: Path, variable: str, secret: str) -> None:
    """A key that was pasted into another line stays off the screen."""
    with pytest.raises(SettingsError) as refusal:
        load({variable: secret}, env_file)
    assert secret not in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("klingon", "such as en-US"),
        ("en US", "Did you mean en-US?"),
        ("english", "Did you mean en-US?"),
        ("de_DE", "Did you mean de-DE?"),
    ],
)
def test_a_language_is_checked_where_it_is_set(env_file: Path, given: str, hint: str) -> None:
    """A language that is none is refused at the start, and not by the carrier at the first call."""
    with pytest.raises(SettingsError, match=r"DEFAULT_VOICE_LANGUAGE cannot be .* Fix it in") as refusal:
        load({"DEFAULT_VOICE_LANGUAGE": given}, env_file)
    assert hint in str(refusal.value)


def test_a_language_nobody_may_speak_is_warned_of(env_file: Path) -> None:
    """It is used all the same: the lists of languages grow."""
    warnings: list[str] = []
    assert load({"DEFAULT_VOICE_LANGUAGE": "eu-es"}, env_file, warn=warnings.append).default_voice_language == "eu-ES"
    assert len(warnings) == 1
    assert "DEFAULT_VOICE_LANGUAGE" in warnings[0]


@pytest.mark.parametrize("given", ["", "none", " ", '""'])
def test_no_voice_can_be_set(env_file: Path, given: str) -> None:
    """An empty voice is a choice, the carrier's own; it also switches off what the file names."""
    assert load({"DEFAULT_VOICE_ID": given}, env_file).default_voice_id == ""
    env_file.write_text("DEFAULT_VOICE_ID=XB0fDUnXU5powFXDhCwa\n")
    assert load({"DEFAULT_VOICE_ID": given}, env_file).default_voice_id == ""
    assert load({}, env_file).default_voice_id == "XB0fDUnXU5powFXDhCwa"


@pytest.mark.parametrize("given", ["Sarah", "EXAVITQu4vr4xnSDxMa", "Joanna-Neural", "EXAVITQu4vr4xnSDxMaL-9.0_0.5_0.5"])
def test_a_voice_that_is_none_is_refused(env_file: Path, given: str) -> None:
    """The carrier would drop each call for it."""
    with pytest.raises(SettingsError, match="DEFAULT_VOICE_ID cannot be"):
        load({"DEFAULT_VOICE_ID": given}, env_file)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("relay-1", "relay-1"),
        ("Relay_A.lan.example", "relay-a"),
        ("relay-7f9c9-abcde", "relay-7f9c9-abcde"),
        ("r" * 62 + "--x", "r" * 62),
        ("-", "node"),
    ],
)
def test_a_node_is_named_after_its_host(env_file: Path, monkeypatch: pytest.MonkeyPatch, host: str, name: str) -> None:
    """Whatever a host is called, the name has the form that a node's name has."""
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert load({}, env_file).node_name == name
    assert load({"RELAY_NODE": name}, env_file).node_name == name
    assert load({"RELAY_NODE": "other"}, env_file).node_name == "other"
