"""Doing for ever what keeps ending: again after a pause that grows, at once when it had held for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import tenacity
import trio


class Ended(Exception):
    """Why something that should go on has ended. It will be begun again."""


@attrs.frozen(kw_only=True)
class Pauses:
    """How long to wait before beginning again, in seconds.

    The first pause is at most `first`, each further one at most twice that, none more than `most`; each is drawn at
    random below its limit, so that many clients of a relay that restarts do not come back in step. What held for
    `steady` seconds is begun again at once, and the pauses start anew.
    """

    first: float
    most: float
    steady: float


async def repeat_with_pauses(
    work: Callable[[], Awaitable[None]], pauses: Pauses, tell: Callable[[str, float], None]
) -> None:
    """Do `work` for ever; it ends by raising `Ended`. Raises anything else that it raises. `tell` gets why and pause.

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
        # Made anew each time that `once` returns: that is how tenacity forgets the failures before.
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Ended),
            wait=tenacity.wait_random_exponential(multiplier=pauses.first, max=pauses.most),
            sleep=trio.sleep,
            before_sleep=tell_of,
            reraise=True,
        )
        await retrying(once)
