"""The settings, from the environment and an `.env` file: every knob documented once, here.

The environment wins over the file. An unknown `RELAY_*` name is an error, because a misspelt limit that is silently
ignored is worse than a daemon that does not start. A field's name in capitals is its variable's name.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import dotenv
import typed_settings as ts
from attrs.validators import and_, ge, gt, le, min_len
from typed_settings.types import LoadedSettings, LoaderMeta, OptionList, SettingsClass, SettingsDict

from relay.errors import SettingsError


def _origin(_settings: object, attribute: attrs.Attribute[str | None], value: str | None) -> None:
    if value is None:
        return
    parts = urlsplit(value)
    # `port` raises ValueError by itself where it is no number, or too large.
    has_server = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    if not has_server or parts.path or parts.query or parts.fragment:
        raise ValueError(f"{attribute.name} must be an origin such as https://voice.example.com, not {value!r}")


def _trimmed(value: str | None) -> str | None:
    return value.rstrip("/") if value else None


@attrs.frozen(kw_only=True)
class Settings:
    """What the daemon was told. Times in seconds; secrets do not show in the repr."""

    twilio_account_sid: str | None = ts.option(default=None, help="the account at the carrier")
    twilio_auth_token: str | None = ts.option(
        default=None, repr=False, help="the account's token; signatures are checked with it too"
    )
    twilio_api_base_url: str | None = ts.option(
        default=None,
        converter=_trimmed,
        validator=_origin,
        help="another origin for the carrier's REST API, such as http://127.0.0.1:9000",
    )
    public_url: str | None = ts.option(
        default=None,
        converter=_trimmed,
        validator=_origin,
        help="the origin at which the carrier reaches this daemon, such as https://voice.example.com; signatures are "
        "checked over it",
    )
    anthropic_api_key: str | None = ts.option(default=None, repr=False, help="enables the answering machine")
    anthropic_base_url: str | None = ts.option(default=None, help="another address of Anthropic's API")
    answering_machine_model: str = ts.option(
        default="claude-haiku-4-5", validator=min_len(1), help="the Claude model that takes messages"
    )
    default_voice_greeting: str = ts.option(
        default="Hello, how can I help you today?", help="what a caller hears first"
    )
    default_voice_id: str = ts.option(default="EXAVITQu4vr4xnSDxMaL", validator=min_len(1), help="an ElevenLabs voice")
    default_voice_language: str = ts.option(default="en-US", validator=min_len(2), help="a BCP 47 tag, such as en-US")
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
    relay_max_calls: int = ts.option(
        default=1000, validator=ge(1), help="calls at once, 1 or more; further ones hear an apology"
    )
    relay_max_call_seconds: float = ts.option(
        default=3600.0, validator=gt(0), help="seconds, more than 0, that a call may last at most"
    )
    relay_drain_seconds: float = ts.option(
        default=60.0, validator=ge(0), help="seconds that live calls may go on when the daemon is told to stop"
    )


def documented() -> Iterator[tuple[str, object, str]]:
    """Give every setting as (variable, default, help), in the order of the documentation."""
    for field in attrs.fields(Settings):
        yield field.name.upper(), field.default, field.metadata["typed-settings"]["help"]


def load(environment: Mapping[str, str] | None = None, env_file: Path | None = None) -> Settings:
    """Read the settings; the environment wins over `env_file` (`.env` in the working directory unless given).

    An empty value is as good as none. Raises `SettingsError`, which says what is wrong and what to do.
    """
    path = env_file or Path(".env")
    try:
        from_file = dotenv.dotenv_values(path, interpolate=False) if path.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} cannot be read ({error}); mend or remove it.") from error
    given = {**from_file, **(os.environ if environment is None else environment)}
    values = {name: value for name, value in given.items() if value}
    _refuse_unknown(values)
    try:
        return ts.load_settings(Settings, [_Environment(values)])
    except ts.exceptions.TsError as error:
        raise SettingsError(f"{_explain(values)} Mend it in the environment or in {path}.") from error


class _Environment:
    """Hand typed-settings the merged mapping; its own loader reads the process's environment alone."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __call__(self, settings_cls: SettingsClass, options: OptionList) -> LoadedSettings:  # noqa: ARG002 - the library passes it by name
        chosen: SettingsDict = {
            each.path: self._values[each.path.upper()] for each in options if each.path.upper() in self._values
        }
        return LoadedSettings(chosen, LoaderMeta(self))


def _refuse_unknown(values: Mapping[str, str]) -> None:
    known = {name for name, _default, _help in documented()}
    for name in sorted(values):
        if name.startswith("RELAY_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else "The README has a table of all settings."
            raise SettingsError(f"{name} is not a setting of the relay. {hint}")


def _explain(values: Mapping[str, str]) -> str:
    """Name each setting that cannot be used. The library's own text names fields, loaders and exception classes."""
    wrong = [
        f"{name} cannot be {values[name]!r} ({meaning})."
        for name, _default, meaning in documented()
        if name in values and not _is_usable(name, values[name])
    ]
    return " ".join(wrong)


def _is_usable(name: str, value: str) -> bool:
    try:
        ts.load_settings(Settings, [_Environment({name: value})])
    except ts.exceptions.TsError:
        return False
    return True
