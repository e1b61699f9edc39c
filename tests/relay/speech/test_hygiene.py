"""What comes out of the speech filter: for whole texts, for streams cut anywhere, and beside a real markdown parser."""

from __future__ import annotations

import re

import emoji
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from relay.speech.hygiene import WINDOW, SpeechFilter, clean

# A busy machine must not fail a test.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

GAPS = st.sampled_from([" ", " ", ", ", ". ", "! ", "? ", "; ", ": ", " – ", "’s ", "…", ' "', ") (", "\n"])
WORDS = st.text(
    st.characters(categories=["L", "M", "N"], exclude_characters="\ufe0e\ufe0f\u20e3⁰¹²³⁴⁵⁶⁷⁸⁹"), min_size=1, max_size=8
).filter(lambda word: emoji.emoji_count(word) == 0 and not word.lower().startswith(("http", "www", "ftp")))
PROSE = st.lists(st.tuples(WORDS, GAPS), max_size=30).map(lambda pairs: "".join(map("".join, pairs)))
MARKERS = [
    *[" ", "  ", "\n", "\n\n", "\t", ".", ", ", "!", "?", "-", "- ", "+ ", "* ", "> ", "# ", "### ", "#", "1. ", "---"],
    *["===", "*", "**", "***", "_", "__", "~", "~~", "`", "``", "```", "```python\n", "|", "| ", "|---|", ":-:"],
    *["[", "]", "(", ")", "](", "![", "[x] ", "\\", "\\*", "<", ">", "<b>", "</b>", "<br/>", "&", "&amp;", "&lt;"],
    *["https://example.com/a_(b)*c. ", "(http://a.de)", " ftp://x.y/z ", "example.com/", "x@y.z", "<https://x.y>"],
    *["😀", "👨‍👩‍👧", "🇩🇪", "❤️", "❤", "1️⃣", "👋🏽", "\u200d", "\ufe0f", "\u200b", "\x00", "\r\n", "\ud800", "™"],
    *["5", "5*3", "snake_case", "-" * 150, "x" * 150, " " * 150],
]
MARKUP = st.lists(st.one_of(WORDS, st.sampled_from(MARKERS)), max_size=25).map("".join)
BEGUN = [" h", "ht", "http", "https:/", "https://", " w", "www", "www.", "ftp:"]
ANYTHING = st.lists(st.one_of(MARKUP, st.sampled_from(BEGUN)), max_size=4).map("".join)
CUTS = st.lists(st.integers(1, 12), min_size=1)


def streamed(text: str, cuts: list[int]) -> str:
    """Feed a text in pieces of the given lengths, over and over, and put together what comes out."""
    said: list[str] = []
    speech, position = SpeechFilter(), 0
    while position < len(text):
        length = cuts[len(said) % len(cuts)]
        said.append(speech.feed(text[position : position + length]))
        position += length
    return "".join([*said, speech.finish()])


@UNHURRIED
@given(PROSE, CUTS)
def test_plain_prose_passes_unchanged_however_it_is_cut(text: str, cuts: list[int]) -> None:
    """Plain prose comes out as it went in, spaces included, whatever the pieces are."""
    assert streamed(text, cuts) == text


@UNHURRIED
@given(ANYTHING, CUTS)
def test_a_stream_says_what_the_whole_text_says(text: str, cuts: list[int]) -> None:
    """How a text is cut into pieces makes no difference, whatever markup is in it."""
    assert streamed(text, cuts) == clean(text)


@UNHURRIED
@given(MARKUP)
def test_nothing_that_belongs_on_a_screen_is_ever_spoken(text: str) -> None:
    """No emoji, doubled marker, marker that touches a word, address, bracket, tag or control character comes out."""
    spoken = clean(text)
    assert emoji.emoji_count(spoken) == 0
    assert not re.search(r"\*\*|(?<=[^\s\d])\*|\*(?=[^\s\d])", spoken)
    assert not re.search(r"``|(?<![0-9A-Za-z])(?:https?|ftp)://|[\[\]<&|\x00-\x08\x0b-\x1f\ud800-\udfff]", spoken)


@UNHURRIED
@given(ANYTHING)
def test_what_was_cleaned_can_be_sent(text: str) -> None:
    """What comes out can be encoded, even when half a surrogate pair came in."""
    clean(text).encode()


INLINE = st.one_of(
    st.sampled_from(["opening hours", "nine", "Monday", "call us"]),
    st.sampled_from(
        ["**bold words**", "*leaning*", "***both***", "__bold too__", "_leaning too_", "~~gone~~", "`code`"]
    ),
    st.sampled_from(["[our page](https://example.com/a_(b))", '[shop](shop.html "Title")', "![a picture](p.png)"]),
    st.sampled_from(["**bold with [a link](x.html)**", "[**bold** link](x.html)", "&amp;", "C\\#", "2 * 3"]),
)
SENTENCE = st.lists(INLINE, min_size=1, max_size=6).map(" ".join)
BLOCK = st.one_of(
    SENTENCE,
    st.tuples(st.integers(1, 6), SENTENCE).map(lambda each: f"{'#' * each[0]} {each[1]}"),
    st.lists(SENTENCE, min_size=1, max_size=3).map(lambda items: "\n".join(f"- {item}" for item in items)),
    st.lists(SENTENCE, min_size=1, max_size=3).map(lambda items: "\n".join(f"* {item}" for item in items)),
    SENTENCE.map(lambda text: f"> {text}"),
    SENTENCE.map(lambda text: f"{text}\n==="),
    st.just("---"),
    st.just("```python\nprint one\n```"),
    st.tuples(SENTENCE, SENTENCE).map(lambda row: f"| left | right |\n|:---|---:|\n| {row[0]} | {row[1]} |"),
)


@UNHURRIED
@given(st.lists(BLOCK, min_size=1, max_size=5).map("\n\n".join))
def test_the_words_are_those_that_a_markdown_parser_finds(text: str) -> None:
    """For the markup that clients write, the words that are spoken are those that a CommonMark parser would print."""
    assert words(clean(text)) == words(printed(text))


def printed(text: str) -> str:
    """Return the text that a markdown parser prints, without any markup."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    printed: list[str] = []
    for token in parser.parse(text):
        printed.append(token.content if token.type == "fence" else "\n")
        printed.extend(child.content if child.type != "softbreak" else "\n" for child in token.children or ())
    return "".join(printed)


def words(text: str) -> list[str]:
    """Return the words, with what the two sides write differently made equal: cells, and how `&` is said."""
    return [word for word in re.split(r"[\s,]+", text) if word not in {"", "&", "and"}]


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("It **is** *really* __so__ _true_.", "It is really so true."),
        ("**Note:** call `us` ~~now~~ later", "Note: call us now later"),
        ("2 * 3 = 6 and 5*3 = 15", "2 * 3 = 6 and 5*3 = 15"),
        ("snake_case and __init__ and a _ b", "snake_case and init and a _ b"),
        ("in ~5 minutes", "in ~5 minutes"),
        ("un**believ**able", "unbelievable"),
        ("**never closed", "never closed"),
        ("# Title\n## Part ##x\n#1 choice", "Title\nPart ##x\n#1 choice"),
        ("- milk\n* bread\n+ eggs\n- [x] done\n- [ ] open", "milk\nbread\neggs\ndone\nopen"),
        ("1. first\n2. second", "1. first\n2. second"),
        ("-5 degrees\n+49 30 1234\n-- Bob", "-5 degrees\n+49 30 1234\n-- Bob"),
        ("> quoted\n>> twice", "quoted\ntwice"),
        ("one\n---\ntwo\n***\nthree\n- - -", "one\n\ntwo\n\nthree\n"),
        ("```python\nprint(1)\n```", "\nprint(1)\n"),
        ("```inline``` code", "inline code"),
        ("| a | b |\n|---|:-:|\n| 1 | 2 |", "a , b \n\n1 , 2 "),
        ("[our page](https://x.org/a_(b) 'T') or [that][1]", "our page or that"),
        ("![a cat](cat.png)!", "a cat!"),
        ("see https://www.example.com/a_b?c=d#e.", "see example.com."),
        ("(www.example.de/x), http://localhost:8080!", "(example.de), localhost!"),
        ("**https://user:secret@x.org/** <https://y.org/z>", "x.org y.org"),
        ("请看https://x.cn/a吧", "请看x.cn"),
        ("write to <info@x.org>", "write to info@x.org"),
        ("Great! 🎉 Hello 👋🏽 there 👨‍👩‍👧", "Great! Hello there "),
        ("👍 Yes™ ❤️", "Yes "),
        ("1️⃣ first", "1 first"),
        ("a<b>bold</b> <break time='1s'/>word<br>next", "abold word next"),
        ("3 < 5 > 4", "3 less than 5 > 4"),
        ("AT&T, R&amp;D, you & me && them", "AT and T, R and D, you and me and them"),
        ("&lt;b&gt; caf&eacute;&nbsp;&#128512;&#104;i &unknown;", "b> café hi and unknown;"),
        ("\\*not\\* bold, C:\\Users\\", "not bold, C:\\Users"),
        ("a\x00b\u200b\u202ec\r\nd\ufeff", "abc\nd"),
        ("می‌خواهم ക്‍ഷ", "می‌خواهم ക്‍ഷ"),
        ("", ""),
        ("*", ""),
        (" - ", ""),
    ],
)
def test_markup_is_taken_out(written: str, spoken: str) -> None:
    """Each kind of markup is dropped or said as words, and what only looks like it is kept."""
    assert clean(written) == spoken


@pytest.mark.parametrize(
    ("language", "spoken"),
    [("de-DE", "Kaffee und Kuchen"), ("FR", "Kaffee et Kuchen"), ("multi", "Kaffee and Kuchen")],
)
def test_an_ampersand_is_said_in_the_language_of_the_call(language: str, spoken: str) -> None:
    """`&` is said as the language's word for it, in English where that is not known."""
    assert clean("Kaffee & Kuchen", language) == spoken


@pytest.mark.parametrize(
    "pieces",
    [
        [("Hel", "Hel"), ("lo", "lo"), (" there", " there")],
        [("It is **", "It is "), ("so", "so"), (" easy** now", " easy now")],
        [("[our", "our"), (" page", " page"), ("](https", ""), ("://x.org)", ""), (" is", " is")],
        [("see http", "see "), ("s://x.o", ""), ("rg/a", ""), (" for", "x.org for")],
        [("w", ""), ("e", "we"), (" ho", " ho")],
        [("one\n", "one\n"), ("-", ""), (" ", ""), ("two", "two")],
        [("a ", "a "), ("👋", ""), (" b", "b")],
        [("5*", "5"), ("3", "*3")],
    ],
)
def test_only_what_may_still_be_markup_is_held_back(pieces: list[tuple[str, str]]) -> None:
    """Words are spoken the moment they come; only a marker that its next characters decide about has to wait."""
    speech = SpeechFilter()
    assert [speech.feed(piece) for piece, _ in pieces] == [spoken for _, spoken in pieces]


@pytest.mark.parametrize(
    "endless", ["<a ", "](", "https://", "www.", "&amp", "- ", "|", "```", "[", "*", "_", "\\", "!", "#", " ", "🎉 "]
)
def test_never_more_than_the_window_is_held_back(endless: str) -> None:
    """Markup that never ends holds back no more than the window: whatever follows is spoken."""
    speech = SpeechFilter()
    speech.feed(endless * 300 + "x" * WINDOW)
    assert "then words" in speech.feed("\nand then words and")


def test_an_address_longer_than_the_window_is_still_not_read_aloud() -> None:
    """Of an endless address only the host is said, and then the words after it."""
    assert clean(f"see https://x.org/{'a1' * 500} for more") == "see x.org for more"


def test_a_filter_is_as_new_when_it_was_finished() -> None:
    """After the end of one text, the next one begins at the start of a line."""
    speech = SpeechFilter()
    assert speech.feed("one") + speech.finish() == "one"
    assert speech.feed("- two") + speech.finish() == "two"
