"""What is checked again for the rules of structured concurrency, and what is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts import async_lint

GOOD = "import trio\n"
MANY_FAULTS = """
import trio

async def one(timeout):
    with trio.move_on_after(1):
        pass
    try:
        await trio.sleep(0)
    except BaseException:
        pass
    async with trio.open_nursery() as nursery:
        with open("x") as file:
            nursery.start_soon(one)
    yield

async def other():
    while True:
        await trio.sleep(1)
    trio.sleep(1)
    try:
        pass
    finally:
        await one(1)  # noqa: ASYNC102
        await one(2)
"""
BAD = "import trio\n\n\nasync def hang() -> None:\n    while True:\n        await trio.sleep(1)\n"


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project of one file, with an environment beside it, where no CI runs."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / "relay").mkdir()
    monkeypatch.setattr(async_lint, "REPOSITORY", tmp_path)
    monkeypatch.setattr(async_lint, "STAMP", tmp_path / ".venv" / "async-lint.json")
    monkeypatch.delenv("CI", raising=False)
    return tmp_path / "relay" / "code.py"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files that were read, as they are read."""
    names: list[str] = []
    check = async_lint.is_clean

    def note(files: Sequence[Path]) -> bool:
        names.extend(map(str, files))
        return check(files)

    monkeypatch.setattr(async_lint, "is_clean", note)
    return names


def test_a_clean_file_is_read_once(code: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it changes; on CI it is read each time."""
    code.write_text(GOOD)
    assert [async_lint.main([]), async_lint.main([])] == [0, 0]
    assert read == ["relay/code.py"]
    code.write_text(GOOD + "\n")
    assert async_lint.main([]) == 0
    assert len(read) == 2
    monkeypatch.setenv("CI", "true")
    assert async_lint.main([]) == 0
    assert len(read) == 3


def test_a_file_with_a_fault_is_read_until_it_has_none(
    code: Path, read: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """What is wrong is printed each time."""
    code.write_text(BAD)
    assert [async_lint.main([]), async_lint.main([str(code)])] == [1, 1]
    assert capfd.readouterr().out.count("ASYNC110") == 2
    assert len(read) == 2


def test_a_file_that_the_rules_are_not_about_is_not_read(code: Path, read: list[str]) -> None:
    """What has nothing asynchronous in it, and catches no cancellation."""
    code.write_text("def add(one: int, other: int) -> int:\n    return one + other\n")
    assert async_lint.main([]) == 0
    assert read == []
    code.write_text("def swallow() -> None:\n    try:\n        add()\n    except:\n        pass\n")
    assert async_lint.main([]) == 1
    assert read == ["relay/code.py"]


def test_all_rules_find_what_they_find_one_by_one(tmp_path: Path) -> None:
    """The program that has them look at one tree prints what flake8-async itself prints."""
    code = tmp_path / "code.py"
    code.write_text(MANY_FAULTS)
    options = ["--enable=ASYNC", "--disable=ASYNC900", str(code)]
    own = [str(Path(sys.executable).with_name("flake8-async")), *options]
    once = [sys.executable, "-P", str(async_lint.PROGRAM), *options]
    found, same = (subprocess.run(each, capture_output=True, check=False, text=True) for each in (own, once))
    assert same.stdout == found.stdout
    assert len(found.stdout.splitlines()) > 8
