"""The gate that every number passes before it is dialled, with its facts and its counters.

    check ──one transaction──▶ facts ─▶ decide ─▶ allowed: the dial is counted
                                              └▶ refused: nothing is changed

Fetching, deciding and counting are one transaction that holds the database's write lock, so of two calls that ask for
the last place at once only one gets it, in this process or in another. The decision is made in the database's thread:
it is pure, takes less than a millisecond, and for numbers with many time zones would still be felt in the event loop.

Without a verdict nothing may be dialled: database errors are raised unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import attrs
import structlog
from sqlalchemy import Connection

from relay.agent import Agent
from relay.dialling.gate import DAY, MINUTE, decide
from relay.dialling.numbers import normalise, read_number
from relay.dialling.verdict import CallTime, Dial, DialKind, Facts, GateRules, Listing, Verdict
from relay.store import dials, talk_time
from relay.store.consents import has_consent
from relay.store.database import Database
from relay.store.do_not_call import DoNotCallList, listed
from relay.store.outbound_switches import is_disabled
from relay.store.own_numbers import is_own, number_of
from relay.store.schema import utc_now

log = structlog.get_logger(__name__)

_TRANSFERS = frozenset({DialKind.TRANSFER})
_CALLS = frozenset(DialKind) - _TRANSFERS


@attrs.frozen(eq=False)
class DiallingGate:
    """The gate. `now` is the wall clock, with a zone."""

    database: Database
    rules: GateRules = attrs.field(factory=GateRules)
    now: Callable[[], datetime] = utc_now

    async def check(
        self,
        agent: Agent,
        number: str,
        *,
        kind: DialKind,
        zone: str | None = None,
        purpose: str | None = None,
        caller: str | None = None,
        dry_run: bool = False,
    ) -> Verdict:
        """Decide whether an agent may dial a number now, and count the dial if so, unless it is a `dry_run`.

        `zone` is the IANA name of where the callee is said to be; without it the calling hours of every zone that the
        number may belong to count. `purpose` is what consent must have been given for, `caller` the number that the
        call comes from where it is not the agent's own. A dial stays counted once the carrier was asked: the callee's
        telephone may have rung. Until then its place can be given back (`give_back`). Dial `Verdict.normalised`, not
        what was asked for.

        Raises `StoreFailed`, or for a dry run `DatabaseError`: then do not dial. If cancelled while it waits for the
        disk, the dial may be counted although nothing is dialled.
        """
        dial = Dial(
            number=number, kind=DialKind(kind), agent_id=agent.agent_id, zone=zone, purpose=purpose, caller=caller
        )
        if dry_run:
            return await self._explain(dial, self.now())
        verdict = await self.database.write(lambda connection: self._check(connection, dial, agent.agent_id))
        log.info(
            "dial_allowed" if verdict.allowed else "dial_refused",
            agent_id=agent.agent_id,
            kind=dial.kind.value,
            zone_given=zone is not None,
            refusals=[each.name.value for each in verdict.refusals],
        )
        return verdict

    async def give_back(self, place: int) -> None:
        """Uncount a dial that failed before the carrier was asked; `place` is of its verdict.

        No-op where it is forgotten already. Raises `StoreFailed`; then it stays counted.
        """
        await self.database.write(lambda connection: dials.uncount(connection, place))
        log.info("dial_given_back")

    async def explain(
        self,
        number: str,
        *,
        agent_id: str | None = None,
        kind: DialKind = DialKind.CALL,
        zone: str | None = None,
        at: datetime | None = None,
    ) -> Verdict:
        """Decide as `check` would at a time (now unless given), for an agent or none in particular. Counts nothing.

        Raises `DatabaseError`.
        """
        dial = Dial(number=number, kind=kind, agent_id=agent_id, zone=zone)
        return await self._explain(dial, self.now() if at is None else at)

    async def stop_calling(self, number: str, *, agent_id: str | None, reason: str, added_by: str) -> bool:
        """Put a number on the do-not-call list of an agent, or (None) of all; False where it was there already.

        It holds from the next `check` on, in every process. Raises `NumberError` for a text that is no number, such as
        a withheld caller id, and `StoreFailed`.
        """
        number = normalise(number)
        listing = DoNotCallList(self.database, self.now)
        added = await listing.add(number, agent_id=agent_id, reason=reason, added_by=added_by)
        log.info("do_not_call", agent_id=agent_id, added=added)
        return added

    async def _explain(self, dial: Dial, at: datetime) -> Verdict:
        return await self.database.read(
            lambda connection: decide(dial, self._facts(connection, dial, at), self.rules, at)
        )

    def _check(self, connection: Connection, dial: Dial, agent_id: str) -> Verdict:
        dials.lock(connection)
        # Asked for here, not before: the transaction may have waited, and what it counts must not be older than what
        # others counted meanwhile.
        now = self.now()
        verdict = decide(dial, self._facts(connection, dial, now), self.rules, now)
        if verdict.allowed:
            assert verdict.normalised is not None
            dials.forget_outside(connection, _around(now, DAY))
            place = dials.count(connection, agent_id=agent_id, number=verdict.normalised, kind=dial.kind.value, at=now)
            verdict = attrs.evolve(verdict, place=place)
        return verdict

    def _facts(self, connection: Connection, dial: Dial, now: datetime) -> Facts:
        facts = Facts()
        agent_id, number = dial.agent_id, read_number(dial.number)
        if agent_id is not None:
            rules = self.rules
            limit = max(rules.calls_per_agent_per_minute, rules.calls_per_agent_per_day)
            # Without a limit of the day, a busy agent's day need not be read.
            window = DAY if rules.calls_per_agent_per_day else MINUTE
            facts = attrs.evolve(
                facts,
                outbound_disabled=is_disabled(connection, agent_id),
                dials_of_agent=dials.of_agent(connection, agent_id, limit, _around(now, window)),
                agent_number=number_of(connection, agent_id),
            )
            if rules.minutes_per_agent_per_day:
                times = talk_time.of_agent(connection, agent_id, since=now - DAY, now=now)
                facts = attrs.evolve(facts, calls_of_agent=[CallTime(begun_at=at, seconds=each) for at, each in times])
        if number is not None:
            limit = self.rules.daily_limit(dial.kind)
            counted = _TRANSFERS if dial.kind is DialKind.TRANSFER else _CALLS
            entry = listed(connection, number.e164, agent_id)
            facts = attrs.evolve(
                facts,
                is_own=is_own(connection, number.e164, agent_id),
                listing=None if entry is None else Listing(since=entry.added_at, every_agent=entry.agent_id is None),
                dials_to_number=dials.to_number(connection, number.e164, counted, limit, _around(now, DAY)),
            )
        if agent_id is not None and number is not None:
            facts = attrs.evolve(facts, has_consent=has_consent(connection, agent_id, number.e164, dial.purpose))
        return facts


def _around(now: datetime, window: timedelta) -> dials.Span:
    return now - window, now + window
