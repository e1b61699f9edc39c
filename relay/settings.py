"""The settings, from the environment and an `.env` file: each is named, bounded and explained here, once.

The environment wins over the file. An unknown `RELAY_*` name is an error, because a misspelt limit that is silently
ignored is worse than a daemon that does not start; a name near another setting's gets a warning, because it may be
somebody else's. A field's name in capitals is its variable's name.

Pydantic reads and checks the values; relay.environment collects them. The sources of pydantic-settings lost: to them an
empty variable is either a value or nothing, `$` in a secret is a reference, and a refused value has no place to name.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from actors.call_values import E164, LONGEST_RING, SHORTEST_RING
from relay.dialling.calling_hours import CallingHours
from relay.environment import Given, gather, is_invisible
from relay.errors import SettingsError
from relay.speech.languages import LanguageError, lacking, read_language
from relay.speech.voices import NO_VOICE, VoiceError, read_voice

if TYPE_CHECKING:
    from relay.dialling.verdict import GateRules

# What is different where no real telephone rings: the numbers of demos and tests are not assigned, are called at any
# hour, and again and again.
LOCAL_DEFAULTS: dict[str, str] = {
    "TWILIO_PHONE_NUMBER": "+15005550006",
    "RELAY_ALLOW_UNASSIGNED_NUMBERS": "true",
    "RELAY_ALLOWED_COUNTRIES": "all",
    "RELAY_CALLING_HOURS": "00:00-24:00",
    "RELAY_CALLS_PER_NUMBER_PER_DAY": "1000",
    "RELAY_TRANSFERS_PER_NUMBER_PER_DAY": "1000",
    "RELAY_CALLS_PER_AGENT_PER_MINUTE": "600",
    "RELAY_CALLS_PER_AGENT_PER_DAY": "0",
    "RELAY_MINUTES_PER_AGENT_PER_DAY": "0",
    "RELAY_CALLS_PER_SECOND": "50",
}


# What `relay attach` reads, so that no command takes it for a mistake.
OF_ATTACH = ("COMMS_TOKEN", "COMMS_URL")
# What `relay top` and `relay tail` read.
OF_OPERATORS = ("RELAY_OPERATOR_TOKEN",)
# An empty one of these is a choice, and not as good as none.
_MAY_BE_EMPTY = frozenset({"DEFAULT_VOICE_ID"})
_USER = re.compile(r"(?<=//)[^/@\s]*@")
# A secret that was pasted into the wrong line: a vendor's key, or any other long text without a gap.
_LIKE_A_SECRET = re.compile(r"\b(sk|sk-ant|xi)[-_]|[A-Za-z0-9+/=_-]{24,}", re.ASCII)
_SERVER = re.compile(r"[A-Za-z0-9._-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?", re.ASCII)
_NO_SERVER = "It must begin with https:// (or http://) and the name of a server."


class Unusable(ValueError):
    """What is wrong with a value, in a sentence that does not repeat it."""


def split_list(text: str) -> list[str]:
    """Return the items of a list that is written with commas."""
    return [each for each in (part.strip() for part in text.split(",")) if each]


def _origin(value: str) -> str:
    """Return an origin without the slash at its end, scheme and host in small letters (RFC 3986, section 6.2.2.1)."""
    try:
        parts = urlsplit(value.rstrip("/"))
        port = parts.port
    except ValueError as error:
        raise Unusable("Its port is no number up to 65535, or a bracket is missing.") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise Unusable(_NO_SERVER)
    if "@" in parts.netloc:
        raise Unusable("It holds a user name or a password; leave out what is before the @.")
    if not value.isascii():
        raise Unusable("The server's name has letters that DNS does not know; write it in its xn-- form.")
    if not _SERVER.fullmatch(parts.netloc):
        raise Unusable("The server's name has a blank or another character that no name has.")
    if parts.path or parts.query or parts.fragment:
        raise Unusable("Leave out what follows the name of the server and its port.")
    return urlunsplit(parts._replace(netloc=parts.netloc.lower()))


def _origins(value: str) -> str:
    for each in split_list(value):
        _origin(each)
    return value


def _node(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value):
        raise Unusable("A node's name has up to 63 small letters, digits and hyphens, with no hyphen at either end.")
    return value


def _address(value: str) -> str:
    # A path may follow: the vendor's library appends to it.
    if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", value):
        raise Unusable(_NO_SERVER)
    return value


def _key(value: str) -> str:
    """Refuse what no token or key can hold: it was not copied whole, or not alone."""
    if " " in value:
        raise Unusable("It has a blank or an invisible character in its middle. Copy it again.")
    if not value.isascii() or "'" in value or '"' in value:
        raise Unusable("It has a character that no key has, such as … or a quote. Copy it again.")
    return value


def _language(value: str) -> str:
    try:
        return read_language(value)
    except LanguageError as error:
        raise Unusable(_capitalised(str(error))) from error


def _voice(value: str) -> str:
    try:
        return read_voice(value or NO_VOICE)
    except VoiceError as error:
        raise Unusable(_capitalised(str(error))) from error


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _hours(value: str) -> str:
    CallingHours.parse(value)
    return value


def _countries(value: str) -> str:
    for each in split_list(value):
        if not re.fullmatch(r"[A-Za-z]{2}|001|all", each, re.IGNORECASE):
            raise Unusable("Countries are codes of two letters, separated by commas, such as US,CA; or all.")
    return value


Key = Annotated[str, AfterValidator(_key)]
Origin = Annotated[str, AfterValidator(_origin)]
Origins = Annotated[str, AfterValidator(_origins)]
Address = Annotated[str, AfterValidator(_address)]
Node = Annotated[str, AfterValidator(_node)]
Number = Annotated[str, Field(pattern=f"^{E164}$")]
Voice = Annotated[str, AfterValidator(_voice)]
Language = Annotated[str, AfterValidator(_language)]
Hours = Annotated[str, AfterValidator(_hours)]
Countries = Annotated[str, AfterValidator(_countries)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)]
LogFormat = Annotated[Literal["auto", "json", "console"], BeforeValidator(str.lower)]


class Settings(BaseModel):
    """The settings of the daemon. Times in seconds; secrets do not show in the repr."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    twilio_account_sid: Key | None = Field(default=None, description="the account at the carrier")
    twilio_auth_token: Key | None = Field(
        default=None, repr=False, description="the account's token; signatures are checked with it too"
    )
    twilio_api_base_url: Origin | None = Field(
        default=None, description="another origin for the carrier's REST API, such as http://127.0.0.1:9000"
    )
    twilio_phone_number: Number | None = Field(
        default=None, description="the number from which agents without one of their own call out, such as +14155552671"
    )
    public_url: Origin | None = Field(
        default=None,
        description="the origin at which the carrier reaches this daemon, such as https://voice.example.com; "
        "signatures are checked over it",
    )
    anthropic_api_key: Key | None = Field(default=None, repr=False, description="enables the answering machine")
    anthropic_base_url: Address | None = Field(
        default=None, description="another address of Anthropic's API, such as http://127.0.0.1:9001"
    )
    answering_machine_model: str = Field(
        default="claude-haiku-4-5", min_length=1, description="the Claude model that takes messages"
    )
    default_voice_greeting: str = Field(
        default="Hello, how can I help you today?", description="what a caller hears first"
    )
    default_voice_id: Voice = Field(
        default="EXAVITQu4vr4xnSDxMaL",
        description="an ElevenLabs voice; an empty one is the carrier's own for the language",
    )
    default_voice_language: Language = Field(default="en-US", description="a BCP 47 tag, such as en-US")
    database_url: str = Field(
        default="sqlite:///relay.db", repr=False, description="where messages, calls and agents are kept"
    )
    relay_host: str = Field(default="127.0.0.1", min_length=1, description="the address to listen on")
    relay_port: int = Field(default=8080, ge=0, le=65535, description="the port, up to 65535; 0 picks a free one")
    relay_node: Node | None = Field(
        default=None, description="this node's name in a cluster, such as relay-1; its host's name unless given"
    )
    relay_node_url: Origin | None = Field(
        default=None,
        description="the origin at which the other nodes of a cluster reach this one, such as http://10.0.0.5:8080; "
        "without it the daemon serves its database alone",
    )
    relay_client_timeout: float = Field(
        default=8.0,
        gt=0,
        description="seconds, more than 0, that a caller waits for the client in one turn before the answering machine"
        " takes over",
    )
    relay_filler_seconds: float = Field(
        default=2.5, ge=0, description="seconds after which a caller who waits for the client is told so; 0 is never"
    )
    relay_silence_seconds: float = Field(
        default=15.0,
        gt=0,
        description="seconds, more than 0, that a caller may say nothing before being asked whether they are still "
        "there",
    )
    relay_silence_questions: int = Field(
        default=2,
        ge=0,
        description="how often a silent caller is asked before the call is ended; 0 ends it without a question",
    )
    relay_takeover_notice: str = Field(
        default="",
        max_length=500,
        description="what a caller hears when an operator takes the call over: You are now talking to a person, say. "
        "Empty is nothing",
    )
    relay_allowed_hosts: str = Field(
        default="", description="host names by which clients may reach /mcp besides PUBLIC_URL's, separated by commas"
    )
    relay_allowed_origins: Origins = Field(
        default="",
        description="origins of web pages that may use /mcp, /sse and /messages, such as "
        "https://a.example,https://b.example",
    )
    relay_max_calls: int = Field(
        default=1000, ge=1, description="calls at once, 1 or more; further ones hear an apology"
    )
    relay_max_call_seconds: float = Field(
        default=3600.0, gt=0, description="seconds, more than 0, that a call may last at most"
    )
    relay_drain_seconds: float = Field(
        default=60.0, ge=0, description="seconds that live calls may go on when the daemon is told to stop"
    )
    relay_drain: Literal["finish", "handover"] = Field(
        default="finish",
        description="what becomes of calls that outlast the drain time: finish says farewell to them, handover passes "
        "them on to the process that takes over",
    )
    relay_return_seconds: float = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="seconds, 1 to 3600, that a lost call may come back before what its caller said becomes a message",
    )
    relay_allow_unassigned_numbers: bool = Field(
        default=False,
        description="true or false: whether numbers that nobody is known to have, such as +1 555, may be dialled",
    )
    relay_allowed_countries: Countries = Field(
        default="",
        description="countries that may be dialled, by codes of two letters such as US,CA, or all; 001 adds satellites"
        " and numbers of no country; empty is the country of the number that a call comes from",
    )
    relay_calling_hours: Hours = Field(
        default="08:00-21:00", description="when people may be called, by their own clock, such as 08:00-21:00"
    )
    relay_require_consent: bool = Field(
        default=False, description="true or false: whether only numbers with a consent on record are dialled"
    )
    relay_calls_per_number_per_day: int = Field(
        default=5, ge=0, description="calls and voice messages to one number within 24 hours; 0 is no limit"
    )
    relay_transfers_per_number_per_day: int = Field(
        default=50, ge=0, description="transfers to one number within 24 hours; 0 is no limit"
    )
    relay_calls_per_agent_per_minute: int = Field(
        default=10, ge=0, description="numbers that one agent dials within 60 seconds; 0 is no limit"
    )
    relay_calls_per_agent_per_day: int = Field(
        default=200,
        ge=0,
        description="calls, voice messages and transfers that one agent dials within 24 hours; 0 is no limit",
    )
    relay_minutes_per_agent_per_day: int = Field(
        default=600,
        ge=0,
        description="minutes that the calls and transfers of one agent may last within 24 hours before it dials no "
        "more; 0 is no limit",
    )
    relay_calls_per_second: float = Field(
        default=1.0, gt=0, description="calls begun in a second, more than 0, as the carrier's account allows"
    )
    relay_ring_seconds: int = Field(
        default=25, ge=SHORTEST_RING, le=LONGEST_RING, description="seconds, 5 to 120, that a telephone rings"
    )
    relay_speech_engine: Literal["auto", "espeak", "elevenlabs", "carrier"] = Field(
        default="auto",
        description="who speaks voice messages: espeak, elevenlabs, carrier, or auto (elevenlabs where there is a key)",
    )
    elevenlabs_api_key: Key | None = Field(
        default=None, repr=False, description="enables ElevenLabs for voice messages"
    )
    elevenlabs_base_url: Origin = Field(default="https://api.elevenlabs.io", description="another origin of its API")
    relay_audio_seconds: float = Field(
        default=3600.0, gt=0, description="seconds, more than 0, for which the audio of a message can be fetched"
    )
    relay_retention_days: int = Field(
        default=90,
        ge=0,
        description="days for which ended calls, transcripts and confirmed messages are kept; 0 keeps them for ever",
    )
    relay_keep_transcripts: bool = Field(
        default=False,
        description="true or false: whether what was said is kept of every call, not only where a message waits",
    )
    relay_log_level: LogLevel = Field(
        default="info", description="the least that is logged: debug, info, warning or error"
    )
    relay_log_format: LogFormat = Field(
        default="auto", description="json, console (for people), or auto: console on a terminal, else json"
    )

    otel_exporter_otlp_endpoint: Address | None = Field(
        default=None, description="where traces of calls go, by OTLP over HTTP, such as http://127.0.0.1:4318"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _is_visible(cls, value: object, info: ValidationInfo) -> object:
        # In a greeting any character may be meant.
        checked = isinstance(value, str) and info.field_name != "default_voice_greeting"
        if checked and any(is_invisible(each) and each != " " for each in str(value)):
            raise Unusable("It has an invisible character in its middle; type it again.")
        return value

    @property
    def node_name(self) -> str:
        """This node's name: `RELAY_NODE`, or the first part of the host's name in that form."""
        host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().split(".")[0].lower())
        return self.relay_node or host[:63].strip("-") or "node"

    def gate_rules(self) -> GateRules:
        """Return the rules of the gate in front of every dialled number. Raises `SettingsError`: no such country."""
        # The numbers' metadata takes as long to import as all else here, and most commands can do without.
        from relay.dialling.verdict import GateRules  # noqa: PLC0415

        try:
            return GateRules(
                calling_hours=CallingHours.parse(self.relay_calling_hours),
                allow_unassigned=self.relay_allow_unassigned_numbers,
                countries=split_list(self.relay_allowed_countries),
                require_consent=self.relay_require_consent,
                calls_per_number_per_day=self.relay_calls_per_number_per_day,
                transfers_per_number_per_day=self.relay_transfers_per_number_per_day,
                calls_per_agent_per_minute=self.relay_calls_per_agent_per_minute,
                calls_per_agent_per_day=self.relay_calls_per_agent_per_day,
                minutes_per_agent_per_day=self.relay_minutes_per_agent_per_day,
                caller_number=self.twilio_phone_number,
            )
        except ValueError as error:
            raise SettingsError(f"RELAY_ALLOWED_COUNTRIES cannot be used: {error}.") from error


def documented() -> Iterator[tuple[str, object, str]]:
    """Yield every setting as (variable, default, help), in the order of the documentation."""
    for name, field in Settings.model_fields.items():
        yield name.upper(), field.default, field.description or ""


def load(
    environment: Mapping[str, str] | None = None,
    env_file: Path | None = None,
    *,
    local: bool = False,
    warn: Callable[[str], None] | None = None,
) -> Settings:
    """Read the settings; the environment wins over `env_file` (`.env` in the working directory unless given).

    An empty value is as good as none, but for that of `DEFAULT_VOICE_ID`. With `local` what is not given is as
    `LOCAL_DEFAULTS` has it. `warn` gets a sentence for each name that is probably misspelt. Raises `SettingsError`,
    which says what is wrong, where, and what to do; never the value of a secret.
    """
    known = {name for name, _default, _help in documented()}
    given = gather(known.union(OF_ATTACH, OF_OPERATORS), environment, env_file)
    values = (LOCAL_DEFAULTS if local else {}) | {
        name: value for name, value in given.values.items() if value or name in _MAY_BE_EMPTY
    }
    _refuse_unknown(values, known, given)
    try:
        settings = Settings.model_validate({name.lower(): value for name, value in values.items() if name in known})
    except ValidationError as invalid:
        wrong = {str(each["loc"][0]): each.get("ctx", {}).get("error") for each in invalid.errors(include_input=False)}
        sentences = [_refusal(field, values, given, wrong[field]) for field in Settings.model_fields if field in wrong]
        raise SettingsError(" ".join(sentences)) from None  # its own text would show the values
    if warn is not None:
        for warning in given.warnings:
            warn(warning)
        if gaps := lacking(settings.default_voice_language):
            warn(f"Calls in DEFAULT_VOICE_LANGUAGE may fail at once: {gaps}.")
        if is_loopback(settings.relay_host) and not is_loopback(_host_of(settings.relay_node_url) or "localhost"):
            warn(
                f"RELAY_HOST is {settings.relay_host}, so no other node reaches this one at RELAY_NODE_URL unless a "
                "proxy on this host leads here. Set RELAY_HOST to 0.0.0.0, or to the address that the others use."
            )
    return settings


def is_loopback(host: str) -> bool:
    """Return whether a name or an address is this machine's own loopback."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_of(origin: str | None) -> str | None:
    return None if origin is None else urlsplit(origin).hostname


def _refuse_unknown(values: Mapping[str, str], known: set[str], given: Given) -> None:
    for name in sorted(values):
        if name.startswith("RELAY_") and name not in known and name not in OF_OPERATORS:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else "The README has a table of all settings."
            raise SettingsError(f"{name} is not a setting of the relay ({given.places[name]}). {hint}")


def _refusal(field: str, values: Mapping[str, str], given: Given, error: object) -> str:
    """Return the sentence that refuses a value; `error` is our own reason, where there is one."""
    name, described = field.upper(), Settings.model_fields[field]
    hidden = not described.repr or _LIKE_A_SECRET.search(values[name])
    shown = "what it is" if hidden else repr(_USER.sub("…@", values[name]))
    why = f" {error}" if isinstance(error, Unusable) else ""
    place = given.places.get(name, "the defaults of --local")
    return f"{name} cannot be {shown} ({described.description}).{why} Fix it in {place}."
