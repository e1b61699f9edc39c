"""Tools check what they are given, act for the token's agent alone, and answer errors that a model can act on."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import mcp_types as types
import pytest
import structlog
import trio
from mcp.shared.exceptions import MCPError

from actors.call_session import CallServices
from actors.calls import Calls
from actors.clients import Presence
from actors.errors import StoreFailed, UnknownCall
from actors.turn_queue import TurnQueues
from relay.agent import Agent
from relay.errors import DatabaseError, OutboundRefused
from relay.mcp.tools.answer_calls import answer_calls_tool
from relay.mcp.tools.arguments import Arguments
from relay.mcp.tools.live_calls import AgentCalls, call_tools
from relay.mcp.tools.messages import AcknowledgeMessages, AgentMessages, GetWaitingMessages, message_tools
from relay.mcp.tools.results import Result
from relay.mcp.tools.toolbox import Tool, Toolbox
from relay.mcp.tools.turns import WaitingTools, turn_tools
from relay.store.call_journal import CallJournal
from relay.store.database import Database, open_database
from relay.store.waiting_messages import WaitingMessages
from tests.fakes import RecordingObserver
from tests.relay.mcp.mcp_relay import NOW, DatabaseFile, called
from tests.relay.mcp.memory_outbound import MemoryOutbound
from tests.sids import NO_SIDS, sid

ANNA = Agent(agent_id="anna", created_at=NOW)


class Nothing(Arguments):
    """No arguments of its own."""


def tool_that(raises: Exception) -> Tool[Nothing]:
    async def run(_agent: Agent, _arguments: Nothing) -> Result:
        await trio.lowlevel.checkpoint()
        raise raises

    return Tool(
        name="broken",
        title="Broken",
        description="Fails.",
        arguments=Nothing,
        results=(Result,),
        annotations=types.ToolAnnotations(),
        run=run,
    )


def all_tools(database: Database | None = None, nursery: trio.Nursery | None = None) -> Toolbox:
    """Make the tools; without a database they can only be described, and refuse. In a nursery their waits can end."""
    database = database or Database("sqlite:///not-opened.db")
    presence, messages, journal = Presence(grace=0), WaitingMessages(database), CallJournal(database)
    services = CallServices(
        responders={},
        messages=messages,
        journal=journal,
        observer=RecordingObserver(),
    )
    calls = Calls(services, presence, max_calls=1)
    waiting = WaitingTools(TurnQueues(presence, calls))
    if nursery is not None:
        nursery.start_soon(waiting.queues.run)
    return Toolbox(
        [
            *message_tools(AgentMessages(messages, calls)),
            *call_tools(AgentCalls(live=calls, journal=journal)),
            *MemoryOutbound().tools(),
            *turn_tools(waiting, calls),
            answer_calls_tool(waiting, calls),
        ]
    )


@pytest.fixture
async def tools(tmp_path: Path) -> AsyncIterator[Toolbox]:
    """All tools, over a database of the test's own."""
    async with (
        open_database(f"sqlite:///{DatabaseFile.made_in(tmp_path).path}") as database,
        trio.open_nursery() as nursery,
    ):
        yield all_tools(database, nursery)
        nursery.cancel_scope.cancel()


# What the tools cannot do without.
NEEDED: dict[str, dict[str, Any]] = {
    "comms_acknowledge_messages": {"ids": ["message-1"]},
    "comms_end_call": {"callSid": sid()},
    "comms_make_call": {"to": "+4930123456"},
    "comms_send_voice_message": {"to": "+4930123456", "text": "Hello."},
    "comms_transfer_call": {"callSid": sid(), "to": "+4930123456"},
    "comms_stop_calling": {"number": "+4930123456"},
    "comms_take_call": {"callSid": sid()},
}


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
        ("comms_list_calls", {"limit": 0}, "limit"),
        ("comms_list_calls", {"limit": 1001}, "limit"),
        ("comms_end_call", {"callSid": 5}, "callSid"),
        ("comms_end_call", {"call_sid": sid()}, "callSid"),
        ("comms_converse", {"waitSeconds": 51}, "waitSeconds"),
        ("comms_converse", {"waitSeconds": -1}, "waitSeconds"),
        ("comms_converse", {"say": "x" * 4001}, "say"),
        ("comms_converse", {"callSid": sid(), "turn": 0, "say": "Yes."}, "turn"),
        ("comms_answer_calls", {"callSid": sid()}, "callSid"),
        ("comms_take_call", {}, "callSid"),
    ],
)
async def test_bad_arguments_name_the_field(name: str, arguments: dict[str, Any], field: str) -> None:
    """A model that sends a wrong argument is told which one and why."""
    code, message = error_of(await called(all_tools(), ANNA, name, arguments))
    assert code == "bad_arguments"
    assert field in message


LISTS = [
    (each.name, name)
    for each in all_tools().definitions
    for name, field in each.input_schema["properties"].items()
    if field["type"] == "array"
]


def test_there_are_lists_among_the_arguments() -> None:
    """The next tests have something to try."""
    assert LISTS == [("comms_get_waiting_messages", "acknowledge"), ("comms_acknowledge_messages", "ids")]


@pytest.mark.parametrize("field", [field for _name, field in LISTS])
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ('["m1","m2"]', ["m1", "m2"]),
        ('["m1"]', ["m1"]),
        (' [ "m1" , "m2" ]\n', ["m1", "m2"]),
        ("m1", ["m1"]),
        (" msg_0123456789abcdef ", ["msg_0123456789abcdef"]),
        ('["m\\u0031"]', ["m1"]),
        (json.dumps([f"msg_{n:016x}" for n in range(100)]), [f"msg_{n:016x}" for n in range(100)]),
    ],
    ids=["two", "one", "spaced", "bare", "bare-spaced", "escaped", "hundred"],
)
def test_list_may_come_as_text(field: str, text: str, ids: list[str]) -> None:
    """Hosts that send a list as JSON text, or a list of one as its element, are understood."""
    kind: type[Arguments] = GetWaitingMessages if field == "acknowledge" else AcknowledgeMessages
    assert getattr(kind.model_validate({field: text}), field) == ids


@pytest.mark.parametrize(("name", "field"), LISTS)
@pytest.mark.parametrize(
    "text",
    [
        "m1, m2",
        "m1 m2",
        "m1\nm2",
        '["m1"',
        "[m1]",
        "['m1']",
        '{"ids": ["m1"]}',
        "[" + "[]," * 300_000 + "1]",
        "[[]]",
        "[5]",
    ],
    ids=["commas", "spaces", "lines", "cut", "bare", "quotes", "object", "endless", "nested", "number"],
)
async def test_text_that_is_no_list_is_refused_with_the_form_shown(name: str, field: str, text: str) -> None:
    """What cannot be told for sure is not guessed at, and what is said about it is short."""
    code, message = error_of(await called(all_tools(), ANNA, name, {field: text}))
    assert code == "bad_arguments"
    assert message.startswith(field)
    assert len(message) < 400


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("comms_get_waiting_messages", {"limit": "5"}),
        ("comms_get_waiting_messages", {"limit": " 5 "}),
        ("comms_get_waiting_messages", {"limit": "5.0"}),
        ("comms_get_waiting_messages", {"limit": 5.0}),
        ("comms_get_waiting_messages", {"limit": "", "acknowledge": ""}),
        ("comms_get_waiting_messages", {"agentId": "", "limit": None}),
        ("comms_list_calls", {"state": "", "limit": "20"}),
        ("comms_converse", {"waitSeconds": "0", "onlyThisCall": "false", "more": "False", "turn": ""}),
        ("comms_converse", {"waitSeconds": "0.5", "more": "no", "onlyThisCall": 0}),
        ("comms_make_call", {"to": "+4930123456", "dryRun": "true", "ringSeconds": "20", "onVoicemail": ""}),
        ("comms_make_call", {"to": "+4930123456", "dryRun": "True", "waitForHuman": "1"}),
        ("comms_send_voice_message", {"to": "+4930123456", "text": "5", "dryRun": "yes", "ringSeconds": "30"}),
    ],
)
async def test_numbers_and_truth_may_come_as_text(name: str, arguments: dict[str, Any], tools: Toolbox) -> None:
    """Hosts whose forms hold text only are understood, and an empty field counts as left out."""
    result = await called(tools, ANNA, name, arguments)
    assert not result.is_error, result.structured_content


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("comms_get_waiting_messages", {"limit": "five"}),
        ("comms_get_waiting_messages", {"limit": "5.5"}),
        ("comms_get_waiting_messages", {"limit": "0x5"}),
        ("comms_converse", {"waitSeconds": "soon"}),
        ("comms_converse", {"waitSeconds": "nan"}),
        ("comms_converse", {"more": "perhaps"}),
        ("comms_make_call", {"to": ""}),
        ("comms_make_call", {"to": 4930123456}),
        ("comms_end_call", {"callSid": ""}),
        ("comms_make_call", {"to": "+4930123456", "ringSeconds": "9" * 5000}),
    ],
)
async def test_text_that_is_no_number_is_refused(name: str, arguments: dict[str, Any]) -> None:
    """What is not plainly a number or a truth value is an error that names the field."""
    code, message = error_of(await called(all_tools(), ANNA, name, arguments))
    assert code == "bad_arguments"
    assert list(arguments)[-1] in message
    assert len(message) < 400


@pytest.mark.parametrize("name", [each.name for each in all_tools().definitions])
async def test_foreign_input_is_never_explained_at_length(name: str) -> None:
    """However much is wrong, the first fault suffices, and nothing that was sent comes back but a name, shortened."""
    needed = NEEDED.get(name, {})
    for arguments in (
        {f"secret{number}": "secret" for number in range(9_000)},
        {"x" * 500_000: 1},
        {**needed, "agentId": {"secret": ["secret"] * 9_000}},
        {each: ["secret"] * 9_000 for each in all_arguments(name)},
        dict.fromkeys(all_arguments(name), "secret" * 100000),
    ):
        code, message = error_of(await called(all_tools(), ANNA, name, arguments))
        # Of a tool without arguments of its own, what is wrong may be the agent alone.
        assert code == "bad_arguments" or (code == "not_your_agent" and all_arguments(name) == ["agentId"])
        assert len(message) < 600
        assert message.count("secret") <= 1


@pytest.mark.parametrize("given", NO_SIDS)
async def test_what_is_no_call_sid_is_said_to_be_none(given: str) -> None:
    """Each tool that takes a call turns away what has not the form of its id, and repeats none of it."""
    takers = {each.name for each in all_tools().definitions if "callSid" in each.input_schema["properties"]}
    assert len(takers) == 5
    for name in takers:
        needed = {"turn": 1, "say": "Yes."} if name == "comms_converse" else NEEDED[name]
        arguments = {key: value for key, value in needed.items() if key != "number"} | {"callSid": given}
        code, message = error_of(await called(all_tools(), ANNA, name, arguments))
        assert code == "bad_arguments"
        assert "callSid" in message
        assert len(given) < 4 or given not in message


def all_arguments(name: str) -> list[str]:
    definition = next(each for each in all_tools().definitions if each.name == name)
    return list(definition.input_schema["properties"])


def test_each_tool_has_a_row_in_the_page_for_clients() -> None:
    """What a client may call, docs/clients.md says what it takes and gives."""
    page = (Path(__file__).parents[4] / "docs/clients.md").read_text(encoding="utf-8")
    assert [each.name for each in all_tools().definitions if f"| `{each.name}` |" not in page] == []


async def test_unknown_tool_is_named_in_short() -> None:
    """A name that is no tool is repeated only as far as a person would read it."""
    with pytest.raises(MCPError) as caught:
        await called(all_tools(), ANNA, "x" * 900_000, {})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", [each.name for each in all_tools().definitions])
async def test_no_tool_acts_for_another_agent(name: str) -> None:
    """Naming another agent is an error of its own, whatever else is asked."""
    arguments = {"agentId": "bert", **NEEDED.get(name, {})}
    code, _ = error_of(await called(all_tools(), ANNA, name, arguments))
    assert code == "not_your_agent"


async def test_null_is_as_good_as_left_out(tools: Toolbox) -> None:
    """Models fill optional arguments with null; that is no error."""
    arguments = {"agentId": None, "acknowledge": None}
    assert not (await called(tools, ANNA, "comms_get_waiting_messages", arguments)).is_error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreFailed("disk full"), "try_again"),
        (DatabaseError("no such file"), "try_again"),
        (UnknownCall(sid(9)), "unknown_call"),
        (RuntimeError("a secret detail"), "internal_error"),
        (ExceptionGroup("a secret detail", [ValueError("another")]), "internal_error"),
    ],
)
async def test_failure_becomes_a_result(error: Exception, code: str) -> None:
    """What fails inside comes back in words for a model, without its details."""
    answered, message = error_of(await called(Toolbox([tool_that(error)]), ANNA, "broken", {}))
    assert answered == code
    assert str(error) not in message


async def test_refusal_is_answered_with_its_words_and_facts() -> None:
    """What was refused outside the tools keeps its code, its sentence and its details, which fit the schema."""
    details = {"refusals": [{"name": "do_not_call", "sentence": "No.", "liftedBy": "Nothing."}], "nextAllowed": None}
    failed = await called(Toolbox([tool_that(OutboundRefused("do_not_call", "No.", details))]), ANNA, "broken", {})
    assert error_of(failed) == ("do_not_call", "No.")
    assert failed.structured_content["error"]["details"] == details


async def test_refusal_without_facts_has_no_details() -> None:
    """An empty `details` is left out."""
    failed = await called(Toolbox([tool_that(OutboundRefused("no_carrier", "No."))]), ANNA, "broken", {})
    assert failed.structured_content == {"error": {"code": "no_carrier", "message": "No."}}


async def test_crash_is_logged_without_what_it_was_made_of() -> None:
    """The log says which tool crashed, with what and where, but no text of the exception."""
    with structlog.testing.capture_logs() as logs:
        await called(Toolbox([tool_that(RuntimeError("+15550001111"))]), ANNA, "broken", {})
    (entry,) = logs
    assert (entry["event"], entry["tool"], entry["agent_id"]) == ("tool_crashed", "broken", "anna")
    assert entry["errors"][0].startswith("RuntimeError at toolbox.py:")
    assert "+15550001111" not in str(entry)


async def test_unknown_tool_is_a_protocol_error() -> None:
    """A name that is no tool is refused as the specification says."""
    with pytest.raises(MCPError, match="Unknown tool"):
        await called(all_tools(), ANNA, "comms_fly", {})


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk all fields of a schema, those inside objects and arrays too."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
    if "items" in schema:
        yield from fields(schema["items"], f"{path}[]")
    for each in schema.get("anyOf", ()):
        yield from fields(each, path)


def test_walk_finds_nested_fields() -> None:
    """The next test looks at every level."""
    inner: dict[str, Any] = {"properties": {"c": {}}}
    schema = {"properties": {"a": {"items": inner}, "b": {"anyOf": [inner, {}]}}}
    assert [path for path, _ in fields(schema)] == [".a", ".a[].c", ".b", ".b.c"]


@pytest.mark.parametrize("definition", all_tools().definitions, ids=lambda each: each.name)
def test_definition_describes_every_field(definition: types.Tool) -> None:
    """Every field at every level has a type and a description, nothing unknown is allowed, and schemas are plain."""
    assert definition.description
    assert definition.annotations is not None
    assert definition.input_schema["additionalProperties"] is False
    assert definition.output_schema is not None
    for schema in (definition.input_schema, definition.output_schema):
        jsonschema.Draft202012Validator.check_schema(schema)
        assert not {"$ref", "$defs", "allOf"} & set(re.findall(r"[$\w]+", json.dumps(schema)))
        assert [path for path, field in fields(schema) if not field.get("description")] == []
        assert all(("type" in field) != ("anyOf" in field) for _, field in fields(schema))
    assert "anyOf" not in json.dumps(definition.input_schema)


def types_in(schema: object) -> Iterator[object]:
    """Walk every `type` of a schema, wherever it stands."""
    if isinstance(schema, dict):
        yield from ([schema["type"]] if isinstance(schema.get("type"), str | list) else [])
        for each in schema.values():
            yield from types_in(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from types_in(each)


@pytest.mark.parametrize("definition", all_tools().definitions, ids=lambda each: each.name)
def test_type_is_one_type(definition: types.Tool) -> None:
    """A list of types is legal JSON Schema that breaks hosts, so what may be null is said by `anyOf`."""
    found = [*types_in(definition.input_schema), *types_in(definition.output_schema)]
    assert len(found) > 4
    assert [each for each in found if not isinstance(each, str)] == []


def test_walk_finds_lists_of_types() -> None:
    """The test before looks at every level."""
    schema = {"properties": {"type": {"type": ["string", "null"]}, "b": {"anyOf": [{"items": {"type": "null"}}]}}}
    assert list(types_in(schema)) == [["string", "null"], "null"]


def test_null_is_described_beside_the_type() -> None:
    """What may be null says so, and what it is else."""
    output = all_tools().definitions
    calls = next(each for each in output if each.name == "comms_list_calls").output_schema
    assert calls is not None
    call = calls["properties"]["calls"]["items"]["properties"]
    assert call["endedAt"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert call["transfer"]["anyOf"][0]["properties"]["to"]["anyOf"][1] == {"type": "null"}
    jsonschema.validate({"to": None, "outcome": "busy"}, call["transfer"])
    jsonschema.validate(None, call["transfer"])


async def test_error_keeps_to_the_output_schema() -> None:
    """Clients that check error results against the schema accept them."""
    tools = all_tools()
    for definition in tools.definitions:
        failed = await called(tools, ANNA, definition.name, {"what": "?"})
        assert definition.output_schema is not None
        jsonschema.validate(failed.structured_content, definition.output_schema)
