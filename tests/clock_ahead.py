"""The relay's command with a clock that is five minutes ahead: `python tests/clock_ahead.py serve`.

All that looks at the time of day imports it from one place, and this comes before.
"""

from __future__ import annotations

import runpy
from datetime import timedelta

from relay.store import schema

AHEAD = timedelta(minutes=5)

if __name__ == "__main__":
    right = schema.utc_now
    schema.utc_now = lambda: right() + AHEAD
    runpy.run_module("relay", run_name="__main__")
