"""What is said on the calls of one agent: whose fillers, and that they can be spoken."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest

from relay.agent import Agent
from relay.speech.agent_phrases import phrases_of
from relay.speech.locales import locale_for

AGENT = Agent(agent_id="my-client", created_at=datetime(2026, 11, 22, tzinfo=UTC))


@pytest.mark.parametrize("language", ["en-US", "de-AT"])
def test_an_agent_has_the_fillers_of_the_language(language: str) -> None:
    """Where nothing was set, the call's language decides alone."""
    assert phrases_of(AGENT, language) == locale_for(language).phrases


def test_an_agents_own_fillers_replace_those_of_the_language() -> None:
    """Each rung is set by itself, and all other sentences stay the language's."""
    german = locale_for("de").phrases
    short = attrs.evolve(AGENT, fillers=("Moment.", "Gleich."))
    assert phrases_of(short, "de") == attrs.evolve(german, filler=("Moment.", "Gleich."))
    long = attrs.evolve(AGENT, long_filler="Bin noch da.")
    assert phrases_of(long, "de") == attrs.evolve(german, long_filler="Bin noch da.")


def test_an_agent_may_have_its_callers_wait_in_silence() -> None:
    """No fillers is something else than the language's own."""
    phrases = phrases_of(attrs.evolve(AGENT, fillers=(), long_filler=""), "en")
    assert (phrases.filler, phrases.long_filler) == ((), "")


def test_a_filler_is_cleaned_as_all_that_is_spoken() -> None:
    """What an operator wrote for the eye is not read aloud, and what leaves nothing to say is left out."""
    agent = attrs.evolve(AGENT, fillers=("**One** moment 🙂", "🙂"), long_filler=" _Nearly_ there. ")
    phrases = phrases_of(agent, "en")
    assert (phrases.filler, phrases.long_filler) == (("One moment",), "Nearly there.")
