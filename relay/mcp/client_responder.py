"""The client as the one who answers a turn: whichever of its sessions it can be reached over best."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from actors.call_values import NOBODY, CallInfo, Owner, TurnRequest
from actors.clients import AnsweringSession, Presence
from actors.errors import ClientAbsent
from actors.ports import Answer


def _nobody(_call: CallInfo) -> Owner:
    return NOBODY


@attrs.frozen
class ClientResponder:
    """Answer turns through an agent's best session, or the one that has claimed the call. A Responder."""

    presence: Presence[AnsweringSession]
    owner_of: Callable[[CallInfo], Owner] = _nobody

    async def respond(self, request: TurnRequest, answer: Answer) -> None:
        """Ask the client and speak what it says, as it comes.

        Raises `ClientAbsent` when no session can take the turn, `ClientLeft`, `ClientFailed`. Keeps no deadline of its
        own: cancelling tells the client so and returns at once.
        """
        session = self.presence.newest(request.call.agent_id, self.owner_of(request.call).session)
        if session is None:
            raise ClientAbsent("no session of the agent can take the turn")
        await session.respond(request, answer)
