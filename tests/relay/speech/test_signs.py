"""Signs that lay out a text, compare numbers, or write formulas, and what a caller hears instead."""

from __future__ import annotations

import pytest
import trio

from actors.call_values import TurnRequest
from relay.speech.hygiene import MOST_READ, SpeechFilter, clean, slices
from relay.speech.spoken import SpokenResponder
from tests.fakes import ScriptedResponder, call_info, saying
from tests.relay.speech.recorded_answer import RecordedAnswer
from tests.relay.speech.test_sources import streamed


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("• Monday nine to five\n• Tuesday closed", "Monday nine to five\nTuesday closed"),
        ("● one\n‣ two\n◦ three\n∙ four", "one\ntwo\nthree\nfour"),
        ("▪ one\n■ two\n► three\n– four\n☐ five\n✓ six\n➢ seven", "one\ntwo\nthree\nfour\nfive\nsix\nseven"),
        ("Monday • Tuesday", "Monday , Tuesday"),
        ("==marked== and ==two words==.", "marked and two words."),
        ("x==y and 1 == 1", "x==y and 1 == 1"),
        ("so $x^2$ and $E = mc^2$.", "so x² and E = mc²."),
        (r"so \(x^2 + 1\) and \[\frac{1}{2} \times 3\]", "so x² + 1 and 1/2 × 3"),
        (r"$\frac{a}{b} \leq \sqrt{c}$", "a/b ≤ √c"),
        (r"$\text{price in euro} = n$", "price in euro = n"),
        ("$$x + y$$", "x + y"),
        ("$5 and $6, or 7$ and US$8.50", "$5 and $6, or 7$ and US$8.50"),
        ("$5, or $AAPL and $x for $y", "$5, or $AAPL and $x for $y"),
        ("## Hours\n| day | hours |\n|---|---|\n| Monday | nine |", "Hours\nday , hours \n\nMonday , nine "),
        ("- [ ] open\n- [x] done", "open\ndone"),
        ("Tom &amp; Ann, caf&eacute;, &quot;yes&quot;, it&#39;s", 'Tom and Ann, café, "yes", it\'s'),
        (
            "Ada's 'code_word' is A-7 (yes), ada@example.com, 3.14",
            "Ada's 'code_word' is A-7 (yes), ada@example.com, 3.14",
        ),
        ("<Guten Tag> and -> and =>", "Guten Tag and -> and =>"),
    ],
)
def test_signs_are_taken_out_and_meanings_are_not(written: str, spoken: str) -> None:
    """What lays out a text goes; prices, codes, names and comparisons stay."""
    assert clean(written) == spoken
    for length in (1, 2, 3, 7):
        assert streamed(written, length) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("penalties (<2%)", "penalties (less than 2%)"),
        ("it must weigh < 200 g", "it must weigh less than 200 g"),
        ("if x<y and z>w", "if x less than y and z>w"),
        ("It fell. <Mission failed; time limit eight hours>", "It fell. Mission failed; time limit eight hours"),
        ("a < b", "a less than b"),
        ("a<5 or 5<a", "a less than 5 or 5 less than a"),
        ("costs <$5 or < €6", "costs less than $5 or less than €6"),
        ("x <= 5", "x ≤ 5"),
        ("&lt;2% and a &lt; b", "less than 2% and a less than b"),
        ("Your code is <ABC123>.", "Your code is ABC123."),
        ("<größer als drei>", "größer als drei"),
        ("<b>bold</b>, <BR>, <p class='x'>par</p>, <answer>yes</answer>", "bold,  ,  par , yes"),
        ("see <https://example.com/a> or <ada@example.com>", "see example.com or ada@example.com"),
        ("a <- b", "a - b"),
        ("below <-5 °C, x<-2", "below less than -5 °C, x less than -2"),
        (">5 people\n> quoted\n>=3", ">5 people\nquoted\n>=3"),
        ("one<br/>two<br />three", "one two three"),
        ("see<https://example.com/a> or<ada+bob@example.com>", "seeexample.com orada+bob@example.com"),
        ("< ", " "),
    ],
)
def test_a_less_than_sign_takes_no_meaning_with_it(written: str, spoken: str) -> None:
    """It is said before what can be compared; around words it goes alone, and only with a tag what is in it."""
    assert clean(written) == spoken
    for length in (1, 2, 3, 7):
        assert streamed(written, length) == spoken


@pytest.mark.parametrize(
    ("language", "spoken"),
    [
        ("en-GB", "is less than 2%"), ("de-AT", "is weniger als 2%"), ("fr-FR", "is moins de 2%"),
        ("es-MX", "is menos de 2%"), ("it", "is meno di 2%"), ("pt-BR", "is menos de 2%"), ("nl", "is minder dan 2%"),
        ("pl", "is mniej niż 2%"), ("sv", "is mindre än 2%"), ("da", "is mindre end 2%"), ("no", "is mindre enn 2%"),
        ("fi", "is alle 2%"), ("ja", "is 2%未満"), ("ko", "is 2% 미만"), ("zh", "is 小于 2%"),
        ("multi", "is less than 2%"),
    ],
)  # fmt: skip
def test_a_less_than_sign_is_said_in_the_language_of_the_call(language: str, spoken: str) -> None:
    """Each language has its word, before the number or after it."""
    assert clean("is <2%", language) == spoken
    speech = SpeechFilter(language)
    assert "".join(map(speech.feed, "is <2%")) + speech.finish() == spoken


async def test_a_long_answer_lets_others_have_their_turn() -> None:
    """A megabyte of signs is looked at in small parts and only so far, and the event loop goes round in between."""
    rounds = 0

    async def count() -> None:
        nonlocal rounds
        while True:
            await trio.lowlevel.checkpoint()
            rounds += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        responder = SpokenResponder(ScriptedResponder(saying("|" * 1_000_000)))
        await responder.respond(TurnRequest(call=call_info(), turn=1, history=()), RecordedAnswer())
        nursery.cancel_scope.cancel()
    parts = list(slices("|" * 1_000_000))
    assert sum(map(len, parts)) == MOST_READ
    assert max(map(len, parts)) <= 1000
    assert rounds >= len(parts) // 2


@pytest.mark.parametrize(
    "endless",
    ["|", "](", "[", "<", "<a ", "<|", "<think>", "`", "{", '{"name": ', "$x+", "\\(", "&lt;", "[1]", "【", "x<"],
)
def test_no_more_than_the_window_waits(endless: str) -> None:
    """Whatever is fed, little of it is kept: a text takes work in proportion to its length."""
    speech = SpeechFilter()
    for part in slices(endless * 2000):
        speech.feed(part)
        stages = (speech._asides, speech._sources, speech._layout)
        assert all(len(stage._held) <= 200 for stage in stages)


def test_what_comes_after_too_much_is_dropped_unread() -> None:
    """Beyond what is read of one answer nothing is spoken, and the next answer begins anew."""
    speech = SpeechFilter()
    speech.feed("<think>" + "x" * MOST_READ)
    assert speech.feed("</think>late words") + speech.finish() == ""
    assert speech.feed("Hello.") + speech.finish() == "Hello."
