"""The response-path state machine of one call: events in, commands out, and one deadline. Pure.

    handle(event, now) -> [Command, ...]        .deadline        .phase

It knows no sockets, no clock and no tasks: the call session feeds it what happens, with the time, performs what it
returns, in order, and wakes it at `.deadline`. So an eight-second rule is tested in a microsecond. Which event means
something in which phase, and where it may lead, is a table (`actors.phases`); what it means is here.

The rules, in prose
-------------------
*Three paths.* What the caller says goes to the client. When no client takes it, it goes to the answering machine;
without one, a fixed sentence is said and the call ends. Paths are walked downwards, and each step down first leaves
what the caller said as a waiting message: a caller never hears of a message that is not durable yet. Only a client
that claims the call walks up again.

*Claiming a call.* A client that comes back may claim the call from the answering machine: it gets it at once while the
answering machine listens, else when its turn is over, so that what it is just recording is recorded. Then the client is
asked at once, with the whole transcript and a note that the call is now its own, so that it can speak first; it answers
the caller's last utterance. Later ones go to it as before. A message that was left stays a message. A claim has no
effect if the client is away again by then, or in any other phase: the call is the client's already, or it is ending.

*Who is asked.* A client that is here is asked at once. One that was lost a moment ago is waited for, inside the same
limit that bounds its answer; one that can only be woken is woken and waited for likewise; one that is away is not
waited for. When a client's session ends during a turn, another session of the agent gets that turn within the same
limit; if there is none, the turn has failed.

*How long.* The limit runs from the caller's newest utterance to the first piece of the answer, then from piece to
piece. The answering machine has a limit of its own; when it fails, the fixed sentence ends the call.

*What counts as an answer.* Text with at least one letter or digit of any script. Dots and dashes are silence on a
telephone, so an answer of nothing else has failed, and the next path is taken.

*Confirming a message.* A caller whose message was recorded hears that it was. The answering machine says so; if it says
nothing after recording, or fails, the relay says a sentence of its own instead.

*One turn at a time.* An utterance that arrives while a turn runs supersedes it: the running turn is cancelled, and the
new one carries both utterances, because the earlier one is still the last line of the history. Queueing the turns lost:
an answer to a question that the caller has corrected is of no use. Answering both at once lost: the answers would
overtake each other. Partial prompts start no turn; they only show that the caller is talking, and count as an utterance
if the line breaks.

*Fillers.* A caller who waits for the client hears a short filler after some seconds and a longer one later; then comes
the limit. They are counted from the caller's newest utterance like the limit itself, so that neither a second session
nor a reconnection makes the caller wait longer. Fillers are only said before the first piece of an answer: a gap in the
middle is bounded by the limit alone, because "one moment" inside a sentence sounds like a part of it. The answer
interrupts a filler. A filler is not said while the caller talks or our own speech lasts, and never twice in a row. It
is the relay's, not part of the client's answer: a barge-in on a filler leaves the turn running and only stops further
fillers; an utterance that follows supersedes the turn like any other.

*Barge-in.* The running turn is cancelled and nothing more of it is sent, not even the end of its talk cycle. The
transcript keeps what was heard. Utterances of which no answer was heard stay unanswered; if no utterance follows (a
false barge-in), they are asked again instead of "are you still there".

*Silence.* Counted from when our last word was heard, as the carrier reports it, else as estimated. After it the relay
asks a few times whether the caller is still there, then says goodbye. *Keys* are collected until `#` or a gap, and are
then an utterance like any other.

*An operator in the call.* An operator may take the call over, at its next pause or now. A pause is when nobody answers:
while the call listens or waits for a client, and where a turn ends, fails, or is superseded. Now cancels the turn that
runs, and the operator is asked in its place. From then on the operator is asked whether a client is here or not, and
has a longer limit, which typing renews; the fillers are the same. What an operator says answers the turn that they were
asked; without one it is said at once. An operator who does not have the call may say something too: after the answer
that runs, so that nobody is talked over. The call goes back to the client, or to who is there instead of it, when the
operator hands it back or does not answer in time: with a note that a person has spoken, and utterances in hand are
asked again, with the client's whole limit. A second operator takes the call from the first one. Where a call goes on in
another session without its operator, the note says so there.

*Calls that we make.* A callee gets no answering machine: when no client takes a turn, a sentence that says so ends the
call, and the transcript is kept. A screened call says nothing, the greeting included, until the carrier knows who
picked up, or cannot tell in time. What is heard meanwhile is context for the first turn, not a turn: it may be a
voicemail's announcement. When the carrier finds that a voicemail picked up, the relay hangs up at once, leaves a
message, or goes on as with a person, as the client requested; not if the client has ended the call itself.

*Notes.* A call that comes back (from a transfer that was not answered, say) begins with a turn about what happened. The
note is a line of the relay's in the history; neither party said it, so it is never an unanswered utterance. When no
client takes that turn, the next path is taken as usual, with a waiting message that says that this caller was there.

*"Stop calling me".* An utterance that asks for it puts the other party on the do-not-call list before anything else of
that turn, in every phase in which utterances are heard, the last one included; what is said about it is left to the
responder.

*The end.* Only the client, the answering machine's own tool, or a limit ends a call; no pattern in an utterance does.
Our last speech is heard first: the session is ended when the carrier has reported it as played, or when it must have
been. What the caller says meanwhile is kept, except after the client itself has hung up. When the line is gone, all
unanswered utterances are left as a message, with the reason.

*Moving.* A call may be asked to go on in another session, of this process or another one. It goes on as ever until its
caller has just finished speaking: then the utterance is held and, instead of asking anybody, the session is ended
towards the carrier, which comes back for the next one. So the gap falls into the wait for the answer, and no word of
the caller's falls into the gap. The same where a client would be asked again, or has left with the turn. When the time
for that is over, the call moves in the middle of whatever is said: a running turn is stopped, the transcript keeps what
was heard of it, and utterances in hand stay in hand. Nothing is said, and no message is left unless nobody comes back,
as for a lost line. What comes while the session is being ended is held too. A call that is already ending does not
move.

*A lost line.* When a line breaks, the carrier says only later whether the caller hung up or comes back on a new line.
So unanswered utterances become a message only when the caller is not back in time. On the new line the question is
asked again before anything else, with what was heard of its answer; the caller need not repeat it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, assert_never, get_args

from actors import events
from actors.call_values import (
    Availability,
    Callee,
    CallInfo,
    CallOutcome,
    CallSummary,
    Direction,
    Line,
    Reason,
    Speaker,
    TranscriptChange,
    TurnRequest,
    UnansweredUtterance,
    Voicemail,
)
from actors.commands import (
    By,
    CancelTurn,
    CloseLine,
    Command,
    EndSeat,
    EndSession,
    HoldUtterance,
    ReleaseUtterances,
    Speak,
    StartTurn,
    StopCalling,
    StoreMessage,
    TurnOutcome,
    WakeClient,
)
from actors.deadlines import Deadline, Deadlines
from actors.fillers import Fillers
from actors.phases import STAY, TRANSITIONS, Phase
from actors.playback import Playback
from actors.policy import Policy
from actors.take_over import SPOKE_NOTE, TAKEN_NOTE, TakeOver, is_left_taken
from actors.transcript import Cut, Transcript, is_audible, note_last, utterance_last
from actors.turns import Turns
from actors.unanswered import UnansweredUtterances

# More keys than any card, account or telephone number has.
MAX_DIGITS = 64
# How many client sessions of one agent are tried for the same turn, so that one which is here but broken cannot loop.
MAX_HANDOVERS = 3
# The note to a client that claims a call from the answering machine. In English, like every text for a client.
CLAIM_NOTE = "You have taken this call over from the answering machine. The caller is there and waits for you to speak."
# The lines of a session that comes later have higher numbers; no session has near as many.
LINES_PER_SESSION = 100_000
# What a kept transcript may hold. An hour of talk is some 60,000 characters; beyond this it is no conversation.
RECORD_LINES, RECORD_CHARACTERS = 20_000, 1_000_000

_LISTENING = frozenset({Phase.CLIENT_LISTENING, Phase.ANSWERING_MACHINE_LISTENING})
_ANSWERING_MACHINE = frozenset({Phase.ANSWERING_MACHINE_ANSWERING, Phase.ANSWERING_MACHINE_LISTENING})
_LAST_WORDS = frozenset({Phase.UNAVAILABLE, Phase.GOODBYE})
_LEAVING = _LAST_WORDS | {Phase.ENDING}
_CLIENT_IS_DUE = frozenset({Phase.CLIENT_AWAITED, Phase.CLIENT_ANSWERING})
# Where the call is nobody's: an operator who is to have it has to wait, perhaps in vain.
_NONE_ANSWERS = _LEAVING | {Phase.SCREENING, Phase.MOVING, Phase.OVER}
_SPEAKERS = {
    By.CLIENT: Speaker.AGENT,
    By.ANSWERING_MACHINE: Speaker.ANSWERING_MACHINE,
    By.HUMAN: Speaker.OPERATOR,
}

# What is still waited for in the next phase; every other deadline belongs to the phase that set it.
_OUTLASTING: Mapping[Phase, tuple[Deadline, ...]] = {
    **dict.fromkeys(Phase, (Deadline.CALL, Deadline.KEYS)),
    **dict.fromkeys((*_LAST_WORDS, Phase.MOVING), (Deadline.KEYS,)),
    **dict.fromkeys((Phase.ENDING, Phase.OVER), ()),
}
_ACCEPTED = frozenset(get_args(events.AcceptedFrame))


class Conversation:
    """Decide what one call does next. `now` is a monotonic time in seconds; it must not run backwards."""

    def __init__(
        self, call: CallInfo, policy: Policy, *, availability: Availability, now: float, operator: str = ""
    ) -> None:
        self._call = call
        self._policy = policy
        self._availability = availability
        self._connected_at = self._now = now
        self.phase = Phase.SCREENING if call.screened else Phase.CLIENT_LISTENING
        # Where the event that is being handled may lead.
        self._moves = STAY
        self._deadlines = Deadlines()
        self._deadlines.set(Deadline.CALL, now + policy.max_seconds)
        # What was said.
        self._record = Transcript(RECORD_LINES, RECORD_CHARACTERS) if policy.keep_transcript else None
        self._transcript = Transcript(
            policy.history_lines,
            policy.history_characters,
            self._record,
            first_number=call.attempt * LINES_PER_SESSION + 1,
        )
        self._transcript.extend(call.opened_by)
        self._caller_was_heard = bool(call.opened_by)
        # What is unfinished: a partial prompt, keys, rejected frames in a row, questions asked into silence.
        self._partial = ""
        self._keys = ""
        self._rejected = 0
        self._reprompts = 0
        self._caller_is_talking = False
        # What we say.
        self._playback = Playback(policy.characters_per_second, policy.answer_characters, until=now)
        self._fillers = Fillers.of(
            (policy.filler_after, policy.phrases.filler), (policy.long_filler_after, (policy.phrases.long_filler,))
        )
        # Who answers, and since when the caller waits.
        self._turns = Turns.of_session(call.attempt, now)
        # What waits for an answer, and what was left as a message.
        self._unanswered = UnansweredUtterances(call)
        for each in call.unanswered:
            self._unanswered.hold(each.turn, each.text)
        # Whether a client has claimed the call from the answering machine, which is still to be relieved.
        self._is_claimed = False
        # The operator who takes the call, or has it, as in its last session perhaps.
        self._take_over = TakeOver(operator, bool(operator) and not call.screened, has_spoken=bool(operator))
        # Whether the callee is still to be recognised, and what the carrier is to be handed if the call is to move.
        self.is_screening = call.screened
        self._moves_with: str | None = None
        # How it ends.
        self._callee: Callee | None = None
        self._opted_out = False
        self._client_ended_it = False
        self._handoff = ""
        self._outcome = CallOutcome.COMPLETED
        # Whether the line broke while the call went on, so that the caller may be back on a new one.
        self.may_return = False

        if call.screened:
            self._deadlines.set(Deadline.SCREENING, now + policy.screening)
        elif call.greeting:
            self._transcript.add(Speaker.AGENT, call.greeting, self._wall_clock())
            self._playback.greet(call.greeting, now)
        self._await_caller()

    # ── events in ────────────────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, event: events.Event, now: float) -> list[Command]:
        """Handle one event and return the commands to perform, in order. Never raises for any event in any phase."""
        self._now = now
        kind = type(event)
        moves = TRANSITIONS[self.phase][kind]
        if moves is None:
            return []
        # A turn that was cancelled may still report: what it says is dropped by its number.
        turn = self._turns.running
        if turn is not None and isinstance(event, events.TurnEvent) and event.turn != turn.number:
            return []
        if kind in _ACCEPTED:
            self._rejected = 0
        self._moves = moves
        return self._HANDLERS[kind](self, event)

    @property
    def deadline(self) -> float:
        """When to call `handle` with `DeadlinePassed`; `inf` exactly when the call is over."""
        return min(self._deadlines.earliest, self._filler_due())

    @property
    def transcript(self) -> tuple[Line, ...]:
        """The transcript so far, within its window."""
        return self._transcript.window()

    @property
    def hearing(self) -> str:
        """What the caller is saying, as far as the carrier has guessed it; empty between utterances."""
        return self._partial

    @property
    def last_words(self) -> str:
        """What the caller is saying, or else what was said last; empty if nothing was."""
        return self._partial or self._transcript.last_spoken

    @property
    def waiting_since(self) -> float:
        """When the caller began to wait for an answer; of a caller who does not wait, for the last one."""
        return self._turns.asked_at

    @property
    def is_all_played(self) -> bool:
        """Whether the carrier has reported every piece of our speech as played."""
        return self._playback.all_reported

    @property
    def due(self) -> Deadline | None:
        """The deadline that was handled last; None if it was only time for a filler."""
        return self._deadlines.due

    @property
    def cut(self) -> Cut | None:
        """What of our speech was cut off last, by a barge-in or by the end of a session; None if nothing was."""
        return self._transcript.cut

    def take_change(self) -> TranscriptChange | None:
        """Return what the transcript has become since a command last carried that; None if it is the same."""
        return self._transcript.take_change(self._turns.newest)

    @property
    def answering(self) -> By | None:
        """Who answers the caller now, or would; None while the call is nobody's."""
        if self.phase in _NONE_ANSWERS:
            return None
        if self._take_over.is_seated:
            return By.HUMAN
        return By.ANSWERING_MACHINE if self.phase in _ANSWERING_MACHINE else By.CLIENT

    @property
    def has_room_to_say(self) -> bool:
        """Whether another line of an operator can wait to be said."""
        return not self._take_over.is_full

    @property
    def summary(self) -> CallSummary:
        """How the call ended, or would end now."""
        return CallSummary(
            outcome=self._outcome,
            turns_by=dict(self._turns.answered_by),
            left_message=self._unanswered.is_final_message,
            transcript=() if self._record is None else self._record.window(),
        )

    # ── the call session ────────────────────────────────────────────────────────────────────────────────────────────

    def _on_session_started(self, _event: events.SessionStarted) -> list[Command]:
        """Start a turn at once if a note or unanswered utterances came with the call."""
        if note := self._call.note.strip():
            self._transcript.add_note(note, self._wall_clock())
        if self.phase is Phase.SCREENING:
            return []
        self._note_operator()
        self._unanswered.note_is_pending = self._transcript.ends_with_note
        return self._ask_again() if self._unanswered.is_asked else []

    def _note_operator(self) -> None:
        """Add the note that is missing: an operator has the call only since it is in this session, or not any more."""
        was_seated, is_seated = is_left_taken(self._transcript.window()), self._take_over.is_seated
        if is_seated and not was_seated:
            self._transcript.add_note(TAKEN_NOTE, self._wall_clock())
        elif was_seated and not is_seated:
            self._transcript.add_note(SPOKE_NOTE, self._wall_clock())

    def _on_session_failed(self, _event: events.SessionFailed) -> list[Command]:
        self._outcome = CallOutcome.FAILED
        return self._end_call()

    def _on_caller_gone(self, event: events.CallerGone) -> list[Command]:
        # Of a session that we have ended ourselves to move the call, the close code says nothing of the caller.
        may_return = self.phase is Phase.MOVING or (event.may_return and self.phase not in _LEAVING)
        return self._end_call(may_return=may_return)

    def _do_nothing(self, _event: events.FrameAccepted | events.CarrierFailed) -> list[Command]:
        """Change nothing: that the frame is of a known form is noted for every such frame, in `handle`."""
        return []

    def _on_frame_rejected(self, _event: events.FrameRejected) -> list[Command]:
        self._rejected += 1
        if self._rejected < self._policy.bad_frames:
            return []
        self._outcome = CallOutcome.FAILED
        return [*self._turns.stop(TurnOutcome.HUNG_UP), *self._leave(Reason.UNANSWERED), *self._end_session()]

    # ── the caller ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_partial_prompt(self, event: events.PartialPromptHeard) -> list[Command]:
        self._partial = event.text.strip()
        self._reprompts = 0
        return self._note_caller_talking(is_talking=True)

    def _on_caller_speaking(self, event: events.CallerSpeaking) -> list[Command]:
        return self._note_caller_talking(is_talking=event.on)

    def _note_caller_talking(self, *, is_talking: bool) -> list[Command]:
        self._caller_is_talking = is_talking
        self._await_caller()
        return []

    def _on_utterance(self, event: events.UtteranceHeard) -> list[Command]:
        return self._hear(event.text.strip())

    def _on_digit(self, event: events.DigitPressed) -> list[Command]:
        self._await_caller()
        self._reprompts = 0
        if event.digit == "#" or len(self._keys) >= MAX_DIGITS:
            return self._hear_keys(otherwise=event.digit)
        self._keys += event.digit
        self._deadlines.set(Deadline.KEYS, self._now + self._policy.digit_gap)
        return []

    def _hear_keys(self, otherwise: str = "") -> list[Command]:
        keys, self._keys = self._keys or otherwise, ""
        self._deadlines.clear(Deadline.KEYS)
        return self._hear(keys)

    def _hear(self, text: str) -> list[Command]:
        self._partial = ""
        self._reprompts = 0
        self._note_caller_talking(is_talking=False)
        return [*self._opt_out(text), *self._take_utterance(text)] if text else []

    def _opt_out(self, text: str) -> list[Command]:
        if self._opted_out or not self._policy.asks_not_to_be_called(text):
            return []
        self._opted_out = True
        return [StopCalling()]

    def _take_utterance(self, text: str) -> list[Command]:
        self._caller_was_heard = True
        self._restart_wait()
        # Before the utterance: what a client is asked ends with what the caller said.
        is_for_client = self._sit_down() or self.phase not in _ANSWERING_MACHINE or self._hand_over()
        self._transcript.add(Speaker.CALLER, text, self._wall_clock())
        if self.phase is Phase.SCREENING:
            return []
        if self.phase in _LEAVING:
            return self._keep_late_utterance(text)
        stopped = [*self._turns.stop(TurnOutcome.SUPERSEDED), *self._close_cycle()]
        if not (is_for_client or self._is_to_move):
            self._unanswered.add(text)
            return [*stopped, self._store_message(), *self._ask_answering_machine()]
        number = self._turns.next_number()
        self._unanswered.hold(number, text)
        if self.phase is Phase.MOVING:
            return [*stopped, *self._hold(number, text)]
        return [*stopped, *self._route(number, text)]

    def _keep_late_utterance(self, text: str) -> list[Command]:
        if self._client_ended_it:
            return []
        if not self._unanswered.is_left:
            self._unanswered.leave(Reason.UNANSWERED)
        self._unanswered.add(text)
        return [self._store_message()]

    def _on_barge_in(self, event: events.CallerBargedIn) -> list[Command]:
        only_filler = self._playback.is_filler
        nothing_else = self._playback.is_of_cut_filler(event.heard)
        self._transcript.cut_to_heard("" if nothing_else else event.heard, self._playback.played)
        self._playback.stop(self._now)
        if self.phase in _LAST_WORDS:
            self._deadlines.bring_forward(Deadline.ENDING, self._now + self._policy.ending_cap)
            return []
        if only_filler and self.phase in _CLIENT_IS_DUE:
            self._fillers.stop()
            return []
        turn = self._turns.running
        if self.phase is not Phase.CLIENT_AWAITED and turn is None:
            self._await_caller()
            return []
        was_answered = turn is not None and turn.has_begun and not nothing_else
        commands = [*self._turns.stop(TurnOutcome.INTERRUPTED), *(self._release() if was_answered else [])]
        self._listen()
        return commands

    # ── our own speech ──────────────────────────────────────────────────────────────────────────────────────────────

    def _on_speech_played(self, event: events.SpeechPlayed) -> list[Command]:
        self._playback.report(event.text)
        return self._end_session() if self._playback.all_reported and self.phase in _LAST_WORDS else []

    def _on_agent_speaking(self, event: events.AgentSpeaking) -> list[Command]:
        if not event.on:
            self._playback.fell_silent(self._now)
            self._await_caller()
        return self._end_session() if self._playback.is_heard(self._now) and self.phase in _LAST_WORDS else []

    def _speak(self, text: str, *, last: bool) -> list[Command]:
        self._playback.spoke(text, self._now, last=last)
        return [Speak(text, last)]

    def _close_cycle(self) -> list[Command]:
        return self._speak("", last=True) if self._playback.cycle_open else []

    def _phrase(self, text: str, *, last: bool, speaker: Speaker = Speaker.RELAY) -> list[Command]:
        """Speak one of the relay's own sentences, in the open talk cycle if there is one."""
        if not text:
            return self._close_cycle() if last else []
        spoken = f" {text}" if self._playback.cycle_open else text
        self._transcript.continue_line(speaker, f" {text}" if last else f" {text} ", self._wall_clock())
        return self._speak(spoken if last else f"{spoken} ", last=last)

    def _filler_due(self) -> float:
        """Return when to say a filler: never while our own speech lasts, and never once the answer has begun."""
        turn = self._turns.running
        if self.phase not in _CLIENT_IS_DUE or (turn is not None and turn.has_begun):
            return math.inf
        return max(self._fillers.due, self._playback.until)

    def _say_filler(self) -> list[Command]:
        if self._caller_is_talking:
            self._fillers.skip()
            return []
        if not (text := self._fillers.take()):
            return []
        self._transcript.add(Speaker.RELAY, text, self._wall_clock())
        self._playback.fill(text, self._now)
        return [Speak(text, last=True, preemptible=True)]

    # ── turns begin ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _restart_wait(self) -> None:
        """Restart the time limit and the fillers from now."""
        self._turns.restart_wait(self._now)
        self._fillers.restart(self._now)

    def _ask_again(self) -> list[Command]:
        """Start a turn for the pending utterances or note, without a new utterance."""
        self._restart_wait()
        return self._route(self._turns.next_number())

    def _on_availability(self, event: events.AvailabilityChanged) -> list[Command]:
        self._availability = event.availability
        return self._route(self._turns.next_number()) if self.phase is Phase.CLIENT_AWAITED else []

    def _route(self, number: int, utterance: str = "") -> list[Command]:
        """Ask an operator who has the call, or a client that is here; else wait for one that may come, or step down.

        If the call is to move, it does instead.

        What the caller has just said is held before a client gets it.
        """
        if self._is_to_move:
            return [*self._hold(number, utterance), *self._move()]
        if self._take_over.is_seated:
            return [*self._hold(number, utterance), *self._say_waiting(), *self._ask_client(number)]
        match self._availability:
            case Availability.HERE:
                return [*self._hold(number, utterance), *self._ask_client(number)]
            case Availability.JUST_LOST | Availability.WAKEABLE:
                return [*self._hold(number, utterance), *self._await_client()]
            case Availability.AWAY:
                return self._step_down(Reason.CLIENT_ABSENT)
            case _:
                assert_never(self._availability)

    def _hold(self, number: int, utterance: str) -> list[Command]:
        if not utterance:
            return []
        # Mostly it is all that is new, and then it is stored once; it becomes a line with the answer.
        said = None if self._transcript.has_only_utterance_to_take else self.take_change()
        return [HoldUtterance(number, utterance, said)]

    def _await_client(self) -> list[Command]:
        self._enter(Phase.CLIENT_AWAITED)
        self._deadlines.set(Deadline.ANSWER, self._limit())
        return [WakeClient()] if self._availability is Availability.WAKEABLE else []

    def _limit(self) -> float:
        return self._turns.asked_at + self._policy.client_timeout

    def _ask_client(self, number: int) -> list[Command]:
        self._enter(Phase.CLIENT_ANSWERING)
        history = self._transcript.window()
        history = utterance_last(history) if self._unanswered.utterance_is_pending else note_last(history)
        if self._take_over.is_seated:
            return self._start_turn(By.HUMAN, number, history, self._now + self._policy.human_timeout)
        return self._start_turn(By.CLIENT, number, history, self._limit())

    def _ask_answering_machine(self, said_already: str = "") -> list[Command]:
        self._enter(Phase.ANSWERING_MACHINE_ANSWERING)
        number, limit = self._turns.next_number(), self._now + self._policy.answering_machine_timeout
        return self._start_turn(By.ANSWERING_MACHINE, number, self._transcript.window(), limit, said_already)

    def _start_turn(
        self, by: By, number: int, history: tuple[Line, ...], limit: float, said_already: str = ""
    ) -> list[Command]:
        self._turns.start(number, by)
        self._deadlines.set(Deadline.ANSWER, limit)
        request = TurnRequest(
            call=self._call,
            turn=number,
            history=history,
            taken=self._unanswered.taken,
            preferences=self._unanswered.preferences,
            said_already=said_already,
            callee=self._callee,
            answer_within=None if by is By.ANSWERING_MACHINE else max(0.0, limit - self._now),
        )
        return [StartTurn(by, request)]

    # ── turns run and end ───────────────────────────────────────────────────────────────────────────────────────────

    def _on_piece(self, event: events.PieceSaid) -> list[Command]:
        turn, by = self._turns.get_running(), self._turns.get_running().by
        has_sound = is_audible(event.text)
        if not event.text or not (turn.has_begun or has_sound):
            return []
        if has_sound:
            self._deadlines.set(Deadline.ANSWER, self._now + self._patience(by))
            is_machine = by is By.ANSWERING_MACHINE
            self._unanswered.is_unconfirmed = self._unanswered.is_unconfirmed and not is_machine
        if not turn.has_begun:
            turn.first_word = self._now - self._turns.asked_at
        room = self._policy.answer_characters - turn.characters
        text = event.text[:room]
        turn.characters += len(text)
        add = self._transcript.continue_line if self._playback.cycle_open else self._transcript.add
        add(_SPEAKERS[by], text, self._wall_clock())
        # A last piece without sound leaves the talk cycle open, for the sentence that may still have to follow.
        commands = self._speak(text, last=event.last and has_sound)
        return commands if len(event.text) < room else [*commands, CancelTurn(turn.number), *self._finish_turn()]

    def _patience(self, by: By) -> float:
        match by:
            case By.CLIENT:
                return self._policy.client_timeout
            case By.ANSWERING_MACHINE:
                return self._policy.answering_machine_timeout
            case By.HUMAN:
                return self._policy.human_timeout
            case _:
                assert_never(by)

    def _on_message_taken(self, event: events.MessageTaken) -> list[Command]:
        self._unanswered.take(event.body, event.preferences)
        self._deadlines.set(Deadline.ANSWER, self._now + self._policy.answering_machine_timeout)
        return [self._store_message()]

    def _on_message_stored(self, _event: events.MessageStored) -> list[Command]:
        self._unanswered.is_stored = True
        return []

    def _on_goodbye(self, _event: events.GoodbyeSaid) -> list[Command]:
        self._turns.get_running().says_goodbye = True
        return []

    def _on_turn_finished(self, _event: events.TurnFinished) -> list[Command]:
        return self._finish_turn()

    def _finish_turn(self) -> list[Command]:
        turn = self._turns.get_running()
        confirmation = self._confirmation() if turn.by is By.ANSWERING_MACHINE else ""
        if not (turn.has_begun or turn.says_goodbye or confirmation):
            return self._fail_turn(Reason.CLIENT_FAILED)
        commands = self._turns.end(TurnOutcome.ANSWERED)
        commands += self._close_cycle() if turn.says_goodbye else self._phrase(confirmation, last=True)
        if turn.by is not By.ANSWERING_MACHINE:
            commands += self._release()
        elif not self._take_over.is_due and self._hand_over():
            return [*commands, *self._ask_again()]
        if turn.says_goodbye and not self._take_over.is_due:
            # The answering machine has said goodbye itself.
            sentence = self._policy.phrases.message_kept if confirmation and not turn.has_begun else ""
            return [*commands, *self._say_last(Phase.GOODBYE, sentence, CallOutcome.ENDED)]
        self._listen()
        return [*commands, *self._say_waiting()]

    def _confirmation(self) -> str:
        """Return, once, the sentence that confirms a recorded message; empty if none is due."""
        return self._policy.phrases.message_taken if self._unanswered.confirm() else ""

    def _on_turn_failed(self, event: events.TurnFailed) -> list[Command]:
        return self._fail_turn(event.reason)

    def _fail_turn(self, reason: Reason) -> list[Command]:
        turn = self._turns.get_running()
        if turn.by is By.ANSWERING_MACHINE:
            return self._fail_answering_machine(TurnOutcome.ANSWERING_MACHINE_FAILED)
        if turn.by is By.HUMAN:
            return self._lose_operator(TurnOutcome.HANDED_BACK)
        commands = self._turns.end(TurnOutcome(reason))
        is_gone = reason in {Reason.CLIENT_LEFT, Reason.CLIENT_ABSENT} and not self._take_over.is_due
        if is_gone and not turn.has_begun and self._turns.handovers < MAX_HANDOVERS and self._now < self._limit():
            if self._is_to_move:
                return [*commands, *self._move()]
            if self._availability is Availability.HERE:
                self._turns.handovers += 1
                return [*commands, *self._ask_client(self._turns.next_number())]
            if self._availability is not Availability.AWAY and reason is Reason.CLIENT_ABSENT:
                return [*commands, *self._await_client()]
        return [*commands, *self._step_down(reason)]

    def _fail_answering_machine(self, outcome: TurnOutcome) -> list[Command]:
        if (turn := self._turns.running) is not None and turn.says_goodbye:
            return self._finish_turn()
        stopped = self._turns.stop(outcome)
        if self._sit_down_to_answer() or self._hand_over():
            return [*stopped, *self._close_cycle(), *self._ask_again()]
        phrases = self._policy.phrases
        is_kept = self._confirmation() or (self._unanswered.taken and self._unanswered.is_stored)
        sentence = phrases.message_kept if is_kept else phrases.unavailable
        return [*stopped, *self._say_last(Phase.UNAVAILABLE, sentence, CallOutcome.UNAVAILABLE)]

    # ── paths downwards, and upwards ────────────────────────────────────────────────────────────────────────────────

    def _step_down(self, reason: Reason) -> list[Command]:
        """Leave the unanswered utterances as a message, then take the next path down.

        An operator who waits for a pause is asked instead.
        """
        if self._sit_down():
            return [*self._close_cycle(), *self._route(self._turns.next_number())]
        stored = self._leave(reason)
        phrases, is_inbound = self._policy.phrases, self._call.direction is Direction.INBOUND
        if is_inbound and not self._unanswered.is_left:
            # Only a note was unanswered: leave a message all the same, so that the client learns of this call.
            self._unanswered.leave(reason)
            stored = [self._store_message()]
        self._unanswered.note_is_pending = False
        if not (is_inbound and self._policy.has_answering_machine):
            sentence = phrases.unavailable if is_inbound else phrases.callee_unavailable
            return [*stored, *self._say_last(Phase.UNAVAILABLE, sentence, CallOutcome.UNAVAILABLE)]
        # The answering machine continues after the apology in the same talk cycle, so the line is its own.
        spoken = self._phrase(phrases.apology, last=False, speaker=Speaker.ANSWERING_MACHINE)
        return [*stored, *spoken, *self._ask_answering_machine(phrases.apology)]

    def _leave(self, reason: Reason) -> list[Command]:
        if not self._unanswered.in_hand:
            return []
        self._unanswered.leave(reason)
        return [self._store_message()]

    def _store_message(self, *, unless_back: tuple[UnansweredUtterance, ...] | None = None) -> StoreMessage:
        self._unanswered.is_stored = False
        # What may never be stored carries nothing: the end of the session does.
        said = self.take_change() if unless_back is None else None
        return StoreMessage(self._unanswered.draft(self._transcript.window(), said), unless_back)

    def _release(self) -> list[Command]:
        through = self._unanswered.answered()
        return [] if through is None else [ReleaseUtterances(through, self.take_change())]

    def _on_claim(self, _event: events.CallClaimed) -> list[Command]:
        self._is_claimed = True
        return self._ask_again() if self.phase in _LISTENING and self._hand_over() else []

    def _hand_over(self) -> bool:
        """Hand the call to the client that has claimed it; return whether one has and is not away again."""
        is_claimed, self._is_claimed = self._is_claimed, False
        if not is_claimed or self._availability is Availability.AWAY:
            return False
        self._transcript.add_note(CLAIM_NOTE, self._wall_clock())
        self._unanswered.note_is_pending = True
        self._reprompts = 0
        return True

    # ── an operator ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_taken_over(self, event: events.CallTakenOver) -> list[Command]:
        if self._take_over.is_of(event.operator):
            return []
        self._take_over.operator = event.operator
        turn, is_asked = self._turns.running, self.phase in _CLIENT_IS_DUE
        if self.phase is Phase.SCREENING or (turn is not None and not event.now and turn.by is not By.HUMAN):
            return []
        stopped = [*self._turns.stop(TurnOutcome.TAKEN_OVER), *self._close_cycle()]
        # What the caller said to the answering machine is in a message, and is answered all the same.
        is_asked = is_asked or (turn is not None and self._sit_down_to_answer())
        self._sit_down()
        if is_asked:
            return [*stopped, *self._route(self._turns.next_number())]
        if self.phase in _ANSWERING_MACHINE:
            self._enter(Phase.CLIENT_LISTENING)
        said = self._say_waiting()
        self._await_caller()
        return [*stopped, *said]

    def _sit_down(self) -> bool:
        """Hand the call to the operator who is due; return whether one is, and somebody has the call."""
        if not self._take_over.is_due or self.phase in _NONE_ANSWERS:
            return False
        self._take_over.sit_down(self._policy.takeover_notice)
        self._is_claimed = False
        self._transcript.add_note(TAKEN_NOTE, self._wall_clock())
        self._reprompts = 0
        return True

    def _sit_down_to_answer(self) -> bool:
        is_seated = self._sit_down()
        self._unanswered.note_is_pending = self._unanswered.note_is_pending or is_seated
        return is_seated

    def _on_handed_back(self, event: events.CallHandedBack) -> list[Command]:
        if self._take_over.operator != event.operator:
            return []
        return self._give_back(TurnOutcome.HANDED_BACK)

    def _lose_operator(self, outcome: TurnOutcome) -> list[Command]:
        return [EndSeat(self._take_over.operator), *self._give_back(outcome)]

    def _give_back(self, outcome: TurnOutcome) -> list[Command]:
        """Take the call from the operator; utterances in hand are asked again, of the client if it is there."""
        if not (note := self._take_over.leave()):
            return []
        self._transcript.add_note(note, self._wall_clock())
        if self.phase is Phase.CLIENT_ANSWERING:
            return [*self._turns.stop(outcome), *self._close_cycle(), *self._ask_again()]
        return self._ask_again() if self._unanswered.in_hand and not self._caller_is_talking else []

    def _on_say(self, event: events.SayRequested) -> list[Command]:
        if not is_audible(event.text):
            return []
        self._take_over.wait(event.text)
        turn = self._turns.running
        if self.phase is Phase.SCREENING or (turn is not None and turn.by is not By.HUMAN):
            return []
        if turn is not None and not turn.has_begun:
            turn.first_word = self._now - self._turns.asked_at
        commands = [*self._say_waiting(), *self._turns.stop(TurnOutcome.ANSWERED)]
        if self._take_over.is_seated:
            commands += self._release()
        if turn is not None:
            self._listen()
        return commands

    def _say_waiting(self) -> list[Command]:
        """Speak what waited until nobody else speaks."""
        commands: list[Command] = []
        for speaker, text in self._take_over.take_waiting():
            commands += self._close_cycle()
            self._transcript.add(speaker, text, self._wall_clock())
            commands += self._speak(text, last=True)
        if commands:
            self._reprompts = 0
            self._await_caller()
        return commands

    def _on_typing(self, event: events.OperatorTyping) -> list[Command]:
        if self._take_over.is_of(event.operator):
            self._await_caller()
            if self._turns.running is not None:
                self._deadlines.set(Deadline.ANSWER, self._now + self._policy.human_timeout)
        return []

    # ── the callee of a call that we make ───────────────────────────────────────────────────────────────────────────

    def _on_callee_recognised(self, event: events.CalleeRecognised) -> list[Command]:
        if self._call.direction is Direction.INBOUND:
            return []
        self._callee = event.callee
        if event.callee is not Callee.VOICEMAIL or self._call.voicemail is Voicemail.GO_ON:
            return self._greet_callee() if self.phase is Phase.SCREENING else []
        if self._client_ended_it:
            return []
        text = self._call.for_voicemail.strip() if self._call.voicemail is Voicemail.LEAVE_MESSAGE else ""
        if text:
            return self._hang_up(text, CallOutcome.VOICEMAIL)
        self._client_ended_it = True
        self._outcome = CallOutcome.VOICEMAIL
        return [*self._turns.stop(TurnOutcome.HUNG_UP), *self._release(), *self._end_session()]

    def _greet_callee(self) -> list[Command]:
        self._enter(Phase.CLIENT_LISTENING)
        self.is_screening = False
        commands: list[Command] = []
        if self._call.greeting:
            self._transcript.add(Speaker.AGENT, self._call.greeting, self._wall_clock())
            commands = self._speak(self._call.greeting, last=True)
        self._sit_down()
        self._await_caller()
        return [*commands, *self._say_waiting()]

    # ── the way to another session ──────────────────────────────────────────────────────────────────────────────────

    @property
    def _is_to_move(self) -> bool:
        return self._moves_with is not None

    def _on_move_requested(self, event: events.MoveRequested) -> list[Command]:
        self._moves_with = event.handoff
        return self._move() if self.phase is Phase.CLIENT_AWAITED else []

    def _on_move_due(self, event: events.MoveDue) -> list[Command]:
        self._moves_with = event.handoff
        return self._move()

    def _move(self) -> list[Command]:
        """End the session so that the call goes on in another one. Nothing is said; what is in hand stays in hand."""
        held = self._cut_to_heard() if self._playback.is_cut_short_by_end(self._now) else []
        stopped = self._turns.stop(TurnOutcome.MOVED)
        if self.phase in _ANSWERING_MACHINE:
            # A client that has claimed the call is told so by the note, with which the next session begins.
            self._hand_over()
        self._handoff, self._outcome = self._moves_with or "", CallOutcome.MOVED
        self._enter(Phase.MOVING)
        return [*stopped, *held, *self._await_close()]

    def _cut_to_heard(self) -> list[Command]:
        """Keep of our speech what was heard. The question of a client's answer that is cut by this is in hand again.

        It was released when the answer was complete, which is long before it was heard to its end.
        """
        lines = self._transcript.window()
        self._transcript.cut_to_heard("", self._playback.played)
        self._playback.stop(self._now)
        question = next((line.text for line in reversed(lines) if line.speaker is Speaker.CALLER), "")
        ours = {Speaker.AGENT, Speaker.OPERATOR}
        was_answered = lines[-1:] != () and lines[-1].speaker in ours and not self._unanswered.in_hand
        if self.phase is not Phase.CLIENT_LISTENING or not (question and was_answered):
            return []
        number = self._turns.next_number()
        self._unanswered.hold(number, question)
        return self._hold(number, question)

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_hang_up(self, event: events.HangUpRequested) -> list[Command]:
        say, said = event.say.strip() if is_audible(event.say) else "", self._say_waiting()
        speaker = Speaker.OPERATOR if event.operator else Speaker.AGENT
        return [*said, *self._hang_up(say, CallOutcome.ENDED, speaker)]

    def _on_transfer(self, event: events.TransferRequested) -> list[Command]:
        self._handoff = event.handoff
        return [*self._say_waiting(), *self._hang_up("", CallOutcome.TRANSFERRED)]

    def _hang_up(self, say: str, outcome: CallOutcome, speaker: Speaker = Speaker.AGENT) -> list[Command]:
        self._client_ended_it = True
        commands = [*self._turns.stop(TurnOutcome.HUNG_UP), *self._release()]
        return [*commands, *self._say_last(Phase.GOODBYE, say, outcome, speaker=speaker)]

    def _on_drain(self, _event: events.DrainRequested) -> list[Command]:
        return self._say_farewell(self._policy.phrases.drain_goodbye, Reason.RELAY_RESTARTED)

    def _say_farewell(self, phrase: str, reason: Reason) -> list[Command]:
        stopped = self._turns.stop(TurnOutcome.HUNG_UP)
        return [*stopped, *self._leave(reason), *self._say_last(Phase.GOODBYE, phrase, CallOutcome.FAREWELL)]

    def _say_last(
        self, phase: Phase, text: str, outcome: CallOutcome, *, speaker: Speaker = Speaker.RELAY
    ) -> list[Command]:
        """Speak the last sentence of the call and wait until it was heard."""
        self._enter(phase)
        self._outcome = outcome
        if text and speaker is not Speaker.RELAY:
            self._transcript.add(speaker, text, self._wall_clock())
            commands = self._speak(f" {text}" if self._playback.cycle_open else text, last=True)
        else:
            commands = self._phrase(text, last=True)
        if self._playback.is_heard(self._now):
            return [*commands, *self._end_session()]
        self._deadlines.set(Deadline.ENDING, max(self._now, self._playback.until) + self._policy.ending_cap)
        return commands

    def _end_session(self) -> list[Command]:
        self._enter(Phase.ENDING)
        return self._await_close()

    def _await_close(self) -> list[Command]:
        self._deadlines.set(Deadline.ENDING, self._now + self._policy.line_close_cap)
        return [EndSession(self._handoff)]

    def _end_call(self, *, may_return: bool = False) -> list[Command]:
        """Leave unanswered utterances as a message, now or if the caller does not return: the line is gone."""
        self.may_return = may_return
        if may_return and (turn := self._turns.running) is not None and turn.has_begun:
            # The turn will be asked again with the part of the answer that was heard, as after a barge-in.
            self._transcript.cut_to_heard("", self._playback.played)
        commands = [*self._turns.stop(TurnOutcome.HUNG_UP), *self._keep_unfinished(may_return=may_return)]
        is_away = self._availability is not Availability.HERE
        # The caller said nothing and no client was here: leave a message, so that the client learns of the call.
        is_unheard = is_away and (self._unanswered.note_is_pending or not self._caller_was_heard)
        is_first = self._call.direction is Direction.INBOUND and not self._unanswered.is_left
        if self._unanswered.in_hand or (is_unheard and is_first):
            utterances = self._unanswered.utterances if may_return else None
            self._unanswered.leave(Reason.CLIENT_ABSENT if is_away else Reason.UNANSWERED, unless_back=may_return)
            commands.append(self._store_message(unless_back=utterances))
        self._enter(Phase.OVER)
        return commands

    def _keep_unfinished(self, *, may_return: bool) -> list[Command]:
        """Count an unfinished partial prompt and pending keys as an utterance."""
        unfinished = " ".join(each for each in (self._partial, self._keys) if each)
        if not unfinished:
            return []
        commands = self._opt_out(unfinished)
        if self._client_ended_it:
            return commands
        self._transcript.add(Speaker.CALLER, unfinished, self._wall_clock())
        self._caller_was_heard = True
        if self._unanswered.is_left and not self._unanswered.in_hand:
            self._unanswered.add(unfinished)
            return [*commands, self._store_message()]
        number = self._turns.next_number()
        self._unanswered.hold(number, unfinished)
        # A message contains the utterance already; one that waits for the caller's return must be durable meanwhile.
        return [*commands, *self._hold(number, unfinished)] if may_return else commands

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_deadline(self, _event: events.DeadlinePassed) -> list[Command]:  # noqa: PLR0911 - one return a deadline
        """Act on the one deadline that is due, the most final one first."""
        match self._deadlines.find_due(self._now):
            case Deadline.CALL:
                return self._say_farewell(self._policy.phrases.time_goodbye, Reason.UNANSWERED)
            case Deadline.ENDING if self.phase in {Phase.ENDING, Phase.MOVING}:
                return [CloseLine(1000), *self._end_call(may_return=self.phase is Phase.MOVING)]
            case Deadline.ENDING:
                return self._end_session()
            case Deadline.SCREENING:
                return self._greet_callee()
            case Deadline.KEYS:
                return self._hear_keys()
            case Deadline.ANSWER:
                return self._on_overdue_answer()
            case Deadline.SILENCE:
                return self._on_silence()
            case None:
                return self._say_filler() if self._filler_due() <= self._now else []

    def _on_overdue_answer(self) -> list[Command]:
        if (turn := self._turns.running) is None:
            return self._step_down(Reason.CLIENT_ABSENT)
        match turn.by:
            case By.CLIENT:
                return [*self._turns.stop(TurnOutcome.CLIENT_TIMEOUT), *self._step_down(Reason.CLIENT_TIMEOUT)]
            case By.ANSWERING_MACHINE:
                return self._fail_answering_machine(TurnOutcome.ANSWERING_MACHINE_TIMEOUT)
            case By.HUMAN:
                return self._lose_operator(TurnOutcome.HUMAN_TIMEOUT)
            case _:
                assert_never(turn.by)

    def _on_silence(self) -> list[Command]:
        if self._unanswered.is_asked:
            # A false barge-in cut the turn short: ask again.
            return self._ask_again()
        if said := self._say_waiting():
            return said
        phrases = self._policy.phrases
        if self._reprompts >= self._policy.reprompts:
            return self._say_farewell(phrases.silence_goodbye, Reason.UNANSWERED)
        self._reprompts += 1
        commands = self._phrase(phrases.still_there, last=True)
        self._await_caller()
        return commands

    def _listen(self) -> None:
        is_for_client = self._sit_down() or self.phase not in _ANSWERING_MACHINE or self._hand_over()
        self._enter(Phase.CLIENT_LISTENING if is_for_client else Phase.ANSWERING_MACHINE_LISTENING)
        self._await_caller()

    def _await_caller(self) -> None:
        if self.phase in _LISTENING:
            was_false_barge_in = self._unanswered.is_asked and not self._caller_is_talking
            wait = self._policy.false_barge_in if was_false_barge_in else self._policy.silence
            self._deadlines.set(Deadline.SILENCE, max(self._now, self._playback.until) + wait)

    def _enter(self, phase: Phase) -> None:
        if phase not in self._moves:
            raise AssertionError(f"no such move from {self.phase} to {phase}")
        self.phase = phase
        self._deadlines.keep(_OUTLASTING[phase])

    def _wall_clock(self) -> datetime:
        return self._call.started_at + timedelta(seconds=self._now - self._connected_at)

    # One handler for each event, and none missing: a test feeds every event into every phase.
    _HANDLERS: ClassVar[Mapping[type[events.Event], Callable[[Conversation, Any], list[Command]]]] = {
        events.SessionStarted: _on_session_started,
        events.SessionFailed: _on_session_failed,
        events.CallerGone: _on_caller_gone,
        events.FrameAccepted: _do_nothing,
        events.CarrierFailed: _do_nothing,
        events.FrameRejected: _on_frame_rejected,
        events.PartialPromptHeard: _on_partial_prompt,
        events.CallerSpeaking: _on_caller_speaking,
        events.UtteranceHeard: _on_utterance,
        events.DigitPressed: _on_digit,
        events.CallerBargedIn: _on_barge_in,
        events.SpeechPlayed: _on_speech_played,
        events.AgentSpeaking: _on_agent_speaking,
        events.AvailabilityChanged: _on_availability,
        events.PieceSaid: _on_piece,
        events.MessageTaken: _on_message_taken,
        events.MessageStored: _on_message_stored,
        events.GoodbyeSaid: _on_goodbye,
        events.TurnFinished: _on_turn_finished,
        events.TurnFailed: _on_turn_failed,
        events.CallClaimed: _on_claim,
        events.CallTakenOver: _on_taken_over,
        events.CallHandedBack: _on_handed_back,
        events.SayRequested: _on_say,
        events.OperatorTyping: _on_typing,
        events.CalleeRecognised: _on_callee_recognised,
        events.HangUpRequested: _on_hang_up,
        events.TransferRequested: _on_transfer,
        events.DrainRequested: _on_drain,
        events.MoveRequested: _on_move_requested,
        events.MoveDue: _on_move_due,
        events.DeadlinePassed: _on_deadline,
    }
