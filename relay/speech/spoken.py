"""A responder that removes from every answer what belongs on a screen and cannot be spoken.

    inner responder ──say──▶ SpeechFilter ──say──▶ the call's Answer

One filter a turn, because an answer begins at the start of a line. `actors/` knows nothing of markdown, so the
wrapping is done where the daemon puts a responder together.
"""

from __future__ import annotations

import attrs
import trio

from actors.call_values import TurnRequest
from actors.errors import ResponderError
from actors.ports import Answer, Responder
from relay.speech.hygiene import SpeechFilter, slices

# Opening quotes and brackets before a first word; more than that is no punctuation.
MOST_WORDLESS = 100


@attrs.frozen
class SpokenResponder:
    """Answer turns as `inner` does, without what must not be read aloud."""

    inner: Responder

    async def respond(self, request: TurnRequest, answer: Answer) -> None:
        """Answer one turn. Raises what `inner` raises, after the words it left in the filter were said.

        On cancellation what the filter held back is dropped: it is not wanted any more.
        """
        spoken = SpokenAnswer(answer, SpeechFilter(request.call.language))
        failure: ResponderError | None = None
        try:
            await self.inner.respond(request, spoken)
        except ResponderError as error:
            failure = error
        await spoken.flush()
        if failure is not None:
            raise failure


@attrs.define
class SpokenAnswer:
    """Hand an answer on to `answer`, cleaned.

    Nothing is handed on before there is a word: a voice is silent at dots and dashes, so by themselves they are no
    answer, and are not passed on.
    """

    answer: Answer
    speech: SpeechFilter
    has_spoken: bool = attrs.field(default=False, init=False)
    # Whether the filter may hold something back.
    _is_open: bool = attrs.field(default=False, init=False)
    _wordless: str = attrs.field(default="", init=False)

    async def say(self, text: str, *, last: bool = False) -> None:
        """Speak what of the next piece can be spoken by now; others have their turn between the parts of a long one."""
        *parts, end = slices(text)
        for part in parts:
            await self._pass_on(self.speech.feed(part))
            await trio.lowlevel.checkpoint()
        spoken = self.speech.feed(end)
        self._is_open = not last
        await self._pass_on(spoken + self.speech.finish() if last else spoken, last=last)

    async def take_message(self, body: str, preferences: str) -> bool:
        """Record the message as it is: it will be read, not heard. What was said before it is spoken first."""
        await self.flush()
        return await self.answer.take_message(body, preferences)

    async def say_goodbye(self) -> None:
        """End the call once everything was heard, the last held piece included."""
        await self.flush()
        await self.answer.say_goodbye()

    async def flush(self) -> None:
        """Speak what was held back, unless there was no word in all that."""
        if self._is_open:
            self._is_open = False
            await self._pass_on(self.speech.finish())
        self._wordless = ""

    async def _pass_on(self, text: str, *, last: bool = False) -> None:
        if not self.has_spoken:
            text = self._wordless + text
            first = next((place for place, each in enumerate(text) if each.isalnum()), len(text))
            self.has_spoken = first < len(text)
            text = text[max(0, first - MOST_WORDLESS) :]
            self._wordless = "" if self.has_spoken else text
        if text and self.has_spoken:
            await self.answer.say(text, last=last)
