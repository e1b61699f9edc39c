"""An agent: the party that a token acts for, and the voice of its telephone."""

from __future__ import annotations

import hashlib
from datetime import datetime

import attrs
from attrs.validators import matches_re

AGENT_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""The form of an agent's id; anything else in a path is not found."""


@attrs.frozen(kw_only=True)
class Agent:
    """A registered agent. None means: as the settings say. The token itself is never kept, only its hash.

    `name` is on whose behalf it calls, as the disclosure that opens its calls says it; `discloses` is whether it does.
    `fillers` rotate while a caller waits for the client, `long_filler` to one who waits longer. None means
    the words of the call's language, an empty tuple or text that nothing is said. An empty `voice` is the carrier's
    own.
    """

    agent_id: str = attrs.field(validator=matches_re(AGENT_ID))
    number: str | None = None
    greeting: str | None = None
    system_prompt: str | None = None
    voice: str | None = None
    language: str | None = None
    name: str | None = None
    discloses: bool = True
    fillers: tuple[str, ...] | None = None
    long_filler: str | None = None
    created_at: datetime


def digest_of(token: str) -> bytes:
    """Return the digest by which a token is known. It may hold anything, lone surrogates included, and match none."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


@attrs.frozen(kw_only=True)
class CallDefaults:
    """How a call sounds: as it was chosen for the call, else as its agent has it, else as these, the settings, say."""

    greeting: str
    voice: str
    language: str

    def greeting_of(self, agent: Agent, chosen: str | None = None) -> str:
        """Return what is said first. An empty greeting is a choice: then the other party speaks first."""
        return next(each for each in (chosen, agent.greeting, self.greeting) if each is not None)

    def voice_of(self, agent: Agent, chosen: str | None = None) -> str:
        """Return the voice. An empty one is a choice: the carrier's own."""
        return next(each for each in (chosen, agent.voice, self.voice) if each is not None)

    def language_of(self, agent: Agent, chosen: str | None = None) -> str:
        """Return the language, as a BCP 47 tag."""
        return chosen or agent.language or self.language
