"""A stream of text cut where sentences end."""

from __future__ import annotations

import pytest

from relay.attach.claude_brain import Sentences


def cut(text: str) -> list[str]:
    """Feed a text by the character and return what comes out."""
    sentences = Sentences()
    return [complete for each in text if (complete := sentences.feed(each))]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("It is Tuesday. Anything else?", ["It is Tuesday. "]),
        ("Really?! Yes. ", ["Really?! ", "Yes. "]),
        ('He said "no." Then he left.', ['He said "no." ']),
        ("It costs 3.14 euros", []),
        ("今日は火曜日です。他に", ["今日は火曜日です。"]),
        ("First\nSecond", ["First\n"]),
        (". . .", []),
    ],
)
def test_a_sentence_comes_once_it_is_known_to_end(text: str, pieces: list[str]) -> None:
    """A piece is complete with the space after its end; what may go on is held back."""
    assert [each for each in cut(text) if each.strip(". ")] == pieces


def test_all_complete_sentences_come_at_once() -> None:
    """A long piece of the stream is not cut smaller than it came."""
    assert Sentences().feed("One. Two. Thr") == "One. Two. "


def test_the_text_is_kept_whole() -> None:
    """The final answer is everything that was fed, cut or not."""
    sentences = Sentences()
    sentences.feed("One. ")
    sentences.feed("Two")
    assert sentences.text == "One. Two"
