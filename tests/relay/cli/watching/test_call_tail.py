"""`relay tail` prints each thing once, when it is complete, in words that steer no terminal."""

from __future__ import annotations

import json

import pytest

from actors.phases import Phase
from relay.cli.watching.call_tail import CallTail, Entry
from relay.cli.watching.tail_report import JsonReport, PersonReport, short
from tests.relay.cli.watching.states import HOSTILE, a_turn, call, decided, over, row, said
from tests.sids import sid

ANSWERING = row(phase=Phase.CLIENT_ANSWERING)
HELLO = said(1, "relay", "Hello.")
ASKED = said(4, "caller", "Is Thursday free?")


def kinds(entries: list[Entry]) -> list[tuple[str, str]]:
    return [(each.kind, each.text) for each in entries]


def test_each_thing_is_told_once_in_order() -> None:
    """What was decided stands among what was said; what was told is not told again."""
    tail = CallTail()
    state = call(HELLO, ASKED, decisions=(decided(0.5, "It rang."), decided(4, "Asked the client.")))
    assert kinds(tail.since(state)) == [
        ("begun", "a call from +14155550001, agent my-client"),
        ("decision", "It rang."),
        ("line", "Hello."),
        ("decision", "Asked the client."),
        ("line", "Is Thursday free?"),
    ]
    assert tail.since(state) == []


def test_an_answer_is_told_when_it_is_complete() -> None:
    """Not while its words still come: when the turn is finished, when somebody else speaks, or the phase is over."""
    growing = [said(5, "agent", "Thursday"), said(5, "agent", "Thursday at three.", first_word=0.41)]
    open_turn, finished = a_turn(last=None, heard=None, outcome=""), a_turn(heard=None, outcome="")
    ends = [
        call(growing[1], of=ANSWERING, turns=(finished,)),
        call(growing[1], said(6, "caller", "Thanks"), of=ANSWERING, turns=(open_turn,)),
        call(growing[1], turns=(open_turn,)),
    ]
    for end in ends:
        tail = CallTail()
        tail.since(call(of=ANSWERING))
        assert tail.since(call(growing[0], of=ANSWERING, turns=(open_turn,))) == []
        told = tail.since(end)[0]
        assert (told.text, told.first_word_ms) == ("Thursday at three.", 410)


def test_a_filler_and_partial_words() -> None:
    """The relay's own sentence is complete at once; words that are still being recognised are not told."""
    partial = said(6, "caller", "Than", is_partial=True)
    state = call(said(5, "relay", "One moment, please."), partial, of=ANSWERING)
    assert kinds(CallTail().since(state))[1:] == [("line", "One moment, please.")]


def test_an_answer_that_was_cut_off() -> None:
    """Told with what was heard of it; if it was told already, that comes as an entry of its own."""
    whole, cut = (
        said(5, "agent", "Thursday at three is free."),
        said(5, "agent", "Thursday at three is free.", heard="Thursday at"),
    )
    assert CallTail().since(call(cut))[1].heard == "Thursday at"
    tail = CallTail()
    tail.since(call(whole))
    (entry,) = tail.since(call(cut))
    assert (entry.kind, entry.heard) == ("cut", "Thursday at")


def test_the_end() -> None:
    """A call whose session is away for a while has not ended; the end of one that has is told once."""
    tail = CallTail()
    tail.since(call(HELLO))
    assert tail.since(over(ended="", ended_at=None)) == []
    assert kinds(tail.since(over())) == [("ended", "completed")]


def test_a_call_that_is_away() -> None:
    """Told once, and once that it is back; a state in between, of which neither is known, says nothing."""
    tail, away = (
        CallTail(),
        over(ended="", ended_at=None, is_away=True, decisions=(decided(7, "The line was closed."),)),
    )
    tail.since(call(HELLO))
    assert kinds(tail.since(away)) == [
        ("decision", "The line was closed."),
        ("away", "without a line, and may come back"),
    ]
    assert tail.since(away) == tail.since(over(ended="", ended_at=None)) == []
    assert kinds(tail.since(call(HELLO, ASKED))) == [("back", "the call goes on"), ("line", "Is Thursday free?")]
    assert kinds(tail.since(away | {"transfer": "dialling"})) == [("away", "being transferred")]
    assert kinds(tail.since(over(ended="transferred", transfer="answered"))) == [("ended", "transferred")]
    assert tail.since(over()) == []


def test_by_now_also_what_still_grows() -> None:
    """With `--no-follow` there is no later."""
    state = call(said(5, "agent", "Thursday"), of=ANSWERING)
    assert kinds(CallTail().since(state, whole=True))[1:] == [("line", "Thursday")]


def test_lines_for_people(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The time, the call, who speaks, what; how long an answer took; what was not heard, in words."""
    monkeypatch.setenv("NO_COLOR", "1")
    report = PersonReport()
    cut = said(5, "agent", "At three.", heard="At", first_word=0.41)
    for each in CallTail().since(call(ASKED, cut, decisions=(decided(4.5, "Asked."),), of=row(0xABC))):
        report.tell(each)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "14:02:04 [00000000] caller: Is Thursday free?",
        "14:02:04 [00000000] Asked.",
        "14:02:05 [00000000] client: At three.  (heard until here: “At”)  0.41 s",
    ]


@pytest.mark.parametrize("place", ["line", "decision", "caller", "agent"])
def test_planted_characters_are_text(capsys: pytest.CaptureFixture[str], place: str) -> None:
    """Nothing that a caller, a client or a number brings along steers the terminal, or is taken for markup."""
    state = call(
        said(1, "caller", HOSTILE if place == "line" else "x"),
        decisions=(decided(1, HOSTILE if place == "decision" else "x"),),
        of=row(caller=HOSTILE if place == "caller" else "x", agent_id=HOSTILE if place == "agent" else "x"),
    )
    report = PersonReport()
    for each in CallTail().since(state):
        report.tell(each)
    printed = capsys.readouterr().out
    assert "[bold]markup[/]" in printed
    assert all(each.isprintable() or each == "\n" for each in printed)


def test_lines_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, in ASCII, whatever was said."""
    report = JsonReport()
    for each in CallTail().since(call(said(1, "caller", HOSTILE + "\u2028"))):
        report.tell(each)
    report.lost("gone")
    begun, line, lost = (json.loads(each) for each in capsys.readouterr().out.splitlines())
    assert (begun["kind"], begun["callSid"], lost) == ("begun", sid(), {"kind": "lost", "text": "gone"})
    assert line == {
        "at": "2026-11-29T14:02:01.000Z",
        "callSid": sid(),
        "agentId": "my-client",
        "kind": "line",
        "text": HOSTILE + "\u2028",
        "speaker": "caller",
        "note": False,
        "heard": None,
        "firstWordMs": None,
    }


def test_a_call_has_the_same_name_everywhere() -> None:
    """The first digits of its SID."""
    assert short("CAc2a8f1d3" + 24 * "0") == "c2a8f1d3"
