"""The phone's socket at a whole daemon: a program with an operator's token, which no page would be."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import attrs
import httpx2
import pytest
import trio

from relay.simulator.carrier.websocket import WebSocket, WebSocketClosed, WebSocketRefused, open_websocket
from relay.simulator.load.local_daemon import LocalDaemon
from relay.store.operators import Role
from tests.e2e.browser import OperatorAccess, register_operator
from tests.e2e.conftest import ALLOWED_ORIGIN
from tests.e2e.parties import Access, connected, eventually


@attrs.define(eq=False)
class Phone:
    """The page's end of the socket."""

    socket: WebSocket

    async def send(self, kind: str, **fields: object) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """Read on up to a frame of this kind."""
        frames = [json.loads(await self.socket.receive())]
        while frames[-1]["type"] != kind:
            frames.append(json.loads(await self.socket.receive()))
        return frames

    async def answer(self) -> str:
        """Return the next answer whole."""
        text, is_complete = "", False
        while not is_complete or not text.strip():
            *_, token = await self.until("token")
            text += token["text"]
            is_complete = token["last"]
        return text.strip()

    async def closed(self) -> WebSocketClosed:
        """Read on until the daemon closes the socket."""
        while True:
            try:
                await self.socket.receive()
            except WebSocketClosed as closed:
                return closed


@asynccontextmanager
async def phone(daemon: LocalDaemon, operator: OperatorAccess, agent_id: str, **headers: str) -> AsyncIterator[Phone]:
    """Open the phone's socket, with the operator's token unless there are other headers."""
    named = headers or {"authorization": f"Bearer {operator.token}"}
    url = daemon.url.replace("http", "ws", 1) + f"/console/phone?agent={quote(agent_id)}"
    with trio.fail_after(60):
        async with open_websocket(url, headers=list(named.items())) as socket:
            yield Phone(socket)


async def test_a_typed_call(daemon: LocalDaemon, operator: OperatorAccess, agent: Access) -> None:
    """The page rings, hears the greeting, talks and interrupts, and hangs up; the operator's call is on record."""
    async with connected(agent) as client, phone(daemon, operator, agent.agent_id) as page:
        await page.send("ring")
        call_sid = (await page.until("ringing"))[-1]["callSid"]
        *_, greeted = await page.until("connected")
        assert greeted["greeting"] == "Hello, how can I help you today?"
        await page.send("say", text="Which day is it?")
        *_, cut = await page.until("cut")
        assert greeted["greeting"].startswith(cut["heard"])
        assert await page.answer() == "You said: Which day is it?"
        await page.until("heard")
        await page.send("press", key="5")
        assert await page.answer() == "You said: 5"
        await page.send("hang_up")
        *_, ended = await page.until("ended")
        assert ended["why"] == "You hung up."
        assert (await page.closed()).code == 1000
        calls = (await client.tool("comms_list_calls", agentId=agent.agent_id))["calls"]
    assert [each["direction"] for each in calls] == ["inbound"]
    assert f"{operator.name}" in (log := await daemon.command("operators", "log"))
    assert "ring" in log
    # The webhooks and the upgrade that a carrier signs, and none that was refused.
    logged = {each["event"] for each in await daemon.events() if each.get("call_sid") == call_sid}
    assert logged == {"call_admitted", "session_over", "call_ended", "call_status", "operator_action"}
    refused = [*await daemon.events("webhook_refused"), *await daemon.events("voice_socket_refused")]
    assert not [each for each in refused if agent.agent_id in str(each)]


async def test_a_call_that_the_page_speaks(daemon: LocalDaemon, operator: OperatorAccess, agent: Access) -> None:
    """Where the page speaks aloud, its reports say what the caller has heard; the next turn's history has that only."""
    async with connected(agent) as client, phone(daemon, operator, agent.agent_id) as page:
        await page.send("ring", aloud=True)
        *_, greeted = await page.until("connected")
        await page.send("speaking", on=True)
        await page.send("played", text=greeted["greeting"])
        await page.send("speaking", on=False)
        await page.until("heard")
        await page.send("say", text="First. Second. Third.")
        await page.answer()
        await page.send("speaking", on=True)
        await page.send("played", text="You said: First. ")
        await page.send("interrupt", heard="You said: First. Second. ")
        *_, cut = await page.until("cut")
        assert cut["heard"] == "You said: First. Second."
        await page.send("say", text="Go on.")
        await client.asked.receive()
        turn = await client.asked.receive()
        assert ("assistant", "You said: First. Second.") in [(role, text.strip()) for role, text in turn.history]


@pytest.mark.parametrize(
    ("frames", "end"),
    [
        (['{"type":"say","text":"Hi"}'], (1008, "first frame must be ring")),
        (['{"type":"dance"}'], (1008, "does not know this frame")),
        (["no JSON"], (1008, "does not know this frame")),
        (['{"type":"ring","as":"root"}'], (1008, "does not know this frame")),
        ([b"\x00\x01"], (1008, "binary")),
        (["RING", '{"type":"ring"}'], (1008, "has its call")),
        (["RING", '{"type":"press","key":"12"}'], (1008, "does not know this frame")),
        (["RING", '{"type":"say","text":"' + "a" * 2001 + '"}'], (1008, "does not know this frame")),
        (["RING", '{"type":"say","text":"\\ud800"}'], (1008, "does not know this frame")),
        (["RING", '{"type":"say","text":"' + "a" * 66_000 + '"}'], (1009, "")),
        (["RING", *['{"type":"interrupt"}'] * 1000], (1008, "frames in a second")),
    ],
)
async def test_what_no_page_sends_ends_the_call(
    daemon: LocalDaemon, operator: OperatorAccess, agent: Access, frames: list[str | bytes], end: tuple[int, str]
) -> None:
    """The socket is closed with a reason, and the call that it had is hung up."""
    async with connected(agent) as client:
        async with phone(daemon, operator, agent.agent_id) as page:
            for frame in frames:
                try:
                    if frame == "RING":
                        await page.send("ring")
                        await page.until("connected")
                    else:
                        await page.socket.send(frame)
                except WebSocketClosed:
                    break
            closed = await page.closed()
        assert closed.code == end[0]
        assert end[1] in closed.reason
        await eventually(lambda: is_over(client, agent))


async def is_over(client: Any, agent: Access) -> bool:
    calls = (await client.tool("comms_list_calls", agentId=agent.agent_id))["calls"]
    return all(each["state"] == "ended" for each in calls)


async def test_closing_the_page_hangs_up(daemon: LocalDaemon, operator: OperatorAccess, agent: Access) -> None:
    """A tab that is gone leaves no call behind."""
    async with connected(agent) as client:
        async with phone(daemon, operator, agent.agent_id) as page:
            await page.send("ring")
            await page.until("connected")
            await page.socket.break_off()
        await eventually(lambda: is_over(client, agent))


async def test_the_relay_hangs_up(daemon: LocalDaemon, operator: OperatorAccess, agent: Access) -> None:
    """The page is told who ended the call."""
    async with connected(agent) as client, phone(daemon, operator, agent.agent_id) as page:
        await page.send("ring")
        call_sid = (await page.until("ringing"))[-1]["callSid"]
        await page.until("connected")
        await client.tool("comms_end_call", agentId=agent.agent_id, callSid=call_sid)
        *_, ended = await page.until("ended")
    assert ended["why"] == "The relay hung up."


async def test_four_at_once(daemon: LocalDaemon, operator: OperatorAccess, agent: Access) -> None:
    """The fifth gets the reason, and so does one for an agent that is not there."""
    async with phone(daemon, operator, "nobody-here") as page:
        assert "no such agent" in str(await page.closed())
    async with (
        connected(agent),
        phone(daemon, operator, agent.agent_id),
        phone(daemon, operator, agent.agent_id),
        phone(daemon, operator, agent.agent_id),
        phone(daemon, operator, agent.agent_id) as fourth,
        phone(daemon, operator, agent.agent_id) as fifth,
    ):
        assert "in use already" in str(await fifth.closed())
        await fourth.send("ring")
        await fourth.until("connected")


async def test_who_may_not_ring(daemon: LocalDaemon, agent: Access) -> None:
    """Without a session, with a client's token, as one who may only look: no socket."""
    reader = await register_operator(daemon, Role.READ)
    for headers in (
        {"x-nothing": "1"},
        {"authorization": f"Bearer {agent.token}"},
        {"authorization": f"Bearer {reader.token}"},
    ):
        with pytest.raises(WebSocketRefused):
            async with phone(daemon, reader, agent.agent_id, **headers):
                pass


async def test_a_page_of_another_site_does_not_ring(daemon: LocalDaemon, operator: OperatorAccess) -> None:
    """A browser sends the cookie along, and whose page it is: any other than the console's own gets no socket."""
    async with httpx2.AsyncClient(base_url=daemon.url) as http:
        page = {"origin": daemon.url, "sec-fetch-site": "same-origin"}
        await http.post("/console/sign-in", data={"token": operator.token}, headers=page)
        cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
    for own in (page, {"origin": daemon.url}):
        async with phone(daemon, operator, "nobody-here", cookie=cookie, **own) as admitted:
            assert "no such agent" in str(await admitted.closed())
    for foreign in (
        {"origin": "https://elsewhere.example"},
        {"origin": ALLOWED_ORIGIN},
        {"origin": "null"},
        {"origin": daemon.url.replace("127.0.0.1", "localhost")},
        {"origin": "https://elsewhere.example", "sec-fetch-site": "same-origin"},
        {"origin": daemon.url, "sec-fetch-site": "same-site"},
        {},
    ):
        with pytest.raises(WebSocketRefused, match=r"wrong_origin|cross_site"):
            async with phone(daemon, operator, "nobody-here", cookie=cookie, **foreign):
                pass


async def test_an_operator_who_is_removed_loses_the_call(daemon: LocalDaemon, agent: Access) -> None:
    """The call ends within seconds, in whichever process the operator was removed."""
    leaving = await register_operator(daemon)
    async with connected(agent), phone(daemon, leaving, agent.agent_id) as page:
        await page.send("ring")
        await page.until("connected")
        await daemon.command("operators", "remove", leaving.name)
        *_, ended = await page.until("ended")
    assert "signed out" in ended["why"]
