"""The rules of a call, one conversation a test. No clock runs: time is an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs
import pytest

from actors.call_values import Availability, Callee, Direction, Line, MessageDraft, Reason, Speaker, Voicemail
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
from actors.conversation import CLAIM_NOTE, RECORD_CHARACTERS, Conversation
from actors.events import (
    AgentSpeaking,
    AvailabilityChanged,
    CallClaimed,
    CalleeRecognised,
    CallerBargedIn,
    CallerGone,
    CallerSpeaking,
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
    SessionFailed,
    SessionStarted,
    SpeechPlayed,
    TransferRequested,
    TurnFailed,
    TurnFinished,
    UtteranceHeard,
)
from actors.phases import Phase
from actors.policy import Phrases, Policy
from tests.fakes import STARTED, call_info

HERE, LOST, AWAY = Availability.HERE, Availability.JUST_LOST, Availability.AWAY
WAKEABLE = Availability.WAKEABLE
OUTBOUND = Direction.OUTBOUND
C = TypeVar("C", bound=Command)


class Talk:
    """A conversation under test: feed it, and look at what it wants done."""

    def __init__(
        self,
        availability: Availability = HERE,
        *,
        answering_machine: bool = True,
        policy: Policy | None = None,
        **call: object,
    ) -> None:
        self.policy = attrs.evolve(policy or Policy(), has_answering_machine=answering_machine)
        self.call = Conversation(call_info(**call), self.policy, availability=availability, now=0.0)
        self.now = 0.0
        # Whether messages are durable at once, as they are with a database that works.
        self.stores = True
        self.commands: list[Command] = []
        self.turn = 0

    def __call__(self, event: Event, at: float | None = None) -> list[Command]:
        self.now = self.now if at is None else at
        assert self.now <= self.call.deadline or isinstance(event, DeadlinePassed), "the actor would have woken it"
        commands = self.call.handle(event, self.now)
        self.commands += commands
        for command in commands:
            if isinstance(command, StartTurn):
                self.turn = command.request.turn
            if isinstance(command, StoreMessage) and self.stores:
                assert self.call.handle(MessageStored(), self.now) == []
        return commands

    def caller(self, text: str, at: float | None = None) -> list[Command]:
        return self(UtteranceHeard(text), at)

    def answer(self, *pieces: str, at: float | None = None) -> list[Command]:
        commands: list[Command] = []
        for piece in pieces:
            commands += self(PieceSaid(self.turn, piece), at)
        return [*commands, *self(TurnFinished(self.turn), at)]

    def wait(self) -> list[Command]:
        """Let the state machine's own deadline come."""
        return self(DeadlinePassed(), self.call.deadline)

    def of(self, kind: type[C]) -> list[C]:
        return [command for command in self.commands if isinstance(command, kind)]

    @property
    def message(self) -> MessageDraft:
        return self.of(StoreMessage)[-1].draft

    @property
    def history(self) -> list[tuple[str, str]]:
        return [(line.speaker.value, line.text) for line in self.call.transcript]


def kinds(commands: list[Command]) -> list[type]:
    return [type(command) for command in commands]


# ── the client path ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_utterances_are_durable_before_the_client_gets_them() -> None:
    """An utterance is held in the journal first and given to the client second."""
    talk = Talk()
    assert kinds(talk.caller("Hello?")) == [HoldUtterance, StartTurn]
    assert talk.of(StartTurn)[0].by is By.CLIENT


def test_an_answer_is_spoken_as_it_comes_and_settles_the_utterance() -> None:
    """Pieces go out one by one, the last frame closes the talk cycle, and the words are let go of."""
    talk = Talk()
    talk.caller("What time is it?", at=1.0)
    commands = talk.answer("It is ", "nine.", at=2.5)
    assert [each for each in commands if isinstance(each, Speak)] == [
        Speak("It is ", last=False),
        Speak("nine.", last=False),
        Speak("", last=True),
    ]
    assert talk.of(ReleaseUtterances) == [ReleaseUtterances(1)]
    assert talk.of(NoteTurn) == [NoteTurn(turn=1, by=By.CLIENT, outcome="answered", first_word=1.5)]
    assert talk.call.phase is Phase.CLIENT_LISTENING


def test_a_last_piece_closes_the_talk_cycle_itself() -> None:
    """No empty frame follows it; the turn ends as after any other answer."""
    talk = Talk()
    talk.caller("What time is it?", at=1.0)
    assert talk(PieceSaid(talk.turn, "It is nine.", last=True), at=2.5) == [Speak("It is nine.", last=True)]
    assert talk.call.phase is Phase.CLIENT_ANSWERING
    assert kinds(talk(TurnFinished(talk.turn))) == [NoteTurn, ReleaseUtterances]
    assert talk.of(NoteTurn) == [NoteTurn(turn=1, by=By.CLIENT, outcome="answered", first_word=1.5)]
    assert talk.history[-1] == ("agent", "It is nine.")


def test_a_last_piece_without_sound_leaves_the_talk_cycle_to_what_follows() -> None:
    """After a recorded message that is the sentence that confirms it."""
    talk = recorded()
    assert talk(PieceSaid(talk.turn, " …", last=True)) == [Speak(" …", last=False)]
    talk(TurnFinished(talk.turn))
    assert talk.of(Speak)[-1] == Speak(f" {talk.policy.phrases.message_taken}", last=True)


def test_the_history_is_what_was_said_and_heard() -> None:
    """The client is sent the greeting, both sides' words in order, and the newest utterance last."""
    talk = Talk(greeting="Hello, how can I help you today?")
    talk.caller("What time is it?", at=3.0)
    talk.answer("Nine.")
    talk.caller("Thank you.", at=6.0)
    assert [(line.speaker.value, line.text) for line in talk.of(StartTurn)[-1].request.history] == [
        ("agent", "Hello, how can I help you today?"),
        ("caller", "What time is it?"),
        ("agent", "Nine."),
        ("caller", "Thank you."),
    ]


def test_the_history_is_a_bounded_window() -> None:
    """However long a call lasts, what is sent with each turn stays small, newest lines first to stay."""
    talk = Talk(policy=Policy(history_lines=4))
    for number in range(50):
        talk.caller(f"Question {number}?", at=float(number))
        talk.answer(f"Answer {number}.")
    assert [text for _speaker, text in talk.history] == ["Question 48?", "Answer 48.", "Question 49?", "Answer 49."]


def test_partial_words_never_start_a_turn() -> None:
    """Only final words are an utterance."""
    talk = Talk()
    assert talk(PartialPromptHeard("What ti"), at=1.0) == []
    assert talk.call.phase is Phase.CLIENT_LISTENING


def test_blank_utterances_are_no_utterance() -> None:
    """A prompt of blanks neither starts a turn nor enters the history."""
    talk = Talk()
    assert talk.caller("   ") == []
    assert talk.history == []


def test_newer_utterances_supersede_the_running_turn_and_join_it() -> None:
    """The running turn is cancelled, and the next one carries both utterances, with a limit of its own."""
    talk = Talk()
    talk.caller("I want a table", at=1.0)
    commands = talk.caller("for four people", at=3.0)
    assert kinds(commands) == [CancelTurn, NoteTurn, HoldUtterance, StartTurn]
    assert [line.text for line in talk.of(StartTurn)[-1].request.history] == ["I want a table", "for four people"]
    assert talk.call.deadline == 11.0
    talk.answer("Done.", at=4.0)
    assert talk.of(ReleaseUtterances) == [ReleaseUtterances(2)]


def test_utterances_over_a_half_spoken_answer_close_its_talk_cycle() -> None:
    """Where the carrier reports no interruption, the cut answer is closed before the next one begins."""
    talk = Talk()
    talk.caller("One?")
    talk(PieceSaid(talk.turn, "The first"))
    commands = talk.caller("Two?")
    assert kinds(commands) == [CancelTurn, NoteTurn, Speak, HoldUtterance, StartTurn]
    assert talk.of(Speak)[-1] == Speak("", last=True)


def test_what_a_superseded_turn_still_says_is_dropped() -> None:
    """A late piece, and a late end, of an older turn change nothing."""
    talk = Talk()
    talk.caller("One?")
    old = talk.turn
    talk.caller("Two?")
    assert talk(PieceSaid(old, "late")) == talk(TurnFinished(old)) == talk(TurnFailed(old, Reason.CLIENT_LEFT)) == []


def test_an_endless_answer_is_cut() -> None:
    """One turn may say a bounded number of characters; then it counts as finished."""
    talk = Talk(policy=Policy(answer_characters=100))
    talk.caller("Tell me everything.")
    talk(PieceSaid(talk.turn, "a" * 60))
    commands = talk(PieceSaid(talk.turn, "b" * 60))
    assert "".join(each.text for each in talk.of(Speak)) == "a" * 60 + "b" * 40
    assert CancelTurn(1) in commands
    assert talk.call.phase is Phase.CLIENT_LISTENING


# ── interruption ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_interruption_cancels_at_once_and_nothing_more_is_said() -> None:
    """The only thing done is to cancel; not even the talk cycle is closed."""
    talk = Talk()
    talk.caller("Tell me a story.")
    talk(PieceSaid(talk.turn, "Once upon a time there was a king."))
    commands = talk(CallerBargedIn("Once upon a time"))
    assert kinds(commands) == [CancelTurn, NoteTurn, ReleaseUtterances]
    assert talk(PieceSaid(talk.turn, " He had")) == []


def test_the_history_keeps_what_was_heard() -> None:
    """The interrupted answer is cut to the heard words, so that the client knows what the caller missed."""
    talk = Talk()
    talk.caller("Tell me a story.")
    talk(PieceSaid(talk.turn, "Once upon a time, there was a king."))
    talk(CallerBargedIn("once upon a time"))
    assert talk.history[-1] == ("agent", "Once upon a time,")


def test_an_interruption_before_any_word_was_heard_drops_the_answer() -> None:
    """An answer of which nothing was heard is not in the history."""
    talk = Talk()
    talk.caller("Hello?")
    talk.answer("Good morning.")
    talk(CallerBargedIn(""))
    assert talk.history == [("caller", "Hello?")]


def test_pieces_reported_as_played_count_as_heard() -> None:
    """Where the interruption names no words, the carrier's reports of played pieces say what was heard."""
    talk = Talk()
    talk.caller("Hello?")
    talk.answer("Good morning. ", "How are you?")
    talk(SpeechPlayed("Good morning. "))
    talk(CallerBargedIn(""))
    assert talk.history[-1] == ("agent", "Good morning.")


def test_the_greeting_can_be_interrupted() -> None:
    """What is left of the greeting in the history is what was heard of it."""
    talk = Talk(greeting="Hello, how can I help you today?")
    talk(CallerBargedIn("Hello, how"), at=0.7)
    assert talk.history == [("agent", "Hello, how")]


def test_an_utterance_cut_short_by_a_false_barge_in_is_asked_again() -> None:
    """A turn that was interrupted before it said anything, by no words, is not forgotten: the client is asked again."""
    talk = Talk()
    talk.caller("What time is it?", at=1.0)
    talk(CallerBargedIn(""), at=2.0)
    assert talk.call.deadline == 2.0 + talk.policy.false_barge_in
    assert kinds(talk.wait()) == [StartTurn]


def test_a_caller_who_goes_on_talking_is_not_answered_early() -> None:
    """While the carrier hears the caller's voice after an interruption, nothing is asked again."""
    talk = Talk()
    talk.caller("What time is it?", at=1.0)
    talk(CallerBargedIn(""), at=2.0)
    talk(CallerSpeaking(on=True), at=2.1)
    assert talk.call.deadline == 2.1 + talk.policy.silence


# ── the limit ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_silent_client_has_eight_seconds() -> None:
    """At the limit the turn is cancelled, the utterance is left as a message, and the answering machine is asked."""
    talk = Talk()
    talk.caller("Are you there?", at=1.0)
    assert talk.call.deadline == 9.0
    commands = talk.wait()
    assert kinds(commands) == [CancelTurn, NoteTurn, StoreMessage, Speak, StartTurn]
    assert talk.message.reason is Reason.CLIENT_TIMEOUT
    assert talk.message.body == "Are you there?"
    assert talk.of(StartTurn)[-1].by is By.ANSWERING_MACHINE
    assert talk.of(StartTurn)[-1].request.said_already == talk.policy.phrases.apology


def test_a_client_learns_how_long_it_has() -> None:
    """Eight seconds from the caller's newest words, and for another session of the agent only what is left of them."""
    talk = Talk()
    talk.caller("Are you there?", at=1.0)
    talk(TurnFailed(talk.turn, Reason.CLIENT_LEFT), at=4.0)
    talk(TurnFailed(talk.turn, Reason.CLIENT_FAILED), at=5.0)
    assert [each.request.answer_within for each in talk.of(StartTurn)] == [8.0, 5.0, None]


def test_an_answer_just_within_the_limit_is_heard() -> None:
    """At 7.9 seconds the client is still the one who answers."""
    talk = Talk()
    talk.caller("Are you there?", at=1.0)
    talk.answer("Yes.", at=8.9)
    assert [line.by for line in talk.of(StartTurn)] == [By.CLIENT]


def test_the_limit_applies_to_each_gap_once_the_client_speaks() -> None:
    """A client that is still talking is not cut off; one that stops in the middle is."""
    talk = Talk()
    talk.caller("Tell me a story.", at=0.0)
    talk(PieceSaid(talk.turn, "Once"), at=7.0)
    talk(PieceSaid(talk.turn, " upon"), at=14.0)
    assert talk.call.deadline == 22.0
    talk.wait()
    assert talk.message.reason is Reason.CLIENT_TIMEOUT


def test_blank_pieces_do_not_keep_a_turn_alive() -> None:
    """Only words extend the limit."""
    talk = Talk()
    talk.caller("Hello?", at=0.0)
    assert talk(PieceSaid(talk.turn, "  \n"), at=7.0) == []
    assert talk.call.deadline == 8.0


# ── the ladder ──────────────────────────────────────────────────────────────────────────────────────────────────────

SHORT, OTHER, LONG = "One moment, please.", "Let me see.", "I am still looking into it, thank you for waiting."
LADDER = Policy(phrases=Phrases(filler=(SHORT, OTHER), long_filler=LONG))


def filler(text: str) -> Speak:
    return Speak(text, last=True, preemptible=True)


def test_a_caller_who_waits_hears_a_filler_and_a_longer_one_and_then_the_answering_machine() -> None:
    """After 2.5, 5 and 8 seconds from his words; each filler makes way for what comes next."""
    talk = Talk(policy=LADDER)
    talk.caller("Are you there?", at=1.0)
    assert talk.wait() == [filler(SHORT)]
    assert talk.now == 3.5
    talk(AgentSpeaking(on=False), at=5.0)
    assert talk.wait() == [filler(LONG)]
    assert talk.now == 6.0
    assert kinds(talk.wait()) == [CancelTurn, NoteTurn, StoreMessage, Speak, StartTurn]
    assert talk.now == 9.0


def test_an_answer_ends_the_ladder_with_its_first_piece() -> None:
    """It is spoken at once, over the filler; a gap in the middle of it is bounded by the limit alone."""
    talk = Talk(policy=LADDER)
    talk.caller("What time is it?", at=0.0)
    talk.wait()
    assert talk(PieceSaid(talk.turn, "It is"), at=2.6) == [Speak("It is", last=False)]
    assert talk.call.deadline == 2.6 + talk.policy.client_timeout


def test_a_quick_answer_needs_no_filler() -> None:
    """Nothing is left of the ladder when the turn is over."""
    talk = Talk(policy=LADDER)
    talk.caller("What time is it?", at=0.0)
    talk.answer("Nine.", at=2.4)
    assert talk.call.deadline > 5.0


def test_blank_pieces_do_not_end_the_ladder() -> None:
    """Only words are an answer."""
    talk = Talk(policy=LADDER)
    talk.caller("What time is it?", at=0.0)
    talk(PieceSaid(talk.turn, " "), at=1.0)
    assert talk.wait() == [filler(SHORT)]


def test_a_filler_is_the_relay_s_word() -> None:
    """In the transcript it is the answering machine's, in a line of its own, beside the client's answer."""
    talk = Talk(policy=LADDER)
    talk.caller("What time is it?", at=0.0)
    talk.wait()
    talk.answer("Nine.", at=3.0)
    assert talk.history[1:] == [("relay", SHORT), ("agent", "Nine.")]


@pytest.mark.parametrize(
    ("phrases", "said"),
    [
        (Phrases(filler=(SHORT, OTHER)), [SHORT, OTHER, SHORT, OTHER]),
        (Phrases(filler=(SHORT,)), [SHORT, SHORT]),
        (Phrases(long_filler=LONG), [LONG, LONG]),
    ],
    ids=["two", "one", "only a long one"],
)
def test_the_same_sentence_is_not_said_twice_in_a_row(phrases: Phrases, said: list[str]) -> None:
    """In four slow turns, short fillers take turns; a sentence that is the only one is left out every other time."""
    talk = Talk(policy=Policy(phrases=phrases))
    for asked in (0.0, 20.0, 40.0, 60.0):
        talk.caller("And now?", at=asked)
        while talk.call.deadline < asked + 7.0:
            talk.wait()
        talk.answer("Yes.", at=asked + 7.0)
    assert [each.text for each in talk.of(Speak) if each.preemptible] == said


def test_without_words_for_it_there_is_no_ladder() -> None:
    """An agent that wants no fillers has none; blank ones count as none."""
    talk = Talk(policy=Policy(phrases=Phrases(filler=("", " "), long_filler="")))
    talk.caller("Are you there?", at=0.0)
    assert talk.call.deadline == 8.0


def test_the_ladder_goes_on_while_another_session_takes_the_turn() -> None:
    """It counts from the caller's words, so a hand-over neither repeats a rung nor begins anew."""
    talk = Talk(policy=LADDER)
    talk.caller("Are you there?", at=0.0)
    talk.wait()
    talk(TurnFailed(talk.turn, Reason.CLIENT_LEFT), at=3.0)
    assert talk.call.deadline == 5.0


def test_a_caller_who_waits_for_a_lost_client_hears_fillers_too() -> None:
    """Nobody should wait in dead air, whatever the reason."""
    talk = Talk(LOST, policy=LADDER)
    talk.caller("Are you there?", at=0.0)
    assert talk.wait() == [filler(SHORT)]
    talk(AvailabilityChanged(HERE), at=3.0)
    assert talk.call.deadline == 5.0


def test_new_utterances_begin_the_ladder_anew() -> None:
    """The time is counted from the newest words."""
    talk = Talk(policy=LADDER)
    talk.caller("One?", at=0.0)
    talk.caller("Two?", at=2.0)
    assert talk.call.deadline == 4.5


def test_a_caller_who_talks_is_not_talked_over() -> None:
    """A rung that comes while he is talking is left out."""
    talk = Talk(policy=LADDER)
    talk.caller("Are you there?", at=0.0)
    talk(CallerSpeaking(on=True), at=2.0)
    assert talk.wait() == []
    talk(CallerSpeaking(on=False), at=3.0)
    assert talk.wait() == [filler(LONG)]


def test_a_filler_waits_until_our_own_speech_was_heard() -> None:
    """Words said over a long answer, without an interruption, are not followed by a filler into it."""
    talk = Talk(policy=LADDER)
    talk.caller("Read it.", at=0.0)
    talk.answer("a" * 160, at=0.0)
    talk.caller("Louder!", at=6.0)
    assert talk.call.deadline == 10.0
    assert talk.wait() == [filler(SHORT)]


def test_an_interruption_that_hit_only_a_filler_leaves_the_turn_running() -> None:
    """The caller talked over nothing that the client said; the client's answer is heard when it comes."""
    talk = Talk(policy=LADDER)
    talk.caller("What time is it?", at=0.0)
    talk.wait()
    assert talk(CallerBargedIn("One mo"), at=3.0) == []
    assert talk.history[-1] == ("relay", "One mo")
    assert talk.call.deadline == 8.0
    talk.answer("Nine.", at=4.0)
    assert talk.of(CancelTurn) == []
    assert talk.history[-1] == ("agent", "Nine.")


def test_words_after_an_interrupted_filler_supersede_the_turn() -> None:
    """They join what was asked before, as ever."""
    talk = Talk(policy=LADDER)
    talk.caller("A table, please.", at=0.0)
    talk.wait()
    talk(CallerBargedIn("One mo"), at=3.0)
    assert kinds(talk.caller("For four.", at=3.5)) == [CancelTurn, NoteTurn, HoldUtterance, StartTurn]


def test_a_filler_is_no_answer() -> None:
    """A caller who hangs up after it leaves his words; the client's failure after it leaves them too."""
    for end, reason in (
        (CallerGone(1000), Reason.UNANSWERED),
        (TurnFailed(1, Reason.CLIENT_FAILED), Reason.CLIENT_FAILED),
    ):
        talk = Talk(policy=LADDER)
        talk.caller("Call me back.", at=0.0)
        talk.wait()
        talk(end)
        assert (talk.message.body, talk.message.reason) == ("Call me back.", reason)


def test_an_interruption_before_anything_but_the_filler_was_heard_leaves_the_utterance_unanswered() -> None:
    """The answer had begun, but only the filler was heard: after the false barge-in the question is asked again."""
    talk = Talk(policy=LADDER)
    talk.caller("What time is it?", at=0.0)
    talk.wait()
    talk(PieceSaid(talk.turn, "It is nine."), at=2.6)
    assert kinds(talk(CallerBargedIn("One mo"), at=2.7)) == [CancelTurn, NoteTurn]
    assert talk.history[-1] == ("relay", SHORT)
    assert kinds(talk.wait()) == [StartTurn]


def test_a_goodbye_after_a_filler_ends_when_the_goodbye_was_heard() -> None:
    """The filler that made way for it is neither waited for nor taken for it."""
    talk = Talk(policy=LADDER)
    talk.caller("Thanks.", at=0.0)
    talk.wait()
    talk(HangUpRequested("Goodbye."), at=2.6)
    assert talk(SpeechPlayed("One mo"), at=2.7) == []
    assert kinds(talk(SpeechPlayed("Goodbye."), at=3.0)) == [EndSession]


# ── presence ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_absent_client_is_not_waited_for() -> None:
    """The answering machine begins at once, after the words are durable."""
    talk = Talk(AWAY)
    commands = talk.caller("Hello?")
    assert kinds(commands) == [StoreMessage, Speak, StartTurn]
    assert talk.message.reason is Reason.CLIENT_ABSENT


def test_a_client_lost_a_moment_ago_is_waited_for() -> None:
    """It gets the turn when it is back, inside the same eight seconds."""
    talk = Talk(LOST)
    assert kinds(talk.caller("Hello?", at=1.0)) == [HoldUtterance]
    assert kinds(talk(AvailabilityChanged(HERE), at=5.0)) == [StartTurn]
    assert talk.call.deadline == 9.0


def test_the_wait_for_a_lost_client_ends_with_its_grace() -> None:
    """When the grace is over the answering machine takes the turn."""
    talk = Talk(LOST)
    talk.caller("Hello?", at=1.0)
    assert kinds(talk(AvailabilityChanged(AWAY), at=4.0)) == [StoreMessage, Speak, StartTurn]
    assert talk.message.reason is Reason.CLIENT_ABSENT


def test_the_wait_for_a_lost_client_ends_with_the_limit() -> None:
    """Nobody waits longer than eight seconds for anything."""
    talk = Talk(LOST)
    talk.caller("Hello?", at=1.0)
    assert talk.call.deadline == 9.0
    assert StoreMessage in kinds(talk.wait())


def test_a_client_that_can_only_be_woken_is_woken_and_waited_for() -> None:
    """It is told that words wait, and gets the turn when it is here, inside the same eight seconds."""
    talk = Talk(WAKEABLE)
    assert kinds(talk.caller("Hello?", at=1.0)) == [HoldUtterance, WakeClient]
    assert talk.call.phase is Phase.CLIENT_AWAITED
    assert kinds(talk(AvailabilityChanged(HERE), at=5.0)) == [StartTurn]
    assert talk.call.deadline == 9.0


def test_a_client_that_does_not_wake_up_is_relieved_at_the_limit() -> None:
    """Being asleep is no excuse: after eight seconds the answering machine takes the turn."""
    talk = Talk(WAKEABLE)
    talk.caller("Hello?", at=1.0)
    talk.wait()
    assert (talk.now, talk.call.phase) == (9.0, Phase.ANSWERING_MACHINE_ANSWERING)


def test_a_lost_client_that_turns_out_to_be_wakeable_is_woken() -> None:
    """When another way to reach the client is what remains of it, that way is tried."""
    talk = Talk(LOST)
    talk.caller("Hello?", at=1.0)
    assert talk(AvailabilityChanged(WAKEABLE), at=2.0) == [WakeClient()]


def test_a_client_that_dies_with_the_turn_in_hand_is_replaced_at_once() -> None:
    """The answering machine takes over when the connection ends, not at the limit."""
    talk = Talk()
    talk.caller("Hello?", at=1.0)
    talk(AvailabilityChanged(LOST), at=2.0)
    assert StartTurn in kinds(talk(TurnFailed(talk.turn, Reason.CLIENT_LEFT), at=2.0))
    assert talk.message.reason is Reason.CLIENT_LEFT


def test_another_session_of_the_agent_takes_the_turn_over() -> None:
    """When one of two sessions ends with the turn in hand, the other gets it, under a new number, in the same limit."""
    talk = Talk()
    talk.caller("Hello?", at=1.0)
    commands = talk(TurnFailed(1, Reason.CLIENT_LEFT), at=3.0)
    assert kinds(commands) == [NoteTurn, StartTurn]
    assert talk.turn == 2
    assert talk.call.deadline == 9.0


def test_sessions_that_keep_failing_are_not_tried_for_ever() -> None:
    """After a few hand-overs of the same words the answering machine takes the turn."""
    talk = Talk()
    talk.caller("Hello?", at=1.0)
    for _ in range(4):
        talk(TurnFailed(talk.turn, Reason.CLIENT_LEFT), at=1.0)
    assert talk.call.phase is Phase.ANSWERING_MACHINE_ANSWERING


def test_a_client_that_answers_with_an_error_or_with_nothing_has_failed() -> None:
    """Both leave the words with the reason client_failed."""
    for failure in (TurnFailed(1, Reason.CLIENT_FAILED), TurnFinished(1)):
        talk = Talk()
        talk.caller("Hello?")
        talk(failure)
        assert talk.message.reason is Reason.CLIENT_FAILED


# ── the answering machine ───────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_said_to_the_answering_machine_is_durable_before_it_answers() -> None:
    """Each utterance is stored, with all that was said before, and only then answered."""
    talk = Talk(AWAY)
    talk.caller("Hello?")
    talk.answer("May I take a message?")
    assert kinds(talk.caller("Tell her that the parcel is here.")) == [StoreMessage, StartTurn]
    assert talk.message.body == "Hello?\nTell her that the parcel is here."


def test_what_the_answering_machine_understood_becomes_the_message() -> None:
    """Body and wishes are structured; what is said after them is added, not lost."""
    talk = Talk(AWAY)
    talk.caller("Hello?")
    talk.answer("May I take a message?")
    talk.caller("The parcel is here, call me after eight.")
    stored = talk(MessageTaken(talk.turn, "The parcel is here.", "call back after 8"))
    assert kinds(stored) == [StoreMessage]
    talk.answer("I have noted it.")
    talk.caller("And it is heavy.")
    assert talk.message.body == "The parcel is here.\nAnd it is heavy."
    assert talk.message.preferences == "call back after 8"
    assert talk.message.part == 1
    assert [line.speaker for line in talk.message.transcript][-2:] == [Speaker.ANSWERING_MACHINE, Speaker.CALLER]


def test_the_answering_machine_ends_the_call_after_its_goodbye_was_heard() -> None:
    """Its tool ends the call, once the carrier has reported its words as played."""
    talk = Talk(AWAY)
    talk.caller("Hello?")
    talk(PieceSaid(talk.turn, "Goodbye."))
    talk(GoodbyeSaid(talk.turn))
    assert EndSession not in kinds(talk(TurnFinished(talk.turn)))
    assert talk(SpeechPlayed("I'm sorry. ")) == []
    assert kinds(talk(SpeechPlayed("Goodbye."))) == [EndSession]
    assert talk.call.summary.outcome == "ended"


def test_a_slow_answering_machine_falls_to_the_fixed_sentence() -> None:
    """No first word within six seconds: the sentence is said and the call ends."""
    talk = Talk(AWAY)
    talk.caller("Hello?", at=1.0)
    assert talk.call.deadline == 7.0
    commands = talk.wait()
    assert kinds(commands) == [CancelTurn, NoteTurn, Speak]
    assert talk.of(Speak)[-1].text.strip() == talk.policy.phrases.unavailable
    assert talk.call.phase is Phase.UNAVAILABLE


def test_a_failing_answering_machine_falls_to_the_fixed_sentence() -> None:
    """An error of its service is not the end of good manners, and the message stays."""
    talk = Talk(AWAY)
    talk.caller("Hello?")
    talk(TurnFailed(talk.turn, Reason.CLIENT_FAILED))
    assert talk.call.phase is Phase.UNAVAILABLE
    assert len(talk.of(StoreMessage)) == 1


def recorded(*, stores: bool = True) -> Talk:
    """Bring a call to the point where the answering machine has recorded a message and said nothing since."""
    talk = Talk(AWAY)
    talk.stores = stores
    talk.caller("The parcel is at the door.")
    talk(PieceSaid(talk.turn, "One moment."))
    talk(MessageTaken(talk.turn, "The parcel is at the door.", ""))
    return talk


def test_an_answering_machine_that_is_silent_after_recording_has_the_relay_confirm_it() -> None:
    """The caller is told that the message was taken, once, and may go on."""
    talk = recorded()
    talk(TurnFinished(talk.turn))
    assert talk.of(Speak)[-1].text.strip() == talk.policy.phrases.message_taken
    assert talk.call.phase is Phase.ANSWERING_MACHINE_LISTENING
    talk.caller("And it is heavy.")
    talk.answer("I have added that.")
    assert [each.text.strip() for each in talk.of(Speak)].count(talk.policy.phrases.message_taken) == 1


@pytest.mark.parametrize("end", [TurnFinished, lambda turn: TurnFailed(turn, Reason.CLIENT_FAILED)])
def test_the_caller_hears_nothing_of_a_message_that_is_not_durable(end: Callable[[int], Event]) -> None:
    """While the database is in trouble the relay confirms nothing."""
    talk = recorded(stores=False)
    talk(end(talk.turn))
    assert not {talk.policy.phrases.message_taken, talk.policy.phrases.message_kept} & {
        each.text.strip() for each in talk.of(Speak)
    }


def test_a_message_that_becomes_durable_late_is_confirmed_then() -> None:
    """The database is back before the answering machine's turn is over."""
    talk = recorded(stores=False)
    talk(MessageStored(), at=3.0)
    talk(TurnFinished(talk.turn), at=4.0)
    assert talk.of(Speak)[-1].text.strip() == talk.policy.phrases.message_taken


def test_an_answering_machine_that_confirms_by_itself_is_not_repeated() -> None:
    """A sentence after the recording is confirmation enough; dots are none."""
    talk = recorded()
    talk.answer("I have noted it.")
    assert talk.of(Speak)[-1].text == ""
    silent = recorded()
    silent.answer(" …")
    assert silent.of(Speak)[-1].text.strip() == silent.policy.phrases.message_taken


@pytest.mark.parametrize("failure", ["error", "time limit", "error while confirming", "error in a later turn"])
def test_an_answering_machine_that_fails_after_recording_leaves_no_doubt_about_the_message(failure: str) -> None:
    """However it fails, and whenever: the caller hears that the message is kept, not that nobody is there."""
    talk = recorded()
    if failure == "error while confirming":
        talk(PieceSaid(talk.turn, "I have no"))
    if failure == "error in a later turn":
        talk.answer("I have noted it.")
        talk.caller("And it is heavy.")
    if failure == "time limit":
        talk.wait()
    else:
        talk(TurnFailed(talk.turn, Reason.CLIENT_FAILED))
    assert talk.of(Speak)[-1].text.strip() == talk.policy.phrases.message_kept
    assert talk.call.phase is Phase.UNAVAILABLE
    assert talk.message.body.startswith("The parcel is at the door.")


def test_an_answering_machine_that_ends_the_call_in_silence_after_recording_leaves_no_doubt_either() -> None:
    """A goodbye without a word is replaced by the relay's; one with words stands."""
    for words, heard in (("…", "message_kept"), ("Noted. Goodbye.", "")):
        talk = Talk(AWAY)
        talk.caller("The parcel is at the door.")
        talk(PieceSaid(talk.turn, words))
        talk(MessageTaken(talk.turn, "The parcel is at the door.", ""))
        talk(GoodbyeSaid(talk.turn))
        talk(TurnFinished(talk.turn))
        assert talk.of(Speak)[-1].text.strip() == (getattr(talk.policy.phrases, heard) if heard else "")
        assert talk.call.phase is Phase.GOODBYE


@pytest.mark.parametrize("wordless", ["...", "—", "(…)", "🙂", "?!", "。", "* * *", "¿?", "\u200b", "„“", "…\n…"])
def test_an_answer_without_a_word_is_no_answer(wordless: str) -> None:
    """Without a letter or digit nothing is heard: the message stays and the next path is walked."""
    talk = Talk()
    talk.caller("Hello?")
    assert talk(PieceSaid(talk.turn, wordless)) == []
    assert talk.call.deadline == Policy().filler_after or talk.call.deadline == Policy().client_timeout
    talk(TurnFinished(talk.turn))
    assert talk.message.reason is Reason.CLIENT_FAILED
    assert talk.call.phase is Phase.ANSWERING_MACHINE_ANSWERING


@pytest.mark.parametrize("word", ["9", "はい", "Да.", "نعم", "好", "ใช่", "हाँ", "네", "Ω", "½", "é"])
def test_a_letter_of_any_script_is_a_word(word: str) -> None:
    """An answer of one letter or digit is an answer."""
    talk = Talk()
    talk.caller("Hello?")
    talk.answer(word)
    assert talk.of(Speak)[0].text == word
    assert talk.call.phase is Phase.CLIENT_LISTENING


# ── taking a call back ──────────────────────────────────────────────────────────────────────────────────────────────

TAKEN = CallClaimed()


def with_the_answering_machine(*, listening: bool = True) -> Talk:
    """Bring a call to the answering machine, with a client that has come back meanwhile."""
    talk = Talk(AWAY)
    talk.caller("Hello?", at=0.0)
    if listening:
        talk.answer("May I take a message?")
    talk(AvailabilityChanged(HERE))
    return talk


def test_a_client_takes_a_call_from_a_listening_answering_machine_at_once() -> None:
    """It is asked without new words of the caller, about the last ones, and is told that the call is its own."""
    talk = with_the_answering_machine()
    assert kinds(talk(TAKEN, at=3.0)) == [StartTurn]
    (*_, start) = talk.of(StartTurn)
    assert start.by is By.CLIENT
    assert [(line.speaker.value, line.text) for line in start.request.history] == [
        ("machine", f"{talk.policy.phrases.apology} May I take a message?"),
        ("relay", CLAIM_NOTE),
        ("caller", "Hello?"),
    ]


def test_utterances_go_to_the_client_that_took_the_call() -> None:
    """Its answers settle them, and what was left before stays a message as it was."""
    talk = with_the_answering_machine()
    talk(TAKEN)
    talk.answer("Hello, here I am.")
    assert kinds(talk.caller("At last!", at=4.0)) == [HoldUtterance, StartTurn]
    talk.answer("Sorry.")
    assert talk.of(ReleaseUtterances)[-1].through_turn == talk.turn
    assert talk(CallerGone(1000)) == []
    assert [each.draft.body for each in talk.of(StoreMessage)] == ["Hello?"]
    assert talk.call.summary.left_message


def test_a_talking_answering_machine_ends_its_turn_before_it_is_relieved() -> None:
    """What it is just saying is said and what it records is recorded; then the client is asked."""
    talk = with_the_answering_machine(listening=False)
    assert talk(TAKEN) == []
    talk(MessageTaken(talk.turn, "He said hello.", ""))
    commands = talk.answer("I have noted it.", at=2.0)
    assert kinds(commands)[-3:] == [NoteTurn, Speak, StartTurn]
    assert talk.message.body == "He said hello."
    assert talk.call.phase is Phase.CLIENT_ANSWERING


def test_what_the_relieved_answering_machine_still_says_is_dropped() -> None:
    """Its turn number is not the current one any more."""
    talk = with_the_answering_machine(listening=False)
    machine = talk.turn
    talk(TAKEN)
    talk.caller("Hello again?", at=1.0)
    assert talk(PieceSaid(machine, "late")) == talk(GoodbyeSaid(machine)) == talk(TurnFinished(machine)) == []
    assert talk(MessageTaken(machine, "late", "")) == []


def test_utterances_said_to_an_answering_machine_that_is_about_to_be_relieved_go_to_the_client() -> None:
    """They end the answering machine's turn; the note stands before them."""
    talk = with_the_answering_machine(listening=False)
    talk(TAKEN)
    assert kinds(talk.caller("Hello again?", at=1.0)) == [CancelTurn, NoteTurn, Speak, HoldUtterance, StartTurn]
    assert talk.history[-2:] == [("relay", CLAIM_NOTE), ("caller", "Hello again?")]


def test_a_failing_answering_machine_is_relieved_instead_of_ending_the_call() -> None:
    """The client has taken the call, so nobody has to hear that nobody is available."""
    talk = with_the_answering_machine(listening=False)
    talk(TAKEN)
    commands = talk(TurnFailed(talk.turn, Reason.CLIENT_FAILED), at=1.0)
    assert kinds(commands) == [CancelTurn, NoteTurn, Speak, StartTurn]
    assert talk.of(Speak)[-1] == Speak("", last=True)


def test_an_answering_machine_that_said_goodbye_is_relieved_all_the_same() -> None:
    """As long as the caller is there, the client that wants the call has it."""
    talk = with_the_answering_machine(listening=False)
    talk(TAKEN)
    talk(GoodbyeSaid(talk.turn))
    talk.answer("Goodbye.")
    assert talk.call.phase is Phase.CLIENT_ANSWERING


def test_an_interrupted_answering_machine_is_relieved_without_a_word() -> None:
    """The caller is about to speak: the client gets his words, or is asked when it was a false barge-in."""
    talk = with_the_answering_machine(listening=False)
    talk(TAKEN)
    assert kinds(talk(CallerBargedIn("I'm sorry"), at=1.0)) == [CancelTurn, NoteTurn]
    assert talk.call.phase is Phase.CLIENT_LISTENING
    assert talk.call.deadline == 1.0 + talk.policy.false_barge_in
    assert talk.history[-2:] == [("machine", "I'm sorry,"), ("relay", CLAIM_NOTE)]
    assert [each.by for each in talk.wait() if isinstance(each, StartTurn)] == [By.CLIENT]


def test_a_client_that_took_the_call_and_fails_gives_it_back() -> None:
    """What was said to it joins the message, and it may take the call again."""
    talk = with_the_answering_machine()
    talk(TAKEN)
    talk.answer("Hello, here I am.")
    talk.caller("Call me back.", at=1.0)
    talk.wait()
    assert talk.call.phase is Phase.ANSWERING_MACHINE_ANSWERING
    assert talk.message.body == "Hello?\nCall me back."
    talk.answer("Noted.")
    assert kinds(talk(TAKEN)) == [StartTurn]


def test_a_client_that_took_the_call_and_says_nothing_gives_it_back_at_the_limit() -> None:
    """The caller waits no longer for a client that speaks first than for one that answers."""
    talk = with_the_answering_machine()
    talk(TAKEN, at=1.0)
    assert talk.call.deadline == 9.0
    talk.wait()
    assert talk.call.phase is Phase.ANSWERING_MACHINE_ANSWERING


def test_who_is_away_takes_nothing() -> None:
    """A client that is gone again when the answering machine would be relieved leaves it the call."""
    talk = with_the_answering_machine(listening=False)
    talk(TAKEN)
    talk(AvailabilityChanged(AWAY))
    talk.answer("May I take a message?")
    assert talk.call.phase is Phase.ANSWERING_MACHINE_LISTENING
    assert talk(TAKEN) == []


def test_a_client_that_was_just_lost_may_come_back_to_the_call_it_took() -> None:
    """It is waited for within the limit."""
    talk = with_the_answering_machine()
    talk(AvailabilityChanged(LOST))
    assert talk(TAKEN, at=1.0) == []
    assert talk.call.phase is Phase.CLIENT_AWAITED
    assert kinds(talk(AvailabilityChanged(HERE), at=2.0)) == [StartTurn]


def test_a_call_that_the_client_has_cannot_be_taken() -> None:
    """In its own phases nothing changes: not the turn, not the history."""
    talk = Talk()
    assert talk(TAKEN) == []
    talk.caller("Hello?")
    assert talk(TAKEN) == []
    assert talk.call.phase is Phase.CLIENT_ANSWERING
    assert talk.history == [("caller", "Hello?")]


def test_a_call_that_is_ending_cannot_be_taken() -> None:
    """The last words are said and that is it."""
    talk = Talk(AWAY, answering_machine=False)
    talk.caller("Hello?")
    talk(AvailabilityChanged(HERE))
    assert talk(TAKEN) == []
    assert talk.call.phase is Phase.UNAVAILABLE


def test_unfinished_utterances_follow_those_in_hand_of_a_client_that_took_the_call() -> None:
    """When the line breaks, the message has all in the order in which it was said."""
    talk = with_the_answering_machine()
    talk(TAKEN)
    talk.answer("Hello, here I am.")
    talk.caller("Call me back", at=1.0)
    talk(PartialPromptHeard("tomorrow"), at=1.5)
    talk(CallerGone(1006), at=2.0)
    assert talk.message.body == "Hello?\nCall me back\ntomorrow"


# ── unavailable ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_client_and_answering_machine_a_fixed_sentence_is_said_and_the_call_ends() -> None:
    """What was said is stored, the sentence is spoken, and `end` follows when it was heard."""
    talk = Talk(AWAY, answering_machine=False)
    commands = talk.caller("Hello?")
    assert commands[1:] == [Speak(talk.policy.phrases.unavailable, last=True)]
    assert talk.message.body == "Hello?"
    assert kinds(talk(SpeechPlayed(talk.policy.phrases.unavailable), at=4.0)) == [EndSession]
    assert talk.call.summary.outcome == "unavailable"


def test_utterances_said_over_the_last_sentence_are_kept() -> None:
    """Nobody answers them any more, but they reach the client."""
    talk = Talk(AWAY, answering_machine=False)
    talk.caller("Hello?")
    talk.caller("Then tell him I called!", at=1.0)
    assert talk.message.body == "Hello?\nThen tell him I called!"


def test_that_somebody_called_is_stored_even_without_a_word() -> None:
    """A caller who hangs up on an absent client leaves an empty message; on a present one, none."""
    talk = Talk(AWAY)
    talk(CallerGone(1000))
    assert talk.message.body == ""
    assert talk.message.reason is Reason.CLIENT_ABSENT
    present = Talk(HERE)
    assert present(CallerGone(1000)) == []


def test_a_callee_who_says_nothing_leaves_no_message() -> None:
    """Only who calls us wanted something."""
    talk = Talk(AWAY, direction=Direction.OUTBOUND)
    assert talk(CallerGone(1000)) == []


# ── hanging up ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_hanging_up_on_a_silent_client_leaves_the_utterance() -> None:
    """The utterance that nobody answered becomes a message, and the client is told to stop."""
    talk = Talk()
    talk.caller("Call me back.")
    commands = talk(CallerGone(1000))
    assert kinds(commands) == [CancelTurn, NoteTurn, StoreMessage]
    assert talk.message.reason is Reason.UNANSWERED


def test_hanging_up_after_an_answer_leaves_nothing() -> None:
    """What was answered is not unanswered any more."""
    talk = Talk()
    talk.caller("What time is it?")
    talk.answer("Nine.")
    assert talk(CallerGone(1000)) == []


def test_unfinished_utterances_are_kept_when_the_line_breaks() -> None:
    """Partial words and keys in hand count as said when no final ones can come any more."""
    talk = Talk()
    talk(PartialPromptHeard("Please tell her"))
    talk(DigitPressed("7"))
    talk(CallerGone(1006))
    assert talk.message.body == "Please tell her 7"


def test_the_client_hangs_up_after_its_last_words_were_heard() -> None:
    """Its sentence is spoken first; the words it had in hand are answered by that."""
    talk = Talk()
    talk.caller("Thanks, bye.", at=1.0)
    commands = talk(HangUpRequested("You are welcome. Goodbye."), at=2.0)
    assert kinds(commands) == [CancelTurn, NoteTurn, ReleaseUtterances, Speak]
    assert kinds(talk(SpeechPlayed("You are welcome. Goodbye."), at=3.0)) == [EndSession]
    assert talk(CallerGone(1000), at=3.1) == []
    assert talk.call.summary.outcome == "ended"


def test_hanging_up_without_words_waits_for_what_is_being_said() -> None:
    """Speech that is still being played is heard to its end."""
    talk = Talk()
    talk.caller("Thanks.", at=1.0)
    talk.answer("You are welcome.", at=1.5)
    assert talk(HangUpRequested(), at=1.6) == []
    assert kinds(talk(SpeechPlayed("You are welcome."), at=2.5)) == [EndSession]


def test_a_carrier_that_reports_nothing_is_waited_for_as_long_as_the_words_take() -> None:
    """Without reports the length of the text decides when the call may be ended."""
    talk = Talk()
    talk(HangUpRequested("a" * 32), at=0.0)
    assert talk.call.deadline == 32 / talk.policy.characters_per_second + talk.policy.ending_cap
    assert kinds(talk.wait()) == [EndSession]


def test_silence_of_our_own_speech_ends_the_wait() -> None:
    """When the carrier says that we stopped speaking and nothing is to come, the session is ended."""
    talk = Talk(greeting="Hello, how can I help you today?")
    talk(HangUpRequested(), at=0.1)
    assert kinds(talk(AgentSpeaking(on=False), at=0.2)) == [EndSession]


def test_a_carrier_that_does_not_close_is_closed() -> None:
    """After `end` the line is closed by us when the carrier does not do it in time."""
    talk = Talk()
    assert kinds(talk(HangUpRequested())) == [EndSession]
    assert kinds(talk.wait()) == [CloseLine]
    assert talk.call.phase is Phase.OVER


def test_no_word_of_anybody_ends_a_call() -> None:
    """Only tools and limits do: a goodbye said by the client, or by the caller, is just words."""
    talk = Talk()
    talk.caller("Goodbye.")
    talk.answer("Goodbye, I will take care of that.")
    assert talk.of(EndSession) == []
    assert talk.call.phase is Phase.CLIENT_LISTENING


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_silence_is_asked_about_and_then_ends_the_call() -> None:
    """Two questions, then a goodbye; each after the silence since our last word was heard."""
    talk = Talk()
    spoken = []
    for _ in range(3):
        talk.wait()
        spoken.append(talk.of(Speak)[-1].text)
    phrases = talk.policy.phrases
    assert spoken == [phrases.still_there, phrases.still_there, phrases.silence_goodbye]
    assert talk.call.summary.outcome == "farewell"


def test_silence_is_counted_from_the_end_of_our_speech() -> None:
    """A long answer is not silence of the caller."""
    talk = Talk()
    talk.caller("Read it to me.", at=0.0)
    talk.answer("a" * 160, at=1.0)
    assert talk.call.deadline == 1.0 + 160 / talk.policy.characters_per_second + talk.policy.silence


def test_a_caller_who_speaks_is_not_asked_whether_he_is_there() -> None:
    """Partial words, noises and keys put the question off, and words begin the count anew."""
    talk = Talk()
    talk.wait()
    asked = talk.now
    talk(PartialPromptHeard("well"), at=asked + 1)
    assert talk.call.deadline == asked + 1 + len("Are you still there?") / 16 - 1 + talk.policy.silence
    talk.caller("Well, yes.")
    talk.answer("Good.")
    talk.wait()
    talk.wait()
    assert talk.of(Speak)[-1].text == talk.policy.phrases.still_there


def test_keys_are_one_utterance() -> None:
    """Digits are collected until the hash key."""
    talk = Talk()
    for digit in "123":
        talk(DigitPressed(digit))
    talk(DigitPressed("#"))
    assert talk.history == [("caller", "123")]


def test_keys_without_hash_are_delivered_after_a_gap() -> None:
    """Two seconds without a key end the row."""
    talk = Talk()
    talk(DigitPressed("4"), at=1.0)
    talk(DigitPressed("2"), at=2.0)
    assert talk.call.deadline == 4.0
    talk.wait()
    assert talk.history == [("caller", "42")]


def test_a_call_has_a_time_limit() -> None:
    """At the limit a sentence is said, the session is ended, and unanswered words are left."""
    talk = Talk(policy=Policy(max_seconds=5.0))
    talk.caller("Hello?", at=1.0)
    talk.wait()
    assert talk.now == 5.0
    assert talk.of(Speak)[-1].text == talk.policy.phrases.time_goodbye
    assert talk.message.reason is Reason.UNANSWERED


def test_a_drain_says_farewell_and_stores_unanswered_utterances() -> None:
    """Words in a client's hand when the daemon stops are left with the reason relay_restarted."""
    talk = Talk()
    talk.caller("Hello?")
    commands = talk(DrainRequested())
    assert kinds(commands) == [CancelTurn, NoteTurn, StoreMessage, Speak]
    assert talk.message.reason is Reason.RELAY_RESTARTED
    assert talk.of(Speak)[-1].text == talk.policy.phrases.drain_goodbye


def test_ten_rejected_frames_in_a_row_end_the_call() -> None:
    """A good frame in between begins the count anew."""
    talk = Talk()
    for _ in range(9):
        talk(FrameRejected("not json"))
    talk(FrameAccepted())
    for _ in range(9):
        assert talk(FrameRejected("not json")) == []
    assert kinds(talk(FrameRejected("not json"))) == [EndSession]
    assert talk.call.summary.outcome == "failed"


def test_frames_of_unknown_types_neither_end_a_call_nor_excuse_bad_ones() -> None:
    """A carrier with something new may send a hundred of them; a row of bad frames goes on over them."""
    talk = Talk()
    for _ in range(100):
        assert talk(FrameUnknown("configUpdated")) == []
    for _ in range(9):
        talk(FrameRejected("not json"))
        talk(FrameUnknown("configUpdated"))
    assert kinds(talk(FrameRejected("not json"))) == [EndSession]


# ── calls that we make, and calls that are passed on ────────────────────────────────────────────────────────────────


def test_a_callee_is_not_offered_an_answering_machine() -> None:
    """When the client who called is gone, an honest sentence ends the call, and what was said is kept."""
    talk = Talk(AWAY, direction=OUTBOUND)
    talk.caller("Who is this?")
    assert talk.of(Speak)[-1] == Speak(talk.policy.phrases.callee_unavailable, last=True)
    assert talk.of(StartTurn) == []
    assert (talk.message.body, talk.message.reason) == ("Who is this?", Reason.CLIENT_ABSENT)


def test_nothing_is_said_before_a_person_is_known_to_be_there() -> None:
    """A screened call keeps its greeting back; what is heard meanwhile is context for the first turn, not a turn."""
    talk = Talk(screened=True, greeting="Hi, your results are here.", direction=OUTBOUND)
    assert talk.caller("Hello?", at=1.0) == []
    assert talk(CalleeRecognised(Callee.HUMAN), at=3.0) == [Speak("Hi, your results are here.", last=True)]
    talk.caller("Oh, good.", at=6.0)
    history = [line.text for line in talk.of(StartTurn)[-1].request.history]
    assert history == ["Hello?", "Hi, your results are here.", "Oh, good."]


def test_a_verdict_that_never_comes_is_not_waited_for() -> None:
    """After some seconds somebody is taken to be there, and the client is not told that anything is known."""
    talk = Talk(screened=True, greeting="Hi there.", direction=OUTBOUND)
    assert talk.call.deadline == talk.policy.screening
    assert talk.wait() == [Speak("Hi there.", last=True)]
    talk.caller("Hello.")
    assert talk.of(StartTurn)[-1].request.callee is None


def test_the_client_learns_who_picked_up() -> None:
    """The verdict so far goes with each turn, and is left out while there is none."""
    talk = Talk(direction=OUTBOUND)
    talk.caller("Hello?")
    assert talk(CalleeRecognised(Callee.HUMAN)) == []
    talk.caller("Who is there?")
    assert [each.request.callee for each in talk.of(StartTurn)] == [None, Callee.HUMAN]


def leaving(message: str, availability: Availability = HERE, **call: object) -> Talk:
    """Make a call that leaves a message with a voicemail."""
    screening = {"direction": OUTBOUND, "voicemail": Voicemail.LEAVE_MESSAGE, "for_voicemail": message}
    return Talk(availability, answering_machine=True, policy=None, **(screening | call))


def test_a_voicemail_gets_the_message_meant_for_it() -> None:
    """The voicemail hears its own sentence, not the greeting, and then the call ends."""
    talk = leaving("Please call us back.", screened=True, greeting="Your results are here.")
    assert talk(CalleeRecognised(Callee.VOICEMAIL), at=4.0) == [Speak("Please call us back.", last=True)]
    assert kinds(talk(SpeechPlayed("Please call us back."), at=6.0)) == [EndSession]
    assert talk.call.summary.outcome == "voicemail"


@pytest.mark.parametrize("for_voicemail", ["", "Not for this request."])
def test_a_voicemail_is_hung_up_on_in_the_middle_of_a_word(for_voicemail: str) -> None:
    """The call ends at once and nothing more is said, even while the client talks; its announcement needs no answer."""
    talk = Talk(direction=OUTBOUND, greeting="Hello, this is your assistant.", for_voicemail=for_voicemail)
    talk.caller("Leave a message after the tone.", at=1.0)
    talk(PieceSaid(talk.turn, "I am calling"), at=1.5)
    assert kinds(talk(CalleeRecognised(Callee.VOICEMAIL), at=2.0)) == [
        CancelTurn,
        NoteTurn,
        ReleaseUtterances,
        EndSession,
    ]
    assert talk(CallerGone(1000), at=2.1) == []
    assert talk.call.summary.outcome == "voicemail"


def test_a_message_for_a_voicemail_that_is_empty_is_a_hang_up() -> None:
    """There is nothing to leave."""
    talk = leaving(" ", screened=True)
    assert talk(CalleeRecognised(Callee.VOICEMAIL), at=4.0) == [EndSession()]


def test_a_voicemail_found_out_in_the_middle_of_a_turn_gets_its_message() -> None:
    """The client's turn is cancelled, what the voicemail said counts as answered, and the message is left."""
    talk = leaving("Please call us back.")
    talk.caller("You have reached Ada.")
    commands = talk(CalleeRecognised(Callee.VOICEMAIL))
    assert kinds(commands) == [CancelTurn, NoteTurn, ReleaseUtterances, Speak]
    assert talk.caller("Beep.") == []


def test_a_voicemail_gets_its_message_though_the_client_is_gone() -> None:
    """The verdict comes after the honest sentence: the message that the client wished for is left all the same."""
    talk = leaving("Please call us back.", AWAY)
    talk.caller("You have reached Ada.", at=1.0)
    assert talk(CalleeRecognised(Callee.VOICEMAIL), at=2.0) == [Speak("Please call us back.", last=True)]
    assert talk.call.summary.outcome == "voicemail"


def test_a_voicemail_may_be_talked_to() -> None:
    """A client that wants to go on hears the voicemail like a person, greets it, and is told what it is."""
    talk = Talk(screened=True, greeting="Hi there.", direction=OUTBOUND, voicemail=Voicemail.GO_ON)
    assert talk(CalleeRecognised(Callee.VOICEMAIL), at=4.0) == [Speak("Hi there.", last=True)]
    talk.caller("For opening hours, press one.", at=9.0)
    assert talk.of(StartTurn)[-1].request.callee is Callee.VOICEMAIL


def test_a_verdict_on_a_caller_changes_nothing() -> None:
    """Who calls us is not screened."""
    talk = Talk()
    talk.caller("Hello?")
    assert talk(CalleeRecognised(Callee.VOICEMAIL)) == []
    talk.answer("Good morning.")
    talk.caller("Hello again.")
    assert talk.of(StartTurn)[-1].request.callee is None


def test_a_verdict_after_the_client_has_hung_up_changes_nothing() -> None:
    """The client's last words are said as it wanted."""
    talk = Talk(direction=OUTBOUND)
    talk(HangUpRequested("I will call again."))
    assert talk(CalleeRecognised(Callee.VOICEMAIL)) == []
    assert talk.call.summary.outcome == "ended"


def test_a_transfer_hands_the_call_on_after_what_is_being_said() -> None:
    """The session is ended with the handoff, once the caller has heard what was said; the words count as answered."""
    talk = Talk()
    talk.caller("Can I talk to a person?", at=1.0)
    talk(PieceSaid(talk.turn, "Of course."), at=1.5)
    commands = talk(TransferRequested('{"to": "+15551230003"}'), at=1.6)
    assert kinds(commands) == [CancelTurn, NoteTurn, ReleaseUtterances, Speak]
    assert talk(SpeechPlayed("Of course."), at=2.4) == [EndSession('{"to": "+15551230003"}')]
    assert talk(CallerGone(1000)) == []
    assert talk.call.summary.outcome == "transferred"


# ── notes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

NOTE = "The transfer was not answered."
BEFORE = (Line(Speaker.CALLER, "Can I talk to a person?", STARTED),)


def back(availability: Availability = HERE, *, answering_machine: bool = True, **call: object) -> Talk:
    """Let a caller come back from a transfer."""
    talk = Talk(
        availability,
        answering_machine=answering_machine,
        policy=None,
        note=NOTE,
        attempt=1,
        opened_by=BEFORE,
        **call,
    )
    talk.commands += talk.call.handle(SessionStarted(), 0.0)
    talk.turn = max((each.request.turn for each in talk.of(StartTurn)), default=0)
    return talk


def test_a_caller_who_comes_back_is_announced_as_the_next_turn() -> None:
    """The client is told what happened in between, by the relay, without the caller having to say a word."""
    talk = back()
    assert kinds(talk.commands) == [StartTurn]
    assert talk.of(StartTurn)[0].request.history[-1].speaker is Speaker.RELAY
    assert talk.history == [("caller", "Can I talk to a person?"), ("relay", NOTE)]
    talk.answer("Sorry, nobody picked up.", at=1.0)
    assert talk(CallerGone(1000)) == []


def test_a_note_that_no_client_takes_is_no_word_of_the_caller() -> None:
    """The answering machine takes over, and the message has the note in its transcript, not in its body."""
    talk = back(AWAY)
    assert kinds(talk.commands) == [StoreMessage, Speak, StartTurn]
    assert talk.message.body == ""
    assert talk.message.transcript[1] == Line(Speaker.RELAY, NOTE, STARTED, is_note=True)
    talk.answer("May I take a message?")
    talk.caller("Call me back.")
    assert (talk.message.body, talk.message.reason) == ("Call me back.", Reason.CLIENT_ABSENT)


def test_a_note_is_answered_within_the_limit() -> None:
    """A client that says nothing about it has the usual time."""
    talk = back()
    talk.wait()
    assert (talk.now, talk.call.phase) == (8.0, Phase.ANSWERING_MACHINE_ANSWERING)
    assert (talk.message.body, talk.message.reason) == ("", Reason.CLIENT_TIMEOUT)


def test_a_lost_client_is_waited_for_with_a_note() -> None:
    """It gets the note as its turn when it is back."""
    talk = back(LOST)
    assert talk.call.phase is Phase.CLIENT_AWAITED
    assert kinds(talk(AvailabilityChanged(HERE), at=2.0)) == [StartTurn]


def test_a_note_cut_short_by_a_false_barge_in_is_repeated() -> None:
    """An interruption without words does not leave the returned caller in silence."""
    talk = back()
    talk(CallerBargedIn(""), at=1.0)
    assert talk.call.deadline == 1.0 + talk.policy.false_barge_in
    assert kinds(talk.wait()) == [StartTurn]


def test_a_returned_caller_who_hangs_up_on_nobody_is_known_of() -> None:
    """While a lost client is waited for, a hang-up leaves the note in the transcript of an empty message."""
    talk = back(LOST)
    talk(CallerGone(1000), at=1.0)
    assert (talk.message.body, talk.message.transcript[-1].text) == ("", NOTE)


def test_a_note_without_client_and_answering_machine_ends_in_the_fixed_sentence() -> None:
    """That the caller was there is stored before it is said."""
    talk = back(AWAY, answering_machine=False)
    assert kinds(talk.commands) == [StoreMessage, Speak]
    assert talk.call.phase is Phase.UNAVAILABLE


def test_a_callee_who_comes_back_to_nobody_leaves_no_message() -> None:
    """Only who calls us wanted something; the honest sentence ends the call."""
    talk = back(AWAY, direction=OUTBOUND)
    assert talk.commands == [Speak(talk.policy.phrases.callee_unavailable, last=True)]


def test_a_note_of_a_screened_call_waits_for_a_person_to_be_there() -> None:
    """It is context for the first turn."""
    talk = back(screened=True, direction=OUTBOUND)
    assert talk.commands == []
    talk(CalleeRecognised(Callee.HUMAN), at=1.0)
    talk.caller("Hello?", at=2.0)
    assert [line.text for line in talk.of(StartTurn)[0].request.history][1:] == [NOTE, "Hello?"]


# ── who asks not to be called ───────────────────────────────────────────────────────────────────────────────────────

ASKS = Policy(asks_not_to_be_called=lambda words: "stop calling" in words.lower())
PLEASE = "Please stop calling me!"


def test_who_asks_not_to_be_called_is_put_on_the_list_first() -> None:
    """Before the words are given to anybody, the list has the number."""
    talk = Talk(direction=OUTBOUND, policy=ASKS)
    assert kinds(talk.caller(PLEASE)) == [StopCalling, HoldUtterance, StartTurn]


def test_opting_out_is_done_once_a_call() -> None:
    """Saying it again is an utterance like any other."""
    talk = Talk(policy=ASKS)
    talk.caller(PLEASE)
    talk.caller(PLEASE)
    assert talk.of(StopCalling) == [StopCalling()]


def test_only_final_words_opt_out() -> None:
    """A guess that may still change does not, unless the line breaks and it was the last that was heard."""
    talk = Talk(policy=ASKS)
    assert talk(PartialPromptHeard(PLEASE)) == []
    assert StopCalling in kinds(talk(CallerGone(1006)))


@pytest.mark.parametrize(
    "talk",
    [
        Talk(direction=OUTBOUND, screened=True, policy=ASKS),
        Talk(AWAY, policy=ASKS),
        Talk(AWAY, answering_machine=False, policy=ASKS),
        Talk(AWAY, direction=OUTBOUND, policy=ASKS),
    ],
    ids=["screening", "answering machine", "unavailable", "callee unavailable"],
)
def test_opting_out_works_in_each_phase(talk: Talk) -> None:
    """Whoever holds the call, and also over the last words."""
    talk.caller("Who is this?", at=1.0)
    assert kinds(talk.caller(PLEASE, at=1.5))[0] is StopCalling


def test_opting_out_works_after_the_client_has_hung_up() -> None:
    """Words over the client's goodbye are not kept, but this request is."""
    talk = Talk(direction=OUTBOUND, policy=ASKS)
    talk(HangUpRequested("Goodbye then."))
    assert talk.caller(PLEASE) == [StopCalling()]


# ── the kept transcript ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_whole_transcript_is_kept_where_it_is_asked_for() -> None:
    """It holds what was said on this connection, as it was heard, beyond the window; not what was said before."""
    talk = Talk(policy=Policy(history_lines=2, keep_transcript=True), opened_by=BEFORE, attempt=1)
    talk.caller("One?")
    talk.answer("This is the first.")
    talk(CallerBargedIn("This is"))
    talk.caller("Two?")
    talk.answer("The second.")
    talk(CallerGone(1000))
    assert [line.text for line in talk.call.summary.transcript] == ["One?", "This is", "Two?", "The second."]
    assert len(talk.call.transcript) == 2


def test_no_transcript_is_kept_otherwise() -> None:
    """The record of a call says nothing of what was said."""
    talk = Talk()
    talk.caller("Hello?")
    talk(CallerGone(1000))
    assert talk.call.summary.transcript == ()


def test_the_kept_transcript_is_bounded() -> None:
    """An endless talker does not fill the memory: the oldest lines go."""
    talk = Talk(policy=Policy(keep_transcript=True))
    for number in range(12):
        talk.caller(f"{number} " + "x" * (RECORD_CHARACTERS // 10))
    kept = talk.call.summary.transcript
    assert sum(len(line.text) for line in kept) <= RECORD_CHARACTERS
    assert kept[-1].text.startswith("11 ")


# ── reconnected calls ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reconnected_call_continues_its_transcript_with_new_turn_numbers() -> None:
    """The second socket of a call knows what was said, and reuses neither turn numbers nor the message's key."""
    before = (Line(Speaker.CALLER, "My name is Ada.", STARTED), Line(Speaker.AGENT, "Hello Ada.", STARTED))
    talk = Talk(AWAY, attempt=1, opened_by=before)
    talk.caller("Are you still there?")
    assert talk.history[:2] == [("caller", "My name is Ada."), ("agent", "Hello Ada.")]
    assert talk.turn > 100_000
    assert talk.message.part == 2


def test_a_call_that_breaks_stores_what_it_owes() -> None:
    """When the call cannot go on for a fault of ours, the epilogue is given the words in hand."""
    talk = Talk()
    talk.caller("Remember this.")
    (leave,) = [each for each in talk.call.handle(SessionFailed(), 1.0) if isinstance(each, StoreMessage)]
    assert leave.draft.body == "Remember this."
    assert talk.call.summary.outcome == "failed"
    assert talk.call.handle(SessionFailed(), 2.0) == []
