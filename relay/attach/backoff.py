"""Repetition with back-off: work is restarted after a growing pause, or at once if it ran long enough."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import tenacity
import trio


class Ended(Exception):
    """The work has ended, and why. It will be restarted."""


@attrs.frozen(kw_only=True)
class Pauses:
    """How long to wait before a restart, in seconds.

    The first pause is at most `first`, each further one at most twice that, none more than `most`; each is drawn at
    random below its limit, so that many clients of a relay that restarts do not come back in step. Work that ran for
    `steady` seconds is restarted at once, and the pauses begin with `first` again.
    """

    first: float
    most: float
    steady: float


async def repeat_with_pauses(
    work: Callable[[], Awaitable[None]], pauses: Pauses, tell: Callable[[str, float], None]
) -> None:
    """Run `work` again and again; it ends by raising `Ended`. Any other exception is raised. `tell` gets reason and
    pause.

    Cancelling ends it.
    """

    async def once() -> None:
        began = trio.current_time()
        try:
            await work()
        except Ended as ended:
            if trio.current_time() - began < pauses.steady:
                raise
            tell(str(ended), 0.0)

    def tell_of(state: tenacity.RetryCallState) -> None:
        assert state.outcome is not None
        assert state.next_action is not None
        tell(str(state.outcome.exception()), state.next_action.sleep)

    while True:
        # A new object after each return of `once`, so that tenacity forgets the failures before.
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Ended),
            wait=tenacity.wait_random_exponential(multiplier=pauses.first, max=pauses.most),
            sleep=trio.sleep,
            before_sleep=tell_of,
            reraise=True,
        )
        await retrying(once)
