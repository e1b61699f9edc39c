"""What a tool is: its description for a language model, its checked arguments, its result in two forms.

A tool acts for the agent of the session that called it, and for no other: `agentId` among the arguments may only repeat
what the token says. Whatever goes wrong comes back as a result that a model can read and act on, never as a protocol
error, because hosts do not show those to their models.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import attrs
import mcp_types as types
import structlog
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema

from actors.errors import UnknownCall
from relay.agents import Agent
from relay.mcp.ports import STORE_FAILURES

log = structlog.get_logger(__name__)

Schema = dict[str, Any]


class ToolError(Exception):
    """Say why a tool did nothing: `code` for programs, the text for the model, with what to do instead."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Arguments(BaseModel):
    """Base of every tool's arguments: names in camelCase, nothing unknown, null as good as left out."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    agent_id: str = Field(
        default="", description="Leave it out: your token says which agent you act for. Another agent's is an error."
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: dict[str, Any]) -> dict[str, Any]:
        # Models fill in null for what they leave out. Optional types would say as much in the schema, but also word
        # every error twice, once for each half of the union.
        return {name: value for name, value in given.items() if value is not None}


ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


@attrs.frozen(kw_only=True)
class Tool(Generic[ArgumentsT]):
    """One tool. `run` gets the agent it acts for, and returns what `result` describes, or raises `ToolError`."""

    name: str
    title: str
    description: str
    arguments: type[ArgumentsT]
    result: Schema
    annotations: types.ToolAnnotations
    run: Callable[[Agent, ArgumentsT], Awaitable[dict[str, Any]]]

    def definition(self) -> types.Tool:
        """Describe the tool as `tools/list` does."""
        return types.Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=self.arguments.model_json_schema(schema_generator=_PlainSchema),
            output_schema=_or_error(self.result),
            annotations=self.annotations,
        )


class Toolbox:
    """The tools by name."""

    def __init__(self, tools: Iterable[Tool[Any]]) -> None:
        self._tools = {each.name: each for each in tools}
        self.definitions = [each.definition() for each in self._tools.values()]

    async def call(self, agent: Agent, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """Run a tool for an agent. Raises `MCPError` for a name that is no tool; all else is in the result."""
        tool = self._tools.get(name)
        if tool is None:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {name}")
        try:
            return _result(await tool.run(agent, _checked(tool, agent, arguments)))
        except ToolError as error:
            return failure(error.code, str(error))
        except UnknownCall:
            return failure(
                "unknown_call", "You have no live call of that callSid. comms_list_calls with state live names them."
            )
        except STORE_FAILURES:
            log.warning("tool_store_failed", tool=name, agent_id=agent.agent_id)
            return failure("try_again", "The relay's database did not answer; nothing is lost. Try again in a moment.")
        except Exception:
            log.exception("tool_crashed", tool=name, agent_id=agent.agent_id)
            return failure("internal_error", "The relay made a mistake, which is in its log. Other tools still work.")


def failure(code: str, message: str) -> types.CallToolResult:
    """Word an error as a tool result."""
    return _result({"error": {"code": code, "message": message}}, is_error=True)


def _result(content: dict[str, Any], *, is_error: bool = False) -> types.CallToolResult:
    # The text repeats the structure, for the many clients that show only text to their model (MCP 2025-06-18, tools).
    text = types.TextContent(type="text", text=json.dumps(content, ensure_ascii=False))
    return types.CallToolResult(content=[text], structured_content=content, is_error=is_error)


def _checked(tool: Tool[ArgumentsT], agent: Agent, arguments: Mapping[str, Any]) -> ArgumentsT:
    try:
        checked = tool.arguments.model_validate(arguments)
    except ValidationError as error:
        raise ToolError("bad_arguments", _explain(error)) from None
    if checked.agent_id not in {"", agent.agent_id}:
        raise ToolError("not_your_agent", "agentId names another agent than your token's; leave it out.")
    return checked


def _explain(error: ValidationError) -> str:
    problems = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        field = ".".join(str(part) for part in each["loc"]) or "arguments"
        problems.append(f"{field}: {each['msg']}")
    return "; ".join(problems)


def _or_error(result: Schema) -> Schema:
    """Allow the error beside the result: the TypeScript clients check error results against the schema as well."""
    error = {
        "type": "object",
        "description": "Present only when the call failed.",
        "properties": {
            "code": {"type": "string", "description": "What went wrong, in snake_case."},
            "message": {"type": "string", "description": "What is wrong and what to do."},
        },
        "required": ["code", "message"],
    }
    return {
        "type": "object",
        "properties": {**result["properties"], "error": error},
        "oneOf": [{"required": result["required"]}, {"required": ["error"]}],
    }


class _PlainSchema(GenerateJsonSchema):
    """Schemas without titles and empty defaults, which only cost a model tokens."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the base class names it
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        described = super().default_schema(schema)
        if not described.get("default", True):
            del described["default"]
        return described
