"""The routes of the console in the web framework: a request is let in, a page's function asked, its values rendered.

    /console/sign-in, /console/sign-out   here
    /console/static/…                     our files, for everybody once there is an operator
    every other route                     a `Route` of another module; a session is needed, and an operator who may act
                                          for what changes something
    /console/…                            not found, and said only to those who are signed in

What goes wrong is told in the form that was asked for: a page, a part of one for htmx, JSON below `/console/api/`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import attrs
import structlog
import trio
from quart import Blueprint, Response, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException, NotFound

from relay.console.answers import Answer, Asked, Route, Section
from relay.console.refused import Refused
from relay.console.rendering import HEADERS, Renderer, new_nonce
from relay.console.responses import Responses, asked_path, is_part, onward_path, redirect
from relay.console.sign_in import SignIn
from relay.errors import STORE_FAILURES
from relay.http.asgi import Head, Scope

log = structlog.get_logger(__name__)


@attrs.frozen(kw_only=True)
class ConsolePages:
    """The console's routes. `waiting` counts the messages that wait; `banner` is what every page says, or None."""

    sign_in: SignIn
    renderer: Renderer
    routes: Sequence[Route]
    waiting: Callable[[], Awaitable[int]]
    banner: Callable[[], str | None]
    responses: Responses = attrs.field(init=False)

    @responses.default
    def _make_responses(self) -> Responses:
        there = {each.rule for each in self.routes if each.method == "GET"}
        sections = tuple(each for each in Section if each.path.removeprefix("/console") in there)
        return Responses(renderer=self.renderer, sections=sections, waiting=self.waiting, banner=self.banner)

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("console", __name__, url_prefix="/console")
        routes.get("/static/<name>")(self.static)
        routes.get("/sign-in")(self.show_sign_in)
        routes.post("/sign-in")(self.take_sign_in)
        routes.post("/sign-out")(self.sign_out)
        for number, each in enumerate(self.routes):
            serve = partial(self.serve, each)
            routes.add_url_rule(each.rule, f"route-{number}", serve, methods=[each.method])
        anything = Route(rule="", function=_nothing_here, acting=False)
        for rule in ("/", "/<path:rest>"):
            methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
            routes.add_url_rule(rule, f"other-{rule}", partial(self.serve, anything), methods=methods)
        return routes

    async def serve(self, route: Route, **arguments: str) -> Response:
        """Answer a request with a route's function."""
        nonce, by = new_nonce(), None
        try:
            by = await self.sign_in.admit(_scope())
            if route.acting:
                by.require_act()
            asked = Asked(
                by=by,
                path=asked_path(),
                nonce=nonce,
                arguments=arguments,
                query=_first(request.args),
                form=await self._form(),
                is_part=is_part(),
            )
            return await self.responses.make(await route.function(asked), by, nonce)
        except Refused as refused:
            return await self.responses.refuse(refused, by, nonce)
        except STORE_FAILURES as error:
            log.warning("console_without_database", path=request.path, error=type(error).__name__)
            return await self.responses.refuse(self._no_database(), by, nonce)

    async def static(self, name: str) -> Response:
        """Return one of our files, to be kept for ever: its name changes with its content."""
        try:
            self.sign_in.check_host(Head(_scope()))
            await self.sign_in.require_console()
        except Refused as refused:
            return await self.responses.refuse(refused, None, new_nonce())
        except STORE_FAILURES:
            pass  # it is no secret, and the page that says what is wrong needs it
        file = self.renderer.files.find(name)
        if file is None:
            raise NotFound
        headers = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
        return Response(file.content, 200, headers, content_type=file.media_type)

    # ── in and out ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def show_sign_in(self) -> Response:
        """Return the page to sign in on; with a link, one that asks whether to sign in as its operator."""
        return await self._at_the_door(self._ask_who)

    async def take_sign_in(self) -> Response:
        """Begin a session with a token or a link, and go on to the page that was asked for at first."""
        return await self._at_the_door(self._sign_in)

    async def sign_out(self) -> Response:
        """End the session."""
        return await self._at_the_door(self._sign_out)

    async def _at_the_door(self, work: Callable[[Mapping[str, str]], Awaitable[Response]]) -> Response:
        """Run what needs no session, with the form or the query."""
        nonce, given = new_nonce(), _first(request.args)
        try:
            head = Head(_scope())
            self.sign_in.check_host(head)
            if request.method == "POST":
                self.sign_in.require_own_page(head)
                given = await self._form()
            return await work(given)
        except Refused as refused:
            return await self.responses.refuse(refused, None, nonce, onward=given.get("next"))
        except STORE_FAILURES as error:
            log.warning("console_without_database", path=request.path, error=type(error).__name__)
            return await self.responses.refuse(self._no_database(), None, nonce)

    async def _ask_who(self, given: Mapping[str, str]) -> Response:
        link, onward = given.get("link", ""), onward_path(given.get("next", ""))
        if link:
            name = await self.sign_in.named_by_link(_scope(), link)
            return self.responses.door(link=link, name=name, onward=onward)
        try:
            await self.sign_in.admit(_scope())
        except Refused as refused:
            if refused.status != 401:
                raise
            return self.responses.door(onward=onward)
        return redirect(onward)

    async def _sign_in(self, form: Mapping[str, str]) -> Response:
        token, link = form.get("token", "").strip(), form.get("link", "")
        if link:
            cookie = await self.sign_in.with_link(_scope(), link)
        elif token:
            cookie = await self.sign_in.with_token(_scope(), token)
        else:
            await self.sign_in.require_console()
            raise Refused(400, "no_token", "Enter your token: it begins with op_.", field="token")
        response = redirect(onward_path(form.get("next", "")))
        response.headers["Set-Cookie"] = cookie
        return response

    async def _sign_out(self, _form: Mapping[str, str]) -> Response:
        signed_in = await self.sign_in.admit(_scope())
        response = redirect("/console/sign-in")
        response.headers["Set-Cookie"] = await self.sign_in.sign_out(_scope(), signed_in)
        return response

    # ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _form(self) -> dict[str, str]:
        """Return the fields of the form. Raises `Refused` for a body that is too large, too slow, or no form."""
        if request.method != "POST":
            return {}
        try:
            return _first(await request.form)
        except HTTPException as error:
            status = error.code or 400
            code = error.name.lower().replace(" ", "_")
            raise Refused(status, code, "The form could not be read: it is too large, or did not come whole.") from None

    def _no_database(self) -> Refused:
        why = self.banner() or "The database did not answer."
        return Refused(503, "database_trouble", f"{why} Nothing was done. Try again in a moment.", retry_after=5)


async def _nothing_here(_asked: Asked) -> Answer:
    await trio.lowlevel.checkpoint()
    raise Refused(404, "not_found", "There is no such page in the console.")


def _scope() -> Scope:
    scope: Any = request.scope  # which the framework has as a mapping of its own
    return cast("Scope", scope)


def _first(values: MultiDict[str, str]) -> dict[str, str]:
    return {name: values[name] for name in values}
