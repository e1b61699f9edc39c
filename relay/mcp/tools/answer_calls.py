"""The tool for clients of the 2026-07-28 revision that sample: a call of it is a conversation of up to eight turns.

    tools/call ──▶ wait for a turn ──▶ InputRequiredResult: one sampling request, and where we are (sealed)
    the client samples, and calls again with the answer ──▶ say it, wait for the next turn ──▶ …

In that revision a server cannot ask its client anything by itself, only in answer to a request. The stock SDKs fulfil
such questions by their ordinary sampling handler and call again by themselves, but at most ten times, so this ends
with a result after eight, and the client calls anew.
"""

from __future__ import annotations

import json
from typing import Any

import attrs
import mcp_types as types
from pydantic import Field

from actors.calls import Calls
from actors.transcript import is_audible
from actors.turn_queue import TurnOver, TurnTaken, Utterance
from relay.mcp.pieces import text_of
from relay.mcp.sampling_request import sampling_params
from relay.mcp.tools.arguments import Arguments
from relay.mcp.tools.results import Result
from relay.mcp.tools.toolbox import Outcome, ToolCall, ToolError, TurnTool
from relay.mcp.tools.turns import DEFAULT_WAIT, LONGEST_WAIT, WaitingTools
from relay.speech.asides import without_lead

MOST_ROUNDS = 8
_QUESTION = "answer"


class AnswerCalls(Arguments):
    """Arguments of `comms_answer_calls`."""

    wait_seconds: float = Field(
        default=DEFAULT_WAIT, ge=0, le=LONGEST_WAIT, description="How long to wait for a caller's words."
    )


class Answered(Result):
    """Result of `comms_answer_calls`."""

    again: bool = Field(description="true: call it again to go on answering.")
    answered: int = Field(description="How many turns were answered since you called it.")
    waiting: bool = Field(default=False, description="true when it ended because nobody said anything.")
    live_calls: int = Field(default=0, description="With waiting: how many calls are going on.")


@attrs.frozen(kw_only=True)
class _Progress:
    """Where a conversation of this tool is. The client keeps it between rounds, sealed by the server."""

    rounds: int = 0
    answered: int = 0
    call_sid: str = ""
    turn: int = 0

    @classmethod
    def read(cls, state: str | None) -> _Progress:
        return cls() if state is None else cls(**json.loads(state))

    def asking(self, words: Utterance) -> _Progress:
        request = words.request
        return attrs.evolve(self, rounds=self.rounds + 1, call_sid=request.call.call_sid, turn=request.turn)

    def __str__(self) -> str:
        return json.dumps(attrs.asdict(self))


def answer_calls_tool(waiting: WaitingTools, calls: Calls) -> TurnTool[AnswerCalls]:
    """Return the tool over the turn queues."""

    async def answer_calls(call: ToolCall, arguments: AnswerCalls) -> Outcome:
        _require_questions(call)
        with waiting.under_way.counted(call.agent.agent_id), waiting.present(call):
            so_far = _Progress.read(call.state)
            if so_far.rounds:
                so_far = await _say(waiting, call, so_far)
            if so_far.rounds >= MOST_ROUNDS:
                return Answered(again=True, answered=so_far.answered)
            words = await waiting.next_utterance(call, arguments.wait_seconds)
            if words is None:
                live = len(calls.live(call.agent.agent_id))
                return Answered(again=True, answered=so_far.answered, waiting=True, live_calls=live)
            return _question(words, so_far.asking(words))

    return TurnTool(
        name="comms_answer_calls",
        title="Answer calls",
        description=(
            "Have callers answered by your model without talking to them yourself: waits for a caller's words, has "
            "your host sample an answer, speaks it, and so on, several turns long. Call it again whenever it returns. "
            "Only for hosts of the 2026-07-28 protocol that sample; others use comms_converse."
        ),
        arguments=AnswerCalls,
        results=(Answered,),
        annotations=types.ToolAnnotations(
            read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True
        ),
        run=answer_calls,
    )


def _require_questions(call: ToolCall) -> None:
    if call.answers_questions:
        return
    if call.session is not None and call.session.can_sample:
        raise ToolError(
            "not_needed", "Nothing needs to be called: what callers say reaches you as sampling requests by itself."
        )
    raise ToolError("use_comms_converse", "Your host does not sample in this way. Answer calls with comms_converse.")


async def _say(waiting: WaitingTools, call: ToolCall, so_far: _Progress) -> _Progress:
    """Speak the client's answer if its turn is still open; a late answer is dropped."""
    given = call.answers.get(_QUESTION)
    final = None if given is None else text_of(given.model_dump(by_alias=True, mode="json"))
    if final is None or not is_audible(final):
        return so_far
    try:
        await waiting.queues.of(call.agent.agent_id).say(call.client, so_far.call_sid, so_far.turn, without_lead(final))
    except (TurnOver, TurnTaken):
        return so_far
    return attrs.evolve(so_far, answered=so_far.answered + 1)


def _question(words: Utterance, state: _Progress) -> types.InputRequiredResult:
    params: dict[str, Any] = sampling_params(words.request)
    request = types.CreateMessageRequest.model_validate({"method": "sampling/createMessage", "params": params})
    return types.InputRequiredResult(input_requests={_QUESTION: request}, request_state=str(state))
