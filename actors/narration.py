"""A step of a call in one English sentence, for the reader of a trace. Pure.

    Step ──narrate──▶ "No word for 2.5 s: said 'One moment, please.'"

A sentence begins with what happened and goes on with what the call did then. Each kind of event and of command has its
words here, and a new one without is an error of the type check. What says nothing to a reader is listed: events that
change nothing (`actors.trace.QUIET`), and in `_led_to` the commands that only keep the books.

Words of the parties are quoted, shortly, as long as the call is live; with `words=False` they are counted instead. What
was pressed is never quoted: it may be the number of a card.
"""

from __future__ import annotations

from typing import assert_never

import attrs

from actors import commands as done
from actors import events
from actors.call_values import Availability, Callee, Direction, Reason
from actors.commands import By, Command, TurnOutcome
from actors.deadlines import Deadline
from actors.events import Event
from actors.phases import Phase
from actors.trace import LONGEST_TEXT, QUIET, Step, TurnTimes
from actors.turns import TURNS_PER_SESSION

# As much of a text as one reads in passing.
QUOTED = 60

_ANSWERER = {By.CLIENT: "the client", By.ANSWERING_MACHINE: "the answering machine", By.HUMAN: "the operator"}

_HERE = {
    Availability.HERE: "A client is here",
    Availability.JUST_LOST: "The client was lost a moment ago",
    Availability.WAKEABLE: "The client can only be woken",
    Availability.AWAY: "No client is here",
}
_PICKED_UP = {
    Callee.HUMAN: "A person picked up",
    Callee.VOICEMAIL: "A voicemail picked up",
    Callee.UNKNOWN: "The carrier could not tell who picked up",
}
_FAILED = {
    Reason.CLIENT_ABSENT: "No client session could take {turn}",
    Reason.CLIENT_TIMEOUT: "{By} took too long over {turn}",
    Reason.CLIENT_FAILED: "{By} failed at {turn}",
    Reason.CLIENT_LEFT: "{By} left with {turn} in hand",
}
_ENDED = {
    TurnOutcome.INTERRUPTED: "stopped",
    TurnOutcome.SUPERSEDED: "was given up for what was said last",
    TurnOutcome.HUNG_UP: "was given up",
    TurnOutcome.MOVED: "was given up, to be asked again after the move",
    TurnOutcome.TAKEN_OVER: "was given up",
    TurnOutcome.HANDED_BACK: "was given up",
}


@attrs.frozen
class Decision:
    """A step as it is shown: when it was (monotonic, in seconds), which kind of event it was, and its sentence."""

    at: float
    kind: str
    text: str


def decide(step: Step, *, direction: Direction = Direction.INBOUND, words: bool = True) -> Decision | None:
    """Return a step as it is shown, of a call of this direction; None if it says nothing to a reader."""
    sentence = narrate(step, direction=direction, words=words)
    return None if sentence is None else Decision(step.at, kind_of(step.event), sentence)


def kind_of(event: Event) -> str:  # noqa: PLR0911 - one return a kind
    """Return whose event it is: `party`, `carrier`, `client`, `answer` (the running turn's) or `relay`."""
    match event:
        case (
            events.UtteranceHeard()
            | events.PartialPromptHeard()
            | events.CallerBargedIn()
            | events.DigitPressed()
            | events.CallerSpeaking()
        ):
            return "party"
        case (
            events.SpeechPlayed()
            | events.AgentSpeaking()
            | events.CarrierFailed()
            | events.FrameAccepted()
            | events.FrameRejected()
            | events.FrameUnknown()
            | events.CallerGone()
            | events.CalleeRecognised()
        ):
            return "carrier"
        case events.HangUpRequested(operator=operator) | events.TransferRequested(operator=operator):
            return "operator" if operator else "client"
        case events.AvailabilityChanged() | events.CallClaimed():
            return "client"
        case events.CallTakenOver() | events.CallHandedBack() | events.SayRequested() | events.OperatorTyping():
            return "operator"
        case (
            events.PieceSaid()
            | events.MessageTaken()
            | events.GoodbyeSaid()
            | events.TurnFinished()
            | events.TurnFailed()
        ):
            return "answer"
        case (
            events.MessageStored()
            | events.DrainRequested()
            | events.MoveRequested()
            | events.MoveDue()
            | events.SessionStarted()
            | events.SessionFailed()
            | events.DeadlinePassed()
        ):
            return "relay"
        case _:
            assert_never(event)


def narrate(step: Step, *, direction: Direction = Direction.INBOUND, words: bool = True) -> str | None:
    """Return a step as a sentence; None if it says nothing to a reader. Never raises, whatever the step is.

    With `words` a few words of the parties are quoted; without, they are counted.
    """
    if not (step.commands or step.starts_turn) and type(step.event) in QUIET:
        return None
    account = _Account(step, "caller" if direction is Direction.INBOUND else "callee", words)
    effects = [effect for command in step.commands if (effect := account.led_to(command))]
    if step.starts_turn and step.turn is not None:
        effects.append(account.asked(step.turn))
    between = ": " if isinstance(step.event, events.DeadlinePassed | events.CallerBargedIn) else "; "
    sentence = account.happened() + (between + ", ".join(effects) if effects else "")
    return sentence if sentence.endswith((".", "?", "!", ".'", "?'", "!'")) else f"{sentence}."


def turn_label(number: int) -> str:
    """Return a turn's number as it is read: it counts from 1 in each connection of the call."""
    connection, turn = divmod(number, TURNS_PER_SESSION)
    return f"turn {turn} of connection {connection + 1}" if connection else f"turn {turn}"


def quote(text: str, *, end: bool = False) -> str:
    """Return a text in quotes, in one line; of a long one its beginning, or with `end` its end."""
    line = " ".join(text.split())
    if len(line) > QUOTED:
        line = f"…{line[-QUOTED:].lstrip()}" if end else f"{line[:QUOTED].rstrip()}…"
    return f"'{line}'"


def count(number: int, noun: str) -> str:
    """Return a number of things."""
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def seconds(value: float) -> str:
    """Return a span of time, as exact as one reads it."""
    return f"{value:.2f} s" if value < 1 else f"{round(value, 1):g} s"


def _count_words(text: str) -> str:
    number = count(len(text.split()), "word")
    return f"more than {number}" if len(text) >= LONGEST_TEXT else number


@attrs.frozen
class _Account:
    """One step, on its way to a sentence. `party` is what the other end of the line is called."""

    step: Step
    party: str
    words: bool

    def _answerer(self) -> str:
        """Return who had the turn that the event is about, with a capital letter."""
        ended, turn = self._ended_turn(), self.step.turn
        by = ended.by if ended is not None else None if turn is None else turn.by
        return _capital(_ANSWERER[By.CLIENT if by is None else by])

    def _ended_turn(self) -> done.NoteTurn | None:
        return next((each for each in self.step.commands if isinstance(each, done.NoteTurn)), None)

    def _said(self, text: str, *, end: bool = False) -> str:
        return quote(text, end=end) if self.words else _count_words(text)

    # ── what happened ───────────────────────────────────────────────────────────────────────────────────────────────

    def happened(self) -> str:  # noqa: C901, PLR0911, PLR0912 - one case for each kind of event
        """Return the beginning of the sentence."""
        event, party = self.step.event, self.party
        match event:
            case events.UtteranceHeard():
                return f"The {party} said {_count_words(event.text)}"
            case events.PartialPromptHeard():
                return f"The {party} is speaking"
            case events.CallerBargedIn():
                # Where a turn was stopped by it, its end says after what.
                return f"The {party} talked over{'' if self._ended_turn() else self._where_cut()}"
            case events.DigitPressed():
                return f"The {party} pressed {count(self.step.times, 'key')}"
            case events.SpeechPlayed():
                return "What was said was played"
            case events.AgentSpeaking():
                return f"The {party} hears the relay" if event.on else "The speech was heard to its end"
            case events.CallerSpeaking():
                return f"The {party} began to speak" if event.on else f"The {party} stopped speaking"
            case events.CarrierFailed():
                return f"The carrier refused something{self._times()}: {self._said(event.description)}"
            case events.FrameAccepted():
                return "A frame came that changes nothing"
            case events.FrameRejected():
                return f"A bad frame was dropped{self._times()} ({event.why})"
            case events.FrameUnknown():
                return f"A frame of an unknown type came{self._times()}: {quote(event.kind)}"
            case events.CallerGone():
                return self._line_gone(event)
            case events.AvailabilityChanged():
                return _HERE[event.availability]
            case events.MessageStored():
                return "The message is durable"
            case events.HangUpRequested():
                return f"{_asker(event.operator)} asked to hang up{self._too_late()}"
            case events.TransferRequested():
                return f"{_asker(event.operator)} began a transfer{self._too_late()}"
            case events.CallClaimed():
                return "The client claimed the call"
            case events.CallTakenOver():
                return f"Operator {event.operator} took the call over {'now' if event.now else 'at the next pause'}"
            case events.CallHandedBack():
                return f"Operator {event.operator} handed the call back"
            case events.SayRequested():
                return f"Operator {event.operator} typed {self._said(event.text)}"
            case events.OperatorTyping():
                return f"Operator {event.operator} is typing"
            case events.CalleeRecognised():
                return _PICKED_UP[event.callee]
            case events.DrainRequested():
                return f"The relay is stopping{self._too_late()}"
            case events.MoveRequested():
                return f"The call is to move when the {party} has finished speaking"
            case events.MoveDue():
                return f"The call is to move at once{self._too_late()}"
            case events.PieceSaid():
                return f"{self._answerer()} began to answer{self._first_word()}"
            case events.MessageTaken():
                return f"{self._answerer()} took a message"
            case events.GoodbyeSaid():
                return f"{self._answerer()} ends the call when its words were heard"
            case events.TurnFinished():
                ended = self._ended_turn()
                without = "" if ended is None or ended.outcome is TurnOutcome.ANSWERED else " without a word"
                return f"{self._answerer()} finished {turn_label(event.turn)}{without}"
            case events.TurnFailed():
                return _FAILED[event.reason].format(By=self._answerer(), turn=turn_label(event.turn))
            case events.SessionStarted():
                return "The call is connected"
            case events.SessionFailed():
                return "The call session failed"
            case events.DeadlinePassed():
                return self._deadline_passed()
            case _:
                assert_never(event)

    def _first_word(self) -> str:
        turn = self.step.turn
        return "" if turn is None or turn.first is None else f" after {seconds(turn.first - turn.arrived)}"

    def _where_cut(self) -> str:
        """Return after what the speech was cut off; empty if none was."""
        cut = self.step.cut
        if cut is None:
            return ""
        return f" after {self._said(cut.heard, end=True)}" if cut.heard.strip() else " before anything was heard"

    def _times(self) -> str:
        return "" if self.step.times == 1 else f" {self.step.times} times"

    def _too_late(self) -> str:
        return "" if self.step.commands else ", too late to change anything"

    def _line_gone(self, event: events.CallerGone) -> str:
        if self.step.phase is Phase.OVER and not event.may_return:
            return "The line was closed"
        code = "" if event.code is None else f" ({event.code})"
        return f"The line was lost{code}"

    def _deadline_passed(self) -> str:  # noqa: PLR0911 - one return a deadline
        waited = "a while" if self.step.waited is None else seconds(self.step.waited)
        match self.step.due:
            case None:
                return f"No word for {waited}"
            case Deadline.ANSWER:
                return f"Silent for {waited}" if self._ended_turn() is not None else f"No client for {waited}"
            case Deadline.SILENCE:
                return f"The {self.party} has said nothing"
            case Deadline.KEYS:
                return f"The {self.party} pressed no more keys"
            case Deadline.CALL:
                return "The call has lasted as long as it may"
            case Deadline.SCREENING:
                return "It was not known in time who picked up"
            case Deadline.ENDING if any(isinstance(each, done.CloseLine) for each in self.step.commands):
                return "The carrier did not close the line"
            case Deadline.ENDING:
                return "The last words must have been heard"
            case _:
                assert_never(self.step.due)

    # ── what the call did then ──────────────────────────────────────────────────────────────────────────────────────

    def led_to(self, command: Command) -> str:  # noqa: PLR0911 - one case for each kind of command
        """Return a command as a part of the sentence; empty for one that says nothing to a reader."""
        match command:
            case done.Speak():
                # The pieces of an answer are the answer's; an empty one only closes the talk cycle.
                is_answer = isinstance(self.step.event, events.PieceSaid)
                return f"said {self._said(command.text)}" if command.text.strip() and not is_answer else ""
            case done.NoteTurn():
                return self._turn_ended(command)
            case done.StoreMessage():
                return self._left(command)
            case done.StopCalling():
                return "put the number on the do-not-call list"
            case done.WakeClient():
                return "woke the client"
            case done.EndSession():
                return "ended the session"
            case done.CloseLine():
                return "closed the line"
            case done.EndSeat():
                return f"took the call from {command.operator}"
            case done.HoldUtterance():
                return "" if self.step.starts_turn else "kept the words until they are answered"
            case done.ReleaseUtterances() | done.CancelTurn() | done.StartTurn():
                # The turn's end says it, which comes with the first two; and who was asked comes last.
                return ""
            case _:
                assert_never(command)

    def asked(self, turn: TurnTimes) -> str:
        """Return that the step has started a turn."""
        if turn.by is By.ANSWERING_MACHINE:
            has_left = any(isinstance(each, done.StoreMessage) for each in self.step.commands)
            is_new = has_left and not isinstance(self.step.event, events.UtteranceHeard | events.DigitPressed)
            return "the answering machine took over" if is_new else "asked the answering machine"
        client = turn.client
        name = client.name if client is not None and client.name else _ANSWERER[turn.by]
        return f"asked {name} ({client.how})" if client is not None else f"asked {name}"

    def _turn_ended(self, note: done.NoteTurn) -> str:
        turn = turn_label(note.turn)
        if note.outcome not in _ENDED:
            # Answered, or failed: that is what happened, so the sentence begins with it.
            return ""
        where = self._where_cut() if note.outcome is TurnOutcome.INTERRUPTED else ""
        return f"{turn} {_ENDED[note.outcome]}{where}"

    def _left(self, command: done.StoreMessage) -> str:
        message = f"message {self.step.message_id}" if self.step.message_id else "a message"
        if command.unless_back is not None:
            return f"the words become a message if the {self.party} is not back in time"
        return f"words left as {message}"


def _asker(operator: str) -> str:
    return f"Operator {operator}" if operator else "The client"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
