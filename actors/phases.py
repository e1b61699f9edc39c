"""What may happen in each phase of a call, and where it may lead, as data. Pure.

`Conversation` asks this table first: an event that is `IGNORED` in a phase does nothing there, and a move that the
table does not have is a bug. `scripts/state_diagram.py` draws the table, and the tests go through every row of it: so
the diagram always matches the code.

Which of its moves an event takes depends on more than the phase; the handlers decide that. A row names every phase that
is entered on the way, so `ENDING` is in every row with last words: if there are none to say, or to wait for, the
session is ended at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias, get_args

from actors import events
from actors.events import Event


class Phase(StrEnum):
    """Where the call is: not yet known who picked up, the three response paths, and the ways out."""

    SCREENING = "screening"
    CLIENT_LISTENING = "client listening"
    CLIENT_AWAITED = "client awaited"
    CLIENT_ANSWERING = "client answering"
    ANSWERING_MACHINE_ANSWERING = "machine answering"
    ANSWERING_MACHINE_LISTENING = "machine listening"
    UNAVAILABLE = "unavailable"
    GOODBYE = "goodbye"
    MOVING = "moving"
    ENDING = "ending"
    OVER = "over"


Moves: TypeAlias = frozenset[Phase] | None
Row: TypeAlias = dict[type[Event], Moves]

# An event that has no meaning in a phase, because it comes too late for example.
IGNORED: Moves = None
# An event that is handled and changes no phase.
STAY: frozenset[Phase] = frozenset()


def _to(*phases: Phase) -> frozenset[Phase]:
    return frozenset(phases)


# ── what is the same in many phases ─────────────────────────────────────────────────────────────────────────────────

# The client is asked, awaited, or found to be away: then the next path down is walked.
_STEP_DOWN = (Phase.ANSWERING_MACHINE_ANSWERING, Phase.UNAVAILABLE, Phase.ENDING)
_ASK = (Phase.CLIENT_ANSWERING, Phase.CLIENT_AWAITED, *_STEP_DOWN)
# A claim has no effect if the client is away, so these do not step down. A call that is to move is handed over where it
# goes: it carries the note for the client that has claimed it.
_HAND_OVER = (Phase.CLIENT_ANSWERING, Phase.CLIENT_AWAITED, Phase.MOVING)
# The answering machine has finished: an operator who was to have the call has it now.
_PAUSE = (Phase.ANSWERING_MACHINE_LISTENING, Phase.CLIENT_LISTENING)
_LAST_WORDS = (Phase.GOODBYE, Phase.ENDING)
# An operator who has the call, or is to have it at a pause, is asked whether a client is here or not. What has to be
# answered goes on where the call moves.
_GIVE_BACK = (*_ASK, Phase.MOVING)

_EVERYWHERE: Row = {
    events.PartialPromptHeard: STAY,
    events.CallerBargedIn: STAY,
    events.SpeechPlayed: STAY,
    events.AgentSpeaking: STAY,
    events.CallerSpeaking: STAY,
    events.CarrierFailed: STAY,
    events.FrameAccepted: STAY,
    # Neither accepted nor rejected: it carries nothing for us, and does not count as a bad frame.
    events.FrameUnknown: IGNORED,
    events.CallerGone: _to(Phase.OVER),
    events.SessionStarted: IGNORED,
    events.SessionFailed: _to(Phase.OVER),
    events.AvailabilityChanged: STAY,
    events.MessageStored: STAY,
    **dict.fromkeys(get_args(events.TurnEvent), IGNORED),
}

# While the call goes on.
_TALKING: Row = _EVERYWHERE | {
    events.FrameRejected: _to(Phase.ENDING),
    events.HangUpRequested: _to(*_LAST_WORDS),
    events.TransferRequested: _to(*_LAST_WORDS),
    events.DrainRequested: _to(*_LAST_WORDS),
    # Kept in mind until the caller has next finished speaking: then nobody is asked, and the call moves instead.
    events.MoveRequested: STAY,
    # Also while a callee is screened: the next session screens again, so no greeting is said to a voicemail. And also
    # while the answering machine speaks: what it answers is in a message already, so nothing is asked again.
    events.MoveDue: _to(Phase.MOVING),
    events.CallClaimed: IGNORED,
    # At the next pause, which this is in some phases.
    events.CallTakenOver: STAY,
    events.CallHandedBack: STAY,
    # At once, or when nobody else speaks.
    events.SayRequested: STAY,
    events.OperatorTyping: IGNORED,
    events.CalleeRecognised: _to(*_LAST_WORDS),
}

# After that, utterances are still kept, and the call cannot be ended again. Nor does it move: a call that says its last
# words, or is being transferred, has nothing to go on with, and what another process would have to finish is short.
_LEAVING: Row = _EVERYWHERE | {
    events.UtteranceHeard: STAY,
    events.DigitPressed: STAY,
    events.FrameRejected: IGNORED,
    events.HangUpRequested: IGNORED,
    events.TransferRequested: IGNORED,
    events.DrainRequested: IGNORED,
    events.MoveRequested: IGNORED,
    events.MoveDue: IGNORED,
    events.CallClaimed: IGNORED,
    events.CallTakenOver: IGNORED,
    events.CallHandedBack: IGNORED,
    events.SayRequested: IGNORED,
    events.OperatorTyping: IGNORED,
    events.CalleeRecognised: IGNORED,
}

_SPEAKING_LAST_WORDS: Row = _LEAVING | {
    events.SpeechPlayed: _to(Phase.ENDING),
    events.AgentSpeaking: _to(Phase.ENDING),
    events.FrameRejected: _to(Phase.ENDING),
    events.CalleeRecognised: _to(*_LAST_WORDS),
    events.DeadlinePassed: _to(Phase.ENDING),
}

# ── the table ───────────────────────────────────────────────────────────────────────────────────────────────────────

# In each phase, for each event: the phases that it may lead to.
TRANSITIONS: Mapping[Phase, Mapping[type[Event], Moves]] = MappingProxyType(
    {
        Phase.SCREENING: _TALKING
        | {
            events.SessionStarted: STAY,
            events.UtteranceHeard: STAY,
            events.DigitPressed: STAY,
            events.CalleeRecognised: _to(Phase.CLIENT_LISTENING, *_LAST_WORDS),
            events.DeadlinePassed: _to(Phase.CLIENT_LISTENING, *_LAST_WORDS),
        },
        Phase.CLIENT_LISTENING: _TALKING
        | {
            events.SessionStarted: _to(*_ASK),
            events.UtteranceHeard: _to(*_ASK, Phase.MOVING),
            events.DigitPressed: _to(*_ASK, Phase.MOVING),
            events.CallHandedBack: _to(*_GIVE_BACK),
            events.OperatorTyping: STAY,
            events.DeadlinePassed: _to(*_ASK, Phase.MOVING, *_LAST_WORDS),
        },
        Phase.CLIENT_AWAITED: _TALKING
        | {
            # The caller has finished speaking, and nobody has begun to answer.
            events.MoveRequested: _to(Phase.MOVING),
            events.UtteranceHeard: _to(Phase.CLIENT_AWAITED),
            events.DigitPressed: _to(Phase.CLIENT_AWAITED),
            events.CallerBargedIn: _to(Phase.CLIENT_LISTENING),
            events.AvailabilityChanged: _to(*_ASK),
            events.CallTakenOver: _to(Phase.CLIENT_ANSWERING),
            events.DeadlinePassed: _to(Phase.CLIENT_AWAITED, *_STEP_DOWN, *_LAST_WORDS),
        },
        Phase.CLIENT_ANSWERING: _TALKING
        | {
            events.UtteranceHeard: _to(*_ASK, Phase.MOVING),
            events.DigitPressed: _to(*_ASK, Phase.MOVING),
            events.CallerBargedIn: _to(Phase.CLIENT_LISTENING),
            events.CallTakenOver: _to(Phase.CLIENT_ANSWERING, Phase.MOVING),
            events.CallHandedBack: _to(*_GIVE_BACK),
            events.SayRequested: _to(Phase.CLIENT_LISTENING),
            events.OperatorTyping: STAY,
            events.PieceSaid: _to(Phase.CLIENT_LISTENING),
            # An operator's turn does not end by itself; one that does is given back.
            events.TurnFinished: _to(Phase.CLIENT_LISTENING, *_GIVE_BACK),
            # Its client has left, perhaps for the place where the call goes: it is not asked of another one here.
            events.TurnFailed: _to(*_ASK, Phase.MOVING),
            events.DeadlinePassed: _to(*_ASK, Phase.MOVING, *_LAST_WORDS),
        },
        Phase.ANSWERING_MACHINE_ANSWERING: _TALKING
        | {
            events.UtteranceHeard: _to(Phase.ANSWERING_MACHINE_ANSWERING, *_HAND_OVER),
            events.DigitPressed: _to(Phase.ANSWERING_MACHINE_ANSWERING, *_HAND_OVER),
            events.CallerBargedIn: _to(Phase.ANSWERING_MACHINE_LISTENING, Phase.CLIENT_LISTENING),
            events.CallClaimed: STAY,
            events.CallTakenOver: _to(Phase.CLIENT_ANSWERING, Phase.MOVING),
            events.CalleeRecognised: IGNORED,
            events.PieceSaid: _to(*_PAUSE, *_HAND_OVER, Phase.GOODBYE),
            events.MessageTaken: STAY,
            events.GoodbyeSaid: STAY,
            events.TurnFinished: _to(*_PAUSE, *_HAND_OVER, Phase.UNAVAILABLE, *_LAST_WORDS),
            events.TurnFailed: _to(Phase.CLIENT_LISTENING, *_HAND_OVER, Phase.UNAVAILABLE, *_LAST_WORDS),
            events.DeadlinePassed: _to(
                Phase.ANSWERING_MACHINE_ANSWERING,
                Phase.CLIENT_LISTENING,
                *_HAND_OVER,
                Phase.UNAVAILABLE,
                *_LAST_WORDS,
            ),
        },
        Phase.ANSWERING_MACHINE_LISTENING: _TALKING
        | {
            # Of a call that is to move these are held, not added to the message: a client may be there to answer them.
            events.UtteranceHeard: _to(Phase.ANSWERING_MACHINE_ANSWERING, Phase.MOVING),
            events.DigitPressed: _to(Phase.ANSWERING_MACHINE_ANSWERING, Phase.MOVING),
            events.CallClaimed: _to(*_HAND_OVER),
            events.CallTakenOver: _to(Phase.CLIENT_LISTENING),
            events.CalleeRecognised: IGNORED,
            events.DeadlinePassed: _to(Phase.ANSWERING_MACHINE_ANSWERING, Phase.MOVING, *_LAST_WORDS),
        },
        Phase.UNAVAILABLE: _SPEAKING_LAST_WORDS,
        Phase.GOODBYE: _SPEAKING_LAST_WORDS,
        # Utterances are held for the next session. What else is wanted of the call now is for that one too: the
        # registry keeps the verdict on the callee and the transfer, and a tool hangs up at the carrier.
        Phase.MOVING: _LEAVING
        | {
            events.CallerBargedIn: IGNORED,
            events.DeadlinePassed: _to(Phase.OVER),
        },
        Phase.ENDING: _LEAVING | {events.DeadlinePassed: _to(Phase.OVER)},
        Phase.OVER: dict.fromkeys(get_args(Event), IGNORED),
    }
)
