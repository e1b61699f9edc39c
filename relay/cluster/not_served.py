"""How a node refuses what belongs to another one that cannot be asked, in the form that each kind of asker understands.

A client over SSE is given an empty stream, because any other status ends its reconnecting; one over Streamable HTTP an
error of JSON-RPC; the carrier, and who opens a socket, a status.
"""

from __future__ import annotations

from relay.cluster.node_answer import MISDIRECTED
from relay.errors import error_document
from relay.http.asgi import HOP, Head, Header, Scope, Send, refuse, refuse_upgrade
from relay.http.cors import Cors
from relay.mcp.transports.refusals import RETRY_AFTER, refuse_request
from relay.mcp.transports.sse import come_back_later

_NOT_REACHED = "The node that serves this cannot be reached now; try again in a moment."
_NO_NODE = "There is no such node, or it is gone."
_NOT_HOME = "This node is not the home of that agent, nor the node that is named."


async def refuse_for_now(scope: Scope, send: Send, cors: Cors) -> None:
    """Refuse a request, or an upgrade, that is to be tried again. Web pages that `cors` allows may read why."""
    if scope["type"] == "websocket":
        await refuse_upgrade(scope, send, 503, error_document("try_again", _NOT_REACHED))
        return
    head = Head(scope)
    headers = [RETRY_AFTER, *cors.headers_for(scope)]
    match head.path.removesuffix("/"):
        case "/sse":
            await come_back_later(send)
        case "/mcp":
            await refuse_request(head, send, 503, "try_again", _NOT_REACHED, *headers)
        case _:
            await refuse(send, 503, "try_again", _NOT_REACHED, *headers)


async def refuse_as_gone(scope: Scope, send: Send) -> None:
    """Refuse what is addressed to a node that there is not, or not any more."""
    if scope["type"] == "websocket":
        await refuse_upgrade(scope, send, 404, error_document("not_found", _NO_NODE))
    else:
        await refuse(send, 404, "not_found", _NO_NODE)


async def refuse_as_misdirected(node: str, scope: Scope, send: Send) -> None:
    """Refuse, as `node`, to be taken for another one; by the header who asks knows that nothing was done."""
    hop: Header = (HOP, node.encode())
    if scope["type"] != "websocket":
        await refuse(send, MISDIRECTED, "not_home", _NOT_HOME, hop)
        return
    headers: list[Header] = [hop, (b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": MISDIRECTED, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": error_document("not_home", _NOT_HOME)})
