"""One call and many runs of the daemon, in two processes: whatever they do in whatever order, no utterance is lost."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import CallTaken
from relay.store.call_journal import CallJournal
from relay.store.database import Database, open_database
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import call, draft
from tests.fakes_store import WallClock

PATIENCE = 60.0


@attrs.define
class Session:
    """A session of the call in one run, which may be dead, or frozen: then it knows nothing of those after it."""

    journal: CallJournal
    waiting: WaitingMessages
    attempt: int
    in_hand: list[tuple[int, str]]
    left: list[str] = attrs.field(factory=list)
    is_over: bool = False


@attrs.define
class World:
    """The call, its sessions, and what must have become of each utterance."""

    databases: tuple[Database, Database]
    clock: WallClock
    sessions: list[Session] = attrs.field(factory=list)
    held: list[str] = attrs.field(factory=list)
    answered: set[str] = attrs.field(factory=set)
    shown: dict[str, str] = attrs.field(factory=dict)
    is_taken_up: bool = False

    async def take(self, which: int) -> None:
        """Have a new run open the next session of the call."""
        database = self.databases[which % 2]
        journal = CallJournal(database, self.clock)
        await journal.begin_run()
        info = attrs.evolve(call(), attempt=len(self.sessions))
        taken = await journal.open_call(info, must_answer=True)
        in_hand = [] if taken is None else [(each.turn, each.text) for each in taken.unanswered]
        asked, left = {text for _turn, text in in_hand}, await self.in_messages()
        # What was answered a moment ago may be asked again, and nothing else but what nobody has answered.
        assert set(self.held) - self.answered - left <= asked <= set(self.held) - left
        assert [turn for turn, _text in in_hand] == sorted(turn for turn, _text in in_hand)
        waiting = WaitingMessages(database, self.clock, journal.boot)
        self.sessions.append(Session(journal, waiting, info.attempt, in_hand))
        self.is_taken_up = False

    async def utter(self, which: int) -> None:
        """Have a caller say something on a session's line."""
        session = self.sessions[which % len(self.sessions)]
        if session.is_over:
            return
        text = f"utterance-{len(self.held)}-{self.clock.time:%H%M%S}"
        turn = session.attempt * 100_000 + len(self.held) + 1
        if await self._write(session, lambda: session.journal.hold_utterance("CA1", turn, text)):
            self.held.append(text)
            session.in_hand.append((turn, text))

    async def answer(self, which: int) -> None:
        """Answer what a session has in hand; if the call is another run's by now, nobody hears it."""
        session = self.sessions[which % len(self.sessions)]
        if session.is_over or not session.in_hand:
            return
        await session.journal.release_utterances("CA1", session.in_hand[-1][0])
        if session is self.sessions[-1] and not self.is_taken_up:
            self.answered |= {text for _turn, text in session.in_hand}
        session.in_hand.clear()

    async def leave(self, which: int) -> None:
        """Leave what a session has in hand as a message, which has all that it left before."""
        session = self.sessions[which % len(self.sessions)]
        if session.is_over or not session.in_hand:
            return
        body = " ".join([*session.left, *(text for _turn, text in session.in_hand)])
        message = draft(body=body, part=session.attempt + 1, through_turn=session.in_hand[-1][0])
        if await self._write(session, lambda: session.waiting.leave(message)):
            session.left = body.split()
            session.in_hand.clear()

    async def die(self, which: int) -> None:
        """Kill a run."""
        self.sessions[which % len(self.sessions)].is_over = True

    async def wait(self, _which: int) -> None:
        """Let half the time pass within which a caller may be back."""
        self.clock.turn(seconds=PATIENCE / 2)

    async def sweep(self, which: int) -> None:
        """Have two runs that have begun meanwhile take up at once what earlier ones have left."""
        for database in self.databases:
            await CallJournal(database, self.clock).begin_run()
        before = await self.in_messages()
        async with trio.open_nursery() as nursery:
            for database in self.databases:
                nursery.start_soon(CallJournal(database, self.clock).recover, PATIENCE)
        record = await CallJournal(self.databases[which % 2]).get("CA1")
        assert record is not None
        self.is_taken_up = self.is_taken_up or record.ended_at is not None
        assert self.is_taken_up or before == await self.in_messages()

    async def show(self, which: int) -> None:
        """Show a client the messages; none is changed afterwards."""
        waiting = WaitingMessages(self.databases[which % 2], self.clock)
        for message in await waiting.peek("my-client"):
            assert self.shown.setdefault(message.id, message.body) == message.body

    async def finish(self) -> None:
        """Let all be over: each utterance was answered, or is in a message, and in one only."""
        await self.sweep(0)
        self.clock.turn(seconds=2 * PATIENCE)
        await self.sweep(1)
        bodies = [each.body for each in await WaitingMessages(self.databases[0], self.clock).list_all()]
        words = [word for body in bodies for word in body.split()]
        assert set(self.held) == self.answered | set(words)
        await self.show(0)

    async def in_messages(self) -> set[str]:
        """Return the utterances that are in messages."""
        messages = await WaitingMessages(self.databases[0], self.clock).list_all()
        return {word for each in messages for word in each.body.split()}

    async def _write(self, session: Session, write: Callable[[], object]) -> bool:
        try:
            await write()  # type: ignore[misc]
        except CallTaken:
            # Only a run that has lost the call is refused, and then it stops.
            assert session is not self.sessions[-1] or self.is_taken_up
            session.is_over = True
            return False
        assert session is self.sessions[-1]
        assert not self.is_taken_up
        return True


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["utter", "utter", "answer", "take", "leave", "die", "wait", "sweep", "show"]),
        st.integers(0, 3),
    ),
    max_size=20,
)


def test_no_utterance_is_lost_between_runs(empty_database: Callable[[], str]) -> None:
    """Each is answered, asked again, or in a message; what was shown is not changed; one run writes at a time."""

    async def live(steps: list[tuple[str, int]]) -> None:
        url, clock = empty_database(), WallClock()
        async with open_database(url) as one, open_database(url) as other:
            world = World((one, other), clock)
            await world.take(0)
            for name, which in steps:
                await getattr(world, name)(which)
            await world.finish()

    @settings(max_examples=40 if empty_database().startswith("sqlite") else 10, deadline=None)
    @given(_STEPS)
    def check(steps: list[tuple[str, int]]) -> None:
        trio.run(live, steps)

    check()
