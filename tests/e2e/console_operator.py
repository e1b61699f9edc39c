"""An operator in front of the console, without a browser: the forms of a call's page, as a browser sends them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import httpx2

from relay.store.operator_actions import OperatorActions
from relay.store.operators import Role
from tests.e2e.browser import OperatorAccess, register_operator
from tests.e2e.parties import Daemon, database_of, own_url

OF_OURS = {"sec-fetch-site": "same-origin"}


@attrs.frozen
class ConsoleOperator:
    """Who is signed in."""

    access: OperatorAccess
    http: httpx2.AsyncClient
    daemon: Daemon

    @property
    def name(self) -> str:
        """The operator's name."""
        return self.access.name

    async def act(self, call_sid: str, action: str, *, key: str = "", **form: str) -> httpx2.Response:
        """Send a form of a call's page; with a key of its own unless one is given."""
        form = {"key": key or secrets.token_hex(8)} | form
        headers = OF_OURS | {"hx-request": "true"}
        return await self.http.post(f"/console/calls/{call_sid}/{action}", data=form, headers=headers)

    async def recorded(self, call_sid: str) -> list[tuple[str, str, str]]:
        """Return the audit of a call, oldest first: who did what, and how it went."""
        return await recorded(self.daemon, call_sid)


async def recorded(daemon: Daemon, call_sid: str) -> list[tuple[str, str, str]]:
    """Return the audit of a call, oldest first: who did what, and how it went."""
    async with database_of(daemon) as database:
        actions = await OperatorActions(database).list(call_sid=call_sid)
    return [(each.action.operator, each.action.name, each.outcome) for each in reversed(actions)]


@asynccontextmanager
async def signed_in(daemon: Daemon, role: Role = Role.ACT) -> AsyncIterator[ConsoleOperator]:
    """Register an operator and sign in where the calls are, for the length of the block."""
    access = await register_operator(daemon, role)
    async with httpx2.AsyncClient(base_url=own_url(daemon)) as http:
        answer = await http.post("/console/sign-in", data={"token": access.token}, headers=OF_OURS)
        assert answer.status_code == 303, answer.text
        yield ConsoleOperator(access, http, daemon)
