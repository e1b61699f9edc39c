"""The demo: a local daemon, a simulated carrier and a real MCP client. Calls come in, and the client calls out.

    caller (simulated carrier) ──signed webhook, socket──▶ relay serve --local ──SSE──▶ client (the MCP SDK, on Trio)
    callee (simulated carrier) ◀───────REST API───────────────┘        └──▶ Claude, or the stand-in for it

Everything runs on this machine, in a directory that is removed afterwards. `scripts/demo` makes the environment first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio
from mcp import Client
from mcp.client.sse import sse_client
from mcp_types import CreateMessageRequestParams, CreateMessageResult, ProgressNotification, TextContent
from rich.console import Console

from relay.simulator.call import SimulatedCall
from relay.simulator.callee import Answers
from relay.simulator.carrier import Carrier
from relay.simulator.claude import serve_stand_in
from relay.simulator.faults import CallOver, reasons_in
from relay.simulator.local_daemon import DaemonFailed, run_local_world
from relay.simulator.rest import RestApi

AGENT = "my-client"
NUMBER, CALLEE, COLLEAGUE = "+15550001111", "+15559876543", "+15551234567"
SPEECH_RATE = 60.0
"""Characters a second; a person hears about sixteen, and would be bored by the demo."""

console = Console(highlight=False, soft_wrap=True)
_world = partial(run_local_world, speech_rate=SPEECH_RATE)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--talk", is_flag=True, help="Be the caller yourself, and type what you say.")
def main(talk: bool) -> None:
    """Show the relay at work, without any account: three calls that come in, and what the client can do by itself."""
    warnings.simplefilter("ignore")  # a later revision of MCP has no progress from clients; this one does
    with tempfile.TemporaryDirectory(prefix="relay-demo-") as directory:
        trio.run(_talk if talk else _demo, Path(directory))


async def _demo(directory: Path) -> None:
    async with _claude() as claude, _world(directory, claude) as (daemon, carrier, _rest):
        access = await daemon.register(AGENT, "--number", NUMBER, "--name", "Ada's office")
        _title("1. The client is connected, and answers")
        async with _client(access["sseUrl"]):
            await _call(carrier, ["Hi, which day is it today?", "Thank you. Do you take messages too?"])
        _title("2. The client was just lost: it is waited for, then the answering machine takes a message")
        told = "Please tell him that the parcel is here. He can call me back after 8."
        await _call(carrier, ["Hello, it is Ada.", told, "No, that is all. Goodbye."])
    async with _world(directory) as (daemon, carrier, rest):
        _title("3. No client and no key for the machine: the fixed sentence")
        await _call(carrier, ["Hello, is anybody there?"])
        _title("The client comes back and collects what was left")
        async with _client(_moved(access["sseUrl"], daemon.url)) as client:
            await _collect(client)
            _title("4. The client calls somebody, who hears who is calling, and talks with it")
            await _call_out(client, rest, ["Hello, who is it?", "Thank you, tomorrow is fine."])
            _title("5. The client sends a voice message: its text becomes audio, and a call plays it")
            await _send_voice_message(client, rest)
            _title("6. A caller asks for a person, and the client passes the call on")
            await _transfer(client, carrier)
    console.print("\n[bold green]The demo is over: six calls, nobody left without an answer, and nothing lost.[/]")


async def _talk(directory: Path) -> None:
    async with _claude() as claude, _world(directory, claude) as (daemon, carrier, _rest):
        access = await daemon.register(AGENT)
        async with _client(access["sseUrl"]), carrier.call(AGENT) as call, trio.open_nursery() as nursery:
            _title("You are the caller. Type what you say; an empty line hangs up")
            nursery.start_soon(_print_words, call)
            while not call.over:
                words = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
                if not words.strip():
                    break
                try:
                    await call.say(words.strip())
                except CallOver:
                    break
            nursery.cancel_scope.cancel()


# ── Claude ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def _claude() -> AsyncIterator[dict[str, str]]:
    """Give the settings of the answering machine: the user's own key, else a stand-in on this machine."""
    key = os.environ.get("ANTHROPIC_API_KEY")
    if key:
        console.print("The answering machine is Claude, with your ANTHROPIC_API_KEY.")
        yield {name: value for name, value in os.environ.items() if name.startswith("ANTHROPIC_")}
        return
    console.print("The answering machine is a stand-in for Claude on this machine; set ANTHROPIC_API_KEY for the real.")
    async with trio.open_nursery() as nursery:
        stand_in = await nursery.start(serve_stand_in)
        yield {"ANTHROPIC_API_KEY": "demo", "ANTHROPIC_BASE_URL": stand_in.url}
        nursery.cancel_scope.cancel()


# ── the carrier ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _call(carrier: Carrier, lines: list[str]) -> None:
    """Play a caller who says these lines, and then hangs up."""
    async with carrier.call(AGENT) as call:
        _said("relay", call.greeting)
        await _talk_through(call, "caller", lines)
        with trio.move_on_after(3):  # where the relay ends the call, as after a goodbye, it may
            await call.wait_ended()
    by = "the relay" if call.outcomes[-1].status == "ended" else "the caller"
    console.print(f"  [dim]{by} hung up[/]")


async def _talk_through(call: SimulatedCall, who: str, lines: list[str]) -> None:
    """Say these lines, each after hearing the answer to the one before."""
    try:
        for words in lines:
            await call.quiet()
            _said(who, words)
            await call.say(words)
            _said("relay", (await call.hear()).text)
        await call.quiet()
    except CallOver as over:
        console.print(f"  [dim]{over}[/]")


async def _call_out(client: Client, rest: RestApi, lines: list[str]) -> None:
    """Have the client call somebody, and play him."""
    rest.callee(CALLEE, Answers(after=0.5))
    placed = await _tool(
        client,
        "comms_make_call",
        agentId=AGENT,
        to=CALLEE,
        greeting="Hi, this is your AI assistant calling about your appointment.",
        systemPrompt="You are a friendly appointment reminder assistant.",
    )
    call = await rest.call(placed["callSid"])
    await call.connected()
    await call.quiet()
    for heard in call.heard:  # the disclosure, then the greeting
        _said("relay", heard)
    await _talk_through(call, "callee", lines)
    await call.hang_up()
    await call.wait_ended()
    console.print("  [dim]the callee hung up[/]")


async def _send_voice_message(client: Client, rest: RestApi) -> None:
    text = "Reminder: your appointment is tomorrow at 3 PM."
    console.print(f"  the text: {text!r}")
    placed = await _tool(client, "comms_send_voice_message", agentId=AGENT, to=CALLEE, text=text)
    call = await rest.call(placed["callSid"])
    await call.wait_ended()
    for heard in call.heard:
        _said("relay", heard)
    for audio in call.audio:
        console.print(f"  [dim]the callee heard {audio.seconds:.1f} s of audio ({audio.rate} Hz, {audio.bits} bit)[/]")
    if not any(audio.loudness for audio in call.audio):
        raise click.ClickException("the callee heard no voice")


async def _transfer(client: Client, carrier: Carrier) -> None:
    carrier.callees[COLLEAGUE] = Answers(after=0.5, talks=0.5)
    async with carrier.call(AGENT, called=NUMBER) as call:
        _said("relay", call.greeting)
        await _talk_through(call, "caller", ["Could I talk to a person, please?"])
        before = len(call.heard)
        await _tool(
            client,
            "comms_transfer_call",
            agentId=AGENT,
            callSid=call.call_sid,
            to=COLLEAGUE,
            announcementText="Connecting you to a human client now.",
        )
        await call.wait_ended()
    for heard in call.heard[before:]:
        _said("relay", heard)
    for leg in call.legs:
        console.print(f"  [dim]{leg.number} was dialled, and {'connected' if leg.bridged else leg.status}[/]")
    records = (await _tool(client, "comms_list_calls", agentId=AGENT))["calls"]
    transfer = next(each["transfer"] for each in records if each["callSid"] == call.call_sid)
    console.print(f"  [dim]the record says: {transfer['outcome']}[/]")
    if transfer["outcome"] != "answered":
        raise click.ClickException("the caller was not connected")


async def _print_words(call: SimulatedCall) -> None:
    _said("relay", call.greeting)
    while True:
        try:
            heard = await call.hear()
        except CallOver:
            return
        _said("relay", heard.text)


# ── the client ──────────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def _client(sse_url: str) -> AsyncIterator[Client]:
    """Connect an MCP client that answers turns: by a few rules, where yours would ask a model."""

    async def sample(context: Any, params: CreateMessageRequestParams) -> CreateMessageResult:
        last = params.messages[-1].content
        answer = _think(last.text if isinstance(last, TextContent) else "")
        token = (params.meta or {}).get("progress_token")
        if token is not None:  # speak the first sentence before the second is known
            first = answer.partition(". ")[0]
            await context.session.send_notification(
                ProgressNotification.model_validate(
                    {
                        "method": "notifications/progress",
                        "params": {"progressToken": token, "progress": 1, "message": first},
                    }
                )
            )
        return CreateMessageResult(role="assistant", content=TextContent(text=answer), model="rules")

    async with Client(sse_client(sse_url), sampling_callback=sample) as client:
        await client.list_tools()
        yield client


def _think(words: str) -> str:
    if "day" in words:
        return f"Today is {datetime.now().astimezone():%A}. What else can I do for you?"
    if "message" in words:
        return "When I am away, the answering machine does. I get them as soon as I am back."
    if "who is it" in words:
        return "I am calling about your appointment. It is tomorrow at 3 PM."
    if "tomorrow" in words:
        return "Then we see you tomorrow. Goodbye."
    if "person" in words:
        return "Of course. One moment."
    return f"You said: {words}"


async def _tool(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool; return what it gives, or end the demo with why it did not."""
    result = await client.call_tool(name, arguments)
    content = dict(result.structured_content or {})
    if "error" in content:
        raise click.ClickException(f"{name}: {content['error']['message']}")
    return content


async def _collect(client: Client) -> None:
    messages = (await _tool(client, "comms_get_waiting_messages"))["messages"]
    for message in messages:
        console.print(f"  [bold]{message['reason']}[/] from {message['from']}: {message['body']!r}")
        if message["preferences"]:
            console.print(f"    wishes: {message['preferences']!r}")
    done = await _tool(client, "comms_acknowledge_messages", ids=[message["id"] for message in messages])
    confirmed = done["acknowledged"]
    console.print(f"  [dim]confirmed: {len(confirmed)} of {len(messages)}[/]")
    if len(messages) < 2 or len(confirmed) != len(messages):
        raise click.ClickException("not every message that was left came back")


def _moved(address: str, url: str) -> str:
    """Give the client's address at another daemon: port 0 picks another one each time."""
    return url + address[address.index("/sse") :]


def _title(text: str) -> None:
    console.print(f"\n[bold]{text}[/]")


def _said(who: str, words: str) -> None:
    colour = "yellow" if who == "relay" else "cyan"
    console.print(f"  [{colour}]{who:>6}[/]  {words.strip()}")


if __name__ == "__main__":
    try:
        main()
    except* (DaemonFailed, subprocess.CalledProcessError, click.ClickException) as group:
        sys.exit("; ".join(reasons_in(group)))
