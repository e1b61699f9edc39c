"""A call of the phone's page at a relay that checks what comes to its doors with the carrier's own library."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs
import trio
from trio.testing import MockClock

from relay.agent import Agent
from relay.console.phone.page_link import PageLink
from relay.console.phone.phone_call import LONGEST_SECONDS, PhoneAccount, PhoneCall
from relay.http.asgi import Message
from tests.relay.simulator.scripted_relay import ACCOUNT, TOKEN, ScriptedRelay, scripted


@attrs.define(eq=False)
class Page:
    """The page's end of its socket, in memory."""

    _frames: trio.MemorySendChannel[str]
    _told: trio.MemoryReceiveChannel[dict[str, Any]]

    async def send(self, kind: str, **fields: object) -> None:
        await self._frames.send(json.dumps({"type": kind, **fields}))

    async def until(self, kind: str) -> dict[str, Any]:
        """Return the next frame of this kind; "close" is the end of the socket."""
        while (frame := await self._told.receive())["type"] != kind:
            pass
        return frame

    async def hear(self) -> str:
        """Return the next whole answer."""
        text = ""
        while not (frame := await self.until("token"))["last"]:
            text += frame["text"]
        return text + str(frame["text"])


@asynccontextmanager
async def ringing(relay: ScriptedRelay) -> AsyncIterator[Page]:
    """Ring agent `a` from a page, for the length of the block."""
    send_frame, frames = trio.open_memory_channel[str](100)
    tell, told = trio.open_memory_channel[dict[str, Any]](math.inf)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.receive", "text": await frames.receive()}

    async def send(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        tell.send_nowait(json.loads(message["text"]) if "text" in message else {**message, "type": "close"})

    async def is_signed_in() -> bool:
        await trio.lowlevel.checkpoint()
        return True

    call = PhoneCall(
        account=PhoneAccount(account_sid=ACCOUNT, auth_token=TOKEN, origin=relay.origin),
        agent=Agent(agent_id="a", created_at=datetime(2026, 1, 2, tzinfo=UTC)),
        link=PageLink(receive, send),
        is_signed_in=is_signed_in,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(call.run, aloud=False))
        page = Page(send_frame, told)
        await page.until("connected")
        yield page


async def test_it_comes_by_the_carriers_doors() -> None:
    """The carrier's library accepts the signatures of all its webhooks and of the upgrade."""
    async with scripted() as (relay, _carrier), ringing(relay) as page:
        await page.send("say", text="Which day is it?")
        assert await page.hear() == "You said: Which day is it?"
        await page.send("hang_up")
        assert (await page.until("ended"))["why"] == "You hung up."
    assert [(each.path, each.signed) for each in relay.posted] == [
        ("/webhooks/a/voice", True),
        ("/ended", True),
        ("/webhooks/a/call-status", True),
    ]
    assert relay.upgrades_signed == [True]


async def test_it_lasts_thirty_minutes_at_most(mock_clock: MockClock) -> None:
    """Until then it goes on; then it is hung up as by the caller, the relay is told, and the page says why."""
    mock_clock.rate = 1.0
    async with scripted(within=2 * LONGEST_SECONDS) as (relay, _carrier), ringing(relay) as page:
        mock_clock.jump(LONGEST_SECONDS - 60)
        await page.send("say", text="Still there?")
        assert await page.hear() == "You said: Still there?"
        mock_clock.jump(60)
        assert (await page.until("ended"))["why"] == "A call from this page lasts 30 minutes at most."
        assert (await page.until("close"))["code"] == 1000
    assert [each["CallStatus"] for each in relay.fields_of("/webhooks/a/call-status")] == ["completed"]
