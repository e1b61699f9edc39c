"""What a stranger, or a broken peer, may throw at the port: raw inputs, and malformed frames, as data.

A `HostileInput` is a name and a few steps on one TCP connection. `throw` performs them against any server and hands the
connection back, still open, so that a test can look at the server's other connections while the attacker is there and
again when it has left. `MALFORMED_FRAMES` are messages for a WebSocket that speaks the carrier's protocol.

The frames and requests are spelled out byte by byte (RFC 6455, 9112 and 9113) instead of being made by a library,
because the libraries refuse to make most of them.
"""

from __future__ import annotations

import json
import socket
import struct
import zlib
from collections.abc import Iterator

import attrs
import trio

TEXT, BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


# ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen
class Send:
    """Send these bytes in one go."""

    data: bytes


@attrs.frozen
class Request:
    """Send a request whose path is the target's: `start` holds `%s` for it, `rest` is everything after that line."""

    start: bytes = b"GET %s HTTP/1.1"
    rest: bytes = b"Host: relay\r\n\r\n"


@attrs.frozen
class Upgrade:
    """Send the upgrade request for the target's path; `headers` replace or add, `trailing` comes with it."""

    headers: dict[bytes, bytes | None] = attrs.field(factory=dict)
    trailing: bytes = b""
    start: bytes = b"GET %s HTTP/1.1"


@attrs.frozen
class AwaitAnswer:
    """Read until the head of an answer is complete, or the server hangs up."""


@attrs.frozen
class HalfClose:
    """Send FIN and go on reading."""


@attrs.frozen
class Reset:
    """Close with RST."""


Step = Send | Request | Upgrade | AwaitAnswer | HalfClose | Reset


@attrs.frozen
class HostileInput:
    """One attack, by name."""

    name: str
    steps: tuple[Step, ...]


async def throw(
    hostile: HostileInput, host: str, port: int, *, path: str = "/", headers: dict[bytes, bytes] | None = None
) -> trio.SocketStream:
    """Perform the steps against a server and return the connection, which the caller closes.

    `headers` go into upgrade requests, for a server that wants a signature first. A server that hangs up in the middle
    ends the attack early; that is no error.
    """
    stream = await trio.open_tcp_stream(host, port)
    try:
        for step in hostile.steps:
            await _perform(step, stream, path.encode(), headers or {})
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # hanging up on such a peer is a fine answer
    except BaseException:
        stream.socket.close()
        raise
    return stream


async def _perform(step: Step, stream: trio.SocketStream, path: bytes, headers: dict[bytes, bytes]) -> None:
    match step:
        case Send(data):
            await stream.send_all(data)
        case Request(start, rest):
            await stream.send_all(start.replace(b"%s", path) + b"\r\n" + rest)
        case Upgrade():
            await stream.send_all(upgrade_request(path, step, headers))
        case AwaitAnswer():
            seen = b""
            while b"\r\n\r\n" not in seen:
                chunk = await stream.receive_some()
                if not chunk:
                    break
                seen += bytes(chunk)
        case HalfClose():
            await stream.send_eof()
        case Reset():
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await trio.aclose_forcefully(stream)


def upgrade_request(path: bytes, step: Upgrade, headers: dict[bytes, bytes]) -> bytes:
    """Spell out an upgrade request (RFC 6455, 4.1) with the step's changes."""
    fields: dict[bytes, bytes | None] = {
        b"Host": b"relay",
        b"Connection": b"Upgrade",
        b"Upgrade": b"websocket",
        b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version": b"13",
        **headers,
        **step.headers,
    }
    lines = [name + b": " + value for name, value in fields.items() if value is not None]
    return b"\r\n".join([step.start.replace(b"%s", path), *lines, b"", b""]) + step.trailing


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    length: int | None = None,
) -> bytes:
    """Spell out a WebSocket frame (RFC 6455, 5.2), masked with zeros so that its payload stays readable.

    `length` overrides what the frame says of its payload; `reserved` are the three RSV bits as a number.
    """
    told = len(payload) if length is None else length
    mask = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    if told < 126:
        head += bytes([mask | told])
    elif told < 1 << 16:
        head += bytes([mask | 126]) + told.to_bytes(2, "big")
    else:
        head += bytes([mask | 127]) + told.to_bytes(8, "big")
    return head + (b"\0\0\0\0" if masked else b"") + payload


def _http2_frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + payload


def _http2_get(stream_id: int, path: bytes) -> bytes:
    # HPACK: :method GET, :scheme http, :path and :authority as literals without indexing (RFC 7541, 6.1 and 6.2.2).
    block = b"\x82\x86\x04" + bytes([len(path)]) + path + b"\x01\x05relay"
    return _http2_frame(0x1, 0x5, stream_id, block)


def _deflated(payload: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


# ── raw inputs ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _with_upgrade(*data: bytes, deflate: bool = False) -> tuple[Step, ...]:
    headers: dict[bytes, bytes | None] = {b"Sec-WebSocket-Extensions": b"permessage-deflate"} if deflate else {}
    return (Upgrade(headers), AwaitAnswer(), *(Send(each) for each in data))


_HTTP2_SETTINGS = _http2_frame(0x4, 0, 0, b"")
_MEGABYTE = b"x" * (1 << 20)

RAW_INPUTS: tuple[HostileInput, ...] = tuple(
    HostileInput(name, steps)
    for name, steps in {
        # around the upgrade
        "byte right after the upgrade request": (Upgrade(trailing=b"\x81"),),
        "frame right after the upgrade request": (Upgrade(trailing=client_frame(TEXT, b"hi")),),
        "second request right after the upgrade request": (Upgrade(trailing=b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n"),),
        "non-ASCII Connection header": (Upgrade({b"Connection": b"Upgrade, \xff"}),),
        "non-ASCII Extensions header": (Upgrade({b"Sec-WebSocket-Extensions": b"permessage-deflate; \xff"}),),
        "non-ASCII Protocol header": (Upgrade({b"Sec-WebSocket-Protocol": b"\xff"}),),
        "server_max_window_bits that is no number": (
            Upgrade({b"Sec-WebSocket-Extensions": b"permessage-deflate; server_max_window_bits=abc"}),
            AwaitAnswer(),
        ),
        "client_max_window_bits out of range": (
            Upgrade({b"Sec-WebSocket-Extensions": b"permessage-deflate; client_max_window_bits=99"}),
            AwaitAnswer(),
        ),
        "upgrade without a key": (Upgrade({b"Sec-WebSocket-Key": None}), AwaitAnswer()),
        "upgrade with a key that is no base64": (Upgrade({b"Sec-WebSocket-Key": b"\xff\xfe"}), AwaitAnswer()),
        "upgrade with another version": (Upgrade({b"Sec-WebSocket-Version": b"7"}), AwaitAnswer()),
        "upgrade with HTTP/1.0": (Upgrade(start=b"GET %s HTTP/1.0"), AwaitAnswer()),
        "upgrade by POST": (Upgrade(start=b"POST %s HTTP/1.1"), AwaitAnswer()),
        "upgrade with a body": (Upgrade({b"Content-Length": b"5"}, trailing=b"hello"),),
        "upgrade to HTTP/2 with bad settings": (
            Upgrade({b"Upgrade": b"h2c", b"Connection": b"Upgrade, HTTP2-Settings", b"HTTP2-Settings": b"\xff"}),
        ),
        # WebSocket frames
        "text that is no UTF-8": _with_upgrade(client_frame(TEXT, b"\xff\xfe")),
        "frame without a mask": _with_upgrade(client_frame(TEXT, b"hi", masked=False)),
        "reserved opcode": _with_upgrade(client_frame(0x3, b"hi")),
        "reserved bits": _with_upgrade(client_frame(TEXT, b"hi", reserved=7)),
        "close code that must not be sent": _with_upgrade(client_frame(CLOSE, (1005).to_bytes(2, "big"))),
        "close code out of range": _with_upgrade(client_frame(CLOSE, (999).to_bytes(2, "big"))),
        "close code of one byte": _with_upgrade(client_frame(CLOSE, b"\x03")),
        "close reason that is no UTF-8": _with_upgrade(client_frame(CLOSE, b"\x03\xe8\xff")),
        "frames after a close": _with_upgrade(client_frame(CLOSE, b"\x03\xe8") + client_frame(TEXT, b"hi") * 50),
        "ping that is too long": _with_upgrade(client_frame(PING, b"x" * 126)),
        "ping in fragments": _with_upgrade(client_frame(PING, b"x", fin=False)),
        "a thousand pings": _with_upgrade(client_frame(PING, b"x") * 1000),
        "continuation of nothing": _with_upgrade(client_frame(0x0, b"hi")),
        "message inside a message": _with_upgrade(client_frame(TEXT, b"a", fin=False) + client_frame(TEXT, b"b")),
        "length with the highest bit": _with_upgrade(client_frame(TEXT, b"hi", length=1 << 63)),
        "length of exabytes": _with_upgrade(client_frame(BINARY, b"hi", length=1 << 62)),
        "message of 20 MB": _with_upgrade(client_frame(TEXT, _MEGABYTE * 20)),
        "message of 20 MB in fragments": _with_upgrade(
            client_frame(TEXT, b"", fin=False), *[client_frame(0x0, _MEGABYTE, fin=False)] * 20
        ),
        "compressed garbage": _with_upgrade(client_frame(TEXT, b"\xff" * 100, reserved=4), deflate=True),
        "compressed bomb": _with_upgrade(client_frame(TEXT, _deflated(bytes(20 << 20)), reserved=4), deflate=True),
        # hanging up
        "reset at once": (Reset(),),
        "reset in the request": (Send(b"GET / HT"), Reset()),
        "reset right after the upgrade request": (Upgrade(), Reset()),
        "reset after the upgrade": (*_with_upgrade(), Reset()),
        "reset in a frame": (*_with_upgrade(client_frame(TEXT, b"hi")[:3]), Reset()),
        "end of input at once": (HalfClose(),),
        "end of input in the request": (Send(b"GET / HT"), HalfClose()),
        "end of input after the upgrade": (*_with_upgrade(), HalfClose()),
        "end of input in a frame": (*_with_upgrade(client_frame(TEXT, b"hi")[:3]), HalfClose()),
        # HTTP/1
        "half a request": (Send(b"GET / HTTP/1.1\r\nHost: rel"),),
        "a request line and nothing more": (Request(rest=b""),),
        "header of a megabyte": (Request(rest=b"X: " + _MEGABYTE + b"\r\n\r\n"),),
        "ten thousand headers": (Request(rest=b"X-Y: z\r\n" * 10_000 + b"\r\n"),),
        "request line of a megabyte": (Request(start=b"GET %s?" + _MEGABYTE + b" HTTP/1.1"),),
        "method of 10 kB": (Request(start=b"G" * 10_000 + b" %s HTTP/1.1"),),
        "chunk size that is no number": (
            Request(b"POST %s HTTP/1.1", b"Host: relay\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"),
        ),
        "chunk size of a hundred digits": (
            Request(b"POST %s HTTP/1.1", b"Host: relay\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 100 + b"\r\nx"),
        ),
        "two lengths": (
            Request(b"POST %s HTTP/1.1", b"Host: relay\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\nabc"),
        ),
        "length and chunks": (
            Request(
                b"POST %s HTTP/1.1",
                b"Host: relay\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
            ),
        ),
        "negative length": (Request(b"POST %s HTTP/1.1", b"Host: relay\r\nContent-Length: -1\r\n\r\n"),),
        "length of 10,000 digits": (
            Request(b"POST %s HTTP/1.1", b"Host: relay\r\nContent-Length: " + b"9" * 10_000 + b"\r\n\r\n"),
        ),
        "unknown transfer encoding": (Request(rest=b"Host: relay\r\nTransfer-Encoding: rot13\r\n\r\n"),),
        "NUL in a header": (Request(rest=b"Host: relay\r\nX: a\0b\r\n\r\n"),),
        "NUL in a header's name": (Request(rest=b"Host: relay\r\nX\0: a\r\n\r\n"),),
        "bare line feeds": (Send(b"GET / HTTP/1.1\nHost: relay\n\n"),),
        "folded header": (Request(rest=b"Host: relay\r\nX: a\r\n  b\r\n\r\n"),),
        "no host": (Request(rest=b"\r\n"),),
        "two hosts": (Request(rest=b"Host: a\r\nHost: b\r\n\r\n"),),
        "path with raw bytes": (Request(start=b"GET /\xff\xfe HTTP/1.1"),),
        "path with an escaped NUL and bad escapes": (Request(start=b"GET %s/%00%zz%ff HTTP/1.1"),),
        "target in the absolute form": (Request(start=b"GET http://elsewhere/ HTTP/1.1"),),
        "CONNECT": (Request(start=b"CONNECT elsewhere:443 HTTP/1.1"),),
        "version that does not exist": (Request(start=b"GET %s HTTP/3.7"),),
        "a promise to continue, not kept": (
            Request(b"POST %s HTTP/1.1", b"Host: relay\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"),
            HalfClose(),
        ),
        "a thousand requests at once": (
            Request(rest=b"Host: relay\r\n\r\n" + b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n" * 1000),
        ),
        # other protocols
        "HTTP/2 with a non-ASCII path": (Send(HTTP2_PREFACE + _HTTP2_SETTINGS + _http2_get(1, b"/\xff")),),
        "HTTP/2 preface and garbage": (Send(HTTP2_PREFACE + b"\xff" * 100),),
        "HTTP/2 preface cut short": (Send(HTTP2_PREFACE[:18]),),
        "HTTP/2 requests reset at once": (
            Send(
                HTTP2_PREFACE
                + _HTTP2_SETTINGS
                + b"".join(_http2_get(n, b"/") + _http2_frame(0x3, 0, n, b"\0\0\0\x08") for n in range(1, 1000, 2))
            ),
        ),
        "HTTP/2 header bomb": (
            Send(HTTP2_PREFACE + _HTTP2_SETTINGS + _http2_frame(0x1, 0x4, 1, b"\x3f\xff\xff\xff\xff\xff\x7f")),
        ),
        "a TLS hello": (Send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x5a" * 500),),
        "an SSH banner": (Send(b"SSH-2.0-OpenSSH_9.6\r\n"),),
        "a PROXY header": (Send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: relay\r\n\r\n"),),
        "zeros": (Send(bytes(100_000)),),
        "every byte there is": (Send(bytes(range(256)) * 20),),
    }.items()
)
"""Raw inputs. After each of them a server must still serve its other connections, and take new ones."""


# ── malformed frames ────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen
class MalformedFrame:
    """One message for the voice socket that its protocol does not allow, by name."""

    name: str
    payload: str | bytes


_WELL_FORMED: dict[str, dict[str, object]] = {
    "setup": {
        "sessionId": "VX00000000000000000000000000000001",
        "accountSid": "AC00000000000000000000000000000001",
        "callSid": "CA00000000000000000000000000000001",
        "from": "+15550100001",
        "to": "+15550100002",
        "callType": "PSTN",
        "direction": "inbound",
        "callStatus": "IN_PROGRESS",
        "customParameters": {"ticket": "none"},
    },
    "prompt": {"voicePrompt": "hello", "lang": "en-US", "last": True},
    "interrupt": {"utteranceUntilInterrupt": "hel", "durationUntilInterruptMs": 120},
    "dtmf": {"digit": "1"},
    "error": {"description": "Invalid message received"},
    "info": {"name": "agentSpeaking", "value": "on"},
}
_NO_VALUE_OF_ANY_FIELD: dict[str, object] = {
    "a list": [1, [2]],
    "a number out of range": 1e300,
    "an object": {"a": {"b": []}},
}


def _wrong_types() -> Iterator[MalformedFrame]:
    for kind, fields in _WELL_FORMED.items():
        for field in fields:
            for what, value in _NO_VALUE_OF_ANY_FIELD.items():
                if field == "customParameters" and what == "an object":
                    what, value = "an object of objects", {"ticket": {"a": 1}}  # noqa: PLW2901 - an object is right here
                payload = json.dumps({"type": kind, **fields, field: value})
                yield MalformedFrame(f"{kind} whose {field} is {what}", payload)
        yield MalformedFrame(f"{kind} without any field", json.dumps({"type": kind}))


_SPELLED_OUT: dict[str, str | bytes] = {
    "nothing": "",
    "empty bytes": b"",
    "null": "null",
    "a number": "7",
    "a string": '"setup"',
    "true": "true",
    "an array": "[]",
    "an array of frames": '[{"type": "prompt", "voicePrompt": "hello", "last": true}]',
    "not JSON": "{type: setup}",
    "JSON cut short": '{"type": "prompt", "voicePrompt": "hel',
    "JSON and more": '{"type": "info", "name": "a", "value": "b"} {"type": "info"}',
    "a byte order mark": '\ufeff{"type": "info", "name": "a", "value": "b"}',
    "an array nested 30,000 deep": "[" * 30_000,
    "objects nested 10,000 deep": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "an array nested 100,000 deep": "[" * 100_000,
    "a number of 5,000 digits": '{"type": "interrupt", "durationUntilInterruptMs": ' + "9" * 5000 + "}",
    "no number": '{"type": "interrupt", "utteranceUntilInterrupt": "", "durationUntilInterruptMs": NaN}',
    "infinity": '{"type": "interrupt", "utteranceUntilInterrupt": "", "durationUntilInterruptMs": -1e999}',
    "no type": '{"voicePrompt": "hello"}',
    "type null": '{"type": null}',
    "type that is a list": '{"type": ["prompt"]}',
    "type that is an object": '{"type": {"prompt": 1}}',
    "type that is a number": '{"type": 1}',
    "unknown type": '{"type": "connected"}',
    "a type of the other direction": '{"type": "text", "token": "hello", "last": true}',
    "type in capitals": '{"type": "PROMPT", "voicePrompt": "hello", "last": true}',
    "prompt that is null": '{"type": "prompt", "voicePrompt": null, "last": true}',
    "prompt that is a number": '{"type": "prompt", "voicePrompt": 7, "last": true}',
    "several digits": '{"type": "dtmf", "digit": "123"}',
    "a digit that is a letter": '{"type": "dtmf", "digit": "x"}',
    "a digit of another script": '{"type": "dtmf", "digit": "\u0663"}',
    "no digit": '{"type": "dtmf", "digit": ""}',
    "a frame as bytes": b'{"type": "prompt", "voicePrompt": "hello", "last": true}',
    "bytes that are no text": b"\x00\xff\xfe",
    "a prompt of 60 kB of nothing": json.dumps({"type": "unknown", "voicePrompt": " " * 60_000}),
    "10 MB": json.dumps({"type": "prompt", "voicePrompt": "x" * 10_000_000, "last": True}),
}
MALFORMED_FRAMES: tuple[MalformedFrame, ...] = (
    *(MalformedFrame(name, payload) for name, payload in _SPELLED_OUT.items()),
    *_wrong_types(),
)
"""Messages that the voice socket may drop or make do with, but by which no other call may be touched.

The largest ones exceed any sensible limit on a message's size, so the server may also close the connection.
"""
