"""The door of the phone's socket: who may ring, whom, and how many at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs
import structlog
import trio

from relay.agent import Agent
from relay.console.audit import Audit
from relay.console.phone.frames import TRY_LATER, PhoneFault, Ring
from relay.console.phone.page_link import PageGone, PageLink
from relay.console.phone.phone_call import PhoneAccount, PhoneCall
from relay.console.refused import Refused, send_refusal
from relay.console.sign_in import SignedIn, SignIn
from relay.errors import STORE_FAILURES
from relay.http.asgi import Head, Receive, Scope, Send
from relay.store.agent_registry import AgentRegistry

log = structlog.get_logger(__name__)

MOST_CALLS = 4
"""Phones that may ring at once: they take places from real callers."""

RING_SECONDS = 10.0
"""For the page to say what it wants."""

ONLY_LOCAL = (
    "The phone rings only where the relay runs with --local. Ring a real daemon from a terminal: relay call AGENT"
)
_NOT_RECORDED = "The database does not answer, so that this call could not be recorded. Try again."


@attrs.define(eq=False, kw_only=True)
class PhoneSocket:
    """Turn the sockets of signed-in pages into calls. Without an `account` there is no phone."""

    sign_in: SignIn
    audit: Audit
    agents: AgentRegistry
    account: PhoneAccount | None
    _calls: int = attrs.field(default=0, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket for as long as its call lasts. The gateway is the firewall for what is not foreseen here."""
        head = Head(scope)
        _ = head.headers  # which are dropped from the scope when the upgrade is accepted
        try:
            by = await self.sign_in.admit(scope, acting=True)
            agent = await self.agents.get(head.query.get("agent", ""))
        except Refused as refused:
            await send_refusal(scope, send, refused)
            return
        except STORE_FAILURES as error:
            log.warning("console_without_database", path=scope["path"], error=type(error).__name__)
            await send_refusal(scope, send, Refused(503, "database_trouble", "The database did not answer. Try again."))
            return
        if self.account is None:
            await send_refusal(scope, send, Refused(403, "only_local", ONLY_LOCAL))
            return
        await receive()  # websocket.connect, which says nothing
        await send({"type": "websocket.accept"})
        link = PageLink(receive, send)
        try:
            call = partial(
                PhoneCall, account=self.account, link=link, is_signed_in=partial(self.sign_in.is_signed_in, head)
            )
            await self._serve(by, agent, link, call)
        except PageGone:
            pass
        except PhoneFault as fault:
            log.info("phone_refused", operator=by.operator, why=fault.reason)
            await link.close(fault.code, fault.reason)

    async def _serve(
        self, by: SignedIn, agent: Agent | None, link: PageLink, make_call: Callable[..., PhoneCall]
    ) -> None:
        # A page cannot read why an upgrade was refused, so that what it shows is said on the socket.
        if agent is None:
            raise PhoneFault("There is no such agent. Reload the page to see those that there are.")
        if self._calls >= MOST_CALLS:
            raise PhoneFault(f"{MOST_CALLS} phones are in use already. Hang one up first.", TRY_LATER)
        self._calls += 1
        try:
            ring = await self._first(link)
            call = make_call(agent=agent)
            async with self.audit.recorded(by, "ring", agent_id=agent.agent_id, call_sid=call.call_sid):
                await call.run(aloud=ring.aloud)
        except STORE_FAILURES:
            raise PhoneFault(_NOT_RECORDED, TRY_LATER) from None
        finally:
            self._calls -= 1

    async def _first(self, link: PageLink) -> Ring:
        with trio.move_on_after(RING_SECONDS):
            frame = await link.next_frame()
            if not isinstance(frame, Ring):
                raise PhoneFault("The first frame must be ring. Reload the page.")
            return frame
        raise PhoneFault("The page did not ring in time. Try again.")
