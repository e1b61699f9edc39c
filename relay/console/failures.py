"""How often a wrong token may be tried: five times a minute from one address, thirty times in all."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

import attrs
import structlog

log = structlog.get_logger(__name__)

PER_ADDRESS = 5
IN_ALL = 30
SECONDS = 60.0


@attrs.define(eq=False)
class Failures:
    """The wrong tokens of the last minute. `now` is a clock that only goes on.

    Only what is wrong comes here: a right token is never locked out by what others tried. What is refused for being too
    much is not kept, so a minute holds `IN_ALL` failures, however many there are.
    """

    now: Callable[[], float] = time.monotonic
    _recent: deque[tuple[float, str]] = attrs.field(factory=deque, init=False)
    _not_logged: int = attrs.field(default=0, init=False)
    _logged_at: float = attrs.field(default=-math.inf, init=False)

    def note(self, address: str) -> int | None:
        """Count a failure; return after how many whole seconds to try again, or None if the limits are not reached."""
        now = self.now()
        self._log(now)
        while self._recent and self._recent[0][0] <= now - SECONDS:
            self._recent.popleft()
        own = [at for at, where in self._recent if where == address]
        if len(own) >= PER_ADDRESS:
            return math.ceil(own[-PER_ADDRESS] + SECONDS - now)
        if len(self._recent) >= IN_ALL:
            return math.ceil(self._recent[0][0] + SECONDS - now)
        self._recent.append((now, address))
        return None

    def _log(self, now: float) -> None:
        """Log the failures since the last line, one line a minute at most."""
        self._not_logged += 1
        if now - self._logged_at >= SECONDS:
            log.warning("console_sign_in_failed", failures=self._not_logged)
            self._logged_at, self._not_logged = now, 0
