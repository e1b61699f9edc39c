"""The raw ASGI handler of the voice socket: who may connect, to which call, and nothing else.

    upgrade ──signature?──▶ accept ──first frame: setup?──▶ account? ticket? ──▶ Calls.connect (the whole session)
       │ 403                              │ 1008                │ 1008

A ticket that is unknown here may be of an earlier run of the daemon, or of another process: `redeem_kept` looks it up.

Raw ASGI and not a Quart handler, because Quart tells a handler of a hang-up only by cancelling it, and closes with
"normal" after a crash. The signature of an upgrade can be replayed and names no call: so a socket becomes a call only
by a one-use ticket that was put into this very call's TwiML.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import structlog
import trio

from actors.call_values import CallInfo
from actors.calls import Calls
from actors.errors import CallRefused
from actors.events import CallerGone, FrameUnknown, PhoneEvent
from actors.ports import PhoneLine
from relay.http.asgi import Head, Receive, Scope, Send, refuse_upgrade
from relay.logs import report
from relay.twilio.frames import Setup
from relay.twilio.phone_line import AsgiPhoneLine
from relay.twilio.signatures import SignatureChecker

log = structlog.get_logger(__name__)

# The carrier sends its setup right behind the upgrade; after ten seconds the network is lost, or the peer is not the
# carrier.
SETUP_SECONDS = 10.0

_POLICY_VIOLATION = 1008
_INTERNAL_ERROR = 1011
_NORMAL = 1000


def _not_noted(_door: str, _code: str) -> None:
    pass


class _Refused(Exception):
    """A socket does not become a call; the text is the reason in one word."""


@attrs.frozen(kw_only=True)
class VoiceSocket:
    """Turn signed, ticketed upgrades into calls. `account_sid` None takes the carrier's word for the account.

    `lines` holds what is accepted and not over. `note_refusal` gets the door and a code of each socket that becomes no
    call, but those that the signature's checker notes.
    """

    checker: SignatureChecker
    calls: Calls
    account_sid: str | None = None
    redeem_kept: Callable[[str, str, str], Awaitable[CallInfo | None]] | None = None
    lines: set[PhoneLine] = attrs.field(factory=set)
    note_refusal: Callable[[str, str], None] = _not_noted

    async def __call__(self, agent_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one upgrade for as long as its call lasts. Lets nothing out but a cancellation."""
        if not self.checker.check_upgrade(scope):
            log.warning("voice_socket_refused", agent_id=agent_id, why="signature")
            await refuse_upgrade(scope, send, 403)
            return
        line, hop = AsgiPhoneLine(receive, send), Head(scope).hop  # whose headers are gone once it is accepted
        self.lines.add(line)
        try:
            await receive()  # websocket.connect, which says nothing
            await send({"type": "websocket.accept"})
            await self._run(agent_id, line, hop)
        except* Exception as group:  # noqa: BLE001 - the firewall: whatever it was, it stays this connection's
            report("voice_socket_failed", group, agent_id=agent_id)
            await line.close(_INTERNAL_ERROR)
        finally:
            self.lines.discard(line)

    async def _run(self, agent_id: str, line: AsgiPhoneLine, hop: str) -> None:
        try:
            info = await self._identify(agent_id, line)
        except _Refused as refusal:
            log.warning("voice_socket_refused", agent_id=agent_id, why=str(refusal))
            self.note_refusal("ticket", str(refusal))
            await line.close(_POLICY_VIOLATION)
            return
        except CallRefused as refusal:
            log.warning("call_refused", agent_id=agent_id, code=refusal.code)
            await line.close(_POLICY_VIOLATION)
            return
        try:
            await self.calls.connect(info, line, hop=hop)
        except CallRefused as refusal:
            log.warning("call_refused", call_sid=info.call_sid, agent_id=info.agent_id, code=refusal.code)
            self.note_refusal("ticket", refusal.code)
            await line.close(_POLICY_VIOLATION)
            return
        await line.close(_NORMAL)

    async def _identify(self, agent_id: str, line: AsgiPhoneLine) -> CallInfo:
        first: Setup | PhoneEvent | None = None
        with trio.move_on_after(SETUP_SECONDS):
            first = await line.receive_setup()
            while isinstance(first, FrameUnknown):  # whatever the carrier has added since, the setup follows
                first = await line.receive_setup()
        match first:
            case Setup() as setup:
                pass
            case None:
                raise _Refused("setup_late")
            case CallerGone():
                raise _Refused("gone_before_setup")
            case _:
                raise _Refused("setup_missing")
        if self.account_sid is not None and setup.account_sid != self.account_sid:
            raise _Refused("account")
        ticket = setup.custom_parameters.get("ticket", "")
        info = self.calls.redeem(agent_id, setup.call_sid, ticket)
        if info is None and self.redeem_kept is not None:
            info = await self.redeem_kept(agent_id, setup.call_sid, ticket)
        if info is None:
            raise _Refused("ticket")
        return info
