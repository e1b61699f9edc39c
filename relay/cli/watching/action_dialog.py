"""What the dialogs of `relay top` have in common, in which something is done in a call.

dialog ──send──▶ done: it closes, and the call's screen says what came of it
            └──▶ refused: it stays, and says why
OneCall ──look──▶ its buttons are off while nothing may be done, as when the connection is lost
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import attrs
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from relay.cli.printing import printable
from relay.cli.watching.action_form import ActionForm
from relay.cli.watching.console_api import Lost, NotDone, State


@attrs.frozen(kw_only=True)
class ActedOn:
    """The call that a dialog is about, on the screen where it was opened.

    `why_not` says why nothing may be done now, empty if something may. `tell` says on the screen what came of it.
    """

    why_not: Callable[[], str]
    tell: Callable[[str], None]
    form: Callable[[str], ActionForm]


class ActionDialog(ModalScreen[None]):
    """What the dialogs have in common: a title, buttons, what came of it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel"),
        # With priority, as no field needs them: so the next key is given to what has the focus by then.
        Binding("up", "app.focus_previous", "Before", show=False, priority=True),
        Binding("down", "app.focus_next", "Next", show=False, priority=True),
        Binding("left", "app.focus_previous", "Before", show=False),
        Binding("right", "app.focus_next", "Next", show=False),
    ]
    DEFAULT_CSS = """
    ActionDialog { align: center middle; }
    ActionDialog > Vertical { width: 76; max-width: 100%; height: auto; max-height: 100%; padding: 1 2; }
    ActionDialog > Vertical { background: $panel; border: round $primary; overflow-y: auto; }
    ActionDialog .title { text-style: bold; margin-bottom: 1; }
    ActionDialog Horizontal { height: auto; }
    ActionDialog Button { margin-right: 2; min-width: 0; }
    ActionDialog.-narrow Horizontal { layout: vertical; }
    ActionDialog .outcome { height: auto; margin-top: 1; color: $text-error; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (80, "-wide")]  # noqa: RUF012 - the framework's type is no `ClassVar`
    TITLE = ""
    ACTION = ""

    def __init__(self, call: ActedOn) -> None:
        super().__init__()
        self._call = call
        self._form = call.form(self.ACTION)
        self._is_sending = False
        self._is_off = False

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        with Vertical():
            yield Static(self.TITLE, classes="title", markup=False)
            yield from self.fields()
            yield Static(classes="outcome")

    def fields(self) -> ComposeResult:
        """Make what stands between the title and what came of it. Buttons of the class `acts` do something."""
        return ()

    def on_mount(self) -> None:
        """Switch off what may not be done."""
        self.look()

    def look(self) -> None:
        """Switch the buttons that act off while nothing may be done, and say why."""
        why = self._call.why_not()
        for each in self.query(".acts").results(Button):
            each.disabled = bool(why)
        if why or self._is_off:
            self.say(why)
        self._is_off = bool(why)

    def say(self, what: str) -> None:
        """Show what came of it; nothing where that is empty."""
        self.query_one(".outcome", Static).update(Text(printable(what)))

    def on_key(self, event: Key) -> None:
        """Put a key into the field that has the focus: it was pressed before the dialog was drawn, so nobody has it."""
        if isinstance(self.focused, Input) and event.is_printable and event.character is not None:
            event.stop()
            self.focused.insert_text_at_cursor(event.character)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Cancel; other buttons are those of each dialog."""
        if event.button.id == "cancel":
            self.dismiss()

    def send(self, done: str, **fields: str) -> None:
        """Send the form; `done` is what is told if it is done. No-op while one is on its way."""
        if self._is_sending:
            return
        if why := self._call.why_not():
            self.say(why)
            return
        self._is_sending = True
        self.say("")
        # Of the application: else what is on its way would be broken off as the dialog closes.
        self.app.run_worker(self._sent(done, fields))

    async def _sent(self, done: str, fields: dict[str, str]) -> None:
        try:
            answer = await self._form.send(**fields)
        except (NotDone, Lost) as error:
            self._is_sending = False
            if self.is_attached:
                self.refused(error)
            else:
                self._call.tell(str(error))
            return
        self._is_sending = False
        if not answer:
            self._call.tell(done)
            if self.is_attached:
                self.dismiss()
        elif self.is_attached:
            self.answered(answer)

    def refused(self, error: NotDone | Lost) -> None:
        """Show why it was not done, at its field if it is about one."""
        self.say(str(error))
        field = self.query(f"#{error.field}").results(Input) if isinstance(error, NotDone) and error.field else ()
        for each in field:
            each.focus()

    def answered(self, _answer: State) -> None:
        """Show an answer that is more than that it is done."""
