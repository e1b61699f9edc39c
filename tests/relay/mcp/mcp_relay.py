"""The MCP side on a real loopback port, over a real database and real calls: what the tests of this folder connect to.

relay = await nursery.start(run_relay)
await relay.ask("anna", "hello")           asks the newest session of the agent as a call would
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import attrs
import httpx2
import trio
from mcp_types import CallToolResult, ToolAnnotations
from sqlalchemy import insert

from actors.call_session import CallServices
from actors.call_values import CallInfo, Direction, Line, MessageDraft, Owner, Reason, Speaker, TurnRequest
from actors.calls import Calls
from actors.clients import ClientResponder, Presence
from actors.commands import By
from actors.events import CallerGone, CallGone, CallNews, OwnerChanged
from actors.policy import Policy
from actors.ports import Responder
from actors.turn_queue import TurnQueueOptions
from relay.agent import Agent
from relay.http.listener import ListenerOptions, serve
from relay.http.rebinding_guard import RebindingGuard
from relay.mcp.app import McpApp
from relay.mcp.client_sessions import ClientSessions
from relay.mcp.session import McpSession
from relay.mcp.tools.arguments import Arguments
from relay.mcp.tools.live_calls import AgentCalls
from relay.mcp.tools.results import Result
from relay.mcp.tools.toolbox import Tool, Toolbox, ToolCall
from relay.mcp.transports.event_stream import Timing
from relay.store import schema
from relay.store.agent_registry import AgentRegistry
from relay.store.call_journal import CallJournal
from relay.store.client_hellos import ClientHellos
from relay.store.database import open_database
from relay.store.engine import open_engine
from relay.store.message_record import WaitingMessage
from relay.store.waiting_messages import WaitingMessages
from tests.fakes import MemoryLine, RecordingObserver, Script, ScriptedResponder
from tests.fakes_store import MemoryJournal, MemoryMessageStore
from tests.limits import HANGING
from tests.relay.mcp.memory_outbound import MemoryOutbound
from tests.sids import sid

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


# A table is broken by another name for a column of it: whoever uses the table is refused at once.
_COLUMNS = {"agents": "greeting", "messages": "body", "client_hellos": "params"}


@cache
def _template() -> bytes:
    """Return a migrated database in which `token-<agent>` is the token of anna and of bert. Made once, for its time."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "relay.db")
        engine = open_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            for agent_id in ("anna", "bert"):
                token = hashlib.sha256(f"token-{agent_id}".encode()).hexdigest()
                row = {"agent_id": agent_id, "token_hash": token, "created_at": NOW}
                connection.execute(insert(schema.agents), row)
        engine.dispose()
        return path.read_bytes()


@attrs.frozen
class DatabaseFile:
    """A database in a directory, and what a test does to it behind the relay's back."""

    path: Path

    @classmethod
    def made_in(cls, directory: Path | str) -> DatabaseFile:
        """Make one with the agents anna and bert."""
        path = Path(directory, "relay.db")
        path.write_bytes(_template())
        return cls(path)

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Execute a statement of SQL and return its rows."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    @contextmanager
    def broken(self, table: str) -> Iterator[None]:
        """Have every use of a table fail for the length of the block."""
        column = _COLUMNS[table]
        self.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO {column}_away")
        yield
        self.execute(f"ALTER TABLE {table} RENAME COLUMN {column}_away TO {column}")

    async def hold(self, seconds: float) -> None:
        """Keep everybody else from writing for so long."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            await trio.sleep(seconds)
            connection.execute("COMMIT")

    def handshakes(self) -> list[str]:
        """Return what clients said in theirs, as it is kept."""
        return [params for (params,) in self.execute("SELECT params FROM client_hellos")]

    def confirmed(self) -> set[str]:
        """Return the ids of the messages that were acknowledged."""
        return {each for (each,) in self.execute("SELECT id FROM messages WHERE acknowledged_at IS NOT NULL")}


def as_fetched(message: WaitingMessage, **more: object) -> dict[str, object]:
    """Return a message as the tool hands it out the first time."""
    return {**message.as_json(), "deliveries": 1, **more}


class Waited(Result):
    """Result of `WaitingTool`."""

    agent: str


@attrs.define(eq=False)
class WaitingTool:
    """A tool, `wait`, that ends when the test lets it, and knows how many of its calls were cancelled."""

    finish: trio.Event = attrs.field(factory=trio.Event)
    begun: int = 0
    cancelled: int = 0

    def tool(self) -> Tool[Any]:
        async def run(agent: Agent, _arguments: Arguments) -> Result:
            self.begun += 1
            try:
                await self.finish.wait()
            except trio.Cancelled:
                self.cancelled += 1
                raise
            return Waited(agent=agent.agent_id)

        return Tool(
            name="wait",
            title="Wait",
            description="Wait.",
            arguments=Arguments,
            results=(Waited,),
            annotations=ToolAnnotations(),
            run=run,
        )


async def called(tools: Toolbox, agent: Agent, name: str, arguments: Mapping[str, Any]) -> CallToolResult:
    """Call a tool that asks its client nothing back."""
    result = await tools.call(ToolCall(agent=agent), name, arguments)
    assert isinstance(result, CallToolResult)
    return result


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something is so that nothing announces."""
    with trio.fail_after(HANGING):
        while not condition():  # noqa: ASYNC110 - over real sockets, from outside
            await trio.sleep(0.002)


@attrs.define
class Speech:
    """An `Answer` that keeps what is said."""

    pieces: list[str] = attrs.field(factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    async def say(self, text: str, *, last: bool = False) -> None:
        await trio.lowlevel.checkpoint()
        self.pieces.append(text)

    async def take_message(self, body: str, preferences: str) -> bool:
        raise AssertionError("a client leaves no messages")

    async def say_goodbye(self) -> None:
        raise AssertionError("a client ends calls by its tool")


def call_info(agent_id: str = "anna", call_sid: str = sid()) -> CallInfo:
    """Make what is known of a call."""
    return CallInfo(call_sid=call_sid, agent_id=agent_id, caller="+15550001111", called="+15550002222", started_at=NOW)


def turn(agent_id: str, words: str, number: int = 1, call_sid: str = sid()) -> TurnRequest:
    """Make the turn in which a caller says these words."""
    line = Line(Speaker.CALLER, words, NOW)
    return TurnRequest(call=call_info(agent_id, call_sid), turn=number, history=(line,))


@attrs.define(eq=False, kw_only=True)
class RunningRelay:
    """The served app, with its parts in reach."""

    app: McpApp
    sessions: ClientSessions
    origin: str
    presence: Presence
    file: DatabaseFile
    messages: WaitingMessages
    journal: CallJournal
    calls: Calls
    outbound: MemoryOutbound
    tasks: trio.Nursery
    stop: trio.Event
    _running: trio.Nursery
    _policy: Policy
    _parts: Iterator[int] = attrs.field(factory=lambda: itertools.count(1), init=False)

    async def leave(
        self, agent_id: str = "anna", body: str = "Please call back.", call_sid: str = sid(0)
    ) -> WaitingMessage:
        """Leave a message for an agent, each in a part of its own, and return it."""
        message_id = await self.messages.leave(
            MessageDraft(
                call_sid=call_sid,
                part=next(self._parts),
                agent_id=agent_id,
                direction=Direction.INBOUND,
                reason=Reason.CLIENT_ABSENT,
                caller="+15550001111",
                called="+15550002222",
                body=body,
            )
        )
        message = await self.messages.get(message_id)
        assert message is not None
        return message

    async def begin(self, agent_id: str = "anna", call_sid: str = sid()) -> MemoryLine:
        """Have a call with its line up, and return the line."""
        line = MemoryLine()
        call = self.calls.announce(call_info(agent_id, call_sid), self._policy)
        info = self.calls.redeem(agent_id, call_sid, call.ticket)
        assert info is not None
        self._running.start_soon(self.calls.connect, info, line)
        await eventually(lambda: self.calls.find_session(call_sid, agent_id) is not None)
        return line

    async def lose(self, line: MemoryLine, call_sid: str = sid(), agent_id: str = "anna") -> None:
        """Have a call lose its line; that the call is over by that is for the test to say."""
        line.carrier_says(CallerGone())
        await eventually(lambda: self.calls.find_session(call_sid, agent_id) is None)

    async def shut_down(self) -> None:
        """Stop as the daemon does, and wait until the port is free."""
        self.app.close_all()
        self.stop.set()
        await eventually(lambda: not self.tasks.child_tasks)

    def sse_url(self, agent_id: str = "anna") -> str:
        return f"{self.origin}/sse?token=token-{agent_id}"

    def address(self, way: str, agent_id: str = "anna") -> tuple[str, ...]:
        """Give what a stock client is started with to come in over `sse` or `mcp`."""
        return (self.sse_url(agent_id),) if way == "sse" else (f"{self.origin}/mcp", "--token", f"token-{agent_id}")

    async def ask(self, words: str, agent_id: str = "anna") -> Speech:
        """Ask the agent's client as a call would, and return what it said."""
        speech = Speech()
        await ClientResponder(self.presence, self.calls.owner_of).respond(turn(agent_id, words), speech)
        return speech

    async def arrival(self, sessions: int = 1, agent_id: str = "anna") -> McpSession:
        """Wait until so many sessions of the agent can sample, and return the newest."""
        await eventually(lambda: sum(each.can_sample for each in self.sessions.of_agent(agent_id)) == sessions)
        newest = self.presence.newest(agent_id)
        assert isinstance(newest, McpSession)
        return newest

    async def loss(self, sessions: int = 0, agent_id: str = "anna") -> None:
        """Wait until no more than so many sessions of the agent can be asked."""
        await eventually(lambda: sum(each.can_sample for each in self.sessions.of_agent(agent_id)) <= sessions)

    async def departure(self, sessions: int = 0, agent_id: str = "anna") -> None:
        """Wait until no more than so many sessions of the agent are open."""
        await eventually(lambda: len(self.sessions.of_agent(agent_id)) <= sessions)


@asynccontextmanager
async def running_relay(
    *,
    timing: Timing | None = None,
    file: DatabaseFile | None = None,
    answering_machine: Script | None = None,
    sessions_per_agent: int = 32,
    port: int = 0,
    peer_patience: float = 5.0,
    more_tools: Sequence[Tool[Any]] = (),
    public_url: str | None = None,
    turn_queue_options: TurnQueueOptions | None = None,
    secret: str | None = None,
    runs: bool = True,
) -> AsyncIterator[RunningRelay]:
    """Serve for as long as the block lasts; at its end the relay stops as the daemon does.

    Unless it `runs`, no session of `/mcp` can live in it.
    """
    outbound = MemoryOutbound()
    presence = Presence(grace=10)
    options = ListenerOptions(grace=0.2, peer_patience=peer_patience)
    stop = trio.Event()
    async with AsyncExitStack() as stack:
        file = file or DatabaseFile.made_in(stack.enter_context(TemporaryDirectory()))
        database = await stack.enter_async_context(open_database(f"sqlite:///{file.path}"))
        messages, journal = WaitingMessages(database), CallJournal(database)

        def owner_of(call: CallInfo) -> Owner:
            return calls.owner_of(call)

        responders: dict[By, Responder] = {By.CLIENT: ClientResponder(presence, owner_of)}
        if answering_machine is not None:
            responders[By.ANSWERING_MACHINE] = ScriptedResponder(answering_machine)
        services = CallServices(
            responders=responders,
            messages=messages,
            journal=journal,
            observer=RecordingObserver(),
            listeners=(lambda news: _tell(app, news),),
        )
        calls = Calls(services, presence, max_calls=100)
        sessions = ClientSessions(sessions_per_agent)
        app = McpApp(
            agents=AgentRegistry(database),
            hellos=ClientHellos(database),
            messages=messages,
            calls=AgentCalls(live=calls, journal=journal),
            presence=presence,
            turn_queue_options=turn_queue_options,
            timing=timing,
            sessions=sessions,
            more_tools=[*outbound.tools(), *more_tools],
            guard=RebindingGuard(public_url),
            secret=secret,
        )
        async with trio.open_nursery() as tasks, trio.open_nursery() as nursery:
            if runs:
                await tasks.start(app.run)
            host, port = await nursery.start(partial(serve, app, options, host="127.0.0.1", port=port, stop=stop))
            relay = RunningRelay(
                tasks=nursery,
                stop=stop,
                running=tasks,
                policy=Policy(has_answering_machine=answering_machine is not None),
                app=app,
                sessions=sessions,
                origin=f"http://{host}:{port}",
                presence=presence,
                file=file,
                messages=messages,
                journal=journal,
                calls=calls,
                outbound=outbound,
            )
            yield relay
            await relay.shut_down()
            tasks.cancel_scope.cancel("stopped")


def no_calls() -> Calls:
    """Make a registry that takes on no call."""
    services = CallServices(
        responders={}, messages=MemoryMessageStore(), journal=MemoryJournal(), observer=RecordingObserver()
    )
    return Calls(services, Presence(grace=0), max_calls=0)


def _tell(app: McpApp, news: CallNews) -> None:
    """Tell the MCP side what it is told of calls by the daemon; messages are announced by the tests."""
    match news:
        case CallGone():
            app.on_call_gone(news.agent_id)
        case OwnerChanged():
            app.on_owner_changed(news)
        case _:
            pass


class Served(Protocol):
    """What a client by hand needs to know of a relay."""

    @property
    def origin(self) -> str:
        """Its scheme, host and port."""
        ...

    def sse_url(self, agent_id: str = ...) -> str:
        """Give the address of an agent's stream, with its token."""
        ...


@attrs.define(eq=False)
class EventReader:
    """An event stream by hand: keeps what comes."""

    events: list[dict[str, str]] = attrs.field(factory=list, init=False)
    ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _taken: int = attrs.field(default=0, init=False)

    async def next_event(self) -> dict[str, str]:
        """Wait for the next event: its fields, and `comment` for a comment line."""
        with trio.fail_after(HANGING):
            while self._taken == len(self.events):
                await self._changed.wait()
        self._taken += 1
        return self.events[self._taken - 1]

    async def next_message(self, method: str | None = None) -> dict[str, Any]:
        """Wait for the next JSON-RPC message, with `method` for the next of that method."""
        while True:
            event = await self.next_event()
            if event.get("event") == "message":
                message: dict[str, Any] = json.loads(event["data"])
                if method in {None, message.get("method")}:
                    return message

    async def read(self, response: httpx2.Response) -> None:
        """Read a stream to its end."""
        fields: dict[str, str] = {}
        try:
            async for line in response.aiter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    fields[name or "comment"] = value
                    continue
                self.events.append(fields)
                fields = {}
                self._wake()
        except httpx2.TransportError:
            pass
        self.ended.set()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@attrs.define(eq=False)
class RawClient(EventReader):
    """An SSE client by hand, for what no SDK would send: a GET whose events are kept, and POSTs of any JSON."""

    relay: Served
    http: httpx2.AsyncClient
    response: httpx2.Response

    async def post(self, message: Any, **headers: str) -> httpx2.Response:
        """Post a message to the session."""
        endpoint = next(each["data"] for each in self.events if each.get("event") == "endpoint")
        content = message if isinstance(message, bytes) else json.dumps(message).encode()
        return await self.http.post(self.relay.origin + endpoint, content=content, headers=headers)

    async def notify(self, method: str, **params: Any) -> None:
        """Send a notification."""
        assert (await self.post({"jsonrpc": "2.0", "method": method, "params": params})).status_code == 202

    async def request(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request and return the message that answers it."""
        posted = await self.post({"jsonrpc": "2.0", "id": method, "method": method, "params": params})
        assert posted.status_code == 202
        while (answer := await self.next_message()).get("id") != method:
            pass
        return answer

    async def reply(self, request: dict[str, Any], result: Any) -> None:
        """Answer a request of the relay."""
        await self.post({"jsonrpc": "2.0", "id": request["id"], "result": result})

    async def say(self, request: dict[str, Any], text: str) -> None:
        """Answer a sampling request with a text."""
        content = {"type": "text", "text": text}
        await self.reply(request, {"role": "assistant", "model": "by hand", "content": content})

    async def shake_hands(
        self, *, sampling: bool = True, version: str = "2025-11-25", capabilities: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Do what a client does first."""
        capabilities = {**(capabilities or {}), **({"sampling": {}} if sampling else {})}
        who = {"name": "by hand", "version": "1"}
        hello = await self.request("initialize", protocolVersion=version, capabilities=capabilities, clientInfo=who)
        await self.notify("notifications/initialized")
        return hello


@asynccontextmanager
async def raw_client(
    relay: Served, agent_id: str = "anna", *, query: str = "", headers: dict[str, str] | None = None
) -> AsyncIterator[RawClient]:
    """Open a stream by hand and wait for its first event."""
    url = relay.sse_url(agent_id) + query
    async with (
        httpx2.AsyncClient(timeout=20) as http,
        http.stream("GET", url, headers=headers) as response,
        trio.open_nursery() as nursery,
    ):
        client = RawClient(relay, http, response)
        nursery.start_soon(client.read, response)
        assert (await client.next_event()).get("event") == "endpoint"
        yield client
        nursery.cancel_scope.cancel()
