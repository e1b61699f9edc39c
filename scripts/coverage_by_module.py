"""Print which modules are not covered by their own test file.

    scripts/test --fast --coverage                        once: it writes down which test ran which line
    .venv/bin/python -m scripts.coverage_by_module        how much of each module its own tests reach

    relay/http/listener.py  ◀──  tests/relay/http/test_listener.py

A module that is only covered by tests of other modules looks covered in the total, though no test checks its rules.
What counts here is therefore the lines and branches that a module's own test file runs: `test_NAME.py` and
`test_NAME_*.py` in the folder of the same name. Modules without such a file are listed as such.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import click
import coverage
from coverage.exceptions import CoverageException

REPOSITORY = Path(__file__).parents[1]


@attrs.frozen
class OwnCoverage:
    """A module, and the percentage of it that its own tests run; None if it has none."""

    module: str
    percent: float | None


def own_tests(module: Path) -> list[Path]:
    """Return the test files of a module, relative to the repository like the module itself."""
    folder = REPOSITORY / "tests" / module.parent
    found = [*folder.glob(f"test_{module.stem}.py"), *folder.glob(f"test_{module.stem}_*.py")]
    return [each.relative_to(REPOSITORY) for each in sorted(found)]


def measure(data: coverage.Coverage) -> Iterator[OwnCoverage]:
    """Return each module of the product with what its own tests run of it, in the order of their names."""
    for path in sorted(path for package in ("actors", "relay") for path in (REPOSITORY / package).rglob("*.py")):
        module = path.relative_to(REPOSITORY)
        if path.name == "__init__.py" or "migrations" in path.parts:
            continue
        tests = own_tests(module)
        # What runs when a module is imported belongs to no test.
        contexts = ["^$", *(f"^{re.escape(str(each))}::" for each in tests)]
        percent = data.report(morfs=[str(path)], contexts=contexts, file=io.StringIO()) if tests else None
        yield OwnCoverage(str(module), percent)


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--below", default=100.0, show_default=True, metavar="PERCENT", help="Print what is covered less.")
def main(below: float) -> None:
    """Print the modules, the least covered first."""
    data = coverage.Coverage(data_file=str(REPOSITORY / ".coverage"))
    # A module that its tests do not run at all is a result, not an error.
    data.set_option("report:fail_under", 0)
    data.set_option("report:skip_covered", False)
    try:
        data.load()
        told = bool(data.get_data().measured_contexts() - {""})
        results = list(measure(data)) if told else []
    except CoverageException as error:
        raise click.ClickException(f"The measurement cannot be read: {error}") from error
    if not told:
        raise click.ClickException("Nobody wrote down which test ran what. Run scripts/test --fast --coverage first.")
    for each in sorted(results, key=lambda each: (-1.0 if each.percent is None else each.percent, each.module)):
        if each.percent is None:
            click.echo(f"   no tests  {each.module}")
        elif each.percent < below:
            click.echo(f"{each.percent:10.1f}%  {each.module}")
    whole = sum(each.percent == 100 for each in results)
    click.echo(f"{whole} of {len(results)} modules are covered whole by their own tests.", err=True)


if __name__ == "__main__":
    sys.exit(main())
