"""One session with the relay, from handshake to loss: answers turns, fetches messages, checks the connection.

`attach` holds a brain at an agent's telephone through every loss of the connection, one session after the other.

How to stream an answer, for authors of other clients:

1. Declare the sampling capability (here: give the SDK a sampling callback) and shake hands in a revision that has
   requests from the server, 2025-11-25 or earlier (here: `mode="legacy"`).
2. A turn comes with a `progressToken` in `_meta`. Send each piece of the answer, a sentence say, the moment it is
   known, as `notifications/progress` with that token, `progress` counting 1, 2, 3 …, and the piece as `message`. The
   pieces are spoken as put together, so the space between two sentences belongs to one of them.
3. Return the whole answer as the result, pieces included. It is what counts if a piece was lost.
4. When the request is cancelled, stop: the rest is not spoken.
"""

from __future__ import annotations

import itertools
import math
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
import httpx2
import trio
from mcp import Client, MCPError
from mcp.client.session import ClientRequestContext, IncomingMessage
from mcp_types import (
    INTERNAL_ERROR,
    CreateMessageRequestParams,
    CreateMessageResult,
    ErrorData,
    Implementation,
    ProgressNotification,
    ProgressNotificationParams,
    TextContent,
)

from relay import __version__
from relay.attach.backoff import Ended, Pauses, repeat_with_pauses
from relay.attach.link import Link, Transport
from relay.attach.mailbox import Mailbox
from relay.attach.report import Report
from relay.attach.turn import Brain, BrainFailed, Turn
from relay.errors import RelayError

_ERROR_SAID = 500
"""Characters of a brain's error that go to the relay's log."""

PING_INTERVAL = 15.0
PING_TIMEOUT = 10.0
HANDSHAKE = 15.0

PAUSES = Pauses(first=0.5, most=15.0, steady=5.0)
"""Between attempts to connect. A relay that was restarted is back within a few seconds."""

OpenBrain = Callable[[Callable[[], None]], AbstractAsyncContextManager[Brain]]
"""Opens the brain; it gets a function that ends the program."""

# What the SDK raises when the relay cannot be reached or does not speak MCP; RuntimeError when its reader ended before
# the first event, as where the relay is being stopped.
_CONNECTION_ERRORS = (
    httpx2.HTTPError,
    httpx2.StreamError,
    MCPError,
    OSError,
    ValueError,
    RuntimeError,
    trio.TooSlowError,
)


class TokenRefused(RelayError):
    """The relay refuses the token: trying again would change nothing."""


@attrs.frozen(kw_only=True)
class Session:
    """How to run sessions: the brain, the report, and whether waiting messages are fetched."""

    brain: Brain
    report: Report
    fetches: bool = True
    ping_interval: float = PING_INTERVAL

    async def run(self, link: Link) -> None:
        """Connect and serve until the connection is lost, which raises `Ended`.

        Raises `TokenRefused`. Cancelling closes the connection; a turn in hand is then answered with an error.
        """
        why = "the relay ended the connection"
        try:
            await self._converse(link)
        except* _CONNECTION_ERRORS as group:
            why = "; ".join(dict.fromkeys(_reasons(group)))
        if link.error_status in {401, 403}:
            raise TokenRefused(
                f"The relay at {link.url} refused the token ({link.error_status}). Give the one that `relay agents "
                "add` or `relay agents rotate` printed."
            )
        # The SDK does not say which error it was over Streamable HTTP.
        raise Ended(why if link.error_status is None else f"the relay answered {link.error_status}")

    async def _converse(self, link: Link) -> None:
        mailbox = Mailbox(self.brain, self.report)

        async def note(message: IncomingMessage) -> None:
            mailbox.note(message)
            await trio.lowlevel.checkpoint()

        client = Client(
            link.streams(),
            mode="legacy",
            sampling_callback=self._sample,
            message_handler=note,
            client_info=Implementation(name="relay-attach", version=__version__),
        )
        with trio.fail_after(HANDSHAKE) as patience:
            async with client as connected, trio.open_nursery() as nursery:
                await connected.session.send_ping()  # its answer shows that the relay has handled the handshake
                await link.answered.wait()
                patience.deadline = math.inf
                if not link.lost.is_set():
                    self.report.tell("connected", url=link.url, transport=link.transport.value)
                    nursery.start_soon(self._keep_warm, connected, link)
                    if self.fetches:
                        nursery.start_soon(mailbox.empty, connected)
                await link.lost.wait()
                nursery.cancel_scope.cancel("the connection is lost")

    async def _keep_warm(self, client: Client, link: Link) -> None:
        """Ping the relay: after a failed POST the SDK may stay connected but unable to send, and only this shows it."""
        while True:
            await trio.sleep(self.ping_interval)
            with trio.move_on_after(PING_TIMEOUT) as patience:
                await client.session.send_ping()
            if patience.cancelled_caught:
                link.lost.set()

    # ── a turn ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _sample(
        self, context: ClientRequestContext, params: CreateMessageRequestParams
    ) -> CreateMessageResult | ErrorData:
        turn = Turn.of(params)
        which: dict[str, Any] = {"callSid": turn.call_sid, "turn": turn.number}
        self.report.tell("turn", **which, **{"from": turn.caller, "callerVerified": turn.verified, "text": turn.text})
        outcome: dict[str, Any] = {"event": "withdrawn"}
        try:
            text = await self.brain.answer(turn, _Voice(context).say)
            outcome = {"event": "answer", "text": text} if text.strip() else _refusal("it said nothing")
        except BrainFailed as failure:
            outcome = _refusal(str(failure))
        finally:
            # Not in an `except trio.Cancelled`, which would miss a brain that is cancelled inside a nursery of its own.
            self.report.tell(**which, **outcome)
        if outcome["event"] == "refused":
            return ErrorData(code=INTERNAL_ERROR, message=outcome["why"][:_ERROR_SAID])
        return CreateMessageResult(role="assistant", content=TextContent(text=text), model=self.brain.name)


def _refusal(why: str) -> dict[str, Any]:
    return {"event": "refused", "why": why}


@attrs.frozen
class _Voice:
    """Sends the pieces of one answer, numbered from 1."""

    _context: ClientRequestContext
    _numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1))

    async def say(self, piece: str) -> None:
        # A server that does not want pieces gives no token. All that was said is in the result anyway.
        token = (self._context.meta or {}).get("progress_token")
        if token is None or not piece:
            return
        progress = ProgressNotificationParams(progress_token=token, progress=next(self._numbers), message=piece)
        await self._context.session.send_notification(ProgressNotification(params=progress))


def _reasons(group: BaseExceptionGroup[BaseException]) -> Iterable[str]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _reasons(error)
        else:
            yield str(error) or type(error).__name__


async def stay_attached(session: Session, url: str, token: str, transport: Transport, pauses: Pauses = PAUSES) -> None:
    """Run one session after the other until cancelled. Raises `TokenRefused`."""

    async def once() -> None:
        await session.run(Link(url, token, transport))

    await repeat_with_pauses(once, pauses, lambda why, pause: session.report.tell("lost", why=why, pause=pause))


async def attach(
    open_brain: OpenBrain, report: Report, *, url: str, token: str, transport: Transport, fetches: bool
) -> None:
    """Answer the agent's calls until SIGINT or SIGTERM, or until the brain has had enough.

    Raises `RelayError` when the brain cannot be had, or the relay refuses the token.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def run_until_stopped() -> None:
                async for _signal in signals:
                    nursery.cancel_scope.cancel("told to stop")

            nursery.start_soon(run_until_stopped)
            async with open_brain(nursery.cancel_scope.cancel) as brain:
                session = Session(brain=brain, report=report, fetches=fetches)
                await stay_attached(session, url, token, transport)
