"""Which clients open a session for each tool call: what their sessions show, and what they do not."""

from __future__ import annotations

import attrs
import pytest
from mcp_types import Implementation

from relay.mcp.returning_clients import ReturningClients, SessionUse


@attrs.frozen(kw_only=True)
class Session:
    """How a session went: its tool calls, whether the first was an answer, and how it ended."""

    calls: int = 1
    answers: bool = False
    in_order: bool = False
    engaged: bool = False
    client: str = "agent"

    def end(self, known: ReturningClients, agent_id: str = "anna") -> bool:
        """Let it happen; return whether its client will be back."""
        use = SessionUse(known)
        for _ in range(self.calls):
            use.tool_calls += 1
            if self.answers:
                use.note_answer()
        info = Implementation(name=self.client, version="1")
        return use.is_over(agent_id, info, in_order=self.in_order, is_engaged=self.engaged)


LISTED = Session(calls=0)
WAITED_IN_VAIN = Session()
TOOK_WORDS = Session(engaged=True)
WENT_ON = Session(engaged=True, answers=True)
SAID_GOODBYE = Session(engaged=True, in_order=True)
USED_MORE = Session(calls=2)
USED_MORE_WITH_WORDS = Session(calls=2, engaged=True)


@pytest.mark.parametrize(
    ("before", "last", "is_back_soon"),
    [
        ([], TOOK_WORDS, False),
        ([TOOK_WORDS, TOOK_WORDS], TOOK_WORDS, False),
        ([LISTED], TOOK_WORDS, True),
        ([WAITED_IN_VAIN], TOOK_WORDS, True),
        ([], WENT_ON, True),
        ([WENT_ON], TOOK_WORDS, True),
        ([], SAID_GOODBYE, True),
        ([SAID_GOODBYE], TOOK_WORDS, True),
        ([LISTED], USED_MORE_WITH_WORDS, False),
        ([LISTED, USED_MORE], TOOK_WORDS, False),
        ([USED_MORE, WAITED_IN_VAIN], TOOK_WORDS, True),
        ([], Session(calls=3, engaged=True, in_order=True), True),
        ([Session(calls=3, engaged=True, in_order=True)], TOOK_WORDS, False),
        ([Session(calls=0, client="inspector")], TOOK_WORDS, False),
        ([], Session(calls=2, engaged=True, answers=True), False),
    ],
)
def test_what_sessions_show(before: list[Session], last: Session, is_back_soon: bool) -> None:
    """A client is expected back that said so, or whose sessions were each for one tool call; no other is."""
    known = ReturningClients()
    for each in before:
        each.end(known)
    assert last.end(known) is is_back_soon


def test_agents_do_not_share_what_is_known() -> None:
    """The clients of two agents often have the same name."""
    known = ReturningClients()
    LISTED.end(known, "bert")
    assert not TOOK_WORDS.end(known, "anna")


def test_what_is_remembered_is_bounded() -> None:
    """The client that was seen longest ago is forgotten first."""
    known = ReturningClients(limit=2)
    for name in ("one", "two", "one", "three"):
        known.note("anna", name, returns=True)
    assert [known.knows("anna", name) for name in ("one", "two", "three")] == [True, False, True]


def test_a_client_without_a_handshake_has_no_name() -> None:
    """It is one of those that are not known, until it shows the sign."""
    known = ReturningClients()
    assert not SessionUse(known).is_over("anna", None, in_order=False, is_engaged=True)
