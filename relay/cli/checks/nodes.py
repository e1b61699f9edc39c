"""The nodes of a cluster: that each is there, can be reached, and agrees with these settings and with the others."""

from __future__ import annotations

import httpx2
import trio

from relay.cli.checks.check import CheckFailed
from relay.cli.checks.network import NETWORK_ERRORS, json_object, reason
from relay.settings import Settings
from relay.store.database import open_database
from relay.store.members import SILENT_SECONDS, Account, Members, Node, NodeReport
from relay.store.tenure import require_server


async def nodes(settings: Settings) -> str:
    """Ask each node at its own URL, from here. Raises `CheckFailed`, which names every node that is not well."""
    require_server(settings.database_url)
    async with open_database(settings.database_url) as database:
        reports = await Members(database).report()
    if not reports:
        raise CheckFailed("No node of this cluster runs.", "Start the daemon.")
    found: dict[str, str | None] = {}
    async with trio.open_nursery() as nursery:
        for report in reports:
            nursery.start_soon(_examine, settings, report, found)
    wrong = [sentence for _name, sentence in sorted(found.items()) if sentence is not None]
    if wrong:
        raise CheckFailed(
            " ".join(wrong),
            "All nodes need the same account and PUBLIC_URL, and each a RELAY_NODE_URL at which the others reach it.",
        )
    versions = sorted({report.node.version for report in reports})
    notes = "" if len(versions) == 1 else f" Their versions differ ({', '.join(versions)}): upgrade all of them."
    return f"Each is seen, reached from here, and agrees: {', '.join(sorted(found))}.{notes}"


async def _examine(settings: Settings, report: NodeReport, found: dict[str, str | None]) -> None:
    name, node = report.node.name, report.node
    account = Account(settings.twilio_account_sid or "", settings.twilio_auth_token or "")
    found[name] = None
    if report.account_proof != account.proof(node.boot):
        found[name] = f"{name} has another TWILIO_ACCOUNT_SID or TWILIO_AUTH_TOKEN."
    elif report.public_url != settings.public_url:
        found[name] = f"{name} has the PUBLIC_URL {report.public_url}."
    elif node.unseen >= SILENT_SECONDS:
        found[name] = f"{name} was last seen {node.unseen:.0f} seconds ago."
    else:
        found[name] = await ask_node(report.node)


async def ask_node(node: Node) -> str | None:
    """Return what is wrong with a node's RELAY_NODE_URL, as it is seen from here; None if the node answers there.

    Waits as long as the node takes; safe to cancel.
    """
    name, url = node.name, node.url
    try:
        # As nodes do: not by the proxy of the environment. The time is kept by who asks.
        async with httpx2.AsyncClient(timeout=None, verify=httpx2.create_ssl_context(), trust_env=False) as http:
            response = await http.get(f"{url}/health")
    except NETWORK_ERRORS as error:
        return f"{name} cannot be reached at {url}: {reason(error)}."
    document = json_object(response)
    if (other := document.get("node", name)) != name:
        return f"The RELAY_NODE_URL of {name}, {url}, leads to node {other}."
    if document.get("version") != node.version:
        return f"Something else than {name} answers at {url} (status {response.status_code})."
    return None
