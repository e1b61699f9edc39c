"""Audio over HTTP: what the carrier's fetcher gets, by ranges, by conditions, and when it is over."""

from __future__ import annotations

import wave
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import attrs
import httpx2
import pytest
import trio
from quart_trio import QuartTrio
from structlog.testing import capture_logs

from relay.http.listener import ListenerOptions, serve
from relay.http.pages import build_app
from relay.speech.audio_files import AudioFiles, AudioOptions
from relay.speech.engines.port import audio_of
from relay.twilio.audio_webhook import PIECE_BYTES, AudioPages, loggable
from relay.twilio.urls import CarrierUrls
from tests.limits import HANGING
from tests.relay.http.asgi_driver import ask

# Two pieces and a bit, no two neighbouring bytes the same.
AUDIO = audio_of(bytes(range(250)) * (2 * PIECE_BYTES // 250 + 40))
SIZE = len(AUDIO.wav)


@attrs.define
class Served:
    """A page with one message on it, under a clock that can be turned."""

    directory: Path
    seconds: float = 1_800_000_000.25
    store: AudioFiles = attrs.field(init=False)
    app: QuartTrio = attrs.field(init=False)
    path: str = ""

    def __attrs_post_init__(self) -> None:
        self.store = AudioFiles(AudioOptions(directory=self.directory, ttl=600), lambda: self.seconds)
        self.app = build_app([AudioPages(self.store).blueprint()], loggable)


@pytest.fixture
async def served(tmp_path: Path) -> Served:
    """Return the page."""
    page = Served(tmp_path / "audio")
    page.path = CarrierUrls("").audio(await page.store.put(AUDIO))
    return page


async def test_the_audio_is_given_as_what_it_is(served: Served) -> None:
    """Type, length, how long it may be kept and by whom, and the bytes, which a player can decode."""
    answer = await ask(served.app, "GET", served.path)
    assert (answer.status, answer.body) == (200, AUDIO.wav)
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["content-length"] == str(SIZE)
    assert answer.headers["cache-control"] == "private, max-age=600"
    assert answer.headers["x-robots-tag"] == "noindex"
    assert answer.headers["accept-ranges"] == "bytes"
    with wave.open(BytesIO(answer.body)) as decoded:
        assert decoded.getnframes() / decoded.getframerate() == AUDIO.seconds


def test_the_address_is_ours() -> None:
    """It is made of the public origin and the name."""
    assert CarrierUrls("https://voice.example.com").audio("abc") == "https://voice.example.com/audio/abc.wav"


async def test_what_is_left_of_its_time_is_reported(served: Served) -> None:
    """A cache keeps it no longer than we do."""
    served.seconds += 599.5
    assert (await ask(served.app, "GET", served.path)).headers["cache-control"] == "private, max-age=0"


async def test_expired_audio_is_as_if_it_had_never_been(served: Served) -> None:
    """Expired, unknown and impossible names get the same answer, and nothing about them is logged."""
    served.seconds += 600
    with capture_logs() as logs:
        answers = [
            await ask(served.app, "GET", path)
            for path in (served.path, "/audio/" + "A" * 43 + ".wav", "/audio/..%2f..%2fx.wav", "/audio/x.wav")
        ]
    assert {answer.status for answer in answers} == {404}
    assert {answer.json()["error"]["code"] for answer in answers} == {"not_found"}
    assert logs == []


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=100-", 100, SIZE - 1),
        ("bytes=-100", SIZE - 100, SIZE - 1),
        (f"bytes=0-{SIZE - 2}", 0, SIZE - 2),
        (f"bytes=5-{SIZE * 2}", 5, SIZE - 1),
        (f"bytes={PIECE_BYTES - 1}-{2 * PIECE_BYTES}", PIECE_BYTES - 1, 2 * PIECE_BYTES),
    ],
)
async def test_a_range_is_given(served: Served, asked: str, first: int, last: int) -> None:
    """One range, from either end, is a 206 with just these bytes."""
    answer = await ask(served.app, "GET", served.path, headers={"range": asked})
    assert (answer.status, answer.body) == (206, AUDIO.wav[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["content-length"] == str(last + 1 - first)
    assert answer.headers["content-type"] == "audio/wav"


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=99999999-"])
async def test_a_range_beyond_the_end_is_a_416(served: Served, asked: str) -> None:
    """The answer says how long the audio is."""
    answer = await ask(served.app, "GET", served.path, headers={"range": asked})
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{SIZE}")
    assert answer.json()["error"]["code"] == "requested_range_not_satisfiable"


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,5-6", "bytes=5-2", "bytes=abc", "bytes", "lines=1-2", "", f"bytes=0-{SIZE - 1}", f"bytes=-{SIZE + 9}"],
)
async def test_other_ranges_get_the_whole(served: Served, asked: str) -> None:
    """Several ranges, what is none, and what is all of it are answered with everything."""
    answer = await ask(served.app, "GET", served.path, headers={"range": asked})
    assert (answer.status, answer.body) == (200, AUDIO.wav)
    assert "content-range" not in answer.headers


async def test_who_has_it_gets_an_error(served: Served) -> None:
    """The tag of an earlier answer gets a 304 without a body, another one the whole."""
    tag = (await ask(served.app, "GET", served.path)).headers["etag"]
    same = await ask(served.app, "GET", served.path, headers={"if-none-match": f'"other", {tag}'})
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", tag)
    assert same.headers["content-length"] == str(SIZE)
    assert (await ask(served.app, "GET", served.path, headers={"if-none-match": '"other"'})).status == 200


async def test_a_range_of_something_else_gets_the_whole(served: Served) -> None:
    """Whoever goes on with a download goes on only if it is the same audio."""
    tag = (await ask(served.app, "GET", served.path)).headers["etag"]
    for condition, status in ((tag, 206), ('"other"', 200)):
        given = {"range": "bytes=0-9", "if-range": condition}
        assert (await ask(served.app, "GET", served.path, headers=given)).status == status


async def test_two_messages_with_the_same_audio_have_different_tags(served: Served) -> None:
    """The tag belongs to the address: it tells nobody that two people got the same message."""
    other = CarrierUrls("").audio(await served.store.put(AUDIO))
    tags = {(await ask(served.app, "GET", path)).headers["etag"] for path in (served.path, other)}
    assert len(tags) == 2


async def test_a_head_reads_nothing(served: Served) -> None:
    """It has the headers of the whole, whatever range it names, and no body."""
    answer = await ask(served.app, "HEAD", served.path, headers={"range": "bytes=0-9"})
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", str(SIZE))


async def test_only_reading_is_allowed(served: Served) -> None:
    """Any other method is refused, and named methods are offered."""
    answer = await ask(served.app, "DELETE", served.path)
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]


async def test_over_a_real_connection(served: Served) -> None:
    """GET, HEAD, a range and a condition over one connection of HTTP/1.1, in this order and twice."""
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            start = partial(serve, served.app, ListenerOptions(grace=0), host="127.0.0.1", port=0, stop=trio.Event())
            host, port = await nursery.start(start)
            async with httpx2.AsyncClient(base_url=f"http://{host}:{port}") as client:
                for _ in range(2):
                    whole = await client.get(served.path)
                    assert (whole.status_code, whole.content) == (200, AUDIO.wav)
                    head = await client.head(served.path, headers={"range": "bytes=0-9"})
                    assert (head.status_code, head.content) == (200, b"")
                    assert (head.headers["content-length"], head.headers["etag"]) == (str(SIZE), whole.headers["etag"])
                    part = await client.get(served.path, headers={"range": "bytes=10-19"})
                    assert (part.status_code, part.content) == (206, AUDIO.wav[10:20])
                    same = await client.get(served.path, headers={"if-none-match": whole.headers["etag"]})
                    assert (same.status_code, same.content) == (304, b"")
                    gone = await client.head("/audio/x.wav")
                    assert (gone.status_code, gone.content) == (404, b"")
            nursery.cancel_scope.cancel()


async def test_a_reader_may_stop_in_the_middle(served: Served) -> None:
    """One who is there for the first piece only leaves the page, and its file, to the others."""
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            start = partial(serve, served.app, ListenerOptions(grace=0), host="127.0.0.1", port=0, stop=trio.Event())
            host, port = await nursery.start(start)
            stream = await trio.open_tcp_stream(host, port)
            await stream.send_all(f"GET {served.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 200")
            await stream.aclose()
            async with httpx2.AsyncClient() as client:
                assert (await client.get(f"http://{host}:{port}{served.path}")).content == AUDIO.wav
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_deleted", [False, True], ids=["expired", "deleted"])
async def test_what_becomes_of_audio_while_it_is_read(served: Served, is_deleted: bool) -> None:
    """It is read to its end when it expires; when its file is gone the answer breaks off, and no name is logged."""
    sent: list[bytes] = []
    name = served.path.removeprefix("/audio/").removesuffix(".wav")

    async def receive() -> Any:
        await trio.sleep_forever()

    async def send(message: Any) -> None:
        await served.store.expire(name)
        if is_deleted:
            for each in served.directory.iterdir():
                each.unlink()
        sent.append(message.get("body", b""))

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": served.path, "raw_path": served.path.encode(), "query_string": b"", "root_path": "", "headers": [],
        "client": ("192.0.2.1", 4711), "server": ("127.0.0.1", 8080), "state": {},
    }  # fmt: skip
    with capture_logs() as logs, trio.fail_after(HANGING):
        await served.app(scope, receive, send)  # type: ignore[arg-type]
    assert max(map(len, sent)) <= PIECE_BYTES
    assert b"".join(sent) == (b"" if is_deleted else AUDIO.wav)
    assert [each["event"] for each in logs] == (["audio_not_sent"] if is_deleted else [])
    assert name not in str(logs)
