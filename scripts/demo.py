"""The demo: a local daemon, a simulated carrier and real MCP clients. Calls come in, and a client calls out.

    caller (simulated carrier) ──signed webhook, socket──▶ relay serve --local ──SSE──▶ client (the MCP SDK, on Trio)
    callee (simulated carrier) ◀───────REST API───────────────┘   │    └──▶ Claude, or the stand-in for it
                                                                  └──SSE──▶ relay attach ──▶ a program of ten lines

Everything runs on this machine, in a directory that is removed afterwards. `scripts/demo` makes the environment first,
and runs this as a module, so that its parts find each other.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Ctrl-C while the rest is imported, which takes seconds, ends this without a word
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)

import os
import subprocess
import tempfile
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import click
import trio
from mcp import Client

from relay.cli.one_line import in_one_line
from relay.simulator.carrier.callee import Answers
from relay.simulator.carrier.exchange import Carrier
from relay.simulator.carrier.fault_plan import CallOver
from relay.simulator.carrier.rest_service import RestApi
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.claude.stand_in import serve_stand_in
from relay.simulator.load.local_daemon import DaemonFailed, run_local_world
from scripts.demo_attach import attach_brain
from scripts.demo_client import call_tool, collect_messages, open_client
from scripts.demo_printing import note, quote, said, tell, title

AGENT, PROGRAM = "my-client", "my-program"
NUMBER, CALLEE, COLLEAGUE = "+15550001111", "+15559876543", "+15551234567"
SPEECH_RATE = 60.0
"""Characters a second; a person hears about sixteen, and would be bored by the demo."""

_world = partial(run_local_world, speech_rate=SPEECH_RATE)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--talk", is_flag=True, help="Be the caller yourself, and type what you say.")
def main(talk: bool) -> None:
    """Show the relay at work, without any account: calls that come in, and what a client can do by itself."""
    warnings.simplefilter("ignore")  # a later revision of MCP has no progress from clients; this one does
    with (
        in_one_line(DaemonFailed, subprocess.CalledProcessError),
        tempfile.TemporaryDirectory(prefix="relay-demo-") as directory,
    ):
        trio.run(_talk if talk else _demo, Path(directory))


async def _demo(directory: Path) -> None:
    async with _claude() as claude, _world(directory, claude) as (daemon, carrier, _rest):
        access = await daemon.register(AGENT, "--number", NUMBER, "--name", "Ada's office")
        title("1. The client is connected, and answers")
        async with open_client(access["sseUrl"]):
            await _call(carrier, ["Hi, which day is it today?", "Thank you. Do you take messages too?"])
        title("2. The client was just lost: it is waited for, then the answering machine takes a message")
        told = "Please tell him that the parcel is here. He can call me back after 8."
        await _call(carrier, ["Hello, it is Ada.", told, "No, that is all. Goodbye."])
    async with _world(directory) as (daemon, carrier, rest):
        title("3. No client and no key for the machine: the fixed sentence")
        await _call(carrier, ["Hello, is anybody there?"])
        title("The client comes back and collects what was left")
        async with open_client(_moved(access["sseUrl"], daemon.url)) as client:
            await collect_messages(client)
            title("4. The client calls somebody, who hears who is calling, and talks with it")
            await _call_out(client, rest, ["Hello, who is it?", "Thank you, tomorrow is fine."])
            title("5. The client sends a voice message: its text becomes audio, and a call plays it")
            await _send_voice_message(client, rest)
            title("6. A caller asks for a person, and the client passes the call on")
            await _transfer(client, carrier)
        title("7. A program of ten lines, which speaks no MCP, answers by way of `relay attach`")
        access = await daemon.register(PROGRAM)
        async with attach_brain(directory, daemon.url, access["token"]) as program:
            note(f"the program is that of docs/attach.md, {len(program.splitlines())} lines of Python")
            await _call(carrier, ["Hello, is this a program?", "Which one?", "Thank you. Goodbye."], agent=PROGRAM)
    tell("\n[bold green]The demo is over: seven calls, nobody left without an answer, and nothing lost.[/]")


async def _talk(directory: Path) -> None:
    async with _claude() as claude, _world(directory, claude) as (daemon, _carrier, _rest):
        access = await daemon.register(AGENT)
        async with open_client(access["sseUrl"]):
            title("You are the caller")
            await daemon.interact("call", AGENT)


# ── Claude ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def _claude() -> AsyncIterator[dict[str, str]]:
    """Give the settings of the answering machine: the user's own key, else a stand-in on this machine."""
    key = os.environ.get("ANTHROPIC_API_KEY")
    if key:
        tell("The answering machine is Claude, with your ANTHROPIC_API_KEY.")
        yield {name: value for name, value in os.environ.items() if name.startswith("ANTHROPIC_")}
        return
    tell("The answering machine is a stand-in for Claude on this machine; set ANTHROPIC_API_KEY for the real.")
    async with trio.open_nursery() as nursery:
        stand_in = await nursery.start(serve_stand_in)
        yield {"ANTHROPIC_API_KEY": "demo", "ANTHROPIC_BASE_URL": stand_in.url}
        nursery.cancel_scope.cancel()


# ── the carrier ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _call(carrier: Carrier, lines: list[str], *, agent: str = AGENT) -> None:
    """Play a caller who says these lines, and then hangs up."""
    async with carrier.call(agent) as call:
        said("relay", call.greeting)
        await _talk_through(call, "caller", lines)
        with trio.move_on_after(3):  # where the relay ends the call, as after a goodbye, it may
            await call.wait_ended()
    by = "the relay" if call.outcomes[-1].status == "ended" else "the caller"
    note(f"{by} hung up")


async def _talk_through(call: SimulatedCall, who: str, lines: list[str]) -> None:
    """Say these lines, each after hearing the answer to the one before."""
    try:
        for words in lines:
            await call.quiet()
            said(who, words)
            await call.say(words)
            said("relay", (await call.hear()).text)
        await call.quiet()
    except CallOver as over:
        note(f"{over}")


async def _call_out(client: Client, rest: RestApi, lines: list[str]) -> None:
    """Have the client make a call, and play the callee."""
    rest.callee(CALLEE, Answers(after=0.5))
    placed = await call_tool(
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
        said("relay", heard)
    await _talk_through(call, "callee", lines)
    await call.hang_up()
    await call.wait_ended()
    note("the callee hung up")


async def _send_voice_message(client: Client, rest: RestApi) -> None:
    text = "Reminder: your appointment is tomorrow at 3 PM."
    quote("the text", text)
    placed = await call_tool(client, "comms_send_voice_message", agentId=AGENT, to=CALLEE, text=text)
    call = await rest.call(placed["callSid"])
    await call.wait_ended()
    for heard in call.heard:
        said("relay", heard)
    for audio in call.audio:
        note(f"the callee heard {audio.seconds:.1f} s of audio ({audio.rate} Hz, {audio.bits} bit)")
    if not any(audio.loudness for audio in call.audio):
        raise click.ClickException("the callee heard no voice")


async def _transfer(client: Client, carrier: Carrier) -> None:
    carrier.callees[COLLEAGUE] = Answers(after=0.5, talks=0.5)
    async with carrier.call(AGENT, called=NUMBER) as call:
        said("relay", call.greeting)
        await _talk_through(call, "caller", ["Could I talk to a person, please?"])
        before = len(call.heard)
        await call_tool(
            client,
            "comms_transfer_call",
            agentId=AGENT,
            callSid=call.call_sid,
            to=COLLEAGUE,
            announcementText="Connecting you to a human client now.",
        )
        await call.wait_ended()
    for heard in call.heard[before:]:
        said("relay", heard)
    for leg in call.legs:
        note(f"{leg.number} was dialled, and {'connected' if leg.bridged else leg.status}")
    records = (await call_tool(client, "comms_list_calls", agentId=AGENT))["calls"]
    transfer = next(each["transfer"] for each in records if each["callSid"] == call.call_sid)
    note(f"the record says: {transfer['outcome']}")
    if transfer["outcome"] != "answered":
        raise click.ClickException("the caller was not connected")


def _moved(address: str, url: str) -> str:
    """Give the client's address at another daemon: port 0 picks another one each time."""
    return url + address[address.index("/sse") :]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, on_interrupt)
    main(prog_name="scripts/demo")
