"""The utterances of a call that no answer covers yet, and the waiting message that they may become. Pure.

An utterance is *in hand* from the moment it is heard until a client has answered it. When no client will, it is *left*:
it becomes the body of a waiting message, which grows with all that is said afterwards, or is replaced by what the
answering machine understood. Nothing is ever taken out except by an answer.
"""

from __future__ import annotations

import attrs

from actors.call_values import CallInfo, Line, MessageDraft, Reason, TranscriptChange, UnansweredUtterance


@attrs.define
class UnansweredUtterances:
    """The account of one call's utterances, and of the message that was left in it."""

    call: CallInfo
    _in_hand: list[UnansweredUtterance] = attrs.field(factory=list, init=False)
    _left: list[str] = attrs.field(factory=list, init=False)
    _through_turn: int = attrs.field(default=0, init=False)
    taken: str = attrs.field(default="", init=False)
    preferences: str = attrs.field(default="", init=False)
    reason: Reason | None = attrs.field(default=None, init=False)
    # Whether the client has, or is about to get, a note that it has not answered.
    note_is_pending: bool = attrs.field(default=False, init=False)
    # Whether all that was left in this session is durable: only then may the caller hear that it was recorded.
    is_stored: bool = attrs.field(default=False, init=False)
    # Whether the answering machine has recorded a message and said nothing since.
    is_unconfirmed: bool = attrs.field(default=False, init=False)
    _is_left_unless_back: bool = attrs.field(default=False, init=False)

    @property
    def in_hand(self) -> bool:
        """Whether a client still has an utterance to answer."""
        return bool(self._in_hand)

    @property
    def is_asked(self) -> bool:
        """Whether the client has something to answer, an utterance or a note."""
        return self.in_hand or self.note_is_pending

    @property
    def utterance_is_pending(self) -> bool:
        """Whether it is an utterance: in hand, or left before the client got the note."""
        return self.in_hand or (self.note_is_pending and self.is_left)

    @property
    def is_left(self) -> bool:
        """Whether a message was left, perhaps only for the case that the caller does not return."""
        return self.reason is not None

    @property
    def is_final_message(self) -> bool:
        """Whether a waiting message exists for this session, even if the caller returns."""
        return self.is_left and not self._is_left_unless_back

    @property
    def utterances(self) -> tuple[UnansweredUtterance, ...]:
        """The utterances in hand, oldest first."""
        return tuple(self._in_hand)

    def hold(self, turn: int, text: str) -> None:
        """Add an utterance that a client is about to get."""
        self._in_hand.append(UnansweredUtterance(turn, text))

    def answered(self) -> int | None:
        """Release what is in hand; return the last turn it came in, or None if there was none."""
        through = max((each.turn for each in self._in_hand), default=None)
        self._in_hand.clear()
        self.note_is_pending = False
        return through

    def leave(self, reason: Reason, *, unless_back: bool = False) -> None:
        """Leave what is in hand as a message; the first reason of a call is the one that is kept.

        With `unless_back` the caller may return, and then it does not become a message (unless one was left before).
        """
        self._is_left_unless_back = unless_back and not self.is_left
        self.reason = self.reason or reason
        self._through_turn = max((each.turn for each in self._in_hand), default=self._through_turn)
        self._left += [each.text for each in self._in_hand]
        self._in_hand.clear()

    def add(self, text: str) -> None:
        """Add an utterance that was heard after the client's turn had failed."""
        self._left.append(text)

    def take(self, body: str, preferences: str) -> None:
        """Replace what is left so far by what the answering machine understood; an empty body keeps them."""
        if body.strip():
            self.taken = body.strip()
            self._left.clear()
        self.preferences = preferences.strip() or self.preferences
        self.is_unconfirmed = True

    def confirm(self) -> bool:
        """Return whether the caller is still to hear that the message was taken: once, and only if it is durable."""
        is_unconfirmed, self.is_unconfirmed = self.is_unconfirmed, False
        return is_unconfirmed and self.is_stored

    def draft(self, transcript: tuple[Line, ...], said: TranscriptChange | None = None) -> MessageDraft:
        """Return the waiting message as it stands. Only after `leave`."""
        if self.reason is None:
            raise ValueError("nothing was left in this call")
        call = self.call
        return MessageDraft(
            call_sid=call.call_sid,
            part=call.attempt + 1,  # a restart stores held utterances as part 0
            agent_id=call.agent_id,
            direction=call.direction,
            reason=self.reason,
            caller=call.caller,
            called=call.called,
            body="\n".join([self.taken, *self._left] if self.taken else self._left),
            preferences=self.preferences,
            transcript=transcript,
            through_turn=self._through_turn,
            said=said,
        )
