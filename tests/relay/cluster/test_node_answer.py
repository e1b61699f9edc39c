"""The answers of nodes, taken apart: whole or in pieces they say the same, and what is none is none."""

from __future__ import annotations

import pytest

from relay.cluster.node_answer import LONGEST_HEAD, BrokenAnswerError, NodeAnswer, find_answer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n"

ANSWERS = {
    "a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello", b"hello"),
    "no bytes": (b"HTTP/1.1 202 \r\ncontent-length: 0\r\n\r\n", b""),
    "chunks": (CHUNKED + b"3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\n\r\n", b"hello"),
    "chunks with a trailer": (CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n", b"hello"),
    "no chunk": (CHUNKED + b"0\r\n\r\n", b""),
    "behind interim answers": (
        b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"hello",
    ),
    "not modified": (b"HTTP/1.1 304 \r\nContent-Length: 5\r\n\r\n", b""),
}


def read(data: bytes, at_once: int, method: str = "GET") -> tuple[NodeAnswer, bytes]:
    """Read an answer that comes in pieces of so many bytes; return it with its body, which must be whole."""
    answer, unread, body = None, b"", b""
    for begin in range(0, len(data), at_once):
        piece = data[begin : begin + at_once]
        if answer is not None:
            body += answer.take(piece)
            continue
        answer, unread = find_answer(unread + piece, method)
        if answer is not None:
            body = answer.take(unread)
    assert answer is not None
    assert not answer.left
    return answer, body


@pytest.mark.parametrize(("data", "body"), ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize("at_once", [1, 2, 7, 1000])
def test_an_answer_in_pieces_of_any_size(data: bytes, body: bytes, at_once: int) -> None:
    """It has its status, its headers without those of the connection, and its body."""
    answer, got = read(data, at_once)
    assert got == body
    assert answer.keeps_alive
    assert not {name for name, _ in answer.headers} & {b"transfer-encoding", b"connection"}


def test_the_answer_to_head_has_no_body() -> None:
    """Whatever length it tells."""
    answer, body = read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 1000, "HEAD")
    assert body == b""
    assert (b"content-length", b"5") in answer.headers


def test_an_answer_that_ends_with_its_connection() -> None:
    """It says neither a length nor chunks; nothing follows it."""
    answer, rest = find_answer(b"HTTP/1.1 200 OK\r\n\r\nhello", "GET")
    assert answer is not None
    assert answer.ends_with_connection
    assert answer.take(rest) == b"hello"
    assert answer.left


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nConnection: Close\r\n", b"HTTP/1.0 200 OK\r\n"])
def test_a_connection_that_is_not_kept(head: bytes) -> None:
    """By the word of the node, or by its version."""
    answer, _ = find_answer(head + b"Content-Length: 0\r\n\r\n", "GET")
    assert answer is not None
    assert not answer.keeps_alive


BROKEN = {
    "more than its length": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello",
    "more than its chunks": CHUNKED + b"0\r\n\r\nHTTP/1.1 200 OK\r\n",
    "a size that is no number": CHUNKED + b"zz\r\n",
    "no HTTP": b"220 mail.example.com ESMTP\r\n\r\n",
    "another version": b"HTTP/2.0 200 OK\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\nX: " + b"y" * LONGEST_HEAD,
}


@pytest.mark.parametrize("at_once", [1000, 100_000])
@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_answer(data: bytes, at_once: int) -> None:
    """It is broken, as soon as that is seen."""
    with pytest.raises(BrokenAnswerError):
        read(data, at_once)
