"""What the terminal makes of the console's answers: states, sentences, and connections that come back."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import trio

from relay.cli.watching.call_tail import Entry
from relay.cli.watching.console_api import LIVE, ConsoleApi, call_path, console_api
from relay.cli.watching.entrance import Entrance
from relay.cli.watching.following import Wanted, follow
from relay.errors import RelayError
from tests.relay.cli.checks.small_server import Reply, small_server
from tests.relay.cli.watching.states import call, console, live, over, refusal, row, said, stream
from tests.sids import sid


class Told:
    """What was told, as a report."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.losses: list[str] = []

    def tell(self, entry: Entry) -> None:
        self.entries.append(entry)

    def lost(self, why: str) -> None:
        self.losses.append(why)

    @property
    def texts(self) -> list[str]:
        return [each.text for each in self.entries if each.kind in {"line", "ended"}]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal(401, "unauthorized", "This is no operator's token."), "answered 401: This is no operator's token."),
        (refusal(403, "host", "This host name is not the relay's."), "answered 403: This host"),
        (refusal(429, "too_many_failures", "Wait for a minute."), "answered 429: Wait for a minute."),
        (refusal(503, "too_many_streams", "All 50 streams are in use."), "answered 503: All 50 streams are in use."),
        (refusal(404, "not_found", "There is nothing here."), "relay operators add NAME"),
        (httpx2.Response(404, text="<html>"), "relay operators add NAME"),
        (httpx2.Response(500, text="oops"), "answered 500"),
    ],
)
async def test_what_is_refused_is_one_sentence(answer: httpx2.Response, words: str, autojump_clock: object) -> None:
    """Of what the daemon says itself, and printable."""
    for follows in (True, False):
        with pytest.raises(RelayError) as raised:
            async with console(lambda _request: answer) as api:
                await follow(api, Wanted(follows=follows), Told())
        assert words in str(raised.value)
        assert str(raised.value).isprintable()


async def test_what_acts_says_where_it_comes_from() -> None:
    """A page of the console, which a cookie needs; who only looks says nothing, as a browser does not."""
    origins = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        origins.append(request.headers.get("origin"))
        return httpx2.Response(200, json={"operator": "ada", "role": "act"})

    async with console(answer) as there:
        api = ConsoleApi(there.url, there.http, {"Origin": there.url})
        await api.me()
        await api.act(sid(), "hang-up", {})
    assert origins == [None, "http://relay.test"]


async def test_a_daemon_of_this_machine_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy leads elsewhere: that would not find it, and be shown the session."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    me = {"/console/api/me": Reply(200, b'{"operator": "ada", "role": "act"}')}
    async with small_server(me) as daemon, console_api(Entrance(daemon.url, {}, is_here=True)) as api:
        assert (await api.me()).operator == "ada"


async def test_nobody_there() -> None:
    """An address without a daemon is told at once, not tried for ever."""
    async with httpx2.AsyncClient(base_url="http://127.0.0.1:1") as http:
        with pytest.raises(RelayError, match="Nobody answers at http://127"):
            await follow(ConsoleApi("http://127.0.0.1:1", http), Wanted(), Told())


async def test_one_call_until_its_end_across_a_restart(autojump_clock: object) -> None:
    """A stream that breaks is opened anew, also after 503; nothing is told twice; the call ends it."""
    hello, there = said(1, "relay", "Hello."), said(2, "caller", "There?")
    answers = [
        stream([call(hello)]),
        refusal(503, "draining", "Starting."),
        stream([call(hello, there)]),
        httpx2.Response(200, json=over()),
    ]
    told, asked = Told(), []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        return answers.pop(0)

    async with console(answer) as api:
        await follow(api, Wanted(call=sid()), told)
    assert told.texts == ["Hello.", "There?", "completed"]
    assert len(told.losses) == 3
    assert set(asked) == {call_path(sid())}


async def test_a_call_that_has_no_session_now(autojump_clock: object) -> None:
    """It is asked for again until it has one, or is over, and ever more seldom."""
    away = httpx2.Response(200, json=over(ended="", ended_at=None))
    answers = [away] * 6 + [httpx2.Response(200, json=over())]
    told, began = Told(), trio.current_time()
    async with console(lambda _request: answers.pop(0)) as api:
        await follow(api, Wanted(call=sid()), told)
    assert (told.texts, told.losses) == (["completed"], [])
    assert trio.current_time() - began > (0.5 + 1 + 2 + 4 + 5 + 5) / 2


async def test_a_call_that_ends_as_it_is_opened(autojump_clock: object) -> None:
    """Its stream ends before its first state; then there is its record."""
    answers = [stream([]), httpx2.Response(200, json=over())]
    told = Told()
    async with console(lambda _request: answers.pop(0)) as api:
        await follow(api, Wanted(call=sid()), told)
    assert (told.texts, len(told.losses)) == (["completed"], 1)


async def test_all_calls_from_now_on(autojump_clock: object) -> None:
    """What was said before is not told; what changes is, of calls that come, too, and the end of those that leave."""
    first, second = row(1), row(2)
    states = [live(first), live(first, second), live(second), live(row(2, last_words="Bye."))]
    of_calls: dict[str, list[dict[str, Any]]] = {
        call_path(sid(1)): [call(said(1, "caller", "Old."), of=first), over(of=first)],
        call_path(sid(2)): [
            call(said(3, "caller", "New."), of=second),
            call(said(3, "caller", "New."), said(9, "caller", "Bye."), of=second),
        ],
    }

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path != LIVE:
            return httpx2.Response(200, json=of_calls[request.url.path].pop(0))
        if states:
            return stream([states.pop(0) for _ in range(len(states))])
        return refusal(401, "signed_out", "Sign in first.")

    told = Told()
    async with console(answer) as api:
        with pytest.raises(RelayError, match="Sign in first"):
            await follow(api, Wanted(), told)
    assert told.texts == ["New.", "completed", "Bye."]


async def test_a_call_that_is_gone_hides_no_other() -> None:
    """What is known of the others is told; of one that was asked for by itself it is said that nothing is."""
    gone = refusal(404, "unknown_call", "No call of this id is on record.")

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == LIVE:
            return httpx2.Response(200, json=live(row(1), row(2)))
        is_gone = request.url.path == call_path(sid(1))
        return gone if is_gone else httpx2.Response(200, json=call(said(1, "caller", "Me."), of=row(2)))

    told = Told()
    async with console(answer) as api:
        await follow(api, Wanted(follows=False), told)
        assert told.texts == ["Me."]
        with pytest.raises(RelayError, match="No call of this id"):
            await follow(api, Wanted(call=sid(1), follows=False), told)


@pytest.mark.parametrize("given", ["CA" + "0" * 30, "0" * 29])
async def test_the_beginning_of_a_sid(given: str) -> None:
    """It is enough where it tells the call apart, with or without CA; else those that fit are named."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        rows = [row(1), row(2, call_sid="CA" + "1" * 32)] if request.url.path == LIVE else []
        return httpx2.Response(200, json=live(*rows) if rows else call(said(1, "caller", "Me.")))

    told = Told()
    async with console(answer) as api:
        await follow(api, Wanted(call=given, follows=False), told)
        assert told.texts == ["Me."]
        with pytest.raises(RelayError, match="begins 2 ids"):
            await follow(api, Wanted(call="CA"), told)
        with pytest.raises(RelayError, match="There is no call"):
            await follow(api, Wanted(call="f"), told)
