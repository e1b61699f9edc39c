"""What a model writes that is not meant for the caller: its thoughts, its orders to tools, the signs of its template.

    pieces of an answer ──feed──▶ AsideFilter ──▶ pieces that are meant for the caller ──finish──▶ the rest

A client should take these out; many do not, because a screen folds them away. Spoken, they tell a stranger what the
operator wrote in confidence ("do not say the code"), so the filter errs on the side of silence: what was opened and
never closed is hidden to the end of the answer, which is then no answer, and the next path is walked.

Three kinds are known:

- *spans*, between an opening and a closing mark: `<think>…</think>`, `[TOOL_CALLS][…]`, a fence of `tool_code`, a
  JSON object that calls a tool. An opening mark is held back until it is known for one, the span itself never is:
  while it lasts everything is dropped as it comes. Tags may be nested, and a tag may close those inside it.
- *tokens* of a chat template, such as `<|im_end|>`. Most are dropped by themselves; those that begin a thought, a call,
  or a message to or from somebody else hide what follows, up to the next one that ends it.
- *openings*, known only at the very start of an answer: a channel's name whose tokens were lost ("analysisWe …").

A reasoning text whose opening mark was part of the prompt, so that only its closing mark comes, cannot be known from
its first words: the mark is dropped, and what came before it was spoken already. `without_lead` is for answers that
come whole. The parsers of inference servers were the alternative. They lost because each knows the one template of its
own model, and here nobody says which model answers.
"""

from __future__ import annotations

import re
from typing import Protocol

import attrs

WINDOW = 200
"""The most characters that are held back while an opening mark may be one, and the longest tag that is recognised."""

_SURE = 3
"""Letters of a private tag's name after which an answer that ends there is taken to have been cut off in it."""

_DEEPEST = 50
"""The depth of nested tags; deeper text is hidden to the end."""

_THOUGHTS = frozenset({
    "think", "thinking", "thinks", "thought", "thoughts", "thought_process", "thinking_process", "reasoning",
    "reason", "reflection", "reflect", "self_reflection", "scratchpad", "scratch_pad", "analysis", "inner_monologue",
    "internal_monologue", "monologue", "inner_thoughts", "internal_thoughts", "internal", "hidden",
    "chain_of_thought", "cot", "planning", "plan", "deliberation", "antthinking", "commentary", "critique",
    "rationale", "search_quality_reflection", "search_quality_score", "system-reminder", "system_reminder",
})  # fmt: skip
_CALLS = frozenset({
    "tool_call", "tool_calls", "toolcall", "tool", "tools", "tool_use", "tool_uses", "tool_code", "tool_response",
    "tool_responses", "tool_result", "tool_results", "tool_output", "tool_outputs", "tool_input", "function_call",
    "function_calls", "functioncall", "function", "functions", "function_result", "function_results",
    "function_response", "function_output", "invoke", "parameter", "parameters", "arguments", "use_mcp_tool",
    "access_mcp_resource", "use_tool", "mcp_tool", "action", "action_input", "observation", "execute",
    "code_execution", "script", "style", "noscript", "svg", "head", "template", "ref",
})  # fmt: skip
_PRIVATE = _THOUGHTS | _CALLS
_NAMES = "|".join(sorted(map(re.escape, _PRIVATE), key=len, reverse=True))
_SPACE_NAME = r"(?:[\w｜]{1,20}[:｜])?"
_PRIVATE_TAG = re.compile(rf"<(/?){_SPACE_NAME}({_NAMES})(?=[\s>/=])([^<>]{{0,130}})>", re.IGNORECASE)
_OPENER = re.compile(rf"<{_SPACE_NAME}({_NAMES})(?:\s{{0,9}}/?>|=|\s{{1,9}}[\w:.-]{{1,40}}\s?=)", re.IGNORECASE)
_OPENER_BEGUN = re.compile(rf"<{_SPACE_NAME}(?:{_NAMES})\s{{0,9}}(?:/?|\s[\w:.-]{{1,40}}\s?)", re.IGNORECASE)
_CLOSER = re.compile(rf"</{_SPACE_NAME}(?:{_NAMES})\s{{0,9}}>", re.IGNORECASE)
_CLOSER_BEGUN = re.compile(rf"</{_SPACE_NAME}(?:{_NAMES})\s{{0,9}}", re.IGNORECASE)
_TAG_BEGUN = re.compile(r"</?(?:[\w｜]{0,20}[:｜])?([\w.-]{0,30})")
_COMMENT = "<!--"

# Both bars: a token. Left bar alone: it opens something; right bar alone: it closes it.
_TOKEN = re.compile(r"<(?:([|｜])[ ]?([^<>|｜\n]{1,60}?)[ ]?([|｜]?)|([\w/]{1,40})([|｜]))>")
_TOKEN_BEGUN = re.compile(r"<(?:[|｜][^<>|｜\n]{0,62}[|｜]?|[\w/]{1,40}[|｜])")
_MESSAGE_ENDS = frozenset({
    "end", "return", "call", "im_end", "eot_id", "eom_id", "eot", "eom", "eos", "end_of_text", "endoftext",
    "end_of_sentence", "end_of_turn", "end_of_turn_token", "end_of_message",
})  # fmt: skip
_HEADERS = frozenset({
    "start", "channel", "im_start", "start_header_id", "header_start", "start_of_role", "start_of_turn_token", "turn",
})  # fmt: skip
_ROLES = frozenset({
    "user", "human", "system", "developer", "observation", "tool", "ipython", "environment", "user_token",
    "system_token",
})  # fmt: skip
_ANSWERERS = frozenset({
    "assistant", "model", "chatbot_token", "assistant_token",
})  # fmt: skip
_WORK = re.compile(r"think|thought|reason|tool|call|action|python|function|plan")
_HEADER_END = re.compile(
    r"\n|<[|｜](?:(message|end_header_id|header_end|end_of_role|im_sep)|end|return|call|im_end|eot_id)[|｜]>"
)
_LONGEST_HEADER = 120
_PRIVATE_HEADER = re.compile(
    r"analysis|commentary|thought|thinking|reasoning|critique|\bto=|^\s*(?:user|human|system|developer|tool|ipython|"
    r"observation|environment|functions?)\b",
    re.IGNORECASE,
)
_BARE_TOKEN = re.compile(
    r"</?(?:s|bos|eos|pad|unk|mask|sep|cls|(unused94)|unused\d{1,4}|(start_of_turn)|end_of_turn|end_of_utterance|"
    r"(?:start|end)_of_(?:image|audio)|(start_function_\w{1,20})|end_function_\w{1,20}|0x[0-9A-Fa-f]{2})>"
)

_BRACKETS = (
    "think", "thinking", "reasoning", "tool_calls", "tool_results", "tool_content", "available_tools",
    "system_prompt", "inst", "args", "call_id",
)  # fmt: skip
_BRACKET = re.compile(rf"\[(/?)({'|'.join(_BRACKETS)})\]", re.IGNORECASE)
_BRACKET_BEGUN = re.compile(r"\[/?(\w{0,20})")
_ARGUMENTS = re.compile(r"\[(?:ARGS|CALL_ID)\]|\[(?=[^AC])|\{|[^\[{]{1,200}")
_KIMI = re.compile(r"◁(/?)(\w{1,20})▷")
_KIMI_BEGUN = re.compile(r"◁/?\w{0,20}")
_FENCE = re.compile(
    r"`{3,}[ \t]{0,3}(?:tool_(?:code|calls?|use|outputs?|results?|response)|function_calls?|think(?:ing)?|thoughts?|"
    r"reasoning|scratchpad)\b",
    re.IGNORECASE,
)
_FENCE_BEGUN = re.compile(r"`+[ \t]{0,3}\w{0,20}")

_JSON_BEGUN = re.compile(r'\[?\s{0,9}(?:\{\s{0,20}(?:"\w{0,30})?)?')
_JSON = re.compile(r'(?:\[\s{0,9})?\{\s{0,20}"(\w{1,30})"')
# A key that only a call has first, and keys that a call has among others, with what must stand beside them.
_CALL_KEYS = frozenset({
    "tool_call", "tool_calls", "function_call", "function_calls", "tool_uses", "recipient_name", "tool_name",
    "function_name", "action_input", "tool_input", "arguments",
})  # fmt: skip
_MAYBE_KEYS = frozenset({
    "name", "tool", "function", "type", "id", "action", "args", "input", "parameters", "call", "call_id", "kwargs",
})  # fmt: skip
_EVIDENCE = re.compile(
    r'"(?:arguments|parameters|args|kwargs|action_input|tool_input|input|function|tool|tool_name)"\s?:\s?[{\["]|'
    r'"type"\s?:\s?"(?:function|tool_use|tool_call|function_call)"'
)
_JSON_SIGN = re.compile(r'\\.|["\[\]{}]', re.DOTALL)
_STRING_SIGN = re.compile(r'\\.|"', re.DOTALL)

_OPENINGS = (
    "analysis", "assistantanalysis", "commentary to=", "commentaryto=", "assistantcommentary to=", "thought:",
    "thoughts:", "thought process:", "**thought:", "**thoughts:", "**thought process:",
)  # fmt: skip
_LONGEST_OPENING = max(map(len, _OPENINGS))
_OPENING_STARTS = frozenset(start for each in _OPENINGS for start in (each[0], each[0].upper()))
_CHANNEL_OPENING = re.compile(r"(?:assistant)?(?:analysis(?=[A-Z\"'])|commentary ?to=)")
_THOUGHT_OPENING = re.compile(r"(?:\*\*)?Thoughts?(?: [Pp]rocess)?:")

_NEVER_AFTER = {
    "<": frozenset(" \n<>=[](){}`*.,;:&$#\"'123456789-+"),
    "[": frozenset("[]<>()`*|^!?.,;:&$#'0123456789-+"),
    "{": frozenset("{}[]()<>`*|^!?.,;:&$#'0123456789-+"),
    "`": frozenset(),
    "◁": frozenset(" ◁"),
}
_TRIGGER = re.compile(r"[<\[{`◁]")


class _Span(Protocol):
    """What is being hidden: one class for each kind of span, below."""

    def skip(self, text: str, position: int, *, final: bool) -> tuple[int, _Span | None]:
        """Return up to where the text is dealt with, and what is hidden from there on, None for nothing.

        Itself means that it needs more text; `final` says that there is none.
        """
        ...


@attrs.define
class _TagSpan:
    """Hidden by tags: those that are open, the outermost first."""

    names: list[str]

    def skip(self, text: str, position: int, *, final: bool) -> tuple[int, _Span | None]:
        for tag in _PRIVATE_TAG.finditer(text, position):
            position = tag.end()
            name = tag[2].lower()
            if tag[1]:
                self._close(name)
                if not self.names:
                    return position, None
            elif not tag[3].endswith("/"):
                self.names.append(name)
                if len(self.names) > _DEEPEST:
                    return position, _Until(re.compile(r"(?!)"), 0)
        return (len(text) if final else _half_tag(text, position)), self

    def _close(self, name: str) -> None:
        if name in self.names:
            while self.names.pop() != name:
                pass
        elif name in _THOUGHTS and self.names[-1] in _THOUGHTS:  # models close <thinking> with </think>
            self.names.pop()


@attrs.frozen
class _TokenSpan:
    """Hidden by a token, up to the next one that ends a message, a thought or a call, or begins a message."""

    def skip(self, text: str, position: int, *, final: bool) -> tuple[int, _Span | None]:
        for token in _TOKEN.finditer(text, position):
            name, is_opening, is_closing = _read_token(token)
            begins = name in _HEADERS | _ANSWERERS and not is_closing
            if begins or name in _MESSAGE_ENDS or (not is_opening and is_closing and _WORK.search(name)):
                return token.start(), None
            position = token.end()
        return (len(text) if final else _half_tag(text, position)), self


@attrs.frozen
class _CallSpan:
    """Hidden up to the arguments of a call, which follow its name or a mark of their own."""

    def skip(self, text: str, position: int, *, final: bool) -> tuple[int, _Span | None]:
        while sign := _ARGUMENTS.match(text, position):
            if sign[0] in {"[", "{"}:
                return position, _JsonSpan()
            position = sign.end()
        return (len(text) if final else position), self


@attrs.frozen
class _Header:
    """The head of a message: whom it is from, to whom, over which channel."""

    def skip(self, text: str, position: int, *, final: bool) -> tuple[int, _Span | None]:
        end = _HEADER_END.search(text, position, position + _LONGEST_HEADER)
        if end is None and len(text) - position < _LONGEST_HEADER and not final:
            return position, self
        if end is not None:
            head = text[position : end.start()]
            position = end.end() if end[1] or end[0] == "\n" else end.start()
        else:  # no head after all: its first word is the only thing that is sure
            head = text[position : position + _LONGEST_HEADER].lstrip().partition(" ")[0]
            position = min(len(text), text.find(head, position) + len(head))
        return position, _TokenSpan() if _PRIVATE_HEADER.search(head) else None


@attrs.frozen
class _Until:
    """Hidden until a mark, of at most `longest` characters, has come."""

    mark: re.Pattern[str]
    longest: int

    def skip(self, text: str, position: int, *, final: bool) -> tuple[int, _Span | None]:
        if found := self.mark.search(text, position):
            return found.end(), None
        return (len(text) if final else max(position, len(text) - self.longest)), self


@attrs.define
class _JsonSpan:
    """Hidden until the brackets that were opened are closed; brackets in strings do not count."""

    depth: int = 0
    in_string: bool = False

    def skip(self, text: str, position: int, *, final: bool) -> tuple[int, _Span | None]:
        while sign := (_STRING_SIGN if self.in_string else _JSON_SIGN).search(text, position):
            position = sign.end()
            if sign[0] == '"':
                self.in_string = not self.in_string
            elif sign[0] in {"{", "["}:
                self.depth += 1
            elif sign[0] in {"}", "]"}:
                self.depth -= 1
                if self.depth <= 0:
                    return position, None
        half = not final and position < len(text) and text[-1] == "\\"
        return len(text) - half, self


_COMMENT_END = _Until(re.compile(r"-->"), 3)
_FENCE_END = _Until(re.compile(r"`{3}"), 3)
_CHANNEL_END = _Until(re.compile(r"assistantfinal"), 14)
_THOUGHT_END = _Until(re.compile(r"\n[ \t]{0,9}(?:\*\*)?(?:Final )?[Aa]nswer:(?:\*\*)?"), 30)

_Step = tuple[int, "_Span | None"]
"""How many characters are dropped, and what is hidden after them; of no characters, the next one is passed on."""
_PLAIN: _Step = (0, None)


@attrs.define
class AsideFilter:
    """Take out of a stream what is not meant for the caller.

    What comes out, put together, depends on the text alone and not on how it was cut into pieces, and nothing that is
    to be hidden ever comes out. Text without any of the marks passes unchanged, at once.
    """

    _held: str = attrs.field(default="", init=False)
    _span: _Span | None = attrs.field(default=None, init=False)
    _last: str = attrs.field(default="", init=False)
    """The last character that was passed on."""
    _is_opening: bool = attrs.field(default=True, init=False)
    """Nothing but white space was passed on yet."""
    _gap: bool = attrs.field(default=False, init=False)
    """Something was hidden since then."""

    def feed(self, piece: str) -> str:
        """Take the next piece and return what of the text is meant for the caller, as far as it is known by now."""
        if not (piece or self._held):
            return ""
        undisturbed = not (self._held or self._gap) and self._span is None
        begins_plainly = undisturbed and not (self._is_opening and (piece[0] in _OPENING_STARTS or piece[0].isspace()))
        if begins_plainly and _TRIGGER.search(piece) is None:
            self._is_opening = False
            self._last = piece[-1]
            return piece
        self._held += piece
        return self._advance(final=False)

    def finish(self) -> str:
        """Return what was held back, now that nothing follows. The filter is as new afterwards."""
        rest = self._advance(final=True) if self._held else ""
        self._held = self._last = ""
        self._span, self._is_opening, self._gap = None, True, False
        return rest

    def _advance(self, *, final: bool) -> str:
        text, position, passed = self._held, 0, []
        while position < len(text):
            if self._span is not None:
                span = self._span
                position, self._span = span.skip(text, position, final=final)
                if self._span is span:
                    break
                self._gap = True
                continue
            if self._is_opening and text[position].isspace():
                start = len(text) - len(text[position:].lstrip())
                passed.append(self._pass_on(text[position:start]))
                position = start
                continue
            if self._is_opening:
                step = _opening(text[position : position + WINDOW], final=final)
                if step is None:
                    break
                position, self._span = position + step[0], step[1]
                if step[0]:
                    continue
            special = _TRIGGER.search(text, position)
            if special is None or special.start() > position:
                end = len(text) if special is None else special.start()
                passed.append(self._pass_on(text[position:end]))
                position = end
                continue
            window = text[position : position + WINDOW]
            step = _look(window, complete=final or len(window) == WINDOW, final=final)
            if step is None:
                break
            dropped, self._span = step
            if dropped:
                self._gap = self._gap or self._is_opening
            else:
                dropped = 1
                if window[0] == "`":
                    dropped = len(window) - len(window.lstrip("`"))
                passed.append(self._pass_on(window[:dropped]))
            position += dropped
        self._held = text[position:]
        return "".join(passed)

    def _pass_on(self, text: str) -> str:
        """Pass on what is meant for the caller, set off from what was before something hidden."""
        if self._gap:
            if not self._last.strip():
                kept = text.lstrip()
                breaks = "\n" in text[: len(text) - len(kept)] and self._last == " "
                text = f"\n{kept}" if breaks else kept
            elif text[0].isalnum():
                text = f" {text}"
            self._gap = not text.strip() and not self._last.strip()
        if self._is_opening and text.strip():
            self._is_opening = False
        if text:
            self._last = text[-1]
        return text


def without_lead(text: str) -> str:
    """Return a whole answer without thoughts of which only the closing mark came, at its start.

    Templates that put `<think>` into the prompt make models write so. A stream cannot know; a whole text can.
    """
    closing = _LEAD_END.search(text)
    if closing is None or _LEAD_START.search(text, 0, closing.start()):
        return text
    return text[closing.end() :]


_LEAD_END = re.compile(r"</(?:think|thinking|thought|thoughts|reasoning)>|◁/think▷|\[/THINK\]", re.IGNORECASE)
_LEAD_START = re.compile(r"<(?:think|thinking|thought|thoughts|reasoning)>|◁think▷|\[THINK\]", re.IGNORECASE)


def _opening(window: str, *, final: bool) -> _Step | None:
    """Look at the start of an answer for what is known only there."""
    if _CHANNEL_OPENING.match(window):
        return 1, _CHANNEL_END
    if _THOUGHT_OPENING.match(window):
        return 1, _THOUGHT_END
    if final or len(window) > _LONGEST_OPENING:
        return _PLAIN
    low = window.lower()
    return None if any(each.startswith(low) for each in _OPENINGS) else _PLAIN


def _look(window: str, *, complete: bool, final: bool) -> _Step | None:  # noqa: PLR0911 - one return a rule
    """Decide what a character that may begin a mark does; None if that depends on what follows the window."""
    if len(window) > 1 and window[1] in _NEVER_AFTER[window[0]]:  # quick, because it is the rule in a wild text
        return _PLAIN
    match window[0]:
        case "<":
            step = _token(window, complete=complete, final=final)
            return _tag(window, complete=complete, final=final) if step == _PLAIN else step
        case "[":
            return _bracket(window, complete=complete, final=final)
        case "{":
            return _json(window, complete=complete, final=final)
        case "`":
            if fence := _FENCE.match(window):
                return fence.end(), _FENCE_END
            return None if _FENCE_BEGUN.fullmatch(window) and not complete else _PLAIN
        case _:
            if kimi := _KIMI.match(window):
                return kimi.end(), None if kimi[1] else _Until(re.compile(rf"◁/{kimi[2]}▷"), len(kimi[0]) + 1)
            return None if _KIMI_BEGUN.fullmatch(window) and not complete else _PLAIN


def _token(window: str, *, complete: bool, final: bool) -> _Step | None:
    """Decide about a token of a chat template."""
    token = _TOKEN.match(window)
    if token is None:
        if _TOKEN_BEGUN.fullmatch(window) is None:
            return _PLAIN
        return ((len(window), None) if final else _PLAIN) if complete else None
    name, is_opening, is_closing = _read_token(token)
    span: _Span | None = None
    if is_opening and name == "channel":
        span = _Until(re.compile(r"<channel\|>"), 10)
    elif is_closing or name in _MESSAGE_ENDS or name in _ANSWERERS:
        pass
    elif name in _HEADERS:
        span = _Header()
    elif name in _ROLES or _WORK.search(name):
        span = _TokenSpan()
    return token.end(), span


def _read_token(token: re.Match[str]) -> tuple[str, bool, bool]:
    """Return a token's name, in small letters, and whether it only opens, or closes, something."""
    name = (token[2] or token[4]).lower().replace("▁", "_").replace(" ", "_")
    is_closing = token[5] is not None or name.startswith(("/", "end_")) or name.endswith("_end")
    return name, token[1] is not None and not token[3], is_closing


def _tag(window: str, *, complete: bool, final: bool) -> _Step | None:  # noqa: PLR0911 - one return a rule
    """Decide about what may be a tag around something private."""
    if window.startswith(_COMMENT):
        return len(_COMMENT), _COMMENT_END
    if bare := _BARE_TOKEN.match(window):
        if bare[1]:
            return bare.end(), _Until(re.compile(r"<unused95>"), 10)
        if bare[3]:
            return bare.end(), _Until(re.compile(r"<end_function_\w{1,20}>"), 40)
        return bare.end(), _Header() if bare[2] and window[1] != "/" else None
    if closer := _CLOSER.match(window):
        return closer.end(), None
    if opener := _OPENER.match(window):
        end = window.find(">")
        if end < 0 and not complete:
            return None
        is_whole = window[end - 1] == "/" if end > 0 else False
        return (end + 1 if end > 0 else opener.end()), None if is_whole else _TagSpan([opener[1].lower()])
    is_begun = _OPENER_BEGUN.fullmatch(window) or _CLOSER_BEGUN.fullmatch(window)
    name = _TAG_BEGUN.fullmatch(window)
    if not complete and (is_begun or name or _COMMENT.startswith(window)):
        return None
    # An answer that was cut off in the middle of a mark.
    is_cut = final and (is_begun or (name and len(name[1]) >= _SURE and _is_private_beginning(name[1])))
    return (len(window), None) if is_cut else _PLAIN


def _is_private_beginning(typed: str) -> bool:
    return any(each.startswith(typed.lower()) for each in _PRIVATE)


def _bracket(window: str, *, complete: bool, final: bool) -> _Step | None:
    """Decide about a mark in square brackets, or a list of calls."""
    if mark := _BRACKET.match(window):
        name = mark[2].lower()
        if mark[1] or name in {"args", "call_id"}:
            return mark.end(), None
        if name == "tool_calls":
            return mark.end(), _CallSpan()
        return mark.end(), _Until(re.compile(rf"\[/{name}\]", re.IGNORECASE), len(mark[0]) + 1)
    begun = _BRACKET_BEGUN.fullmatch(window)
    if begun and not complete and any(each.startswith(begun[1].lower()) for each in _BRACKETS):
        return None
    return _json(window, complete=complete, final=final)


def _json(window: str, *, complete: bool, final: bool) -> _Step | None:
    """Decide about an object, or a list of them, that may be a call written as text."""
    call: _Step = (1, _JsonSpan(depth=1))
    start = _JSON.match(window)
    if start is None:
        return None if _JSON_BEGUN.fullmatch(window) and not complete else _PLAIN
    if start[1] in _CALL_KEYS:
        return call
    if start[1] not in _MAYBE_KEYS:
        return _PLAIN
    inside, closed, _ = window.partition("}")
    if _EVIDENCE.search(inside):
        return call
    if closed:
        return _PLAIN
    return (call if final else _PLAIN) if complete else None


def _half_tag(text: str, position: int) -> int:
    """Return where a tag or token begins that the text breaks off in, or the end of the text."""
    half = text.rfind("<", position)
    is_half = half >= 0 and len(text) - half < WINDOW and ">" not in text[half:]
    return half if is_half else len(text)
