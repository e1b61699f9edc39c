"""The web app's own manners: errors that look alike, limits, no redirects; and alive, ready, metrics."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import pytest
import structlog
import trio
from prometheus_client import CollectorRegistry, Counter
from quart import Blueprint, request
from quart_trio import QuartTrio

from relay import __version__
from relay.http.pages import MAX_BODY_BYTES, HealthPages, build_app
from relay.twilio.audio_webhook import loggable
from tests.limits import HANGING
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

    return build_app([routes], loggable)


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
    with trio.fail_after(HANGING):
        answer = await ask(app, "POST", "/some/echo", body=None)
    assert (answer.status, answer.json()["error"]["code"]) == (408, "request_timeout")


@attrs.frozen
class Checks:
    """Checks that come out as the test wants, after a while."""

    results: Mapping[str, str | None] = attrs.field(factory=dict)
    seconds: float = 0.0

    async def checks(self) -> Mapping[str, str | None]:
        """Return them."""
        await trio.sleep(self.seconds)
        return self.results


def app_with(checks: Checks, registry: CollectorRegistry | None = None) -> QuartTrio:
    """Return the web app with the pages alone."""
    return build_app([HealthPages(checks=checks.checks, registry=registry or CollectorRegistry()).blueprint()])


async def test_a_daemon_that_answers_is_healthy() -> None:
    """The page says so, with version and uptime, whatever the checks say."""
    answer = await ask(app_with(Checks({"database": "gone"})), "GET", "/health")
    assert answer.status == 200
    assert answer.json().keys() == {"status", "version", "uptime"}
    assert (answer.json()["status"], answer.json()["version"]) == ("ok", __version__)
    assert answer.json()["uptime"] >= 0


@pytest.mark.parametrize("is_seen", [True, False])
async def test_a_node_says_whether_the_others_see_it(is_seen: bool) -> None:
    """With its name, for another one that is not seen; it is healthy all the same."""
    registry = CollectorRegistry()
    pages = HealthPages(checks=Checks().checks, registry=registry, node="relay-1", is_seen=lambda: is_seen)
    document = (await ask(build_app([pages.blueprint()]), "GET", "/health")).json()
    assert (document["status"], document["node"], document["seen"]) == ("ok", "relay-1", is_seen)


async def test_ready_is_200_when_nothing_fails() -> None:
    """Checks without a fault make the daemon ready."""
    answer = await ask(app_with(Checks({"database": None})), "GET", "/health/ready")
    assert (answer.status, answer.json()) == (200, {"status": "ready"})


async def test_a_failing_check_is_named() -> None:
    """One fault is enough for a 503 that says which and why."""
    answer = await ask(app_with(Checks({"database": "gone", "other": None})), "GET", "/health/ready")
    assert answer.status == 503
    assert answer.json()["error"] == {"code": "not_ready", "message": "database: gone"}


async def test_a_check_that_hangs_is_a_no(autojump_clock: trio.testing.MockClock) -> None:
    """The page answers in time, even if what it asks does not."""
    with trio.fail_after(HANGING):
        answer = await ask(app_with(Checks(seconds=1000)), "GET", "/health/ready")
    assert answer.status == 503
    assert "checks" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("is_leaving", "is_lost", "status"), [(False, False, 200), (True, False, 404), (False, True, 404)]
)
async def test_a_balancer_is_told_where_nothing_new_can_be_taken(is_leaving: bool, is_lost: bool, status: int) -> None:
    """By 404, which ends no stream; trouble that passes is nothing to it."""
    pages = HealthPages(
        checks=Checks({"database": "gone"}).checks,
        registry=CollectorRegistry(),
        is_leaving=lambda: is_leaving,
        is_lost=lambda: is_lost,
    )
    answer = await ask(build_app([pages.blueprint()]), "GET", "/health/balance")
    assert answer.status == status


async def test_metrics_are_those_of_the_registry_that_was_given() -> None:
    """The page is Prometheus text of this daemon's registry."""
    registry = CollectorRegistry()
    Counter("calls", "Calls that came in.", registry=registry).inc(3)
    answer = await ask(app_with(Checks(), registry), "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert b"calls_total 3.0" in answer.body
