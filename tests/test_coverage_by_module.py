"""The script that tells which modules are not covered by their own tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from coverage import CoverageData

from scripts import coverage_by_module

MODULE = "def sign(number):\n    if number < 0:\n        return -1\n    return 1\n"
IMPORTED = [(-1, 1), (1, -1)]
POSITIVE = [(-1, 2), (2, 4), (4, -1)]
NEGATIVE = [(-1, 2), (2, 3), (3, -1)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project of three modules, one of them without tests of its own."""
    for name in ("relay", "tests/relay"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("own", "others", "neither"):
        (tmp_path / "relay" / f"{name}.py").write_text(MODULE)
    for name in ("own", "own_more", "others"):
        (tmp_path / "tests" / "relay" / f"test_{name}.py").touch()
    monkeypatch.setattr(coverage_by_module, "REPOSITORY", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.coverage.run]\nbranch = true\n")
    return tmp_path


def test_only_what_its_own_tests_run_counts(project: Path) -> None:
    """What another module's test happens to run is not covered; what two of its own run together is."""
    data = CoverageData(str(project / ".coverage"))
    data.add_arcs({str(project / "relay" / f"{name}.py"): IMPORTED for name in ("own", "others", "neither")})
    for test, module, arcs in (
        ("tests/relay/test_own.py::test_positive|run", "own", POSITIVE),
        ("tests/relay/test_own_more.py::test_negative|run", "own", NEGATIVE),
        ("tests/relay/test_others.py::test_positive|run", "others", POSITIVE),
        ("tests/relay/test_own.py::test_both|run", "others", NEGATIVE),
    ):
        data.set_context(test)
        data.add_arcs({str(project / "relay" / f"{module}.py"): arcs})
    data.write()
    result = CliRunner().invoke(coverage_by_module.main)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == ["   no tests  relay/neither.py", "      66.7%  relay/others.py"]
    assert "1 of 3 modules" in result.stderr


@pytest.mark.usefixtures("project")
def test_without_a_measurement_it_says_how_to_have_one() -> None:
    """Nothing is printed that looks like a result."""
    result = CliRunner().invoke(coverage_by_module.main)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "scripts/test --fast --coverage" in result.stderr
