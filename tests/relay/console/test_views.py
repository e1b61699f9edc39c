"""What the pages Live and Call show of calls: the parts of a turn, what was cut off, which calls a filter takes."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import attrs
import pytest

from actors.call_values import CallOutcome
from actors.calls import Call
from actors.ended_calls import EndedCall
from actors.narration import Decision
from actors.phases import Phase
from actors.policy import Policy
from actors.trace import WallClock
from actors.transfer import Stage, Transfer, TransferOrder, TransferOutcome
from actors.turns import TURNS_PER_SESSION
from relay.console.ended_views import over
from relay.console.views import ROWS, CallState, Facts, LiveFilter, LiveState, Row, Said, Turn
from tests.fakes import call_info

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROW = Row(
    call_sid="CA1",
    agent_id="anna",
    caller="+14155550100",
    called="+15551230002",
    direction="inbound",
    by="client",
    operator="",
    phase=Phase.CLIENT_LISTENING,
    since=AT,
    first_word=0.3214,
    last_words="Straße nach Norden",
)
TURN = Turn(
    turn=1, by="client", outcome="answered", arrived=1000, stored=1010, asked=1020, first=1500, out=1510, last=2000
)


@pytest.mark.parametrize(
    ("turn", "names", "total"),
    [
        (attrs.evolve(TURN, heard=3000), ["storing", "asking", "thinking", "sending", "speaking", "playing"], 2000),
        (attrs.evolve(TURN, cut=2500), ["storing", "asking", "thinking", "sending", "speaking", "playing"], 1500),
        (attrs.evolve(TURN, stored=None, asked=None), ["thinking", "sending", "speaking"], 1000),
        (attrs.evolve(TURN, first=None, out=None), ["storing", "asking", "thinking"], 1000),  # never a word
        (Turn(turn=1, by="client", outcome="", arrived=1000), [], 0),
    ],
)
def test_the_parts_of_a_turn_follow_one_another(turn: Turn, names: list[str], total: float) -> None:
    """Each part begins where the one before ended, whatever did not happen; together they are the whole turn."""
    parts = turn.parts()
    assert [name for name, _begin, _end in parts] == names
    assert all(before[2] == after[1] for before, after in pairwise(parts))
    assert sum(end - begin for _name, begin, end in parts) == turn.total == total


def test_the_figures_of_a_turn() -> None:
    """The first word is that sent; fillers count from the caller's words; a second connection is named."""
    turn = attrs.evolve(TURN, turn=TURNS_PER_SESSION + 2, fillers=(1250.0,))
    assert (turn.first_word, turn.marks(), turn.number) == (510, "[250.0]", "2 of connection 2")
    assert attrs.evolve(TURN, out=None).first_word is None


def test_what_was_heard_and_what_was_not() -> None:
    """A line that was cut off is what was heard of it, then the rest; any other was heard whole."""
    cut = Said(speaker="agent", text="First. Second.", at=AT, heard="First.")
    assert (cut.was_heard, cut.cut_off) == ("First.", " Second.")
    assert (attrs.evolve(cut, heard=None).was_heard, attrs.evolve(cut, heard=None).cut_off) == ("First. Second.", "")
    assert attrs.evolve(cut, heard="").cut_off == "First. Second."


@pytest.mark.parametrize(
    ("wanted", "is_taken"),
    [
        (LiveFilter(), True),
        (LiveFilter(text="  STRASSE "), True),
        (LiveFilter(text="0100"), True),
        (LiveFilter(text="%"), False),
        (LiveFilter(agent_id="ann"), False),
        (LiveFilter(agent_id="anna", text="norden"), True),
    ],
)
def test_which_calls_a_filter_takes(wanted: LiveFilter, is_taken: bool) -> None:
    """Text is looked for as it is, in any case; an agent is meant exactly."""
    assert wanted.takes(ROW) is is_taken


@pytest.mark.parametrize(("found", "pages"), [(0, 1), (ROWS, 1), (ROWS + 1, 2)])
def test_pages(found: int, pages: int) -> None:
    """There is always one."""
    facts = Facts(live=found, most=100, first_word=None, clients=0, with_machine=0, waiting=None)
    state = LiveState(facts=facts, filter=LiveFilter(), rows=(), found=found)
    assert state.pages == state.document()["pages"] == pages
    assert state.document()["facts"]["waitingMessages"] is None


def test_a_call_that_is_over_keeps_its_decisions_and_not_its_words() -> None:
    """Who has the page open sees how it ended, and what was decided; what was said is left as it stands there."""
    last = CallState(row=ROW, info=None, lines=(Said(speaker="caller", text="Secret", at=AT),), transfer="dialling")
    ended = EndedCall(
        call_sid="CA1",
        agent_id="anna",
        outcome=CallOutcome.COMPLETED,
        ended=107.5,
        clock=WallClock(100.0, AT),
        decisions=(Decision(at=101.0, kind="caller", text="The caller said 2 words."),),
        left_out=3,
    )
    state = over(last, ended, banner="being stopped")
    assert (state.is_live, state.lines, state.transfer, state.row.phase) == (False, None, "", Phase.OVER)
    assert (state.ended, state.seconds, state.left_out, state.banner) == ("completed", 7.5, 3, "being stopped")
    assert [each.text for each in state.decisions] == ["The caller said 2 words."]
    document = state.document()
    assert (document["outcome"], document["endedAt"], document["lines"]) == (
        "completed",
        "2026-01-02T03:04:12.500Z",
        None,
    )
    assert "Secret" not in repr(document)


def test_a_call_that_is_away_is_not_over() -> None:
    """Its caller is being transferred, or has lost the line: how it ends is not known, whatever its session says."""
    last, call = CallState(row=ROW, info=None, lines=None), Call(info=call_info(), policy=Policy())
    ended = EndedCall(
        call_sid="CA1",
        agent_id="anna",
        outcome=CallOutcome.TRANSFERRED,
        ended=107.5,
        clock=WallClock(100.0, AT),
        decisions=(),
    )
    call.was_connected, call.has_place = True, False
    call.transfer = Transfer(TransferOrder(to="+14155552671", ring_seconds=20), attempt=call.info.attempt)
    for outcome, is_away, shown in (
        (None, True, "checking"),
        (TransferOutcome.BUSY, True, "busy"),
        (TransferOutcome.ANSWERED, False, "answered"),
    ):
        if outcome is not None:
            call.transfer.stage, call.transfer.outcome = Stage.SETTLED, outcome
        state = over(last, ended, call, banner="")
        document = state.document()
        assert (document["live"], document["away"], document["transfer"]) == (False, is_away, shown)
        assert (document["outcome"] is None, document["endedAt"] is None) == (is_away, is_away)
    call.has_place = True
    assert over(last, ended, call, banner="").is_away
    call.is_over = True
    assert not over(last, ended, call, banner="").is_away


def test_a_call_whose_end_is_not_known() -> None:
    """It is over, and nothing is said of how."""
    state = over(CallState(row=ROW, info=None, lines=None), None, banner="")
    assert (state.is_live, state.ended, state.seconds, state.document()["outcome"]) == (False, "", None, None)
