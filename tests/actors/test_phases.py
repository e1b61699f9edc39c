"""The table of transitions: every event has its row in every phase, and every move of it is taken by some call."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, get_args

import attrs
import pytest

from actors.call_values import Availability, Callee, Direction, Reason, Voicemail
from actors.commands import Command, StartTurn
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
    FrameUnknown,
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
    TurnEvent,
    TurnFailed,
    TurnFinished,
    UtteranceHeard,
)
from actors.phases import TRANSITIONS, Phase
from actors.policy import Phrases, Policy
from tests.fakes import call_info

OUTBOUND = Direction.OUTBOUND
HERE, LOST, AWAY = Availability.HERE, Availability.JUST_LOST, Availability.AWAY


class Walk:
    """Walk a conversation from occasion to occasion, naming the running turn by itself."""

    def __init__(self, availability: Availability, *, answering_machine: bool = True, **call: object) -> None:
        self.now = 0.0
        request = {"voicemail": Voicemail.LEAVE_MESSAGE, "for_voicemail": "Call me back."}
        info = call_info(**(request | call))
        self.call = Conversation(
            info, Policy(has_answering_machine=answering_machine), availability=availability, now=0.0
        )
        self.turn = 0

    def feed(self, *events: Event) -> Walk:
        for event in events:
            for command in self.call.handle(event, self.now):
                if isinstance(command, StartTurn):
                    self.turn = command.request.turn
        return self

    def spoke(self) -> Walk:
        return self.feed(UtteranceHeard("Is anybody there?"))

    def here(self, availability: Availability) -> Walk:
        return self.feed(AvailabilityChanged(availability))

    def said(self) -> Walk:
        return self.feed(PieceSaid(self.turn, "Yes."))

    def finished(self) -> Walk:
        return self.feed(TurnFinished(self.turn))

    def failed(self, reason: Reason) -> Walk:
        return self.feed(TurnFailed(self.turn, reason))

    def deadline(self) -> Walk:
        self.now = self.call.deadline
        return self.feed(DeadlinePassed())

    def limit(self) -> Walk:
        self.now = 3600.0
        return self.feed(DeadlinePassed())

    def rubbish(self) -> Walk:
        return self.feed(*[FrameRejected("not json")] * 10)

    def gone(self) -> Walk:
        return self.feed(CallerGone(1000))

    def interrupted(self) -> Walk:
        return self.feed(CallerBargedIn("Ye"))

    def taken(self) -> Walk:
        return self.feed(CallClaimed())

    def is_voicemail(self) -> Walk:
        return self.feed(CalleeRecognised(Callee.VOICEMAIL))

    def is_to_move(self) -> Walk:
        return self.feed(MoveRequested("{}"))

    def moved(self) -> Walk:
        return self.feed(MoveDue("{}"))

    def taken_over(self, *, now: bool = False) -> Walk:
        return self.feed(CallTakenOver("ada", now))

    def handed_back(self) -> Walk:
        return self.feed(CallHandedBack("ada"))

    def hung_up(self) -> Walk:
        return self.feed(HangUpRequested("Goodbye."))


def begin(phase: Phase, *, answering_machine: bool = True) -> Walk:
    """Bring a call to a phase by the shortest way."""
    walks = {
        Phase.SCREENING: lambda: Walk(HERE, screened=True, direction=OUTBOUND),
        Phase.CLIENT_LISTENING: lambda: Walk(HERE, answering_machine=answering_machine),
        Phase.CLIENT_AWAITED: lambda: Walk(LOST, answering_machine=answering_machine).spoke(),
        Phase.CLIENT_ANSWERING: lambda: Walk(HERE, answering_machine=answering_machine).spoke(),
        Phase.ANSWERING_MACHINE_ANSWERING: lambda: Walk(AWAY).spoke(),
        Phase.ANSWERING_MACHINE_LISTENING: lambda: Walk(AWAY).spoke().said().finished(),
        Phase.UNAVAILABLE: lambda: Walk(AWAY, answering_machine=False).spoke(),
        Phase.GOODBYE: lambda: Walk(HERE).hung_up(),
        Phase.MOVING: lambda: Walk(HERE).moved(),
        Phase.ENDING: lambda: Walk(HERE).rubbish(),
        Phase.OVER: lambda: Walk(HERE).gone(),
    }
    walk = walks[phase]()
    assert walk.call.phase is phase
    return walk


RARE: list[Event] = [
    FrameUnknown("new"),
    FrameAccepted(),
    CarrierFailed("Invalid message received"),
    PartialPromptHeard("and"),
    CallerSpeaking(on=True),
    CallerGone(1000),
    SessionFailed(),
    HangUpRequested("Goodbye."),
    HangUpRequested(),
    TransferRequested("{}"),
    DrainRequested(),
    MoveDue("{}"),
]
TURN_EVENTS: list[Event] = [
    PieceSaid(1, "Yes."),
    MessageTaken(1, "Call back."),
    GoodbyeSaid(1),
    TurnFinished(1),
    TurnFailed(1, Reason.CLIENT_FAILED),
]
# Without a sentence for it, a phase of last words is over at once.
SPEECHLESS = Phrases(
    unavailable="",
    callee_unavailable="",
    silence_goodbye="",
    time_goodbye="",
    drain_goodbye="",
    message_kept="",
)
BEFORE_AN_OPERATOR: list[Event] = [CallerBargedIn("Ye"), *(AvailabilityChanged(each) for each in Availability)]
OF_AN_OPERATOR: list[Event] = [SayRequested("I am Ada.", "ada"), OperatorTyping("ada"), CallHandedBack("ada")]
AWAY_THEN: list[Event] = [DigitPressed("#"), UtteranceHeard("Hello?")]

S = Phase.SCREENING
L, W, A = Phase.CLIENT_LISTENING, Phase.CLIENT_AWAITED, Phase.CLIENT_ANSWERING
MA, ML, U = Phase.ANSWERING_MACHINE_ANSWERING, Phase.ANSWERING_MACHINE_LISTENING, Phase.UNAVAILABLE
G, M, E, OVER = Phase.GOODBYE, Phase.MOVING, Phase.ENDING, Phase.OVER

WALKS = {
    (S, L): lambda: begin(S).deadline(),
    (S, G): lambda: begin(S).hung_up(),
    (S, M): lambda: begin(S).moved(),
    (S, E): lambda: begin(S).rubbish(),
    (S, OVER): lambda: begin(S).gone(),
    (L, A): lambda: begin(L).spoke(),
    (L, W): lambda: begin(L).here(LOST).spoke(),
    (L, MA): lambda: begin(L).here(AWAY).spoke(),
    (L, U): lambda: begin(L, answering_machine=False).here(AWAY).spoke(),
    (L, G): lambda: begin(L).hung_up(),
    (L, M): lambda: begin(L).is_to_move().spoke(),
    (L, E): lambda: begin(L).rubbish(),
    (L, OVER): lambda: begin(L).gone(),
    (W, A): lambda: begin(W).here(HERE),
    (W, W): lambda: begin(W).spoke(),
    (W, L): lambda: begin(W).interrupted(),
    (W, MA): lambda: begin(W).deadline(),
    (W, U): lambda: begin(W, answering_machine=False).here(AWAY),
    (W, G): lambda: begin(W).limit(),
    (W, M): lambda: begin(W).is_to_move(),
    (W, E): lambda: begin(W).rubbish(),
    (W, OVER): lambda: begin(W).gone(),
    (A, A): lambda: begin(A).spoke(),
    (A, L): lambda: begin(A).said().finished(),
    (A, W): lambda: begin(A).here(LOST).failed(Reason.CLIENT_ABSENT),
    (A, MA): lambda: begin(A).deadline(),
    (A, U): lambda: begin(A, answering_machine=False).failed(Reason.CLIENT_FAILED),
    (A, G): lambda: begin(A).hung_up(),
    (A, M): lambda: begin(A).is_to_move().spoke(),
    (A, E): lambda: begin(A).rubbish(),
    (A, OVER): lambda: begin(A).gone(),
    (MA, A): lambda: begin(MA).here(HERE).taken().said().finished(),
    (MA, W): lambda: begin(MA).here(LOST).taken().failed(Reason.CLIENT_FAILED),
    (MA, L): lambda: begin(MA).here(HERE).taken().interrupted(),
    (MA, MA): lambda: begin(MA).spoke(),
    (MA, ML): lambda: begin(MA).interrupted(),
    (MA, U): lambda: begin(MA).deadline(),
    (MA, G): lambda: begin(MA).said().feed(GoodbyeSaid(2)).finished(),
    (MA, M): lambda: begin(MA).is_to_move().spoke(),
    (MA, E): lambda: begin(MA).rubbish(),
    (MA, OVER): lambda: begin(MA).gone(),
    (ML, A): lambda: begin(ML).here(HERE).taken(),
    (ML, L): lambda: begin(ML).taken_over(),
    (ML, W): lambda: begin(ML).here(LOST).taken(),
    (ML, MA): lambda: begin(ML).spoke(),
    (ML, G): lambda: begin(ML).limit(),
    (ML, M): lambda: begin(ML).moved(),
    (ML, E): lambda: begin(ML).rubbish(),
    (ML, OVER): lambda: begin(ML).gone(),
    (U, G): lambda: Walk(AWAY, direction=OUTBOUND).spoke().is_voicemail(),
    (U, E): lambda: begin(U).feed(SpeechPlayed("I'm sorry")),
    (U, OVER): lambda: begin(U).gone(),
    (G, G): lambda: Walk(HERE, direction=OUTBOUND).limit().is_voicemail(),
    (G, E): lambda: begin(G).deadline(),
    (G, OVER): lambda: begin(G).gone(),
    (M, OVER): lambda: begin(M).deadline(),
    (E, OVER): lambda: begin(E).deadline(),
}


@pytest.mark.parametrize(
    ("phase", "walk"),
    {
        S: lambda **request: Walk(HERE, screened=True, **request),
        L: lambda **request: Walk(HERE, **request),
        W: lambda **request: Walk(LOST, **request).spoke(),
        A: lambda **request: Walk(HERE, **request).spoke(),
        U: lambda **request: Walk(AWAY, **request).spoke(),
        G: lambda **request: Walk(HERE, **request).limit(),
    }.items(),
)
@pytest.mark.parametrize(("voicemail", "target"), [(Voicemail.HANG_UP, E), (Voicemail.LEAVE_MESSAGE, G)])
def test_a_voicemail_that_picks_up_is_dealt_with_in_each_phase(
    phase: Phase, walk: Callable[..., Walk], voicemail: Voicemail, target: Phase
) -> None:
    """The carrier's verdict ends a call that we made, at once or after the message, wherever the call is."""
    walked = walk(direction=OUTBOUND, voicemail=voicemail)
    assert walked.call.phase is phase
    assert walked.is_voicemail().call.phase is target


@pytest.mark.parametrize(("phase", "target"), WALKS, ids=[f"{a} to {b}" for a, b in WALKS])
def test_each_move_is_taken_on_its_occasion(phase: Phase, target: Phase) -> None:
    """The occasion that the table names moves the call to the phase that the table names."""
    assert WALKS[phase, target]().call.phase is target


def test_the_table_and_the_walks_are_the_same() -> None:
    """No move of the table is untested, and no tested move is missing from it."""
    rows = ((phase, moves) for phase, row in TRANSITIONS.items() for moves in row.values())
    assert set(WALKS) == {(phase, target) for phase, moves in rows for target in moves or ()}


# ── every event in every phase ──────────────────────────────────────────────────────────────────────────────────────


def test_every_event_has_its_row_in_every_phase() -> None:
    """Whoever adds an event or a phase is made to say what the one means in the other."""
    assert TRANSITIONS.keys() == set(Phase)
    assert [row.keys() ^ set(get_args(Event)) for row in TRANSITIONS.values()] == [set()] * len(Phase)


def test_every_event_has_a_handler() -> None:
    """An event that means something somewhere is handled, and no handler waits for one that never does."""
    meant = {event for row in TRANSITIONS.values() for event, moves in row.items() if moves is not None}
    assert Conversation._HANDLERS.keys() == meant


@pytest.mark.parametrize("phase", Phase)
def test_an_event_that_is_ignored_does_nothing(phase: Phase) -> None:
    """What comes too late, or for somebody else, wants nothing done and leaves the call as it was."""
    rare = [*RARE, MoveRequested("{}"), CallerBargedIn("Ye")]
    operators: list[Event] = [
        CallTakenOver("ada", now=True),
        CallHandedBack("ada"),
        SayRequested("One moment.", "ada"),
        OperatorTyping("ada"),
    ]
    supervisors: list[Event] = [SessionStarted(), CallClaimed(), CalleeRecognised(Callee.VOICEMAIL), *operators]
    for event in [*rare, *TURN_EVENTS, *supervisors]:
        call, before = begin(phase).call, begin(phase).call
        if TRANSITIONS[phase][type(event)] is None:
            assert call.handle(event, 0.0) == []
            assert (call.phase, call.transcript, call.deadline) == (phase, before.transcript, before.deadline)


class Watched(Conversation):
    """A conversation that writes down which event, in which phase, took it where."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.taken: set[tuple[Phase, type[Event], Phase]] = set()
        self.before: tuple[Phase, type[Event]] = (self.phase, SessionStarted)

    def handle(self, event: Event, now: float) -> list[Command]:
        self.before = (self.phase, type(event))
        return super().handle(event, now)

    def _enter(self, phase: Phase) -> None:
        super()._enter(phase)
        self.taken.add((*self.before, phase))


def live_at_random(chance: random.Random) -> Watched:
    """Live through one call in which anything may happen, and return it."""
    policy = Policy(
        has_answering_machine=chance.random() < 0.7,
        phrases=chance.choice([Phrases(), SPEECHLESS]),
        answer_characters=100,
        bad_frames=2,
        reprompts=1,
        max_seconds=chance.choice([5.0, 300.0]),
    )
    info = call_info(
        direction=chance.choice(list(Direction)),
        screened=chance.random() < 0.2,
        greeting=chance.choice(["", "Hello, how can I help you today?"]),
        note=chance.choice(["", "nobody answered the transfer"]),
        voicemail=chance.choice(list(Voicemail)),
        for_voicemail="Call me back.",
    )
    call = Watched(info, policy, availability=chance.choice(list(Availability)), now=0.0)
    now, turn = 0.0, 0
    happenings: list[Callable[[], list[Event]]] = [
        lambda: [UtteranceHeard("Is anybody there?")],
        lambda: [DigitPressed(chance.choice("1#"))],
        lambda: [AvailabilityChanged(chance.choice(list(Availability)))],
        lambda: [PieceSaid(turn, chance.choice(["Yes.", "Yes. " * 30, ""]))],
        lambda: [TurnFinished(turn)],
        lambda: [TurnFailed(turn, chance.choice([Reason.CLIENT_ABSENT, Reason.CLIENT_FAILED]))],
        lambda: [CallClaimed()],
        lambda: [CallTakenOver(chance.choice(["ada", "ben"]), now=chance.random() < 0.5)],
        lambda: [CallHandedBack("ada")],
        lambda: [
            chance.choice(BEFORE_AN_OPERATOR),
            chance.choice(OF_AN_OPERATOR),
        ],
        lambda: [AvailabilityChanged(Availability.AWAY), chance.choice(AWAY_THEN)],
        lambda: [GoodbyeSaid(turn), TurnFinished(turn)],
        lambda: [GoodbyeSaid(turn), CallClaimed()],
        lambda: [CallClaimed(), MoveRequested("{}"), PieceSaid(turn, "Yes. " * 30)],
        lambda: [MessageTaken(turn, "Call back."), MessageStored()],
        lambda: [CallerBargedIn("Ye")],
        lambda: [CalleeRecognised(chance.choice(list(Callee)))],
        lambda: [MoveRequested("{}")] * chance.choice([0, 0, 1]),
        lambda: [SpeechPlayed("Yes.")],
        lambda: [AgentSpeaking(on=False)],
        lambda: [DeadlinePassed()],
        lambda: [DeadlinePassed()],
        lambda: [FrameRejected("not json")] * chance.choice([0, 0, 0, 2]),
        lambda: [chance.choice(RARE)],
    ]
    call.handle(SessionStarted(), now)
    for _ in range(30):
        for event in chance.choice(happenings)():
            if isinstance(event, DeadlinePassed):
                now = min(max(now, call.deadline), 1e6)
            turn = call._turns.running.number if call._turns.running else 0
            if not isinstance(event, TurnEvent):
                call.handle(event, now)
            else:
                call.handle(attrs.evolve(event, turn=turn), now)
    return call


def test_every_move_of_every_row_is_taken() -> None:
    """Calls at random take each move that the table allows an event in a phase, so it allows no more than happens."""
    chance = random.Random(5)
    rows = {(phase, event, to) for phase, row in TRANSITIONS.items() for event, tos in row.items() for to in tos or ()}
    for _ in range(40_000):
        rows -= live_at_random(chance).taken
        if not rows:
            return
    assert rows == set()
