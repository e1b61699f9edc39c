"""The whole of `relay attach`: a brain, held at an agent's telephone through every loss of the connection."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio

from relay.attach.backoff import Pauses, keep_doing
from relay.attach.client_session import Session
from relay.attach.link import Link, Transport
from relay.attach.report import Report
from relay.attach.turn import Brain

PAUSES = Pauses(first=0.5, most=15.0, steady=5.0)
"""Between attempts to connect. A relay that was restarted is back within a few seconds."""

OpenBrain = Callable[[Callable[[], None]], AbstractAsyncContextManager[Brain]]
"""Opens the brain; it gets a function with which to end it all."""


async def stay_attached(session: Session, url: str, token: str, transport: Transport, pauses: Pauses = PAUSES) -> None:
    """Hold one session after the other, for ever. Raises `TokenRefused`; cancelling ends the session."""

    async def once() -> None:
        await session.run(Link(url, token, transport))

    await keep_doing(once, pauses, lambda why, pause: session.report.tell("lost", why=why, pause=pause))


async def attach(
    open_brain: OpenBrain, report: Report, *, url: str, token: str, transport: Transport, fetches: bool
) -> None:
    """Answer the agent's calls until SIGINT or SIGTERM, or until the brain has had enough.

    Raises `RelayError` when the brain cannot be had, or the relay refuses the token.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def until_told_to_stop() -> None:
                async for _signal in signals:
                    nursery.cancel_scope.cancel("told to stop")

            nursery.start_soon(until_told_to_stop)
            async with open_brain(nursery.cancel_scope.cancel) as brain:
                session = Session(brain=brain, report=report, fetches=fetches)
                await stay_attached(session, url, token, transport)
