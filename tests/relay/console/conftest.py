"""A console in memory: the real door, pages and database, behind the web framework, asked as a browser asks."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import attrs
import pytest
import trio

from actors.calls import Calls
from relay.call_listeners import CallListeners
from relay.console.answers import Answer, Asked, Fragment, Nothing, Page, Route, Section
from relay.console.board import Board
from relay.console.failures import Failures
from relay.console.first_words import FirstWords
from relay.console.live import LivePage
from relay.console.pages import ConsolePages
from relay.console.rendering import Renderer
from relay.console.sign_in import SignIn
from relay.http.asgi import AsgiApp
from relay.http.pages import build_app
from relay.http.rebinding_guard import RebindingGuard
from relay.store.agent_registry import AgentRegistry
from relay.store.backlog import Backlogs
from relay.store.console_sessions import ConsoleSessions
from relay.store.database import Database
from relay.store.operators import Operators, Role
from relay.store.waiting_messages import WaitingMessages
from tests.fakes_store import WallClock
from tests.relay.http import asgi_driver
from tests.relay.mcp.mcp_relay import no_calls

URL = "http://127.0.0.1:8080"
OF_OURS = {"sec-fetch-site": "same-origin"}
"""What a browser says of a request that a page of the console makes."""


@attrs.define(eq=False)
class Console:
    """The console, and a browser in front of it that has at most one cookie. `done` are the acting requests served."""

    app: AsgiApp
    sign_in: SignIn
    operators: Operators
    sessions: ConsoleSessions
    agents: AgentRegistry
    done: list[str] = attrs.field(factory=list)
    cookie: str = ""

    async def add(self, name: str = "ada", role: Role = Role.ACT) -> str:
        """Register an operator and return its token."""
        return (await self.operators.add(name, role))[1]

    async def signed_in(self, name: str = "ada", role: Role = Role.ACT) -> None:
        """Register an operator and sign in."""
        answer = await self.post("/console/sign-in", {"token": await self.add(name, role)})
        assert answer.status == 303, answer.body
        self.keep(answer)

    def keep(self, answer: asgi_driver.Answer) -> None:
        """Keep the cookie of an answer, as a browser does."""
        self.cookie = answer.headers["set-cookie"].partition(";")[0]

    async def get(self, path: str, **headers: str) -> asgi_driver.Answer:
        """Ask for a page; underscores in header names become dashes, and an empty header is left out."""
        return await asgi_driver.ask(self.app, "GET", path, headers=self._headers(headers))

    async def post(self, path: str, form: Mapping[str, str] | bytes, **headers: str) -> asgi_driver.Answer:
        """Post a form as a page of the console does."""
        kind = {"content-type": "application/x-www-form-urlencoded"}
        body = form if isinstance(form, bytes) else urlencode(form, errors="surrogatepass").encode()
        return await asgi_driver.ask(
            self.app, "POST", path, headers={**kind, **self._headers(headers, **OF_OURS)}, body=body
        )

    def _headers(self, given: Mapping[str, str], **usual: str) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in given.items()}
        headers = {"host": "127.0.0.1:8080", "cookie": self.cookie} | usual | named
        return {name: value for name, value in headers.items() if value}


@attrs.define(eq=False)
class Probe:
    """Routes of every kind, as the pages of the console have them."""

    done: list[str]

    def routes(self) -> list[Route]:
        return [
            Route(rule="/messages", function=self.show),
            Route(rule="/calls/<call_sid>/hang-up", function=self.hang_up, method="POST"),
            Route(rule="/api/calls/<call_sid>", function=self.show),
        ]

    async def show(self, asked: Asked) -> Answer:
        return Page(
            template="refused.html",
            title="Messages",
            section=Section.MESSAGES,
            values={"status": 200, "message": asked.query.get("q", ""), "field": ""},
        )

    async def hang_up(self, asked: Asked) -> Answer:
        self.done.append(f"{asked.by.operator} {asked.arguments['call_sid']} {asked.form.get('say', '')}")
        if asked.is_part:
            return Fragment(template="refused_part.html", values={"message": "Done.", "status": 200, "onward": ""})
        return Nothing()


@pytest.fixture
def console(database: Database, clock: WallClock) -> Console:
    return make_console(database, clock)


def make_console(
    database: Database, clock: WallClock, *, public_url: str = URL, url: str = URL, is_local: bool = False
) -> Console:
    """Return a console of a daemon at `url`."""
    operators, sessions = Operators(database, clock), ConsoleSessions(database, clock)
    sign_in = SignIn(
        operators=operators,
        sessions=sessions,
        agents=AgentRegistry(database, clock),
        guard=RebindingGuard(public_url, allowed_origins=["https://inspector.example"]),
        url=url,
        public_url=public_url,
        is_local=is_local,
        failures=Failures(now=lambda: clock().timestamp()),
    )
    calls: Calls = no_calls()
    done: list[str] = []
    board = Board(
        calls=calls,
        backlogs=Backlogs(database, clock),
        first_words=FirstWords(),
        renderer=Renderer(),
        clients=lambda: 0,
        watching=CallListeners().watching,
        webhook=f"{URL}/webhooks/AGENT/voice",
    )
    pages = ConsolePages(
        sign_in=sign_in,
        renderer=board.renderer,
        routes=[*LivePage(board=board, agents=no_agents).routes(), *Probe(done).routes()],
        waiting=WaitingMessages(database, clock).count_all,
        banner=lambda: None,
    )
    app = build_app([pages.blueprint()])
    return Console(app, sign_in, operators, sessions, sign_in.agents, done)


async def no_agents() -> list[str]:
    await trio.lowlevel.checkpoint()
    return []
