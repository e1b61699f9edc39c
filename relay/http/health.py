"""The pages for whoever watches the daemon: alive, ready, metrics."""

from __future__ import annotations

import time

import attrs
import structlog
import trio
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from quart import Blueprint

from relay import __version__
from relay.twilio.ports import Readiness

log = structlog.get_logger(__name__)

# Load balancers give up after some seconds; a check that hangs must still be a "no".
CHECK_SECONDS = 3.0


@attrs.frozen(kw_only=True)
class HealthPages:
    """`GET /health`, `/health/ready` and `/metrics`."""

    readiness: Readiness
    registry: CollectorRegistry
    _started: float = attrs.field(factory=time.monotonic, init=False)

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("health", __name__)
        routes.get("/health")(self.health)
        routes.get("/health/ready")(self.ready)
        routes.get("/metrics")(self.metrics)
        return routes

    async def health(self) -> dict[str, object]:
        """Say that the process answers, since when (seconds), and what it is. Asks nothing else: a slow database must
        not get the daemon restarted with calls in it.
        """
        return {"status": "ok", "version": __version__, "uptime": round(time.monotonic() - self._started, 3)}

    async def ready(self) -> tuple[dict[str, object], int]:
        """Say whether calls can be taken: 200, or 503 naming each check that fails."""
        failing: dict[str, str] = {"checks": f"no answer within {CHECK_SECONDS:g} seconds"}
        with trio.move_on_after(CHECK_SECONDS):
            failing = {name: fault for name, fault in (await self.readiness.checks()).items() if fault is not None}
        if not failing:
            return {"status": "ready"}, 200
        log.warning("not_ready", failing=sorted(failing))
        message = "; ".join(f"{name}: {fault}" for name, fault in sorted(failing.items()))
        return {"error": {"code": "not_ready", "message": message}, "failing": failing}, 503

    async def metrics(self) -> tuple[bytes, dict[str, str]]:
        """Give the daemon's metrics as Prometheus text."""
        return generate_latest(self.registry), {"Content-Type": CONTENT_TYPE_LATEST}
