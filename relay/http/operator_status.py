"""`GET /operator/status`: what the daemon knows and no database does, for `relay status` on the same machine.

Whoever asks needs the secret of `relay.db.daemon`, which only the daemon's own user can read, and must be on this
machine. The second is no more than a fence: behind a proxy all requests come from here.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from quart import Blueprint, request

from relay.running import STATUS_PATH


@attrs.frozen(kw_only=True)
class OperatorPages:
    """`status` is asked for each request and must not wait."""

    secret: str = attrs.field(repr=False)
    status: Callable[[], Mapping[str, Any]]

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("operator", __name__)
        routes.get(STATUS_PATH)(self.show)
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
