"""The agents and their tokens.

A token is 256 random bits, shown once and kept as its SHA-256 only: a reader of the database cannot act for an agent,
and a slow password hash would add nothing against guessing that much chance. A token is looked up by its hash through
the unique index, so the time it takes says nothing about how much of it was right.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import Connection, RowMapping, delete, select, update

from actors.call_values import E164
from relay.agent import Agent, digest_of
from relay.errors import AgentError
from relay.speech.voices import NO_VOICE
from relay.store.database import Database
from relay.store.former_agents import (
    count_waiting,
    forget_what_is_over,
    has_left,
    lock_what_is_over,
    require_nothing_left,
)
from relay.store.homes import forget_home
from relay.store.rows import RowStatement
from relay.store.schema import agents, insert_if_new, storable, utc_now

_ADD = RowStatement(insert_if_new(agents))


@attrs.frozen(eq=False)
class AgentRegistry:
    """The registered agents. `now` is the wall clock, with a zone.

    Each method is one transaction and sees what other processes have committed: an agent that is added by a command is
    there for a running daemon at once. Those that change something raise `StoreFailed`, those that only read
    `DatabaseError`; `AgentError` says what is wrong with an agent and what to do.
    """

    database: Database
    now: Callable[[], datetime] = utc_now

    async def add(
        self,
        agent_id: str,
        *,
        number: str | None = None,
        greeting: str | None = None,
        system_prompt: str | None = None,
        voice: str | None = None,
        language: str | None = None,
        name: str | None = None,
        discloses: bool = True,
        fillers: Iterable[str] | None = None,
        long_filler: str | None = None,
        no_fillers: bool = False,
    ) -> tuple[Agent, str]:
        """Register an agent and return it with its token, which is not kept and cannot be shown again.

        `number` is in E.164 form; fillers are as for `change`. Raises `AgentError` for an id or a number
        that is none, or an id that is taken: by an agent, or by what an agent that was removed has left here.
        """
        number = None if number is None else _checked_number(number)
        try:
            agent = Agent(
                agent_id=agent_id,
                number=number,
                greeting=greeting,
                system_prompt=system_prompt,
                voice=_voice(voice),
                language=language,
                name=name,
                discloses=discloses,
                created_at=self.now(),
                **_fillers(fillers, long_filler, none=no_fillers),
            )
        except ValueError as error:
            raise AgentError(
                f"{agent_id!r} cannot be an agent's id: take 1 to 64 letters, digits, dots, dashes and underscores, "
                "the first one a letter or a digit."
            ) from error
        token = _new_token()

        def work(connection: Connection) -> None:
            row = attrs.asdict(agent) | {"token_hash": digest_of(token).hex()}
            if not _ADD.execute(connection, [row]):
                raise AgentError(
                    f"Agent {agent_id} exists already. Choose another id, "
                    f"or give it a new token with: relay agents rotate {agent_id}"
                )
            require_nothing_left(connection, agent_id)

        await self.database.write(work)
        return agent, token

    async def change(
        self,
        agent_id: str,
        *,
        number: str | None = None,
        greeting: str | None = None,
        system_prompt: str | None = None,
        voice: str | None = None,
        language: str | None = None,
        name: str | None = None,
        discloses: bool | None = None,
        fillers: Iterable[str] | None = None,
        long_filler: str | None = None,
        no_fillers: bool = False,
    ) -> Agent:
        """Change the given fields of an agent and return it; None leaves a field as it is.

        An empty text takes it away, so that it is as the settings say again; fillers that are all empty, too. The voice
        `NO_VOICE` is the carrier's own.
        `no_fillers` has its callers wait in silence, but for the fillers given with it. Calls that are up go on as they
        began.
        Raises `AgentError` for an unknown agent, or a number that is none.
        """
        texts = {
            "number": _checked_number(number) if number else number,
            "greeting": greeting,
            "system_prompt": system_prompt,
            "language": language,
            "name": name,
        }
        changes: dict[str, object] = {column: text or None for column, text in texts.items() if text is not None}
        if voice is not None:
            changes["voice"] = _voice(voice)
        if discloses is not None:
            changes["discloses"] = discloses
        changes |= _fillers(fillers, long_filler, none=no_fillers)

        def work(connection: Connection) -> Agent:
            if changes:
                connection.execute(update(agents).where(agents.c.agent_id == agent_id).values(changes))
            row = _find(connection, agent_id)
            if row is None:
                raise unknown_agent(agent_id)
            return _agent(row)

        return await self.database.write(work)

    async def list(self) -> tuple[Agent, ...]:
        """List all agents by id."""

        def work(connection: Connection) -> tuple[Agent, ...]:
            rows = connection.execute(select(agents).order_by(agents.c.agent_id)).mappings()
            return tuple(_agent(row) for row in rows)

        return await self.database.read_many(work)

    async def get(self, agent_id: str) -> Agent | None:
        """Find an agent by its id."""

        def work(connection: Connection) -> Agent | None:
            row = _find(connection, agent_id)
            return None if row is None else _agent(row)

        return await self.database.read(work)

    async def by_token(self, token: str) -> Agent | None:
        """Find the agent that a token acts for."""
        token_hash = digest_of(token).hex()

        def work(connection: Connection) -> Agent | None:
            row = connection.execute(select(agents).where(agents.c.token_hash == token_hash)).mappings().one_or_none()
            return None if row is None else _agent(row)

        return await self.database.read(work)

    async def token_digest(self, agent_id: str) -> bytes | None:
        """Return the SHA-256 of an agent's token, by which a session knows whether its own is still good."""

        def work(connection: Connection) -> bytes | None:
            row = _find(connection, agent_id)
            return None if row is None else bytes.fromhex(row["token_hash"])

        return await self.database.read(work)

    async def rotate(self, agent_id: str) -> str:
        """Replace an agent's token and return the new one; the old one is invalid from now on. Raises `AgentError`."""
        token = _new_token()

        def work(connection: Connection) -> None:
            changed = connection.execute(
                update(agents).where(agents.c.agent_id == agent_id).values(token_hash=digest_of(token).hex())
            )
            if changed.rowcount == 0:
                raise unknown_agent(agent_id)

        await self.database.write(work)
        return token

    async def remove(self, agent_id: str, *, discard_messages: bool = False) -> None:
        """Delete an agent and all that is its own: token, messages, handshakes, and calls that have ended.

        Refused with `AgentError` while messages wait for it, unless they are to be discarded: a later agent of the same
        id must not see messages for an earlier one, and nothing is deleted without a request. Calls that go on are left
        alone, and so is what their callers say; until that is gone, by this once more, the id cannot be registered.
        """

        def work(connection: Connection) -> None:
            own = select(agents.c.agent_id).where(agents.c.agent_id == agent_id).with_for_update()
            if connection.execute(own).first() is None and not has_left(connection, agent_id):
                raise unknown_agent(agent_id)
            lock_what_is_over(connection, agent_id)
            waiting = count_waiting(connection, agent_id)
            if waiting and not discard_messages:
                raise AgentError(
                    f"Agent {agent_id} has {waiting} waiting message(s). Let its client fetch and acknowledge them; or "
                    f"print them with: relay messages export --agent {agent_id}; "
                    f"and then throw them away with: relay agents remove {agent_id} --discard-messages"
                )
            forget_what_is_over(connection, agent_id, with_messages=discard_messages)
            connection.execute(delete(agents).where(agents.c.agent_id == agent_id))
            forget_home(connection, agent_id)

        await self.database.write(work)


def unknown_agent(agent_id: str) -> AgentError:
    """Return the error for an agent that does not exist."""
    return AgentError(f"There is no agent {agent_id!r}. See those that there are with: relay agents list")


def _new_token() -> str:
    """Return a new token; it begins with a letter or a digit, so that no command line takes it for an option."""
    token = secrets.token_urlsafe(32)
    return token if token[0].isalnum() else _new_token()


def _find(connection: Connection, agent_id: str) -> RowMapping | None:
    return connection.execute(select(agents).where(agents.c.agent_id == agent_id)).mappings().one_or_none()


def _agent(row: RowMapping) -> Agent:
    fields = {name: value for name, value in row.items() if name not in {"token_hash", "fillers"}}
    return Agent(**fields, fillers=None if row["fillers"] is None else tuple(row["fillers"]))


def _voice(given: str | None) -> str | None:
    """Return what is kept of a voice: None for that of the settings, empty for the carrier's own."""
    return "" if given == NO_VOICE else given or None


def _fillers(short: Iterable[str] | None, long: str | None, *, none: bool) -> dict[str, Any]:
    """Return the columns to set: None for the fillers of the language, empty for none."""
    fields: dict[str, Any] = {"fillers": (), "long_filler": ""} if none else {}
    if short is not None:
        fields["fillers"] = tuple(storable(each) for each in short if each.strip()) or None
    if long is not None:
        fields["long_filler"] = long.strip() or None
    return fields


def _checked_number(number: str) -> str:
    # Callers normalise a number first (`relay.dialling.numbers`).
    if not re.fullmatch(E164, number):
        raise AgentError(
            f"{number!r} is not a telephone number in E.164 form: write a plus sign, the country code and the number, "
            "such as +14155552671."
        )
    return number
