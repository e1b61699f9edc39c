"""The base of tool arguments, tolerant of what hosts send, and the texts about invalid ones.

Those texts are short for any input: the first faults, without the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, from_json

from relay.twilio.call_sids import is_call_sid

# Characters of a list that comes as JSON text: a hundred ids of the longest kind, and some room.
_LONGEST_LIST = 16_384
_MOST_FAULTS = 3
_LONGEST_NAME = 64


def _known_form(given: str) -> str:
    # Empty stands for what is left out, where it may be.
    if given and not is_call_sid(given):
        raise PydanticCustomError(
            "call_sid",
            "that is not the id of a call, which is CA and 32 hexadecimal digits; comms_list_calls names them",
        )
    return given


# Refused here and not as an unknown call, so that a model that has shortened the id learns that it did.
CallSid = Annotated[str, Field(max_length=64), AfterValidator(_known_form)]


class Arguments(BaseModel):
    """Base of every tool's arguments: names in camelCase, nothing unknown, null as good as left out.

    A type with None is for what has no value of its own that means "left out"; the schema does not show the None.

    Hosts and models send values as text, so each argument is taken in that form too: a number ("5") and a truth value
    ("true") as pydantic reads them, a list as JSON text ('["m1", "m2"]') or as its only element ("m1"). An empty text
    for what is no text, or one of a choice of words, counts as left out: forms send it.
    """

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    agent_id: str = Field(
        default="", description="Leave it out: your token says which agent you act for. Another agent's is an error."
    )

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, given: dict[str, Any]) -> dict[str, Any]:
        # Models fill in null for what they leave out, also where the schema has no null.
        forms = _forms_of(cls)
        meant = {}
        for name, value in given.items():
            if value is None:
                continue
            form = forms.get(name, _Form.TEXT) if isinstance(value, str) else _Form.TEXT
            if form is _Form.TEXT:
                meant[name] = value
            elif value.strip():
                meant[name] = _list_in(value.strip()) if form is _Form.LIST else value
        return meant

    @classmethod
    def first_unknown(cls, given: Mapping[str, Any]) -> str | None:
        """Return the first of these names that is none of its arguments, or None."""
        known = _forms_of(cls)
        if given.keys() <= known.keys():
            return None
        return next(name for name in given if name not in known)


ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


class _Form(Enum):
    """The meaning of a text argument: itself, a list, or another value such as a number."""

    TEXT = auto()
    LIST = auto()
    VALUE = auto()


@cache
def _forms_of(arguments: type[Arguments]) -> dict[str, _Form]:
    """Return the form of each argument, by its name on the wire. Kept: a turn of a call asks for it twice."""
    return {str(field.alias): _form_of(field.annotation) for field in arguments.model_fields.values()}


def _form_of(annotation: object) -> _Form:
    if get_origin(annotation) is list:
        return _Form.LIST
    return _Form.TEXT if _takes_any_text(annotation) else _Form.VALUE


def _takes_any_text(annotation: object) -> bool:
    if annotation is str or get_origin(annotation) is list:
        return annotation is str
    return any(_takes_any_text(each) for each in get_args(annotation))


def _list_in(text: str) -> object:
    """Return the list that a text stands for, or the text itself where that cannot be told."""
    if text.startswith("["):
        try:
            return from_json(text) if len(text) <= _LONGEST_LIST else text
        except ValueError:
            return text
    # What looks like several is not guessed at: which of them are ids, only the sender knows.
    return text if any(each in text for each in ", \n\t;") else [text]


def explain(error: ValidationError) -> str:
    """Describe the first faults, without repeating the input."""
    problems = []
    for each in error.errors(include_url=False, include_context=False, include_input=False)[:_MOST_FAULTS]:
        field = ".".join(str(part) for part in each["loc"]) or "arguments"
        form = ', such as ["id-1", "id-2"]' if each["type"] == "list_type" else ""
        problems.append(f"{field}: {each['msg']}{form}")
    return "; ".join(problems)


def shortened(name: str) -> str:
    """Shorten a name that a client made up, to be repeated to it."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
