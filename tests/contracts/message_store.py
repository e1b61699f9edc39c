"""What every `MessageStore` with its `Journal` must do, the real one and the fake alike.

A test file gives a `StoreUnderTest` and runs each of `CHECKS`: see `tests/relay/store/test_message_store_contract.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeAlias

import pytest
import trio

from actors.call_values import CallInfo, CallSummary, Direction, Line, MessageDraft, Reason, Speaker
from actors.errors import StoreFailed
from actors.ports import Journal, MessageStore

AT = datetime(2026, 11, 22, 9, 0, 30, tzinfo=UTC)


class StoreUnderTest(Protocol):
    """A store, its journal, and what a check must see of them beyond the ports."""

    @property
    def messages(self) -> MessageStore: ...

    @property
    def journal(self) -> Journal: ...

    async def stored(self) -> Sequence[tuple[str, str, str]]:
        """Give (id, agent, body) of all messages, oldest first."""
        ...

    async def show(self, message_id: str) -> None:
        """Show a message to its agent's client."""
        ...

    async def held(self, call_sid: str) -> Mapping[int, str]:
        """Give the words that are held of a call, by turn."""
        ...


def draft(**changes: object) -> MessageDraft:
    """Make a message as a call would leave it."""
    given = {
        "call_sid": "CA1",
        "part": 1,
        "agent_id": "my-client",
        "direction": Direction.INBOUND,
        "reason": Reason.CLIENT_ABSENT,
        "caller": "+15551230001",
        "called": "+15551230002",
        "body": "Please call me back.",
        "preferences": "after 8",
        "transcript": (Line(Speaker.CALLER, "Please call me back.", AT),),
    }
    return MessageDraft(**(given | changes))  # type: ignore[arg-type]


def call(call_sid: str = "CA1", agent_id: str = "my-client") -> CallInfo:
    """Make a call as it is when its line is connected."""
    return CallInfo(call_sid=call_sid, agent_id=agent_id, caller="+15551230001", called="+15551230002", started_at=AT)


async def check_a_message_is_kept(store: StoreUnderTest) -> None:
    """What is left is there, under the id that was returned."""
    message_id = await store.messages.leave(draft())
    assert await store.stored() == [(message_id, "my-client", "Please call me back.")]


async def check_the_same_key_replaces(store: StoreUnderTest) -> None:
    """A message that grows keeps its id."""
    first = await store.messages.leave(draft(body="Please"))
    second = await store.messages.leave(draft(body="Please call"))
    assert second == first
    assert await store.stored() == [(first, "my-client", "Please call")]


async def check_other_keys_are_other_messages(store: StoreUnderTest) -> None:
    """Each part of each call of each agent is a message of its own, oldest first."""
    for changes in ({}, {"part": 2}, {"call_sid": "CA2"}, {"agent_id": "other"}):
        await store.messages.leave(draft(body=str(changes), **changes))
    assert [body for _id, _agent, body in await store.stored()] == [
        "{}",
        "{'part': 2}",
        "{'call_sid': 'CA2'}",
        "{'agent_id': 'other'}",
    ]


async def check_a_shown_message_is_never_changed(store: StoreUnderTest) -> None:
    """Once a client was shown a message, the same key makes a new one."""
    first = await store.messages.leave(draft(body="Please"))
    await store.show(first)
    second = await store.messages.leave(draft(body="Please call"))
    third = await store.messages.leave(draft(body="Please call me"))
    assert second == third != first
    assert await store.stored() == [(first, "my-client", "Please"), (second, "my-client", "Please call me")]


async def check_a_message_lets_go_of_its_words(store: StoreUnderTest) -> None:
    """Words are held until they are inside a message; later ones and those of other calls stay."""
    for sid in ("CA1", "CA2"):
        await store.journal.open_call(call(sid))
        for turn in (1, 2, 3):
            await store.journal.hold_utterance(sid, turn, f"turn {turn}")
    await store.messages.leave(draft(through_turn=2))
    assert await store.held("CA1") == {3: "turn 3"}
    assert len(await store.held("CA2")) == 3


async def check_answered_words_are_released(store: StoreUnderTest) -> None:
    """Releasing goes up to and with the turn that was answered; doing it again is harmless."""
    await store.journal.open_call(call())
    for turn in (1, 2, 3):
        await store.journal.hold_utterance("CA1", turn, f"turn {turn}")
    await store.journal.release_utterances("CA1", 2)
    await store.journal.release_utterances("CA1", 2)
    assert await store.held("CA1") == {3: "turn 3"}


async def check_the_same_turn_replaces_its_words(store: StoreUnderTest) -> None:
    """What the caller adds within a turn replaces what was held of it."""
    await store.journal.open_call(call())
    await store.journal.hold_utterance("CA1", 1, "I would")
    await store.journal.hold_utterance("CA1", 1, "I would like a pizza")
    assert await store.held("CA1") == {1: "I would like a pizza"}


async def check_words_of_an_unknown_call_are_refused(store: StoreUnderTest) -> None:
    """Words that nobody could be told of after a restart are refused at once."""
    with pytest.raises(StoreFailed):
        await store.journal.hold_utterance("CA404", 1, "hello?")


async def check_closing_keeps_held_words(store: StoreUnderTest) -> None:
    """Words that are still held when a call is closed stay for the next start."""
    await store.journal.open_call(call())
    await store.journal.hold_utterance("CA1", 1, "hello?")
    await store.journal.close_call("CA1", CallSummary(outcome="failed"))
    assert await store.held("CA1") == {1: "hello?"}


async def check_closing_an_unknown_call_is_harmless(store: StoreUnderTest) -> None:
    """A record that was never opened cannot be closed, and that is no error."""
    await store.journal.close_call("CA404", CallSummary(outcome="completed"))


async def check_a_cancelled_asker_writes_nothing(store: StoreUnderTest) -> None:
    """A scope that is cancelled before it asks leaves nothing behind."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.messages.leave(draft())
    assert scope.cancelled_caught
    assert await store.stored() == []


Check: TypeAlias = Callable[[StoreUnderTest], Awaitable[None]]
CHECKS: tuple[Check, ...] = (
    check_a_message_is_kept,
    check_the_same_key_replaces,
    check_other_keys_are_other_messages,
    check_a_shown_message_is_never_changed,
    check_a_message_lets_go_of_its_words,
    check_answered_words_are_released,
    check_the_same_turn_replaces_its_words,
    check_words_of_an_unknown_call_are_refused,
    check_closing_keeps_held_words,
    check_closing_an_unknown_call_is_harmless,
    check_a_cancelled_asker_writes_nothing,
)
