"""The table of moves: each one is taken by the machine, and none is missing from the picture."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.call_values import Availability, Callee, Direction, Reason, Voicemail
from actors.commands import StartTurn
from actors.conversation import Conversation
from actors.events import (
    AvailabilityChanged,
    CallClaimed,
    CalleeRecognised,
    CallerBargedIn,
    CallerGone,
    DeadlinePassed,
    Event,
    FrameRejected,
    GoodbyeSaid,
    HangUpRequested,
    PieceSaid,
    SpeechPlayed,
    TurnFailed,
    TurnFinished,
    UtteranceHeard,
)
from actors.phases import MOVES, Phase
from actors.policy import Policy
from tests.fakes import call_info

OUTBOUND = Direction.OUTBOUND
HERE, LOST, AWAY = Availability.HERE, Availability.JUST_LOST, Availability.AWAY


class Walk:
    """Walk a conversation from occasion to occasion, naming the running turn by itself."""

    def __init__(self, availability: Availability, *, machine: bool = True, **call: object) -> None:
        self.now = 0.0
        wish = {"voicemail": Voicemail.LEAVE_MESSAGE, "for_voicemail": "Call me back."}
        info = call_info(**(wish | call))
        self.call = Conversation(info, Policy(has_answering_machine=machine), availability=availability, now=0.0)
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

    def is_machine(self) -> Walk:
        return self.feed(CalleeRecognised(Callee.VOICEMAIL))

    def hung_up(self) -> Walk:
        return self.feed(HangUpRequested("Goodbye."))


def begin(phase: Phase, *, machine: bool = True) -> Walk:
    """Bring a call to a phase by the shortest way."""
    walks = {
        Phase.SCREENING: lambda: Walk(HERE, screened=True, direction=OUTBOUND),
        Phase.CLIENT_LISTENING: lambda: Walk(HERE, machine=machine),
        Phase.CLIENT_AWAITED: lambda: Walk(LOST, machine=machine).spoke(),
        Phase.CLIENT_ANSWERING: lambda: Walk(HERE, machine=machine).spoke(),
        Phase.ANSWERING_MACHINE_ANSWERING: lambda: Walk(AWAY).spoke(),
        Phase.ANSWERING_MACHINE_LISTENING: lambda: Walk(AWAY).spoke().said().finished(),
        Phase.UNAVAILABLE: lambda: Walk(AWAY, machine=False).spoke(),
        Phase.GOODBYE: lambda: Walk(HERE).hung_up(),
        Phase.ENDING: lambda: Walk(HERE).rubbish(),
        Phase.OVER: lambda: Walk(HERE).gone(),
    }
    walk = walks[phase]()
    assert walk.call.phase is phase
    return walk


S = Phase.SCREENING
L, W, A = Phase.CLIENT_LISTENING, Phase.CLIENT_AWAITED, Phase.CLIENT_ANSWERING
MA, ML, U = Phase.ANSWERING_MACHINE_ANSWERING, Phase.ANSWERING_MACHINE_LISTENING, Phase.UNAVAILABLE
G, E, OVER = Phase.GOODBYE, Phase.ENDING, Phase.OVER

WALKS = {
    (S, L): lambda: begin(S).deadline(),
    (S, G): lambda: begin(S).hung_up(),
    (S, E): lambda: begin(S).rubbish(),
    (S, OVER): lambda: begin(S).gone(),
    (L, A): lambda: begin(L).spoke(),
    (L, W): lambda: begin(L).here(LOST).spoke(),
    (L, MA): lambda: begin(L).here(AWAY).spoke(),
    (L, U): lambda: begin(L, machine=False).here(AWAY).spoke(),
    (L, G): lambda: begin(L).hung_up(),
    (L, E): lambda: begin(L).rubbish(),
    (L, OVER): lambda: begin(L).gone(),
    (W, A): lambda: begin(W).here(HERE),
    (W, W): lambda: begin(W).spoke(),
    (W, L): lambda: begin(W).interrupted(),
    (W, MA): lambda: begin(W).deadline(),
    (W, U): lambda: begin(W, machine=False).here(AWAY),
    (W, G): lambda: begin(W).limit(),
    (W, E): lambda: begin(W).rubbish(),
    (W, OVER): lambda: begin(W).gone(),
    (A, A): lambda: begin(A).spoke(),
    (A, L): lambda: begin(A).said().finished(),
    (A, W): lambda: begin(A).here(LOST).failed(Reason.CLIENT_ABSENT),
    (A, MA): lambda: begin(A).deadline(),
    (A, U): lambda: begin(A, machine=False).failed(Reason.CLIENT_FAILED),
    (A, G): lambda: begin(A).hung_up(),
    (A, E): lambda: begin(A).rubbish(),
    (A, OVER): lambda: begin(A).gone(),
    (MA, A): lambda: begin(MA).here(HERE).taken().said().finished(),
    (MA, W): lambda: begin(MA).here(LOST).taken().failed(Reason.CLIENT_FAILED),
    (MA, L): lambda: begin(MA).here(HERE).taken().interrupted(),
    (MA, MA): lambda: begin(MA).spoke(),
    (MA, ML): lambda: begin(MA).interrupted(),
    (MA, U): lambda: begin(MA).deadline(),
    (MA, G): lambda: begin(MA).said().feed(GoodbyeSaid(2)).finished(),
    (MA, E): lambda: begin(MA).rubbish(),
    (MA, OVER): lambda: begin(MA).gone(),
    (ML, A): lambda: begin(ML).here(HERE).taken(),
    (ML, W): lambda: begin(ML).here(LOST).taken(),
    (ML, MA): lambda: begin(ML).spoke(),
    (ML, G): lambda: begin(ML).limit(),
    (ML, E): lambda: begin(ML).rubbish(),
    (ML, OVER): lambda: begin(ML).gone(),
    (U, G): lambda: Walk(AWAY, direction=OUTBOUND).spoke().is_machine(),
    (U, E): lambda: begin(U).feed(SpeechPlayed("I'm sorry")),
    (U, OVER): lambda: begin(U).gone(),
    (G, G): lambda: Walk(HERE, direction=OUTBOUND).limit().is_machine(),
    (G, E): lambda: begin(G).deadline(),
    (G, OVER): lambda: begin(G).gone(),
    (E, OVER): lambda: begin(E).deadline(),
}


@pytest.mark.parametrize(
    ("phase", "walk"),
    {
        S: lambda **wish: Walk(HERE, screened=True, **wish),
        L: lambda **wish: Walk(HERE, **wish),
        W: lambda **wish: Walk(LOST, **wish).spoke(),
        A: lambda **wish: Walk(HERE, **wish).spoke(),
        U: lambda **wish: Walk(AWAY, **wish).spoke(),
        G: lambda **wish: Walk(HERE, **wish).limit(),
    }.items(),
)
@pytest.mark.parametrize(("voicemail", "target"), [(Voicemail.HANG_UP, E), (Voicemail.LEAVE_MESSAGE, G)])
def test_a_machine_that_picks_up_is_dealt_with_in_each_phase(
    phase: Phase, walk: Callable[..., Walk], voicemail: Voicemail, target: Phase
) -> None:
    """The carrier's verdict ends a call that we made, at once or after the message, wherever the call is."""
    walked = walk(direction=OUTBOUND, voicemail=voicemail)
    assert walked.call.phase is phase
    assert walked.is_machine().call.phase is target


@pytest.mark.parametrize(("phase", "target"), WALKS, ids=[f"{a} to {b}" for a, b in WALKS])
def test_each_move_is_taken_on_its_occasion(phase: Phase, target: Phase) -> None:
    """The occasion that the table names moves the call to the phase that the table names."""
    assert WALKS[phase, target]().call.phase is target


def test_the_table_and_the_walks_are_the_same() -> None:
    """No move of the table is untested, and no tested move is missing from it."""
    assert set(WALKS) == {(phase, target) for phase, targets in MOVES.items() for target in targets}
