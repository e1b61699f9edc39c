"""The distribution as it is installed: its name, its command, what comes with it and what only on request."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts.vendor import LISTS, Vendored, read_list

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
    assert names(installed, "otel") == {"opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk"}
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


def vendored() -> list[tuple[Path, Vendored]]:
    """Return what is vendored, each with its file."""
    lists = [REPOSITORY / each for each in LISTS]
    return [(path.parent / each.file, each) for path in lists for each in read_list(path)]


@pytest.mark.parametrize(("path", "entry"), vendored(), ids=lambda each: getattr(each, "name", None))
def test_what_is_vendored_is_as_it_was_fetched(path: Path, entry: Vendored) -> None:
    """Files of others are what their checksums say; nobody edits them."""
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256


@pytest.mark.parametrize("folder", [Path(each).parent for each in LISTS], ids=str)
def test_each_vendored_file_is_listed_with_its_licence(folder: Path) -> None:
    """Nothing lies beside the list, and each package comes with its licence."""
    entries = read_list(REPOSITORY / folder / "vendor.toml")
    assert {each.name for each in (REPOSITORY / folder).iterdir()} == {each.file for each in entries} | {"vendor.toml"}
    licensed = {each.npm for each in entries if each.file.endswith("-LICENSE.txt")}
    assert licensed == {each.npm for each in entries}
    third_party = (REPOSITORY / "THIRD-PARTY.md").read_text()
    assert all(f"{each.npm}` {each.version}" in third_party for each in entries)


def test_the_console_comes_with_its_templates_and_files() -> None:
    """All that lies beside the code is packed; left out are what git ignores, and half of the simulator."""
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    excluded = ["relay/simulator/load", "relay/simulator/claude"]
    assert build == {"packages": ["relay", "actors"], "exclude": excluded}
    kept = {each.name for each in (REPOSITORY / "relay" / "simulator").iterdir() if each.is_dir()}
    assert kept - {Path(each).name for each in excluded} - {"__pycache__"} == {"carrier"}
    root = REPOSITORY / "relay" / "console"
    needed = [str(each) for folder in ("templates", "static") for each in (root / folder).rglob("*") if each.is_file()]
    assert len(needed) > 15
    git = shutil.which("git")
    if git is None or not (REPOSITORY / ".git").exists():
        pytest.skip("needs git and the repository")
    ignored = subprocess.run(
        [git, "check-ignore", *needed], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert ignored.stdout == ""
