"""What a check is, and what it finds."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Collection

import attrs
import trio

from relay.errors import RelayError
from relay.settings import Settings


class Verdict(enum.Enum):
    """The result of a check. `UNKNOWN`: it could not be determined."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"


@attrs.frozen
class Finding:
    """What a check found: sentences for the operator, without secrets. `fix` says what to do, if anything."""

    check: str
    verdict: Verdict
    detail: str
    fix: str = ""

    @property
    def text(self) -> str:
        """The detail and the fix in one line."""
        return f"{self.detail} {self.fix}".rstrip()

    def as_json(self) -> dict[str, str]:
        """Return the finding as `relay doctor --json` prints it."""
        return {"check": self.check, "status": self.verdict.value, "detail": self.detail, "mend": self.fix}


class CheckFailed(Exception):
    """The check failed: what is wrong, and what to do."""

    verdict = Verdict.FAILED

    def __init__(self, detail: str, fix: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.fix = fix


class Undetermined(CheckFailed):
    """The check could not be carried out, which is no fault of this relay."""

    verdict = Verdict.UNKNOWN


class NotApplicable(CheckFailed):
    """There is nothing to check; the text says what that means for callers."""

    verdict = Verdict.SKIPPED


@attrs.frozen(kw_only=True)
class Check:
    """One check: `look` returns what is well in a sentence, or raises `CheckFailed`, `Undetermined` or a `RelayError`.

    It is skipped unless all settings that it `needs` are set, and unless the check `after` which it comes was fine.
    `consequence` says what it means to callers when it is skipped for a setting. When it takes too long, `silence` is
    what that means, and `if_silent` what to do.
    """

    name: str
    look: Callable[[Settings], Awaitable[str]]
    needs: tuple[str, ...] = ()
    consequence: str = ""
    after: str | None = None
    silence: type[CheckFailed] = CheckFailed
    if_silent: str = ""

    async def run(self, settings: Settings, passed: Collection[str], patience: float) -> Finding:
        """Look, for at most `patience` seconds; `passed` are the checks that were fine.

        Cancelling closes all that was opened.
        """
        missing = [name.upper() for name in self.needs if not getattr(settings, name)]
        if missing:
            return Finding(self.name, Verdict.SKIPPED, f"Not set: {', '.join(missing)}.", self.consequence)
        if self.after is not None and self.after not in passed:
            return Finding(self.name, Verdict.SKIPPED, f"Not asked before {self.after} is ok.")
        try:
            with trio.move_on_after(patience):
                return Finding(self.name, Verdict.OK, await self.look(settings))
            raise self.silence(f"There is no answer within {patience:g} seconds.", self.if_silent)
        except CheckFailed as ill:
            return Finding(self.name, ill.verdict, ill.detail, ill.fix)
        except RelayError as error:
            return Finding(self.name, Verdict.FAILED, str(error))  # says by itself what to do
