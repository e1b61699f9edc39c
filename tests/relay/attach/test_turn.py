"""A sampling request read as a turn."""

from __future__ import annotations

from typing import Any

from mcp_types import CreateMessageRequestParams

from relay.attach.turn import Turn


def asked(*lines: tuple[str, Any], **more: Any) -> CreateMessageRequestParams:
    """Make a sampling request of these lines, by the names it has on the wire."""
    messages = [
        {"role": role, "content": {"type": "text", "text": text} if isinstance(text, str) else text}
        for role, text in lines
    ]
    return CreateMessageRequestParams.model_validate({"messages": messages, "maxTokens": 300, **more})


def test_a_turn_says_all_that_the_relay_says() -> None:
    """A program gets the call, the numbers, how far they are verified, the prompt and the conversation."""
    known = {
        "callSid": "CA1",
        "turn": 2,
        "from": "+1555",
        "to": "+1556",
        "direction": "inbound",
        "callerVerified": True,
    }
    turn = Turn.of(asked(("assistant", "Hello."), ("user", "Hi?"), systemPrompt="Be brief.", metadata=known))
    assert turn.as_json() == {
        "type": "turn",
        "callSid": "CA1",
        "turn": 2,
        "from": "+1555",
        "to": "+1556",
        "direction": "inbound",
        "callerVerified": True,
        "systemPrompt": "Be brief.",
        "messages": [{"role": "assistant", "text": "Hello."}, {"role": "user", "text": "Hi?"}],
        "text": "Hi?",
    }


def test_the_newest_utterances_are_all_since_the_last_answer() -> None:
    """A caller who was not answered said more than the last line."""
    turn = Turn.of(asked(("user", "Zero."), ("assistant", "Hello."), ("user", "One."), ("user", "Two.")))
    assert turn.text == "One. Two."


def test_a_request_without_metadata_is_a_turn() -> None:
    """Another server than the relay may ask; nothing is known of its caller, who is not taken for verified."""
    turn = Turn.of(asked(("user", "Hi?")))
    assert (turn.call_sid, turn.number, turn.caller, turn.verified) == ("", 0, "", False)


def test_what_is_no_text_is_left_out() -> None:
    """Of a message in blocks, the text counts."""
    blocks = [
        {"type": "text", "text": "One."},
        {"type": "image", "data": "", "mimeType": "image/png"},
        {"type": "text", "text": "Two."},
    ]
    assert Turn.of(asked(("user", blocks))).text == "One.\nTwo."
