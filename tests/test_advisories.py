"""The verdict on what is known against the pinned versions, from documents of the form that pip-audit writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts import advisories

GOOD = {"name": "aiofiles", "version": "25.1.0", "vulns": []}
UNTOLD = {"name": "boolean-py", "skip_reason": "Dependency not found on PyPI and could not be audited"}
BAD = {
    "name": "examplelib",
    "version": "1.2",
    "vulns": [{"id": "PYSEC-2026-7", "fix_versions": ["1.3", "2.0"], "aliases": [], "description": "A fault."}],
}
OPEN = {"name": "otherlib", "version": "3", "vulns": [{"id": "GHSA-x", "fix_versions": [], "description": "A fault."}]}


def document(*packages: Any) -> str:
    return json.dumps({"dependencies": list(packages), "fixes": []})


@pytest.mark.parametrize(
    ("written", "status", "sentence"),
    [
        (document(GOOD), 0, "Nothing is known against what is pinned."),
        (document(GOOD, UNTOLD), 0, "Of 1 of 2 packages nothing could be told."),
        (document(GOOD, BAD), 1, "examplelib 1.2: PYSEC-2026-7, fixed in 1.3, 2.0."),
        (document(UNTOLD, OPEN), 1, "otherlib 3: GHSA-x, fixed in no version yet."),
        (document(UNTOLD, UNTOLD), 0, "skipped: the index that is reached from here knows no advisories."),
        (document(), 0, "skipped: the index of advisories gave no answer."),
        ("", 0, "skipped: the index of advisories gave no answer."),
        ("ERROR: cannot connect", 0, "skipped: the index of advisories gave no answer."),
        ("[]", 0, "skipped: the index of advisories gave no answer."),
        ('{"dependencies": [', 0, "skipped: the index of advisories gave no answer."),
    ],
    ids=["clean", "partly", "known", "unfixed", "untold", "none", "empty", "error", "other", "torn"],
)
def test_only_an_advisory_fails(written: str, status: int, sentence: str) -> None:
    """An advisory is exit status 1 with what to do; silence, in whatever form, is told as such and fails nothing."""
    found, printed = advisories.verdict(advisories.read(written))
    assert found == status
    assert sentence in printed


def test_nobody_waits_for_an_index_that_is_silent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A look-up that takes too long is ended, and counts as no answer."""
    (tmp_path / "pip_audit.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(advisories, "LONGEST", 0.2)
    assert advisories.ask() == ""


def test_what_is_asked_is_what_is_pinned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The versions of constraints.txt are looked up, without asking an index for anything else."""
    (tmp_path / "pip_audit.py").write_text("import json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    asked = json.loads(advisories.ask())
    assert asked[asked.index("--requirement") + 1] == str(advisories.CONSTRAINTS)
    assert {"--no-deps", "--disable-pip"} <= set(asked)
