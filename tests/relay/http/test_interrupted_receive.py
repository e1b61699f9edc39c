"""A handler may stop waiting for a message at any time: a call's alarm does so whenever a deadline comes."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import trio

from relay.http.listener import ListenerOptions, serve
from relay.simulator.carrier.websocket import open_websocket
from tests.limits import HANGING

MESSAGES = [f"message {number} {'x' * (number % 7) * 300}" for number in range(300)]


async def test_no_message_is_lost_and_none_comes_twice() -> None:
    """Each receive is cancelled after no time or a very short one, while messages come in a stream."""
    received: list[str] = []
    interruptions = 0
    patience = itertools.cycle((0, 1e-5, 1e-4, 1e-3))

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        nonlocal interruptions
        await receive()
        await send({"type": "websocket.accept"})
        while len(received) < len(MESSAGES):
            with trio.move_on_after(next(patience)) as waiting:
                received.append((await receive())["text"])
            interruptions += waiting.cancelled_caught
            await trio.lowlevel.checkpoint()
        await send({"type": "websocket.close", "code": 1000})

    stop = trio.Event()
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            run = partial(serve, app, ListenerOptions(), host="127.0.0.1", port=0, stop=stop)
            host, port = await nursery.start(run)
            async with open_websocket(f"ws://{host}:{port}/") as caller:
                for message in MESSAGES:
                    await caller.send(message)
                    await trio.lowlevel.checkpoint()
            stop.set()
    assert received == MESSAGES
    assert interruptions
