"""Where a request belongs: what its path, its session and its token say. Pure.

    /webhooks/{agent}/…                         ──▶ HomeOf: the agent's home
    /sse, /mcp without a session, or stateless  ──▶ HomeOfToken: the home of the agent that the token names
    /messages, /mcp with a session              ──▶ AtNode: the node that made it, with whose name its id begins
    /n/{node}/webhooks/…                        ──▶ AtNode: that node, which made the ticket of a voice socket
    everything else                             ──▶ Here: health, metrics, audio, what is refused anyway

A session and a ticket belong to the node that made them, also while the agent's home moves; what is new goes to the
home. So what names a node is not asked for the agent's home, and the other way round.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import attrs

from relay.agent import AGENT_ID
from relay.http.asgi import Head, Scope
from relay.mcp.session import NODE_MARK
from relay.mcp.transports.stateless import is_stateless

_OF_NODE = re.compile(r"/n/(?P<node>[a-z0-9-]{1,63})(?P<path>/webhooks/.*)", re.DOTALL)
_WEBHOOK = re.compile(rf"/webhooks/({AGENT_ID})/[^/]+/?")


@attrs.frozen
class Here:
    """Any node serves it."""


@attrs.frozen
class AtNode:
    """One node serves it: what that knows of it no other does. `path` is the one that it is served under."""

    node: str
    path: str
    is_session: bool = False


@attrs.frozen
class HomeOf:
    """The home of an agent serves it."""

    agent_id: str


@attrs.frozen
class HomeOfToken:
    """The home of the agent that a token is one of serves it."""

    token: str = attrs.field(repr=False)


Elsewhere: TypeAlias = AtNode | HomeOf | HomeOfToken
_HERE = Here()


def find_destination(scope: Scope) -> Here | Elsewhere:
    """Return where a request, or the upgrade to a WebSocket, belongs."""
    path: str = scope["path"]
    if path.startswith("/n/"):
        of_node = _OF_NODE.fullmatch(path)
        return _HERE if of_node is None else AtNode(of_node["node"], of_node["path"])
    if path.startswith("/webhooks/") and (scope["type"] == "websocket" or scope["method"] == "POST"):
        webhook = _WEBHOOK.fullmatch(path)
        return _HERE if webhook is None else HomeOf(webhook[1])
    return _HERE if scope["type"] == "websocket" else _of_client(Head(scope))


def _of_client(head: Head) -> Here | Elsewhere:
    """Return where a request of a client belongs; Here where it is none."""
    match head.path.removesuffix("/"), head.method:
        case "/messages", "POST":
            return _of_session(head.query.get("session_id", ""), head)
        case "/sse", "GET":
            return _of_token(head.token)
        case "/mcp", "GET" | "POST" | "DELETE":
            session_id = head.headers.get("mcp-session-id")
            if session_id is not None and not is_stateless(head):
                return _of_session(session_id, head)
            return _of_token(head.bearer) if head.method == "POST" else _HERE
        case _:
            return _HERE


def _of_session(session_id: str, head: Head) -> Here | Elsewhere:
    node, mark, _ = session_id.partition(NODE_MARK)
    return AtNode(node, head.path, is_session=True) if mark else _HERE


def _of_token(token: str | None) -> Here | Elsewhere:
    return _HERE if token is None else HomeOfToken(token)
