"""Short requests: the Quart-Trio app with its errors, and the pages about the daemon itself.

    build_app ◀── blueprints: the carrier's webhooks, audio, HealthPages, OperatorPages

No background task and no lifespan hook here. A crash in the framework's nursery would
leave a daemon that takes calls and does nothing else.
"""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import attrs
import structlog
import trio
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from quart import Blueprint, make_response, request
from quart.typing import ResponseTypes
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from relay import __version__
from relay.agent import AGENT_ID
from relay.errors import SERVER_ERROR, error_document
from relay.logs import report

log = structlog.get_logger(__name__)

# Load balancers give up after some seconds; a check that hangs must still be a "no".
CHECK_SECONDS = 3.0

# The carrier's forms are a few kB.
MAX_BODY_BYTES = 65_536
BODY_SECONDS = 10


class _AgentId(BaseConverter):
    regex = AGENT_ID


def build_app(blueprints: Iterable[Blueprint], loggable: Callable[[str], str] = str) -> QuartTrio:
    """Return the app with these routes; `<agent_id:name>` in a route takes what has the form of an agent's id.

    Errors are JSON documents, except under `/webhooks/`: there the body is empty, because the carrier takes a body for
    an order to carry out. `loggable` returns a path without what must not be logged.
    """
    app = QuartTrio("relay.http", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["BODY_TIMEOUT"] = BODY_SECONDS
    app.url_map.converters["agent_id"] = _AgentId
    # A redirect would lose the carrier's form: so a slash at the end makes no difference, and one within is not found.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    for each in blueprints:
        app.register_blueprint(each)
    app.register_error_handler(HTTPException, _refuse)

    async def fail(error: Exception) -> ResponseTypes:
        report("request_failed", error, method=request.method, path=loggable(request.path))
        return await _error(500, SERVER_ERROR)

    app.register_error_handler(Exception, fail)
    return app


async def _refuse(error: HTTPException) -> ResponseTypes:
    code = error.name.lower().replace(" ", "_")
    response = await _error(error.code or 500, error_document(code, error.description or error.name))
    if error.code == 405:
        response.headers["Allow"] = dict(error.get_headers()).get("Allow", "")
    return response


async def _error(status: int, document: bytes) -> ResponseTypes:
    to_carrier = request.path.startswith("/webhooks/")
    response = await make_response(b"" if to_carrier else document, status)
    response.content_type = "text/plain" if to_carrier else "application/json"
    return response


@attrs.frozen(kw_only=True)
class HealthPages:
    """`GET /health`, `/health/ready`, `/health/balance` and `/metrics`, for monitoring and for load balancers.

    `checks` returns each condition for taking calls by name, with None or what is wrong; the texts are public.
    """

    checks: Callable[[], Awaitable[Mapping[str, str | None]]]
    registry: CollectorRegistry
    is_leaving: Callable[[], bool] = lambda: False
    is_lost: Callable[[], bool] = lambda: False
    """Whether this node of a cluster has no database, and another one has."""
    node: str = ""
    """The name of this node of a cluster; empty where there is none."""
    is_seen: Callable[[], bool] = lambda: False
    """Whether this node of a cluster has reached the database lately, so that the others see it."""
    _started: float = attrs.field(factory=time.monotonic, init=False)

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("health", __name__)
        routes.get("/health")(self.health)
        routes.get("/health/ready")(self.ready)
        routes.get("/health/balance")(self.balance)
        routes.get("/metrics")(self.metrics)
        return routes

    async def health(self) -> dict[str, object]:
        """Return that the process answers, since when (seconds), and what it is.

        Asks nothing else: a slow database must not get the daemon restarted with calls in it.
        """
        named = {"node": self.node, "seen": self.is_seen()} if self.node else {}
        return {"status": "ok", "version": __version__, "uptime": round(time.monotonic() - self._started, 3), **named}

    async def ready(self) -> tuple[dict[str, object], int]:
        """Return whether calls can be taken: 200, or 503 naming each check that fails."""
        failing: dict[str, str] = {"checks": f"no answer within {CHECK_SECONDS:g} seconds"}
        with trio.move_on_after(CHECK_SECONDS):
            failing = {name: fault for name, fault in (await self.checks()).items() if fault is not None}
        if not failing:
            return {"status": "ready"}, 200
        log.warning("not_ready", failing=sorted(failing))
        message = "; ".join(f"{name}: {fault}" for name, fault in sorted(failing.items()))
        return {"error": {"code": "not_ready", "message": message}, "failing": failing}, 503

    async def balance(self) -> tuple[dict[str, object], int]:
        """Return whether a load balancer shall send new requests here: 200, or 404.

        That is when the daemon is being stopped, or only other nodes have the database: this one has let go of its
        calls, so that it has the fewest connections, and would get all that it can only refuse. HAProxy's `http-check
        disable-on-404` then sends nothing new and leaves open what is. Trouble that passes, and trouble that all nodes
        have, is none of its business: a daemon that is taken for down would lose its calls.
        """
        await trio.lowlevel.checkpoint()
        if self.is_leaving():
            message = "The relay is being stopped: send new requests elsewhere, and leave open what is."
            return {"error": {"code": "leaving", "message": message}}, 404
        if self.is_lost():
            message = "This node has no database, and another one has: send new requests there."
            return {"error": {"code": "lost", "message": message}}, 404
        return {"status": "balanced"}, 200

    async def metrics(self) -> tuple[bytes, dict[str, str]]:
        """Return the daemon's metrics as Prometheus text."""
        return generate_latest(self.registry), {"Content-Type": CONTENT_TYPE_LATEST}


@attrs.frozen(kw_only=True)
class OperatorPages:
    """`GET` of `path`: what the daemon knows and no database does, for `relay status` on the same machine.

    A request needs the secret of `relay.db.daemon`, which only the daemon's own user can read, and must be on this
    machine. The second is no more than a fence: behind a proxy all requests come from here. `status` is asked for each
    request and must not wait.
    """

    path: str
    secret: str = attrs.field(repr=False)
    status: Callable[[], Mapping[str, Any]]

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("operator", __name__)
        routes.get(self.path)(self.show)
        return routes

    async def show(self) -> tuple[dict[str, Any], int]:
        """Return the status, or 403."""
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        # As bytes, because a header may hold characters for which comparing texts raises.
        if not hmac.compare_digest(given.encode(), self.secret.encode()) or not _comes_from_here():
            why = "This is for `relay status` on the daemon's own machine, run where its database is."
            return {"error": {"code": "not_the_operator", "message": why}}, 403
        return dict(self.status()), 200


def _comes_from_here() -> bool:
    client, server = request.scope.get("client"), request.scope.get("server")
    if not client:
        return False
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    return address.is_loopback or (server is not None and client[0] == server[0])
