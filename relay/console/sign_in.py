"""Who is let in to the console: by the cookie of a session, or with an operator's token as a program.

    Host header ours? ─▶ Bearer token, or cookie ─▶ a POST, a socket: from a page of ours? may it act? ─▶ SignedIn
          │                       │                                  │
        421, 403         401, 429: sign in                          403

A cookie alone would let any web page act for an operator who is signed in, so whatever changes something must come from
a page of ours: the browser says so in `Sec-Fetch-Site`; over plain HTTP it says nothing there, and names the page's
origin. A program that sends a token has no cookie that could be misused, and is not asked.

`SameSite=Strict` keeps the cookie back when a link in a chat is followed. Such a navigation gets a page that loads
itself again: then it comes from a page of ours, cookie and all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import attrs
from werkzeug.http import parse_cookie

from relay.console.failures import Failures
from relay.console.refused import Refused
from relay.console.words import ONLY_LOOKS
from relay.errors import OperatorError
from relay.http.asgi import Head, Scope
from relay.http.connection import KNOWN_PEER
from relay.http.rebinding_guard import RebindingGuard
from relay.store.agent_registry import AgentRegistry
from relay.store.console_sessions import LONGEST, ConsoleSession, ConsoleSessions
from relay.store.operators import TOKEN_PREFIX, Operators, Role

# Longer than any token, so that what is sent instead of one is not even hashed.
_LONGEST_TOKEN = 200
_SAFE = frozenset({"GET", "HEAD"})

NOT_SIGNED_IN = "not_signed_in"
_SIGN_IN = "Sign in first, at /console/sign-in; or send an operator's token: 'Authorization: Bearer op_…'."
_TOO_MANY = "Too many wrong tokens were sent. Wait for a minute, then try again."
_WRONG = (
    "This token is not known. An operator's begins with op_; a lost one is replaced with: relay operators rotate NAME"
)
_CLIENTS = "This is a client's token, which answers calls. Make an operator's with: relay operators add NAME --role act"
_OLD_LINK = "This link was used, or is older than a minute. Print another one with: relay console"


@attrs.frozen(kw_only=True)
class SignedIn:
    """Who asks. `key` tells sessions apart, and is no secret; `session` is None for a program with a token."""

    operator: str
    role: Role
    key: str = attrs.field(repr=False)
    session: ConsoleSession | None = None

    @property
    def acts(self) -> bool:
        """Whether this operator may do more than look."""
        return self.role is Role.ACT

    def require_act(self) -> None:
        """Raise `Refused` unless this operator may do more than look."""
        if not self.acts:
            message = f"{ONLY_LOOKS} Who has the role act can do this."
            raise Refused(403, "role_read", message)


@attrs.frozen(eq=False, kw_only=True)
class SignIn:
    """The door of the console. `url` is what the daemon listens at, `public_url` where it is reached from outside."""

    operators: Operators
    sessions: ConsoleSessions
    agents: AgentRegistry
    guard: RebindingGuard
    url: str
    public_url: str
    is_local: bool = False
    failures: Failures = attrs.field(factory=Failures)
    # Gets the code of each request that is refused for what it sends, not for what it lacks.
    note_refusal: Callable[[str], None] = lambda _code: None

    async def admit(self, scope: Scope, *, acting: bool = False) -> SignedIn:
        """Return who asks. `acting` is for what the role `read` may not do.

        For a request and for the upgrade to a socket. Raises `Refused`, or `DatabaseError`.
        """
        head = Head(scope)
        self.check_host(head)
        signed_in = await self._who_asks(head, _address(scope))
        if signed_in is None:
            await self.require_console()
            raise Refused(401, NOT_SIGNED_IN, _SIGN_IN, reloads=scope["type"] == "http" and _is_led_here(head))
        if signed_in.session is not None:
            if scope["type"] == "websocket" or head.method not in _SAFE:
                self.require_own_page(head)
            await self.sessions.note_seen(signed_in.session)
        if acting:
            self._require_act(signed_in)
        scope.get("extensions", {}).get(KNOWN_PEER, _ignore)()
        return signed_in

    def _require_act(self, signed_in: SignedIn) -> None:
        try:
            signed_in.require_act()
        except Refused as refused:
            self.note_refusal(refused.code)
            raise

    async def is_signed_in(self, head: Head) -> bool:
        """Return whether who was let in with a request still would be. Raises `DatabaseError`."""
        if head.bearer is not None:
            return await self.operators.by_token(head.bearer) is not None
        cookie = parse_cookie(head.headers.get("cookie", "")).get(self._cookie(head)[0], "")
        return await self.sessions.find(cookie) is not None

    def check_host(self, head: Head) -> None:
        """Raise `Refused` for a name that is not ours, or a page that may not use the relay."""
        if (refusal := self.guard.refusal(head)) is not None:
            raise Refused(refusal.status, refusal.code, refusal.message)

    async def require_console(self) -> None:
        """Raise `Refused` where there is no operator, and so no console. Raises `DatabaseError`."""
        if not await self.operators.exist():
            hint = "The console has no operator yet. Add one with: relay operators add NAME --role act"
            raise Refused(404, "no_operator", hint if self.is_local else "")

    def require_own_page(self, head: Head) -> None:
        """Raise `Refused` unless a browser says that a page of ours sends this."""
        site = head.headers.get("sec-fetch-site")
        if site is not None and site != "same-origin":
            self.note_refusal("cross_site")
            raise Refused(403, "cross_site", "Only the console's own pages may do this. Open the console, do it there.")
        if site is None and not self._is_ours(head.headers.get("origin", ""), head.headers.get("host", "")):
            self.note_refusal("wrong_origin")
            raise Refused(403, "wrong_origin", "This was not sent by a page of the console. Open it, and do it there.")

    def _is_ours(self, origin: str, host: str) -> bool:
        # A proxy may have changed the scheme, and even the Host.
        return bool(origin) and (origin.partition("://")[2] == host or origin == _origin(self.public_url))

    async def _who_asks(self, head: Head, address: str) -> SignedIn | None:
        if head.bearer is not None:
            operator = await self.operators.by_token(head.bearer) if len(head.bearer) <= _LONGEST_TOKEN else None
            if operator is None:
                raise await self._wrong_token(head.bearer, address)
            return SignedIn(operator=operator.name, role=operator.role, key=f"token:{operator.name}")
        cookie = parse_cookie(head.headers.get("cookie", "")).get(self._cookie(head)[0], "")
        session = await self.sessions.find(cookie) if 0 < len(cookie) <= _LONGEST_TOKEN else None
        if session is None:
            return None
        return SignedIn(operator=session.operator, role=session.role, key=session.key, session=session)

    # ── in and out ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def with_token(self, scope: Scope, token: str) -> str:
        """Begin a session with a token; return the value of `Set-Cookie`.

        Raises `Refused`, `DatabaseError`, or `StoreFailed`.
        """
        operator = await self.operators.by_token(token) if len(token) <= _LONGEST_TOKEN else None
        if operator is None:
            raise await self._wrong_token(token, _address(scope))
        try:
            return self._set_cookie(Head(scope), await self.sessions.open(operator.name))
        except OperatorError:  # removed meanwhile
            raise await self._wrong_token(token, _address(scope)) from None

    async def with_link(self, scope: Scope, link: str) -> str:
        """Begin a session with a link, which is used up; return the value of `Set-Cookie`. Raises as `with_token`."""
        cookie = await self.sessions.use_link(link) if len(link) <= _LONGEST_TOKEN else None
        if cookie is None:
            await self.require_console()
            raise self._failed(_address(scope), _OLD_LINK)
        return self._set_cookie(Head(scope), cookie)

    async def named_by_link(self, scope: Scope, link: str) -> str:
        """Return whom a link would sign in. Raises `Refused` or `DatabaseError`."""
        operator = await self.sessions.find_link(link) if len(link) <= _LONGEST_TOKEN else None
        if operator is None:
            await self.require_console()
            raise self._failed(_address(scope), _OLD_LINK)
        return operator

    async def sign_out(self, scope: Scope, signed_in: SignedIn) -> str:
        """End a session; return the value of `Set-Cookie` that takes its cookie away. Raises `StoreFailed`."""
        if signed_in.session is not None:
            await self.sessions.close(signed_in.session)
        return self._set_cookie(Head(scope), "", seconds=0)

    async def _wrong_token(self, token: str, address: str) -> Refused:
        await self.require_console()
        is_clients = (
            not token.startswith(TOKEN_PREFIX)
            and len(token) <= _LONGEST_TOKEN
            and await self.agents.by_token(token) is not None
        )
        return self._failed(address, _CLIENTS if is_clients else _WRONG)

    def _failed(self, address: str, message: str) -> Refused:
        wait = self.failures.note(address)
        self.note_refusal("unauthorized" if wait is None else "too_many_failures")
        if wait is not None:
            return Refused(429, "too_many_failures", _TOO_MANY, retry_after=wait)
        return Refused(401, "unauthorized", message)

    def _cookie(self, head: Head) -> tuple[str, bool]:
        """Return the cookie's name, and whether it goes over HTTPS only.

        Cookies know no ports: two daemons on one host would overwrite each other's, so the port is in the name. On this
        machine itself a daemon with a public address is reached over plain HTTP.
        """
        public = urlsplit(self.public_url)
        if public.scheme == "https" and urlsplit(f"//{head.headers.get('host', '')}").hostname == public.hostname:
            return "__Host-relay-console", True
        return cookie_on_this_machine(self.url), False

    def _set_cookie(self, head: Head, value: str, *, seconds: int = int(LONGEST.total_seconds())) -> str:
        name, is_secure = self._cookie(head)
        where = "Path=/; Secure" if is_secure else "Path=/console"
        return f"{name}={value}; {where}; Max-Age={seconds}; HttpOnly; SameSite=Strict"


def cookie_on_this_machine(url: str) -> str:
    """Return the name of the cookie of the daemon that listens at `url`, where it is asked there."""
    return f"relay-console-{urlsplit(url).port}"


def _is_led_here(head: Head) -> bool:
    """Return whether a link on another site was followed, so that the browser may have kept the cookie back."""
    from_elsewhere = head.headers.get("sec-fetch-site") in {"cross-site", "same-site"}
    return head.method == "GET" and from_elsewhere and head.headers.get("sec-fetch-mode") == "navigate"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _address(scope: Scope) -> str:
    client: Any = scope.get("client")
    return str(client[0]) if client else ""


def _ignore() -> None:
    """Do nothing: other servers than ours have no such extension."""
