"""Every action of an operator is on record before it is done; one that cannot be recorded is not done.

async with audit.recorded(asked.by, "hang_up", agent_id=…, call_sid=…) as action:
    …                                       # raises Refused: its code is the outcome
    action.outcome = "done"                 # which it is anyway, if nothing else is said
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import structlog
import trio

from actors.errors import StoreFailed
from relay.console.refused import Refused
from relay.console.sign_in import SignedIn
from relay.store.operator_actions import Action, OperatorActions

log = structlog.get_logger(__name__)

# For the outcome of an action whose operator has gone.
_LAST_SECONDS = 2.0


@attrs.define
class Recorded:
    """An action under way. `outcome` is a snake_case word; `detail` may hold a number, never what was said."""

    outcome: str = "done"
    detail: str | None = None


@attrs.frozen
class Audit:
    """The record of what operators do in the console."""

    actions: OperatorActions
    # Gets the name and the outcome of each action.
    note_outcome: Callable[[str, str], None] = lambda _name, _outcome: None

    @asynccontextmanager
    async def recorded(
        self, by: SignedIn, name: str, *, agent_id: str | None = None, call_sid: str | None = None, detail: str = ""
    ) -> AsyncIterator[Recorded]:
        """Record an action, run the block, record its outcome: that of a `Refused` is its code.

        Raises `StoreFailed` before the block where nothing can be recorded. An outcome that cannot be written is logged
        only. On cancellation the outcome is `cancelled`, and its writing is waited for two seconds at most.
        """
        number = await self.actions.begin(
            Action(operator=by.operator, name=name, agent_id=agent_id, call_sid=call_sid, detail=detail)
        )
        recorded = Recorded()
        try:
            yield recorded
        except trio.Cancelled:
            recorded.outcome = "cancelled"
            raise
        except Refused as refused:
            recorded.outcome = refused.code
            raise
        except Exception:
            recorded.outcome = "failed"
            raise
        finally:
            self.note_outcome(name, recorded.outcome)
            log.info(
                "operator_action",
                operator=by.operator,
                action=name,
                agent_id=agent_id,
                call_sid=call_sid,
                outcome=recorded.outcome,
            )
            with trio.move_on_after(_LAST_SECONDS, shield=True):
                await self._finish(number, recorded)

    async def _finish(self, number: int, recorded: Recorded) -> None:
        try:
            await self.actions.finish(number, recorded.outcome, recorded.detail)
        except StoreFailed as error:
            log.warning("outcome_not_recorded", number=number, cause=str(error))
