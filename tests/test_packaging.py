"""The distribution as it is installed: its name, its command, what comes with it and what only on request."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[1]
LINTERS = {"flake8-async", "mypy", "pip-audit", "ruff"}


@pytest.fixture
def installed() -> importlib.metadata.Distribution:
    """The distribution in the environment that runs the tests."""
    return importlib.metadata.distribution("relay-telephone")


def names(installed: importlib.metadata.Distribution, extra: str) -> set[str]:
    """Return what is installed with an extra; with an empty one, what every installation has."""
    asked = [Requirement(each) for each in installed.requires or []]
    plain = {each.name for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})}
    chosen = {each.name for each in asked if each.marker is None or each.marker.evaluate({"extra": extra})}
    return chosen - plain if extra else plain


def test_the_command_is_called_relay(installed: importlib.metadata.Distribution) -> None:
    """The distribution has a name of its own, and its command the name that all documents use."""
    assert [each.name for each in installed.entry_points.select(group="console_scripts")] == ["relay"]


def test_an_installation_has_no_linters(installed: importlib.metadata.Distribution) -> None:
    """What the relay runs on is installed by itself; tests, linters and PostgreSQL come with their extras."""
    assert not names(installed, "") & (LINTERS | {"pytest", "psycopg"})
    assert names(installed, "lint") == LINTERS
    assert "pytest" in names(installed, "test")
    assert names(installed, "postgresql") == {"psycopg"}
    assert "scripts/environment --run" in (REPOSITORY / "scripts" / "demo").read_text()


def test_the_licence_of_what_is_loaded_is_named(installed: importlib.metadata.Distribution) -> None:
    """The licence files of the package name espeak-ng and the GPL."""
    assert installed.metadata.get_all("License-File") == ["LICENSE", "THIRD-PARTY.md"]
    text = (REPOSITORY / "THIRD-PARTY.md").read_text()
    assert "espeak-ng" in text
    assert "GPL-3.0-or-later" in text


def test_every_requirement_is_pinned(installed: importlib.metadata.Distribution) -> None:
    """Whatever can be asked for stands in constraints.txt, whichever way its name is written."""
    pinned = {
        re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
        for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
    }
    assert {Requirement(each).name.lower() for each in installed.requires or []} <= pinned
