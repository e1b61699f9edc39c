"""What the settings are read from: the environment and an `.env` file, cleaned of what copying brings along.

    environment ──┐
    .env file ────┴──gather──▶ Given: values, where each comes from, warnings ──▶ relay.settings

A value that was copied often has invisible characters around it: a line break at its end, a zero-width space, the
quotes that `docker --env-file` leaves in place. None of it is ever intended, and a secret that keeps it fails at the
first call. So it is taken away; inside a value it is left, for relay.settings to refuse by the setting's name.
"""

from __future__ import annotations

import difflib
import io
import os
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs
from dotenv.parser import parse_stream

from relay.errors import SettingsError

ENV_FILE = Path(".env")
"""The file that is read unless another is named, in the working directory."""

# Of a pair of quotes the first may come with any of the second: editors make the curly ones, each as it likes.
_QUOTES = {"'": "'", '"': '"', "“": "”“", "‘": "’‘", "„": "“”", "«": "»", "`": "`"}

# Similar to names of ours, but not ours: the vendors' own libraries read them.
_OF_OTHERS = frozenset(
    {
        "ANTHROPIC_API_URL",
        "ANTHROPIC_AUTH_TOKEN",
        "TWILIO_API_KEY",
        "TWILIO_API_KEY_SECRET",
        "TWILIO_API_KEY_SID",
        "TWILIO_API_SECRET",
        "TWILIO_PHONE_NUMBER_SID",
    }
)
_AS_NEAR_AS_A_MISTAKE = 0.86


@attrs.frozen
class Given:
    """What was given: `values` by name, `places` where each stands (for sentences), `warnings` about names near ours.

    An empty value is kept as such.
    """

    values: Mapping[str, str] = attrs.field(repr=False)
    places: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def gather(known: Iterable[str], environment: Mapping[str, str] | None = None, env_file: Path | None = None) -> Given:
    """Read the environment (the process's own unless given) and the file; the environment wins.

    `known` are the names that mean something. Raises `SettingsError` for a file that cannot be read.
    """
    path = ENV_FILE if env_file is None else env_file
    environment = os.environ if environment is None else environment
    names = frozenset(known)
    values, places = _of_file(path)
    warnings = [f"{place} is not NAME=value, and is ignored." for name, place in places.items() if name not in values]
    places = {name: place for name, place in places.items() if name in values} | dict.fromkeys(
        environment, "the environment"
    )
    values |= environment
    near = {name: _meant(name, names) for name in values if name not in names}
    warnings += [
        f"{name} ({places[name]}) is not a setting, and is ignored. Did you mean {meant}?"
        for name, meant in near.items()
        # What is set rightly as well, is not missed.
        if meant is not None and not values.get(meant)
    ]
    return Given({name: cleaned(value) for name, value in values.items()}, places, tuple(warnings))


def cleaned(value: str) -> str:
    """Return a value without the white space, invisible characters and quotes around it."""
    bare = _bare(value)
    # At least one character between them: a lone quote is no pair.
    while len(bare) >= 2 and bare[-1] in _QUOTES.get(bare[0], ""):
        bare = _bare(bare[1:-1])
    return bare


def is_invisible(character: str) -> bool:
    """Return whether a character shows nothing or only a gap: any white space, controls, zero-width characters."""
    return character.isspace() or unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp", "Zs"}


def _bare(value: str) -> str:
    first, last = 0, len(value)
    while first < last and is_invisible(value[first]):
        first += 1
    while last > first and is_invisible(value[last - 1]):
        last -= 1
    return value[first:last]


def _of_file(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the values of a file, and where each name and each line that cannot be read stands."""
    values: dict[str, str] = {}
    places: dict[str, str] = {}
    if not path.is_file():
        return values, places
    try:
        text = _decoded(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        # The error of decoding would repeat bytes of the file.
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"The settings file {path} cannot be read: {why}. Fix or remove it.") from None
    for binding in parse_stream(io.StringIO(text)):
        # The library counts the empty lines and comments before a name to it.
        line = binding.original.line + _lines_before(binding.original.string)
        place = f"{path}, line {line}"
        if binding.key is not None and binding.value is not None:
            name = cleaned(binding.key)
            values[name], places[name] = binding.value, place
        elif binding.error or binding.key is not None:
            places[place] = place
    return values, places


def _decoded(content: bytes) -> str:
    # Windows' editors and shells begin a file with a byte order mark, and some write UTF-16.
    encoding = "utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    return content.decode(encoding)


def _lines_before(statement: str) -> int:
    return statement[: len(statement) - len(statement.lstrip())].count("\n")


def _meant(name: str, known: frozenset[str]) -> str | None:
    """Return the setting that a name is a typing mistake for; None for an unrelated name, or one of `RELAY_*`.

    Those are refused in any case, by relay.settings.
    """
    if name in _OF_OTHERS or name.startswith("RELAY_"):
        return None
    written = name.upper().replace("-", "_")
    if written in known:
        return written
    # Some people leave a word out (TWILIO_TOKEN), others spell one wrong (ANTROPIC_API_KEY).
    words = written.split("_")
    fuller = [each for each in known if each.count("_") == len(words) and _is_part_of(words, each.split("_"))]
    if fuller and len(words) >= 2:
        return min(fuller, key=lambda each: (len(each), each))
    squeezed = {each.replace("_", ""): each for each in known}
    near = difflib.get_close_matches(written.replace("_", ""), squeezed, n=1, cutoff=_AS_NEAR_AS_A_MISTAKE)
    return squeezed[near[0]] if near else None


def _is_part_of(words: Iterable[str], others: Iterable[str]) -> bool:
    """Return whether all words come among the others, in their order."""
    rest = iter(others)
    return all(word in rest for word in words)
