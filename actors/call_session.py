"""A call session: one nursery for one socket of a call. It owns the line, the alarm and the state machine.

    PhoneLine ──▶ reader ──post──▶ ┌───────┐          ┌──────────────┐
    tools, presence, drain ─post─▶ │ inbox │ ──loop──▶│ Conversation │──commands──▶ line, store, turn
    turn (a Responder) ────send──▶ └───────┘          └──────────────┘

Three tasks at most. The *reader* moves what the carrier says into the inbox and waits for nothing else, because a
handler that stops reading never notices a hang-up; only the alarm interrupts it, and then it posts that the state
machine's deadline has come. The *loop* takes one event, asks the state machine and performs what it says, each command
to its end before the next. The *turn task* (`actors.turn_task`) runs the current responder; what it says comes back
through the inbox and is dropped by its number when the turn is not the current one any more.

A store that stalls or fails ends no call: the session waits for it only a moment (`actors.ports.Journal`), and tries
again at the end what it refused. Only the claim that a message was recorded waits for it (`Answer.take_message`).

A session whose call another run of the relay has taken stops at once and writes nothing more: what is unanswered is
that run's to ask again, and it would be left twice.

Every exception inside a call stops here, at its firewall: it is reported with the call's id, the line is closed with
1011, and the epilogue still runs. The epilogue is shielded and time-boxed: it stores what is unanswered and closes the
record, also when the daemon is being cancelled around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, assert_never

import attrs
import trio

from actors.alarm import Alarm
from actors.call_values import Availability, CallInfo, CallSummary, Line, Reason
from actors.commands import (
    By,
    CancelTurn,
    CloseLine,
    Command,
    EndSeat,
    EndSession,
    HoldUtterance,
    NoteTurn,
    ReleaseUtterances,
    Speak,
    StartTurn,
    StopCalling,
    Stored,
    StoreMessage,
    WakeClient,
)
from actors.conversation import Conversation
from actors.errors import CallTaken, LineClosed, ResponderError, StoreFailed
from actors.events import (
    AgentSpeaking,
    CallerBargedIn,
    CallerGone,
    CallNews,
    CarrierFailed,
    ClientWanted,
    DeadlinePassed,
    Event,
    FrameRejected,
    FrameUnknown,
    MessageLeft,
    MessageStored,
    MessageTaken,
    PieceSaid,
    SeatEnd,
    SeatLeft,
    SessionFailed,
    SessionStarted,
    SpeechPlayed,
    TurnFailed,
    TurnFinished,
    UtteranceHeard,
)
from actors.inbox import Inbox
from actors.phases import Phase
from actors.policy import Policy
from actors.ports import Journal, MessageStore, Observer, OptOuts, PhoneLine, Responder
from actors.trace import QUIET, Asked, CallGlance, CallView, Step, Trace, TurnTimes, WallClock
from actors.turn_task import TurnAnswer, TurnTask
from actors.turns import TURNS_PER_SESSION

# How long the epilogue may take. A database that does not answer within it is down, and holding the daemon's shutdown
# for it would lose the other calls' messages too.
EPILOGUE_SECONDS = 5.0
RETRY_SECONDS = 0.25  # how often what was not stored is tried again within that time
# The versions of a later session are higher than those of an earlier one; no session has near as many events.
EVENTS_PER_SESSION = 1_000_000_000

# What is wrong with the carrier's frames, and how the observer is told of it. By their kinds, which costs a look in a
# table: hardly any event is one of these.
_FAULTS: Mapping[type[Event], Callable[[Observer, CallInfo, Any], None]] = {
    CarrierFailed: lambda observer, info, fault: observer.carrier_failed(info, fault.description),
    FrameRejected: lambda observer, info, fault: observer.frame_rejected(info, fault.why),
    FrameUnknown: lambda observer, info, fault: observer.frame_unknown(info, fault.kind),
}
_PLAYED = frozenset({AgentSpeaking, SpeechPlayed})
# What a step is told of besides, or what is told of the newest turn.
_DETAILED = _PLAYED | {DeadlinePassed, CallerBargedIn}


@attrs.frozen(kw_only=True)
class CallServices:
    """What all calls share: responders, stores, the observer.

    `opt_outs` is the do-not-call list; None if this relay never dials. Each of `listeners` gets every `CallNews`; it
    must neither wait nor raise.
    """

    responders: Mapping[By, Responder]
    messages: MessageStore
    journal: Journal
    observer: Observer
    opt_outs: OptOuts | None = None
    listeners: Sequence[Callable[[CallNews], None]] = ()

    def publish(self, news: CallNews) -> None:
        """Pass an event to every listener. Never waits."""
        for listener in self.listeners:
            listener(news)


@attrs.define(eq=False)
class CallSession:
    """One session of a live call. `run` is its whole life; others reach it through `inbox`."""

    info: CallInfo
    line: PhoneLine
    services: CallServices
    policy: Policy
    availability: Availability = Availability.AWAY
    # The operator who had the call in its last session, and still has it; empty for none.
    operator: str = ""
    # Whether another run had the call until now, so that only the journal knows what is unanswered.
    is_taken_over: bool = False
    # What is kept of the call's steps, in its earlier sessions too. None before the first that leads to something:
    # most calls of a busy daemon only listen, and an empty one takes 1 kB.
    trace: Trace | None = None
    inbox: Inbox[Event] = attrs.field(factory=Inbox, init=False)
    # Whether the call's record is open, or will be; and whether another run has taken the call from this session.
    is_open: bool = attrs.field(default=False, init=False)
    is_taken: bool = attrs.field(default=False, init=False)
    # The message to leave if the caller of a lost line does not come back. Set when the call session is over.
    unanswered: StoreMessage | None = attrs.field(default=None, init=False)
    _conversation: Conversation = attrs.field(init=False)
    _alarm: Alarm = attrs.field(factory=Alarm, init=False)
    _nursery: trio.Nursery = attrs.field(init=False)
    # The task that has, or had, the newest turn; and by their numbers the answers of all turns that are not over.
    _turn_task: TurnTask | None = attrs.field(default=None, init=False)
    _answers: dict[int, TurnAnswer] = attrs.field(factory=dict, init=False)
    # Commands that are not performed yet, and those that could not be stored; the epilogue sees to both.
    _pending: list[Command] = attrs.field(factory=list, init=False)
    _unstored: list[Command] = attrs.field(factory=list, init=False)
    # Numbers of the newest message that was left, and that was stored. Each message includes all earlier ones.
    _left: int = attrs.field(default=0, init=False)
    _stored: int = attrs.field(default=0, init=False)
    _is_over: bool = attrs.field(default=False, init=False)
    # When the session began, how many events it has handled, and when the utterances were read that it has not handled.
    _began: float = attrs.field(factory=trio.current_time, init=False)
    _events: int = attrs.field(default=0, init=False)
    _arrivals: list[float] = attrs.field(factory=list, init=False)
    # The step whose commands are being performed.
    _step: Step | None = attrs.field(default=None, init=False)
    # The newest turn, whose times the observer does not know yet.
    _unreported: TurnTimes | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._conversation = self._converse()

    def _converse(self) -> Conversation:
        now = trio.current_time()
        return Conversation(self.info, self.policy, availability=self.availability, now=now, operator=self.operator)

    @property
    def phase(self) -> Phase:
        """The phase of the call."""
        return self._conversation.phase

    @property
    def may_return(self) -> bool:
        """Whether the line broke while the call went on, or the call moves: the caller may be back on a new one."""
        return self._conversation.may_return

    @property
    def is_screening(self) -> bool:
        """Whether the callee of a screened call is, or was at its end, still to be recognised."""
        return self._conversation.is_screening

    @property
    def transcript(self) -> tuple[Line, ...]:
        """The transcript so far."""
        return self._conversation.transcript

    @property
    def answering(self) -> By | None:
        """Who answers the caller now, or would; None while the call is nobody's."""
        return self._conversation.answering

    @property
    def has_room_to_say(self) -> bool:
        """Whether another line of an operator can wait to be said."""
        return self._conversation.has_room_to_say

    @property
    def summary(self) -> CallSummary:
        """How the call ended, or would end now."""
        return self._conversation.summary

    @property
    def version(self) -> int:
        """A number that is higher after each event of the call, in its later sessions too."""
        return self.info.attempt * EVENTS_PER_SESSION + self._events

    def glance(self) -> CallGlance:
        """Return the call as it is now, in a line."""
        trace, conversation = self.trace, self._conversation
        turns = () if trace is None else reversed(trace.turns)
        return CallGlance(
            info=self.info,
            version=self.version,
            phase=conversation.phase,
            by=conversation.answering,
            last_words=conversation.last_words,
            first_word=next((each.first_word for each in turns if each.out is not None), None),
            clock=self._clock if trace is None else trace.clock,
        )

    def view(self) -> CallView:
        """Return the call as it is now, for those who show it; what they do not ask for costs the call nothing."""
        trace, conversation = self.trace, self._conversation
        return CallView(
            info=self.info,
            version=self.version,
            phase=conversation.phase,
            by=conversation.answering,
            transcript=conversation.transcript,
            hearing=conversation.hearing,
            clock=self._clock if trace is None else trace.clock,
            turns=() if trace is None else tuple(trace.turns),
            steps=() if trace is None else tuple(trace.steps),
            left_out=0 if trace is None else trace.left_out,
            turns_left_out=0 if trace is None else trace.turns_left_out,
        )

    @property
    def _clock(self) -> WallClock:
        return WallClock(self._began, self.info.started_at)

    def note_client(self, turn: int, client: Asked) -> None:
        """Keep which client a turn was given to, for those who look at the call. Never waits."""
        if self.trace is not None:
            self.trace.note_client(turn, client)

    async def run(self) -> None:
        """Run the session until it is over and unanswered utterances are stored, or are in `unanswered`.

        Raises nothing but `trio.Cancelled`: errors are reported to the observer. On cancellation the epilogue still
        runs, for at most `EPILOGUE_SECONDS`.
        """
        closing = 1000
        try:
            try:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._read)
                    await self._loop()
                    self._nursery.cancel_scope.cancel("the call is over")
            except* CallTaken:
                # Not a normal end: should the line be the carrier's newest after all, it asks how to go on.
                closing, self.is_taken = 1011, True
                self.services.observer.call_taken(self.info)
            except* Exception as group:  # noqa: BLE001 - the firewall of a call
                closing = 1011
                self.services.observer.call_crashed(self.info, group, "call")
        finally:
            self.inbox.close()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + EPILOGUE_SECONDS) as box:
                await self._epilogue(closing)
            if box.cancelled_caught:
                late = StoreFailed(f"the epilogue took longer than {EPILOGUE_SECONDS} s")
                self.services.observer.call_crashed(self.info, late, "epilogue")
            self._is_over = True
            self._report_turn()
            summary = self._conversation.summary
            self.services.observer.call_ended(self.info, summary, trio.current_time() - self._began)
            # Not earlier: a message that a client was shown is never changed, so each further sentence to the answering
            # machine would become a message of its own.
            if summary.left_message and not self.is_taken:
                self.services.publish(MessageLeft(self.info.agent_id))

    async def _read(self) -> None:
        while True:
            with self._alarm.scope():  # `receive` loses nothing by being interrupted
                while True:
                    event = await self.line.receive()
                    if isinstance(event, UtteranceHeard):
                        self._arrivals.append(trio.current_time())
                    self.inbox.post(event)
                    if isinstance(event, CallerGone):
                        return
            if self._alarm.is_due():
                self.inbox.post(DeadlinePassed())

    async def _loop(self) -> None:
        await self._open()
        await self._handle(SessionStarted())
        while self._conversation.phase is not Phase.OVER:
            self._alarm.set(self._conversation.deadline)
            event = await self.inbox.receive()
            if (tell := _FAULTS.get(type(event))) is not None:
                tell(self.services.observer, self.info, event)
            await self._handle(event)
            if isinstance(event, MessageTaken) and (answer := self._answers.get(event.turn)) and answer.receipt:
                answer.receipt.note_left(self._left, self._stored)

    async def _open(self) -> None:
        try:
            taken = await self.services.journal.open_call(self.info, must_answer=self.is_taken_over)
        except StoreFailed as error:
            if self.is_taken_over:  # without the journal it would not know what it must ask again
                raise
            # Go on without a record: the caller is on the line.
            self.services.observer.call_crashed(self.info, error, "store")
            return
        self.is_open = True
        if taken is not None:
            self.info = attrs.evolve(self.info, opened_by=taken.lines, unanswered=taken.unanswered)
            self._conversation = self._converse()

    async def _handle(self, event: Event) -> None:
        """Ask the state machine and perform its commands in order; one that is cancelled stays for the epilogue."""
        now = trio.current_time()
        commands = self._conversation.handle(event, now)
        self._note(event, commands, now)
        self._pending.extend(commands)
        while self._pending:
            try:
                await self._perform(self._pending[0])
            except LineClosed:
                # The reader will notice it too, but perhaps only after a timeout of the carrier.
                self.inbox.post(CallerGone())
            except StoreFailed as error:
                # Nothing that was said depends on it, so the call goes on; the epilogue tries again.
                self.services.observer.call_crashed(self.info, error, "store")
                self._unstored.append(self._pending[0])
            self._pending.pop(0)

    def _note(self, event: Event, commands: Sequence[Command], now: float) -> None:
        """Keep a step for those who look at the call, and report that there is one. Waits for nobody."""
        self._events += 1
        kind, trace = type(event), self.trace
        if not commands and kind in QUIET:
            if trace is not None and trace.unheard is not None and kind in _PLAYED:
                self._note_played(event, trace, now)
        elif kind is not PieceSaid or len(commands) > 1 or trace is None or trace.is_awaited:
            if trace is None:
                trace = self.trace = Trace(self._clock)
            arrived = self._arrivals.pop(0) if kind is UtteranceHeard and self._arrivals else now
            self._step = step = trace.note(event, commands, now, self._conversation.phase, arrived)
            if kind in _DETAILED:
                self._note_details(event, step, trace, now)
        # Else it is one more piece of an answer that has begun.
        self.services.observer.changed(self.info.call_sid)

    def _note_details(self, event: Event, step: Step, trace: Trace, now: float) -> None:
        conversation = self._conversation
        match event:
            case DeadlinePassed():
                step.due, step.waited = conversation.due, now - conversation.waiting_since
            case CallerBargedIn() if conversation.cut is not None:
                trace.note_cut(step, conversation.cut, now)
            case AgentSpeaking() | SpeechPlayed():
                self._note_played(event, trace, now)
            case _:
                return

    def _note_played(self, event: Event, trace: Trace, now: float) -> None:
        is_all = self._conversation.is_all_played
        if is_all or (isinstance(event, AgentSpeaking) and not event.on):
            trace.note_played(now, is_all=is_all)

    async def _perform(self, command: Command) -> None:  # noqa: C901, PLR0912 - one case for each kind of command
        match command:
            case Speak():
                await self.line.speak(command.text, last=command.last, preemptible=command.preemptible)
                if self.trace is not None and self.trace.unsent is not None:
                    self.trace.note_sent(trio.current_time())
            case StartTurn():
                self._report_turn()
                self._start_turn(command)
                if self.trace is not None:
                    self.trace.note_asked(command.request.turn, trio.current_time())
                    self._unreported = self.trace.newest
            case HoldUtterance() | ReleaseUtterances() | StoreMessage() | StopCalling():
                await self._store(command)
            case NoteTurn():
                self.services.observer.turn_ended(self.info, command)
            case CancelTurn():
                if command.turn in self._answers:
                    self._answers[command.turn].scope.cancel("the turn is not wanted any more")
            case WakeClient():
                self.services.publish(ClientWanted(self.info))
            case EndSeat():
                info = self.info
                self.services.publish(SeatLeft(info.agent_id, info.call_sid, command.operator, SeatEnd.TIMEOUT))
            case EndSession():
                await self.line.end(command.handoff)
            case CloseLine():
                await self.line.close(command.code)
            case _:
                assert_never(command)

    async def _store(self, command: Stored) -> None:
        services = self.services
        match command:
            case HoldUtterance():
                await services.journal.hold_utterance(self.info.call_sid, command.turn, command.text, command.said)
                self._note_stored()
            case ReleaseUtterances():
                await services.journal.release_utterances(self.info.call_sid, command.through_turn, command.said)
            case StoreMessage() if command.unless_back is not None:
                self.unanswered = command
            case StoreMessage():
                self._left += 1
                on_stored = partial(self._on_stored, self._left, self._step, command.draft.reason)
                await services.messages.leave(command.draft, on_stored)
                self._note_stored()
                # This message includes those that failed earlier; storing one of them after it would drop the later
                # utterances.
                self._unstored = [each for each in self._unstored if not isinstance(each, StoreMessage)]
            case StopCalling():
                if services.opt_outs is not None:
                    await services.opt_outs.stop_calling(self.info)
            case _:
                assert_never(command)

    def _note_stored(self) -> None:
        if self.trace is not None:
            self.trace.note_stored(trio.current_time())

    def _on_stored(self, number: int, step: Step | None, reason: Reason, message_id: str) -> None:
        if step is not None:
            step.message_id = message_id
        self._stored = max(self._stored, number)
        if self._stored == self._left:
            self.inbox.post(MessageStored())
        self.services.observer.message_left(self.info, reason, message_id)
        if self._is_over:  # its listeners were notified before the message was durable
            self.services.publish(MessageLeft(self.info.agent_id))
        for answer in self._answers.values():
            if answer.receipt:
                answer.receipt.note_stored(self._stored)

    def _report_turn(self) -> None:
        """Report the times of the turn before: what was heard of an answer is known only when the next one is asked."""
        turn, self._unreported = self._unreported, None
        if turn is not None:
            self.services.observer.turn_over(self.info, turn)

    def _start_turn(self, start: StartTurn) -> None:
        if self._turn_task is None or not self._turn_task.is_free:  # the first turn, or the last one was cancelled
            self._turn_task = TurnTask()
            self._nursery.start_soon(self._run_turns, self._turn_task)
        number = start.request.turn
        self._answers[number] = TurnAnswer(self._turn_task.scope, number, self.inbox)
        self._turn_task.start(start)

    async def _run_turns(self, task: TurnTask) -> None:
        """Run turns until one is cancelled, or another task has taken over: then it ends behind its own turn."""
        with task.scope:
            while True:
                await self._run_turn(await task.next_turn())
                if task is not self._turn_task:
                    break

    async def _run_turn(self, start: StartTurn) -> None:
        number = start.request.turn
        answer = self._answers[number]
        try:
            await self.services.responders[start.by].respond(start.request, answer)
            outcome: Event = TurnFinished(number)
        except ResponderError as error:
            outcome = TurnFailed(number, error.reason)
        except Exception as error:  # noqa: BLE001 - the firewall of a turn: a broken responder is a failed turn
            self.services.observer.call_crashed(self.info, error, "turn")
            outcome = TurnFailed(number, Reason.CLIENT_FAILED)
        finally:
            del self._answers[number]
        if not answer.is_finished:
            self.inbox.send_last(outcome)

    async def _epilogue(self, closing: int) -> None:
        pending = [command for command in [*self._unstored, *self._pending] if isinstance(command, Stored)]
        if not self.is_taken:
            now = trio.current_time()
            ending = self._conversation.handle(SessionFailed(), now)
            if ending:
                self._note(SessionFailed(), ending, now)
            pending += [command for command in ending if isinstance(command, Stored)]
            try:
                await self._store_the_rest(pending)
            except CallTaken:
                self.is_taken = True
                self.services.observer.call_taken(self.info)
        await self.line.close(closing)
        # What a party has asked for is not the call's, so it counts even if the call is another run's.
        for command in pending:
            if isinstance(command, StopCalling):
                await self._store_with_retries(command)

    async def _store_the_rest(self, pending: Sequence[Stored]) -> None:
        # Utterances to hold are in a message by now, and each message includes the one before. Opt-outs come last: if
        # only the do-not-call list fails, it must not use up the time of everything else.
        newest = {command.unless_back is None: command for command in pending if isinstance(command, StoreMessage)}
        for command in pending:
            if isinstance(command, ReleaseUtterances) or command in newest.values():
                await self._store_with_retries(command)
        try:
            conversation = self._conversation
            turns = () if self.trace is None else self.trace.rows(self.info.attempt * TURNS_PER_SESSION)
            await self.services.journal.close_call(
                self.info.call_sid, conversation.summary, conversation.take_change(), turns
            )
        except StoreFailed as error:
            self.services.observer.call_crashed(self.info, error, "epilogue")

    async def _store_with_retries(self, command: Stored) -> None:
        """Store, and retry until the epilogue's time is over: this is the last chance."""
        while True:
            try:
                await self._store(command)
            except StoreFailed as error:
                self.services.observer.call_crashed(self.info, error, "epilogue")
                await trio.sleep(RETRY_SECONDS)
            else:
                return
