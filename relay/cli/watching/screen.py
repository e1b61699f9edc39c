"""What the screens of `relay top` have in common: a state that is followed, and rows that stay where they are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DataTable, Static

from relay.cli.printing import printable
from relay.cli.watching import shown
from relay.cli.watching.console_api import ConsoleApi, State
from relay.errors import RelayError


class GaveUp(Message):
    """The daemon refuses to show what is followed: `trouble` says why, and what to do."""

    def __init__(self, trouble: RelayError) -> None:
        super().__init__()
        self.trouble = trouble


class Watching(Screen[None]):
    """What both screens have: a line on top, a line for trouble, and clocks that stop while the connection is lost."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.quit", "Quit"),
        Binding("question_mark", "help", "Keys", key_display="?"),
    ]

    def __init__(self, api: ConsoleApi) -> None:
        super().__init__()
        self.api = api
        self.state: State | None = None
        self._as_of = ""
        self._is_lost = False

    def on_mount(self) -> None:
        """Follow, and let the clocks go on."""
        self.set_interval(1, self._tick)
        self._follow_anew()

    def path(self) -> str:
        """Return where the state is."""
        raise NotImplementedError

    def query_now(self) -> dict[str, str]:
        """Return which of it is wanted."""
        return {}

    def show(self, state: State) -> None:
        """Show a state."""
        raise NotImplementedError

    def action_help(self) -> None:
        """Show the list of keys, or take it away."""
        if self.query("HelpPanel"):
            self.app.action_hide_help_panel()
        else:
            self.app.action_show_help_panel()

    def _follow_anew(self) -> None:
        self.run_worker(self._follow(), exclusive=True, group="follow")

    async def _follow(self) -> None:
        try:
            await self.api.follow(self.path(), self._take, self._lose, **self.query_now())
        except RelayError as error:
            self.post_message(GaveUp(error))

    async def _take(self, state: State) -> bool:
        self.state, self._is_lost = state, False
        self._as_of = f"{datetime.now(UTC):%H:%M:%S}"
        self._say(printable(state["banner"] or ""))
        self.show(state)
        return True

    def _lose(self, why: str) -> None:
        self._is_lost = True
        as_of = f" As of {self._as_of}Z." if self._as_of else ""
        self._say(f"{printable(why)}; trying again.{as_of}")

    def _say(self, trouble: str) -> None:
        line = self.query_one("#trouble", Static)
        line.update(Text(trouble))
        line.display = bool(trouble)

    def _tick(self) -> None:
        if self.state is not None and not self._is_lost:
            self.show(self.state)


def put_rows(table: DataTable[str | Text], rows: list[tuple[str, shown.Cells]]) -> None:
    """Show rows by their keys; the cursor stays with its row, and the list where it is scrolled to."""
    keys = [key.value for key in table.rows]
    columns = list(table.columns)
    if keys == [key for key, _cells in rows]:
        for key, cells in rows:
            for column, cell in zip(columns, cells, strict=True):
                if table.get_cell(key, column) != cell:
                    table.update_cell(key, column, cell, update_width=True)
        return
    marked = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value if keys else None
    place, across = table.scroll_y, table.scroll_x
    row = table.cursor_row
    table.clear()
    for key, cells in rows:
        table.add_row(*cells, key=key)
    found = next((number for number, (key, _cells) in enumerate(rows) if key == marked), min(row, len(rows) - 1))
    if rows:
        table.move_cursor(row=found, animate=False, scroll=False)
        table.scroll_to(x=across, y=place, animate=False)
