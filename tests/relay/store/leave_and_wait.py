"""A program for `test_sudden_death.py`: write one thing, say so, and wait to be killed.

python -m tests.relay.store.leave_and_wait URL leave|hold
"""

from __future__ import annotations

import sys

import trio

from relay.store.call_journal import CallJournal
from relay.store.database import open_database
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import call, draft


async def main(url: str, what: str) -> None:
    async with open_database(url) as database:
        journal = CallJournal(database)
        await journal.open_call(call())
        if what == "leave":
            await WaitingMessages(database).leave(draft(body="before the end"))
        else:
            await journal.hold_utterance("CA1", 1, "before the end")
        print("durable", flush=True)
        await trio.sleep_forever()


trio.run(main, sys.argv[1], sys.argv[2])
