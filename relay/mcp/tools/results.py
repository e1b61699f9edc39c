"""The base of tool results, and how arguments and results become JSON schemas.

A result is a model, and its schema is made of it, so what a tool says it returns and what it returns cannot differ.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

Schema = dict[str, Any]


def _wire_name(name: str) -> str:
    return to_camel(name.removesuffix("_"))  # `from_`, because `from` is Python's


class Result(BaseModel):
    """Base of what tools return: names in camelCase, fields that were not set left out.

    `required` in the schema are the fields without a default, unless `json_schema_extra` names fewer: those that every
    later release will have too, and by which a client tells one kind of result from another.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=_wire_name, populate_by_name=True)

    def as_json(self) -> dict[str, Any]:
        """Return the result as it goes on the wire."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class Failure(Result):
    """What is wrong, in a result that is an error."""

    code: str = Field(description="What went wrong, in snake_case.")
    message: str = Field(description="What is wrong and what to do.")


class PlainSchema(GenerateJsonSchema):
    """Schemas of arguments: no titles, empty defaults or null of optional types, which only cost a model tokens."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the base class names it
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        described = super().default_schema(schema)
        if not described.get("default", True):
            del described["default"]
        return described

    def nullable_schema(self, schema: core_schema.NullableSchema) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])


class _ResultSchema(PlainSchema):
    def nullable_schema(self, schema: core_schema.NullableSchema) -> dict[str, Any]:
        # By `anyOf`: a list of types is legal, and breaks some hosts.
        return {"anyOf": [self.generate_inner(schema["schema"]), {"type": "null"}]}


@cache
def arguments_schema(arguments: type[BaseModel]) -> Schema:
    """Return the schema of a tool's arguments; made once, because that takes milliseconds, and not to be changed."""
    return arguments.model_json_schema(schema_generator=PlainSchema)


@cache
def schema_of(result: type[Result]) -> Schema:
    """Return the schema of a result, written out in full: some clients do not follow a `$ref`.

    It is made once, which takes some milliseconds, and is not to be changed.
    """
    schema = result.model_json_schema(schema_generator=_ResultSchema)
    written_out: Schema = _written_out(schema, schema.get("$defs", {}))
    return written_out


def _written_out(schema: Any, models: dict[str, Schema]) -> Any:
    if isinstance(schema, list):
        return [_written_out(each, models) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        # The field that uses the model describes it; its docstring is for readers of the code.
        model = models[schema["$ref"].rpartition("/")[2]]
        schema = {name: value for name, value in model.items() if name != "description"} | schema
    # A later release may add fields.
    dropped = {"$ref", "$defs", "title"} | ({"additionalProperties"} if schema.get("properties") else set())
    return {name: _written_out(value, models) for name, value in schema.items() if name not in dropped}


def output_schema(results: tuple[type[Result], ...], failure: type[Failure]) -> Schema:
    """Return the schema of a tool that returns one of these results, or an error.

    The error stands beside the results because the TypeScript clients check error results against the schema as well.
    """
    schemas = [schema_of(each) for each in results]
    properties: Schema = {}
    for each in schemas:
        properties |= {name: field for name, field in each["properties"].items() if name not in properties}
    error = schema_of(failure) | {"description": "Present only when the call failed."}
    return {
        "type": "object",
        "properties": properties | {"error": error},
        "oneOf": [*({"required": each.get("required", [])} for each in schemas), {"required": ["error"]}],
    }
