"""What a page's function is asked, and what it answers with: plain values, so that it needs no server to be tested.

Asked ──▶ a page's function ──▶ Page | Fragment | Redirect | Document | Download, or raises Refused
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, TypeAlias

import attrs

from relay.console.sign_in import SignedIn


class Section(StrEnum):
    """The pages of the header, each with its title and, in `path`, its address."""

    LIVE = "Live"
    MESSAGES = "Messages"
    AGENTS = "Agents"
    HISTORY = "History"
    PHONE = "Phone"
    SET_UP = "Set-up"

    @property
    def path(self) -> str:
        """Where it is."""
        return "/console" if self is Section.LIVE else f"/console/{self.value.lower()}"


@attrs.frozen(kw_only=True)
class Asked:
    """A request that was let in. `arguments` come from the path; of repeated names in `query` and `form` the first.

    `nonce` is for the `hx-nonce` of htmx's elements. `is_part` says that htmx asks, and takes a part of a page.
    """

    by: SignedIn
    path: str
    nonce: str = ""
    arguments: Mapping[str, str] = attrs.field(factory=dict)
    query: Mapping[str, str] = attrs.field(factory=dict)
    form: Mapping[str, str] = attrs.field(factory=dict)
    is_part: bool = False


@attrs.frozen(kw_only=True)
class Page:
    """A whole page: a template that extends `layout.html`. `title` is the window's, such as `(12) Live`."""

    template: str
    title: str
    section: Section | None
    values: Mapping[str, Any] = attrs.field(factory=dict)
    status: int = 200


@attrs.frozen(kw_only=True)
class Fragment:
    """A part of a page, for htmx: a template of its own. Its values get `nonce` and `by` too."""

    template: str
    values: Mapping[str, Any] = attrs.field(factory=dict)
    status: int = 200


@attrs.frozen
class Redirect:
    """Another page, which the browser loads with GET."""

    path: str


@attrs.frozen(kw_only=True)
class Document:
    """JSON, for programs."""

    content: Mapping[str, Any]
    status: int = 200


@attrs.frozen(kw_only=True)
class Download:
    """A file to keep."""

    content: bytes = attrs.field(repr=False)
    media_type: str
    name: str


@attrs.frozen
class Nothing:
    """It is done, and there is nothing to show: status 204, on which htmx changes nothing."""


Answer: TypeAlias = Page | Fragment | Redirect | Document | Download | Nothing


@attrs.frozen(kw_only=True)
class Route:
    """A path below `/console`, such as `/calls/<call_sid>/say`, and the function that answers there.

    `acting` is for what the role `read` may not do: every POST, unless it is said otherwise.
    """

    rule: str
    function: Callable[[Asked], Awaitable[Answer]]
    method: str = "GET"
    acting: bool = attrs.field()

    @acting.default
    def _is_post(self) -> bool:
        return self.method == "POST"
