"""Traces of calls, as a collector gets them: over HTTP, in the protocol's own encoding."""

from __future__ import annotations

import importlib
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from relay.daemon.traces import open_tracer
from tests.e2e.parties import AiClient, ask, calling, connected, eventually, register
from tests.e2e.relay_here import RelayHere, run_relay_here

pytest.importorskip("opentelemetry.sdk", reason="The extra otel is not installed.")
# Their types are made when they are imported.
service: Any = importlib.import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

CALLER = "+15005550111"
WORDS = "Swordfish, please."


@attrs.define
class Collector:
    """A collector of traces: its address, and the requests that it got, raw and as spans."""

    url: str
    bodies: list[bytes] = attrs.field(factory=list)

    def spans(self) -> list[Any]:
        """Return every span that came."""
        found = []
        for body in self.bodies:
            request = service.ExportTraceServiceRequest.FromString(body)
            found += [span for of in request.resource_spans for scope in of.scope_spans for span in scope.spans]
        return found


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector on loopback, in threads of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            assert self.headers["content-type"] == "application/x-protobuf"
            here.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield here
        finally:
            server.shutdown()
            thread.join()


@asynccontextmanager
async def a_call(directory: Path, **given: Any) -> AsyncIterator[tuple[RelayHere, AiClient]]:
    """Make a call of two turns; the block is run when it is over, and the relay is stopped after it."""
    async with run_relay_here(directory, **given) as here:
        agent = await register(here)
        async with connected(agent) as client:
            async with calling(here, agent, caller=CALLER) as call:
                await ask(call, WORDS)
                await ask(call, "And again.")

            async def is_over() -> bool:
                await trio.lowlevel.checkpoint()
                return not here.relay.calls.live()

            await eventually(is_over)
            yield here, client


async def test_a_call_is_one_trace(tmp_path: Path) -> None:
    """Spans are nested and have the times of the turns; the client goes on with the trace; nothing private is in it."""
    with collector() as collected:
        async with a_call(tmp_path, otel_exporter_otlp_endpoint=collected.url) as (_here, client):
            turns = [await client.asked.receive() for _each in range(2)]
        spans = collected.spans()
    assert sorted(each.name for each in spans) == sorted(["call", *["turn", "stored", "client", "out", "speech"] * 2])
    assert len({each.trace_id for each in spans}) == 1
    by_id = {each.span_id: each for each in spans}
    assert len(by_id) == len(spans)
    for each in spans:
        parent = by_id.get(each.parent_span_id)
        assert (parent.name if parent else None) == {"call": None, "turn": "call"}.get(each.name, "turn")
        assert each.start_time_unix_nano <= each.end_time_unix_nano
    for turn in (each for each in spans if each.name == "turn"):
        children = {each.name: each for each in spans if each.parent_span_id == turn.span_id}
        ends = [children[name].end_time_unix_nano for name in ("stored", "client", "out", "speech")]
        starts = [children[name].start_time_unix_nano for name in ("stored", "client", "out", "speech")]
        assert [turn.start_time_unix_nano, *ends] == [*starts, turn.end_time_unix_nano]
    asked = {dict(each.params.meta or {})["traceparent"] for each in turns}
    assert asked == {f"00-{each.trace_id.hex()}-{each.span_id.hex()}-01" for each in spans if each.name == "client"}
    raw = b"".join(collected.bodies)
    assert not [private for private in (CALLER.encode(), CALLER[1:].encode(), b"Swordfish") if private in raw]


async def test_a_dead_collector_keeps_none_waiting(tmp_path: Path) -> None:
    """The call goes as it does without traces, and the relay stops within five seconds."""
    with socket.socket() as silent:  # takes connections, and answers nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with a_call(tmp_path, otel_exporter_otlp_endpoint=url) as (here, _client):
            tracer = here.relay.tracer
            assert tracer is not None
            began = trio.current_time()
            await tracer.stop()
            assert trio.current_time() - began < 5


async def test_without_a_collector_nothing_is_traced(tmp_path: Path) -> None:
    """The client's request has no context."""
    async with a_call(tmp_path) as (here, client):
        turn = await client.asked.receive()
        assert here.relay.tracer is None
    assert "traceparent" not in (turn.params.meta or {})


def test_without_a_collector_nothing_is_imported() -> None:
    """Nothing that the extra installs: neither with the daemon's modules, nor when it looks for a collector."""
    asked = (
        "import relay.daemon.life_cycle, relay.daemon.traces, sys\n"
        "assert relay.daemon.traces.open_tracer(None) is None\n"
        "packages = 'opentelemetry.sdk', 'opentelemetry.exporter', 'opentelemetry.proto', 'google.protobuf'\n"
        "print([each for each in sys.modules if each.startswith(packages)])"
    )
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay runs without traces, and one line says what to install."""
    monkeypatch.setitem(sys.modules, "relay.tracing", None)
    with capture_logs() as events:
        assert open_tracer("http://127.0.0.1:4318") is None
    (event,) = events
    assert "pip install '.[otel]'" in event["why"]
