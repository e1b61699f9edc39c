"""The settings, from the environment and an `.env` file: every knob documented once, here.

The environment wins over the file. An unknown `RELAY_*` name is an error, because a misspelt limit that is silently
ignored is worse than a daemon that does not start; a name near another setting's gets a warning, because it may be
somebody else's. A field's name in capitals is its variable's name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import typed_settings as ts
from attrs.validators import and_, ge, gt, in_, le, min_len
from typed_settings.types import LoadedSettings, LoaderMeta, OptionList, SettingsClass, SettingsDict

from relay import setting_forms as forms
from relay.dialling.calling_hours import CallingHours
from relay.errors import SettingsError
from relay.given_settings import Given, gather, is_invisible
from relay.setting_forms import listed
from relay.speech.languages import lacking

if TYPE_CHECKING:
    from relay.dialling.verdict import GateRules

# What is different where no real telephone rings: the numbers of demos and tests belong to nobody, are called at any
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
# An empty one of these is a choice, and not as good as none.
_MAY_BE_EMPTY = frozenset({"DEFAULT_VOICE_ID"})
# A person's words, in which any character may be meant.
_WORDS = frozenset({"DEFAULT_VOICE_GREETING"})
_USER = re.compile(r"(?<=//)[^/@\s]*@")
# What somebody pasted into the wrong line: a key of a vendor, or anything else that long and without a gap.
_LIKE_A_SECRET = re.compile(r"\b(sk|sk-ant|xi)[-_]|[A-Za-z0-9+/=_-]{24,}", re.ASCII)


@attrs.frozen(kw_only=True)
class Settings:
    """What the daemon was told. Times in seconds; secrets do not show in the repr."""

    twilio_account_sid: str | None = ts.option(default=None, validator=forms.secret, help="the account at the carrier")
    twilio_auth_token: str | None = ts.option(
        default=None,
        repr=False,
        validator=forms.secret,
        help="the account's token; signatures are checked with it too",
    )
    twilio_api_base_url: str | None = ts.option(
        default=None,
        converter=forms.lowered_origin,
        validator=forms.origin,
        help="another origin for the carrier's REST API, such as http://127.0.0.1:9000",
    )
    twilio_phone_number: str | None = ts.option(
        default=None,
        validator=forms.e164,
        help="the number from which agents without one of their own call out, such as +14155552671",
    )
    public_url: str | None = ts.option(
        default=None,
        converter=forms.lowered_origin,
        validator=forms.origin,
        help="the origin at which the carrier reaches this daemon, such as https://voice.example.com; signatures are "
        "checked over it",
    )
    anthropic_api_key: str | None = ts.option(
        default=None, repr=False, validator=forms.secret, help="enables the answering machine"
    )
    anthropic_base_url: str | None = ts.option(
        default=None, validator=forms.address, help="another address of Anthropic's API, such as http://127.0.0.1:9001"
    )
    answering_machine_model: str = ts.option(
        default="claude-haiku-4-5", validator=min_len(1), help="the Claude model that takes messages"
    )
    default_voice_greeting: str = ts.option(
        default="Hello, how can I help you today?", help="what a caller hears first"
    )
    default_voice_id: str = ts.option(
        default="EXAVITQu4vr4xnSDxMaL",
        converter=forms.voice_of,
        validator=forms.voice,
        help="an ElevenLabs voice; an empty one is the carrier's own for the language",
    )
    default_voice_language: str = ts.option(
        default="en-US", converter=forms.usual_case, validator=forms.language, help="a BCP 47 tag, such as en-US"
    )
    database_url: str = ts.option(
        default="sqlite:///relay.db", repr=False, help="where messages, calls and agents are kept"
    )
    relay_host: str = ts.option(default="127.0.0.1", validator=min_len(1), help="the address to listen on")
    relay_port: int = ts.option(
        default=8080, validator=and_(ge(0), le(65535)), help="the port, up to 65535; 0 picks a free one"
    )
    relay_client_timeout: float = ts.option(
        default=8.0,
        validator=gt(0),
        help="seconds, more than 0, that a caller waits for the client in one turn before the answering machine takes "
        "over",
    )
    relay_filler_seconds: float = ts.option(
        default=2.5,
        validator=ge(0),
        help="seconds after which a caller who waits for the client is told so; 0 is never",
    )
    relay_silence_seconds: float = ts.option(
        default=15.0,
        validator=gt(0),
        help="seconds, more than 0, that a caller may say nothing before being asked whether they are still there",
    )
    relay_silence_questions: int = ts.option(
        default=2,
        validator=ge(0),
        help="how often a silent caller is asked before the call is ended; 0 ends it without a question",
    )
    relay_allowed_hosts: str = ts.option(
        default="", help="host names by which clients may reach /mcp besides PUBLIC_URL's, separated by commas"
    )
    relay_allowed_origins: str = ts.option(
        default="",
        validator=forms.origins,
        help="origins of web pages that may use /mcp, /sse and /messages, such as https://a.example,https://b.example",
    )
    relay_max_calls: int = ts.option(
        default=1000, validator=ge(1), help="calls at once, 1 or more; further ones hear an apology"
    )
    relay_max_call_seconds: float = ts.option(
        default=3600.0, validator=gt(0), help="seconds, more than 0, that a call may last at most"
    )
    relay_drain_seconds: float = ts.option(
        default=60.0, validator=ge(0), help="seconds that live calls may go on when the daemon is told to stop"
    )
    relay_allow_unassigned_numbers: bool = ts.option(
        default=False,
        help="true or false: whether numbers that nobody is known to have, such as +1 555, may be dialled",
    )
    relay_allowed_countries: str = ts.option(
        default="",
        validator=forms.countries,
        help="countries that may be dialled, by codes of two letters such as US,CA, or all; 001 adds satellites and "
        "numbers of no country; empty is the country of the number that a call comes from",
    )
    relay_calling_hours: str = ts.option(
        default="08:00-21:00",
        validator=forms.calling_hours,
        help="when people may be called, by their own clock, such as 08:00-21:00",
    )
    relay_require_consent: bool = ts.option(
        default=False, help="true or false: whether only numbers with a consent on record are dialled"
    )
    relay_calls_per_number_per_day: int = ts.option(
        default=5, validator=ge(0), help="calls and voice messages to one number within 24 hours; 0 is no limit"
    )
    relay_transfers_per_number_per_day: int = ts.option(
        default=50, validator=ge(0), help="transfers to one number within 24 hours; 0 is no limit"
    )
    relay_calls_per_agent_per_minute: int = ts.option(
        default=10, validator=ge(0), help="numbers that one agent dials within 60 seconds; 0 is no limit"
    )
    relay_calls_per_agent_per_day: int = ts.option(
        default=200,
        validator=ge(0),
        help="calls, voice messages and transfers that one agent dials within 24 hours; 0 is no limit",
    )
    relay_minutes_per_agent_per_day: int = ts.option(
        default=600,
        validator=ge(0),
        help="minutes that the calls and transfers of one agent may last within 24 hours before it dials no more; 0 is "
        "no limit",
    )
    relay_calls_per_second: float = ts.option(
        default=1.0, validator=gt(0), help="calls begun in a second, more than 0, as the carrier's account allows"
    )
    relay_ring_seconds: int = ts.option(
        default=25, validator=and_(ge(5), le(120)), help="seconds, 5 to 120, that a telephone rings"
    )
    relay_speech_engine: str = ts.option(
        default="auto",
        validator=in_(("auto", "espeak", "elevenlabs", "carrier")),
        help="who speaks voice messages: espeak, elevenlabs, carrier, or auto (elevenlabs where there is a key)",
    )
    elevenlabs_api_key: str | None = ts.option(
        default=None, repr=False, validator=forms.secret, help="enables ElevenLabs for voice messages"
    )
    elevenlabs_base_url: str = ts.option(
        default="https://api.elevenlabs.io",
        converter=forms.origin_of,
        validator=forms.origin,
        help="another origin of its API",
    )
    relay_audio_seconds: float = ts.option(
        default=3600.0, validator=gt(0), help="seconds, more than 0, for which the audio of a message can be fetched"
    )
    relay_retention_days: int = ts.option(
        default=90,
        validator=ge(0),
        help="days for which ended calls, transcripts and confirmed messages are kept; 0 keeps them for ever",
    )
    relay_keep_transcripts: bool = ts.option(
        default=False, help="true or false: whether what was said is kept of every call, not only where a message waits"
    )
    relay_log_level: str = ts.option(
        default="info",
        converter=str.lower,
        validator=in_(("debug", "info", "warning", "error")),
        help="the least that is logged: debug, info, warning or error",
    )
    relay_log_format: str = ts.option(
        default="auto",
        converter=str.lower,
        validator=in_(("auto", "json", "console")),
        help="json, console (for people), or auto: console on a terminal, else json",
    )

    def gate_rules(self) -> GateRules:
        """Give the rules of the gate in front of every dialled number. Raises `SettingsError`: no such country."""
        # The numbers' metadata takes as long to import as all else here, and most commands can do without.
        from relay.dialling.verdict import GateRules  # noqa: PLC0415

        try:
            return GateRules(
                calling_hours=CallingHours.parse(self.relay_calling_hours),
                allow_unassigned=self.relay_allow_unassigned_numbers,
                countries=listed(self.relay_allowed_countries),
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
    """Give every setting as (variable, default, help), in the order of the documentation."""
    for field in attrs.fields(Settings):
        yield field.name.upper(), field.default, field.metadata["typed-settings"]["help"]


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
    given = gather(known.union(OF_ATTACH), environment, env_file)
    values = (LOCAL_DEFAULTS if local else {}) | {
        name: value for name, value in given.values.items() if value or name in _MAY_BE_EMPTY
    }
    _refuse_unknown(values, known, given)
    wrong = [
        sentence
        for name, _default, help_ in documented()
        if (sentence := _fault(name, help_, values, given)) is not None
    ]
    if wrong:
        raise SettingsError(" ".join(wrong))
    settings = ts.load_settings(Settings, [_Environment(values)])
    if warn is not None:
        for warning in given.warnings:
            warn(warning)
        if gaps := lacking(settings.default_voice_language):
            warn(f"Calls in DEFAULT_VOICE_LANGUAGE may fail at once: {gaps}.")
    return settings


class _Environment:
    """Hand typed-settings the merged mapping; its own loader reads the process's environment alone."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __call__(self, settings_cls: SettingsClass, options: OptionList) -> LoadedSettings:  # noqa: ARG002 - the library passes it by name
        chosen: SettingsDict = {
            each.path: self._values[each.path.upper()] for each in options if each.path.upper() in self._values
        }
        return LoadedSettings(chosen, LoaderMeta(self))


def _refuse_unknown(values: Mapping[str, str], known: set[str], given: Given) -> None:
    for name in sorted(values):
        if name.startswith("RELAY_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else "The README has a table of all settings."
            raise SettingsError(f"{name} is not a setting of the relay ({given.places[name]}). {hint}")


def _fault(name: str, meaning: str, values: Mapping[str, str], given: Given) -> str | None:
    """Say what is wrong with a setting, if anything. The library's own text names fields, loaders and exceptions."""
    if name not in values:
        return None
    value, why = values[name], ""
    if name not in _WORDS and any(is_invisible(each) and each != " " for each in value):
        why = "It has an invisible character in its middle; type it again."
    else:
        try:
            ts.load_settings(Settings, [_Environment({name: value})])
        except ts.exceptions.TsError:
            why = _reason(name, value)
        else:
            return None
    shown = _shown(name, value)
    fix = f"Fix it in {given.places[name]}."
    return " ".join(each for each in (f"{name} cannot be {shown} ({meaning}).", why, fix) if each)


def _reason(name: str, value: str) -> str:
    """Return what our own rule says of a value; empty where it was refused by the library, which keeps no cause."""
    try:
        Settings(**{name.lower(): value})  # type: ignore[arg-type]
    except forms.Unusable as error:
        return str(error)
    except (TypeError, ValueError):
        return ""
    return ""


def _shown(name: str, value: str) -> str:
    """Show a value, unless it is a secret or may be one that was put in the wrong place."""
    field = next(each for each in attrs.fields(Settings) if each.name.upper() == name)
    if not field.repr or _LIKE_A_SECRET.search(value):
        return "what it is"
    return repr(_USER.sub("…@", value))
