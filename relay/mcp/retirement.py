"""The end of client sessions on purpose, when it costs no turn: their clients go on by way of another node.

    retire ──▶ no new turn, waits end ──▶ no work in hand, or time is over ──▶ closed ──▶ the client is back at once

A session that was closed so counts as just lost, whatever way its client is reached: its callers wait for it. Who has
less time than `RETIRE_SECONDS` cancels it.
"""

from __future__ import annotations

import trio

from actors.call_values import Availability
from actors.clients import Presence
from relay.mcp.session import McpSession
from relay.mcp.transports.http_session import HttpSession

RETIRE_SECONDS = 8.0
"""For turns in hand to be answered; as long as a client may take for an answer, unless the settings say otherwise."""
_LOOK_SECONDS = 0.05

_HERE = frozenset({Availability.HERE, Availability.JUST_LOST})


async def retire(session: McpSession, presence: Presence, why: str, *, keeps_session: bool = False) -> None:
    """End a session when its client has nothing in hand. Cancelling ends it at once.

    With `keeps_session` one that outlives its streams loses only the one over which it is asked.
    """
    was_here = presence.availability(session.agent_id) in _HERE
    session.retire()
    try:
        with trio.move_on_after(RETIRE_SECONDS):
            await _idle(session)
    finally:
        if keeps_session and isinstance(session, HttpSession):
            session.end_passing()
        else:
            session.close(why, is_expected=True)
        if was_here:
            presence.expect(session.agent_id)


async def _idle(session: McpSession) -> None:
    """Wait until a session has no work, twice in a row: what it was sent last is on its way by then."""
    idle = 0
    while idle < 2 and not session.closed:
        await trio.sleep(_LOOK_SECONDS)
        idle = 0 if session.has_work else idle + 1
