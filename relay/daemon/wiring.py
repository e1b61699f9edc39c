"""The one file that knows every part, and puts them together.

The parts are wired after the address is taken, because TwiML, signatures and orders to the carrier need the public
origin, which with `--local` and port 0 is not known earlier.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from functools import cached_property, partial
from typing import Any

import attrs

from actors.call_session import CallServices, CallSession
from actors.call_values import CallInfo, Owner, TurnRequest
from actors.calls import Calls
from actors.clients import ClientResponder, Presence
from actors.commands import By
from actors.events import CallGone, CallNews, ClientWanted, MessageLeft, OwnerChanged, SeatLeft, SeatTaken
from actors.operator_seat import OperatorResponder, OperatorSeat
from actors.policy import Policy
from actors.ports import AnsweringSession, PhoneLine, Responder
from actors.seats import Seats
from relay.agent import Agent
from relay.call_listeners import CallListeners
from relay.cluster.directory import Directory
from relay.cluster.node_connections import NodeConnections
from relay.cluster.router import Router
from relay.console import oneself
from relay.console.action_refusals import Refusals
from relay.console.actions import CallActions
from relay.console.agents import AgentsPage
from relay.console.audit import Audit
from relay.console.board import Board
from relay.console.call_page import CallPage
from relay.console.ended_views import EndedViews
from relay.console.examination import Examination
from relay.console.first_words import FirstWords
from relay.console.history import HistoryPage
from relay.console.live import LivePage
from relay.console.messages import MessagesPage
from relay.console.pages import ConsolePages
from relay.console.phone.page import PhonePage
from relay.console.phone.phone_call import PhoneAccount
from relay.console.phone.socket import PhoneSocket
from relay.console.rendering import Renderer
from relay.console.set_up import Installation, SetUpPage
from relay.console.sign_in import SignIn
from relay.console.stream import ConsoleStreams
from relay.daemon.address import STATUS_PATH, RunningDaemon
from relay.daemon.credentials import LOCAL_ACCOUNT, Credentials
from relay.daemon.gauges import DaemonGauges
from relay.daemon.leaving import Leaving
from relay.daemon.node import candidate_of, tenants_of
from relay.daemon.status import DaemonStatus
from relay.daemon.traces import open_tracer
from relay.daemon.vendors import Vendors
from relay.dialling.dial_check import DiallingGate
from relay.dialling.dialler import Dialler
from relay.dialling.opt_out import HeardOptOuts, OptOutRequests, opt_out_listener
from relay.dialling.outbound_calls import Conversations
from relay.dialling.requests import Defaults
from relay.dialling.transfers import Transfers
from relay.dialling.voice_messages import VoiceMessages
from relay.errors import DatabaseError
from relay.http.connection import Connection
from relay.http.cors import Cors
from relay.http.gateway import Gateway
from relay.http.pages import HealthPages, OperatorPages, build_app
from relay.http.rebinding_guard import RebindingGuard
from relay.known_agents import KnownAgents
from relay.mcp.app import McpApp
from relay.mcp.client_sessions import ClientSessions, asked
from relay.mcp.tools.live_calls import AgentCalls
from relay.mcp.tools.outbound import outbound_tools
from relay.mcp.tools.toolbox import Tool
from relay.metrics import CallMeter
from relay.reception import Reception
from relay.settings import Settings, split_list
from relay.speech.agent_phrases import phrases_of
from relay.speech.audio_files import AudioFiles, AudioOptions
from relay.speech.audio_store import AudioLimits, AudioStore
from relay.speech.hygiene import clean
from relay.speech.locales import locale_for
from relay.speech.spoken import SpokenResponder
from relay.store.agent_registry import AgentRegistry
from relay.store.audio_table import AudioTable
from relay.store.backlog import Backlogs
from relay.store.call_history import CallHistory
from relay.store.call_journal import CallJournal
from relay.store.client_hellos import ClientHellos
from relay.store.console_sessions import ConsoleSessions
from relay.store.database import Database
from relay.store.database_clock import DatabaseClock
from relay.store.files import beside_database
from relay.store.homes import Homes
from relay.store.members import Members
from relay.store.message_pages import MessagePages
from relay.store.operator_actions import OperatorActions
from relay.store.operators import Operators
from relay.store.outbound_switches import OutboundSwitches
from relay.store.retention import Retention
from relay.store.schema import utc_now
from relay.store.waiting_messages import WaitingMessages
from relay.twilio.audio_webhook import AudioPages, loggable
from relay.twilio.signatures import SignatureChecker
from relay.twilio.urls import CarrierUrls
from relay.twilio.voice_socket import VoiceSocket
from relay.twilio.webhooks import CarrierWebhooks

# A lost EventSource comes back within a second or three; who has been away longer is away.
RECONNECT_GRACE = 10.0
# When a caller who still waits hears the longer filler.
LONG_FILLER_SECONDS = 5.0
_TOKEN_REFUSALS = {401: "unauthorized", 403: "forbidden"}


class Relay:
    """The parts of a running relay, wired. A node of a cluster needs a second access to its database, for `beats`."""

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        database: Database,
        vendors: Vendors,
        daemon: RunningDaemon,
        *,
        beats: Database | None = None,
    ) -> None:
        self.settings = settings
        self._credentials = credentials
        self._database = database
        self.vendors = vendors
        self.daemon = daemon
        self._public_url = public_url = daemon.public_url
        node = settings.node_name if settings.relay_node_url else ""
        self._node = node
        self._urls = CarrierUrls(public_url, node)
        self._meter = meter = CallMeter()
        database.note_seconds = meter.store_took
        note_unsigned = partial(meter.refused, "signature")
        self._checker = SignatureChecker(credentials.auth_token, public_url, note_unsigned)
        # Nodes compare times: all of them go by the database's clock. Who is alone has none but its own.
        clock = DatabaseClock() if settings.relay_node_url else utc_now
        self._now: Callable[[], datetime] = clock
        self.agents = AgentRegistry(database, clock)
        self.known_agents = KnownAgents(self.agents)
        self.journal = CallJournal(database, clock)
        self._gate = DiallingGate(database, settings.gate_rules(), clock)
        self.retention = Retention(database, clock)
        self.audio = _audio_store(settings, database, clock)
        self._messages = messages = WaitingMessages(database, clock, boot=self.journal.boot)
        presence = Presence(grace=RECONNECT_GRACE, note_here=self._note_here)
        client = SpokenResponder(ClientResponder(presence, self._owner_of, self._note_asked))
        self.tracer = open_tracer(settings.otel_exporter_otlp_endpoint)
        responders: dict[By, Responder] = {
            By.CLIENT: client if self.tracer is None else self.tracer.traced(client),
            By.HUMAN: OperatorResponder(self._seat_of),
        }
        if vendors.answering_machine is not None:
            responders[By.ANSWERING_MACHINE] = vendors.answering_machine
        self.listeners = CallListeners([self._meter] if self.tracer is None else [self._meter, self.tracer])
        services = CallServices(
            responders=responders,
            messages=messages,
            journal=self.journal,
            observer=self.listeners,
            opt_outs=HeardOptOuts(self._gate),
            listeners=(self.listeners.publish,),
        )
        self.presence = presence
        self.calls = Calls(
            services, presence, settings.relay_max_calls, now=clock, return_seconds=settings.relay_return_seconds
        )
        self.seats = Seats(self.calls, clean)
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
            journal=self.journal,
            policy_for=self._policy_for,
            defaults=self._defaults,
            observer=self._meter,
        )
        self.transfers = Transfers(
            gate=self._gate,
            calls=self.calls,
            reception=self._reception,
            journal=self.journal,
            carrier=vendors.carrier,
            urls=self._urls,
            defaults=self._defaults,
        )
        self._guard = RebindingGuard(
            public_url,
            allowed_hosts=split_list(settings.relay_allowed_hosts),
            allowed_origins=split_list(settings.relay_allowed_origins),
        )
        self._sessions = ClientSessions()
        self.clients = McpApp(
            agents=self.agents,
            hellos=ClientHellos(database, clock),
            messages=messages,
            calls=AgentCalls(live=self.calls, journal=self.journal, carrier=vendors.carrier),
            presence=presence,
            sessions=self._sessions,
            more_tools=self._outbound_tools(),
            guard=self._guard,
            # The same for all nodes, and after a restart.
            secret=settings.twilio_auth_token,
            node=node,
        )
        self.node_connections = NodeConnections()
        self.directory = self._directory(clock, beats) if isinstance(clock, DatabaseClock) else None
        self.leaving = None if self.directory is None else Leaving(self.directory, self.calls, self.clients)
        self.listeners.on_news(self._on_client_news)
        self.listeners.on_news(self._on_seat_news)
        self.listeners.on_news(self.transfers.on_call_news)
        self._status = DaemonStatus(
            database=database,
            calls=self.calls,
            clients=self.clients,
            has_answering_machine=vendors.answering_machine is not None,
            has_left=lambda: self.directory is not None and self.directory.is_leaving,
            is_seen=lambda: self.directory is None or self.directory.is_seen,
        )
        self.connections: set[Connection] = set()
        self._lines: set[PhoneLine] = set()
        self._backlogs = Backlogs(database, clock)
        self.gauges = self._daemon_gauges()

    def _daemon_gauges(self) -> DaemonGauges:
        self._meter.live_calls.set_function(lambda: len(self.calls.live()))
        self._meter.places_taken.set_function(self.calls.occupied)
        self._meter.client_sessions.set_function(lambda: len(self.clients))
        return DaemonGauges(
            calls=self.calls,
            sessions=self._sessions,
            database=self._database,
            meter=self._meter,
            backlogs=self._backlogs,
            connections=self.connections,
            lines=self._lines,
            is_leaving=self._status.is_leaving,
            console_streams=lambda: len(self.streams),
            fault=self._status.banner,
        )

    def _directory(self, clock: DatabaseClock, beats: Database | None) -> Directory:
        assert beats is not None
        return Directory(
            candidate=candidate_of(self.settings, self._credentials, self.journal.boot, self._public_url),
            members=Members(beats),
            homes=Homes(self._database),
            tenants=tenants_of(self.calls, self.presence, self.clients),
            clock=clock,
        )

    def _outbound_tools(self) -> list[Tool[Any]]:
        dialler = Dialler(
            gate=self._gate,
            carrier=self.vendors.carrier,
            observer=self._meter,
            reconciliation=self.vendors.reconciliation,
        )
        return outbound_tools(
            Conversations(
                dialler=dialler, reception=self._reception, urls=self._urls, defaults=self._defaults, now=self._now
            ),
            VoiceMessages(
                dialler=dialler,
                journal=self.journal,
                engine=self.vendors.speech,
                audio=self.audio,
                urls=self._urls,
                defaults=self._defaults,
                now=self._now,
            ),
            self.transfers,
            OptOutRequests(gate=self._gate, calls=self.calls, journal=self.journal),
        )

    def gateway(self) -> Gateway:
        """Return what answers every request and every socket."""
        webhooks = CarrierWebhooks(
            checker=self._checker,
            agents=self.known_agents,
            reception=self._reception,
            phrases=lambda language: locale_for(language).carrier,
            urls=self._urls,
            default_language=self.settings.default_voice_language,
        )
        status = self._status
        health = HealthPages(
            checks=status.checks,
            registry=self._meter.registry,
            is_leaving=status.is_leaving,
            is_lost=lambda: self.directory is not None and self.directory.is_lost,
            node=self._node,
            is_seen=lambda: self.directory is not None and self.directory.is_seen,
        )
        audio = AudioPages(self.audio)
        console = self._console(status)
        operator = OperatorPages(path=STATUS_PATH, secret=self.daemon.secret, status=status.document)
        return Gateway(
            pages=build_app([each.blueprint() for each in (webhooks, audio, health, operator, console)], loggable),
            voice=VoiceSocket(
                checker=self._checker,
                calls=self.calls,
                account_sid=self._credentials.account_sid,
                redeem_kept=self._redeem_kept,
                lines=self._lines,
                note_refusal=self._meter.refused,
            ),
            mcp=self.clients,
            streams=self.streams,
            phone=PhoneSocket(
                sign_in=self._sign_in,
                audit=self._audit,
                agents=self.agents,
                account=self._phone_account(),
            ),
            cors=Cors(self._guard.allows),
            loggable=loggable,
            note_refusal=lambda status: self._meter.refused("token", _TOKEN_REFUSALS[status]),
        )

    @property
    def _audit(self) -> Audit:
        return Audit(OperatorActions(self._database, self._now), self._meter.operator_acted)

    @cached_property
    def _sign_in(self) -> SignIn:
        return SignIn(
            operators=Operators(self._database, self._now),
            sessions=ConsoleSessions(self._database, self._now),
            agents=self.agents,
            guard=self._guard,
            url=self.daemon.url,
            public_url=self._public_url,
            is_local=self.daemon.is_local,
            note_refusal=partial(self._meter.refused, "operator"),
        )

    def _console(self, status: DaemonStatus) -> ConsolePages:
        self.board.banner = status.banner
        live = LivePage(board=self.board, agents=self._agent_ids)
        call = CallPage(board=self.board, ended=self._ended_views, actions=OperatorActions(self._database, self._now))
        audit = self._audit
        messages = MessagesPage(
            pages=MessagePages(self._database, self._now), messages=self._messages, agents=self.agents, audit=audit
        )
        agents = AgentsPage(
            agents=self.agents,
            switches=OutboundSwitches(self._database, self._now),
            here=self.clients.here,
            availability=self.presence.availability,
            end=self._sessions.end,
            audit=audit,
            url=self._public_url,
            default_language=self.settings.default_voice_language,
            has_answering_machine=self.vendors.answering_machine is not None,
            node=self.settings.node_name if self.settings.relay_node_url else "",
        )
        history = HistoryPage(history=CallHistory(self._database), agents=self.agents, now=self._now)
        return ConsolePages(
            sign_in=self._sign_in,
            renderer=self.board.renderer,
            routes=[
                *live.routes(),
                *call.routes(),
                *messages.routes(),
                *agents.routes(),
                *history.routes(),
                *self._set_up(status, audit).routes(),
                *self._call_actions(audit).routes(),
                *oneself.routes(),
                *PhonePage(agents=self.agents, is_local=self.daemon.is_local).routes(),
            ],
            waiting=self._messages.count_all,
            banner=status.banner,
        )

    def _set_up(self, status: DaemonStatus, audit: Audit) -> SetUpPage:
        return SetUpPage(
            installation=Installation(
                version=self.daemon.version,
                started_at=datetime.fromisoformat(self.daemon.started),
                database="PostgreSQL" if self._database.is_server else "SQLite",
                public_url=self._public_url,
                is_local=self.daemon.is_local,
                node=self.settings.node_name if self.settings.relay_node_url else "",
            ),
            examination=self.examination,
            members=Members(self._database),
            operators=Operators(self._database, self._now),
            actions=audit.actions,
            audit=audit,
            trouble=status.banner,
            is_leaving=status.is_leaving,
            now=self._now,
        )

    @cached_property
    def examination(self) -> Examination:
        """The doctor's checks, as the console runs them."""
        return Examination(database_url=self.settings.database_url, now=self._now)

    def _call_actions(self, audit: Audit) -> CallActions:
        return CallActions(
            seats=self.seats,
            calls=self.calls,
            transfers=self.transfers,
            agents=self.known_agents,
            audit=audit,
            refusals=Refusals(calls=self.calls, journal=self.journal),
        )

    @cached_property
    def board(self) -> Board:
        """What the console shows of live calls."""
        first_words = FirstWords()
        self.listeners.on_turn(first_words.note)
        return Board(
            calls=self.calls,
            backlogs=self._backlogs,
            first_words=first_words,
            renderer=Renderer(),
            clients=lambda: len(self.clients),
            watching=self.listeners.watching,
            operator_of=self._operator_of,
            webhook=self._urls.voice("AGENT"),
            node=self.settings.node_name if self.settings.relay_node_url else "",
        )

    def _operator_of(self, session: CallSession) -> str:
        seat = self.calls.seat_of(session.info)
        return "" if seat is None else seat.operator

    @cached_property
    def _ended_views(self) -> EndedViews:
        return EndedViews(calls=self.calls, journal=self.journal)

    @cached_property
    def streams(self) -> ConsoleStreams:
        """The streams of the console, and its JSON."""
        return ConsoleStreams(
            board=self.board, ended=self._ended_views, sign_in=self._sign_in, attending=self.seats.watching
        )

    async def _agent_ids(self) -> list[str]:
        return [each.agent_id for each in await self.agents.list()]

    def _phone_account(self) -> PhoneAccount | None:
        """Return with which account the phone in the browser rings: with `--local` only."""
        if not self.daemon.is_local:
            return None
        return PhoneAccount(
            account_sid=self._credentials.account_sid or LOCAL_ACCOUNT,
            auth_token=self._credentials.auth_token,
            origin=self._public_url,
            via=None if self.daemon.url == self._public_url else self.daemon.url,
        )

    async def _redeem_kept(self, agent_id: str, call_sid: str, ticket: str) -> CallInfo | None:
        try:
            agent = await self.known_agents.get(agent_id)
        except DatabaseError:
            return None
        return None if agent is None else await self._reception.redeem_kept(agent, call_sid, ticket)

    def app(self) -> Gateway | Router:
        """Return what stands at the port: the gateway, behind the router where the daemon is a node of a cluster."""
        if self.directory is None:
            return self.gateway()
        return Router(
            directory=self.directory,
            connections=self.node_connections,
            gateway=self.gateway(),
            registry=self.agents,
            agents=self.known_agents,
            # What it refuses is refused once more where it is served.
            checker=attrs.evolve(self._checker, note_refusal=_not_noted),
            note_passed=self._meter.passed,
        )

    def _policy_for(self, agent: Agent, language: str) -> Policy:
        first_filler = self.settings.relay_filler_seconds or math.inf
        return Policy(
            has_answering_machine=self.vendors.answering_machine is not None,
            client_timeout=self.settings.relay_client_timeout,
            max_seconds=self.settings.relay_max_call_seconds,
            filler_after=first_filler,
            silence=self.settings.relay_silence_seconds,
            reprompts=self.settings.relay_silence_questions,
            long_filler_after=max(LONG_FILLER_SECONDS, 2 * first_filler),
            phrases=phrases_of(agent, language),
            asks_not_to_be_called=opt_out_listener(language),
            keep_transcript=self.settings.relay_keep_transcripts,
            takeover_notice=self.settings.relay_takeover_notice.strip(),
        )

    def _note_here(self, agent_id: str) -> None:
        if self.directory is not None:
            self.directory.note_client(agent_id)

    def _owner_of(self, call: CallInfo) -> Owner:
        return self.calls.owner_of(call)

    def _seat_of(self, call: CallInfo) -> OperatorSeat | None:
        return self.calls.seat_of(call)

    def _on_seat_news(self, news: CallNews) -> None:
        match news:
            case SeatTaken():
                self._meter.seat_taken(news)
            case SeatLeft():
                self.seats.on_seat_left(news)
                self._meter.seat_left(news)
            case _:
                return

    def _on_client_news(self, news: CallNews) -> None:
        """Pass on to an agent's clients what concerns them of a call."""
        match news:
            case MessageLeft():
                self.clients.announce(news.agent_id)
            case ClientWanted():
                self.clients.wake(news.call)
            case CallGone():
                self.clients.on_call_gone(news.agent_id)
            case OwnerChanged():
                self.clients.on_owner_changed(news)
            case _:
                return

    def _note_asked(self, request: TurnRequest, session: AnsweringSession) -> None:
        live = self.calls.find_session(request.call.call_sid, request.call.agent_id)
        if live is not None:
            live.note_client(request.turn, asked(session))


def _not_noted(_kind: str) -> None:
    """Note nothing."""


def _audio_store(settings: Settings, database: Database, now: Callable[[], datetime]) -> AudioStore:
    """Return where every node finds the audio: in the database if they share a server, else beside it."""
    seconds = settings.relay_audio_seconds
    if database.is_server:
        return AudioTable(database, AudioLimits(ttl=seconds), lambda: now().timestamp())
    return AudioFiles(AudioOptions(directory=beside_database(settings.database_url, ".audio"), ttl=seconds))
