"""What the vendors say of the keys. A vendor that does not answer leaves it open whether a key is good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import anthropic
import httpx2

from relay.cli.checks.check import CheckFailed, Undetermined
from relay.cli.checks.network import NETWORK_ERRORS, json_object, reason
from relay.settings import Settings
from relay.speech.engines.elevenlabs import error_words
from relay.speech.voices import ELEVENLABS_VOICE
from relay.store.agent_registry import AgentRegistry
from relay.store.database import open_database
from relay.twilio.rest_errors import SUSPENDED_CODES

_TWILIO = "https://api.twilio.com"
_SUSPENDED = "The account is suspended or closed."
_SEE_CONSOLE = "See the Twilio console for what the carrier wants."


async def carrier(settings: Settings) -> str:
    """Fetch the account from the carrier's REST API. Raises `CheckFailed` and `Undetermined`.

    Source: the vendor's page on the Account resource, `GET /2010-04-01/Accounts/{Sid}.json`.
    """
    sid, token = settings.twilio_account_sid or "", settings.twilio_auth_token or ""
    url = f"{settings.twilio_api_base_url or _TWILIO}/2010-04-01/Accounts/{quote(sid, safe='')}.json"
    try:
        async with httpx2.AsyncClient(timeout=None) as http:
            response = await http.get(url, auth=(sid, token))
    except NETWORK_ERRORS as error:
        raise Undetermined(f"The carrier cannot be reached: {reason(error)}.") from error
    if json_object(response).get("code") in SUSPENDED_CODES:
        raise CheckFailed(_SUSPENDED, _SEE_CONSOLE)
    if response.status_code in {401, 403, 404}:
        raise CheckFailed(
            f"The carrier does not know TWILIO_ACCOUNT_SID with TWILIO_AUTH_TOKEN ({response.status_code}).",
            "Copy both from the first page of the Twilio console: the live ones, not the test credentials.",
        )
    account = json_object(response)
    if not response.is_success or "status" not in account:
        raise Undetermined(f"The carrier's answer ({response.status_code}) does not say.", "Try again later.")
    if account["status"] != "active":
        raise CheckFailed(_SUSPENDED, _SEE_CONSOLE)
    trial = " It is a trial account, which may not be allowed to use ConversationRelay."
    return f"The credentials are good.{trial if account.get('type') == 'Trial' else ''}"


async def answering_machine(settings: Settings) -> str:
    """Ask for the model that takes messages, which tells of the key and of the model at once.

    Raises `CheckFailed` and `Undetermined`. Source: the vendor's page "Get a Model", which also takes
    the short names of models.
    """
    model = settings.answering_machine_model
    try:
        async with anthropic.AsyncAnthropic(
            api_key=settings.anthropic_api_key, base_url=settings.anthropic_base_url, timeout=None, max_retries=0
        ) as client:
            found = await client.models.retrieve(model)
    except (anthropic.AuthenticationError, anthropic.PermissionDeniedError) as error:
        raise CheckFailed(
            f"Anthropic does not take ANTHROPIC_API_KEY ({error.status_code}).",
            "Set a key that is in force, or none: then callers whose client is away hear that nobody is available.",
        ) from error
    except anthropic.NotFoundError as error:
        if settings.anthropic_base_url:
            raise Undetermined("ANTHROPIC_BASE_URL does not say which models it has.") from error
        raise CheckFailed(
            f"There is no model {model} for this key.", "Set ANSWERING_MACHINE_MODEL to another one."
        ) from error
    except anthropic.APIStatusError as error:
        raise Undetermined(f"Anthropic's answer ({error.status_code}) does not say.", "Try again later.") from error
    except (anthropic.AnthropicError, ValueError) as error:
        raise Undetermined("Anthropic cannot be reached.", "Check ANTHROPIC_BASE_URL and the network.") from error
    # The library hands on as a plain string what did not come as JSON.
    if not isinstance(getattr(found, "id", None), str):
        raise Undetermined("Something else than Anthropic answers.", "Check ANTHROPIC_BASE_URL and the network.")
    return f"The key is good, and has {model}."


async def speech(settings: Settings) -> str:
    """Ask ElevenLabs for the account's credit and for each voice that voice messages are to be spoken with.

    Raises `CheckFailed` and `Undetermined`. Source: the vendor's pages "Get user subscription" and "Get voice".
    """
    voices = await _voices_of_messages(settings)
    headers = {"xi-api-key": settings.elevenlabs_api_key or ""}
    try:
        async with httpx2.AsyncClient(base_url=settings.elevenlabs_base_url, headers=headers, timeout=None) as http:
            account = await http.get("/v1/user/subscription")
            answers = {voice: await http.get(f"/v1/voices/{quote(voice, safe='')}") for voice in voices}
    except NETWORK_ERRORS as error:
        raise Undetermined(f"ElevenLabs cannot be reached: {reason(error)}.", "Check ELEVENLABS_BASE_URL.") from error
    refused = [
        each for each in (account, *answers.values()) if each.status_code in {401, 403} and not _is_limited(each)
    ]
    if refused:
        raise CheckFailed(
            f"ElevenLabs does not take ELEVENLABS_API_KEY ({refused[0].status_code}).",
            "Set a key that is in force, or none: then espeak-ng speaks voice messages.",
        )
    unknown = [voices[voice] for voice, answer in answers.items() if answer.status_code in {400, 404}]
    if unknown:
        raise CheckFailed(
            f"ElevenLabs has no such voice for this account: {', '.join(unknown)}. Messages are spoken with its first.",
            "Choose one of the account's voices: DEFAULT_VOICE_ID, or relay agents set ID --voice.",
        )
    left = _credit_left(json_object(account))
    if left is not None and left <= 0:
        raise CheckFailed("The ElevenLabs account has no credit left.", "Buy more, or wait for its next month.")
    if left is None or any(not each.is_success for each in answers.values()):
        raise Undetermined(
            "ElevenLabs takes the key, but does not tell all of credit and voices.",
            "If the key is limited, let it read the user and voices; else try again later.",
        )
    return f"The key is good, has the voices, and {left} credits are left."


async def _voices_of_messages(settings: Settings) -> dict[str, str]:
    """Return the ids of all voices that are configured, each with where; an empty one is chosen by the service."""
    async with open_database(settings.database_url) as database:
        registered = await AgentRegistry(database).list()
    configured = [("DEFAULT_VOICE_ID", settings.default_voice_id)]
    configured += [(f"{each.agent_id}'s voice", each.voice) for each in registered if each.voice]
    places: dict[str, str] = {}
    for place, voice in configured:
        if (parts := ELEVENLABS_VOICE.fullmatch(voice)) is not None:
            places.setdefault(parts["id"], place)
    return places


def _is_limited(answer: httpx2.Response) -> bool:
    """Return whether a key is good, and only may not ask for this."""
    return "missing_permissions" in error_words(answer.content)


def _credit_left(account: Mapping[str, Any]) -> int | None:
    used, limit = account.get("character_count"), account.get("character_limit")
    return limit - used if isinstance(used, int) and isinstance(limit, int) else None
