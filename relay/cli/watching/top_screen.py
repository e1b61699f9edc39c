"""The application of `relay top`, and its first screen: the calls that are going on.

    ConsoleApi.follow ──state──▶ LiveCalls | OneCall ──▶ widgets          a worker each, cancelled with its screen

A state replaces the one before. What the reader does stays as it is: the row that is marked, where the list is scrolled
to, and a conversation follows its end only while its end is in view.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Input, Static

from relay.cli.printing import printable
from relay.cli.watching import shown
from relay.cli.watching.call_screen import OneCall
from relay.cli.watching.console_api import LIVE, ConsoleApi, Me, State
from relay.cli.watching.screen import GaveUp, Watching, put_rows
from relay.console.asked_calls import LONGEST_TEXT
from relay.errors import RelayError

_SCROLLBAR = 2


class _Calls(DataTable[str | Text]):
    """The table of calls; that Enter opens one is said in the footer."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Open")]


class LiveCalls(Watching):
    """The calls that are going on, oldest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # With priority: it is acted on before the next key is given to whom has the focus, which the field has by then.
        Binding("slash", "filter", "Filter", key_display="/", priority=True),
        Binding("escape", "clear", "All calls", show=False),
        Binding("n", "page(1)", "Next page", show=False),
        Binding("p", "page(-1)", "Page before", show=False),
        Binding("j", "cursor('down')", "Down", show=False),
        Binding("k", "cursor('up')", "Up", show=False),
    ]

    def __init__(self, api: ConsoleApi, me: Me) -> None:
        super().__init__(api)
        self._me = me
        self._wanted = ""
        self._page = 1

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        yield Static(id="facts")
        yield Static(id="trouble")
        yield Input(placeholder="a part of a number, an agent, words", id="filter", max_length=LONGEST_TEXT)
        yield _Calls(id="calls", cursor_type="row")
        yield Static(id="empty")
        yield Footer()

    def on_mount(self) -> None:
        """Make the columns. The framework then calls that of the base, too."""
        self._table.add_columns(*shown.COLUMNS)
        for name in ("#trouble", "#filter", "#empty"):
            self.query_one(name).display = False
        self._table.focus()

    @property
    def _table(self) -> DataTable[str | Text]:
        return self.query_one("#calls", DataTable)

    def path(self) -> str:
        """Return where the state is."""
        return LIVE

    def query_now(self) -> dict[str, str]:
        """Return the filter and the page."""
        return {"q": self._wanted, "page": str(self._page)}

    def show(self, state: State) -> None:
        """Show the calls; the marked row stays the same call's. Of a page that is none any more, the last one."""
        if self._page > state["pages"]:
            self._page = state["pages"]
            self._follow_anew()
            return
        now = datetime.now(UTC)
        wanted = f" · filter: {self._wanted}" if self._wanted else ""
        self.query_one("#facts", Static).update(Text(f"relay · {shown.facts(state, now)}{printable(wanted)}"))
        cells = shown.fitted([shown.row(each, now) for each in state["calls"]], self.size.width - _SCROLLBAR)
        put_rows(self._table, [(each["callSid"], row) for each, row in zip(state["calls"], cells, strict=True)])
        empty = self.query_one("#empty", Static)
        empty.display = not state["calls"]
        # Not hidden: it would lose the focus, and Enter with it.
        self._table.styles.height = "1fr" if state["calls"] else "auto"
        if self._wanted:
            empty.update(Text("No live call matches. Escape shows all."))
        else:
            empty.update(Text("No live calls. Ring an agent with `relay call AGENT`, or call its number."))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open a call."""
        self.app.push_screen(OneCall(self.api, self._me, str(event.row_key.value)))

    def action_cursor(self, way: str) -> None:
        """Mark the row above or below."""
        (self._table.action_cursor_down if way == "down" else self._table.action_cursor_up)()

    def action_page(self, step: int) -> None:
        """Turn to another page, if there is one."""
        pages = 1 if self.state is None else self.state["pages"]
        if 1 <= self._page + step <= pages:
            self._page += step
            self._follow_anew()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether a key does something: in the field of the filter `/` is a character."""
        if action == "filter" and isinstance(self.focused, Input):
            return False
        return super().check_action(action, parameters)

    def action_filter(self) -> None:
        """Ask for a filter."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.value = self._wanted
        # At once: `focus` waits for its turn, and what is typed meanwhile would be keys of the table.
        self.set_focus(field)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Show what the filter takes."""
        self._filter(event.value)

    def action_clear(self) -> None:
        """Show all calls."""
        self._filter("")

    def _filter(self, wanted: str) -> None:
        self.query_one("#filter").display = False
        self._table.focus()
        if wanted != self._wanted:
            self._wanted, self._page = wanted, 1
            self._follow_anew()


class Top(App[None]):
    """The application."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "relay top"
    CSS = """
    #facts { height: auto; background: $panel; padding: 0 1; }
    #trouble { height: auto; background: $error; color: $text; padding: 0 1; }
    #filter { height: 3; }
    #calls { height: 1fr; }
    #empty { height: 1fr; padding: 1 1; }
    """

    def __init__(self, api: ConsoleApi, me: Me) -> None:
        super().__init__()
        self._console_api = api
        self._me = me
        self.trouble: RelayError | None = None
        """Why it has ended, if not because the reader wanted it to."""

    def on_mount(self) -> None:
        """Show the calls."""
        self.push_screen(LiveCalls(self._console_api, self._me))

    def on_gave_up(self, message: GaveUp) -> None:
        """End, and leave why."""
        self.trouble = message.trouble
        self.exit()
