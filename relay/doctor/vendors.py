"""What the vendors say of the keys. A vendor that does not answer leaves it open whether a key is good."""

from __future__ import annotations

from urllib.parse import quote

import anthropic
import httpx2

from relay.config import Settings
from relay.doctor.check import CannotTell, Ill
from relay.doctor.network import NETWORK_ERRORS, json_object, reason
from relay.twilio.refusals import SUSPENDED_CODES

_TWILIO = "https://api.twilio.com"
_SUSPENDED = "The account is suspended or closed."
_SEE_CONSOLE = "See the Twilio console for what the carrier wants."


async def carrier(settings: Settings) -> str:
    """Fetch the account from the carrier's REST API. Raises `Ill` and `CannotTell`.

    Source: the vendor's page on the Account resource, `GET /2010-04-01/Accounts/{Sid}.json`.
    """
    sid, token = settings.twilio_account_sid or "", settings.twilio_auth_token or ""
    url = f"{settings.twilio_api_base_url or _TWILIO}/2010-04-01/Accounts/{quote(sid, safe='')}.json"
    try:
        async with httpx2.AsyncClient(timeout=None) as http:
            response = await http.get(url, auth=(sid, token))
    except NETWORK_ERRORS as error:
        raise CannotTell(f"The carrier cannot be reached: {reason(error)}.") from error
    if json_object(response).get("code") in SUSPENDED_CODES:
        raise Ill(_SUSPENDED, _SEE_CONSOLE)
    if response.status_code in {401, 403, 404}:
        raise Ill(
            f"The carrier does not know TWILIO_ACCOUNT_SID with TWILIO_AUTH_TOKEN ({response.status_code}).",
            "Copy both from the first page of the Twilio console: the live ones, not the test credentials.",
        )
    account = json_object(response)
    if not response.is_success or "status" not in account:
        raise CannotTell(f"The carrier's answer ({response.status_code}) does not say.", "Try again later.")
    if account["status"] != "active":
        raise Ill(_SUSPENDED, _SEE_CONSOLE)
    trial = " It is a trial account, which may not be allowed to use ConversationRelay."
    return f"The credentials are good.{trial if account.get('type') == 'Trial' else ''}"


async def answering_machine(settings: Settings) -> str:
    """Ask for the model that takes messages, which tells of the key and of the model at once.

    Raises `Ill` and `CannotTell`. Source: the vendor's page "Get a Model", which also takes the short names of models.
    """
    model = settings.answering_machine_model
    try:
        async with anthropic.AsyncAnthropic(
            api_key=settings.anthropic_api_key, base_url=settings.anthropic_base_url, timeout=None, max_retries=0
        ) as client:
            found = await client.models.retrieve(model)
    except (anthropic.AuthenticationError, anthropic.PermissionDeniedError) as error:
        raise Ill(
            f"Anthropic does not take ANTHROPIC_API_KEY ({error.status_code}).",
            "Set a key that is in force, or none: then callers whose client is away hear that nobody is available.",
        ) from error
    except anthropic.NotFoundError as error:
        if settings.anthropic_base_url:
            raise CannotTell("ANTHROPIC_BASE_URL does not say which models it has.") from error
        raise Ill(f"There is no model {model} for this key.", "Set ANSWERING_MACHINE_MODEL to another one.") from error
    except anthropic.APIStatusError as error:
        raise CannotTell(f"Anthropic's answer ({error.status_code}) does not say.", "Try again later.") from error
    except (anthropic.AnthropicError, ValueError) as error:
        raise CannotTell("Anthropic cannot be reached.", "Check ANTHROPIC_BASE_URL and the network.") from error
    # The library hands on as a plain string what did not come as JSON.
    if not isinstance(getattr(found, "id", None), str):
        raise CannotTell("Something else than Anthropic answers.", "Check ANTHROPIC_BASE_URL and the network.")
    return f"The key is good, and has {model}."
