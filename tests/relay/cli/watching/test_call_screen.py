"""What is done in a call from `relay top`: the keys, the dialogs, what came of it, and when nothing may be done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Checkbox, Footer, Input, Static

from relay.cli.watching.action_dialog import ActionDialog
from relay.cli.watching.action_dialogs import HangUp, TakeOver, TransferCall
from relay.cli.watching.call_screen import OneCall
from tests.relay.cli.watching.on_screen import Board, on_screen, picture, press_at_once, text, until
from tests.relay.cli.watching.states import call, over, refusal, row, said
from tests.sids import sid

KEYS = {"s", "t", "x", "h"}


def in_call(
    work: Callable[[Pilot[None], Board], Awaitable[None]], *, acts: bool = True, operator: str = "", **size: Any
) -> Board:
    """Open the call of a board, which an operator may have, and do something in it."""
    board = Board(row(1))

    async def open_it(pilot: Pilot[None], board: Board) -> None:
        board.call = call(
            said(1, "relay", "Hello."), of=row(1, operator=operator, by="human" if operator else "client")
        )
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, OneCall) and "Hello." in text(pilot, "#said"))
        await work(pilot, board)

    on_screen(lambda: board, open_it, acts=acts, **size)
    return board


async def dialog(pilot: Pilot[None], kind: type[ActionDialog]) -> None:
    """Wait until a dialog is drawn."""
    await until(pilot, lambda: isinstance(pilot.app.screen, kind) and pilot.app.focused is not None)


async def back(pilot: Pilot[None], outcome: str) -> None:
    """Wait until the call is shown again, with what came of it."""
    await until(pilot, lambda: isinstance(pilot.app.screen, OneCall) and outcome in text(pilot, "#outcome"))


def outcome(pilot: Pilot[None]) -> str:
    """Return what a dialog says."""
    return str(pilot.app.screen.query_one(".outcome", Static).render())


def offered(pilot: Pilot[None]) -> dict[str, str]:
    """Return the keys that act, and what the footer says of them; those that are off in brackets."""
    found = pilot.app.screen.query_one(Footer).query("FooterKey")
    keys: list[Any] = [each for each in found if getattr(each, "key", "") in KEYS]
    return {each.key: f"({each.description})" if each.has_class("-disabled") else each.description for each in keys}


def refused_by(operator: str) -> httpx2.Response:
    message, details = f"{operator} has had this call since 14:02 UTC.", {"operator": operator}
    return httpx2.Response(409, json={"error": {"code": "taken_by", "message": message, "details": details}})


# ── done ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_lines_are_said() -> None:
    """In order, what came together with the key too; the field stays, and Escape leaves it, not the call."""

    async def act(pilot: Pilot[None], board: Board) -> None:
        press_at_once(pilot, "s", *"thx", "enter", *"q", "enter")
        await until(pilot, lambda: len(board.done) >= 2)
        await pilot.press("space", "enter")  # blank: nothing to say
        await pilot.press("1", "escape")
        await until(pilot, lambda: not isinstance(pilot.app.focused, Input))
        assert isinstance(pilot.app.screen, OneCall)
        await pilot.press("s", "2", "enter")
        await until(pilot, lambda: len(board.sent("say")) == 3)
        await picture(pilot, "top-say")

    board = in_call(act)
    assert board.sent("say") == [{"text": "thx"}, {"text": "q"}, {"text": " 12"}]
    assert {form["call"] for _, form in board.done} == {sid(1)}
    assert len({form["key"] for _, form in board.done}) == 3


def test_taken_and_handed_back() -> None:
    """At the pause by Enter, or now; then the key hands it back, and typing renews the operator's time."""

    async def act(pilot: Pilot[None], board: Board) -> None:
        assert offered(pilot)["t"] == "Take over"
        await pilot.press("t")
        await dialog(pilot, TakeOver)
        await picture(pilot, "top-take-over")
        await pilot.press("enter")
        await back(pilot, "The call is yours at its next pause.")
        await pilot.press("t")
        await dialog(pilot, TakeOver)
        await pilot.press("right", "enter")
        await back(pilot, "The call is yours. s says something")
        board.call = call(said(2, "operator", "Ada here."), of=row(1, by="human", operator="ada"))
        board.break_off()
        await until(pilot, lambda: offered(pilot).get("t") == "Hand back")
        await pilot.press("s", *"Hi")
        await until(pilot, lambda: board.sent("typing") == [{}])
        await pilot.press("escape", "t")
        await back(pilot, "The call is handed back.")

    board = in_call(act)
    assert [action for action, _ in board.done] == ["take", "take", "typing", "hand-back"]
    assert board.sent("take") == [{"when": "pause"}, {"when": "now"}]


def test_a_call_is_hung_up_only_when_that_is_confirmed() -> None:
    """Enter alone cancels; last words may be given."""

    async def act(pilot: Pilot[None], board: Board) -> None:
        press_at_once(pilot, "h", "h")
        await dialog(pilot, HangUp)
        await pilot.press("enter")
        await back(pilot, "")
        await pilot.press("h")
        await dialog(pilot, HangUp)
        await pilot.press("up", *"Bye.", "enter")
        assert board.done == []
        await picture(pilot, "top-hang-up")
        await pilot.press("enter")
        await back(pilot, "The call is being ended.")

    assert in_call(act).sent("hang-up") == [{"text": "Bye."}]


def test_a_transfer_is_checked_first() -> None:
    """The gate's words for a number that it refuses; one that it allows is dialled once that is confirmed."""
    rule = {"name": "emergency_number", "sentence": "112 is an emergency number.", "liftedBy": "nothing"}
    verdicts = [
        {"allowed": False, "to": None, "refusals": [rule], "nextAllowed": "2026-11-30T08:00:00Z"},
        {"allowed": True, "to": "+14155552671", "refusals": [], "nextAllowed": None},
        {"allowed": True, "to": "+14155552672", "refusals": [], "nextAllowed": None},
    ]

    async def act(pilot: Pilot[None], board: Board) -> None:
        board.answers["transfer"] = [httpx2.Response(200, json=each) for each in verdicts]
        press_at_once(pilot, "x", *"112", "enter")
        await dialog(pilot, TransferCall)
        await until(pilot, lambda: "112 is an emergency number." in outcome(pilot))
        assert "What lifts it: nothing\nAllowed from 2026-11-30T08:00:00Z." in outcome(pilot)
        box = pilot.app.screen.query_one("#confirm", Checkbox)
        assert "X" not in str(box.render())
        assert "X" in str(box.toggle().render())
        box.toggle()
        number, sure = pilot.app.screen.query_one("#to", Input), pilot.app.screen.query_one("#sure", Button)
        number.value = " +1 415 5552671"
        await pilot.press("enter")
        await until(pilot, lambda: sure.display)
        assert str(sure.label) == "Transfer to +14155552671"
        await picture(pilot, "top-transfer")
        number.value = "+14155552672"
        await until(pilot, lambda: not sure.display)
        number.focus()
        await pilot.press("enter")
        await until(pilot, lambda: sure.display)
        assert pilot.app.focused is not sure
        await pilot.press("right", "enter")
        await back(pilot, "The call is being transferred to +14155552672.")

    checked = [{"to": "112"}, {"to": "+1 415 5552671"}, {"to": "+14155552672"}]
    sent = in_call(act).sent("transfer")
    assert [{name: value for name, value in each.items() if value} for each in sent] == [
        *checked,
        {"to": "+14155552672", "checked": "+14155552672"},
    ]


def test_a_narrow_terminal() -> None:
    """All of a dialog is on it, what acts and what cancels."""

    async def act(pilot: Pilot[None], board: Board) -> None:
        for key, kind in (("t", TakeOver), ("h", HangUp), ("x", TransferCall)):
            await pilot.press(key)
            await dialog(pilot, kind)
            shown = [each.region for each in pilot.app.screen.query(Button) if each.display]
            assert shown
            assert all(pilot.app.screen.region.contains_region(each) for each in shown)
            await picture(pilot, f"top-narrow-{key}")
            await pilot.press("escape")
            await back(pilot, "")

    in_call(act, size=(50, 24))


# ── not done ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_another_operator_has_it() -> None:
    """It is said who; and the call can be taken from that one."""

    async def act(pilot: Pilot[None], board: Board) -> None:
        board.answers["take"] = [refused_by("ben")]
        await pilot.press("t")
        await dialog(pilot, TakeOver)
        await pilot.press("enter")
        await until(pilot, lambda: "ben has had this call since 14:02 UTC." in outcome(pilot))
        button = pilot.app.screen.query_one("#from", Button)
        assert (str(button.label), button.display) == ("Take it from ben", True)
        button.focus()
        await pilot.press("enter")
        await back(pilot, "The call is yours at its next pause.")

    assert in_call(act, operator="ben").sent("take") == [{"when": "pause"}, {"when": "pause", "from": "ben"}]


def test_what_cannot_be_said_is_wrong_at_its_field() -> None:
    """It goes back to the field, with the relay's words."""

    async def act(pilot: Pilot[None], board: Board) -> None:
        board.answers["say"] = [refusal(422, "nothing_to_say", "Nothing of this can be spoken.\x1b[31m")]
        await pilot.press("s", "!", "enter")
        await until(pilot, lambda: "Nothing of this can be spoken. [31m" in text(pilot, "#outcome"))
        assert pilot.app.screen.query_one("#say", Input).value == "!"
        details = {"field": "to"}
        error = {"code": "own_number", "message": "This is the relay's own number.", "details": details}
        board.answers["transfer"] = [httpx2.Response(422, json={"error": error})]
        await pilot.press("escape", "x")
        await dialog(pilot, TransferCall)
        await pilot.press("1", "down", "down", "down", "enter")
        await until(pilot, lambda: "own number" in outcome(pilot))
        assert pilot.app.focused is pilot.app.screen.query_one("#to")

    in_call(act)


@pytest.mark.parametrize("lost", [httpx2.ReadTimeout("slow"), httpx2.Response(502, text="<html>")])
def test_no_answer_comes(lost: httpx2.Response | Exception) -> None:
    """It may have been done: the same, sent again, has the same key; something else has another one."""

    async def act(pilot: Pilot[None], board: Board) -> None:
        board.answers["say"] = [lost, lost]
        await pilot.press("s", *"Hi", "enter")
        await until(pilot, lambda: "sending it again does not do it twice" in text(pilot, "#outcome"))
        await pilot.press("enter")
        await until(pilot, lambda: len(board.done) == 2 and bool(text(pilot, "#outcome")))
        await pilot.press("!", "enter")
        await until(pilot, lambda: len(board.done) == 3)

    keys = [form["key"] for _, form in in_call(act).done]
    assert keys[0] == keys[1] != keys[2]


def test_who_only_looks() -> None:
    """Has no keys that act, neither below nor in the list of keys; who presses one is told why."""

    async def act(pilot: Pilot[None], board: Board) -> None:
        assert offered(pilot) == {}
        await pilot.press("question_mark")
        await until(pilot, lambda: bool(pilot.app.screen.query("HelpPanel")))
        assert KEYS.isdisjoint(pilot.app.screen.active_bindings)
        for each in KEYS:
            await pilot.press(each)
            await until(pilot, lambda: "your role is read" in text(pilot, "#outcome"))
            assert isinstance(pilot.app.screen, OneCall)

    assert in_call(act, acts=False).done == []


def test_nothing_is_done_on_an_old_picture() -> None:
    """While the connection is lost the keys are off, in a dialog that is open and in the field, too."""

    async def act(pilot: Pilot[None], board: Board) -> None:
        on = {"s": "Say", "t": "Take over", "x": "Transfer", "h": "Hang up"}
        off = {key: f"({words})" for key, words in on.items()}
        await until(pilot, lambda: offered(pilot) == on)
        await pilot.press("s", *"Hi", "escape", "h")
        await dialog(pilot, HangUp)
        board.refusal = refusal(503, "draining", "Starting.")
        board.break_off()
        sure = pilot.app.screen.query_one("#sure", Button)
        await until(pilot, lambda: sure.disabled)
        assert "The connection is lost, so nothing can be done: this is as of" in outcome(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: offered(pilot) == off)
        await pilot.press("h")
        await back(pilot, "The connection is lost")
        pilot.app.screen.query_one("#say").focus()
        await pilot.press("enter")
        await back(pilot, "The connection is lost")
        assert board.done == []
        board.refusal = None
        await until(pilot, lambda: not text(pilot, "#trouble"))
        await pilot.press("enter")
        await until(pilot, lambda: board.sent("say") == [{"text": "Hi"}])

    in_call(act)


def test_a_call_that_ends_takes_no_more() -> None:
    """Its keys are off, and who presses one, or has a dialog open, is told how it ended."""

    async def act(pilot: Pilot[None], board: Board) -> None:
        await pilot.press("x")
        await dialog(pilot, TransferCall)
        board.call = over(of=row(1))
        board.break_off()
        await until(pilot, lambda: "This call is over: the other party hung up." in outcome(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: offered(pilot).get("h") == "(Hang up)")
        await pilot.press("s")
        await back(pilot, "This call is over: the other party hung up.")
        # Nobody asks for it any more.
        assert [each for each in pilot.app.workers if each.node is pilot.app.screen and each.is_running] == []

    assert in_call(act).done == []


def test_who_leaves_a_call_that_they_have() -> None:
    """Is told that it is handed back."""

    async def act(pilot: Pilot[None], board: Board) -> None:
        await until(pilot, lambda: offered(pilot).get("t") == "Hand back")
        await pilot.press("escape")
        await until(
            pilot, lambda: any("handed back in 10 seconds" in each.message for each in pilot.app._notifications)
        )

    in_call(act, operator="ada")
