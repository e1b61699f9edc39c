"""What a program prints, as answers: each form once, and what is no answer."""

from __future__ import annotations

import pytest

from relay.attach.answer_lines import LONGEST_LINE, AnswerLine, BadLine, Lines, read_line


@pytest.mark.parametrize("text", ["It is Tuesday.", '"quoted"', "42", "[1, 2]", "Grüß Gott 🙂"])
def test_what_is_no_object_is_plain_text(text: str) -> None:
    """Whatever does not begin with a brace is spoken as it stands."""
    assert read_line(f" {text} \r".encode()) == text


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        (b'{"partial": "One. "}', "partial", "One. "),
        (b'{"callSid": "CA1", "turn": 2, "text": "All."}', "text", "All."),
        (b'{"turn": 2, "done": true}', "done", True),
        (b' {"turn": 2, "error": "down", "more": 1}', "error", "down"),
    ],
)
def test_an_object_is_an_answer(line: bytes, field: str, value: object) -> None:
    """Each of the four fields makes an answer; fields that nobody knows are left for later."""
    answer = read_line(line)
    assert isinstance(answer, AnswerLine)
    assert getattr(answer, field) == value


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{broken", "Invalid JSON"),
        (b'{"turn": 1}', "exactly one"),
        (b'{"turn": 1, "done": false}', "exactly one"),
        (b'{"text": "a", "partial": "b"}', "exactly one"),
        (b'{"turn": "first", "text": "a"}', "turn: "),
        (b'{"text": 7}', "text: "),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_what_is_no_answer_says_why(line: bytes, why: str) -> None:
    """A line that is meant as JSON and is none, or says nothing or two things, is refused with the reason."""
    with pytest.raises(BadLine, match=why):
        read_line(line)


def test_what_an_answer_leaves_out_fits_any_turn() -> None:
    """An answer that names no call may belong to any with that turn."""
    answer = AnswerLine(turn=2, done=True)
    assert answer.is_about("CA1", 2)
    assert not answer.is_about("CA1", 3)


def test_lines_come_whole_however_they_were_read() -> None:
    """A line that arrives in scraps is put together, also where a character is cut in two."""
    lines = Lines()
    data = "Grüß\nGott\n".encode()
    assert [line for at in range(len(data)) for line in lines.feed(data[at : at + 1])] == ["Grüß".encode(), b"Gott"]


def test_a_line_without_end_is_left_out() -> None:
    """What exceeds the limit is dropped up to its end, and the line after it is read."""
    lines = Lines()
    assert lines.feed(b"x" * (LONGEST_LINE + 1)) == []
    assert lines.feed(b"x" * 10) == []
    assert lines.feed(b"the rest\nnext\n") == [b"next"]
