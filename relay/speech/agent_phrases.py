"""What the relay says on the calls of one agent: the sentences of the language, with the agent's own fillers.

Apart from `locales`, because what an operator wrote is cleaned as everything that is spoken, and the filter that does
it needs the words of the languages itself.
"""

from __future__ import annotations

import attrs

from actors.policy import Phrases
from relay.agent import Agent
from relay.speech.hygiene import clean
from relay.speech.locales import locale_for


def phrases_of(agent: Agent, language: str) -> Phrases:
    """Return the sentences of an agent's call in a language, given as a BCP 47 tag.

    A filler of which nothing can be spoken is left out, so that a caller hears silence and no empty utterance.
    """
    phrases = locale_for(language).phrases
    if agent.fillers is not None:
        spoken = (clean(each, language).strip() for each in agent.fillers)
        phrases = attrs.evolve(phrases, filler=tuple(each for each in spoken if each))
    if agent.long_filler is not None:
        phrases = attrs.evolve(phrases, long_filler=clean(agent.long_filler, language).strip())
    return phrases
