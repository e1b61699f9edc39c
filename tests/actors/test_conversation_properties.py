"""The state machine under any order of events: what must hold whatever happens."""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from actors.call_values import Availability, Callee, CallOutcome, Direction, Reason, Speaker, Voicemail
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
    StoreMessage,
    TurnOutcome,
    WakeClient,
)
from actors.conversation import Conversation
from actors.events import (
    AgentSpeaking,
    AvailabilityChanged,
    CallClaimed,
    CalleeRecognised,
    CallerBargedIn,
    CallerGone,
    CallerSpeaking,
    CallHandedBack,
    CallTakenOver,
    CarrierFailed,
    DeadlinePassed,
    DigitPressed,
    DrainRequested,
    Event,
    FrameAccepted,
    FrameRejected,
    GoodbyeSaid,
    HangUpRequested,
    MessageStored,
    MessageTaken,
    MoveDue,
    MoveRequested,
    OperatorTyping,
    PartialPromptHeard,
    PieceSaid,
    SayRequested,
    SessionFailed,
    SessionStarted,
    SpeechPlayed,
    TransferRequested,
    TurnFailed,
    TurnFinished,
    UtteranceHeard,
)
from actors.narration import narrate
from actors.phases import Phase
from actors.policy import Phrases, Policy
from actors.trace import QUIET, Trace, WallClock
from tests.fakes import call_info

NOTE = "nobody answered the transfer"
# Some of the utterances, by their number, ask not to be called.
ASKING = "3."
LAST_WORDS = {Phase.UNAVAILABLE, Phase.GOODBYE, Phase.MOVING, Phase.ENDING, Phase.OVER}
ANSWERING = {Phase.CLIENT_ANSWERING, Phase.ANSWERING_MACHINE_ANSWERING}


class CallMachine(RuleBasedStateMachine):
    """Feed a conversation anything, and keep the books that the relay promises to keep."""

    @initialize(
        answering_machine=st.booleans(),
        availability=st.sampled_from(Availability),
        greeting=st.sampled_from(["", "Hello, how can I help you today?"]),
        screened=st.booleans(),
        direction=st.sampled_from(Direction),
        note=st.sampled_from(["", NOTE]),
        voicemail=st.sampled_from(Voicemail),
        fillers=st.sampled_from([(), ("One moment.",), ("One moment.", "Let me see.")]),
        operator=st.sampled_from(["", "", "ada"]),
    )
    def begin(
        self,
        *,
        answering_machine: bool,
        availability: Availability,
        greeting: str,
        screened: bool,
        direction: Direction,
        note: str,
        voicemail: Voicemail,
        fillers: tuple[str, ...],
        operator: str,
    ) -> None:
        self.now = 1000.0
        # A window that holds everything, so that the books can look for words in it.
        policy = Policy(
            has_answering_machine=answering_machine,
            max_seconds=300,
            history_lines=10_000,
            history_characters=10**9,
            asks_not_to_be_called=lambda words: words.endswith(ASKING),
            keep_transcript=True,
            takeover_notice="You are now talking to a person.",
            phrases=Phrases(filler=fillers, long_filler="I am still looking into it."),
        )
        info = call_info(
            greeting=greeting,
            screened=screened,
            direction=direction,
            note=note,
            voicemail=voicemail,
            for_voicemail="Call me back.",
        )
        self.outbound, self.voicemail = direction is Direction.OUTBOUND, voicemail
        self.opted_out = False
        self.last_filler, self.fillers = "", fillers
        self.only_filler = self.client_has_begun = False
        self.call = Conversation(info, policy, availability=availability, now=self.now, operator=operator)
        # Who has the call or is to have it; what operators typed, and how many turns are over.
        self.operator, self.typed = operator, 0
        self.over: dict[int, TurnOutcome] = {}
        self.running: int | None = None
        self.by = By.CLIENT
        self.cycle_open = False
        self.said: list[str] = []
        self.settled: set[str] = set()
        self.held: dict[int, str] = {}
        self.stored = ""
        self.hung_up = False
        self.ended = False
        self.words = 0
        self.trace = Trace(WallClock(self.now, info.started_at))
        self.feed(SessionStarted())

    def feed(self, event: Event) -> list[Command]:
        commands = self.call.handle(event, self.now)
        self.trace_step(event, commands)
        for command in commands:
            self.keep(command)
        return commands

    def trace_step(self, event: Event, commands: list[Command]) -> None:
        """Keep the step as the call session does, and tell it."""
        step = self.trace.note(event, commands, self.now, self.call.phase, self.now)
        if isinstance(event, DeadlinePassed):
            step.due, step.waited = self.call.due, self.now - self.call.waiting_since
        if isinstance(event, CallerBargedIn) and self.call.cut is not None:
            self.trace.note_cut(step, self.call.cut, self.now)
        if isinstance(event, AgentSpeaking | SpeechPlayed):
            self.trace.note_played(self.now, is_all=self.call.is_all_played)
        for command in commands:
            match command:
                case HoldUtterance() | StoreMessage():
                    self.trace.note_stored(self.now)
                case StartTurn():
                    self.trace.note_asked(command.request.turn, self.now)
                case Speak() if self.trace.unsent is not None:
                    self.trace.note_sent(self.now)
                case _:
                    pass
        for words in (True, False):
            sentence = narrate(step, direction=Direction.INBOUND, words=words)
            assert sentence is not None or type(event) in QUIET, "only what is quiet says nothing"
            assert sentence is None or (sentence[0].isupper() and sentence[-1] in ".'"), sentence

    def keep(self, command: Command) -> None:  # noqa: C901, PLR0912
        assert not self.ended or not isinstance(command, Speak | StartTurn | EndSession), "nothing after the end"
        match command:
            case Speak():
                assert command.text or self.cycle_open, "only an open talk cycle is closed"
                if command.preemptible:
                    assert not self.cycle_open, "a filler is not said into a sentence"
                    assert not self.client_has_begun, "nor after the client's first word"
                    assert self.call.phase in {Phase.CLIENT_AWAITED, Phase.CLIENT_ANSWERING}
                    # A sentence that is the only one of its kind is left out once in between, which is not seen here.
                    assert len(self.fillers) < 2 or command.text != self.last_filler, "nor twice in a row"
                    self.last_filler = command.text
                self.only_filler = command.preemptible
                self.cycle_open = not command.last
            case StartTurn():
                assert self.running is None, "one turn at a time"
                self.client_has_begun = False
                self.running, self.by = command.request.turn, command.by
                assert command.by is not By.HUMAN or self.operator, "only an operator who has the call is asked"
                if command.by is not By.ANSWERING_MACHINE:
                    spoken = {line.text for line in command.request.history}
                    assert set(self.held.values()) <= spoken, "the client is sent all that is unanswered"
                    assert command.request.history[-1].is_to_answer, "what is to be answered comes last"
                    if self.held:
                        assert command.request.history[-1].speaker is Speaker.CALLER, "the caller before any note"
            case CancelTurn():
                assert command.turn == self.running, "only the running turn is cancelled"
                self.running, self.client_has_begun = None, False
            case NoteTurn():
                assert command.turn not in self.over, "a turn ends once, so it has one answer at most"
                self.over[command.turn] = command.outcome
                if command.turn == self.running:
                    self.running = None
            case HoldUtterance():
                self.held[command.turn] = command.text
            case ReleaseUtterances():
                for turn in [each for each in self.held if each <= command.through_turn]:
                    self.settled.add(self.held.pop(turn))
            case StoreMessage():
                draft = command.draft
                assert NOTE not in draft.body, "a note is nobody's words"
                self.stored = draft.body
                for turn in [each for each in self.held if each <= draft.through_turn]:
                    del self.held[turn]
            case StopCalling():
                assert not self.opted_out, "once a call"
                self.opted_out = True
            case WakeClient():
                assert self.call.phase is Phase.CLIENT_AWAITED
            case EndSeat():
                assert command.operator == self.operator, "only who has the call can lose it"
                self.operator = ""
            case EndSession():
                self.ended = True
            case CloseLine():
                assert self.ended

    @invariant()
    def a_turn_takes_as_long_as_its_parts(self) -> None:
        for turn in self.trace.turns if hasattr(self, "trace") else ():
            parts = [part.seconds for part in turn.parts()]
            assert min(parts, default=0) >= 0, "each part comes after the one before"
            assert math.isclose(sum(parts), turn.seconds, abs_tol=1e-6), "and together they are the whole"

    @rule(seconds=st.floats(min_value=0.001, max_value=7.9))
    def time_passes(self, seconds: float) -> None:
        while self.call.deadline <= self.now + seconds:
            self.deadline_comes()
        self.now += seconds

    @precondition(lambda self: self.call.phase is not Phase.OVER)
    @rule()
    def deadline_comes(self) -> None:
        self.now = max(self.now, self.call.deadline)
        # Two may fall on the same instant; then each is acted upon in its own turn.
        for _ in range(6):
            self.feed(DeadlinePassed())
            if self.call.deadline > self.now or self.call.phase is Phase.OVER:
                return
        raise AssertionError("a deadline is acted upon")

    @rule(partial=st.booleans())
    def caller_speaks(self, partial: bool) -> None:
        self.words += 1
        text = f"utterance number {self.words}."
        dead = self.call.phase in {Phase.OVER, Phase.SCREENING}
        if not dead and not self.hung_up and not partial:
            self.said.append(text)
        alive, opted_out = self.call.phase is not Phase.OVER, self.opted_out
        commands = self.feed(PartialPromptHeard(text) if partial else UtteranceHeard(text))
        asked = alive and not partial and text.endswith(ASKING) and not opted_out
        assert commands[:1] == [StopCalling()] if asked else StopCalling() not in commands

    @rule(digit=st.sampled_from("0123456789*#"))
    def caller_presses(self, digit: str) -> None:
        self.feed(DigitPressed(digit))

    @rule(heard=st.sampled_from(["", "Hello", "I will", "something else"]))
    def caller_interrupts(self, heard: str) -> None:
        running, only_filler = self.running, self.only_filler
        is_waited_for = self.call.phase in {Phase.CLIENT_AWAITED, Phase.CLIENT_ANSWERING}
        commands = self.feed(CallerBargedIn(heard))
        assert not [each for each in commands if isinstance(each, Speak)], "nothing is said after an interrupt"
        if only_filler and is_waited_for:
            assert commands == []
        assert self.running == (running if only_filler and is_waited_for else None)
        self.cycle_open = self.only_filler = False

    @rule(
        event=st.one_of(
            st.builds(AgentSpeaking, st.booleans()),
            st.builds(CallerSpeaking, st.booleans()),
            st.just(FrameAccepted()),
            st.just(CarrierFailed("Invalid message received")),
            st.builds(SpeechPlayed, st.sampled_from(["I will", "x"])),
        )
    )
    def carrier_reports(self, event: Event) -> None:
        self.feed(event)

    @rule(times=st.integers(1, 10))
    def carrier_sends_rubbish(self, times: int) -> None:
        for _ in range(times):
            self.feed(FrameRejected("not json"))

    @rule(availability=st.sampled_from(Availability))
    def client_comes_and_goes(self, availability: Availability) -> None:
        self.feed(AvailabilityChanged(availability))

    @precondition(lambda self: self.running is not None)
    @rule(text=st.sampled_from(["I will", " look into it.", " ", ""]))
    def turn_says(self, text: str) -> None:
        assert self.running is not None
        is_machine = self.by is By.ANSWERING_MACHINE
        self.client_has_begun = self.client_has_begun or (not is_machine and bool(text.strip()))
        self.feed(PieceSaid(self.running, text))

    @precondition(lambda self: self.running is not None)
    @rule()
    def turn_finishes(self) -> None:
        assert self.running is not None
        self.feed(TurnFinished(self.running))

    @precondition(lambda self: self.running is not None)
    @rule(reason=st.sampled_from([Reason.CLIENT_ABSENT, Reason.CLIENT_LEFT, Reason.CLIENT_FAILED]))
    def turn_fails(self, reason: Reason) -> None:
        assert self.running is not None
        self.feed(TurnFailed(self.running, reason))

    @precondition(lambda self: self.running is not None)
    @rule(goodbye=st.booleans())
    def answering_machine_uses_a_tool(self, goodbye: bool) -> None:
        assert self.running is not None
        if self.by is not By.ANSWERING_MACHINE:
            event = GoodbyeSaid(self.running) if goodbye else MessageTaken(self.running, "call back", "after 8")
            assert self.feed(event) == [], "a client has no such tools"
            return
        if not goodbye:
            # The answering machine has understood these and says them in its own words: the body need not have them.
            self.settled |= {text for text in self.said if text in self.stored}
        self.feed(GoodbyeSaid(self.running) if goodbye else MessageTaken(self.running, "call back", "after 8"))

    @rule(turn=st.integers(0, 20), kind=st.sampled_from([PieceSaid, TurnFinished]))
    def stale_turn_reports(self, turn: int, kind: type[PieceSaid] | type[TurnFinished]) -> None:
        if turn == self.running:
            return
        assert self.feed(PieceSaid(turn, "late") if kind is PieceSaid else TurnFinished(turn)) == []

    @rule(say=st.sampled_from(["", "Goodbye then."]), really=st.integers(0, 4))
    def client_hangs_up(self, say: str, really: int) -> None:
        if really:
            return
        self.hung_up = self.hung_up or self.call.phase not in LAST_WORDS
        self.feed(HangUpRequested(say))

    @rule(callee=st.sampled_from(Callee), really=st.integers(0, 4))
    def carrier_recognises_the_callee(self, callee: Callee, really: int) -> None:
        if really:
            return
        is_ours = self.outbound and self.voicemail is not Voicemail.GO_ON
        is_over = self.hung_up or self.call.phase in {Phase.MOVING, Phase.ENDING, Phase.OVER}
        commands = self.feed(CalleeRecognised(callee))
        if is_over or not self.outbound:
            assert commands == []
        elif callee is Callee.VOICEMAIL and is_ours:
            self.hung_up = True
            assert self.call.phase in {Phase.GOODBYE, Phase.ENDING}
            assert self.voicemail is Voicemail.LEAVE_MESSAGE or not [
                each for each in commands if isinstance(each, Speak)
            ]

    @rule()
    def client_takes_the_call(self) -> None:
        before, here = self.call.phase, self.call
        commands = self.feed(CallClaimed())
        if before is not Phase.ANSWERING_MACHINE_LISTENING:
            assert commands == [], "only a listening answering machine is relieved at once"
            assert here.phase is before

    @rule(operator=st.sampled_from(["ada", "ada", "ben"]), now=st.booleans())
    def operator_takes_the_call(self, operator: str, now: bool) -> None:
        held, by, running = dict(self.held), self.by, self.running
        if self.call.phase not in LAST_WORDS:
            self.operator = operator
        self.feed(CallTakenOver(operator, now))
        assert held.items() <= self.held.items(), "what is unanswered stays so"
        if self.call.phase in LAST_WORDS:
            return
        if running is None or now:
            assert self.call.answering in {By.HUMAN, None}, "at a pause, or now"
        elif by is not By.HUMAN:
            assert self.running == running, "what somebody else says is heard to its end"

    @rule(operator=st.sampled_from(["ada", "ada", "ben"]))
    def operator_hands_back(self, operator: str) -> None:
        is_theirs = self.operator == operator and self.call.phase not in LAST_WORDS
        if is_theirs:
            self.operator = ""
        commands = self.feed(CallHandedBack(operator))
        assert is_theirs or commands == [], "only who has the call can give it back"

    @rule()
    def operator_says(self) -> None:
        self.typed += 1
        running, by = self.running, self.by
        commands = self.feed(SayRequested(f"typed line {self.typed}.", "ada"))
        is_anothers = running is not None and by is not By.HUMAN
        if self.call.phase in LAST_WORDS or self.call.phase is Phase.SCREENING or is_anothers:
            assert commands == [], "nobody is talked over"
        else:
            assert Speak(f"typed line {self.typed}.", last=True) in commands, "at once"
        if running is not None and by is By.HUMAN:
            assert self.over[running] is TurnOutcome.ANSWERED
            assert not self.held, "it was the answer"

    @rule(operator=st.sampled_from(["ada", "ben"]))
    def operator_types(self, operator: str) -> None:
        assert self.feed(OperatorTyping(operator)) == []

    @rule(really=st.integers(0, 9))
    def client_transfers(self, really: int) -> None:
        if really:
            return
        self.hung_up = self.hung_up or self.call.phase not in LAST_WORDS
        self.feed(TransferRequested('{"to": "+15551230003"}'))

    @rule(really=st.integers(0, 9))
    def daemon_drains(self, really: int) -> None:
        if not really:
            self.feed(DrainRequested())

    @rule(really=st.integers(0, 4), is_due=st.booleans())
    def call_moves(self, really: int, is_due: bool) -> None:
        if really:
            return
        before, held = self.call.phase, dict(self.held)
        commands = self.feed(MoveDue("{}") if is_due else MoveRequested("{}"))
        assert not [each for each in commands if isinstance(each, Speak | StartTurn | StoreMessage)], "in silence"
        assert held.items() <= self.held.items(), "what is in hand stays in hand"
        if is_due:
            assert self.call.phase is (before if before in LAST_WORDS else Phase.MOVING)

    @rule(really=st.integers(0, 9), code=st.sampled_from([1000, 1006, None]))
    def line_goes(self, really: int, code: int | None) -> None:
        if not really:
            self.feed(CallerGone(code))

    @rule()
    def message_is_stored(self) -> None:
        assert self.feed(MessageStored()) == []

    @rule(really=st.integers(0, 19))
    def session_fails(self, really: int) -> None:
        if not really:
            commands = self.feed(SessionFailed())
            assert self.call.phase is Phase.OVER
            assert not [each for each in commands if isinstance(each, Speak | StartTurn)], "only what must be durable"

    @invariant()
    def a_deadline_exists_exactly_while_the_call_lives(self) -> None:
        assert math.isinf(self.call.deadline) == (self.call.phase is Phase.OVER)

    @invariant()
    def a_turn_runs_exactly_in_the_answering_phases(self) -> None:
        assert (self.running is not None) == (self.call.phase in ANSWERING)

    @invariant()
    def no_utterance_is_lost(self) -> None:
        """Each final utterance is answered, in a client's hand, or stored as a message."""
        for text in self.said:
            kept = text in self.settled or text in self.held.values() or text in self.stored
            assert kept or self.hung_up, f"{text!r} is nowhere"

    @invariant()
    def the_record_has_the_newest_line(self) -> None:
        """What is kept ends like what the client is sent."""
        assert self.call.summary.transcript[-1:] == self.call.transcript[-1:]

    @invariant()
    def a_call_that_moves_is_expected_back(self) -> None:
        if self.call.phase is Phase.OVER and self.call.summary.outcome is CallOutcome.MOVED:
            assert self.call.may_return

    @invariant()
    def an_operator_who_has_the_call_is_the_one_who_is_asked(self) -> None:
        """Whether a client is here or not."""
        if self.call.answering is By.HUMAN:
            assert self.operator
            assert self.call.phase is not Phase.CLIENT_AWAITED
            assert self.running is None or self.by is By.HUMAN

    @invariant()
    def nothing_stays_in_hand_after_the_end(self) -> None:
        if self.call.phase is Phase.OVER:
            assert not self.held

    def teardown(self) -> None:
        if hasattr(self, "call") and self.call.phase is not Phase.OVER:
            self.feed(CallerGone(1000))
            self.no_utterance_is_lost()
            self.nothing_stays_in_hand_after_the_end()


TestCallMachine = CallMachine.TestCase
# Four times as many as for other properties: a call has more ways to go wrong than any of its parts.
TestCallMachine.settings = settings(max_examples=4 * settings().max_examples, stateful_step_count=40, deadline=None)
