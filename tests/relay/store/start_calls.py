"""A process that starts calls as soon as it may, and prints when.

python -m tests.relay.store.start_calls URL CALLS CALLS_PER_SECOND
"""

from __future__ import annotations

import sys
import time

import trio

from relay.store.database import open_database
from relay.store.pace import SharedPace
from relay.twilio.pacing import Pacer


async def main(url: str, starts: int, per_second: float) -> None:
    async with open_database(url) as database:
        pacer = Pacer(per_second, SharedPace(database).reserve)
        for _ in range(starts):
            await pacer.wait_turn()
            # One clock for all processes of a machine.
            print(time.clock_gettime(time.CLOCK_MONOTONIC), flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
