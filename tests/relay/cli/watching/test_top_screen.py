"""The screen of `relay top`, in the framework's own terminal: what it shows, its keys, what stays as it was."""

from __future__ import annotations

from textual.pilot import Pilot
from textual.widgets import DataTable

from actors.phases import Phase
from relay.cli.watching.call_screen import OneCall
from tests.relay.cli.watching.on_screen import Board, cells, on_screen, picture, press_at_once, table, text, until
from tests.relay.cli.watching.states import HOSTILE, a_turn, call, decided, refusal, row, said
from tests.sids import sid


def test_the_live_calls() -> None:
    """The facts, and a row a call, with what callers said as text."""
    rows = [
        row(1),
        row(2, by="machine", phase=Phase.ANSWERING_MACHINE_ANSWERING, last_words=HOSTILE, first_word=None),
        row(3, by="human", operator="ada", direction="outbound", called="+14155550123"),
        row(4, by="unavailable", caller="", phase=Phase.UNAVAILABLE),
    ]

    async def look(pilot: Pilot[None], board: Board) -> None:
        assert "4 live of 1000 · first word p95 0.61 s · 3 client sessions" in text(pilot, "#facts")
        shown = cells(pilot)
        assert [each[0] for each in shown] == ["+14155550001", "+14155550002", "→ +14155550123", "withheld"]
        assert [each[2] for each in shown] == [
            "client listening",
            "answering machine answering",
            "operator ada listening",
            "unavailable says so",
        ]
        assert [each[4] for each in shown] == ["0.41 s", "–", "0.41 s", "0.41 s"]
        assert shown[1][5].startswith(" [31mred ]0;title ")
        assert all(each.isprintable() for line in shown for each in line)
        await picture(pilot, "top-live")

    on_screen(lambda: Board(*rows), look)


def test_a_call_is_opened_and_left() -> None:
    """Enter opens it: the conversation, the turns whose parts are its whole, the decisions; Escape goes back."""

    async def look(pilot: Pilot[None], board: Board) -> None:
        board.call = call(
            said(1, "relay", "Hello."),
            said(4, "caller", f"Is Thursday free? {HOSTILE}"),
            said(5, "agent", "At three.", heard="At", first_word=0.41),
            decisions=(decided(4, f"Asked the client. {HOSTILE}"),),
            turns=(a_turn(),),
        )
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, OneCall) and "Hello." in text(pilot, "#said"))
        conversation = text(pilot, "#said")
        assert "caller: Is Thursday free?" in conversation
        assert "client: At three.  (heard until here)  0.41 s" in conversation
        assert "Asked the client." in text(pilot, "#decided")
        assert "\x1b" not in conversation + text(pilot, "#decided")
        assert "agent my-client" in text(pilot, "#facts")
        await picture(pilot, "top-call")
        await pilot.press("2")
        times = [str(cell) for cell in pilot.app.screen.query_one("#times", DataTable).get_row_at(0)]
        assert times[1:5] == ["client", "answered", "0.41 s", "2,000 ms"]
        await picture(pilot, "top-turns")
        await pilot.press("escape")
        await until(pilot, lambda: bool(cells(pilot)))

    on_screen(lambda: Board(row(1)), look)


def test_the_marked_row_stays() -> None:
    """Calls come and go around it, and the connection breaks; the mark stays on its call."""

    async def look(pilot: Pilot[None], board: Board) -> None:
        await pilot.press("j", "j")
        board.change(row(2, last_words="News."), row(3), row(4))
        await until(pilot, lambda: len(cells(pilot)) == 3 and cells(pilot)[0][5] == "News.")
        marked = table(pilot).coordinate_to_cell_key(table(pilot).cursor_coordinate).row_key.value
        assert marked == sid(3)

    on_screen(lambda: Board(row(1), row(2), row(3)), look)


def test_the_filter() -> None:
    """`/` asks the daemon for what fits; Escape asks for all again."""

    async def look(pilot: Pilot[None], board: Board) -> None:
        await pilot.press("slash", *"0123", "enter")
        await until(pilot, lambda: board.asked[-1].get("q") == "0123")
        await until(pilot, lambda: "filter: 0123" in text(pilot, "#facts"))
        await pilot.press("escape")
        await until(pilot, lambda: board.asked[-1].get("q") == "")

    on_screen(lambda: Board(row(1)), look)


def test_what_comes_in_the_same_moment_as_the_slash() -> None:
    """It is the filter, and no command: neither `q`, which quits, nor another `/`."""

    async def look(pilot: Pilot[None], board: Board) -> None:
        press_at_once(pilot, "slash", *"qjn", "slash", "0", "enter")
        await until(pilot, lambda: board.asked[-1].get("q") == "qjn/0")

    assert on_screen(lambda: Board(row(1)), look).trouble is None


def test_a_filter_is_not_longer_than_the_relay_takes() -> None:
    """What is more is not typed: the relay would refuse it."""

    async def look(pilot: Pilot[None], board: Board) -> None:
        await pilot.press("slash")
        press_at_once(pilot, *"0123456789" * 21, "enter")
        await until(pilot, lambda: len(board.asked[-1].get("q", "")) == 200)

    on_screen(lambda: Board(row(1)), look)


def test_a_page_that_is_gone() -> None:
    """Calls have ended until there are fewer pages: the last one is shown, and not an empty one."""

    async def look(pilot: Pilot[None], board: Board) -> None:
        board.state = {**board.state, "pages": 3}
        board.break_off()
        await until(pilot, lambda: "page 1 of 3" in text(pilot, "#facts"))
        await pilot.press("n", "n")
        await until(pilot, lambda: board.asked[-1]["page"] == "3")
        board.state = {**board.state, "pages": 2}
        board.break_off()
        await until(pilot, lambda: board.asked[-1]["page"] == "2" and bool(cells(pilot)))

    on_screen(lambda: Board(row(1)), look)


def test_a_first_call_can_be_opened() -> None:
    """The list that was empty takes Enter as soon as there is a call."""

    async def look(pilot: Pilot[None], board: Board) -> None:
        board.change(row(1))
        await until(pilot, lambda: bool(cells(pilot)))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, OneCall))

    on_screen(Board, look)


def test_no_calls_and_the_keys() -> None:
    """An empty list says what to do; `?` lists the keys, `q` quits."""

    async def look(pilot: Pilot[None], board: Board) -> None:
        assert "relay call AGENT" in text(pilot, "#empty")
        await pilot.press("question_mark")
        await until(pilot, lambda: bool(pilot.app.screen.query("HelpPanel")))
        await pilot.press("q")

    assert on_screen(Board, look).trouble is None


def test_a_lost_connection_is_told() -> None:
    """The rows stay as they were, with the time that they are of."""

    async def look(pilot: Pilot[None], board: Board) -> None:
        board.refusal = refusal(503, "draining", "Starting.")
        board.change()
        await until(pilot, lambda: "Starting; trying again. As of" in text(pilot, "#trouble"))
        assert len(cells(pilot)) == 1

    on_screen(lambda: Board(row(1)), look)


def test_what_is_refused_ends_it() -> None:
    """With the sentence that the command then prints."""

    def signed_out() -> Board:
        board = Board()
        board.refusal = refusal(401, "unauthorized", "Sign in first.")
        return board

    async def look(pilot: Pilot[None], board: Board) -> None:
        await until(pilot, lambda: not pilot.app.is_running or pilot.app.trouble is not None)  # type: ignore[attr-defined]

    assert "Sign in first." in str(on_screen(signed_out, look).trouble)
