"""The daemon's status: its readiness, which is public, and its connections, for the operator only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio
from sqlalchemy import text

from actors.calls import Calls
from relay.errors import RelayError
from relay.mcp.app import McpApp
from relay.store.database import Database
from relay.store.schema import timestamp

# Less than a health check waits for the answer.
DATABASE_CHECK_SECONDS = 2.0


@attrs.frozen(kw_only=True)
class DaemonStatus:
    """The state of a running daemon, looked up when it is asked for."""

    database: Database
    calls: Calls
    clients: McpApp
    has_answering_machine: bool
    has_left: Callable[[], bool] = lambda: False
    is_seen: Callable[[], bool] = lambda: True
    """Whether the other nodes of a cluster see this one."""

    def is_leaving(self) -> bool:
        """Whether the daemon is being stopped."""
        return self.calls.draining or self.has_left()

    async def checks(self) -> Mapping[str, str | None]:
        """Return each condition for taking calls, by name, with None or what is wrong."""
        return {
            "database": await self._database_fault(),
            "draining": "the relay is being stopped" if self.is_leaving() else None,
        }

    def banner(self) -> str | None:
        """Return what the operator should know at once, in the words of the checks; None if all is well. Never waits.

        A database of which nothing was asked for some time may be lost all the same.
        """
        if (fault := self._known_fault()) is not None:
            return f"The database is in trouble: {fault}."
        return "The relay is being stopped: it takes no new calls." if self.is_leaving() else None

    def _known_fault(self) -> str | None:
        if (trouble := self.database.trouble) is not None:
            return f"nothing can be written: {trouble}; {self.database.kept} changes are kept until it can"
        # That goes over a connection of its own, so what calls store may well be written.
        return None if self.is_seen() else "it does not learn that this node is here, so the other nodes do not see it"

    async def _database_fault(self) -> str | None:
        if (fault := self._known_fault()) is not None:
            return fault
        with trio.move_on_after(DATABASE_CHECK_SECONDS):
            try:
                await self.database.read(lambda connection: connection.execute(text("SELECT 1")))
            except RelayError:
                return "the database cannot be read"
            return None
        return "the database does not answer"

    def document(self) -> dict[str, Any]:
        """Return what only the running daemon knows, as JSON; see `relay.cli.status`."""
        return {
            "draining": self.is_leaving(),
            "answeringMachine": self.has_answering_machine,
            "clients": [
                {
                    "agentId": each.agent_id,
                    "name": each.name,
                    "version": each.version,
                    "transport": each.transport,
                    "answersBy": each.answers_by,
                    "since": timestamp(each.since),
                }
                for each in self.clients.here()
                if each.ready
            ],
            "waitingToolCalls": self.clients.all_waiting(),
            "liveCalls": [
                {
                    "callSid": call.info.call_sid,
                    "agentId": call.info.agent_id,
                    "direction": call.info.direction.value,
                    "from": call.info.caller,
                    "to": call.info.called,
                    "since": timestamp(call.info.started_at),
                    "phase": call.phase.value,
                }
                for call in self.calls.live()
            ],
        }
