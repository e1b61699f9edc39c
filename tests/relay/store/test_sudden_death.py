"""What is durable survives SIGKILL, and two processes share one file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from actors.call_values import Reason
from relay.store.call_journal import CallJournal
from relay.store.database import Database, open_database
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import draft
from tests.limits import HANGING


@asynccontextmanager
async def another_process(url: str, what: str) -> AsyncIterator[trio.Process]:
    """Start a process that has made something durable when the block begins; it is killed at the end."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.relay.store.leave_and_wait", url, what], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    async with process.stdout:
        try:
            with trio.fail_after(HANGING):
                assert (await process.stdout.receive_some()).startswith(b"durable")
            yield process
        finally:
            process.kill()
            with trio.move_on_after(5, shield=True):
                await process.wait()


@pytest.mark.parametrize(
    ("what", "reason"), [("leave", Reason.CLIENT_ABSENT), ("hold", Reason.RELAY_RESTARTED)], ids=["leave", "hold"]
)
async def test_what_was_written_survives_the_process(database_url: str, what: str, reason: Reason) -> None:
    """A process that is killed right after a message was left or words were held has lost nothing."""
    async with another_process(database_url, what):
        pass
    async with open_database(database_url) as database:
        recovered = await CallJournal(database).recover()
        (message,) = await WaitingMessages(database).list_all()
    assert recovered.calls == 1
    assert (message.body, message.reason) == ("before the end", reason)


async def test_two_processes_share_the_file(database: Database) -> None:
    """The command line sees what the daemon wrote, and writes beside it."""
    waiting = WaitingMessages(database)
    async with another_process(database.url, "leave"):
        (message,) = (await waiting.fetch("my-client")).messages
        await waiting.leave(draft(call_sid="CA2"))
        await waiting.acknowledge("my-client", [message.id])
    assert [each.call_sid for each in await waiting.list_all()] == ["CA1", "CA2"]
