"""The values of a call: its facts, its transcript, its turns, its messages. Frozen.

Pure. A value that makes no sense cannot be built."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import attrs
from attrs.validators import ge, instance_of, matches_re

E164 = r"\+[1-9][0-9]{1,14}"
"""The form of a telephone number: ITU-T E.164, section 6, at most 15 digits, country code included. Without anchors."""

_NUMBER = re.compile(E164)

SHORTEST_RING, LONGEST_RING = 5, 120
"""For how many seconds a telephone may ring; the carrier itself takes 600 at most, for `<Dial>` and for a call."""

# How many answered turns of a call are remembered, to know a repeated answer when it comes.
REMEMBERED_TURNS = 16


class Speaker(StrEnum):
    """Who said a line of the transcript.

    `RELAY` is the relay itself: its fillers, questions and goodbyes, and its notes to the responder (`Line.is_note`),
    which the caller does not hear. `OPERATOR` is a person who runs the relay.
    """

    CALLER = "caller"
    AGENT = "agent"
    OPERATOR = "operator"
    ANSWERING_MACHINE = "machine"
    RELAY = "relay"


class Direction(StrEnum):
    """Who dialled."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Reason(StrEnum):
    """Why a message waits for the client, as the contract names it."""

    CLIENT_ABSENT = "client_absent"
    CLIENT_TIMEOUT = "client_timeout"
    CLIENT_FAILED = "client_failed"
    CLIENT_LEFT = "client_left"
    UNANSWERED = "unanswered"
    RELAY_RESTARTED = "relay_restarted"
    SEND_FAILED = "send_failed"


class CallOutcome(StrEnum):
    """How a call, or its last line, ended.

    With a line: `COMPLETED` (the other party hung up), `ENDED` (this side hung up), `TRANSFERRED`, `MOVED` (the call
    goes on in another session, or was to), `VOICEMAIL` (one picked up), `FAREWELL` (a limit or a drain), `UNAVAILABLE`,
    `FAILED` (the line broke or something here did). Without one, by the carrier's word: `BUSY`, `NO_ANSWER`,
    `CANCELED`, `FAILED`, and `COMPLETED` for a voice message that was played. `NOT_CONNECTED` is a call that never had
    a session, `RELAY_RESTARTED` one that an earlier run left open.
    """

    COMPLETED = "completed"
    ENDED = "ended"
    TRANSFERRED = "transferred"
    MOVED = "moved"
    VOICEMAIL = "voicemail"
    FAREWELL = "farewell"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    CANCELED = "canceled"
    NOT_CONNECTED = "not_connected"
    RELAY_RESTARTED = "relay_restarted"


class Availability(StrEnum):
    """Whether a client can answer for an agent: now, in a moment, when it is woken, or not at all."""

    HERE = "here"
    JUST_LOST = "just_lost"
    WAKEABLE = "wakeable"
    AWAY = "away"


class Callee(StrEnum):
    """Who picked up a call that we made, as the carrier's detection has it."""

    HUMAN = "human"
    VOICEMAIL = "machine"
    UNKNOWN = "unknown"


class Voicemail(StrEnum):
    """What to do when a voicemail picks up a call that we made."""

    HANG_UP = "hang_up"
    LEAVE_MESSAGE = "leave_message"
    GO_ON = "go_on"


@attrs.frozen(kw_only=True)
class CallInfo:
    """What is known of a call when it is connected, and never changes.

    `caller` and `called` are the numbers as the carrier names them (E.164, a SIP URI, or empty when withheld).
    `verified` is true only for a number that its carrier vouches for in full; `attestation` is the letter (A, B, C) or
    empty. `started_at` is wall-clock time with a zone. `greeting` was spoken by the carrier when it connected.
    `attempt` numbers the sessions of the call from 0, and `opened_by` is what the transcript held before this one: a
    call whose socket was lost continues where it was. `unanswered` are the utterances of that call session which the
    client had in hand then: they are asked again. `note` is what happened in between (a transfer that was not answered,
    say), one sentence without brackets: the responder gets it as the first turn, the caller never hears it.

    For calls that we make: with `screened` nothing is said before the carrier knows who picked up; then `greeting`,
    which the carrier has not spoken. `voicemail` is what to do when one picks up; `for_voicemail` is said to it with
    `LEAVE_MESSAGE`, where empty is the same as `HANG_UP`.
    """

    call_sid: str = attrs.field(validator=matches_re(r"[A-Za-z0-9_-]{1,64}"))
    agent_id: str = attrs.field(validator=matches_re(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"))
    caller: str = ""
    called: str = ""
    direction: Direction = Direction.INBOUND
    verified: bool = False
    attestation: str = ""
    greeting: str = ""
    system_prompt: str = ""
    voice: str = ""
    language: str = "en-US"
    started_at: datetime = attrs.field(validator=instance_of(datetime))
    attempt: int = attrs.field(default=0, validator=ge(0))
    opened_by: tuple[Line, ...] = ()
    unanswered: tuple[UnansweredUtterance, ...] = ()
    note: str = ""
    screened: bool = False
    voicemail: Voicemail = Voicemail.HANG_UP
    for_voicemail: str = ""

    @property
    def caller_number(self) -> str:
        """The caller's number in E.164 form; empty where it is withheld, or the caller has an address instead."""
        return self.caller if _NUMBER.fullmatch(self.caller) else ""

    @started_at.validator
    def _has_zone(self, _attribute: attrs.Attribute[datetime], value: datetime) -> None:
        if value.tzinfo is None:
            raise ValueError("started_at needs a time zone")


@attrs.frozen
class Line:
    """One line of a transcript: who, what, and when (wall clock, with a zone).

    A note (`is_note`) is the relay's text for the responder of the next turn; neither party hears it. `sent_as` is what
    it was written as for a client, None before that: it is sent again with each of the next turns, some twenty.
    """

    speaker: Speaker
    text: str
    at: datetime
    is_note: bool = False
    sent_as: bytes | None = attrs.field(default=None, init=False, eq=False, repr=False)

    @property
    def is_to_answer(self) -> bool:
        """Whether the line asks for an answer: what the caller said, or a note. Everything else was spoken to them."""
        return self.speaker is Speaker.CALLER or self.is_note

    def keep_sent_as(self, encoded: bytes) -> bytes:
        """Keep what the line was written as for a client; return it. It is the same whenever it is written."""
        object.__setattr__(self, "sent_as", encoded)  # the line itself stays what it is
        return encoded


@attrs.frozen
class TranscriptChange:
    """What a call's transcript has become since the change before: from line `first` on it is `lines`.

    Lines and changes count on through a call's sessions. Utterances of turns up to `through_turn` are in them by now.
    """

    number: int
    first: int
    lines: tuple[Line, ...] = attrs.field(repr=False)
    through_turn: int = 0


@attrs.frozen
class UnansweredUtterance:
    """What the caller said in a turn that no answer covers yet; `turn` is the number it is held under."""

    turn: int = attrs.field(validator=ge(1))
    text: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class TakenOver:
    """What a call is continued with whose last session another run of the relay had.

    `lines` is what was said, oldest first; `unanswered` is asked again.
    """

    lines: tuple[Line, ...] = ()
    unanswered: tuple[UnansweredUtterance, ...] = ()


@attrs.frozen(kw_only=True)
class TurnRequest:
    """What a responder is given for one turn.

    `turn` counts the call's turns from 1 and is never reused within the call. `history` is the bounded transcript. For
    the client the utterance to be answered is its last line, or the note where no utterance waits for an answer.
    `taken` and `preferences` are what the answering machine has recorded so far; `said_already` is what the relay
    itself has just said in this turn, and need not be repeated. `callee` is the carrier's verdict on who picked up, for
    calls that we make, None while there is none. `answer_within` is how many seconds the client has to its first word
    from now, None without a limit; `traceparent` the trace context (W3C) that it goes on with, empty without traces.
    """

    call: CallInfo
    turn: int = attrs.field(validator=ge(1))
    history: tuple[Line, ...]
    taken: str = ""
    preferences: str = ""
    said_already: str = ""
    callee: Callee | None = None
    answer_within: float | None = None
    traceparent: str = attrs.field(default="", eq=False, repr=False)


@attrs.frozen(kw_only=True)
class MessageDraft:
    """A waiting message, ready to be stored.

    `call_sid` and `part` are its key: the same key again replaces what was stored, unless a client was shown it
    already. `through_turn` is the last turn whose utterance is inside, so that the journal can release them; `said` is
    what was said since the last write of the call, which only rides along.
    """

    call_sid: str
    part: int = attrs.field(validator=ge(1))
    agent_id: str
    direction: Direction
    reason: Reason
    caller: str
    called: str
    body: str
    preferences: str = ""
    transcript: tuple[Line, ...] = ()
    through_turn: int = attrs.field(default=0, validator=ge(0))
    said: TranscriptChange | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen(kw_only=True)
class CallSummary:
    """How a call ended, for its record: the last output of the state machine.

    `turns_by` counts finished turns by who answered. `left_message` says whether a waiting message was left.
    `transcript` is all that was said in this session, where `Policy.keep_transcript` asks for it, else empty.
    """

    outcome: CallOutcome = attrs.field(converter=CallOutcome)
    turns_by: Mapping[str, int] = attrs.field(factory=dict)
    left_message: bool = False
    transcript: tuple[Line, ...] = attrs.field(default=(), repr=False)


@attrs.frozen
class Owner:
    """The owner of a call.

    `session` is the client session that has claimed it, and gets its turns for as long as it is here; None while none
    has. `client` is the key of the one that the call talks to, among the clients that come to the agent's turn queue;
    empty for none.
    """

    session: object | None = None
    client: str = ""


NO_OWNER = Owner()


@attrs.define
class CallMemory:
    """What the turn queue remembers of a call's clients: which one answered each turn, and which was the last.

    `displaced` is the client that had the call before it was claimed.
    """

    displaced: str = ""
    last_client: str = ""
    answered: dict[int, str] = attrs.field(factory=dict)

    def note_answer(self, turn: int, client: str) -> None:
        """Record that a client has answered a turn."""
        self.last_client = client
        self.answered[turn] = client
        while len(self.answered) > REMEMBERED_TURNS:
            del self.answered[next(iter(self.answered))]
