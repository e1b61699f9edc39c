"""The gateway: which handler a connection gets, and that a failure stays where it is."""

from __future__ import annotations

from typing import Any, cast

import attrs
import pytest
import structlog
import trio

from actors.calls import Calls
from relay.http.asgi import AsgiApp
from relay.http.gateway import Gateway
from relay.reception import IncomingCall
from relay.twilio.audio_webhook import loggable
from relay.twilio.signatures import SignatureChecker
from relay.twilio.voice_socket import VoiceSocket
from tests.relay.http.asgi_driver import ORIGIN, TOKEN, ask, dial, signature
from tests.relay.twilio.fake_reception import ANNE, FakeReception
from tests.sids import sid


def page(name: str) -> AsgiApp:
    """Return an app that answers with its own name."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": name.encode()})

    return app


def gateway(
    pages: AsgiApp | None = None, mcp: AsgiApp | None = None, reception: FakeReception | None = None
) -> Gateway:
    """Return a gateway in front of these."""
    voice = VoiceSocket(checker=SignatureChecker(TOKEN, ORIGIN), calls=cast("Calls", reception or FakeReception()))
    return Gateway(pages=pages or page("pages"), voice=voice, mcp=mcp, loggable=loggable)


@pytest.mark.parametrize(
    ("method", "target", "handler"),
    [
        ("GET", "/sse?token=t", b"mcp"),
        ("POST", "/messages?session_id=s", b"mcp"),
        ("POST", "/mcp", b"mcp"),
        ("GET", "/mcp", b"mcp"),
        ("DELETE", "/mcp", b"mcp"),
        ("GET", "/sse/?token=t", b"mcp"),
        ("POST", "/messages/?session_id=s", b"mcp"),
        ("POST", "/mcp/", b"mcp"),
        ("POST", "/sse", b"mcp"),
        ("GET", "/messages", b"mcp"),
        ("POST", "/mcp//", b"pages"),
        ("POST", "//mcp", b"pages"),
        ("GET", "/mcp/more", b"pages"),
        ("GET", "/", b"pages"),
        ("POST", "/webhooks/anne/voice", b"pages"),
    ],
)
async def test_requests_go_by_method_and_path(method: str, target: str, handler: bytes) -> None:
    """The MCP client's requests go to its app, all others to the pages."""
    assert (await ask(gateway(mcp=page("mcp")), method, target)).body == handler


@pytest.mark.parametrize("path", ["/%6detrics", "//metrics", "/%2Fmetrics/", "/%63onsole", "/console%2fsign-in"])
async def test_what_a_proxy_closes_is_not_found_in_another_spelling(path: str) -> None:
    """It knows only the one that it was given, and would let the others through."""
    assert (await ask(gateway(), "GET", path)).status == 404


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/console", "/console/calls/CA%31", "/%6detric"])
async def test_what_is_for_operators_goes_to_the_pages(path: str) -> None:
    """As it is spelt; and what is not theirs in any spelling."""
    assert (await ask(gateway(), "GET", path)).body == b"pages"


@pytest.mark.parametrize("path", ["/sse", "/console/stream"])
async def test_one_slash_makes_no_difference_and_two_make_another_path(path: str) -> None:
    """That path is a page's in every respect: where it is served, who answers, and what refusals are counted."""
    refusals: list[int] = []

    async def refusing(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    served = attrs.evolve(gateway(refusing, refusing), streams=page("streams"), note_refusal=refusals.append)
    assert served.runs_in_place(f"{path}/")
    await ask(served, "GET", f"{path}/")
    counted = len(refusals)
    assert not served.runs_in_place(f"{path}//")
    assert (await ask(served, "GET", f"{path}//")).status == 401
    assert len(refusals) == counted == (path == "/sse")


async def test_without_an_mcp_app_the_pages_answer() -> None:
    """A daemon without the MCP side has no such paths."""
    assert (await ask(gateway(), "GET", "/sse")).body == b"pages"


async def test_the_voice_socket_gets_its_agent(autojump_clock: trio.testing.MockClock) -> None:
    """A signed upgrade with a ticket becomes this agent's call."""
    reception = FakeReception()
    await reception.register(IncomingCall(agent=ANNE, call_sid=sid()))
    path = "/webhooks/anne/voice-ws"
    headers = {"x-twilio-signature": signature("wss://voice.example" + path)}
    async with dial(gateway(reception=reception), path, headers=headers) as socket:
        await socket.say(
            '{"type":"setup","callSid":"CA00000000000000000000000000000001","customParameters":{"ticket":"ticket-of-CA00000000000000000000000000000001-0"}}'
        )
    assert [info.agent_id for info in reception.connected] == ["anne"]


@pytest.mark.parametrize(
    "path", ["/", "/sse", "/webhooks/anne/voice", "/webhooks/-/voice-ws", "/webhooks/a/b/voice-ws"]
)
async def test_other_sockets_are_refused_before_the_upgrade(path: str, autojump_clock: trio.testing.MockClock) -> None:
    """No socket is served elsewhere, which the peer learns as a 404."""
    async with dial(gateway(), path) as socket:
        await socket.done.wait()
    assert socket.outcome == [404]


async def test_a_failing_handler_is_answered_and_logged_without_the_query() -> None:
    """The client gets a JSON 500, the log the path but not the token."""

    async def failing(_scope: Any, _receive: Any, _send: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("secret")

    with structlog.testing.capture_logs() as logs:
        answer = await ask(gateway(failing), "GET", "/path?token=secret")
    assert (answer.status, answer.json()["error"]["code"]) == (500, "server_error")
    assert [(each["event"], each["path"]) for each in logs] == [("request_failed", "/path")]
    assert "secret" not in str(logs)


async def test_a_failure_is_logged_without_the_name_of_audio() -> None:
    """The name is the permission to fetch it, in whatever way it is asked for."""

    async def failing(_scope: Any, _receive: Any, _send: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("secret")

    with structlog.testing.capture_logs() as logs:
        for path in ("/audio/unguessable.wav", "/some/audio/unguessable.wav?range", "/audio/%75nguessable.wav"):
            await ask(gateway(failing), "GET", path)
    assert [each["path"] for each in logs] == ["/audio/…", "/some/audio/…", "/audio/…"]
    assert "unguessable" not in str(logs)


async def test_a_failure_in_mid_answer_leaves_it_unfinished() -> None:
    """What was begun is not continued with an error document; the server cuts it off."""

    async def failing(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("secret")

    answer = await ask(gateway(failing), "GET", "/path")
    assert (answer.status, answer.body) == (200, b"")


async def test_a_cancellation_beside_a_failure_gets_through(autojump_clock: trio.testing.MockClock) -> None:
    """A handler that fails while it is being cancelled is logged, and stays cancelled."""

    async def failing(_scope: Any, _receive: Any, _send: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in the clean-up")

    with structlog.testing.capture_logs() as logs, trio.move_on_after(1) as scope:
        await gateway(failing)({"type": "http", "method": "GET", "path": "/"}, trio.sleep_forever, _nowhere)
    assert scope.cancelled_caught
    assert [each["event"] for each in logs] == ["request_failed"]


async def _nowhere(_message: object) -> None:
    await trio.lowlevel.checkpoint()


async def test_the_lifespan_is_agreed_to() -> None:
    """A server that asks whether the app has started and stopped hears yes, and nothing else happens."""
    asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    answers: list[str] = []

    async def receive() -> Any:
        await trio.lowlevel.checkpoint()
        return next(asked)

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        answers.append(message["type"])

    await gateway()({"type": "lifespan"}, receive, send)
    assert answers == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
