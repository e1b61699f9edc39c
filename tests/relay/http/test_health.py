"""Alive, ready, metrics."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import trio
from prometheus_client import CollectorRegistry, Counter
from quart_trio import QuartTrio

from relay import __version__
from relay.http.app import build_app
from relay.http.health import HealthPages
from tests.relay.http.asgi_driver import ask


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
    return build_app([HealthPages(readiness=checks, registry=registry or CollectorRegistry()).blueprint()])


async def test_a_daemon_that_answers_is_healthy() -> None:
    """The page says so, with version and uptime, whatever the checks say."""
    answer = await ask(app_with(Checks({"database": "gone"})), "GET", "/health")
    assert answer.status == 200
    assert answer.json().keys() == {"status", "version", "uptime"}
    assert (answer.json()["status"], answer.json()["version"]) == ("ok", __version__)
    assert answer.json()["uptime"] >= 0


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
    with trio.fail_after(5):
        answer = await ask(app_with(Checks(seconds=1000)), "GET", "/health/ready")
    assert answer.status == 503
    assert "checks" in answer.json()["error"]["message"]


async def test_metrics_are_those_of_the_registry_that_was_given() -> None:
    """The page is Prometheus text of this daemon's registry."""
    registry = CollectorRegistry()
    Counter("calls", "Calls that came in.", registry=registry).inc(3)
    answer = await ask(app_with(Checks(), registry), "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert b"calls_total 3.0" in answer.body
