"""The daemon: the one file that knows every part, and puts them together.

    one top nursery
    ├── database writer            relay.store
    ├── presence, calls            supervisors: the grace of lost clients, tickets that nobody used
    ├── transfers, reconciliation  supervisors: calls on their way to somebody else, calls that nobody wants any more
    ├── audio, retention           delete what has had its time
    ├── token watch                ends sessions of agents whose token was changed
    ├── signals                    the first drains, the second stops at once
    └── listener ── one task a connection
        ├── voice socket ── Call   actors.call_session, with the connection's task as its parent
        ├── /sse, /messages        relay.mcp
        └── pages and webhooks     relay.twilio

Start: the database is migrated and held, so that no second daemon takes our calls for an earlier run's; the address is
taken, and what an earlier run did leave in flight becomes waiting messages.
The parts are wired after the address is taken, because TwiML, signatures and orders to the carrier need the public
origin, which with `--local` and port 0 is not known earlier.

Stop: on the first signal new calls are refused while everything else is still served; live calls may finish for the
drain time, then they hear a farewell; when none is left (or after a bounded wait) and the carrier has asked what comes
after them, the MCP sessions are closed, the listener stops, and the database commits what it was given.
"""

from __future__ import annotations

import gc
import math
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, assert_never

import attrs
import structlog
import trio
from sqlalchemy import text

from actors.call_session import CallServices
from actors.call_values import CallInfo, Owner
from actors.calls import Calls
from actors.clients import ClientResponder, Presence
from actors.commands import By
from actors.events import CallEnded, CallGone, CallNews, ClientWanted, MessageLeft, OwnerChanged, TransferMoved
from actors.policy import Policy
from actors.ports import Responder
from relay import local as local_mode
from relay import logs
from relay.agent import Agent
from relay.dialling.defaults import Defaults
from relay.dialling.dial_check import DiallingGate
from relay.dialling.dialler import Dialler
from relay.dialling.opt_out import opt_out_listener
from relay.dialling.opt_out_requests import HeardOptOuts, OptOutRequests
from relay.dialling.orphaned_calls import Reconciliation
from relay.dialling.outbound_calls import Conversations
from relay.dialling.transfers import Transfers
from relay.dialling.voice_messages import VoiceMessages
from relay.errors import RelayError, SettingsError
from relay.http import descriptors
from relay.http.cors import Cors
from relay.http.gateway import Gateway
from relay.http.listener import ListenerOptions, address_of, bind, serve_on
from relay.http.pages import HealthPages, OperatorPages, build_app
from relay.mcp.app import McpApp
from relay.mcp.tools.live_calls import AgentCalls
from relay.mcp.tools.outbound import outbound_tools
from relay.mcp.tools.toolbox import Tool
from relay.mcp.transports.http_guard import RebindingGuard
from relay.metrics import CallMeter
from relay.reception import Reception
from relay.running import RunningDaemon, announce
from relay.settings import Settings, split_list
from relay.speech.agent_phrases import phrases_of
from relay.speech.audio_store import AudioOptions, AudioStore
from relay.speech.engines.choice import EngineKind, SpeechOptions, open_engine
from relay.speech.engines.port import SpeechEngine
from relay.speech.locales import locale_for
from relay.speech.spoken import SpokenResponder
from relay.store.agent_registry import AgentRegistry
from relay.store.call_journal import CallJournal
from relay.store.client_hellos import ClientHellos
from relay.store.database import Database, open_database
from relay.store.files import beside_database
from relay.store.known_agents import KnownAgents
from relay.store.retention import Retention
from relay.store.schema import timestamp
from relay.store.tenure import hold_database_lock
from relay.store.waiting_messages import WaitingMessages
from relay.twilio.audio_webhook import AudioPages, loggable
from relay.twilio.rest import CarrierCalls, CarrierOptions, open_carrier_calls
from relay.twilio.signatures import SignatureChecker
from relay.twilio.urls import CarrierUrls
from relay.twilio.voice_socket import VoiceSocket
from relay.twilio.webhooks import CarrierWebhooks

log = structlog.get_logger(__name__)

# A lost EventSource comes back within a second or three; who has been away longer is away.
RECONNECT_GRACE = 10.0
# For the farewell to be heard (about six seconds) and the carrier to close.
FAREWELL_SECONDS = 15.0
# For the carrier to ask, when a call is over, what comes next. It asks at once, and a caller whose carrier finds nobody
# hears of an error; but its last webhook may not be configured, and is not worth a longer stop.
LAST_WEBHOOK_SECONDS = 2.0
# For messages to be stored of callers whose line was lost and who are not back. A database that does not answer within
# it is down; what they said is held in it, and becomes messages at the next start.
LAST_MESSAGES_SECONDS = 3.0
# What connections may still do after that: a webhook's answer, the end of a stream.
LISTENER_GRACE = 1.0
# When a caller who still waits is told so again, in more words.
LONG_FILLER_SECONDS = 5.0
# Less than whoever asks whether we are ready waits for the answer.
DATABASE_CHECK_SECONDS = 2.0
# How soon a changed token ends the sessions that were opened with the old one.
TOKEN_WATCH_SECONDS = 2.0


async def serve(  # noqa: ASYNC128 - started in Relay.run
    settings: Settings,
    *,
    local: bool = False,
    warnings: Sequence[str] = (),
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the daemon until SIGTERM or SIGINT; the started value is its URL. `warnings` about the settings are logged.

    Raises `RelayError` for what the operator can fix: a missing credential, a taken port, a broken database. On
    cancellation live calls store what they owe, within their epilogue's time.
    """
    logs.configure(settings.relay_log_level.upper(), logs.LogFormat(settings.relay_log_format))
    for warning in warnings:
        log.warning("setting_doubtful", why=warning)
    _raise_descriptor_limit(settings.relay_max_calls)
    async with AsyncExitStack() as stack:
        # Before all else: a signal during the start, too, must not kill us half-way. One that comes while the receiver
        # is being closed is handed to whoever handled it before, so that has to be nobody: the process is at its end.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signals = stack.enter_context(trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT))
        credentials = _credentials(settings, local=local)
        database = await stack.enter_async_context(open_database(settings.database_url, sole=True))
        stack.enter_context(hold_database_lock(settings.database_url))
        vendors = await stack.enter_async_context(_open_vendors(settings, credentials))
        listeners = await bind(settings.relay_host, settings.relay_port)
        for listener in listeners:
            stack.push_async_callback(listener.aclose)
        host, port = address_of(listeners)
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        daemon = RunningDaemon(
            pid=os.getpid(), url=_reached_from_here(host, url), public_url=settings.public_url or url, is_local=local
        )
        async with _unwrapped(), trio.open_nursery() as nursery:
            relay = Relay(settings, credentials, database, vendors, daemon)
            nursery.start_soon(_obey, signals, relay)
            await relay.run(listeners, url, task_status=task_status)
            nursery.cancel_scope.cancel("stopped")


def _reached_from_here(host: str, url: str) -> str:
    """Return the address for this machine's own processes of a listener on `host`, which may be all addresses."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound
    return url.replace(host, everywhere[host], 1) if host in everywhere else url


def _raise_descriptor_limit(max_calls: int) -> None:
    got, needed = descriptors.raise_limit(), descriptors.needed_for(max_calls)
    if got < needed:
        log.warning(
            "few_descriptors", limit=got, needed=needed, why="RELAY_MAX_CALLS calls need more; see relay doctor"
        )


class StoppedAtOnceError(RelayError):
    """The daemon did not drain, because it was told twice to stop."""


@attrs.frozen
class Credentials:
    """What the carrier's requests are checked with, and the account that ours are made for (None: make none)."""

    account_sid: str | None
    auth_token: str = attrs.field(repr=False)
    orders_as: str | None


@attrs.frozen
class Vendors:
    """The services of others that are open: each None where there is no account for it, or no need."""

    machine: Responder | None = None
    speech: SpeechEngine | None = None
    carrier: CarrierCalls | None = None
    reconciliation: Reconciliation = attrs.field(factory=Reconciliation)


def _credentials(settings: Settings, *, local: bool) -> Credentials:
    if local:
        local_mode.require_loopback(settings.relay_host)
        token = local_mode.carrier_token(settings)
        return Credentials(settings.twilio_account_sid, token, local_mode.carrier_account(settings))
    missing = [
        name
        for name, value in (
            ("TWILIO_ACCOUNT_SID", settings.twilio_account_sid),
            ("TWILIO_AUTH_TOKEN", settings.twilio_auth_token),
            ("PUBLIC_URL", settings.public_url),
        )
        if not value
    ]
    if missing or not settings.twilio_auth_token:
        raise SettingsError(
            f"{', '.join(missing)} must be set for calls from the carrier. To try the relay without an account: "
            "relay serve --local"
        )
    return Credentials(settings.twilio_account_sid, settings.twilio_auth_token, settings.twilio_account_sid)


@asynccontextmanager
async def _answering_machine(settings: Settings) -> AsyncIterator[Responder | None]:
    if not settings.anthropic_api_key:
        why = "ANTHROPIC_API_KEY is not set: callers whose client is away hear that nobody is available"
        log.warning("no_answering_machine", why=why)
        yield None
        return
    # Half of the start-up time and of the memory, and needed by nobody without a key.
    from relay.answering.claude import open_answering_machine  # noqa: PLC0415

    async with open_answering_machine(
        api_key=settings.anthropic_api_key,
        model=settings.answering_machine_model,
        base_url=settings.anthropic_base_url,
    ) as machine:
        yield machine


@asynccontextmanager
async def _open_vendors(settings: Settings, credentials: Credentials) -> AsyncIterator[Vendors]:
    reconciliation = Reconciliation()
    speech = SpeechOptions(
        kind=None if settings.relay_speech_engine == "auto" else EngineKind(settings.relay_speech_engine),
        elevenlabs_api_key=settings.elevenlabs_api_key,
        elevenlabs_base_url=settings.elevenlabs_base_url,
    )
    async with (
        _answering_machine(settings) as machine,
        open_engine(speech) as engine,
        _carrier(settings, credentials, reconciliation) as carrier,
    ):
        yield Vendors(machine, engine, carrier, reconciliation)


@asynccontextmanager
async def _carrier(
    settings: Settings, credentials: Credentials, reconciliation: Reconciliation
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
    ) as carrier:
        yield carrier


@asynccontextmanager
async def _unwrapped() -> AsyncIterator[None]:
    """Raise a lone `RelayError` of the nursery as itself: it is a sentence for the operator, not a crash."""
    failure: RelayError | None = None
    try:
        yield
    except* RelayError as group:
        errors: list[BaseException] = [group]
        while isinstance(errors[0], BaseExceptionGroup):
            errors = list(errors[0].exceptions)
        failure = errors[0] if isinstance(errors[0], RelayError) else None
    if failure is not None:
        raise failure


async def _obey(signals: AsyncIterator[int], relay: Relay) -> None:
    async for number in signals:
        live = len(relay.calls.live())
        if relay.is_stopping:
            raise StoppedAtOnceError(f"Stopped at once by a second signal; {live} live calls were cut.")
        log.info("draining", signal=signal.Signals(number).name, live_calls=live)
        relay.stop()


class Relay:
    """The parts of a running relay, wired."""

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        database: Database,
        vendors: Vendors,
        daemon: RunningDaemon,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._database = database
        self._vendors = vendors
        self._daemon = daemon
        self._public_url = public_url = daemon.public_url
        self._stopping = trio.Event()
        self._agents = AgentRegistry(database)
        self._known_agents = KnownAgents(self._agents)
        self._journal = CallJournal(database)
        self._gate = DiallingGate(database, settings.gate_rules())
        self._retention = Retention(database)
        self._audio = AudioStore(
            AudioOptions(
                directory=beside_database(settings.database_url, ".audio"),
                ttl=settings.relay_audio_seconds,
            )
        )
        messages = WaitingMessages(database)
        presence = Presence(grace=RECONNECT_GRACE)
        self._meter = CallMeter()
        responders: dict[By, Responder] = {By.CLIENT: SpokenResponder(ClientResponder(presence, self._owner_of))}
        if vendors.machine is not None:
            responders[By.ANSWERING_MACHINE] = vendors.machine
        services = CallServices(
            responders=responders,
            messages=messages,
            journal=self._journal,
            observer=self._meter,
            opt_outs=HeardOptOuts(self._gate),
            listeners=(self._on_call_news,),
        )
        self._presence = presence
        self.calls = Calls(services, presence, settings.relay_max_calls)
        self._defaults = Defaults(
            greeting=settings.default_voice_greeting,
            voice=settings.default_voice_id,
            language=settings.default_voice_language,
            caller_number=settings.twilio_phone_number,
            ring_seconds=settings.relay_ring_seconds,
            max_call_seconds=settings.relay_max_call_seconds,
        )
        self._reception = Reception(
            calls=self.calls,
            journal=self._journal,
            policy_for=self._policy_for,
            defaults=self._defaults,
        )
        self._transfers = Transfers(
            gate=self._gate,
            calls=self.calls,
            journal=self._journal,
            carrier=vendors.carrier,
            urls=CarrierUrls(public_url),
            defaults=self._defaults,
            observer=self._meter,
        )
        self._guard = RebindingGuard(
            public_url,
            allowed_hosts=split_list(settings.relay_allowed_hosts),
            allowed_origins=split_list(settings.relay_allowed_origins),
        )
        self._clients = McpApp(
            agents=self._agents,
            hellos=ClientHellos(database),
            messages=messages,
            calls=AgentCalls(live=self.calls, journal=self._journal, carrier=vendors.carrier),
            presence=presence,
            more_tools=self._outbound_tools(),
            guard=self._guard,
        )
        self._meter.live_calls.set_function(lambda: len(self.calls.live()))
        self._meter.places_taken.set_function(self.calls.occupied)
        self._meter.client_sessions.set_function(lambda: len(self._clients))

    def _outbound_tools(self) -> list[Tool[Any]]:
        urls = CarrierUrls(self._public_url)
        dialler = Dialler(
            gate=self._gate,
            carrier=self._vendors.carrier,
            observer=self._meter,
            reconciliation=self._vendors.reconciliation,
        )
        return outbound_tools(
            Conversations(dialler=dialler, reception=self._reception, urls=urls, defaults=self._defaults),
            VoiceMessages(
                dialler=dialler,
                journal=self._journal,
                engine=self._vendors.speech,
                audio=self._audio,
                urls=urls,
                defaults=self._defaults,
            ),
            self._transfers,
            OptOutRequests(gate=self._gate, calls=self.calls, journal=self._journal),
        )

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Begin to drain. Never waits."""
        self.calls.draining = True
        self._stopping.set()

    async def run(
        self,
        listeners: Sequence[trio.SocketListener],
        url: str,
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve on these listeners until `stop`, drain, and return; the started value is `url`, their address."""
        # After the port is ours: a daemon that cannot serve should change nothing.
        recovered = await self._journal.recover()
        if recovered.calls or recovered.messages:
            log.warning("recovered", calls=recovered.calls, messages=recovered.messages)
        await self._known_agents.load()
        stopped = trio.Event()
        async with trio.open_nursery() as nursery:
            await self._start_supervisors(nursery)
            options = ListenerOptions(
                grace=LISTENER_GRACE, max_connections=descriptors.connections_for(descriptors.limit())
            )
            async with trio.open_nursery() as listening:
                await listening.start(partial(serve_on, listeners, self._app(), options, stop=stopped))
                _settle_memory()
                with announce(self._settings.database_url, self._daemon):
                    log.info("ready", url=url)
                    task_status.started(url)
                    await self._stopping.wait()
                    drained = await self.calls.drain(self._settings.relay_drain_seconds, FAREWELL_SECONDS)
                    with trio.move_on_after(LAST_WEBHOOK_SECONDS):
                        await self.calls.all_ended()
                    with trio.move_on_after(LAST_MESSAGES_SECONDS):
                        await self.calls.settle()
                self._clients.close_all()
                stopped.set()
            nursery.cancel_scope.cancel("stopped")
        log.info("stopped", drained=drained)

    async def _start_supervisors(self, nursery: trio.Nursery) -> None:
        await nursery.start(self._transfers.run)
        await nursery.start(self._clients.run)
        nursery.start_soon(self._presence.run)
        nursery.start_soon(self.calls.run)
        nursery.start_soon(self._watch_tokens)
        nursery.start_soon(self._audio.run)
        if self._vendors.carrier is not None:
            nursery.start_soon(self._vendors.reconciliation.run, self._vendors.carrier)
        nursery.start_soon(self._retention.run, self._settings.relay_retention_days)

    def _app(self) -> Gateway:
        checker = SignatureChecker(self._credentials.auth_token, self._public_url)
        webhooks = CarrierWebhooks(
            checker=checker,
            agents=self._known_agents,
            reception=self._reception,
            transfers=self._transfers,
            phrases=lambda language: locale_for(language).carrier,
            urls=CarrierUrls(self._public_url),
            default_language=self._settings.default_voice_language,
        )
        health = HealthPages(checks=_Readiness(self._database, self.calls).checks, registry=self._meter.registry)
        audio = AudioPages(self._audio)
        operator = OperatorPages(secret=self._daemon.secret, status=self._status)
        return Gateway(
            pages=build_app(
                [webhooks.blueprint(), audio.blueprint(), health.blueprint(), operator.blueprint()], loggable
            ),
            voice=VoiceSocket(checker=checker, calls=self.calls, account_sid=self._credentials.account_sid),
            mcp=self._clients,
            cors=Cors(self._guard.allows),
            loggable=loggable,
        )

    def _policy_for(self, agent: Agent, language: str) -> Policy:
        first_filler = self._settings.relay_filler_seconds or math.inf
        return Policy(
            has_answering_machine=self._vendors.machine is not None,
            client_timeout=self._settings.relay_client_timeout,
            max_seconds=self._settings.relay_max_call_seconds,
            filler_after=first_filler,
            silence=self._settings.relay_silence_seconds,
            reprompts=self._settings.relay_silence_questions,
            long_filler_after=max(LONG_FILLER_SECONDS, 2 * first_filler),
            phrases=phrases_of(agent, language),
            asks_not_to_be_called=opt_out_listener(language),
            keep_transcript=self._settings.relay_keep_transcripts,
        )

    def _status(self) -> dict[str, Any]:
        """Return what only the running daemon knows, as JSON; see `relay.cli.status`."""
        return {
            "draining": self.calls.draining,
            "answeringMachine": self._vendors.machine is not None,
            "clients": [
                {
                    "agentId": each.agent_id,
                    "name": each.name,
                    "version": each.version,
                    "transport": each.transport,
                    "answersBy": each.answers_by,
                    "since": timestamp(each.since),
                }
                for each in self._clients.here()
                if each.ready
            ],
            "waitingToolCalls": self._clients.all_waiting(),
            "liveCalls": [
                {
                    "callSid": call.info.call_sid,
                    "agentId": call.info.agent_id,
                    "direction": call.info.direction.value,
                    "from": call.info.caller,
                    "to": call.info.called,
                    "since": timestamp(call.info.started_at),
                    "phase": call.phase.value,
                }
                for call in self.calls.live()
            ],
        }

    def _owner_of(self, call: CallInfo) -> Owner:
        return self.calls.owner_of(call)

    def _on_call_news(self, news: CallNews) -> None:
        match news:
            case MessageLeft():
                self._clients.announce(news.agent_id)
            case ClientWanted():
                self._clients.wake(news.call)
            case CallEnded() | TransferMoved():
                self._transfers.on_call_news(news)
            case CallGone():
                self._clients.on_call_gone(news.agent_id)
            case OwnerChanged():
                self._clients.on_owner_changed(news)
            case _:
                assert_never(news)

    async def _watch_tokens(self) -> None:
        """End sessions whose token was rotated, or whose agent was removed, by a command in another process."""
        while True:
            await trio.sleep(TOKEN_WATCH_SECONDS)
            for agent_id in self._clients.agents():
                try:
                    digest = await self._agents.token_digest(agent_id)
                except RelayError as error:
                    log.warning("tokens_not_checked", why=str(error))
                    break
                self._clients.close_agent(agent_id, but_of=digest)


def _settle_memory() -> None:
    """Freeze what was imported and built at start, so that the garbage collector does not scan it.

    It is there to stay, and it is most of all objects: going through it again and again in full collections is a pause
    of a tenth of a second or two in every call at once.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


@attrs.frozen
class _Readiness:
    """Whether calls can be taken now."""

    _database: Database
    _calls: Calls

    async def checks(self) -> Mapping[str, str | None]:
        return {
            "database": await self._database_fault(),
            "draining": "the relay is being stopped" if self._calls.draining else None,
        }

    async def _database_fault(self) -> str | None:
        if (trouble := self._database.trouble) is not None:
            return f"nothing can be written: {trouble}; {self._database.kept} changes are kept until it can"
        with trio.move_on_after(DATABASE_CHECK_SECONDS):
            try:
                await self._database.read(lambda connection: connection.execute(text("SELECT 1")))
            except RelayError:
                return "the database cannot be read"
            return None
        return "the database does not answer"
