"""How commands and scripts end when something goes wrong that can."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
import trio

from actors.errors import StoreFailed
from relay.cli.one_line import in_one_line
from relay.errors import DatabaseError, RelayError
from relay.store.database import open_database
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import draft

REPOSITORY = Path(__file__).parents[3]


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    """Wrap errors as nurseries do."""
    return BaseExceptionGroup("nursery", [BaseExceptionGroup("inner", errors)])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RelayError("Fix it."), "Fix it."),
        (DatabaseError("Fix the disk."), "Fix the disk."),
        (StoreFailed("full"), "full"),
        (click.ClickException("Say which."), "Say which."),
        (click.UsageError("Say which."), "Say which."),
        (OSError("no route"), "no route"),
        (OSError(), "something failed"),
        (group(RelayError("Fix it.")), "Fix it."),
        (group(RelayError("Fix it."), RelayError("Fix it."), OSError("no route")), "Fix it.; no route"),
        (group(group(StoreFailed("full")), click.ClickException("Say which.")), "full; Say which."),
    ],
    ids=repr,
)
def test_what_is_expected_is_one_line(error: BaseException, line: str) -> None:
    """Errors with a text for the operator come out as that text, each once, however deep they were."""
    with pytest.raises(click.ClickException) as ended, in_one_line(OSError):
        raise error
    assert ended.value.format_message() == line


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (group(KeyboardInterrupt()), KeyboardInterrupt),
        (group(RelayError("broken by it"), KeyboardInterrupt(), ValueError()), KeyboardInterrupt),
        (group(BrokenPipeError(32, "closed")), BrokenPipeError),
        (group(RelayError("beside it"), BrokenPipeError(32, "closed")), BrokenPipeError),
    ],
    ids=repr,
)
def test_the_user_ends_it(error: BaseException, kind: type[BaseException]) -> None:
    """Ctrl-C and a closed pipe come out of nurseries as themselves, which click ends on in a line or none."""
    with pytest.raises(kind), in_one_line():
        raise error


@pytest.mark.parametrize("error", [ValueError(), group(ValueError()), group(RelayError("a"), ValueError())], ids=repr)
def test_a_fault_of_ours_is_left_alone(error: BaseException) -> None:
    """What nobody expected comes out as it was."""
    with pytest.raises(type(error)) as raised, in_one_line():
        raise error
    assert raised.value is error


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    """A command whose output nobody reads to its end, as before `head`, says nothing about it."""
    relay = f"PYTHONPATH={REPOSITORY} {sys.executable} -m relay"
    many = " ".join(f"{relay} agents add a{number} --json > /dev/null;" for number in range(2))
    done = subprocess.run(
        f"{many} {relay} agents list | true; {relay} messages list --json | head -c 1",
        cwd=tmp_path,
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


PIPE_BYTES = 65536
"""What a pipe holds, on Linux."""


async def leave_much(url: str) -> None:
    """Leave a message that is several times as long as a pipe holds."""
    words = "Please call me back. " * (4 * PIPE_BYTES // len("Please call me back. "))
    async with open_database(url) as database:
        await WaitingMessages(database).leave(draft(body=words))


@pytest.mark.parametrize("form", ["export --json", "export --csv", "list"])
def test_a_reader_that_goes_away_in_the_middle(tmp_path: Path, form: str) -> None:
    """A command that still writes when its reader has seen enough ends with 1, without a word of what broke."""
    trio.run(leave_much, f"sqlite:///{tmp_path}/relay.db")
    done = subprocess.run(
        f'{{ {sys.executable} -m relay messages {form}; echo "It ended with $?." >&2; }} | head -c 2',
        cwd=tmp_path,
        # Unbuffered, Python itself drops what the pipe did not take.
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": ""},
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert len(done.stdout) == 2
    told = [line for line in done.stderr.splitlines() if not line.startswith("Database: ")]
    assert told == ["It ended with 1."]
