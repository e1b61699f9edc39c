"""The real store and the fake pass the same checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import pytest
from sqlalchemy import select

from relay.store.call_journal import CallJournal
from relay.store.database import Database
from relay.store.schema import held_words
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import CHECKS, Check
from tests.fakes_store import MemoryJournal, MemoryMessageStore


@attrs.frozen
class InDatabase:
    messages: WaitingMessages
    journal: CallJournal
    database: Database

    async def stored(self) -> Sequence[tuple[str, str, str]]:
        return [(each.id, each.agent_id, each.body) for each in await self.messages.list_all()]

    async def show(self, message_id: str) -> None:
        message = await self.messages.get(message_id)
        assert message is not None
        assert message_id in {each.id for each in await self.messages.peek(message.agent_id)}

    async def held(self, call_sid: str) -> Mapping[int, str]:
        wanted = select(held_words.c.turn, held_words.c.text).where(held_words.c.call_sid == call_sid)
        # As a write, because only writes are in order with words that were released a moment ago.
        rows = await self.database.write(lambda connection: connection.execute(wanted).all())
        return {row.turn: row.text for row in rows}


@attrs.frozen
class InMemory:
    journal: MemoryJournal = attrs.field(factory=MemoryJournal)
    messages: MemoryMessageStore = attrs.field(
        default=attrs.Factory(lambda self: MemoryMessageStore(self.journal), takes_self=True)
    )

    async def stored(self) -> Sequence[tuple[str, str, str]]:
        return [(key, each.agent_id, each.body) for key, each in self.messages.messages.items()]

    async def show(self, message_id: str) -> None:
        self.messages.shown.add(message_id)

    async def held(self, call_sid: str) -> Mapping[int, str]:
        return self.journal.held[call_sid]


def _name(check: Check) -> str:
    return getattr(check, "__name__", "check").removeprefix("check_")


@pytest.mark.parametrize("check", CHECKS, ids=_name)
async def test_the_store_in_the_database(
    check: Check, waiting: WaitingMessages, journal: CallJournal, database: Database
) -> None:
    """The store in a SQLite file keeps the contract."""
    await check(InDatabase(waiting, journal, database))


@pytest.mark.parametrize("check", CHECKS, ids=_name)
async def test_the_fake_in_memory(check: Check) -> None:
    """The fake that call tests use keeps the contract."""
    await check(InMemory())
