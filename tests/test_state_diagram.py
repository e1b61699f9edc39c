"""The diagrams of the states: they show the tables of moves, and the page shows the diagrams."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from actors.call_values import Availability
from actors.conversation import Conversation
from actors.phases import TRANSITIONS, Phase
from actors.policy import Policy
from actors.transfer import MOVES, Stage, Transfer, TransferOrder
from scripts.state_diagram import PAGE, STARTS, STARTS_OF_TRANSFER, arrows, diagrams, main, markers
from tests.fakes import call_info

CALL, TRANSFER = diagrams().values()
EMPTY_PAGE = "# States\n\n" + "".join("{}\n{}\n\nMore.\n".format(*markers(name)) for name in diagrams())


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page with markers and nothing between them."""
    path = tmp_path / "states.md"
    path.write_text(EMPTY_PAGE)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_the_page_is_up_to_date() -> None:
    """What docs/states.md shows is what the code does."""
    result = run("--check")
    assert result.exit_code == 0, result.stderr


def test_the_page_tells_of_every_phase() -> None:
    """The table of phases in docs/states.md has each of them, in order."""
    rows = [line.split("|")[1].strip() for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert rows == ["phase", *Phase]


def test_every_move_is_an_arrow() -> None:
    """Each move of the table is in the diagram with the events that may cause it, and no other is."""
    lines = {line.strip() for line in CALL.splitlines() if "-->" in line}
    rows = [(phase, event, to) for phase, row in TRANSITIONS.items() for event, tos in row.items() for to in tos or ()]
    assert {(phase, to) for phase, _event, to in rows} == arrows().keys()
    moves = {f"{phase.name} --> {to.name}: {events}" for (phase, to), events in arrows().items()}
    starts = {f"[*] --> {phase.name}: {why}" for phase, why in STARTS.items()}
    assert lines == moves | starts | {"OVER --> [*]"}
    assert arrows()[Phase.ANSWERING_MACHINE_LISTENING, Phase.CLIENT_ANSWERING] == "call claimed"


def test_every_move_of_a_transfer_is_an_arrow() -> None:
    """Each move that `Transfer` allows is in its diagram with its occasion, and no other is."""
    lines = {line.strip() for line in TRANSFER.splitlines() if "-->" in line}
    moves = {f"{stage.name} --> {to.name}: {why}" for stage, row in MOVES.items() for to, why in row.items()}
    starts = {f"[*] --> {stage.name}: {why}" for stage, why in STARTS_OF_TRANSFER.items()}
    assert lines == moves | starts | {"SETTLED --> [*]"}


def test_transfers_begin_where_their_diagram_begins() -> None:
    """The first arrow leads to the stage of a transfer that was just made."""
    assert {Transfer(TransferOrder(to="+15551234567", ring_seconds=25)).stage} == STARTS_OF_TRANSFER.keys()


def test_calls_begin_where_the_diagram_begins() -> None:
    """The first arrows lead to exactly the phases that a machine can be in when it was just made."""
    calls = [call_info(), call_info(screened=True)]
    begun = {Conversation(call, Policy(), availability=Availability.HERE, now=0.0).phase for call in calls}
    assert begun == STARTS.keys()


def test_every_phase_is_a_state_by_its_name() -> None:
    """States are shown with the words that logs and tests use."""
    assert all(f'state "{phase}" as {phase.name}\n' in CALL for phase in Phase)
    assert all(f'state "{stage}" as {stage.name}\n' in TRANSFER for stage in Stage)


def test_the_diagrams_are_printed() -> None:
    """Without an option they go to standard output."""
    assert run().stdout == f"{CALL}\n\n{TRANSFER}\n"


def test_writing_changes_only_what_is_between_the_markers(page: Path) -> None:
    """The text around the markers stays as it was written, and writing again changes nothing."""
    assert run("--write", "--page", page).exit_code == 0
    written = page.read_text()
    expected = EMPTY_PAGE
    for name, diagram in diagrams().items():
        _begin, end = markers(name)
        expected = expected.replace(end, f"```mermaid\n{diagram}\n```\n{end}")
    assert written == expected
    run("--write", "--page", page)
    assert page.read_text() == written


def test_a_page_that_is_out_of_date_fails_the_check(page: Path) -> None:
    """The check says what to do and leaves the page alone."""
    result = run("--check", "--page", page)
    assert result.exit_code == 1
    assert "run scripts/state_diagram.py --write" in result.stderr
    assert page.read_text() == EMPTY_PAGE


@pytest.mark.parametrize("content", ["# States\n", None], ids=["without markers", "missing"])
def test_a_page_that_cannot_be_used_is_named(page: Path, content: str | None) -> None:
    """A page without markers, or none at all, is an error that names it, not a traceback."""
    if content is None:
        page.unlink()
    else:
        page.write_text(content)
    result = run("--check", "--page", page)
    assert result.exit_code == 1
    assert f"{page} cannot be used" in result.stderr
