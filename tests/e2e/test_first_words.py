"""The caller hears a client's first words when the client has them, not when it has the whole answer."""

from __future__ import annotations

import pytest
import trio

from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.parties import Access, calling
from tests.mcp_clients import PYTHON_2, TYPESCRIPT_2, StockClient, each_client, session_of, start_client

FIRST, WHOLE = 0.4, 3.0
"""Seconds after which the client has the first words of its answer, and the last."""

SLACK = 1.0
"""Seconds that a busy machine may take for what takes some milliseconds; `scripts/bench.py` prints how many."""


@pytest.mark.parametrize("path", ["/sse", "/mcp"])
@each_client(PYTHON_2, TYPESCRIPT_2)
async def test_first_words_do_not_wait_for_the_rest(
    stock: StockClient, path: str, daemon: LocalDaemon, agent: Access
) -> None:
    """Of an answer that takes three seconds the caller hears the beginning after less than half of one."""
    options = (f"--token={agent.token}", "--pieces", "--first", str(FIRST), "--think", str(WHOLE))
    async with start_client(stock, f"{daemon.url}{path}", *options):
        await session_of(agent.agent_id, daemon)
        async with calling(daemon, agent) as call:
            asked = trio.current_time()
            await call.say("Hello?")
            first = await call.next_token()
            rest = await call.hear()
    assert (first.text, rest.text) == ("You", " said: Hello?")
    assert FIRST <= first.at - asked < FIRST + SLACK
    assert rest.began - asked >= WHOLE
