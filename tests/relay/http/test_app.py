"""The web app's own manners: errors that look alike, limits, no redirects."""

from __future__ import annotations

import pytest
import structlog
import trio
from quart import Blueprint, request
from quart_trio import QuartTrio

from relay.http.app import MAX_BODY_BYTES, build_app
from tests.relay.http.asgi_driver import ask


@pytest.fixture
def app() -> QuartTrio:
    """Return an app with a page that echoes and three that fail."""
    routes = Blueprint("test", __name__)

    @routes.post("/some/echo")
    async def echo() -> str:
        return await request.get_data(cache=True, as_text=True, parse_form_data=False)

    @routes.get("/fail")
    async def fail() -> str:
        await trio.lowlevel.checkpoint()
        raise ValueError("secret")

    @routes.get("/fail-in-nursery")
    async def fail_in_nursery() -> str:
        async with trio.open_nursery():
            raise ValueError("secret")

    @routes.get("/audio/<name>.wav")
    async def audio(name: str) -> str:
        await trio.lowlevel.checkpoint()
        raise OSError(name)

    return build_app([routes])


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/some/echo", 405, "method_not_allowed"),
        ("POST", "/some//echo", 404, "not_found"),
    ],
)
async def test_errors_are_documents(app: QuartTrio, method: str, path: str, status: int, code: str) -> None:
    """What is not found or not allowed is JSON with a code and a sentence, and never a redirect."""
    answer = await ask(app, method, path)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["message"]


async def test_to_the_carrier_errors_are_empty(app: QuartTrio) -> None:
    """A path under the webhooks that nobody serves has no body."""
    answer = await ask(app, "POST", "/webhooks/anne/unknown")
    assert (answer.status, answer.body) == (404, b"")


async def test_a_method_that_is_not_allowed_names_the_right_one(app: QuartTrio) -> None:
    """The Allow header is kept."""
    assert "POST" in (await ask(app, "GET", "/some/echo")).headers["allow"]


async def test_a_body_has_a_limit(app: QuartTrio) -> None:
    """The limit itself passes, one byte more is refused."""
    assert (await ask(app, "POST", "/some/echo", body=b"a" * MAX_BODY_BYTES)).status == 200
    answer = await ask(app, "POST", "/some/echo", body=b"a" * (MAX_BODY_BYTES + 1))
    assert (answer.status, answer.json()["error"]["code"]) == (413, "request_entity_too_large")


@pytest.mark.parametrize("path", ["/fail", "/fail-in-nursery"])
async def test_a_failing_page_is_a_500_that_gives_nothing_away(app: QuartTrio, path: str) -> None:
    """The client gets a document, the log the type and the place, nobody the message."""
    with structlog.testing.capture_logs() as logs:
        answer = await ask(app, "GET", f"{path}?token=secret")
    assert (answer.status, answer.json()["error"]["code"]) == (500, "server_error")
    (entry,) = logs
    assert (entry["event"], entry["path"]) == ("request_failed", path)
    assert entry["errors"][0].startswith("ValueError at ")
    assert b"secret" not in answer.body
    assert "secret" not in str(logs)


async def test_the_name_of_audio_is_not_logged(app: QuartTrio) -> None:
    """Whoever knows the name may fetch the audio, so the log of a failure has the path without it."""
    with structlog.testing.capture_logs() as logs:
        answer = await ask(app, "GET", "/audio/unguessable.wav")
    assert answer.status == 500
    assert [each["path"] for each in logs] == ["/audio/…"]
    assert "unguessable" not in str(logs)


async def test_a_body_that_does_not_come_is_given_up(app: QuartTrio, autojump_clock: trio.testing.MockClock) -> None:
    """A request whose body stays away is a 408 after some seconds."""
    with trio.fail_after(20):
        answer = await ask(app, "POST", "/some/echo", body=None)
    assert (answer.status, answer.json()["error"]["code"]) == (408, "request_timeout")
