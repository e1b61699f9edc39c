"""Streamed pieces come out in order, and what is said in the end is the final answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mcp.pieces import CHARACTERS_SAID, CHARACTERS_WAITING, PIECES_HELD_BACK, Pieces, text_of, unsaid


@given(
    st.lists(st.text(min_size=1, max_size=5), max_size=30).flatmap(
        lambda texts: st.tuples(st.just(texts), st.permutations(range(len(texts))))
    )
)
def test_pieces_in_any_order_make_the_same_text(case: tuple[list[str], list[int]]) -> None:
    """However the pieces are shuffled, they are spoken in the order of their numbers."""
    texts, arrival = case
    pieces = Pieces()
    spoken = ""
    for index in arrival:
        pieces.add(index + 1, texts[index])
        spoken += pieces.take()
    assert spoken == pieces.said == "".join(texts)


@given(st.text(max_size=40), st.integers(0, 40))
def test_said_and_unsaid_make_the_final_answer(final: str, cut: int) -> None:
    """The beginning that was said and the rest are the final answer, whatever the characters."""
    said = final[:cut]
    assert "".join((said + unsaid(final, said)).split()) == "".join(final.split())


def test_piece_that_came_before_is_ignored() -> None:
    """A number used twice is spoken once, with the text that came first."""
    pieces = Pieces()
    pieces.add(1, "one")
    pieces.add(1, "uno")
    pieces.add(3, "three")
    pieces.add(3, "tres")
    pieces.add(2, "two")
    assert pieces.take() == "onetwothree"


@pytest.mark.parametrize("number", [0, -1, 1.5, float("inf"), float("nan")])
def test_piece_with_an_odd_number_is_ignored(number: float) -> None:
    """Only whole numbers from one are pieces."""
    pieces = Pieces()
    pieces.add(number, "what?")
    pieces.add(1, "one")
    assert pieces.take() == "one"


def test_number_of_pieces_held_back_is_bounded() -> None:
    """A client that leaves a gap and goes on for ever costs no more than the bound."""
    pieces = Pieces()
    for number in range(2, 1000):
        pieces.add(number, str(number))
    pieces.add(1, "1")
    assert pieces.take() == "".join(str(number) for number in range(1, PIECES_HELD_BACK + 2))


def test_length_of_what_waits_to_be_spoken_is_bounded() -> None:
    """Pieces beyond the bound are dropped with all that follow, and what is taken makes room again."""
    pieces = Pieces()
    pieces.add(1, "x" * CHARACTERS_WAITING)
    pieces.add(2, "y")
    assert pieces.take() == "x" * CHARACTERS_WAITING
    pieces.add(2, "z")
    assert pieces.take() == "z"


def test_answer_that_does_not_continue_the_pieces_is_said_whole() -> None:
    """The final answer is authoritative when the client changed its mind."""
    assert unsaid("No.", "Yes, of cou") == " No."


def test_answer_shorter_than_the_pieces_is_said_whole() -> None:
    """A final answer that stops before the pieces do is no continuation of them."""
    assert unsaid("Yes", "Yes, of course") == " Yes"


@pytest.mark.parametrize(
    ("final", "said", "rest"),
    [
        ("Hello world.", "", "Hello world."),
        (" Hello", "  ", "Hello"),
        ("Hello world.", "Hel", "lo world."),
        ("Hello world.", "Hello", " world."),
        ("Hello world.", "Hello ", "world."),
        ("Hello  world.", "Hello\nwor", "ld."),
        ("Hello world.", "Helloworld", "."),
        ("a" + " " * 900_000 + "b", "ab", ""),
        ("a " * 450_000, "a a", " " + "a " * 449_998),
        ("Hello world.", "Hello there", " Hello world."),
        ("", "x", " "),
    ],
    ids=range(11),
)
def test_rest_begins_where_the_pieces_end(final: str, said: str, rest: str) -> None:
    """What was said is found in the answer whatever its white space, and what is left is left as it is."""
    assert unsaid(final, said) == rest


def test_said_is_bounded() -> None:
    """A client that streams without end is heard up to a bound; the rest would come with its final answer."""
    pieces = Pieces()
    for number in range(1, 12):
        pieces.add(number, "x" * CHARACTERS_WAITING)
        pieces.take()
    assert CHARACTERS_SAID < len(pieces.said) <= CHARACTERS_SAID + CHARACTERS_WAITING


def test_white_space_trimmed_from_the_answer_does_not_count() -> None:
    """A client that trims its final answer has still said it in pieces."""
    assert unsaid("Hello world.", " Hello  world. ") == ""


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"type": "text", "text": "Hi"}, "Hi"),
        ([{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}], "Hi\nthere"),
        ([], None),
        ({"type": "image", "data": "", "mimeType": "image/png"}, None),
        ([{"type": "text", "text": "Hi"}, {"type": "audio"}], "Hi"),
        ([{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "1", "name": "x", "input": {}}], "Hi"),
        ([{"type": "thinking", "thinking": "hidden"}, {"type": "text", "text": "Hi"}], "Hi"),
        ([{"type": "redacted_thinking", "data": "eA=="}, {"type": "text", "text": "Hi"}], "Hi"),
        ([{"type": "reasoning", "text": "hidden"}, {"type": "text", "text": "Hi"}], "Hi"),
        ([{"type": "image", "data": "", "mimeType": "image/png"}, {"type": "text", "text": "Hi"}], "Hi"),
        (
            [
                {"type": "text", "text": "Hi"},
                {"type": "resource_link", "uri": "a:b"},
                {"type": "text", "text": "there"},
            ],
            "Hi\nthere",
        ),
        ([{"type": "text", "text": "Hi"}, {"no": "type"}], "Hi"),
        ([{"type": "text", "text": None}, {"type": "text", "text": "Hi"}], "Hi"),
        ([None, 7, "a string", ["a list"], {"type": "text", "text": "Hi"}], "Hi"),
        ([{"type": ["text"], "text": "hidden"}, {"type": "text", "text": "Hi"}], "Hi"),
        ([{"type": "tool_use", "id": "1", "name": "x", "input": {}}], None),
        ([{"type": "thinking", "thinking": "hidden"}], None),
        ({"type": "text", "text": 7}, None),
        ("Hi", None),
        (None, None),
    ],
)
def test_only_text_is_read(content: object, text: str | None) -> None:
    """The text blocks are the answer, whatever stands beside them; without one there is none."""
    assert text_of({"content": content}) == text
