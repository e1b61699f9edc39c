"""One call through all hands, as its page tells it: client, fillers, answering machine, operator, client, a human."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import trio
from playwright.sync_api import expect

from relay.simulator.carrier.callee import Answers
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.claude.stand_in import ASK
from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.browser import Chromium, OperatorAccess, Tab
from tests.e2e.calling_out import HUMAN, transfer
from tests.e2e.console_operator import recorded
from tests.e2e.parties import Access, Turn, ask, carrier_of, connected, own_url, repeat

pytestmark = pytest.mark.browser

UNANSWERED = "What do I owe you?"
# What the page says of it while it is live, beginning with the first words of the caller.
TOLD = (
    r"The caller said 4 words; asked mcp \(asked directly\)\.",
    r"The client began to answer after 0\.\d\d s\.",
    r"The client finished turn 1\.",
    r"The caller said 5 words; asked mcp \(asked directly\)\.",
    r"No word for 2\.5 s: said 'One moment, please\.'",
    r"No word for 5 s: said '[^']+'",
    r"Silent for 8 s: words left as message msg_\w+, said '.+', the answering machine took over\.",
    r"The message is durable\.",
    r"The answering machine began to answer after \d\.\d\d s\.",
    r"The answering machine finished turn 3\.",
    r"Operator NAME took the call over at the next pause\.",
    r"Operator NAME typed 'I am Ada, a person\.'; said 'I am Ada, a person\.'",
    r"Operator NAME handed the call back\.",
    r"The caller said 2 words; asked mcp \(asked directly\)\.",
    r"The client began to answer after 0\.\d\d s\.",
    r"The client finished turn 4\.",
)
# And of its end, which is known when it is over.
ENDED = (r"The client began a transfer; ended the session\.", r"The line was closed\.")
TIMES = ("stored", "asked", "first", "out", "last", "heard", "cut")
MOST_MS = 5.0
TURNS = [("client", "answered"), ("client", "client_timeout"), ("machine", "answered"), ("client", "answered")]


async def answer_but_one(turn: Turn) -> str:
    """Answer everything but one question."""
    if turn.words == UNANSWERED:
        await trio.sleep_forever()
    return await repeat(turn)


async def heard(call: SimulatedCall) -> str:
    """Return what the caller hears next; fillers are passed over."""
    return (await call.hear()).text


async def test_a_call_through_all_hands(
    chromium: Chromium, daemon: LocalDaemon, agent: Access, operator: OperatorAccess
) -> None:
    """Each decision is there in words and in its order; the parts of each turn sum to its whole; nothing is lost."""
    async with (
        connected(agent, answer_but_one) as client,
        carrier_of(daemon) as carrier,
        carrier.call(agent.agent_id) as call,
    ):
        carrier.callees[HUMAN] = Answers(talks=0.3)

        def work(tab: Tab) -> dict[str, Any]:
            tab.sign_in(own_url(daemon), operator.token, f"/console/calls/{call.call_sid}")
            page, answering, field = tab.page, tab.page.locator("#head .now"), tab.page.locator("#say-text")
            expect(page.locator("#state")).to_have_attribute("data-state", "live")
            assert chromium.wait_for(ask, call, "Is it raining today?") == "You said: Is it raining today?"
            chromium.wait_for(call.say, UNANSWERED)
            assert chromium.wait_for(heard, call).endswith(ASK)
            expect(answering).to_have_attribute("data-by", "machine")
            page.keyboard.press("t")
            page.get_by_role("button", name="At the next pause").click()
            expect(page.locator("#take")).to_contain_text("Hand back")
            expect(answering).to_have_attribute("data-holder", operator.name)
            field.fill("I am Ada, a person.")
            field.press("Enter")
            assert chromium.wait_for(heard, call) == "I am Ada, a person."
            page.locator("#take").click()
            expect(answering).to_have_attribute("data-by", "client")
            assert chromium.wait_for(ask, call, "Thank you.") == "You said: Thank you."
            expect(page.locator("#turns tr[data-turn]")).to_have_count(len(TURNS))
            decisions = page.locator("#decisions li bdi")
            expect(decisions.last).to_contain_text("finished turn 4")
            told = [each for each in decisions.all_inner_texts() if "is typing" not in each]
            _expect_in_order(told, [each.replace("NAME", operator.name) for each in TOLD])
            chromium.wait_for(partial(transfer, client, call))
            expect(answering).to_contain_text("transferred")
            chromium.wait_for(call.wait_ended)
            expect(decisions.last).to_contain_text("The line was closed")
            _expect_in_order(decisions.all_inner_texts()[-len(ENDED) :], ENDED)
            parts = [row.get_attribute("data-parts") for row in page.locator("#turns tr[data-turn]").all()]
            tab.shoot("call-story")
            state = tab.context.request.get(f"{own_url(daemon)}/console/api/calls/{call.call_sid}").json()
            expect(page.locator("#facts")).to_contain_text("answered")
            page.reload()
            expect(page.locator("#facts")).to_contain_text("answered")
            expect(page.locator(".card", has_text="What operators did").locator("li")).to_have_count(3)
            return {"state": state, "parts": parts}

        shown = await chromium.drive(work)
        assert [each["body"] for each in await client.fetch()] == [UNANSWERED]
    assert await recorded(daemon, call.call_sid) == [
        (operator.name, each, "done") for each in ("take_over", "say", "hand_back")
    ]
    assert call.heard[2:4] == ("One moment, please.", "I am still on it. Thank you for waiting.")
    assert [leg.bridged for leg in call.legs] == [True]
    state = shown["state"]
    assert [(each["by"], each["outcome"]) for each in state["turns"]] == TURNS
    for turn, drawn in zip(state["turns"], shown["parts"], strict=True):
        _expect_sums(turn, json.loads(drawn))
    told = [each["text"] for each in state["decisions"] if "is typing" not in each["text"]]
    # Without kept transcripts nobody is quoted any more; what happened stays, in its order.
    assert len(told) == len(TOLD) + len(ENDED)
    assert [each["at"] for each in state["decisions"]] == sorted(each["at"] for each in state["decisions"])


def _expect_in_order(told: list[str], patterns: Sequence[str]) -> None:
    assert len(told) == len(patterns), told
    for text, pattern in zip(told, patterns, strict=True):
        assert re.fullmatch(pattern, text), (pattern, told)


def _expect_sums(turn: dict[str, Any], parts: dict[str, list[float]]) -> None:
    """Expect that the parts that the page draws follow each other, and sum to what the turn took."""
    spans = [*parts.values()]
    assert all(before[1] == after[0] for before, after in pairwise(spans)), parts
    lengths = [end - begin for begin, end in spans]
    assert min(lengths) >= 0, parts
    assert ("speaking" in parts) == (turn["first"] is not None), parts
    end = max(turn[name] for name in TIMES if turn[name] is not None)
    assert abs(sum(lengths) - (end - turn["arrived"])) <= MOST_MS, (turn, parts)
