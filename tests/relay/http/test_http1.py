"""HTTP/1.1 as bytes: taken apart however it is cut, and refused where two could read it in two ways."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.http.http1 import Chunks, Length, MalformedRequestError, RequestHead, encode_head, find_head
from tests.http1_peer import CHUNKED, chunk, head

LONGEST = 1000


def read(data: bytes) -> RequestHead:
    found, rest = find_head(data, LONGEST)
    assert found is not None
    assert rest == b""
    return found


def refused(data: bytes) -> int:
    with pytest.raises(MalformedRequestError) as refusal:
        find_head(data, LONGEST)
    return refusal.value.status


# ── heads ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_head_is_taken_apart() -> None:
    """Names are in lower case, and values without the space around them."""
    found = read(b"GET /a%20b?c=d HTTP/1.1\r\nHost: relay\r\nX-Odd:\t \xffa b \r\nX-Empty:\r\n\r\n")
    assert (found.method, found.target, found.version) == ("GET", b"/a%20b?c=d", "1.1")
    assert found.headers == [(b"host", b"relay"), (b"x-odd", b"\xffa b"), (b"x-empty", b"")]
    assert (found.keeps_alive, found.upgrades, found.awaits_continue, found.body.left) == (True, False, False, 0)


@given(st.integers(1, 60))
def test_head_is_waited_for_and_what_is_behind_it_stays(cut: int) -> None:
    """Until its last byte is there it is none, and not a byte behind it is touched."""
    whole = head("POST", "/", "Content-Length: 3") + b"abc" + head("GET", "/next")
    cut = min(cut, whole.index(b"\r\n\r\n") + 3)
    assert find_head(whole[:cut], LONGEST) == (None, whole[:cut])
    found, rest = find_head(b"\r\n" + whole, LONGEST)
    assert found is not None
    assert found.body.take(rest) == (b"abc", head("GET", "/next"))
    assert found.body.left == 0


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: relay\n\n",
        b"GET / HTTP/1.1\r\nHost: relay\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: relay\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: relay\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: relay\r\nX: a\r\n  folded\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: relay\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : relay\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: relay\r\nContent-Length : 3\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: relay\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: relay\r\nX\0: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: relay\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: relay\r\n: no name\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: relay\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: relay\r\n\r\n",
        b"GET / http/1.1\r\nHost: relay\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"\x16\x03\x01\x02\x00" + bytes(600),
        b" GET / HTTP/1.1\r\n",
    ],
)
def test_what_is_no_head_is_refused(data: bytes) -> None:
    """Line ends without their CR, folded lines, spaces before a colon, NULs, two hosts, none: all 400, and at once."""
    assert refused(data) == 400


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["Content-Length: 3", "Content-Length: 30"], 400),
        (["Content-Length: 3", "Content-Length: 3"], 400),
        (["Content-Length: 3, 3"], 400),
        (["Content-Length: -1"], 400),
        (["Content-Length: +1"], 400),
        (["Content-Length: 1_0"], 400),
        (["Content-Length: 0x10"], 400),
        (["Content-Length: \xb2"], 400),
        (["Content-Length:"], 400),
        (["Content-Length: 9999999999999999"], 400),
        (["Content-Length: 3", CHUNKED], 400),
        ([CHUNKED, "Content-Length: 3"], 400),
        ([CHUNKED, CHUNKED], 400),
        (["Transfer-Encoding: chunked, chunked"], 400),
        (["Transfer-Encoding: gzip, chunked"], 501),
        (["Transfer-Encoding: identity"], 400),
        (["Transfer-Encoding: xchunked"], 400),
        (["Transfer-Encoding:"], 400),
    ],
)
def test_lengths_that_two_could_read_in_two_ways_are_refused(fields: list[str], status: int) -> None:
    """A request has one length, in digits, or chunks and nothing else."""
    lines = [b"POST / HTTP/1.1", b"Host: relay", *(each.encode("latin-1") for each in fields), b"", b""]
    assert refused(b"\r\n".join(lines)) == status


def test_chunks_of_an_old_version_are_refused() -> None:
    """HTTP/1.0 knows no chunks: who passed such a request on has read it otherwise."""
    assert refused(head("POST", "/", CHUNKED, version="1.0")) == 400


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"PRI * HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 505),
        (b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * LONGEST, 431),
        (b"G" * LONGEST, 431),
        (b"GET / HTTP/1.1\r\nHost: relay\r\nX: " + b"a" * LONGEST + b"\r\n\r\n", 431),
    ],
)
def test_what_is_not_spoken_is_refused(data: bytes, status: int) -> None:
    """Other versions, tunnels, and heads that are too long, complete or not."""
    assert refused(data) == status


@pytest.mark.parametrize(
    ("fields", "version", "keeps_alive"),
    [
        ((), "1.1", True),
        (("Connection: keep-alive",), "1.1", True),
        (("Connection: Keep-Alive, CLOSE",), "1.1", False),
        (("Connection: keep-alive", "Connection: close"), "1.1", False),
        (("Connection: enclosed",), "1.1", True),
        (("Connection: keep-alive",), "1.0", False),
    ],
)
def test_connection_says_whether_another_request_may_follow(
    fields: tuple[str, ...], version: str, *, keeps_alive: bool
) -> None:
    """As a list of tokens in any case; after HTTP/1.0 nothing follows."""
    assert read(head("GET", "/", *fields, version=version)).keeps_alive is keeps_alive


@pytest.mark.parametrize(
    ("method", "fields", "upgrades"),
    [
        ("GET", ("Connection: keep-alive, Upgrade", "Upgrade: WebSocket"), True),
        ("GET", ("Connection: Upgrade", "Upgrade: h2c"), False),
        ("GET", ("Connection: Upgrade", "Upgrade: websocket, h2c"), False),
        ("GET", ("Upgrade: websocket",), False),
        ("POST", ("Connection: Upgrade", "Upgrade: websocket"), False),
    ],
)
def test_upgrade_to_a_websocket_is_told_from_others(method: str, fields: tuple[str, ...], *, upgrades: bool) -> None:
    """Other upgrades are passed over: the request is one like any other, body and all."""
    assert read(head(method, "/", *fields)).upgrades is upgrades


# ── bodies ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6), st.lists(st.integers(1, 20), min_size=1), st.binary())
def test_chunks_may_be_cut_anywhere(pieces: list[bytes], cuts: list[int], behind: bytes) -> None:
    """The same body comes of them, and what is behind the last one stays."""
    data = b"".join(chunk(each) for each in pieces).replace(b"\r\n", b";ext=1\r\n", bool(pieces)) + b"0\r\nX: y\r\n\r\n"
    stream, body, buffer, taken = data + behind, Chunks(LONGEST), b"", b""
    at, turn = 0, 0
    while body.left:
        assert body.left == math.inf
        size = cuts[turn % len(cuts)]
        buffer += stream[at : at + size]
        at, turn = at + size, turn + 1
        piece, buffer = body.take(buffer)
        taken += piece
    assert (taken, buffer + stream[at:]) == (b"".join(pieces), behind)


@pytest.mark.parametrize(
    "data",
    [
        b"zz\r\n",
        b"\r\n",
        b"-1\r\n",
        b"0x3\r\nabc\r\n",
        b"f" * 21 + b"\r\n",
        b"3\nabc\n0\n\n\r\n",
        b"3 3\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3;a=\nb\r\n",
        b"3;" + b"a" * 2000,
        b"0\r\nno colon\r\n\r\n",
        b"0\r\nX : a\r\n\r\n",
        b"0\r\n\n",
        b"0\r\nX: a\n\n",
        b"0\r\nX: a\r\n b\r\n\r\n",
        b"3;a=\rb\r\nabc\r\n",
        b"0\r\n" + b"X: a\r\n" * 1000,
    ],
)
def test_what_is_no_chunk_is_refused(data: bytes) -> None:
    """Sizes that are none, data that is longer than its size, line ends without their CR, extensions without end."""
    with pytest.raises(MalformedRequestError):
        Chunks(LONGEST).take(data)


def test_length_ends_where_it_says() -> None:
    """What is behind a body of known length is not the body's."""
    body = Length(5)
    assert body.take(b"abc") == (b"abc", b"")
    assert body.left == 2
    assert body.take(b"defg") == (b"de", b"fg")
    assert body.left == 0


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_head_of_an_answer() -> None:
    """One line for the status and each header, and an empty one."""
    assert encode_head(202, [(b"content-length", b"0")]) == b"HTTP/1.1 202 \r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize("value", [b"a\r\nSet-Cookie: b", b"a\nb", b"a\rb", b"a\0b"])
def test_header_of_an_answer_is_one_line(value: bytes) -> None:
    """Nothing that an app puts into a header can become another one."""
    with pytest.raises(ValueError, match="line end"):
        encode_head(200, [(b"location", value)])
