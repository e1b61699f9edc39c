"""Ask pip-audit what is known against the pinned versions, for `scripts/test`.

    constraints.txt ──pip-audit, a minute at most──▶ JSON ──read──▶ Findings ──verdict──▶ sentences, exit status

Exit status 1 where an advisory is known. If the index could not be reached it is 0, with a sentence that says so: an
index of advisories is not what is tested, and a machine without a network must be able to run the tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
# A whole look-up takes some ten seconds; a firewall that drops packets lets each of them wait.
LONGEST = 60.0
PACKET_SECONDS = 5


@attrs.frozen
class Findings:
    """How many packages were looked up, of how many nothing could be told, and a sentence for each advisory."""

    asked: int = 0
    untold: int = 0
    advisories: tuple[str, ...] = ()


def ask() -> str:
    """Return what pip-audit writes as JSON; empty where it gave up, or was given up."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS), "--disable-pip", "--no-deps"]
    options = ["--timeout", str(PACKET_SECONDS), "--progress-spinner", "off", "--format", "json"]
    try:
        # Its exit status is 1 for an advisory and for a fault alike, so only what it writes counts.
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=LONGEST, check=False)  # noqa: S603 - our own words
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout


def read(document: str) -> Findings:
    """Read what pip-audit wrote; anything that is not of its form is as good as no answer."""
    try:
        parsed = json.loads(document)
    except ValueError:
        return Findings()
    packages: list[dict[str, Any]] = parsed.get("dependencies", []) if isinstance(parsed, dict) else []
    found = [
        f"{each['name']} {each['version']}: {advisory['id']}, fixed in "
        f"{', '.join(advisory.get('fix_versions', ())) or 'no version yet'}."
        for each in packages
        for advisory in each.get("vulns", ())
    ]
    return Findings(len(packages), sum("skip_reason" in each for each in packages), tuple(found))


def verdict(findings: Findings) -> tuple[int, str]:
    """Return the exit status, and what to print."""
    if findings.advisories:
        advice = "Raise what is named here in constraints.txt, and in pyproject.toml where it stands."
        return 1, "\n".join([*findings.advisories, advice])
    if not findings.asked:
        return 0, "skipped: the index of advisories gave no answer. Nothing was checked."
    if findings.untold == findings.asked:
        return 0, "skipped: the index that is reached from here knows no advisories. Nothing was checked."
    untold = f" Of {findings.untold} of {findings.asked} packages nothing could be told." if findings.untold else ""
    return 0, f"Nothing is known against what is pinned.{untold}"


def main() -> int:
    """Ask, print the verdict on standard error, and return the exit status."""
    status, sentences = verdict(read(ask()))
    print(sentences, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
