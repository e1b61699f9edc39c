"""The page of set-up: can real calls work, what runs here, who may use the console, and what was done in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from relay.console.answers import Answer, Asked, Fragment, Page, Redirect, Route, Section
from relay.console.audit import Audit
from relay.console.examination import Examination, Found
from relay.console.listing import address, moment, position
from relay.console.words import in_units
from relay.store.members import Members, NodeReport
from relay.store.operator_actions import OperatorActions, RecordedAction
from relay.store.operators import Operators

PATH = "/console/set-up"
ACTIONS = 50

# Tone and icon of a check's verdict.
_VERDICTS = {
    "ok": ("good", "circle-check"),
    "failed": ("bad", "circle-x"),
    "unknown": ("warn", "triangle-alert"),
    "skipped": ("", "circle-dot"),
}


@attrs.frozen(kw_only=True)
class Installation:
    """What runs here. `node` is the name of this node of a cluster, empty where there is none."""

    version: str
    started_at: datetime
    database: str
    public_url: str
    is_local: bool = False
    node: str = ""


@attrs.frozen(kw_only=True)
class SetUpPage:
    """`/console/set-up`. `trouble` is what the operator should know at once, or None; `now` has a zone."""

    installation: Installation
    examination: Examination
    members: Members
    operators: Operators
    actions: OperatorActions
    audit: Audit
    trouble: Callable[[], str | None]
    is_leaving: Callable[[], bool]
    now: Callable[[], datetime]

    def routes(self) -> Sequence[Route]:
        """Return its routes."""
        return [
            Route(rule="/set-up", function=self.show),
            Route(rule="/set-up/checks", function=self.show_checks),
            Route(rule="/set-up/checks", function=self.run_checks, method="POST"),
        ]

    async def show(self, asked: Asked) -> Answer:
        """Show all of it; `before` in the query is where the actions begin."""
        before, operator = position(asked.query.get("before", "")), asked.query.get("operator", "")
        listed = await self.actions.list(operator=operator or None, before=before, limit=ACTIONS + 1)
        nodes = await self.members.report() if self.installation.node else []
        query = {"operator": operator}
        older = {"before": str(listed[ACTIONS - 1].position)} if len(listed) > ACTIONS else None
        here = self.installation
        values = {
            **self._checks(),
            "installation": here,
            "uptime": in_units((self.now() - here.started_at).total_seconds()),
            "started": moment(here.started_at),
            "trouble": self.trouble(),
            "is_leaving": self.is_leaving(),
            "nodes": [_node(each) for each in nodes],
            "operators": [
                {
                    "name": each.name,
                    "role": each.role.value,
                    "since": moment(each.created_at),
                    "last": moment(each.last_sign_in),
                }
                for each in await self.operators.list()
            ],
            "operator": operator,
            "actions": [_action(each) for each in listed[:ACTIONS]],
            "first": address(PATH, query) + "#actions" if before is not None else None,
            "next": None if older is None else address(PATH, query | older) + "#actions",
        }
        return Page(template="set_up.html", title="Set-up", section=Section.SET_UP, values=values)

    async def show_checks(self, asked: Asked) -> Answer:
        """Show the checks alone, for a page that waits for them."""
        return Fragment(template="checks.html", values=self._checks()) if asked.is_part else Redirect(f"{PATH}#checks")

    async def run_checks(self, asked: Asked) -> Answer:
        """Run the checks; where they are under way, that will do."""
        async with self.audit.recorded(asked.by, "run_checks") as action:
            action.outcome = "done" if self.examination.ask() else "under_way"
        return Redirect(f"{PATH}#checks")

    def _checks(self) -> dict[str, Any]:
        checks = self.examination
        return {
            "is_under_way": checks.is_under_way,
            "checked_at": moment(checks.finished_at),
            "fault": checks.fault,
            "found": [_found(each) for each in checks.found],
            "failed": sum(each.verdict == "failed" for each in checks.found),
        }


def _found(found: Found) -> Mapping[str, str]:
    tone, icon = _VERDICTS[found.verdict]
    return {"check": found.check, "verdict": found.verdict, "text": found.text, "tone": tone, "icon": icon}


def _node(report: NodeReport) -> dict[str, Any]:
    return {
        "name": report.node.name,
        "url": report.node.url,
        "version": report.node.version,
        "since": moment(report.since),
        "seen": f"{report.node.unseen:.0f} s ago",
        "homes": report.homes,
        "calls": report.calls,
        "is_leaving": report.node.is_leaving,
    }


def _action(recorded: RecordedAction) -> dict[str, Any]:
    action = recorded.action
    return {
        "at": moment(recorded.at),
        "operator": action.operator,
        "name": action.name.replace("_", " "),
        "agent_id": action.agent_id or "",
        "call_sid": action.call_sid or "",
        "outcome": recorded.outcome.replace("_", " "),
        "detail": action.detail,
    }
