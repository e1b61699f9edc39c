"""The services of others, opened: the answering machine's model, the engine that speaks, the carrier's REST API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import structlog

from actors.ports import Responder
from relay.daemon.credentials import Credentials
from relay.dialling.orphaned_calls import Reconciliation
from relay.settings import Settings
from relay.speech.engines.choice import EngineKind, SpeechOptions, open_engine
from relay.speech.engines.port import SpeechEngine
from relay.store.claimed_calls import ClaimedCalls
from relay.store.database import Database
from relay.store.pace import SharedPace
from relay.twilio.rest import CarrierCalls, CarrierOptions, open_carrier_calls

log = structlog.get_logger(__name__)


@attrs.frozen
class Vendors:
    """The services of others that are open: each None where there is no account for it, or no need."""

    reconciliation: Reconciliation
    answering_machine: Responder | None = None
    speech: SpeechEngine | None = None
    carrier: CarrierCalls | None = None


@asynccontextmanager
async def open_vendors(settings: Settings, credentials: Credentials, database: Database) -> AsyncIterator[Vendors]:
    """Open what there is an account for, until the block ends."""
    reconciliation = Reconciliation(ClaimedCalls(database))
    # Behind a server there may be other nodes, which place calls of the same account.
    reserve = SharedPace(database).reserve if database.is_server else None
    speech = SpeechOptions(
        kind=None if settings.relay_speech_engine == "auto" else EngineKind(settings.relay_speech_engine),
        elevenlabs_api_key=settings.elevenlabs_api_key,
        elevenlabs_base_url=settings.elevenlabs_base_url,
    )
    async with (
        _answering_machine(settings) as answering_machine,
        open_engine(speech) as engine,
        _carrier(settings, credentials, reconciliation, reserve) as carrier,
    ):
        yield Vendors(reconciliation, answering_machine, engine, carrier)


@asynccontextmanager
async def _answering_machine(settings: Settings) -> AsyncIterator[Responder | None]:
    if not settings.anthropic_api_key:
        why = "ANTHROPIC_API_KEY is not set: callers whose client is away hear that nobody is available"
        log.warning("no_answering_machine", why=why)
        yield None
        return
    # Half of the start-up time and of the memory, and not needed without a key.
    from relay.answering.claude import open_answering_machine  # noqa: PLC0415

    async with open_answering_machine(
        api_key=settings.anthropic_api_key,
        model=settings.answering_machine_model,
        base_url=settings.anthropic_base_url,
    ) as answering_machine:
        yield answering_machine


@asynccontextmanager
async def _carrier(
    settings: Settings,
    credentials: Credentials,
    reconciliation: Reconciliation,
    reserve: Callable[[float], Awaitable[float]] | None,
) -> AsyncIterator[CarrierCalls | None]:
    if credentials.orders_as is None:
        yield None
        return
    async with open_carrier_calls(
        credentials.orders_as,
        credentials.auth_token,
        on_unclaimed=reconciliation.on_unclaimed,
        base_url=settings.twilio_api_base_url,
        options=CarrierOptions(calls_per_second=settings.relay_calls_per_second),
        reserve=reserve,
    ) as carrier:
        yield carrier
