"""The MCP side on a real loopback port, over stores in memory: what the tests of this folder connect to.

relay = await nursery.start(run_relay)
await relay.ask("anna", "hello")           asks the newest session of the agent as a call would
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, cast

import attrs
import httpx2
import trio
from mcp_types import CallToolResult, ToolAnnotations

from actors.call_values import NOBODY, CallInfo, Line, Owner, Speaker, TurnRequest
from actors.calls import Call, Calls
from actors.clients import AnsweringSession, Presence
from actors.errors import StoreFailed, UnknownCall
from actors.events import OwnerChanged
from actors.phases import Phase
from actors.policy import Policy
from actors.turn_queue import DeskOptions
from relay.agent import Agent
from relay.errors import DatabaseError
from relay.http.listener import ListenerOptions, serve
from relay.mcp.app import McpApp
from relay.mcp.client_responder import ClientResponder
from relay.mcp.session import McpSession
from relay.mcp.tools.arguments import Arguments
from relay.mcp.tools.outbound import outbound_tools
from relay.mcp.tools.toolbox import Tool, Toolbox, ToolCall
from relay.mcp.transports.event_stream import Timing
from relay.mcp.transports.http_guard import RebindingGuard
from tests.relay.mcp.memory_outbound import MemoryOutbound
from tests.sids import sid

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@attrs.define
class MemoryDirectory:
    """Tokens in memory: `token-<agent>` is the token of each agent."""

    agents: set[str] = attrs.field(factory=lambda: {"anna", "bert"})
    broken: bool = False

    async def by_token(self, token: str) -> Agent | None:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise DatabaseError("the database is away")
        agent_id = token.removeprefix("token-")
        return Agent(agent_id=agent_id, created_at=NOW) if token != agent_id and agent_id in self.agents else None


@attrs.define
class MemoryHellos:
    """Remembered handshakes in memory. `crash` is raised where nobody expects an error."""

    crash: Exception | None = None
    kept: dict[tuple[str, str], str] = attrs.field(factory=dict)
    broken: bool = False

    async def remember(self, key: str, agent_id: str, params_json: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise StoreFailed("the database is away")
        self.kept[agent_id, key] = params_json

    async def recall(self, key: str, agent_id: str) -> str | None:
        await trio.lowlevel.checkpoint()
        if self.crash is not None:
            raise self.crash
        if self.broken:
            raise DatabaseError("the database is away")
        return self.kept.get((agent_id, key))


@attrs.frozen
class Record:
    """A waiting message with no more in it than this side looks at."""

    id: str
    agent_id: str
    body: str
    call_sid: str = sid(0)

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "agentId": self.agent_id,
            "callSid": self.call_sid,
            "from": "+15550001111",
            "reason": "client_absent",
            "body": self.body,
            "createdAt": "2026-11-22T12:00:00Z",
            "deliveries": 1,
        }


@attrs.frozen
class MemoryBatch:
    messages: Sequence[Record]
    remaining: int


@attrs.frozen
class MemoryAcknowledgement:
    acknowledged: Sequence[str]
    unknown: Sequence[str]


@attrs.define
class MemoryMessages:
    """Waiting messages in memory; nothing is held, because nobody here tests for it."""

    records: list[Record] = attrs.field(factory=list)
    confirmed: set[str] = attrs.field(factory=set)
    broken: bool = False
    peek_seconds: float = 0.0

    def leave(self, agent_id: str, body: str = "Please call back.", call_sid: str = sid(0)) -> Record:
        record = Record(f"message-{len(self.records) + 1}", agent_id, body, call_sid)
        self.records.append(record)
        return record

    async def fetch(self, agent_id: str, limit: int, acknowledge: Sequence[str] = ()) -> MemoryBatch:
        await self.acknowledge(agent_id, acknowledge)
        waiting = self._waiting(agent_id)
        return MemoryBatch(waiting[:limit], len(waiting[limit:]))

    async def acknowledge(self, agent_id: str, ids: Sequence[str]) -> MemoryAcknowledgement:
        await self._reach()
        known = {each.id for each in self.records if each.agent_id == agent_id}
        self.confirmed |= known.intersection(ids)
        return MemoryAcknowledgement(
            [each for each in ids if each in known], [each for each in ids if each not in known]
        )

    async def peek(self, agent_id: str, limit: int) -> Sequence[Record]:
        await self._reach()
        await trio.sleep(self.peek_seconds)
        return self._waiting(agent_id)[:limit]

    async def _reach(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise StoreFailed("the database is away")

    def _waiting(self, agent_id: str) -> list[Record]:
        return [each for each in self.records if each.agent_id == agent_id and each.id not in self.confirmed]


@attrs.define
class MemoryCalls:
    """Calls in memory: (agent, callSid) of the live ones, and what was said when one was ended."""

    live: set[tuple[str, str]] = attrs.field(factory=set)
    ended: list[tuple[str, str, str]] = attrs.field(factory=list)

    async def list_calls(self, agent_id: str, state: str | None, limit: int) -> list[dict[str, Any]]:
        await trio.lowlevel.checkpoint()
        live = [{"callSid": sid, "state": "live"} for a, sid in self.live if a == agent_id]
        return [] if state == "ended" else live[:limit]

    async def end_call(self, agent_id: str, call_sid: str, say: str) -> None:
        await trio.lowlevel.checkpoint()
        if (agent_id, call_sid) not in self.live:
            raise UnknownCall(call_sid)
        self.ended.append((agent_id, call_sid, say))


@attrs.define(eq=False)
class MemoryCall:
    """A call that is going on, with what a test says of it."""

    info: CallInfo
    phase: Phase = Phase.CLIENT_LISTENING
    transcript: Sequence[Line] = ()


@attrs.define
class MemoryLiveCalls:
    """Live calls in memory, and which of them were claimed."""

    calls: dict[str, MemoryCall] = attrs.field(factory=dict)
    claimed: list[str] = attrs.field(factory=list)
    app: McpApp | None = None
    _going: dict[str, Call] = attrs.field(factory=dict)

    def find_going(self, agent_id: str, call_sid: str) -> Call | None:
        call = self._going.get(call_sid)
        return call if call is not None and call.agent_id == agent_id else None

    def owner_of(self, info: CallInfo) -> Owner:
        call = self.find_going(info.agent_id, info.call_sid)
        return NOBODY if call is None else call.owner

    def end(self, agent_id: str, call_sid: str) -> None:
        """Say that a call, whose line is lost, is over."""
        del self._going[call_sid]
        assert self.app is not None
        self.app.on_call_gone(agent_id)

    def begin(self, agent_id: str = "anna", call_sid: str = sid(), phase: Phase = Phase.CLIENT_LISTENING) -> MemoryCall:
        call = self.calls[call_sid] = MemoryCall(call_info(agent_id, call_sid), phase)
        self._going[call_sid] = Call(info=call.info, policy=Policy())
        return call

    def live(self, agent_id: str | None = None) -> list[MemoryCall]:
        return [each for each in self.calls.values() if agent_id in {None, each.info.agent_id}]

    def find(self, agent_id: str, call_sid: str) -> MemoryCall | None:
        call = self.calls.get(call_sid)
        return call if call is not None and call.info.agent_id == agent_id else None

    def claim(self, agent_id: str, call_sid: str, owner: Owner) -> None:
        call = self.find_going(agent_id, call_sid)
        if call is None:
            raise UnknownCall(call_sid)
        before, call.owner = call.owner, owner
        assert self.app is not None
        self.app.on_owner_changed(OwnerChanged(agent_id, call_sid, owner, before))
        self.claimed.append(call_sid)


@attrs.define(eq=False)
class WaitingTool:
    """A tool, `wait`, that ends when the test lets it, and knows how many of its calls were cancelled."""

    finish: trio.Event = attrs.field(factory=trio.Event)
    begun: int = 0
    cancelled: int = 0

    def tool(self) -> Tool[Any]:
        async def run(agent: Agent, _arguments: Arguments) -> dict[str, Any]:
            self.begun += 1
            try:
                await self.finish.wait()
            except trio.Cancelled:
                self.cancelled += 1
                raise
            return {"agent": agent.agent_id}

        return Tool(
            name="wait",
            title="Wait",
            description="Wait.",
            arguments=Arguments,
            result={"properties": {"agent": {"type": "string"}}, "required": ["agent"]},
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
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - over real sockets, from outside
            await trio.sleep(0.002)


@attrs.define
class Speech:
    """An `Answer` that keeps what is said."""

    pieces: list[str] = attrs.field(factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    async def say(self, text: str) -> None:
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
    """The served app, with its stores in reach."""

    app: McpApp
    origin: str
    presence: Presence[AnsweringSession]
    directory: MemoryDirectory
    hellos: MemoryHellos
    messages: MemoryMessages
    calls: MemoryCalls
    live_calls: MemoryLiveCalls
    outbound: MemoryOutbound
    tasks: trio.Nursery
    stop: trio.Event

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
        await ClientResponder(self.presence, self.live_calls.owner_of).respond(turn(agent_id, words), speech)
        return speech

    async def arrival(self, sessions: int = 1, agent_id: str = "anna") -> McpSession:
        """Wait until so many sessions of the agent can sample, and return the newest."""
        await eventually(lambda: sum(each.can_sample for each in self.app.sessions_of(agent_id)) == sessions)
        newest = self.presence.newest(agent_id)
        assert isinstance(newest, McpSession)
        return newest

    async def loss(self, sessions: int = 0, agent_id: str = "anna") -> None:
        """Wait until no more than so many sessions of the agent can be asked."""
        await eventually(lambda: sum(each.can_sample for each in self.app.sessions_of(agent_id)) <= sessions)

    async def departure(self, sessions: int = 0, agent_id: str = "anna") -> None:
        """Wait until no more than so many sessions of the agent are open."""
        await eventually(lambda: len(self.app.sessions_of(agent_id)) <= sessions)


@asynccontextmanager
async def running_relay(
    *,
    timing: Timing | None = None,
    hellos: MemoryHellos | None = None,
    sessions_per_agent: int = 32,
    port: int = 0,
    peer_patience: float = 5.0,
    more_tools: Sequence[Tool[Any]] = (),
    public_url: str | None = None,
    desk_options: DeskOptions | None = None,
) -> AsyncIterator[RunningRelay]:
    """Serve for as long as the block lasts; at its end the relay stops as the daemon does."""
    directory, hellos = MemoryDirectory(), hellos or MemoryHellos()
    messages, calls, outbound = MemoryMessages(), MemoryCalls(), MemoryOutbound()
    live_calls = MemoryLiveCalls()
    presence: Presence[AnsweringSession] = Presence(grace=10)
    app = McpApp(
        directory,
        hellos,
        messages,
        calls,
        presence,
        live_calls=cast("Calls", live_calls),
        desk_options=desk_options,
        timing=timing,
        sessions_per_agent=sessions_per_agent,
        more_tools=[*outbound_tools(outbound), *more_tools],
        guard=RebindingGuard(public_url),
    )
    live_calls.app = app
    options = ListenerOptions(grace=0.2, peer_patience=peer_patience)
    stop = trio.Event()
    async with trio.open_nursery() as tasks, trio.open_nursery() as nursery:
        await tasks.start(app.run)
        host, port = await nursery.start(partial(serve, app, options, host="127.0.0.1", port=port, stop=stop))
        relay = RunningRelay(
            tasks=nursery,
            stop=stop,
            app=app,
            origin=f"http://{host}:{port}",
            presence=presence,
            directory=directory,
            hellos=hellos,
            messages=messages,
            calls=calls,
            live_calls=live_calls,
            outbound=outbound,
        )
        yield relay
        await relay.shut_down()
        tasks.cancel_scope.cancel("stopped")


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
        with trio.fail_after(10):
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
