"""Marks that point to a source are not spoken, and numbers that mean something are."""

from __future__ import annotations

import pytest

from relay.speech.hygiene import SpeechFilter, clean


def streamed(text: str, length: int) -> str:
    """Feed a text in pieces of one length, and put together what comes out."""
    speech = SpeechFilter()
    pieces = [speech.feed(text[start : start + length]) for start in range(0, len(text), length)]
    return "".join([*pieces, speech.finish()])


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("We are open till six [1], on Fridays till four [2][3].", "We are open till six, on Fridays till four."),
        ("It is free[^2].\n\n[^2]: see the leaflet", "It is free."),
        ("Open on Mondays \ue200cite\ue202turn0search1\ue201 only.", "Open on Mondays only."),
        ("Open on Mondays citeturn0search1turn1view2 only.", "Open on Mondays only."),
        ("as it says [12](https://example.com/a).", "as it says."),
        ("as it says [[1]](https://example.com/a_b).", "as it says."),
        ("It is free【12†source】.", "It is free."),
        ("It is free 【3:0†leaflet.pdf】, mostly.", "It is free, mostly."),
        ("We open at nine. [1] Then we close.", "We open at nine. Then we close."),
        ("A fact.[1][2] Another.", "A fact. Another."),
        ("Three facts [1, 2, 5] and a range [1-3].", "Three facts and a range."),
        ("It is free [^1^].", "It is free."),
        ("It is free.¹ Mostly,²³ indeed³.", "It is free. Mostly, indeed."),
        ("It is free<sup>1</sup> and <sup>[2]</sup>open.", "It is free and open."),
        ("It is free [citation needed].", "It is free."),
        ("[cite_start]It is free [cite: 1, 2].", "It is free."),
        ("It is free [doc1] and open [web:3].", "It is free and open."),
        ("It is free contentReference[oaicite:0]{index=0}.", "It is free."),
        ("It is free.\n[1] https://example.com/a\n[2]: the leaflet", "It is free."),
        ("营业到六点[1]，周五到四点【2】。", "营业到六点，周五到四点。"),
        ("Geöffnet bis sechs [1].", "Geöffnet bis sechs."),
        ("It ends here [4]", "It ends here"),
    ],
)
def test_a_mark_that_points_to_a_source_is_not_spoken(written: str, spoken: str) -> None:
    """The mark goes with the space before it, whole and in pieces of any length."""
    assert clean(written).strip() == spoken
    for length in (1, 2, 3, 5, 8):
        assert streamed(written, length) == clean(written)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("She is [sic] right.", "She is sic right."),
        ("In [2024] it rained.", "In 2024 it rained."),
        ("Press [1] for sales, press [2] for help.", "Press 1 for sales, press 2 for help."),
        (
            "Press [1] for sales or [2] for help.\nWe open at nine [3].",
            "Press 1 for sales or 2 for help.\nWe open at nine.",
        ),
        ("It says so [3](https://example.com/Nine_(hour)) and [[4]](https://example.com/a_(b)).", "It says so and."),
        ("[1] Sales\n[2] Support", "1 Sales\n2 Support"),
        ("array[0] is first", "array0 is first"),
        ("5 km² or 10 m³ or x² or 30 cubic metres³", "5 km² or 10 m³ or x² or 30 cubic metres³"),
        ("[our page](https://example.com)", "our page"),
        ("[source code](https://example.com)", "source code"),
        ("Turn left at the citadel, turn 0.", "Turn left at the citadel, turn 0."),
        ("Room 12 (1) and 3.", "Room 12 (1) and 3."),
        ("The web [page] and the doc [file].", "The web page and the doc file."),
        ("10⁻³ and E = mc²", "10⁻³ and E = mc²"),
    ],
)
def test_a_number_that_means_something_is_spoken(written: str, spoken: str) -> None:
    """Keys, items, years, units and words in brackets stay."""
    assert clean(written) == spoken
    assert streamed(written, 1) == streamed(written, 4) == spoken


def test_a_sentence_does_not_wait_for_a_mark() -> None:
    """A sentence is handed on as soon as it is complete; only a space that a mark may follow waits."""
    speech = SpeechFilter()
    assert speech.feed("We are open till six. ").strip() == "We are open till six."
    assert speech.feed("Then we close.").strip() == "Then we close."
