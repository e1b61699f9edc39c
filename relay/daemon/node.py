"""A daemon as a node of a cluster: who it is to the others, and what becomes of its agents when their home changes."""

from __future__ import annotations

from collections.abc import Iterable

from actors.call_values import Availability
from actors.calls import Calls
from actors.clients import Presence
from relay import __version__
from relay.cluster.directory import Tenants
from relay.daemon.credentials import Credentials
from relay.mcp.app import McpApp
from relay.settings import Settings
from relay.store.homes import Home
from relay.store.members import Account, Candidate, Node
from relay.twilio.handoff_data import Moving, encode_handoff_data

# A client that was here a moment ago is one that the next home should wait for.
_HERE = frozenset({Availability.HERE, Availability.JUST_LOST})


def candidate_of(settings: Settings, credentials: Credentials, boot: str, public_url: str) -> Candidate:
    """Return what the run `boot` of this daemon enters the cluster with."""
    node = Node(name=settings.node_name, url=settings.relay_node_url or "", boot=boot, version=__version__)
    account = Account(credentials.account_sid or "", credentials.auth_token)
    return Candidate(node=node, public_url=public_url, account=account)


def tenants_of(calls: Calls, presence: Presence, clients: McpApp) -> Tenants:
    """Return what the directory does with the agents of this node.

    An agent that had a client at its last home is waited for here as one that was just lost. The calls and clients of
    an agent whose home is elsewhere end here, so that they go on there: calls are moved, clients come back.
    """

    def on_come(home: Home) -> None:
        if home.had_client:
            presence.expect(home.agent_id)

    def on_gone(agent_id: str) -> None:
        calls.move_away(agent_id, encode_handoff_data(Moving()))
        clients.close_agent(agent_id, why="home_moved")

    def with_client(agent_ids: Iterable[str]) -> frozenset[str]:
        return frozenset(each for each in agent_ids if presence.availability(each) in _HERE)

    return Tenants(on_come=on_come, on_gone=on_gone, with_client=with_client)
