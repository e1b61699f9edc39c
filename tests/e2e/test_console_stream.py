"""The console's streams and its JSON, over real sockets: what they show, to whom, and how they end."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from relay.simulator.load.local_daemon import LocalDaemon
from relay.store.operators import Operators
from tests.e2e.browser import OperatorAccess, register_operator
from tests.e2e.console_streams import Event, program, reading, signed_in
from tests.e2e.parties import Access, ask, calling, connected, database_of

LIVE = "/console/api/live"


def of(event: Event, agent: Access) -> list[dict[str, Any]]:
    return [each for each in event.json()["calls"] if each["agentId"] == agent.agent_id]


async def test_calls_come_and_go(daemon: LocalDaemon, agent: Access, operator: OperatorAccess) -> None:
    """Three calls appear, oldest first, with who answers them, and leave when they end."""
    async with (
        program(daemon, operator) as http,
        connected(agent),
        reading(http, f"{LIVE}?agent={agent.agent_id}") as live,
    ):
        assert of(await live.named("state"), agent) == []
        async with AsyncExitStack() as calls:
            numbers = [f"+1555011122{digit}" for digit in range(3)]
            for number in numbers:
                call = await calls.enter_async_context(calling(daemon, agent, caller=number))
                await call.connected()
            await live.until(lambda event: [each["from"] for each in of(event, agent)] == numbers)
            await ask(call, "Is it raining?")
            answered = await live.until(lambda event: of(event, agent)[2]["firstWordMs"] is not None)
            row = of(answered, agent)[2]
            assert (row["callSid"], row["by"], row["direction"]) == (call.call_sid, "client", "inbound")
            assert answered.data.isascii()
        await live.until(lambda event: of(event, agent) == [])


async def test_one_call_is_followed(daemon: LocalDaemon, agent: Access, operator: OperatorAccess) -> None:
    """Partial words grow, an answer has its times, a cut one says what was heard, and the end is there."""
    async with program(daemon, operator) as http, connected(agent), calling(daemon, agent) as call:
        await call.connected()
        async with reading(http, f"/console/api/calls/{call.call_sid}") as stream:
            assert (await stream.named("state")).json()["live"] is True
            await call.say("Is it", last=False)
            partial = await stream.until(lambda event: [each for each in event.json()["lines"] if each["partial"]])
            assert partial.json()["lines"][-1]["text"] == "Is it"
            await ask(call, "Is it raining?")
            heard = await stream.until(lambda event: [each for each in event.json()["turns"] if each["last"]])
            (turn,) = heard.json()["turns"]
            assert turn["arrived"] <= turn["stored"] <= turn["asked"] <= turn["first"] <= turn["out"] <= turn["last"]
            lines = heard.json()["lines"]
            assert [(each["speaker"], each["text"]) for each in lines[-2:]] == [
                ("caller", "Is it raining?"),
                ("agent", "You said: Is it raining?"),
            ]
            assert lines[-1]["firstWordMs"] is not None
            assert "The caller said" in heard.json()["decisions"][0]["text"]
            await call.hang_up()
            over = (await stream.until(lambda event: not event.json()["live"])).json()
            assert (over["outcome"], len(over["turns"])) == ("completed", 1)
        kept = (await http.get(f"/console/api/calls/{call.call_sid}")).json()
        assert (kept["live"], kept["outcome"], kept["lines"], len(kept["turns"])) == (False, "completed", None, 1)


async def test_a_stream_begins_with_what_its_reader_does_not_have(
    daemon: LocalDaemon, agent: Access, operator: OperatorAccess
) -> None:
    """A new reader gets the whole page; one that comes back with the newest state gets what comes after it."""
    path = f"/console/stream?view=live&agent={agent.agent_id}"
    async with signed_in(daemon, operator) as http, reading(http, path) as first:
        whole = await first.until(lambda event: event.data)
        assert whole.name == ""
        for part in ("facts", "calls", "banners"):
            assert f'hx-target="#{part}"' in whole.data
        async with reading(http, path, last="rubbish") as stranger:
            assert 'hx-target="#calls"' in (await stranger.until(lambda event: event.data)).data
        async with connected(agent), calling(daemon, agent) as call:
            await call.connected()
            newer = await first.until(lambda event: call.call_sid in event.data)
            async with reading(http, path, last=newer.number) as back:
                await call.say("Hello.")
                assert 'hx-target="#banners"' not in (await back.until(lambda event: event.data)).data


async def test_no_fragment_carries_htmx(daemon: LocalDaemon, agent: Access, operator: OperatorAccess) -> None:
    """What callers say is text in what is streamed, and nothing in it acts."""
    words = '<script>alert(1)</script><img src=x onerror=alert(1)><b hx-get="/console">\r\u2028data: x'
    async with signed_in(daemon, operator) as http, connected(agent), calling(daemon, agent) as call:
        await call.connected()
        async with reading(http, f"/console/stream?view=call&call={call.call_sid}") as stream:
            await ask(call, words)
            shown = await stream.until(lambda event: "alert" in event.data)
            assert "&lt;script&gt;" in shown.data
            assert "<script" not in shown.data
            assert "<img" not in shown.data
            assert "<b hx" not in shown.data
        document = await http.get(f"/console/api/calls/{call.call_sid}")
        assert document.content.isascii()


async def test_the_oldest_of_five_is_paused(daemon: LocalDaemon, operator: OperatorAccess) -> None:
    """A browser has six connections for all its tabs, so a session has four streams."""
    async with signed_in(daemon, operator) as http, AsyncExitStack() as tabs:
        streams = [
            await tabs.enter_async_context(reading(http, f"/console/stream?view=live&q={number}"))
            for number in range(5)
        ]
        await streams[0].named("pause")
        assert await streams[0].next() is None
        for each in streams[1:]:
            assert (await each.until(lambda event: event.data)).name == ""


async def test_who_is_signed_out_reads_no_more(daemon: LocalDaemon, operator: OperatorAccess) -> None:
    """The streams of a session, and those of a token, end soon after it does."""
    other = await register_operator(daemon)
    async with (
        signed_in(daemon, operator) as http,
        program(daemon, other) as by_token,
        reading(http, "/console/stream?view=live") as tab,
        reading(by_token, LIVE) as terminal,
    ):
        await tab.next()
        await terminal.named("state")
        await http.post("/console/sign-out")
        assert (await tab.named("bye")).data == "signed_out"
        async with database_of(daemon) as database:
            await Operators(database).rotate(other.name)
        assert (await terminal.named("bye")).data == "signed_out"
        assert (await by_token.get(LIVE)).status_code == 401


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/console/stream", 400, "unknown_view"),
        ("/console/stream?view=%2e%2e%2fetc", 400, "unknown_view"),
        ("/console/stream?view=live&q=" + "x" * 10_000, 400, "filter_too_long"),
        ("/console/stream?view=live&page=-1", 400, "no_page"),
        ("/console/stream?view=call&call=CAnobody", 404, "not_live"),
        ("/console/stream?view=call&call=" + "A" * 10_000, 404, "unknown_call"),
        ("/console/stream?view=call&call=..%2f..%2fetc", 404, "unknown_call"),
        (LIVE + "?q=" + "x" * 10_000, 400, "filter_too_long"),
        ("/console/api/calls/CAnobody", 404, "unknown_call"),
    ],
)
async def test_what_cannot_be_shown(
    daemon: LocalDaemon, operator: OperatorAccess, path: str, status: int, code: str
) -> None:
    """An unknown view, a filter that is none, a call that is none: a refusal with a code and a sentence."""
    async with program(daemon, operator) as http:
        answer = await http.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


async def test_without_a_session_nothing_is_shown(daemon: LocalDaemon, agent: Access, operator: OperatorAccess) -> None:
    """Neither a stream nor a document, and not for a client's token."""
    del operator
    for path in ("/console/stream?view=live", LIVE, "/console/api/calls/CA1"):
        for token in ("", agent.token):
            async with program(daemon, OperatorAccess("nobody", token)) as http:
                http.headers.update({} if token else {"authorization": ""})
                assert (await http.get(path)).status_code in {401, 429}, path


async def test_there_are_fifty_streams(daemon: LocalDaemon, operator: OperatorAccess) -> None:
    """The next one is asked to come back later, and may when one has left."""
    async with program(daemon, operator) as http, AsyncExitStack() as stack:
        while True:
            stream = await stack.enter_async_context(reading(http, LIVE))
            if stream.response.status_code != 200:
                break
        assert (stream.response.status_code, stream.response.headers["retry-after"]) == (503, "5")
        await stack.aclose()
    async with program(daemon, operator) as http:
        while True:
            async with reading(http, LIVE) as stream:
                if stream.response.status_code == 200:
                    break
            await trio.sleep(0.05)
