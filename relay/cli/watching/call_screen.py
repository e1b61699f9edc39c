"""The screen of one call: what is said, its turns, what it decides; and, for who may act, what is done in it.

    s ──▶ a field, a line each ─┐
    t x h ──▶ dialogs ──────────┼──▶ ActionForm ──▶ what came of it, in the line above the keys
    t ──▶ hand back ────────────┘

The keys are off while the picture is old, because the connection is lost, and once the call is over: acting on an old
picture is how the wrong call is hung up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Key
from textual.widgets import DataTable, Footer, Input, Static, TabbedContent, TabPane

from actors.operator_seat import GONE_SECONDS
from relay.cli.printing import printable
from relay.cli.watching import shown
from relay.cli.watching.action_dialog import ActedOn, ActionDialog
from relay.cli.watching.action_dialogs import HangUp, TakeOver, TransferCall
from relay.cli.watching.action_form import ActionForm
from relay.cli.watching.call_tail import is_over
from relay.cli.watching.console_api import ConsoleApi, Lost, Me, NotDone, State, call_path
from relay.cli.watching.screen import Watching, put_rows
from relay.console.action_forms import LONGEST_TEXT
from relay.console.words import ONLY_LOOKS

_ACTING = {"s": "say", "t": "take_over", "x": "transfer", "h": "hang_up"}
_ACTIONS = frozenset({*_ACTING.values(), "hand_back"})
_TYPING_EVERY = 3.0
_MOST_LINES = 20
"""Lines that may wait to be sent: each waits for the one before."""


class _LineField(Input):
    """A field that is emptied by Enter at once: what is typed on is another line.

    `say` is given each line, and returns whether it is taken. The framework's own message of Enter comes later: what is
    typed meanwhile would be part of the line, or lost with it.
    """

    def __init__(self, say: Callable[[str], bool], **options: Any) -> None:
        super().__init__(select_on_focus=False, max_length=LONGEST_TEXT, **options)
        self._say = say

    def on_key(self, event: Key) -> None:
        """Take Enter; the framework then gives any other key to the base."""
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            if self._say(self.value):
                self.clear()


class OneCall(Watching):
    """One call: what was said, its turns, what was decided, and the keys that act in it."""

    # The keys that act have priority: what is pressed in the same moment goes to the field or the dialog that they
    # open, and is no command of this screen.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back"),
        Binding("s", "say", "Say", priority=True),
        Binding("t", "take_over", "Take over", priority=True),
        Binding("t", "hand_back", "Hand back", priority=True),
        Binding("x", "transfer", "Transfer", priority=True),
        Binding("h", "hang_up", "Hang up", priority=True),
        Binding("1", "tab('conversation')", "Conversation", show=False),
        Binding("2", "tab('turns')", "Turns", show=False),
        Binding("3", "tab('decisions')", "Decisions", show=False),
    ]
    DEFAULT_CSS = """
    OneCall TabbedContent { height: 1fr; }
    OneCall TabPane { padding: 0 1; }
    OneCall #times { height: 1fr; }
    OneCall #say { height: 3; }
    OneCall #outcome { height: auto; padding: 0 1; }
    """

    def __init__(self, api: ConsoleApi, me: Me, call_sid: str) -> None:
        super().__init__(api)
        self._me = me
        self._call_sid = call_sid
        self._saying, self._handing_back = self._form("say"), self._form("hand-back")
        self._lines: list[str] = []
        self._typed_at = -_TYPING_EVERY
        self._offered: tuple[str, bool] = ("", False)

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        yield Static(id="facts")
        yield Static(id="trouble")
        with TabbedContent(initial="conversation"):
            with TabPane("1 Conversation", id="conversation"), VerticalScroll():
                yield Static(id="said")
            with TabPane("2 Turns", id="turns"):
                yield DataTable(id="times", cursor_type="row")
            with TabPane("3 Decisions", id="decisions"), VerticalScroll():
                yield Static(id="decided")
        yield _LineField(self._say_line, placeholder="say, Enter; Escape leaves the field", id="say")
        yield Static(id="outcome")
        yield Footer()

    def on_mount(self) -> None:
        """Make the columns. The framework then calls that of the base, too."""
        self.query_one("#times", DataTable).add_columns(*shown.TURN_COLUMNS)
        for name in ("#trouble", "#say", "#outcome"):
            self.query_one(name).display = False

    def path(self) -> str:
        """Return where the state is."""
        return call_path(self._call_sid)

    def show(self, state: State) -> None:
        """Show the call. What was said before it ended stays, also where nothing of it is kept."""
        self.query_one("#facts", Static).update(shown.head(state, datetime.now(UTC)))
        self._put("#said", shown.conversation(state))
        self._put("#decided", shown.decisions(state))
        put_rows(self.query_one("#times", DataTable), list(shown.turns(state)))

    async def _take(self, state: State) -> bool:
        if state["lines"] is None and self.state is not None:
            state = {**state, "lines": self.state["lines"]}
        await super()._take(state)
        self._look()
        return not is_over(state)

    def _lose(self, why: str) -> None:
        super()._lose(why)
        self._look()

    def action_tab(self, name: str) -> None:
        """Show another part of the call."""
        self.query_one(TabbedContent).active = name

    def action_back(self) -> None:
        """Leave the field; then the call."""
        field = self.query_one("#say", Input)
        if self.focused is field:
            self.set_focus(self.query_one(TabbedContent).query_one("Tabs"))
            field.display = bool(field.value)
            return
        if self._is_mine and not self.why_not():
            seconds = f"{GONE_SECONDS:.0f} seconds"
            message = f"You have that call still. It is handed back in {seconds} unless you open it again."
            self.app.notify(message, severity="warning", markup=False)
        self.app.pop_screen()

    def _put(self, name: str, text: Text) -> None:
        line = self.query_one(name, Static)
        around = line.parent
        assert isinstance(around, VerticalScroll)
        at_end = around.scroll_y >= around.max_scroll_y - 1
        line.update(text)
        if at_end:
            around.scroll_end(animate=False)

    # ── what may be done ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _is_mine(self) -> bool:
        return self.state is not None and self.state["operator"] == self._me.operator

    def why_not(self) -> str:
        """Return why nothing may be done in the call now, empty if something may."""
        if not self._me.acts:
            return ONLY_LOOKS
        if self.state is None:
            return "Nothing is known of this call yet."
        if self._is_lost:
            return f"The connection is lost, so nothing can be done: this is as of {self._as_of}Z."
        return f"This call is {shown.over(self.state)}." if is_over(self.state) else ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether a key is shown and does something; None for one that is shown, and off."""
        if action not in _ACTIONS:
            return super().check_action(action, parameters)
        is_other = action == ("take_over" if self._is_mine else "hand_back")
        if is_other or not self._me.acts:
            return False
        return None if self.why_not() else True

    def on_key(self, event: Key) -> None:
        """Show why a key does nothing."""
        if event.key in _ACTING and (why := self.why_not()):
            self._tell(why)

    def _look(self) -> None:
        """Show the keys as they are now, in a dialog too."""
        offered = (self.why_not(), self._is_mine)
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()
            if isinstance(self.app.screen, ActionDialog):
                self.app.screen.look()

    def _tell(self, what: str) -> None:
        """Show what came of an action; nothing if that is empty. Also who has left the call is told."""
        if not self.is_attached:
            self.app.notify(printable(what), markup=False)
            return
        line = self.query_one("#outcome", Static)
        line.update(Text(printable(what)))
        line.display = bool(what)

    # ── what is done ────────────────────────────────────────────────────────────────────────────────────────────────

    def _form(self, action: str) -> ActionForm:
        return ActionForm(self.api, self._call_sid, action)

    def _call(self) -> ActedOn:
        self._tell("")
        return ActedOn(why_not=self.why_not, tell=self._tell, form=self._form)

    def action_take_over(self) -> None:
        """Ask when to take the call over."""
        self.app.push_screen(TakeOver(self._call()))

    def action_transfer(self) -> None:
        """Ask where to transfer the call to."""
        self.app.push_screen(TransferCall(self._call()))

    def action_hang_up(self) -> None:
        """Ask whether to hang up."""
        self.app.push_screen(HangUp(self._call()))

    def action_hand_back(self) -> None:
        """Hand the call back."""
        self._tell("")
        self.app.run_worker(self._send_hand_back())

    async def _send_hand_back(self) -> None:
        try:
            await self._handing_back.send()
        except (NotDone, Lost) as error:
            self._tell(str(error))
        else:
            self._tell("The call is handed back.")

    # ── what is said ────────────────────────────────────────────────────────────────────────────────────────────────

    def action_say(self) -> None:
        """Show the field to speak in."""
        field = self.query_one("#say", Input)
        field.display = True
        # At once: `focus` waits for its turn, and what is typed meanwhile would be keys of this screen.
        self.set_focus(field)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Renew the time of who has the call, at most every three seconds."""
        now = time.monotonic()
        if event.value and self._is_mine and not self.why_not() and now >= self._typed_at + _TYPING_EVERY:
            self._typed_at = now
            self.run_worker(self._note_typing(), group="typing", exclusive=True)

    async def _note_typing(self) -> None:
        # Without it the time goes on, and the next line says what is wrong.
        with suppress(NotDone, Lost):
            await self._form("typing").send()

    def _say_line(self, line: str) -> bool:
        """Send a line after those that wait; return whether it is taken."""
        why = self.why_not()
        if len(self._lines) >= _MOST_LINES:
            why = "Too many lines wait to be sent. Wait until the relay has taken those."
        self._tell(why)
        if why or not line.strip():
            return False
        self._lines.append(line)
        if len(self._lines) == 1:
            # Of the application: else what waits would be lost as this screen closes.
            self.app.run_worker(self._send_lines())
        return True

    async def _send_lines(self) -> None:
        """Send the lines that wait, in order. One that is refused goes back to the field, if that is empty."""
        while self._lines:
            text = self._lines[0]
            try:
                await self._saying.send(text=text)
            except (NotDone, Lost) as error:
                self._tell(str(error))
                field = self.query_one("#say", Input) if self.is_attached else None
                if field is not None and not field.value:
                    field.value = text
                    field.cursor_position = len(text)
            finally:
                del self._lines[0]
