"""The streams of the console, and its JSON for programs: raw ASGI, beside `/sse`.

    /console/stream?view=live|call  ──▶ parts of a page, for htmx
    /console/api/live               ──▶ a document, or with Accept: text/event-stream a stream of `state` events
    /console/api/calls/{sid}            as JSON in ASCII

A stream begins with the whole of what its page shows, unless `Last-Event-ID` says that the reader has that; so nothing
is replayed, and nothing can be lost. It ends with `pause` when its session has opened more than four (a browser has six
connections for all its tabs), and with `bye` when the session is over (`signed_out`) or the daemon stops (`draining`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import attrs
import trio
from werkzeug.exceptions import NotFound

from relay.console.asked_calls import call_sid_of, filter_of
from relay.console.board import Board
from relay.console.ended_views import EndedViews
from relay.console.feed import Feed, Form, OneCall, View, event
from relay.console.refused import Refused
from relay.console.sign_in import SignedIn, SignIn
from relay.console.views import CallState
from relay.errors import STORE_FAILURES
from relay.http.asgi import Head, Header, Receive, Scope, Send, answer, refuse
from relay.http.streaming import COMMENT, FAREWELL, HEADERS, end_response, hang_up

MOST = 50
MOST_A_SESSION = 4
COMMENT_SECONDS = 15.0
CHECK_SECONDS = 1.0
"""How often it is looked whether those who read streams are still signed in."""
RETRY_AFTER = 5

_GUARDS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_DOCUMENT = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"), *_GUARDS)
_CALLS = "/console/api/calls/"


def _attends_nothing(_call_sid: str, _operator: str) -> AbstractContextManager[None]:
    return nullcontext()


@attrs.define(eq=False)
class _Reader:
    """Who reads a stream: `head` is of its request, `why` the reason that it was ended for from our side."""

    head: Head
    by: SignedIn
    why: str = ""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def end(self, why: str) -> None:
        """End the stream, once what is being sent has gone out. Idempotent."""
        self.why = self.why or why
        self.scope.cancel(why)


@attrs.define(eq=False, kw_only=True)
class ConsoleStreams:
    """Serves the streams and the JSON. One task is in `run`.

    `attending` is entered with a call SID and an operator while a stream of that call is read: who has taken it over is
    here as long as its page is open.
    """

    board: Board
    ended: EndedViews
    sign_in: SignIn
    attending: Callable[[str, str], AbstractContextManager[None]] = _attends_nothing
    comment_seconds: float = COMMENT_SECONDS
    _readers: list[_Reader] = attrs.field(factory=list, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            by = await self.sign_in.admit(scope)
            await self._serve(Head(scope), by, receive, send)
        except Refused as refused:
            await _refuse(send, refused)
        except STORE_FAILURES:
            why = self.board.banner() or "The database did not answer."
            await _refuse(send, Refused(503, "database_trouble", f"{why} Try again in a moment.", retry_after=5))

    async def _serve(self, head: Head, by: SignedIn, receive: Receive, send: Send) -> None:
        if head.method != "GET":
            raise Refused(405, "method_not_allowed", "This is read with GET.")
        path = head.path.removesuffix("/")
        if path == "/console/stream":
            await self._stream(_Reader(head, by), _view_of(head.query), Form.HTML, receive, send)
            return
        view = filter_of(head.query) if path == "/console/api/live" else OneCall(call_sid_of(path.removeprefix(_CALLS)))
        goes_on = not isinstance(view, OneCall) or self.board.has(view.call_sid) or self.board.is_away(view.call_sid)
        if "text/event-stream" in head.headers.get("accept", "") and goes_on:
            await self._stream(_Reader(head, by), view, Form.JSON, receive, send)
        else:
            await answer(send, 200, json.dumps(await self._document(view)).encode(), *_DOCUMENT)

    async def _document(self, view: View) -> Mapping[str, object]:
        if not isinstance(view, OneCall):
            await self.board.look_at_messages()
            return (await self.board.live(view)).document()
        state = self.board.call(view.call_sid) or await self.ended.find(view.call_sid)
        if state is None:
            raise Refused(404, "unknown_call", "No call of this id is on record.")
        return state.document()

    # ── streams ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _stream(self, reader: _Reader, view: View, form: Form, receive: Receive, send: Send) -> None:
        if len(self._readers) >= MOST:
            message = f"All {MOST} streams of the console are in use. Close a tab, or try again in a moment."
            raise Refused(503, "too_many_streams", message, retry_after=RETRY_AFTER)
        async with self.board.feed(view, form, await self._away(view)) as feed:
            self._readers.append(reader)
            self._pause_others(reader.by)
            try:
                await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *_GUARDS]})
                call_sid = view.call_sid if isinstance(view, OneCall) else ""
                with reader.scope, self.attending(call_sid, reader.by.operator):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._until_left, reader, receive)
                        await self._write(reader, feed, send)
                        reader.end("broken")
            finally:
                self._readers.remove(reader)
        if reader.why in _FAREWELLS:
            with trio.move_on_after(FAREWELL, shield=True):
                farewell = event(reader.why, "") if reader.why == PAUSE else event("bye", reader.why)
                await send({"type": "http.response.body", "body": farewell, "more_body": True})
        await end_response(send)

    async def _away(self, view: View) -> CallState | None:
        """Return what is known of a call that is away, to be shown until it is back; None for every other view."""
        if not isinstance(view, OneCall) or not self.board.is_away(view.call_sid):
            return None
        return await self.ended.find(view.call_sid)

    async def _until_left(self, reader: _Reader, receive: Receive) -> None:
        await hang_up(receive)
        reader.end("left")

    async def _write(self, reader: _Reader, feed: Feed, send: Send) -> None:
        """Send each newer state, and a comment after each interval of silence; return when the view is broken."""
        has_all = feed.version and reader.head.headers.get("last-event-id") == feed.id
        seen = feed.version if has_all else 0
        while not feed.is_broken:
            body = COMMENT
            with trio.move_on_after(self.comment_seconds):
                body = await feed.after(seen)
                seen = feed.version
            if body:
                await send({"type": "http.response.body", "body": body, "more_body": True})

    def _pause_others(self, by: SignedIn) -> None:
        """Pause the oldest streams of a session that has more than four. Programs come with a token, and have none."""
        if by.session is not None:
            own = [each for each in self._readers if each.by.key == by.key and not each.why]
            for each in own[:-MOST_A_SESSION]:
                each.end(PAUSE)

    # ── their end from our side ─────────────────────────────────────────────────────────────────────────────────────

    def __len__(self) -> int:
        return len(self._readers)

    def close(self) -> None:
        """End all streams, because the daemon stops. Never waits."""
        for each in self._readers:
            each.end("draining")

    async def run(self) -> None:
        """End the streams of sessions and tokens that are not valid any more. Runs until cancelled."""
        while True:
            await trio.sleep(CHECK_SECONDS)
            for key, reader in {each.by.key: each for each in self._readers}.items():
                try:
                    is_over = not await self.sign_in.is_signed_in(reader.head)
                except STORE_FAILURES:
                    break  # it is looked again, and what was shown until now may be shown a little longer
                if is_over:
                    for each in [each for each in self._readers if each.by.key == key]:
                        each.end(SIGNED_OUT)


PAUSE, SIGNED_OUT = "pause", "signed_out"
_FAREWELLS = frozenset({PAUSE, SIGNED_OUT, "draining"})


def _view_of(query: Mapping[str, str]) -> View:
    match query.get("view"):
        case "live":
            return filter_of(query)
        case "call":
            return OneCall(call_sid_of(query.get("call", "")))
        case _:
            raise Refused(400, "unknown_view", "Say which view: view=live, or view=call with call=SID.")


async def _refuse(send: Send, refused: Refused) -> None:
    if not refused.message:  # as the web framework says it of a path that does not exist
        await refuse(send, 404, "not_found", str(NotFound.description))
        return
    headers = [] if refused.retry_after is None else [(b"retry-after", str(refused.retry_after).encode())]
    if refused.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="relay console"'))
    await refuse(send, refused.status, refused.code, refused.message, (b"cache-control", b"no-store"), *headers)
