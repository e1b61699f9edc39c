"""The parts of the pages Live and Call that change by themselves, as HTML: for the page, and for its stream.

    LiveState, CallState ──▶ {"facts": …, "calls": …}      the id of an element of the page, and what stands in it

Parts carry no `hx-*`: one rendering serves all tabs, whose nonces differ, and markup that should ever slip in could not
act. What has not changed since the last time (a row, a line) is not rendered again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

import attrs
from markupsafe import Markup

from relay.console.asked_calls import query_of
from relay.console.kept import Kept
from relay.console.pace import Pace
from relay.console.rendering import Renderer
from relay.console.views import CallState, LiveState


@attrs.define(eq=False)
class Fragments:
    """Renders the states of one view, one after the other; keeps what the last one was made of, and no more."""

    renderer: Renderer
    pace: Pace
    _kept: Kept = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._kept = Kept(self.renderer.render_part, self.pace)

    async def live(self, state: LiveState, *, webhook: str) -> Mapping[str, Markup]:
        """Return the parts of the page Live. `webhook` is the address to give the carrier."""
        rows = await self._all("live_row.html", state.rows)
        parts = {
            "facts": await self._one("live_facts.html", state.facts),
            "calls": self._whole(
                "live_calls.html",
                state=state,
                rows=rows,
                webhook=webhook,
                earlier=_page(state, -1),
                later=_page(state, 1),
            ),
            "banners": self._whole("banner.html", banner=state.banner),
        }
        self._kept.turn_over()
        return parts

    async def call(self, state: CallState) -> Mapping[str, Markup]:
        """Return the parts of the page Call; of a call that is over, without the conversation if it is not known."""
        parts = {
            "head": self._whole("call_head.html", state=state),
            "turns": self._whole("call_turns.html", state=state, rows=await self._all("turn_row.html", state.turns)),
            "decisions": self._whole(
                "call_decisions.html", state=state, rows=await self._all("decision.html", state.decisions)
            ),
            "facts": self._whole("call_facts.html", state=state),
            "banners": self._whole("banner.html", banner=state.banner),
        }
        if state.lines is not None:
            lines = await self._all("said.html", state.lines)
            parts["conversation"] = self._whole("call_lines.html", lines=lines)
        self._kept.turn_over()
        return parts

    def _whole(self, template: str, **values: object) -> Markup:
        return Markup(self.renderer.render(template, values))  # noqa: S704 - of a template that escapes

    async def _all(self, template: str, values: Iterable[Hashable]) -> Markup:
        return Markup("".join(await self._kept.all(template, values)))  # noqa: S704 - each is one

    async def _one(self, template: str, value: Hashable) -> Markup:
        return Markup(await self._kept.one(template, value))  # noqa: S704 - of a template that escapes


def _page(state: LiveState, step: int) -> str:
    """Return the address of another page of the calls; empty if there is none."""
    page = state.filter.page + step
    return f"/console?{query_of(state.filter, page=page)}" if 1 <= page <= state.pages else ""
