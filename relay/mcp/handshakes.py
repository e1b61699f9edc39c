"""Remembered handshakes: recognise clients that reconnect without a new handshake.

An EventSource reconnects by itself when its stream breaks, at a restart of the relay for instance. The MCP client
above it does not notice and never sends `initialize` again, so its new session would know no capabilities: it would
get no calls, and its requests would be refused. Python clients do not reconnect and need none of this.

Two headers of its GET identify a returning client:

- `Last-Event-ID`: the id of the first event of its former stream, which we made up for this client alone. It is exact.
- `MCP-Protocol-Version`: the version agreed on in a handshake, which a client cannot know before its first one. The
  TypeScript SDKs (1.32 and 2.4, read and tried) overwrite the headers of their EventSource with their own, so that
  this is all they send. It leads to the newest hello of a client that looks alike: same agent, User-Agent, query and
  version. Some clients send it from the start, so here a session is recognised only when it does not shake hands after
  all. Two equal clients of an agent can differ by any query parameter, such as `&client=desk`.
"""

from __future__ import annotations

import hashlib
import json

import attrs
import structlog
from mcp_types import InitializeRequestParams
from pydantic import ValidationError

from relay.errors import STORE_FAILURES
from relay.http.asgi import Head
from relay.mcp.session import McpSession
from relay.store.client_hellos import ClientHellos

log = structlog.get_logger(__name__)

LONGEST_HELLO = 16_384  # characters; clients say 100 to 600


@attrs.frozen
class KnownClient:
    """A client that was here before. `exact` when it cannot be another one."""

    params: InitializeRequestParams
    exact: bool


@attrs.frozen
class HandshakeCache:
    """The remembered handshakes. If the store fails, clients are not recognised, and nothing else happens."""

    _hellos: ClientHellos

    async def remember(self, session: McpSession, head: Head) -> None:
        """Store the handshake of a ready session, under both of its keys."""
        params = session.connection.client_params
        if params is None:
            return
        version = session.connection.protocol_version
        # The version asked for may be one that we do not speak; a client that comes back goes on with the agreed one.
        hello = params.model_copy(update={"protocol_version": version}).model_dump_json(
            by_alias=True, exclude_none=True
        )
        if len(hello) > LONGEST_HELLO:
            return
        try:
            for key in (_event_key(session.client_key), _likeness(head, version)):
                await self._hellos.remember(key, session.agent_id, hello)
        except STORE_FAILURES:
            log.warning("hello_not_kept", session=session.name, agent_id=session.agent_id)

    async def recall(self, agent_id: str, head: Head) -> KnownClient | None:
        """Return which client this probably is, or None if it is new or was forgotten."""
        event_id = head.headers.get("last-event-id")
        version = head.headers.get("mcp-protocol-version")
        try:
            if event_id and (params := await self._read(_event_key(event_id), agent_id)):
                return KnownClient(params, exact=True)
            if version and (params := await self._read(_likeness(head, version), agent_id)):
                return KnownClient(params, exact=False)
        except STORE_FAILURES:
            log.warning("hello_not_recalled", agent_id=agent_id)
        return None

    async def _read(self, key: str, agent_id: str) -> InitializeRequestParams | None:
        hello = await self._hellos.recall(key, agent_id)
        try:
            return InitializeRequestParams.model_validate_json(hello, by_name=False) if hello else None
        except ValidationError:  # kept by another release
            return None


def _event_key(event_id: str) -> str:
    return f"event:{event_id}"


def _likeness(head: Head, version: str) -> str:
    query = sorted((name, value) for name, value in head.query.items() if name != "token")
    looks = json.dumps([head.headers.get("user-agent", ""), query, version])
    return f"like:{hashlib.sha256(looks.encode()).hexdigest()}"
