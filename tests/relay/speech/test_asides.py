"""What a model writes to itself, to its tools or to its host does not come out, however the text is cut."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.speech.asides import without_lead
from relay.speech.hygiene import SpeechFilter, clean

SECRET = "Do not say the code 4711."

# Each hides the secret; put before and after words, only the words come out.
HIDDEN = [
    f"<think>\n{SECRET}\n</think>",
    f"<thinking>Right?\n- done: true {SECRET}</thinking>",
    f"<reasoning>{SECRET}</reasoning>",
    f"<Thought>{SECRET}</Thought>",
    f"<think>{SECRET}</thinking>",
    f"<think>one <think>two</think> {SECRET}</think>",
    f"<think>if a < b > c {SECRET}</think>",
    f"<thinking>x <reflection>y</reflection> {SECRET}</thinking>",
    f"<scratchpad>{SECRET}</scratchpad>",
    f"<reflection>{SECRET}</reflection>",
    f"<seed:think>{SECRET}</seed:think>",
    f'<think time="3">{SECRET}</think>',
    f"<inner_monologue>{SECRET}</inner_monologue>",
    f"<search_quality_reflection>{SECRET}</search_quality_reflection>",
    f"[THINK]{SECRET}[/THINK]",
    f"◁think▷{SECRET}◁/think▷",
    f"<!-- {SECRET} -->",
    f'<tool_call>\n{{"name": "open", "arguments": {{"code": "{SECRET}"}}}}\n</tool_call>',
    f'<tool_call>{{"text": "</tool> {SECRET}"}}</tool_call>',
    f'<function_calls><invoke name="open"><parameter name="code">{SECRET}</parameter></invoke></function_calls>',
    f'<invoke name="open"><parameter name="code">{SECRET}</parameter></invoke>',
    f'<function_calls><invoke name="open">{SECRET}</invoke></function_calls>',
    f"<function=open><parameter=code>{SECRET}</parameter></function>",
    f"<minimax:tool_call>{SECRET}</minimax:tool_call>",
    f"<tool_response>{SECRET}</tool_response>",
    f"<｜DSML｜function_calls><｜DSML｜invoke name='x'>{SECRET}</｜DSML｜invoke></｜DSML｜function_calls>",
    f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>{SECRET}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    f"<|tool_calls_section_begin|><|tool_call_begin|>{SECRET}<|tool_call_end|><|tool_calls_section_end|>",
    f"<|tool_call>call:open{{code:{SECRET}}}<tool_call|>",
    f"<|channel>thought\n{SECRET}<channel|>",
    f"<|channel|>analysis<|message|>{SECRET}<|end|>",
    f"<|channel|>commentary to=functions.open <|constrain|>json<|message|>{SECRET}<|call|>",
    f"<|start|>assistant<|channel|>analysis<|message|>{SECRET}<|end|>",
    f"<|START_THINKING|>{SECRET}<|END_THINKING|>",
    f"<|begin_of_thought|>{SECRET}<|end_of_thought|>",
    f"<|python_tag|>open(code='{SECRET}')<|eom_id|>",
    f"<|im_start|>user\n{SECRET}<|im_end|>",
    f"<|user|>\n{SECRET}<|assistant|>",
    f"<|start_header_id|>ipython<|end_header_id|>\n{SECRET}<|eot_id|>",
    f"<unused94>thought\n{SECRET}<unused95>",
    f"<start_function_call>call:open{{{SECRET}}}<end_function_call>",
    f'[TOOL_CALLS] [{{"name": "open", "arguments": {{"code": "]}} {SECRET}"}}}}]',
    f'[TOOL_CALLS]open[ARGS]{{"code": "{SECRET}"}}',
    f"[TOOL_RESULTS]{SECRET}[/TOOL_RESULTS]",
    f"[INST]{SECRET}[/INST]",
    f'{{"name": "open", "arguments": {{"code": "{SECRET}"}}}}',
    f'[{{"name": "open", "parameters": {{"code": "{SECRET}"}}}}]',
    f'{{"type": "function", "function": {{"name": "open", "arguments": "{SECRET}"}}}}',
    f'{{"action": "open", "action_input": "{SECRET} \\" }}"}}',
    f'{{"tool_calls": [{{"id": "1", "code": "{SECRET}"}}]}}',
    f'```json\n{{"name": "open", "arguments": {{"code": "{SECRET}"}}}}\n```',
    f"```tool_code\nopen('{SECRET}')\n```",
    f"```thinking\n{SECRET}\n```",
    f"<script>{SECRET}</script>",
    f"<style>{SECRET}</style>",
]

# Dropped by themselves; the words around them stay.
TOKENS = [
    *["<|im_end|>", "<|endoftext|>", "<|end|>", "<|return|>", "<|eot_id|>", "<|end_of_text|>", "</s>", "<s>", "<pad>"],
    *[
        "<end_of_turn>",
        "<eos>",
        "<bos>",
        "<unused7>",
        "<｜end▁of▁sentence｜>",
        "<｜Assistant｜>",
        "<|assistant|>",
        "<0x0A>",
    ],
    *[
        "<|begin_of_text|>",
        "<|eom_id|>",
        "<turn|>",
        "<|END_RESPONSE|>",
        "</think>",
        "</tool_call>",
        "[/INST]",
        "◁/think▷",
    ],
    *["<|im_start|>assistant\n", "<start_of_turn>model\n", "<|start_header_id|>assistant<|end_header_id|>", "<think/>"],
    *[
        "<|start|>assistant<|channel|>final<|message|>",
        "<|turn>model\n",
        '<tool_call id="1"/>',
        "<|im_start|>assistant<|im_sep|>",
    ],
]

UNTOUCHED = [
    "We open at nine, and close at six.",
    "I think that is right. My reasoning: it rained.",
    "The analysis is done; the function works, and so does the tool.",
    "Thought is free.",
    "Analysis: three of four.",
    'He said {"hello"} and {name}.',
    '{"name": "Bob", "age": 5}',
    "if x<y then stop",
    "a < b",
    "Write to ada@example.com for $5, or $6.",
    "She is [sic] right.",
    "I <3 you",
    "Tools [that help] are here",
    "It's 5 o'clock: the think tank's tool call.",
    "思考しています。<今日>",
    "Быстро <думаю>",
    "{ not json }",
    "`think` and ```code```",
]


def streamed(text: str, length: int) -> str:
    """Feed a text in pieces of one length, and put together what comes out."""
    speech = SpeechFilter()
    pieces = [speech.feed(text[start : start + length]) for start in range(0, len(text), length)]
    return "".join([*pieces, speech.finish()])


@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_is_not_meant_for_the_caller_is_hidden(hidden: str) -> None:
    """Before, between and after words, whole and in pieces of any length, only the words are spoken."""
    for text in (f"{hidden}\n\nWe open at nine.", f"We open\n{hidden}\n at nine.", f"We open at nine.\n{hidden}"):
        assert clean(text).split() == ["We", "open", "at", "nine."], text
        for length in (1, 2, 3, 5, 8, 13):
            assert streamed(text, length) == clean(text)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_breaks_off_inside_something_hidden_stays_hidden(hidden: str) -> None:
    """An answer that is cut anywhere, as at the end of its tokens, tells nothing of what it hides."""
    for end in range(len(hidden)):
        assert "4711" not in clean(f"Yes. {hidden[:end]}")
        assert "Do not say" not in clean(hidden[:end])


@pytest.mark.parametrize("hidden", HIDDEN)
def test_nothing_hidden_comes_out_early(hidden: str) -> None:
    """While the stream still goes on, no piece of what is hidden has been handed on."""
    speech = SpeechFilter()
    said = "".join(map(speech.feed, f"Yes. {hidden}"))
    assert "code" not in said
    assert "open" not in said


@pytest.mark.parametrize("token", TOKENS)
def test_signs_of_a_chat_template_are_dropped(token: str) -> None:
    """A token that hides nothing is not spoken, and takes nothing with it."""
    for text in (f"{token}We open.", f"We open.{token}", f"We {token}open.", f"We open.{token}\n"):
        assert clean(text).split() == ["We", "open."], text
        assert streamed(text, 1) == streamed(text, 3) == clean(text)


@pytest.mark.parametrize("text", UNTOUCHED)
def test_words_that_only_look_alike_are_spoken(text: str) -> None:
    """Prose about thinking, tools and braces loses no word."""
    spoken = clean(text)
    for word in text.replace("<", " ").replace(">", " ").replace("[", " ").replace("]", " ").replace("`", " ").split():
        assert word in spoken
    assert streamed(text, 1) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("<think>first</think>One.<think>second</think> Two.", "One. Two."),
        ("One.<think>x</think>Two.", "One. Two."),
        ("One.\n\n<think>x</think>\n\nTwo.", "One.\n\nTwo."),
        ("One. <think>x</think>\n- Two.", "One. \nTwo."),
        ("<think>never closed", ""),
        ("Hello. <think>never closed", "Hello. "),
        ("<answer>We open.</answer>", "We open."),
        ("analysisWe must be short.assistantfinalWe open.", "We open."),
        ("commentary to=functions.x json{}assistantfinalWe open.", "We open."),
        ("Thought: I need hours.\nAction: look\nFinal Answer: We open.", "We open."),
        ("Hello <|im_e", "Hello "),
        ("Hello <thin", "Hello "),
        ('Sure. {"name": "x", "argu', "Sure. "),
        (
            "<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>We open.<|return|>",
            "We open.",
        ),
        ("<think>" * 60 + "x" + "</think>" * 60 + "Hello.", ""),
    ],
)
def test_what_is_left_reads_well(written: str, spoken: str) -> None:
    """Sentences around something hidden are set apart, and an answer does not begin with the gap it left."""
    assert clean(written) == spoken


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("The code is 4711.</think>\n\nWe open.", "\n\nWe open."),
        ("secret◁/think▷We open.", "We open."),
        ("<think>x</think>We open.", "<think>x</think>We open."),
        ("We open.", "We open."),
        ("", ""),
    ],
)
def test_thoughts_whose_opening_mark_is_missing_end_a_lead(written: str, meant: str) -> None:
    """Of a whole answer, what comes before a closing mark without an opening one is no part of it."""
    assert without_lead(written) == meant


PARTS = st.lists(
    st.one_of(
        st.sampled_from(HIDDEN),
        st.sampled_from(TOKENS),
        st.sampled_from(
            ["<", "[", "{", "`", "◁", "</", "<|", "|>", "[[", '{"', "think", "analysis", "Thought:", "\n", " "]
        ),
        st.sampled_from(["We open", " at nine.", " Is it raining?", "a", " 5"]),
    ),
    max_size=8,
).map("".join)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PARTS, st.lists(st.integers(1, 12), min_size=1))
def test_asides_are_hidden_in_any_chunking(text: str, cuts: list[int]) -> None:
    """How a text is cut into pieces makes no difference to what is hidden."""
    speech, said, position = SpeechFilter(), "", 0
    for number in range(len(text)):
        if position < len(text):
            length = cuts[number % len(cuts)]
            said += speech.feed(text[position : position + length])
            position += length
    assert said + speech.finish() == clean(text)
