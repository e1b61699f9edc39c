"""What a tool's client is told of a call: what is new since it spoke, and once what went before."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest

from actors.call_values import Callee, Line, Speaker, TurnRequest
from actors.turn_queue import Utterance
from relay.mcp.tools.spoken_words import heard
from tests.relay.mcp.mcp_relay import NOW, call_info

CALLER, AGENT, MACHINE, RELAY = Speaker.CALLER, Speaker.AGENT, Speaker.ANSWERING_MACHINE, Speaker.RELAY
FILLER = "One moment."


def utterance(*history: tuple[Speaker, str], is_new: bool = True) -> Utterance:
    lines = tuple(Line(who, text, NOW, is_note=who is RELAY and text != FILLER) for who, text in history)
    return Utterance(request=TurnRequest(call=call_info(), turn=3, history=lines), is_new=is_new, waiting=0)


@pytest.mark.parametrize(
    ("history", "before", "caller", "note"),
    [
        ([(CALLER, "Hello?")], [], "Hello?", None),
        ([(AGENT, "Good day."), (CALLER, "Hello?")], ["Good day."], "Hello?", None),
        ([(AGENT, "Yes?"), (CALLER, "One."), (CALLER, "Two.")], ["Yes?"], "One. Two.", None),
        ([(AGENT, "Yes?"), (CALLER, "One."), (RELAY, FILLER), (CALLER, "Two.")], ["Yes?"], "One. Two.", None),
        ([(CALLER, "Anna?"), (MACHINE, "Away."), (RELAY, "Yours.")], ["Anna?", "Away."], "", "Yours."),
        ([(CALLER, "Anna?"), (RELAY, "It is yours."), (CALLER, "Hello?")], ["Anna?"], "Hello?", "It is yours."),
        ([(RELAY, "It is yours."), (AGENT, "Here."), (CALLER, "Ah.")], ["It is yours.", "Here."], "Ah.", None),
        (
            [(CALLER, "Anna?"), (MACHINE, "Away."), (RELAY, "Yours."), (CALLER, "Ah.")],
            ["Anna?", "Away."],
            "Ah.",
            "Yours.",
        ),
        ([(AGENT, "Yes?"), (RELAY, FILLER), (CALLER, "One.")], ["Yes?"], "One.", None),
        ([], [], "", None),
    ],
)
def test_utterances_are_those_since_the_client_spoke(
    history: Sequence[tuple[Speaker, str]], before: list[str], caller: str, note: str | None
) -> None:
    """What the relay says in between divides nothing, but a note begins what is new."""
    told = heard(utterance(*history)).as_json()
    assert (told["caller"], told.get("note")) == (caller, note)
    assert [each["text"] for each in told["history"]] == before


def test_a_client_that_knows_the_call_gets_only_what_is_new() -> None:
    """The rest costs a model its memory for nothing."""
    told = heard(utterance((CALLER, "Hello?"), is_new=False)).as_json()
    assert not {"history", "systemPrompt"} & told.keys()


def test_who_picked_up_is_reported_once_it_is_known() -> None:
    """As far as the carrier can tell."""
    words = utterance((CALLER, "Hello?"))
    known = attrs.evolve(words, request=attrs.evolve(words.request, callee=Callee.HUMAN))
    assert "pickedUpBy" not in heard(words).as_json()
    assert heard(known).picked_up_by == "human"
