"""Why a request of the console is not served: raised where that shows, and made an answer of in one place.

Pages are answered by `responses`; what is served outside of the web framework, streams and sockets, by `send_refusal`.
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.errors import error_document
from relay.http.asgi import Header, Scope, Send, refuse, refuse_upgrade


class Refused(Exception):
    """An answer instead of what was asked for. The text is for the operator: what is wrong, and what to do.

    `status` is HTTP's, `code` a snake_case word for programs. `retry_after` is in whole seconds. `field` is the form's
    field that the text is about. `reloads` asks the browser to load the page again, see `sign_in`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after: int | None = None,
        field: str = "",
        reloads: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.field = field
        self.reloads = reloads

    @property
    def details(self) -> Mapping[str, str]:
        """What programs are told beside code and text."""
        return {"field": self.field} if self.field else {}


async def send_refusal(scope: Scope, send: Send, refused: Refused) -> None:
    """Answer a stream's request, or a socket's upgrade, with a refusal: an error document.

    One without words is as for a path that does not exist.
    """
    code, message = refused.code, refused.message
    if not message:
        code, message = "not_found", "There is nothing here."
    if scope["type"] == "websocket":
        await refuse_upgrade(scope, send, refused.status, error_document(code, message))
        return
    headers: list[Header] = [(b"cache-control", b"no-store")]
    if refused.retry_after is not None:
        headers.append((b"retry-after", str(refused.retry_after).encode()))
    await refuse(send, refused.status, code, message, *headers)
