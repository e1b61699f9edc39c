"""The doctor's checks, run from the console by a process of their own.

    ask ──▶ run: `relay doctor`, its lines as they come ──▶ findings so far ──▶ findings, and when they were made

It is the command that an operator runs in a terminal, with the settings that this daemon was started with. In the
daemon itself lost: it opens the database anew and loads the libraries of the vendors, and callers would wait for each
of that; and it would tell of this process, where a new one may find other settings.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from subprocess import DEVNULL, PIPE

import attrs
import structlog
import trio

log = structlog.get_logger(__name__)

# Every check has ten seconds, and few take one.
MOST_SECONDS = 180.0
_LONGEST_LINE = 10_000
_LINE = re.compile(r"(ok|failed|skipped|unknown) +(\S+) +(.+)")


@attrs.frozen
class Found:
    """What a check found, as `relay doctor` prints it."""

    verdict: str
    check: str
    text: str


@attrs.define(eq=False, kw_only=True)
class Examination:
    """The checks, of which one run at a time is under way. `now` is the wall clock, with a zone.

    `finished_at` is when `found` was complete, None before the first time; `fault` says why a run was none.
    """

    database_url: str = attrs.field(repr=False)
    now: Callable[[], datetime]
    command: Sequence[str] = (sys.executable, "-m", "relay", "doctor")
    found: list[Found] = attrs.field(factory=list, init=False)
    finished_at: datetime | None = attrs.field(default=None, init=False)
    fault: str = attrs.field(default="", init=False)
    _asked: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def is_under_way(self) -> bool:
        """Whether the checks are being run, or are about to be."""
        return self._asked.is_set()

    def ask(self) -> bool:
        """Ask for the checks; False if they are under way. Never waits."""
        if self.is_under_way:
            return False
        self.found, self.fault = [], ""
        self._asked.set()
        return True

    async def run(self) -> None:
        """Run the checks whenever they are asked for. Runs until cancelled, which ends the process."""
        while True:
            await self._asked.wait()
            await self._examine()
            self.finished_at = self.now()
            log.info("checks_run", found=len(self.found), fault=self.fault)
            self._asked = trio.Event()

    async def _examine(self) -> None:
        environment = {**os.environ, "DATABASE_URL": self.database_url}
        start = partial(trio.run_process, list(self.command), stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, check=False)
        with trio.move_on_after(MOST_SECONDS) as patience:
            async with trio.open_nursery() as nursery:
                try:
                    process: trio.Process = await nursery.start(partial(start, env=environment))
                except OSError as error:
                    self.fault = f"The checks could not be started: {os.strerror(error.errno or 0)}."
                else:
                    assert process.stdout is not None
                    await self._read(process.stdout)
        if patience.cancelled_caught:
            self.fault = f"The checks were broken off after {MOST_SECONDS:.0f} seconds."
        elif not self.found and not self.fault:
            self.fault = "The checks ended without a finding. Run in a terminal what they run: relay doctor"

    async def _read(self, output: trio.abc.ReceiveStream) -> None:
        rest = b""
        async for some in output:
            *lines, rest = (rest + some).split(b"\n")
            for line in lines:
                if (parts := _LINE.fullmatch(line.decode("utf-8", "replace").strip())) is not None:
                    self.found.append(Found(*parts.groups()))
            rest = rest[-_LONGEST_LINE:]
