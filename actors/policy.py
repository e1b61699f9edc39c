"""The settings of a call: deadlines in seconds, limits, and the relay's own phrases. Frozen, pure."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from attrs.validators import ge, gt


@attrs.frozen(kw_only=True)
class Phrases:
    """What the relay says in its own voice, in one language. An empty phrase is not said.

    `apology` opens the answering machine's first turn at once, so that no caller waits for a model's first word.
    `message_taken` confirms a message after which the answering machine said nothing; `message_kept` does so and ends
    the call of a caller whose message is recorded when the answering machine fails.
    `filler` are short sentences that rotate while a caller waits for the client, `long_filler` one for a
    caller who waits longer; an empty one is left out.
    """

    apology: str = "I'm sorry, I can't get an answer for you right now."
    unavailable: str = "I'm sorry, nobody is available right now. Please call again later. Goodbye."
    message_taken: str = "Thank you, I have written that down."
    message_kept: str = "Thank you, your message has been recorded. Goodbye."
    callee_unavailable: str = "I'm sorry, the assistant who called you is not available any more. Goodbye."
    still_there: str = "Are you still there?"
    silence_goodbye: str = "I can't hear you, so I will hang up now. Goodbye."
    time_goodbye: str = "I'm sorry, this call has reached its time limit. Goodbye."
    filler: tuple[str, ...] = ()
    long_filler: str = ""
    drain_goodbye: str = "I'm sorry, I have to end this call now. Please call again in a moment. Goodbye."


def _never(_utterance: str) -> bool:
    return False


@attrs.frozen(kw_only=True)
class Policy:
    """How long things may take, and how much may pile up, in one call.

    `client_timeout` is what a caller waits for the client in one turn, counted from the newest utterance; once the
    client speaks it bounds each gap between pieces. `answering_machine_timeout` is the same for the answering machine.
    `human_timeout` is what a caller waits for an operator who has the call; it is counted anew while they type.
    `filler_after` and `long_filler_after` are counted from the same utterance to the first piece: then a caller who
    still waits hears a filler, and the longer one.
    `digit_gap` closes a row of keys without `#`. `silence` is how long the caller may say nothing after our last word
    was heard, before each of `reprompts` questions and then the goodbye; `false_barge_in` is how long no utterance may
    follow a barge-in until the turn that it cut short before any answer is asked again. `screening` is how long a
    callee is waited for to be recognised, before a person is assumed to be there. `characters_per_second` estimates
    speech where the carrier does not report it.
    `ending_cap` bounds the wait for a goodbye to be heard beyond its estimated length, and `line_close_cap` the wait
    for the carrier to close after `end`. `history_lines` and `history_characters` bound what is sent with each turn;
    `answer_characters` is what one turn may say; `bad_frames` in a row end the call.
    `asks_not_to_be_called` returns whether an utterance asks for that; it must be quick and not raise.
    `keep_transcript` puts all that was said into the call's record, beyond the window and the waiting message.
    `takeover_notice` is what a caller hears when an operator takes the call over; nothing if it is empty.
    """

    has_answering_machine: bool = False
    client_timeout: float = attrs.field(default=8.0, validator=gt(0))
    answering_machine_timeout: float = attrs.field(default=6.0, validator=gt(0))
    human_timeout: float = attrs.field(default=45.0, validator=gt(0))
    filler_after: float = attrs.field(default=2.5, validator=gt(0))
    long_filler_after: float = attrs.field(default=5.0, validator=gt(0))
    digit_gap: float = attrs.field(default=2.0, validator=gt(0))
    silence: float = attrs.field(default=15.0, validator=gt(0))
    false_barge_in: float = attrs.field(default=4.0, validator=gt(0))
    screening: float = attrs.field(default=8.0, validator=gt(0))
    reprompts: int = attrs.field(default=2, validator=ge(0))
    max_seconds: float = attrs.field(default=3600.0, validator=gt(0))
    characters_per_second: float = attrs.field(default=16.0, validator=gt(0))
    ending_cap: float = attrs.field(default=1.5, validator=ge(0))
    line_close_cap: float = attrs.field(default=5.0, validator=gt(0))
    history_lines: int = attrs.field(default=40, validator=ge(2))
    history_characters: int = attrs.field(default=12_000, validator=ge(1000))
    answer_characters: int = attrs.field(default=8_000, validator=ge(100))
    bad_frames: int = attrs.field(default=10, validator=ge(1))
    asks_not_to_be_called: Callable[[str], bool] = _never
    keep_transcript: bool = False
    takeover_notice: str = ""
    phrases: Phrases = attrs.field(factory=Phrases)
