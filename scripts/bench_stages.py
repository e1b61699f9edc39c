"""Follows single turns through a daemon, for `bench tail`: when each stage was reached, and what held everything up.

    prompt read ─▶ taken ─▶ hold asked ─▶ handed over ─▶ batch ─▶ settled ─▶ held ─▶ asked ─▶ request out ─┐
                                                      spoken ◀─ said ◀─ answer taken ◀─ answer read ◀───┘

Runs in the daemon, see `bench_probe`. A turn is known by its marker in whatever passes, so there is nothing to be told
apart by way to the client. With each mark stands since when the task has run, since when the round of the loop has,
and since when the loop had nothing to do before that: what lies between two marks is waiting, or work, by these. So
every task that a turn passes through has its mark. Times are those of `perf_counter`, which on Linux is one clock for
all processes of a machine.
"""

from __future__ import annotations

import gc
import os
import re
import threading
from collections.abc import Callable, Sequence
from time import perf_counter, thread_time
from typing import Any

import trio

from actors.call_values import TurnRequest
from actors.events import PieceSaid, UtteranceHeard
from actors.inbox import Inbox
from actors.turn_task import TurnAnswer
from relay.http.peer_socket import PeerSocket
from relay.mcp import sampler
from relay.store.call_journal import CallJournal
from relay.store.connections import Connections
from relay.store.database import Database
from relay.store.rows import Row, Rows
from relay.store.writer_thread import WriterThread

_MARKER = re.compile(rb"load[0-9a-f]{8}c(\d+)t(\d+)", re.IGNORECASE)
_ECHO = b"You said: "
_WEBSOCKET_TEXT = 0x81

Key = tuple[int, int]
Place = Callable[..., Any]
"""A function that turns pass through."""


class Stages(trio.abc.Instrument):
    """Notes when turns reach their stages, the rounds of the loop, and the pauses of the collector."""

    def __init__(self) -> None:
        # For each turn: each stage with the moments named above.
        self.marks: dict[Key, dict[str, tuple[float, float, float, float]]] = {}
        self.batches: dict[Key, tuple[float, float]] = {}
        self.all_batches: list[tuple[float, float]] = []
        # Begin, end, and how long in it the thread did not run: in all, and for want of a processor.
        self.rounds: list[tuple[float, float, float, float]] = []
        self.pauses: list[tuple[float, float, int]] = []
        self._idle_since = self._round_since = self._step_since = 0.0
        self._cpu = self._delay = self._collecting_since = 0.0
        self._scheduled = -1

    # ── the loop ────────────────────────────────────────────────────────────────────────────────────────────────────

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - only that
        """Note the end of a round."""
        now, cpu, delay = perf_counter(), thread_time(), self._run_delay()
        if self._round_since:
            lost = max(0.0, now - self._round_since - (cpu - self._cpu))
            self.rounds.append((self._round_since, now, lost, min(lost, delay - self._delay)))
        self._idle_since = now

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - only that
        """Note the beginning of a round."""
        self._cpu, self._delay = thread_time(), self._run_delay()
        self._round_since = perf_counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - which one the mark tells
        """Note the beginning of a step."""
        self._step_since = perf_counter()

    def _run_delay(self) -> float:
        """Return for how long in all the loop's thread was ready to run and had no processor."""
        if self._scheduled < 0:
            self._scheduled = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        return int(os.pread(self._scheduled, 100, 0).split()[1]) / 1e9

    def note_collection(self, phase: str, info: dict[str, int]) -> None:
        """Note a pause of the collector."""
        if phase == "start":
            self._collecting_since = perf_counter()
        else:
            self.pauses.append((self._collecting_since, perf_counter(), info["generation"]))

    # ── the stages ──────────────────────────────────────────────────────────────────────────────────────────────────

    def mark(self, stage: str, key: Key | None) -> None:
        """Note that a turn has reached a stage; only the first time counts."""
        if key is not None:
            moments = (self._idle_since, self._round_since, self._step_since, perf_counter())
            self.marks.setdefault(key, {}).setdefault(stage, moments)

    def watch(self) -> None:
        """Stand at the places that every turn passes."""
        gc.callbacks.append(self.note_collection)
        _stand_at(PeerSocket, "receive_now", self._at_receive_now)
        _stand_at(PeerSocket, "_try", self._at_try)
        _stand_at(Inbox, "receive", self._at_inbox)
        _stand_at(CallJournal, "hold_utterance", self._at_hold)
        _stand_at(WriterThread, "settle", self._at_hand_over)
        _stand_at(Connections, "settle", self._at_settle)
        _stand_at(Database, "_settle", self._at_settled)
        _stand_at(sampler, "encode_request", self._at_encode)
        _stand_at(TurnAnswer, "say", self._at_say)

    def _at_receive_now(self, receive_now: Place) -> Place:
        def receiving_now(peer: PeerSocket) -> bytes | None:
            data: bytes | None = receive_now(peer)
            if data:
                self.mark("answer read" if _ECHO in data else "prompt read", key_of(data))
            return data

        return receiving_now

    def _at_try(self, try_to_send: Place) -> Place:
        def trying_to_send(peer: PeerSocket, data: bytes | memoryview) -> Any:
            # Before it goes out: the peer may have read it by the time that the system call is over.
            if data[0] == _WEBSOCKET_TEXT:
                self.mark("spoken", key_of(bytes(data)))
            else:
                for event in bytes(data).split(b"\n\n"):
                    self.mark("request out", key_of(event))
            return try_to_send(peer, data)

        return trying_to_send

    def _at_inbox(self, receive: Place) -> Place:
        async def receiving(inbox: Inbox[Any]) -> Any:
            event = await receive(inbox)
            if isinstance(event, UtteranceHeard):
                self.mark("taken", key_of(event.text.encode()))
            elif isinstance(event, PieceSaid):
                self.mark("said", key_of(event.text.encode()))
            return event

        return receiving

    def _at_hold(self, hold: Place) -> Place:
        async def holding(journal: CallJournal, call_sid: str, turn: int, text: str, *said: Any) -> None:
            key = key_of(text.encode())
            self.mark("hold asked", key)
            await hold(journal, call_sid, turn, text, *said)
            self.mark("held", key)

        return holding

    def _at_hand_over(self, hand_over: Place) -> Place:
        def handing_over(thread: WriterThread, writes: Sequence[Any]) -> Any:
            for write in writes:
                self.mark("handed over", key_of_write(write))
            return hand_over(thread, writes)

        return handing_over

    def _at_settle(self, settle: Place) -> Place:
        def settling(connections: Connections, writes: Sequence[Any]) -> Any:
            began = perf_counter()
            result = settle(connections, writes)
            ended = perf_counter()
            self.all_batches.append((began, ended))
            for write in writes:
                if (key := key_of_write(write)) is not None:
                    self.batches.setdefault(key, (began, ended))
            return result

        return settling

    def _at_settled(self, note_settled: Place) -> Place:
        def noting_settled(database: Database, write: Any, outcome: Any) -> None:
            note_settled(database, write, outcome)
            self.mark("settled", key_of_write(write.work))

        return noting_settled

    def _at_encode(self, encode: Place) -> Place:
        def encoding(request_id: str, request: TurnRequest) -> bytes:
            encoded: bytes = encode(request_id, request)
            self.mark("asked", key_of(encoded))
            return encoded

        return encoding

    def _at_say(self, say: Place) -> Place:
        async def saying(answer: TurnAnswer, text: str, *, last: bool = False) -> None:
            self.mark("answer taken", key_of(text.encode()))
            await say(answer, text, last=last)

        return saying

    def as_json(self) -> dict[str, Any]:
        """Return all of it; a turn's key is a word here."""
        return {
            "marks": {f"{call}.{turn}": stages for (call, turn), stages in self.marks.items()},
            "batches": {f"{call}.{turn}": times for (call, turn), times in self.batches.items()},
            "allBatches": self.all_batches,
            "rounds": self.rounds,
            "pauses": self.pauses,
        }


def _stand_at(owner: object, name: str, around: Callable[[Place], Place]) -> None:
    setattr(owner, name, around(getattr(owner, name)))


def key_of(data: bytes) -> Key | None:
    """Return the call and turn of the last marker in some bytes: what stands before it is history."""
    found = _MARKER.findall(data)
    return (int(found[-1][0]), int(found[-1][1])) if found else None


def key_of_write(work: object) -> Key | None:
    """Return the call and turn of words that are written."""
    rows = work.rows if isinstance(work, Rows) else (work,)
    texts = [row.values.get("text") for row in rows if isinstance(row, Row)]
    return next((key_of(text.encode()) for text in texts if isinstance(text, str)), None)
