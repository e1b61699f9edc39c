"""The line to a caller: over scripted ASGI messages, and over our own server with a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from actors.errors import LineClosed
from actors.events import CallerGone, FrameRejected, UtteranceHeard
from relay.http.asgi import Message, Receive, Send
from relay.http.listener import ListenerOptions, serve
from relay.twilio.frames import Setup
from relay.twilio.phone_line import AsgiPhoneLine
from tests.limits import HANGING
from tests.sids import sid

SETUP = '{"type":"setup","callSid":"CA00000000000000000000000000000001"}'
PROMPT = '{"type":"prompt","voicePrompt":"Hi."}'


class Wire:
    """Both ends of an ASGI socket: `arriving` is what the server delivers, `sent` what the line sends."""

    def __init__(self, *arriving: Message | Exception) -> None:
        self.arriving = list(arriving)
        self.sent: list[Message] = []
        self.broken: Exception | None = None

    async def receive(self) -> Message:
        """Deliver the next message; afterwards nothing, as some servers do."""
        await trio.lowlevel.checkpoint()
        if not self.arriving:
            await trio.sleep_forever()
        message = self.arriving.pop(0)
        if isinstance(message, Exception):
            raise message
        return message

    async def send(self, message: Message) -> None:
        """Take a message, unless the wire is broken."""
        await trio.lowlevel.checkpoint()
        if self.broken is not None:
            raise self.broken
        self.sent.append(message)


def line_over(wire: Wire) -> AsgiPhoneLine:
    """Return a line over this wire."""
    return AsgiPhoneLine(wire.receive, wire.send)


def text(data: str) -> Message:
    """Return the server's message for a text frame."""
    return {"type": "websocket.receive", "text": data, "bytes": None}


GONE: Message = {"type": "websocket.disconnect", "code": 1006}


async def test_frames_arrive_as_events_in_order() -> None:
    """Each frame is one event, a bad one among them too."""
    line = line_over(Wire(text(SETUP), text(PROMPT), text("null")))
    assert await line.receive_setup() == Setup(call_sid=sid())
    assert await line.receive() == UtteranceHeard("Hi.")
    assert await line.receive() == FrameRejected("dict_type")


async def test_a_second_setup_is_a_bad_frame() -> None:
    """A call cannot be renamed once it is on."""
    assert await line_over(Wire(text(SETUP))).receive() == FrameRejected("setup_again")


@pytest.mark.parametrize("data", [b"", PROMPT.encode()])
async def test_binary_messages_are_bad_frames(data: bytes) -> None:
    """The carrier speaks text; bytes, the empty message too, are rejected."""
    wire = Wire({"type": "websocket.receive", "bytes": data, "text": None})
    assert await line_over(wire).receive() == FrameRejected("binary")


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (GONE, 1006),
        ({"type": "websocket.disconnect"}, None),
        (trio.EndOfChannel(), None),
        (trio.BrokenResourceError(), None),
        (OSError(), None),
    ],
)
async def test_every_end_is_the_caller_gone_for_good(
    end: Message | Exception, code: int | None, autojump_clock: trio.testing.MockClock
) -> None:
    """However the socket ends, `CallerGone` is received, and received again, though the server says it only once."""
    line = line_over(Wire(end))
    with trio.fail_after(HANGING):
        assert [await line.receive() for _ in range(3)] == [CallerGone(code)] * 3


async def test_a_cancelled_receive_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A reader that gave up waiting finds the frame that came later."""
    wire = Wire()
    line = line_over(wire)
    with trio.move_on_after(1):
        await line.receive()
    wire.arriving.append(text(PROMPT))
    assert await line.receive() == UtteranceHeard("Hi.")


async def test_speech_and_the_end_go_out_as_frames() -> None:
    """Speaking and ending send the carrier's frames, closing sends the code."""
    wire = Wire()
    line = line_over(wire)
    await line.speak("Hello ", last=False)
    await line.speak("", last=True)
    await line.end("{}")
    await line.close(1000)
    assert [json.loads(message["text"]) for message in wire.sent[:3]] == [
        {"type": "text", "token": "Hello ", "last": False},
        {"type": "text", "token": "", "last": True},
        {"type": "end", "handoffData": "{}"},
    ]
    assert wire.sent[3] == {"type": "websocket.close", "code": 1000}


async def test_speech_may_be_sent_to_be_cut_short() -> None:
    """What is preemptible says so in its frame; what is not leaves it to what the carrier was told before."""
    wire = Wire()
    line = line_over(wire)
    await line.speak("One moment.", last=True, preemptible=True)
    await line.speak("Nine.", last=True)
    assert [json.loads(message["text"]) for message in wire.sent] == [
        {"type": "text", "token": "One moment.", "last": True, "preemptible": True},
        {"type": "text", "token": "Nine.", "last": True},
    ]


async def test_a_line_whose_caller_is_gone_takes_no_speech() -> None:
    """After the hang-up was received, speaking and ending say so, and closing is harmless."""
    wire = Wire(GONE)
    line = line_over(wire)
    await line.receive()
    with pytest.raises(LineClosed):
        await line.speak("Hello", last=True)
    with pytest.raises(LineClosed):
        await line.end()
    await line.close(1000)
    assert wire.sent == []


async def test_a_line_we_closed_takes_no_speech_and_closes_once() -> None:
    """After our own close nothing more goes out, a second close included."""
    wire = Wire()
    line = line_over(wire)
    await line.close(1011)
    await line.close(1000)
    with pytest.raises(LineClosed):
        await line.speak("Hello", last=True)
    assert wire.sent == [{"type": "websocket.close", "code": 1011}]


@pytest.mark.parametrize("error", [OSError(), trio.BrokenResourceError(), trio.ClosedResourceError()])
async def test_a_broken_wire_is_a_closed_line(error: Exception) -> None:
    """A send that fails is `LineClosed` to the one who speaks, and nothing to the one who closes."""
    wire = Wire()
    wire.broken = error
    line = line_over(wire)
    with pytest.raises(LineClosed):
        await line.speak("Hello", last=True)
    await line.close(1000)


# ── over our own server: what the module says it does, with a real socket and the real clock ─────────────────────────

Handler = Callable[[AsgiPhoneLine], Awaitable[None]]


@asynccontextmanager
async def served_line(handler: Handler) -> AsyncIterator[WebSocketConnection]:
    """Serve one handler of lines on loopback, and give the carrier's side of a socket to it."""

    async def app(_scope: object, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await handler(AsgiPhoneLine(receive, send))

    stop = trio.Event()
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            serving = partial(serve, app, ListenerOptions(), host="127.0.0.1", port=0, stop=stop)
            host, port = await nursery.start(serving)
            async with await trio.open_tcp_stream(host, port) as stream, trio.open_nursery() as reading:
                carrier = await wrap_client_stream(reading, stream, host, "/")
                yield carrier
                await carrier.aclose()
            stop.set()


async def test_the_server_tells_of_a_hang_up_and_the_line_for_ever() -> None:
    """After the carrier closed, the line is gone, stays gone, refuses speech and takes a close."""
    heard: list[object] = []
    done = trio.Event()

    async def handler(line: AsgiPhoneLine) -> None:
        heard.append(await line.receive())
        await line.speak("Hello", last=True)
        heard.extend([await line.receive(), await line.receive()])
        with pytest.raises(LineClosed):
            await line.speak("Hello", last=True)
        await line.close(1000)
        done.set()

    async with served_line(handler) as carrier:
        await carrier.send_message(PROMPT)
        await carrier.get_message()
        await carrier.aclose(4000, "Closing websocket session")
        await done.wait()
    assert heard == [UtteranceHeard("Hi."), CallerGone(4000), CallerGone(4000)]


async def test_the_server_delivers_our_close_code_and_takes_nothing_after_it() -> None:
    """The carrier sees the code we close with; a second close and late speech do no harm; the end is received."""
    heard: list[object] = []
    done = trio.Event()

    async def handler(line: AsgiPhoneLine) -> None:
        await line.close(1008)
        await line.close(1000)
        with pytest.raises(LineClosed):
            await line.speak("Hello", last=True)
        heard.append(await line.receive())
        done.set()

    async with served_line(handler) as carrier:
        with pytest.raises(ConnectionClosed) as closed:
            await carrier.get_message()
        await done.wait()
    assert closed.value.reason is not None
    assert closed.value.reason.code == 1008
    assert heard == [CallerGone(1008)]
