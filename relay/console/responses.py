"""What a page's function has answered, made an HTTP response; and why something is refused, in the form of the request.

Answer ──make──▶ response ◀──refuse── Refused
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, assert_never

import attrs
from quart import Response, request
from werkzeug.exceptions import NotFound

from relay.console.answers import Answer, Document, Download, Fragment, Nothing, Page, Redirect, Section
from relay.console.refused import Refused
from relay.console.rendering import HEADERS, Renderer, headers_with, new_nonce
from relay.console.sign_in import NOT_SIGNED_IN, SignedIn
from relay.errors import STORE_FAILURES, error_json

_HTML = "text/html; charset=utf-8"
_PATH = re.compile(r"/console(/[A-Za-z0-9._~%/-]*)?(\?[A-Za-z0-9._~%=&+,:/-]*)?")
_LONGEST_PATH = 500
_TITLES = {
    400: "Not understood",
    401: "Sign in",
    403: "Not allowed",
    404: "Not found",
    409: "Not as things are",
    413: "Too large",
    429: "Too many tries",
    503: "Not now",
}


@attrs.frozen(kw_only=True)
class Responses:
    """Makes responses to the request at hand.

    `sections` are those that the header leads to, `waiting` counts the messages that wait, and `banner` is what every
    page says, or None.
    """

    renderer: Renderer
    sections: tuple[Section, ...]
    waiting: Callable[[], Awaitable[int]]
    banner: Callable[[], str | None]

    async def make(self, answer: Answer, by: SignedIn, nonce: str) -> Response:
        """Return the response that a page's function has answered with."""
        match answer:
            case Page():
                return await self.page(answer, by, nonce)
            case Fragment():
                html = self.renderer.render(answer.template, {**answer.values, "nonce": nonce, "by": by})
                return Response(html, answer.status, headers_with(nonce), content_type=_HTML)
            case Redirect(path):
                return redirect(path)
            case Document():
                return _json(answer.content, answer.status)
            case Download():
                headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{answer.name}"'}
                return Response(answer.content, 200, headers, content_type=answer.media_type)
            case Nothing():
                return Response("", 204, {**HEADERS})
            case _:
                assert_never(answer)

    async def page(self, page: Page, by: SignedIn | None, nonce: str) -> Response:
        """Return a whole page; `by` is None where it is shown to who is not signed in."""
        values = {
            **page.values,
            "title": page.title,
            "nonce": nonce,
            "by": by,
            "path": request.path,
            "banner": self.banner(),
            "sections": () if by is None else await self._links(page.section),
        }
        return Response(
            self.renderer.render(page.template, values), page.status, headers_with(nonce), content_type=_HTML
        )

    async def _links(self, current: Section | None) -> list[dict[str, object]]:
        """Return the links of the header."""
        try:
            waiting: int | None = await self.waiting()
        except STORE_FAILURES:
            waiting = None
        return [
            {
                "title": each.value,
                "path": each.path,
                "is_current": each is current,
                "count": waiting if each is Section.MESSAGES else None,
            }
            for each in self.sections
        ]

    async def refuse(self, refused: Refused, by: SignedIn | None, nonce: str, *, onward: str | None = None) -> Response:
        """Return what is told instead: a page, a part of one for htmx, JSON below `/console/api/`.

        `onward` is where to go after signing in, if not to what was asked for. Raises `NotFound` for a refusal without
        words: such a path shall look as one that does not exist.
        """
        if not refused.message:
            raise NotFound
        values = {"status": refused.status, "message": refused.message, "field": refused.field}
        if request.path.startswith("/console/api/"):
            response = _json(error_json(refused.code, refused.message, refused.details), refused.status)
        elif is_part():
            html = self.renderer.render("refused_part.html", {**values, "onward": onward_path(asked_path())})
            response = Response(html, refused.status, headers_with(nonce), content_type=_HTML)
        elif refused.reloads:
            html = self.renderer.render("reload.html", {"path": onward_path(asked_path())})
            response = Response(html, 200, headers_with(nonce), content_type=_HTML)
        elif by is None and refused.status in {400, 401, 429}:
            if onward is None:
                onward = asked_path() if request.method == "GET" else ""
            response = self.door(refused, onward=onward_path(onward))
        else:
            title = _TITLES.get(refused.status, "Not done")
            page = Page(template="refused.html", title=title, section=None, values=values, status=refused.status)
            response = await self.page(page, by, nonce)
        if refused.retry_after is not None:
            response.headers["Retry-After"] = str(refused.retry_after)
        if refused.status == 401:
            response.headers["WWW-Authenticate"] = 'Bearer realm="relay console"'
        return response

    def door(
        self, refused: Refused | None = None, *, link: str = "", name: str = "", onward: str = "/console"
    ) -> Response:
        """Return the page to sign in on, with what is wrong, or for a link."""
        nonce = new_nonce()
        values = {
            "nonce": nonce,
            "message": "" if refused is None or refused.code == NOT_SIGNED_IN else refused.message,
            "link": link,
            "name": name,
            "onward": onward,
        }
        html = self.renderer.render("sign_in.html", values)
        status = 200 if refused is None else refused.status
        return Response(html, status, headers_with(nonce), content_type=_HTML)


def asked_path() -> str:
    """Return the path that was asked for, with its query."""
    path: str = request.full_path
    return path.removesuffix("?")


def onward_path(path: str) -> str:
    """Return where to go after signing in: the page that was asked for, or the first one for what is none of ours."""
    is_page = len(path) <= _LONGEST_PATH and _PATH.fullmatch(path) and not path.startswith("/console/sign-")
    return path if is_page else "/console"


def is_part() -> bool:
    """Return whether htmx asks, for a part of a page."""
    return request.headers.get("HX-Request") == "true"


def redirect(path: str) -> Response:
    """Return that the browser shall load another page, with GET."""
    return Response("", 303, {**HEADERS, "Location": path})


def _json(content: Mapping[str, Any], status: int) -> Response:
    return Response(json.dumps(content), status, {**HEADERS}, content_type="application/json")
