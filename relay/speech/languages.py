"""Which languages there are, and which of them a conversation over the telephone can be held in.

    what was given ──read_language──▶ a BCP 47 tag, in its usual case
                                 └──▶ LanguageError: what is wrong, and which tag was probably meant

Whether a tag exists is known for certain (the registry of RFC 5646, by langcodes). Which languages the carrier's two
services have is known only as of the day that their pages were read, and grows: so a tag that exists is never refused
for being on none of these lists, but the operator gets a warning.
"""

from __future__ import annotations

import difflib
import re

LONGEST_TAG = 35
"""The most characters of a tag (RFC 5646, section 4.4.1)."""

MULTILINGUAL = "multi"
"""No tag: the carrier's own word for "whatever is spoken" (its page on `<ConversationRelay>`)."""

# What nearly every installation has. It is known without langcodes, which takes a tenth of the time of most commands.
_USUAL = "en-US"

# Source: https://elevenlabs.io/docs/overview/models, `eleven_flash_v2_5`, the carrier's default; read in November 2026.
SPOKEN = frozenset({
    "ar", "bg", "cs", "da", "de", "el", "en", "es", "fi", "fil", "fr", "hi", "hr", "hu", "id", "it", "ja", "ko", "ms",
    "nl", "no", "pl", "pt", "ro", "ru", "sk", "sv", "ta", "tr", "uk", "vi", "zh",
})  # fmt: skip
"""Languages of the voice service, by their primary subtags."""

# Source: Deepgram's changelog, https://developers.deepgram.com/changelog: nova-2 on 2024-05-14, nova-3 from 2025-08-15
# to 2026-09-03; read in November 2026. The carrier takes nova-3 where it has the language, else nova-2.
UNDERSTOOD = frozenset({
    "be", "bg", "bn", "bs", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fil", "fr", "he", "hi", "hr",
    "hu", "id", "it", "ja", "kk", "kn", "ko", "lt", "lv", "mk", "mr", "ms", "ne", "nl", "no", "pa", "pl", "pt", "ro",
    "ru", "sk", "sl", "sr", "sv", "ta", "te", "th", "tr", "uk", "ur", "vi", "zh",
})  # fmt: skip
"""Languages of the transcription service, by their primary subtags."""

# One language under several primary subtags: both services file it under the second.
_FILED_AS = {"cmn": "zh", "iw": "he", "nb": "no", "nn": "no", "tl": "fil", "yue": "zh"}

# Names as people write them into a setting, in English and in the language itself.
_NAMES = {
    "arabic": "ar", "bulgarian": "bg", "catalan": "ca", "català": "ca", "czech": "cs", "čeština": "cs", "danish": "da",
    "dansk": "da", "german": "de", "deutsch": "de", "greek": "el", "ελληνικά": "el", "english": "en",
    "spanish": "es", "español": "es", "espanol": "es", "castilian": "es", "estonian": "et", "persian": "fa",
    "farsi": "fa", "finnish": "fi", "suomi": "fi", "filipino": "fil", "tagalog": "fil", "french": "fr",
    "français": "fr", "francais": "fr", "hebrew": "he", "hindi": "hi", "croatian": "hr", "hrvatski": "hr",
    "hungarian": "hu", "magyar": "hu", "indonesian": "id", "italian": "it", "italiano": "it", "japanese": "ja",
    "日本語": "ja", "korean": "ko", "한국어": "ko", "lithuanian": "lt", "latvian": "lv", "malay": "ms", "dutch": "nl",
    "nederlands": "nl", "flemish": "nl-BE", "norwegian": "nb", "norsk": "nb", "bokmål": "nb", "polish": "pl",
    "polski": "pl", "portuguese": "pt", "português": "pt", "portugues": "pt", "brazilian": "pt-BR", "romanian": "ro",
    "română": "ro", "russian": "ru", "русский": "ru", "slovak": "sk", "slovenčina": "sk", "slovenian": "sl",
    "serbian": "sr", "swedish": "sv", "svenska": "sv", "tamil": "ta", "telugu": "te", "thai": "th", "turkish": "tr",
    "türkçe": "tr", "ukrainian": "uk", "українська": "uk", "vietnamese": "vi", "chinese": "zh", "mandarin": "zh",
    "cantonese": "yue", "中文": "zh",
}  # fmt: skip
# Codes of no language, or none of a person's, which are registered all the same.
_OF_NO_LANGUAGE = frozenset({"mis", "mul", "und", "zxx"})
# Regions for private use (RFC 5646, section 2.2.4).
_OF_NO_COUNTRY = re.compile("AA|Q[M-Z]|X[A-Z]|ZZ")
# What an operating system hangs on to its name for a locale: de_DE.UTF-8, de_DE@euro.
_LOCALE_TAIL = re.compile(r"[.@].*$")
_GAPS = re.compile(r"[\W_]+")


class LanguageError(ValueError):
    """That something is no language tag, and which one may be meant. Nothing else of what was given is in it."""


def read_language(given: str) -> str:
    """Return a BCP 47 tag in its usual case (en-US for en-us), or `MULTILINGUAL`. Raises `LanguageError`."""
    if given in {MULTILINGUAL, _USUAL}:
        return given
    tag = _registered(given) if "_" not in given else None
    if tag is None:
        meant = suggest_language(given)
        hint = f"Did you mean {meant}?" if meant else "A region may follow the language, as in pt-BR."
        raise LanguageError(f"a language is a BCP 47 tag, such as en-US or de-DE. {hint}")
    return tag


def suggest_language(given: str) -> str | None:
    """Return the tag that was probably meant; None where it cannot be guessed."""
    words = [each for each in _GAPS.split(_LOCALE_TAIL.sub("", given.strip()[:100])) if each]
    if not words:
        return None
    if (tag := _registered("-".join(words))) is not None:
        return tag
    first, rest = words[0].lower(), words[1:]
    region = next((each.upper() for each in rest if re.fullmatch(r"[A-Za-z]{2}", each)), "")
    near = difflib.get_close_matches(first, _NAMES, n=1, cutoff=0.75)
    if near:
        return _with_region(_NAMES[near[0]], region)
    # A language with something after it that is no region (en-USA), its longer code (deu-DE), or a country in place of
    # its language (jp, cz-CZ).
    return _with_region(first, region) or _with_region(f"und-{first}", region)


def lacking(tag: str) -> str:
    """Return what the carrier's services are not known to do with a language; empty where they do all."""
    if tag == MULTILINGUAL:
        return ""
    primary = _filed(tag.partition("-")[0])
    gaps = [
        f"{service} ({vendor}) does not list it"
        for service, vendor, listed in (
            ("the voice service", "ElevenLabs", SPOKEN),
            ("the transcription service", "Deepgram", UNDERSTOOD),
        )
        if primary not in listed
    ]
    return " and ".join(gaps)


def is_beyond_conversation(tag: str) -> bool:
    """Return whether a language is on neither list, so that a call in it could only fail."""
    return tag != MULTILINGUAL and _filed(tag.partition("-")[0]) not in SPOKEN | UNDERSTOOD


def _filed(primary: str) -> str:
    return _FILED_AS.get(primary.lower(), primary.lower())


def _registered(given: str) -> str | None:
    """Return a tag in its usual case if all its parts are registered, else None."""
    from langcodes import Language, tag_parser  # noqa: PLC0415

    if not given.isascii() or len(given) > LONGEST_TAG:
        return None
    try:
        tag = Language.get(given, normalize=False)
    except tag_parser.LanguageTagError:
        return None
    # An extended language behind a plain one ("en-usa") is registered, but is a typing mistake for a region.
    is_usable = tag.is_valid() and tag.language and not tag.extlangs and tag.language not in _OF_NO_LANGUAGE
    return tag.to_tag() if is_usable else None


def _with_region(language: str, region: str) -> str | None:
    """Return a language with its region, the usual one unless another is given that exists."""
    from langcodes import Language, tag_parser  # noqa: PLC0415

    try:
        known = Language.get(language)
    except tag_parser.LanguageTagError:
        return None
    is_country = language.startswith("und-") and not _OF_NO_COUNTRY.fullmatch(known.territory or "ZZ")
    if not known.is_valid() or not (is_country or _filed(known.language or "") in SPOKEN | UNDERSTOOD):
        return None
    usual = known.maximize()
    wanted = Language.get(f"und-{region}").territory if region else None
    tag = _registered(f"{usual.language}-{wanted or usual.territory}")
    return tag or _registered(f"{usual.language}-{usual.territory}")
