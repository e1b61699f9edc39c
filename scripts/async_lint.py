"""Check the rules of structured concurrency with flake8-async, in those files that have changed since they were clean.

    .venv/bin/python -m scripts.async_lint [FILE...]      all of the project where no file is named

A look at one file takes a second, and at all of them minutes, so the digest of each clean file is kept in
.venv/async-lint.json: a new environment begins without. With CI=true every file is checked. A file without any of the
words that the rules are about cannot break one, and is passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
STAMP = REPOSITORY / ".venv" / "async-lint.json"
FOLDERS = ("actors", "relay", "scripts", "tests")

# Off: 109 (a timeout is a plain argument of some protocols), 900 and 910 to 913 (opt-in rules about where checkpoints
# must be), and in tests 124 (a test is async to have Trio's clock, too).
OFF = "ASYNC109,ASYNC900,ASYNC910,ASYNC911,ASYNC912,ASYNC913"
IN_CODE = (
    *("--enable=ASYNC", f"--disable={OFF}"),
    "--startable-in-context-manager=rest,run,serve,serve_on,serve_stand_in",
)
IN_TESTS = ("--enable=ASYNC", f"--disable={OFF},ASYNC124,ASYNC114")

# All rules are about asynchronous functions, what these libraries have, groups of exceptions, or what catches a
# cancellation.
SUBJECTS = re.compile(
    rb"\b(async|await|trio|anyio|asyncio|BaseException|GeneratorExit|\w*ExceptionGroup|exceptions)\b|\bexcept\s*[:*]"
)

PROGRAM = Path(__file__).with_name("flake8_async_once.py")
AT_ONCE = os.cpu_count() or 1
MOST_IN_ONE = 40


def digest(file: Path) -> str:
    """Return what is the same as long as the verdict on a file is: its bytes, the rules, the tool."""
    rules = f"{version('flake8-async')} {sys.version_info[:2]} {IN_CODE} {IN_TESTS}".encode()
    return hashlib.sha256(rules + file.read_bytes()).hexdigest()


def find_files(named: Sequence[str]) -> list[Path]:
    """Return the project's files, or those of the named ones that belong to it."""
    if named:
        paths: Iterable[Path] = (Path(each).resolve() for each in named)
    else:
        paths = (path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py"))
    inside = (path.relative_to(REPOSITORY) for path in paths if path.is_relative_to(REPOSITORY))
    return sorted(path for path in inside if path.parts[0] in FOLDERS and "node_modules" not in path.parts)


def read_stamp() -> dict[str, str]:
    """Return the digests of the files that were clean; none where there is no stamp that can be read."""
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return {}


def is_clean(files: Sequence[Path]) -> bool:
    """Check these files, all in code or all in tests. What is wrong is printed."""
    options = IN_TESTS if files[0].parts[0] == "tests" else IN_CODE
    command = [sys.executable, "-P", str(PROGRAM), *options, *map(str, files)]
    return subprocess.run(command, cwd=REPOSITORY, check=False).returncode == 0  # noqa: S603 - our own words


def main(named: Sequence[str]) -> int:
    """Check what has to be checked, keep what is clean, and return the exit status."""
    digests = {file: digest(REPOSITORY / file) for file in find_files(named)}
    known = {} if os.environ.get("CI") == "true" else read_stamp()
    changed = [
        file
        for file, now in digests.items()
        if known.get(str(file)) != now and SUBJECTS.search((REPOSITORY / file).read_bytes())
    ]
    tests = [file for file in changed if file.parts[0] == "tests"]
    code = [file for file in changed if file.parts[0] != "tests"]
    size = max(1, min(MOST_IN_ONE, -(-len(changed) // AT_ONCE)))
    portions = [part[start : start + size] for part in (code, tests) for start in range(0, len(part), size)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = list(pool.map(is_clean, portions))
    clean = [file for files, verdict in zip(portions, verdicts, strict=True) if verdict for file in files]
    known |= {str(file): digests[file] for file in clean}
    if STAMP.parent.is_dir():
        here = {name: value for name, value in known.items() if (REPOSITORY / name).exists()}
        STAMP.write_text(json.dumps(here, indent=0, sort_keys=True))
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
