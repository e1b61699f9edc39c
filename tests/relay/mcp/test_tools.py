"""Tools check what they are given, act for the token's agent alone, and answer errors that a model can act on."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import mcp_types as types
import pytest
import trio
from mcp.shared.exceptions import MCPError

from actors.errors import StoreFailed, UnknownCall
from relay.agents import Agent
from relay.errors import DatabaseError
from relay.mcp.call_tools import call_tools
from relay.mcp.message_tools import message_tools
from relay.mcp.tools import Arguments, Tool, Toolbox
from tests.relay.mcp.mcp_relay import NOW, MemoryCalls, MemoryMessages

ANNA = Agent(agent_id="anna", created_at=NOW)


class Nothing(Arguments):
    """No arguments of its own."""


def tool_that(raises: Exception) -> Tool[Nothing]:
    async def run(_agent: Agent, _arguments: Nothing) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        raise raises

    return Tool(
        name="broken",
        title="Broken",
        description="Fails.",
        arguments=Nothing,
        result={"properties": {}, "required": []},
        annotations=types.ToolAnnotations(),
        run=run,
    )


def all_tools() -> Toolbox:
    return Toolbox([*message_tools(MemoryMessages()), *call_tools(MemoryCalls())])


def error_of(result: types.CallToolResult) -> tuple[str, str]:
    assert result.is_error
    content = result.structured_content
    assert isinstance(result.content[0], types.TextContent)
    assert json.loads(result.content[0].text) == content
    return content["error"]["code"], content["error"]["message"]


@pytest.mark.parametrize(
    ("name", "arguments", "field"),
    [
        ("comms_get_waiting_messages", {"limit": 0}, "limit"),
        ("comms_get_waiting_messages", {"limit": "many"}, "limit"),
        ("comms_get_waiting_messages", {"limt": 5}, "limt"),
        ("comms_get_waiting_messages", {"acknowledge": [""]}, "acknowledge.0"),
        ("comms_acknowledge_messages", {}, "ids"),
        ("comms_acknowledge_messages", {"ids": []}, "ids"),
        ("comms_acknowledge_messages", {"ids": ["x"] * 101}, "ids"),
        ("comms_list_calls", {"state": "dead"}, "state"),
        ("comms_end_call", {"callSid": 5}, "callSid"),
        ("comms_end_call", {"call_sid": "CA1"}, "callSid"),
    ],
)
async def test_bad_arguments_name_the_field(name: str, arguments: dict[str, Any], field: str) -> None:
    """A model that sends a wrong argument is told which one and why."""
    code, message = error_of(await all_tools().call(ANNA, name, arguments))
    assert code == "bad_arguments"
    assert field in message


@pytest.mark.parametrize("name", [each.name for each in all_tools().definitions])
async def test_no_tool_acts_for_another_agent(name: str) -> None:
    """Naming another agent is an error of its own, whatever else is asked."""
    arguments: dict[str, Any] = {"agentId": "bert"}
    if name == "comms_end_call":
        arguments["callSid"] = "CA1"
    if name == "comms_acknowledge_messages":
        arguments["ids"] = ["message-1"]
    code, _ = error_of(await all_tools().call(ANNA, name, arguments))
    assert code == "not_your_agent"


async def test_null_is_as_good_as_left_out() -> None:
    """Models fill optional arguments with null; that is no error."""
    arguments = {"agentId": None, "acknowledge": None}
    assert not (await all_tools().call(ANNA, "comms_get_waiting_messages", arguments)).is_error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreFailed("disk full"), "try_again"),
        (DatabaseError("no such file"), "try_again"),
        (UnknownCall("CA9"), "unknown_call"),
        (RuntimeError("a secret detail"), "internal_error"),
    ],
)
async def test_failure_becomes_a_result(error: Exception, code: str) -> None:
    """What fails inside comes back in words for a model, without its details."""
    answered, message = error_of(await Toolbox([tool_that(error)]).call(ANNA, "broken", {}))
    assert answered == code
    assert str(error) not in message


async def test_unknown_tool_is_a_protocol_error() -> None:
    """A name that is no tool is refused as the specification says."""
    with pytest.raises(MCPError, match="Unknown tool"):
        await all_tools().call(ANNA, "comms_fly", {})


@pytest.mark.parametrize("definition", all_tools().definitions, ids=lambda each: each.name)
def test_definition_describes_every_field(definition: types.Tool) -> None:
    """Each tool and each argument is described, nothing unknown is allowed, and the schemas are valid."""
    assert definition.description
    assert definition.annotations is not None
    assert definition.input_schema["additionalProperties"] is False
    for name, schema in definition.input_schema["properties"].items():
        assert schema.get("description"), name
    assert definition.output_schema is not None
    for name, schema in definition.output_schema["properties"].items():
        assert schema.get("description"), name
    for schema in (definition.input_schema, definition.output_schema):
        jsonschema.Draft202012Validator.check_schema(schema)
        assert "$ref" not in json.dumps(schema)


async def test_error_keeps_to_the_output_schema() -> None:
    """Clients that check error results against the schema accept them."""
    tools = all_tools()
    for definition in tools.definitions:
        failed = await tools.call(ANNA, definition.name, {"what": "?"})
        assert definition.output_schema is not None
        jsonschema.validate(failed.structured_content, definition.output_schema)
