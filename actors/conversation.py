"""The response-path state machine of one call: events in, commands out, and one deadline. Pure.

    handle(event, now) -> [Command, ...]        .deadline        .phase

It knows no sockets, no clock and no tasks: the call actor feeds it what happens, with the time, performs what it
returns, in order, and wakes it at `.deadline`. So an eight-second rule is tested in a microsecond.

The rules, in prose
-------------------
*Three paths.* The caller's words go to the client. When no client takes them they go to the answering machine; without
one, a fixed sentence is said and the call ends. Paths are walked downwards, and each step down first leaves what the
caller said as a waiting message: a caller is never told of a message that is not durable yet. Only a client that takes
the call walks up again.

*Taking a call back.* A client that comes back may take the call from the answering machine: at once while the machine
listens, else when its turn is over, so that what it is just recording is recorded. Then the client is asked at once,
with all that was said and a note that the call is its own, so that it can speak first; what the caller said last is
what it answers. Words go to it as before. What
was left as a message stays one. A client that is away again by then has not taken anything. In any other phase there
is nothing to take: the call is the client's already, or it is ending.

*Who is asked.* A client that is here is asked at once. One that was lost a moment ago is waited for, inside the same
limit that bounds its answer; one that can only be woken is woken and waited for likewise; one that is away is not
waited for. A client whose session ends with the turn in hand has failed that turn, unless another session of the agent
is here: then that one gets it, within the same limit.

*How long.* The limit runs from the caller's newest words to the first piece of the answer, then from piece to piece.
The answering machine has a limit of its own; when it fails, the fixed sentence ends the call.

*What counts as said.* Words: a letter or a digit of any script. An answer of dots and dashes is silence on a telephone,
so it is no answer, and the next path is walked.

*What was recorded.* A caller whose message the answering machine has recorded is told so. If the machine says nothing
after it, a sentence of the relay's does; if it fails, that sentence takes the place of the one that nobody is there.

*One turn at a time.* Final words that arrive while a turn runs supersede it: the running turn is cancelled, and the
new one carries both utterances, because the earlier one is still the last line of the history. Queueing lost: the
answer to a question that the caller has already mended is noise. Answering both at once lost: answers overtake each
other. Partial words start nothing; they only show that somebody is there, and count as said if the line breaks.

*The ladder.* A caller who waits for the client, asked or lost, hears a short filler after some seconds and a longer one
later; then comes the limit. They are counted from the caller's newest words like the limit itself, so that neither a
second session nor a reconnection makes the caller wait longer. Only the first piece of an answer is waited for in this
way: a gap in the middle of an answer is bounded by the limit alone, because "one moment" inside a sentence sounds like
a part of it. A filler makes way for the answer, is not said over a caller who talks or while our own speech lasts, nor
is the same sentence said twice in a row. It is the relay's word, not the client's, and no answer to anything: an
interruption that hit only a filler leaves the turn running, since the caller has talked over nothing that the client
said, and only ends the ladder; words that follow supersede the turn like any others.

*Interruption.* The running turn is cancelled and nothing of it is said any more, not even the end of its talk cycle.
The transcript keeps what was heard. Words of which no answer was heard stay owed; if the caller then says nothing (it
was a cough), they are asked again instead of "are you still there".

*Silence.* Counted from when our last word was heard, as far as the carrier tells, else estimated. A few questions,
then a goodbye. *Keys* are collected until `#` or a gap, and are then an utterance like any other.

*Calls that we make.* The callee never asked for an answering machine: when no client takes a turn, an honest sentence
ends the call, and what was said is kept. A screened call says nothing, the greeting included, until the carrier knows
who picked up, or cannot tell in time. What is heard meanwhile is context for the first turn, not a turn: it may be a
machine's announcement. A machine that picked up is hung up on in the middle of a word, gets its message, or is talked
to like a person, as the client wished; whenever the carrier finds it out, unless the client has ended the call itself.

*Notes.* A call that comes back (from a transfer that nobody answered, say) begins with a turn about what happened. The
note is a line of the relay's in the history; it is nobody's words, so it is never owed. When no client takes it, the
paths go downwards as ever, with a message that says that this caller was there.

*"Stop calling me".* Words that ask for it put the other party on the list before anything else of that turn, in every
phase in which words are heard, the last words included; what is said about it is left to whoever answers.

*The end.* Only the client, the answering machine's own tool, or a limit ends a call; no pattern over words does.
Whatever is to be heard is heard first: the session is ended when the carrier has reported our speech as played, or
when it must have been. What the caller says meanwhile is kept, except after the client itself has hung up.
When the line is gone, whatever is still owed is left as a message, with the reason.

*A lost line.* The carrier says only afterwards whether a line that broke was a caller who hung up or one who comes back
on a new line. So what is owed then becomes a message only when the caller is not back in time. On the new line the
question is asked again before anything else, with what was heard of its answer; the caller need not repeat it.
"""

from __future__ import annotations

import math
from collections import deque
from datetime import datetime, timedelta
from itertools import takewhile
from typing import assert_never

import attrs

from actors.call_values import (
    Availability,
    Callee,
    CallInfo,
    CallSummary,
    Direction,
    Line,
    Reason,
    Speaker,
    TurnRequest,
    UnansweredUtterance,
    Voicemail,
)
from actors.commands import (
    By,
    CancelTurn,
    CloseLine,
    Command,
    EndSession,
    HoldUtterance,
    NoteTurn,
    ReleaseUtterances,
    Speak,
    StartTurn,
    StopCalling,
    StoreMessage,
    WakeClient,
)
from actors.events import (
    AgentSpeaking,
    AvailabilityChanged,
    CallClaimed,
    CalleeRecognised,
    CallerBargedIn,
    CallerGone,
    CallerSpeaking,
    CarrierFailed,
    DeadlinePassed,
    DigitPressed,
    DrainRequested,
    Event,
    FrameAccepted,
    FrameRejected,
    FrameUnknown,
    GoodbyeSaid,
    HangUpRequested,
    MessageStored,
    MessageTaken,
    PartialPromptHeard,
    PieceSaid,
    SpeechPlayed,
    TransferRequested,
    TurnFailed,
    TurnFinished,
    UtteranceHeard,
)
from actors.phases import MOVES, Phase
from actors.playback import Playback
from actors.policy import Policy
from actors.transcript import Transcript, is_audible, note_last, utterance_last
from actors.unanswered import UnansweredUtterances

# A reconnected call must not reuse the turn numbers of the connection before it; no connection comes near this many.
TURNS_PER_CONNECTION = 100_000
# More keys than any card, account or telephone number has.
MAX_DIGITS = 64
# How many sessions of one agent are tried for the same words, so that one which is here but broken cannot loop.
MAX_HANDOVERS = 3
# What a client is told that takes a call from the answering machine. In English, like all that a client is told.
CLAIM_NOTE = "You have taken this call over from the answering machine. The caller is there and waits for you to speak."
# What a kept transcript may hold. An hour of talk is some 60,000 characters; beyond this it is no conversation.
RECORD_LINES, RECORD_CHARACTERS = 20_000, 1_000_000


_LISTENING = frozenset({Phase.CLIENT_LISTENING, Phase.ANSWERING_MACHINE_LISTENING})
_ANSWERING = frozenset({Phase.CLIENT_ANSWERING, Phase.ANSWERING_MACHINE_ANSWERING})
_MACHINE = frozenset({Phase.ANSWERING_MACHINE_ANSWERING, Phase.ANSWERING_MACHINE_LISTENING})
_LAST_WORDS = frozenset({Phase.UNAVAILABLE, Phase.GOODBYE})
_CLIENT_IS_DUE = frozenset({Phase.CLIENT_AWAITED, Phase.CLIENT_ANSWERING})


@attrs.define(eq=False)
class _Turn:
    """The turn that runs: its number, who answers it, and what came of it so far."""

    number: int
    by: By
    said: bool = False
    characters: int = 0
    goodbye: bool = False
    first_word: float | None = None


class Conversation:
    """Decide what one call does next. `now` is a monotonic time in seconds; it must not run backwards."""

    def __init__(self, call: CallInfo, policy: Policy, *, availability: Availability, now: float) -> None:
        self._call = call
        self._policy = policy
        self._availability = availability
        self._born = now
        self._now = now
        self.phase = Phase.SCREENING if call.screened else Phase.CLIENT_LISTENING
        self._record = Transcript(RECORD_LINES, RECORD_CHARACTERS) if policy.keep_transcript else None
        self._transcript = Transcript(policy.history_lines, policy.history_characters, self._record)
        self._owed = UnansweredUtterances(call)
        for each in call.unanswered:
            self._owed.hold(each.turn, each.text)
        self._turn: _Turn | None = None
        self._turns = (call.connection - 1) * TURNS_PER_CONNECTION
        self._turns_by: dict[str, int] = {}
        self._handovers = 0
        self._asked_at = now
        self._caller_was_heard = bool(call.opened_by)
        self._client_ended_it = False
        # Whether the line broke while the call went on, so that the caller may be back on a new one.
        self.may_return = False
        self._is_left_unless_back = False
        self._callee: Callee | None = None
        self._opted_out = False
        # Whether the client has been told something, or is about to be, and has not answered it.
        self._note_stands = False
        # Whether the answering machine has recorded a message and said nothing since.
        self._is_unconfirmed = False
        # Whether all that was left in this call session is durable: only then may anybody be told that it was taken.
        self._is_stored = False
        # Whether a client has claimed the call from the answering machine, which is still to be relieved.
        self._is_claimed = False
        self._handoff = ""
        self._outcome = "completed"
        # The fillers of each rung of the ladder, the next one first, and the rungs that are still above this turn.
        sentences = (policy.phrases.filler, (policy.phrases.long_filler,))
        self._fillers = [deque(each for each in rung if each.strip()) for rung in sentences]
        self._rungs: list[tuple[float, deque[str]]] = []
        self._last_filler = ""
        self._playback = Playback(policy.characters_per_second, policy.answer_characters, until=now)
        # What is unfinished: partial words, keys, rejected frames in a row, questions asked into silence.
        self._partial = ""
        self._digits = ""
        self._rejected = 0
        self._reprompts = 0
        self._caller_is_talking = False
        # The deadlines; infinity is none.
        self._call_due = now + policy.max_seconds
        self._answer_due = math.inf
        self._silence_due = math.inf
        self._digits_due = math.inf
        self._ending_due = math.inf
        self._screening_due = now + policy.screening if call.screened else math.inf

        self._transcript.extend(call.opened_by)
        if call.greeting and not call.screened:
            self._transcript.add(Speaker.AGENT, call.greeting, self._wall())
            self._playback.greet(call.greeting, now)
        self._await_caller()

    # ── the door ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def deadline(self) -> float:
        """When to call `handle` with `DeadlinePassed`; infinite exactly when the call is over."""
        return min(
            self._call_due,
            self._answer_due,
            self._filler_due(),
            self._silence_due,
            self._digits_due,
            self._ending_due,
            self._screening_due,
        )

    @property
    def transcript(self) -> tuple[Line, ...]:
        """What was said so far, as the window holds it."""
        return self._transcript.window()

    @property
    def summary(self) -> CallSummary:
        """How the call ended, or would end now."""
        return CallSummary(
            outcome=self._outcome,
            turns_by=dict(self._turns_by),
            left_message=self._owed.is_left and not self._is_left_unless_back,
            transcript=() if self._record is None else self._record.window(),
        )

    def start(self, now: float) -> list[Command]:
        """Return what to do first, once: a call that comes back begins with a turn about what stood unanswered."""
        self._now = now
        note = self._call.note.strip()
        if note:
            self._transcript.add_note(note, self._wall())
        if self.phase is Phase.SCREENING:
            return []
        self._note_stands = _ends_with_a_note(self._transcript.window())
        return self._ask_again() if self._is_asked() else []

    def handle(self, event: Event, now: float) -> list[Command]:  # noqa: C901, PLR0911, PLR0912 - one case a kind
        """Take one event and return what to do, in order. Never raises for any event in any phase."""
        self._now = now
        if self.phase is Phase.OVER:
            return []
        match event:
            case UtteranceHeard():
                return self._accepted(self._heard(event.text.strip()))
            case PartialPromptHeard():
                return self._accepted(self._heard_partly(event.text.strip()))
            case CallerBargedIn():
                return self._accepted(self._interrupted(event.heard))
            case DigitPressed():
                return self._accepted(self._digit(event.digit))
            case SpeechPlayed():
                return self._accepted(self._speech_played(event.text))
            case AgentSpeaking():
                return self._accepted(self._agent_speaking(on=event.on))
            case CallerSpeaking():
                self._caller_is_talking = event.on
                self._await_caller()
                return self._accepted([])
            case FrameAccepted() | CarrierFailed():
                return self._accepted([])
            case FrameRejected():
                return self._frame_rejected()
            case FrameUnknown():
                # Neither here nor there: it says nothing, and is no sign of a carrier that has gone mad.
                return []
            case CallerGone():
                return self._line_gone(may_return=event.may_return)
            case AvailabilityChanged():
                return self._availability_changed(event.availability)
            case HangUpRequested():
                return self._hang_up(event.say.strip() if is_audible(event.say) else "")
            case TransferRequested():
                return self._transfer(event.handoff)
            case CallClaimed():
                return self._call_claimed()
            case CalleeRecognised():
                return self._callee_recognised(event.callee)
            case DrainRequested():
                return self._farewell(self._policy.phrases.drain_goodbye, Reason.RELAY_RESTARTED)
            case PieceSaid():
                return self._turn_said(event) if self._is_current(event.turn) else []
            case MessageTaken():
                return self._message_taken(event) if self._is_current(event.turn) else []
            case GoodbyeSaid():
                return self._goodbye_said() if self._is_current(event.turn) else []
            case TurnFinished():
                return self._turn_finished() if self._is_current(event.turn) else []
            case TurnFailed():
                return self._turn_failed(event.reason) if self._is_current(event.turn) else []
            case MessageStored():
                self._is_stored = True
                return []
            case DeadlinePassed():
                return self._deadline_passed()
            case _:
                assert_never(event)

    def fail(self, now: float) -> list[Command]:
        """Return what must still be made durable when the call cannot go on; the call is over then."""
        if self.phase is Phase.OVER:
            return []
        self._now = now
        self._outcome = "failed"
        return self._line_gone()

    # ── the caller ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _accepted(self, commands: list[Command]) -> list[Command]:
        self._rejected = 0
        return commands

    def _frame_rejected(self) -> list[Command]:
        self._rejected += 1
        if self._rejected < self._policy.bad_frames or self.phase is Phase.ENDING:
            return []
        self._outcome = "failed"
        return [*self._stop_turn("hung_up"), *self._leave(Reason.UNANSWERED), *self._end_session()]

    def _heard_partly(self, text: str) -> list[Command]:
        self._caller_is_talking = True
        self._reprompts = 0
        self._await_caller()
        self._partial = text
        return []

    def _heard(self, text: str) -> list[Command]:
        self._caller_is_talking = False
        self._reprompts = 0
        self._await_caller()
        self._partial = ""
        return [*self._opt_out(text), *self._words(text)] if text else []

    def _opt_out(self, text: str) -> list[Command]:
        if self._opted_out or not self._policy.asks_not_to_be_called(text):
            return []
        self._opted_out = True
        return [StopCalling()]

    def _words(self, text: str) -> list[Command]:
        self._caller_was_heard = True
        self._count_anew()
        # Before the words: what a client is asked ends with what the caller said.
        is_the_machine_s = self.phase in _MACHINE and not self._is_taken_now()
        self._transcript.add(Speaker.CALLER, text, self._wall())
        if self.phase is Phase.SCREENING:
            return []
        if self.phase in _LAST_WORDS or self.phase is Phase.ENDING:
            return self._keep_late_words(text)
        stopped = [*self._stop_turn("superseded"), *self._close_cycle()]
        if is_the_machine_s:
            self._owed.add(text)
            return [*stopped, self._message(), *self._ask_machine()]
        number = self._next_turn()
        self._owed.hold(number, text)
        return [*stopped, *self._route(number, [HoldUtterance(number, text)])]

    def _ask_again(self) -> list[Command]:
        """Ask the client about what stands, without new words of the caller."""
        self._count_anew()
        return self._route(self._next_turn(), [])

    def _route(self, number: int, held: list[Command]) -> list[Command]:
        match self._availability:
            case Availability.HERE:
                return [*held, *self._ask_client(number)]
            case Availability.JUST_LOST | Availability.WAKEABLE:
                return [*held, *self._await_client()]
            case Availability.AWAY:
                return self._step_down(Reason.CLIENT_ABSENT)
            case _:
                assert_never(self._availability)

    def _await_client(self) -> list[Command]:
        self._go(Phase.CLIENT_AWAITED)
        self._answer_due = self._limit()
        self._silence_due = math.inf
        return self._wake_if_needed()

    def _wake_if_needed(self) -> list[Command]:
        return [WakeClient()] if self._availability is Availability.WAKEABLE else []

    def _keep_late_words(self, text: str) -> list[Command]:
        if self._client_ended_it:
            return []
        if not self._owed.is_left:
            self._owed.leave(Reason.UNANSWERED)
        self._owed.add(text)
        return [self._message()]

    def _interrupted(self, heard: str) -> list[Command]:
        only_filler = self._playback.is_filler
        nothing_else = self._playback.is_of_cut_filler(heard)
        self._transcript.cut_to_heard("" if nothing_else else heard, self._playback.played)
        self._playback.stop(self._now)
        if only_filler and self.phase in _CLIENT_IS_DUE:
            self._rungs.clear()
            return []
        if self.phase in _LAST_WORDS:
            self._ending_due = min(self._ending_due, self._now + self._policy.ending_cap)
            return []
        if self.phase in _ANSWERING or self.phase is Phase.CLIENT_AWAITED:
            was_answered = self._turn is not None and self._turn.said and not nothing_else
            commands = self._stop_turn("interrupted")
            if was_answered:
                commands += self._release()
            self._listen()
            return commands
        self._await_caller()
        return []

    def _digit(self, digit: str) -> list[Command]:
        self._await_caller()
        self._reprompts = 0
        if digit != "#" and len(self._digits) < MAX_DIGITS:
            self._digits += digit
            self._digits_due = self._now + self._policy.digit_gap
            return []
        return self._digits_complete(otherwise=digit)

    def _digits_complete(self, otherwise: str = "") -> list[Command]:
        digits, self._digits = self._digits or otherwise, ""
        self._digits_due = math.inf
        return self._heard(digits)

    # ── our own speech ──────────────────────────────────────────────────────────────────────────────────────────────

    def _speech_played(self, text: str) -> list[Command]:
        self._playback.report(text)
        return self._end_if_heard() if self._playback.all_reported else []

    def _agent_speaking(self, *, on: bool) -> list[Command]:
        if not on:
            self._playback.fell_silent(self._now)
            self._await_caller()
        return self._end_if_heard() if self._playback.is_heard(self._now) else []

    def _end_if_heard(self) -> list[Command]:
        return self._end_session() if self.phase in _LAST_WORDS else []

    def _speak(self, text: str, *, last: bool) -> list[Command]:
        self._playback.spoke(text, self._now, last=last)
        return [Speak(text, last)]

    def _close_cycle(self) -> list[Command]:
        return self._speak("", last=True) if self._playback.cycle_open else []

    def _phrase(self, text: str, *, last: bool, speaker: Speaker = Speaker.RELAY) -> list[Command]:
        """Say one of the relay's own sentences, in the open talk cycle if there is one."""
        if not text:
            return self._close_cycle() if last else []
        spoken = f" {text}" if self._playback.cycle_open else text
        self._transcript.continue_line(speaker, f" {text}" if last else f" {text} ", self._wall())
        return self._speak(spoken if last else f"{spoken} ", last=last)

    # ── turns ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _next_turn(self) -> int:
        self._turns += 1
        return self._turns

    def _is_current(self, turn: int) -> bool:
        return self._turn is not None and self._turn.number == turn

    def _count_anew(self) -> None:
        """Count from now how long the caller waits."""
        self._asked_at = self._now
        self._handovers = 0
        after = (self._policy.filler_after, self._policy.long_filler_after)
        self._rungs = [(self._now + each, words) for each, words in zip(after, self._fillers, strict=True) if words]

    def _filler_due(self) -> float:
        is_waited_for = self.phase in _CLIENT_IS_DUE and not (self._turn is not None and self._turn.said)
        if not is_waited_for or not self._rungs:
            return math.inf
        return max(self._rungs[0][0], self._playback.until)

    def _fill(self) -> list[Command]:
        _due, sentences = self._rungs.pop(0)
        if self._caller_is_talking:
            return []
        text = sentences[0]
        sentences.rotate(-1)
        if text == self._last_filler:
            self._last_filler = ""
            return []
        self._last_filler = text
        self._transcript.add(Speaker.RELAY, text, self._wall())
        self._playback.fill(text, self._now)
        return [Speak(text, last=True, preemptible=True)]

    def _ask_client(self, number: int) -> list[Command]:
        self._go(Phase.CLIENT_ANSWERING)
        self._answer_due = self._limit()
        return self._start(number, By.CLIENT)

    def _ask_machine(self, said_already: str = "") -> list[Command]:
        self._go(Phase.ANSWERING_MACHINE_ANSWERING)
        self._answer_due = self._now + self._policy.answering_machine_timeout
        return self._start(self._next_turn(), By.ANSWERING_MACHINE, said_already)

    def _start(self, number: int, by: By, said_already: str = "") -> list[Command]:
        self._silence_due = math.inf
        self._turn = _Turn(number, by)
        history = self._transcript.window()
        if by is By.CLIENT:
            history = utterance_last(history) if self._owes_answer_to_utterance() else note_last(history)
        request = TurnRequest(
            call=self._call,
            turn=number,
            history=history,
            taken=self._owed.taken,
            preferences=self._owed.preferences,
            said_already=said_already,
            callee=self._callee,
            answer_within=max(0.0, self._answer_due - self._now) if by is By.CLIENT else None,
        )
        return [StartTurn(by, request)]

    def _stop_turn(self, outcome: str) -> list[Command]:
        if self._turn is None:
            return []
        return [CancelTurn(self._turn.number), *self._note_turn(outcome)]

    def _note_turn(self, outcome: str) -> list[Command]:
        turn, self._turn = self._turn, None
        self._answer_due = math.inf
        if turn is None:
            return []
        if outcome == "answered":
            self._turns_by[turn.by] = self._turns_by.get(turn.by, 0) + 1
        return [NoteTurn(turn=turn.number, by=turn.by, outcome=outcome, first_word=turn.first_word)]

    def _turn_said(self, event: PieceSaid) -> list[Command]:
        turn = self._turn
        assert turn is not None
        has_sound = is_audible(event.text)
        if not event.text or not (turn.said or has_sound):
            return []
        speaker = Speaker.AGENT if turn.by is By.CLIENT else Speaker.ANSWERING_MACHINE
        limit = self._policy.client_timeout if turn.by is By.CLIENT else self._policy.answering_machine_timeout
        if has_sound:
            self._answer_due = self._now + limit
            self._is_unconfirmed = self._is_unconfirmed and turn.by is By.CLIENT
        if not turn.said:
            turn.said = True
            turn.first_word = self._now - self._asked_at
        room = self._policy.answer_characters - turn.characters
        text = event.text[:room]
        turn.characters += len(text)
        if self._playback.cycle_open:
            self._transcript.continue_line(speaker, text, self._wall())
        else:
            self._transcript.add(speaker, text, self._wall())
        commands = self._speak(text, last=False)
        if len(event.text) < room:
            return commands
        return [*commands, CancelTurn(turn.number), *self._turn_finished()]

    def _message_taken(self, event: MessageTaken) -> list[Command]:
        self._owed.take(event.body, event.preferences)
        self._is_unconfirmed = True
        self._answer_due = self._now + self._policy.answering_machine_timeout
        return [self._message()]

    def _goodbye_said(self) -> list[Command]:
        assert self._turn is not None
        self._turn.goodbye = self._turn.by is By.ANSWERING_MACHINE
        return []

    def _turn_finished(self) -> list[Command]:
        turn = self._turn
        assert turn is not None
        confirmation = self._confirmation() if turn.by is By.ANSWERING_MACHINE else ""
        if not (turn.said or turn.goodbye or confirmation):
            return self._turn_failed(Reason.CLIENT_FAILED)
        commands = self._note_turn("answered")
        if turn.goodbye:
            commands += self._close_cycle()
        else:
            commands += self._phrase(confirmation, last=True)
        if turn.by is By.CLIENT:
            commands += self._release()
        elif self._is_taken_now():
            return [*commands, *self._ask_again()]
        if turn.goodbye:
            # A machine that has said goodbye has told the caller what there was to tell.
            sentence = self._policy.phrases.message_kept if confirmation and not turn.said else ""
            return [*commands, *self._last_words(Phase.GOODBYE, sentence, "ended")]
        self._listen()
        return commands

    def _confirmation(self) -> str:
        """Return the sentence that is still due to a caller whose message was recorded, once; empty if none is."""
        is_due, self._is_unconfirmed = self._is_unconfirmed, False
        return self._policy.phrases.message_taken if is_due and self._is_stored else ""

    def _turn_failed(self, reason: Reason) -> list[Command]:
        turn = self._turn
        assert turn is not None
        if turn.by is By.ANSWERING_MACHINE:
            return self._machine_failed("machine_failed")
        commands = self._note_turn(reason)
        gone = reason in {Reason.CLIENT_LEFT, Reason.CLIENT_ABSENT}
        if gone and not turn.said and self._handovers < MAX_HANDOVERS and self._now < self._limit():
            if self._availability is Availability.HERE:
                self._handovers += 1
                return [*commands, *self._ask_client(self._next_turn())]
            if self._availability is not Availability.AWAY and reason is Reason.CLIENT_ABSENT:
                return [*commands, *self._await_client()]
        return [*commands, *self._step_down(reason)]

    def _limit(self) -> float:
        return self._asked_at + self._policy.client_timeout

    def _machine_failed(self, outcome: str) -> list[Command]:
        if self._turn is not None and self._turn.goodbye:
            return self._turn_finished()
        stopped = self._stop_turn(outcome)
        if self._is_taken_now():
            return [*stopped, *self._close_cycle(), *self._ask_again()]
        phrases = self._policy.phrases
        is_kept = self._confirmation() or (self._owed.taken and self._is_stored)
        sentence = phrases.message_kept if is_kept else phrases.unavailable
        return [*stopped, *self._last_words(Phase.UNAVAILABLE, sentence, "unavailable")]

    def _release(self) -> list[Command]:
        self._note_stands = False
        through = self._owed.answered()
        return [] if through is None else [ReleaseUtterances(through)]

    # ── paths downwards ─────────────────────────────────────────────────────────────────────────────────────────────

    def _step_down(self, reason: Reason) -> list[Command]:
        """Leave the words in hand as a message, then let the next one down the path speak."""
        stored = self._leave(reason)
        if self._call.direction is Direction.INBOUND and not self._owed.is_left:
            # Only a note was to be answered: that this caller was there is worth knowing by itself.
            stored = self._leave_at_once(reason)
        self._note_stands = False
        if self._call.direction is Direction.OUTBOUND:
            sentence = self._policy.phrases.callee_unavailable
            return [*stored, *self._last_words(Phase.UNAVAILABLE, sentence, "unavailable")]
        if not self._policy.has_answering_machine:
            return [*stored, *self._last_words(Phase.UNAVAILABLE, self._policy.phrases.unavailable, "unavailable")]
        apology = self._policy.phrases.apology
        # The answering machine goes on from the apology in the same breath, so the line is its own.
        spoken = self._phrase(apology, last=False, speaker=Speaker.ANSWERING_MACHINE)
        return [*stored, *spoken, *self._ask_machine(apology)]

    def _leave(self, reason: Reason) -> list[Command]:
        return self._leave_at_once(reason) if self._owed.in_hand else []

    def _leave_at_once(
        self, reason: Reason, *, unless_back: tuple[UnansweredUtterance, ...] | None = None
    ) -> list[Command]:
        self._is_left_unless_back = unless_back is not None and not self._owed.is_left
        self._owed.leave(reason)
        return [self._message(unless_back)]

    def _message(self, unless_back: tuple[UnansweredUtterance, ...] | None = None) -> StoreMessage:
        self._is_stored = False
        return StoreMessage(self._owed.draft(self._transcript.window()), unless_back)

    def _availability_changed(self, availability: Availability) -> list[Command]:
        self._availability = availability
        if self.phase is not Phase.CLIENT_AWAITED:
            return []
        match availability:
            case Availability.HERE:
                return self._ask_client(self._next_turn())
            case Availability.JUST_LOST | Availability.WAKEABLE:
                return self._wake_if_needed()
            case Availability.AWAY:
                return self._step_down(Reason.CLIENT_ABSENT)
            case _:
                assert_never(availability)

    # ── and upwards ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _call_claimed(self) -> list[Command]:
        if self.phase in _LAST_WORDS or self.phase is Phase.ENDING:
            return []
        self._is_claimed = self.phase in _MACHINE
        if self.phase is Phase.ANSWERING_MACHINE_LISTENING and self._is_taken_now():
            return self._ask_again()
        return []

    def _is_taken_now(self) -> bool:
        """Say whether the answering machine is relieved here, at the end of a turn, and make it so."""
        claimed, self._is_claimed = self._is_claimed, False
        if not claimed or self._availability is Availability.AWAY:
            return False
        self._transcript.add_note(CLAIM_NOTE, self._wall())
        self._note_stands = True
        self._reprompts = 0
        return True

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _hang_up(self, say: str) -> list[Command]:
        if self.phase in _LAST_WORDS or self.phase is Phase.ENDING:
            return []
        commands = self._stop_turn("hung_up")
        self._client_ended_it = True
        commands += self._release()
        return [*commands, *self._last_words(Phase.GOODBYE, say, "ended", speaker=Speaker.AGENT)]

    def _transfer(self, handoff: str) -> list[Command]:
        if self.phase in _LAST_WORDS or self.phase is Phase.ENDING:
            return []
        self._handoff = handoff
        commands = self._hang_up("")
        self._outcome = "transferred"
        return commands

    def _callee_recognised(self, callee: Callee) -> list[Command]:
        if self._call.direction is Direction.INBOUND:
            return []
        self._callee = callee
        if callee is Callee.VOICEMAIL and self._call.voicemail is not Voicemail.GO_ON:
            return self._machine_picked_up()
        return self._somebody_is_there()

    def _machine_picked_up(self) -> list[Command]:
        if self._client_ended_it or self.phase is Phase.ENDING:
            return []
        commands = [*self._stop_turn("hung_up"), *self._release()]
        self._client_ended_it = True
        if self._call.voicemail is Voicemail.LEAVE_MESSAGE and self._call.for_voicemail.strip():
            text = self._call.for_voicemail.strip()
            return [*commands, *self._last_words(Phase.GOODBYE, text, "voicemail", speaker=Speaker.AGENT)]
        self._outcome = "voicemail"
        return [*commands, *self._end_session()]

    def _somebody_is_there(self) -> list[Command]:
        if self.phase is not Phase.SCREENING:
            return []
        self._screening_due = math.inf
        self._go(Phase.CLIENT_LISTENING)
        commands: list[Command] = []
        if self._call.greeting:
            self._transcript.add(Speaker.AGENT, self._call.greeting, self._wall())
            commands = self._speak(self._call.greeting, last=True)
        self._await_caller()
        return commands

    def _farewell(self, phrase: str, reason: Reason) -> list[Command]:
        if self.phase in _LAST_WORDS or self.phase is Phase.ENDING:
            return []
        stopped = self._stop_turn("hung_up")
        return [*stopped, *self._leave(reason), *self._last_words(Phase.GOODBYE, phrase, "farewell")]

    def _last_words(self, phase: Phase, text: str, outcome: str, *, speaker: Speaker = Speaker.RELAY) -> list[Command]:
        """Say the last sentence of the call and wait until it was heard."""
        self._go(phase)
        self._outcome = outcome
        self._silence_due = self._answer_due = self._screening_due = math.inf
        commands: list[Command] = []
        if text and speaker is Speaker.AGENT:
            spoken = f" {text}" if self._playback.cycle_open else text
            self._transcript.add(speaker, text, self._wall())
            commands += self._speak(spoken, last=True)
        else:
            commands += self._phrase(text, last=True)
        if self._playback.is_heard(self._now):
            return [*commands, *self._end_session()]
        self._ending_due = max(self._now, self._playback.until) + self._policy.ending_cap
        return commands

    def _end_session(self) -> list[Command]:
        self._go(Phase.ENDING)
        self._silence_due = self._answer_due = self._call_due = self._digits_due = self._screening_due = math.inf
        self._ending_due = self._now + self._policy.line_close_cap
        return [EndSession(self._handoff)]

    def _line_gone(self, *, may_return: bool = False) -> list[Command]:
        self.may_return = may_return = may_return and self.phase not in _LAST_WORDS and self.phase is not Phase.ENDING
        if may_return and self._turn is not None and self._turn.said:
            # What is asked again is asked with what was heard of the answer, as after an interruption.
            self._transcript.cut_to_heard("", self._playback.played)
        commands = self._stop_turn("hung_up")
        unfinished = " ".join(each for each in (self._partial, self._digits) if each)
        commands += self._opt_out(unfinished) if unfinished else []
        if unfinished and not self._client_ended_it:
            self._transcript.add(Speaker.CALLER, unfinished, self._wall())
            self._caller_was_heard = True
            if self._owed.is_left and not self._owed.in_hand:
                self._owed.add(unfinished)
                commands.append(self._message())
            else:
                number = self._next_turn()
                self._owed.hold(number, unfinished)
                # A message has its words in it; what waits for the caller's return must be durable meanwhile.
                commands += [HoldUtterance(number, unfinished)] if may_return else []
        utterances = self._owed.utterances if may_return else None
        absent = self._availability is not Availability.HERE
        unheard = self._note_stands or not self._caller_was_heard
        if self._owed.in_hand:
            reason = Reason.CLIENT_ABSENT if absent else Reason.UNANSWERED
            commands += self._leave_at_once(reason, unless_back=utterances)
        elif unheard and absent and self._call.direction is Direction.INBOUND and not self._owed.is_left:
            # Nobody spoke and nobody could have answered: that somebody called is still worth knowing.
            commands += self._leave_at_once(Reason.CLIENT_ABSENT, unless_back=utterances)
        self._go(Phase.OVER)
        self._call_due = self._answer_due = self._silence_due = self._digits_due = math.inf
        self._ending_due = self._screening_due = math.inf
        return commands

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _deadline_passed(self) -> list[Command]:  # noqa: PLR0911 - one return a deadline
        """Act on the one deadline that is due; the most final one first."""
        now = self._now
        if self._call_due <= now:
            self._call_due = math.inf
            return self._farewell(self._policy.phrases.time_goodbye, Reason.UNANSWERED)
        if self._ending_due <= now:
            self._ending_due = math.inf
            if self.phase is Phase.ENDING:
                return [CloseLine(1000), *self._line_gone()]
            return self._end_session()
        if self._screening_due <= now:
            return self._somebody_is_there()
        if self._digits_due <= now:
            return self._digits_complete()
        if self._answer_due <= now:
            return self._answer_overdue()
        if self._filler_due() <= now:
            return self._fill()
        if self._silence_due <= now:
            return self._silence()
        return []

    def _answer_overdue(self) -> list[Command]:
        if self._turn is None:
            return self._step_down(Reason.CLIENT_ABSENT)
        if self._turn.by is By.CLIENT:
            return [*self._stop_turn(Reason.CLIENT_TIMEOUT), *self._step_down(Reason.CLIENT_TIMEOUT)]
        return self._machine_failed("machine_timeout")

    def _owes_answer_to_utterance(self) -> bool:
        """Whether the client is to answer what the caller said: in hand, or said to the answering machine before."""
        return self._owed.in_hand or (self._note_stands and self._owed.is_left)

    def _is_asked(self) -> bool:
        """Whether the client owes an answer, to words or to a note."""
        return self._owed.in_hand or self._note_stands

    def _silence(self) -> list[Command]:
        if self._is_asked():
            # An interruption cut the turn short and nothing was said after it: the question still stands.
            return self._ask_again()
        phrases = self._policy.phrases
        if self._reprompts >= self._policy.reprompts:
            return self._farewell(phrases.silence_goodbye, Reason.UNANSWERED)
        self._reprompts += 1
        commands = self._phrase(phrases.still_there, last=True)
        self._await_caller()
        return commands

    def _listen(self) -> None:
        is_the_machine_s = self.phase in _MACHINE and not self._is_taken_now()
        self._go(Phase.ANSWERING_MACHINE_LISTENING if is_the_machine_s else Phase.CLIENT_LISTENING)
        self._answer_due = math.inf
        self._await_caller()

    def _await_caller(self) -> None:
        if self.phase in _LISTENING:
            coughed = self._is_asked() and not self._caller_is_talking
            wait = self._policy.false_barge_in if coughed else self._policy.silence
            self._silence_due = max(self._now, self._playback.until) + wait

    def _go(self, phase: Phase) -> None:
        if phase not in MOVES[self.phase]:
            raise AssertionError(f"no way from {self.phase} to {phase}")
        self.phase = phase

    def _wall(self) -> datetime:
        return self._call.started_at + timedelta(seconds=self._now - self._born)


def _ends_with_a_note(lines: tuple[Line, ...]) -> bool:
    """Whether a note came after everything that either party said, so that nobody has taken it up yet."""
    return any(line.is_note for line in takewhile(lambda line: line.speaker is Speaker.RELAY, reversed(lines)))
