"""The dialogs of `relay top` for what is done in a call: take it over, transfer it, hang up.

What cannot be undone is not what Enter does by itself: the button that has the focus is the one that does nothing.
"""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Button, Checkbox, Input, Static

from relay.cli.printing import printable
from relay.cli.watching.action_dialog import ActedOn, ActionDialog
from relay.cli.watching.console_api import Lost, NotDone, State
from relay.console.action_forms import LONGEST_NUMBER, LONGEST_TEXT


class TakeOver(ActionDialog):
    """Take a call over: at its next pause, or now; from another operator once it is clear who has it."""

    TITLE = "Take this call over"
    ACTION = "take"

    def __init__(self, call: ActedOn) -> None:
        super().__init__(call)
        self._when = "pause"
        self._from = ""

    def fields(self) -> ComposeResult:
        """Make the buttons; Enter takes it at the pause."""
        yield Static("You answer the caller by typing, until you hand the call back. Its client is told.\n")
        with Horizontal():
            yield Button("At the next pause", id="pause", classes="acts", variant="primary")
            yield Button("Now, cutting the answer off", id="now", classes="acts")
            yield Button("Cancel", id="cancel")
        with Horizontal():
            yield Button("", id="from", classes="acts", variant="warning")

    def on_mount(self) -> None:
        """Show who else has it only once that is known. The framework then calls that of the base, too."""
        self.query_one("#from").display = False

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take it. The framework then calls that of the base, too."""
        chosen = event.button.id or ""
        if chosen in {"pause", "now"}:
            self._when = chosen
            self._take()
        elif chosen == "from":
            self._take(**{"from": self._from})

    def _take(self, **fields: str) -> None:
        done = "The call is yours." if self._when == "now" else "The call is yours at its next pause."
        self.send(f"{done} s says something in it, t hands it back.", when=self._when, **fields)

    def refused(self, error: NotDone | Lost) -> None:
        """Show why not; offer to take it from who has it."""
        super().refused(error)
        self._from = error.operator if isinstance(error, NotDone) else ""
        button = self.query_one("#from", Button)
        button.display = bool(self._from)
        button.label = Content(f"Take it from {self._from}")


class HangUp(ActionDialog):
    """End a call, after last words if there are any."""

    TITLE = "Hang up"
    ACTION = "hang-up"
    AUTO_FOCUS = "#cancel"

    def fields(self) -> ComposeResult:
        """Make the field and the buttons; Enter cancels."""
        yield Input(placeholder="last words (may be left out)", id="text", max_length=LONGEST_TEXT)
        with Horizontal():
            yield Button("Cancel", id="cancel")
            yield Button("Hang up now", id="sure", classes="acts", variant="error")

    def on_input_submitted(self) -> None:
        """Go on to the button that does it."""
        self.query_one("#sure").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Hang up. The framework then calls that of the base, too."""
        if event.button.id == "sure":
            self.send("The call is being ended.", text=self.query_one("#text", Input).value)


class _Check(Checkbox):
    """A box that is empty unless it is checked: the framework tells the two apart by colour alone."""

    BUTTON_INNER = " "

    def watch_value(self) -> None:
        """Draw it."""
        self.BUTTON_INNER = "X" if self.value else " "
        super().watch_value()


class TransferCall(ActionDialog):
    """Transfer a call to a number that the gate has allowed before, in a dry run that is shown."""

    TITLE = "Transfer this call"
    ACTION = "transfer"

    def __init__(self, call: ActedOn) -> None:
        super().__init__(call)
        self._asked = self._checked = ""

    def fields(self) -> ComposeResult:
        """Make the fields and the buttons; Enter in the number checks it."""
        yield Input(placeholder="number, such as +14155552671", id="to", max_length=LONGEST_NUMBER)
        yield Input(
            placeholder="said to the caller first (may be left out)", id="announcement", max_length=LONGEST_TEXT
        )
        yield _Check("Who is called presses 1 to take it", id="confirm")
        with Horizontal():
            yield Button("Check the number", id="check", classes="acts", variant="primary")
            yield Button("Cancel", id="cancel")
            yield Button("", id="sure", classes="acts", variant="error")

    def on_mount(self) -> None:
        """Offer the transfer only once the number is checked. The framework then calls that of the base, too."""
        self._forget()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Forget the verdict on a number that was changed."""
        if event.input.id == "to" and self._checked and event.value.strip() != self._checked:
            self._forget()
            self.say("")

    def on_input_submitted(self) -> None:
        """Check the number."""
        self._check()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Check the number, or transfer the call. The framework then calls that of the base, too."""
        if event.button.id == "check":
            self._check()
        elif event.button.id == "sure":
            self.send(f"The call is being transferred to {self._checked}.", **self._fields(), checked=self._checked)

    def _check(self) -> None:
        self._forget()
        fields = self._fields()
        self._asked = fields["to"]
        self.send("", **fields)

    def _fields(self) -> dict[str, str]:
        fields = {name: self.query_one(f"#{name}", Input).value.strip() for name in ("to", "announcement")}
        return fields | ({"confirm": "yes"} if self.query_one("#confirm", Checkbox).value else {})

    def _forget(self) -> None:
        self._checked = ""
        self.query_one("#sure").display = False

    def answered(self, answer: State) -> None:
        """Show what the gate says; offer the transfer if it is allowed, with the focus where nothing is done."""
        outcome = self.query_one(".outcome", Static)
        if self._fields()["to"] != self._asked:
            return  # it was changed meanwhile, and is to be checked again
        if not answer["allowed"]:
            outcome.update(_refusals(answer))
            self.query_one("#to").focus()
            return
        self._checked = self._asked
        outcome.update(Text("The number may be dialled. Nothing was dialled yet.", "bold"))
        button = self.query_one("#sure", Button)
        button.label, button.display = Content(f"Transfer to {printable(answer['to'])}"), True
        self.query_one("#cancel").focus()


def _refusals(verdict: State) -> Text:
    """Return by which rules a number must not be dialled, and from when it may be."""
    lines = [Text("This number must not be dialled.")]
    for each in verdict["refusals"]:
        name, sentence, lifted_by = (printable(each[key]) for key in ("name", "sentence", "liftedBy"))
        lines.append(Text.assemble((name, "bold"), f" {sentence} ", (f"What lifts it: {lifted_by}", "dim")))
    if verdict["nextAllowed"]:
        lines.append(Text(f"Allowed from {printable(verdict['nextAllowed'])}."))
    return Text("\n").join(lines)
