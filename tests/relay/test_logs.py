"""The log: JSON lines, ours and the libraries' alike, and nothing private in them."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from sqlalchemy.exc import DBAPIError

from relay import logs

Read = Callable[[], list[dict[str, Any]]]
NUMBER = "+15551230001"


@contextlib.contextmanager
def configured(log_format: logs.LogFormat = logs.LogFormat.AUTO) -> Iterator[io.StringIO]:
    """Configure the log, give where it is written, and have it afterwards as it was."""
    root, written = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    # Not pytest's capture: it puts another stream in place between a fixture and its test.
    with contextlib.redirect_stderr(written):
        logs.configure(log_format=log_format)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def logged() -> Iterator[Read]:
    """Configure the log, and give what was written so far."""
    with configured() as written:
        yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]


def test_an_event_is_one_json_object_on_a_line(logged: Read) -> None:
    """It has its name, its level, its time in UTC, and what was said of it."""
    structlog.get_logger("relay.test").info("call_ended", call_sid="CA1", seconds=1.5, turns={"client": 2})
    (event,) = logged()
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "call_ended", "level": "info", "call_sid": "CA1", "seconds": 1.5, "turns": {"client": 2}}


def test_a_library_s_record_is_one_too(logged: Read) -> None:
    """The standard library's records get the same form, with the name of who wrote them."""
    logging.getLogger("some.library").warning("%s is slow", "the disk")
    (event,) = logged()
    assert (event["event"], event["level"], event["logger"]) == ("the disk is slow", "warning", "some.library")


def test_standard_output_stays_free(capsys: pytest.CaptureFixture[str], logged: Read) -> None:
    """The log is on standard error: commands print their data on the other."""
    structlog.get_logger("relay.test").error("failed")
    assert capsys.readouterr().out == ""
    assert len(logged()) == 1


def test_configuring_twice_does_not_write_twice(logged: Read) -> None:
    """Each event is written once, by the handler that was set up last."""
    again = io.StringIO()
    with contextlib.redirect_stderr(again):
        logs.configure()
    structlog.get_logger("relay.test").info("once")
    assert (len(logged()), len(again.getvalue().splitlines())) == (0, 1)


def test_details_are_left_out(logged: Read) -> None:
    """What is below the level is not written."""
    structlog.get_logger("relay.test").debug("turn_ended")
    assert logged() == []


@pytest.mark.parametrize("library", ["httpx2", "httpcore2", "hypercorn", "mcp", "anthropic", "alembic"])
def test_chatty_libraries_only_warn(logged: Read, library: str) -> None:
    """Libraries that log each request, address included, are heard only when something is wrong."""
    logger = logging.getLogger(f"{library}.inner")
    logger.info("GET /sse?token=secret")
    logger.warning("gave up")
    assert [event["event"] for event in logged()] == ["gave up"]


@pytest.mark.parametrize(
    "key",
    ["token", "ticket", "body", "text", "caller", "called", "from", "to", "number", "transcript", "preferences"],
)
def test_keys_of_private_things_are_blanked(logged: Read, key: str) -> None:
    """What such a key holds is withheld, at the top and below."""
    structlog.get_logger("relay.test").info("said", **{key: "my secret"}, record=[{key: "my secret"}])
    (event,) = logged()
    assert event[key] == "[withheld]"
    assert event["record"] == [{key: "[withheld]"}]


@pytest.mark.parametrize(
    "value",
    [
        f"cannot reach {NUMBER} now",
        ["first", f"cannot reach {NUMBER} now"],
        ValueError(f"cannot reach {NUMBER} now"),
        {"why": f"cannot reach {NUMBER} now"},
        {f"cannot reach {NUMBER} now"},
    ],
    ids=["text", "list", "exception", "mapping", "set"],
)
def test_telephone_numbers_are_blanked(logged: Read, value: object) -> None:
    """A number inside any value is withheld; the words around it stay."""
    structlog.get_logger("relay.test").info("failed", why=value)
    line = json.dumps(logged())
    assert NUMBER not in line
    assert "cannot reach [number] now" in line


def test_tokens_in_addresses_are_blanked(logged: Read) -> None:
    """A token in a query is withheld; the address and what follows the token stay."""
    structlog.get_logger("relay.test").info("failed", url="http://host/sse?token=abc123&agentId=my-client")
    (event,) = logged()
    assert event["url"] == "http://host/sse?token=[withheld]&agentId=my-client"


def test_a_library_s_words_are_blanked_too(logged: Read) -> None:
    """Numbers and tokens in the records of libraries are withheld, arguments included."""
    logging.getLogger("some.library").warning("%s asked for %s", NUMBER, "/sse?token=abc123")
    (event,) = logged()
    assert event["event"] == "[number] asked for /sse?token=[withheld]"


@pytest.mark.parametrize("logger", [structlog.get_logger("relay.test"), logging.getLogger("some.library")], ids=type)
def test_a_traceback_is_part_of_the_event(logged: Read, logger: Any) -> None:
    """An exception is written on the event's own line, as its kind and place, without its text."""
    try:
        int(NUMBER + "x")
    except ValueError:
        logger.exception("failed")
    (event,) = logged()
    (error,) = event["errors"]
    assert error.startswith("ValueError at test_logs.py:")
    assert NUMBER not in str(event)


def _chained() -> Exception:
    error = RuntimeError("swordfish")
    error.__cause__ = KeyError("swordfish")
    error.add_note("swordfish")
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("swordfish"),
        KeyError("swordfish"),
        OSError(2, "swordfish", "/swordfish"),
        UnicodeDecodeError("utf-8", b"swordfish\xff", 9, 10, "swordfish"),
        ExceptionGroup("swordfish", [ValueError("swordfish"), ExceptionGroup("swordfish", [KeyError("swordfish")])]),
        _chained(),
        json.JSONDecodeError("swordfish", "swordfish", 0),
        StopIteration("swordfish"),
        DBAPIError("swordfish", {"swordfish": "swordfish"}, ValueError("swordfish")),
        subprocess.CalledProcessError(1, "swordfish", "swordfish"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("log_format", [logs.LogFormat.JSON, logs.LogFormat.CONSOLE])
def test_no_text_of_an_exception_is_logged(error: Exception, log_format: logs.LogFormat) -> None:
    """Whoever logs an exception, and however, ours or a library: libraries put values into their texts."""

    def fail(exc_info: Any) -> None:
        structlog.get_logger("relay.test").error("failed", exc_info=exc_info)
        logging.getLogger("some.library").error("failed", exc_info=exc_info)

    with configured(log_format) as written:
        fail(error)
        fail((type(error), error, error.__traceback__))
        with contextlib.suppress(type(error)), contextlib.ExitStack() as stack:
            stack.push(lambda *_: fail(True))
            raise error
        text = written.getvalue()
    assert text.count("failed") == 6
    assert all("Error" in line or "StopIteration" in line for line in text.splitlines())
    assert "swordfish" not in text


@pytest.mark.parametrize("nothing", [None, False, True, (None, None, None)])
def test_no_exception_is_no_failure(logged: Read, nothing: Any) -> None:
    """A library that asks for a traceback where there is none gets its line written all the same."""
    logging.getLogger("some.library").error("failed", exc_info=nothing)
    structlog.get_logger("relay.test").error("failed", exc_info=nothing)
    assert [(each["event"], each.get("errors")) for each in logged()] == [("failed", None)] * 2


def test_ids_go_in(logged: Read) -> None:
    """What identifies a call, an agent or a message is not mistaken for something private."""
    ids = {"call_sid": "CA" + "0123456789abcdef" * 2, "agent_id": "my-client", "message_id": "msg_1234567890"}
    structlog.get_logger("relay.test").info("message_left", **ids)
    (event,) = logged()
    assert event | ids == event


@pytest.fixture
def on_a_terminal() -> Iterator[Callable[..., str]]:
    """Log as on a terminal, and give what was written."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def written(emit: Callable[[], object], **options: Any) -> str:
        screen = Terminal()
        with contextlib.redirect_stderr(screen):
            logs.configure(**options)
            emit()
        return screen.getvalue()

    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_terminal_gets_words(on_a_terminal: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An event is a line with its time, level, name and facts; private values are withheld there, too."""
    monkeypatch.setenv("NO_COLOR", "1")
    line = on_a_terminal(lambda: structlog.get_logger("t").info("call_ended", call_sid="CA1", caller=NUMBER))
    assert "call_ended" in line
    assert "call_sid=CA1" in line
    assert NUMBER not in line
    assert not line.startswith("{")
    assert line.count("\n") == 1


def test_ready_says_what_comes_next(on_a_terminal: Callable[..., str]) -> None:
    """Whoever starts the daemon at a terminal for the first time sees what to type now."""
    shown = on_a_terminal(lambda: structlog.get_logger("t").info("ready", url="http://127.0.0.1:8080"))
    for command in ("relay agents add", "relay attach", "relay call", "relay doctor", "Ctrl-C"):
        assert command in shown
    assert "relay agents add" not in on_a_terminal(lambda: structlog.get_logger("t").info("draining"))


def test_json_can_be_had_on_a_terminal_and_words_in_a_pipe(on_a_terminal: Callable[..., str], logged: Read) -> None:
    """The setting wins over what standard error is."""

    def emit() -> None:
        structlog.get_logger("t").info("ready", url="u")

    assert json.loads(on_a_terminal(emit, log_format=logs.LogFormat.JSON))["event"] == "ready"
    screen = io.StringIO()
    with contextlib.redirect_stderr(screen):
        logs.configure(log_format=logs.LogFormat.CONSOLE)
        emit()
    assert screen.getvalue()[0] != "{"
    assert "\x1b" not in screen.getvalue()
    assert logged() == []


def test_a_log_does_not_steer_the_terminal(on_a_terminal: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Control characters in what others sent are not obeyed."""
    monkeypatch.setenv("NO_COLOR", "1")
    shown = on_a_terminal(lambda: logging.getLogger("x").error("\x1b[2Jgone\r %s", "\x9b31m"))
    assert "gone" in shown
    assert not {"\x1b", "\r", "\x9b"} & set(shown)


def test_a_level_silences_what_is_below(on_a_terminal: Callable[..., str]) -> None:
    """Only what is as grave as the level is written."""

    def emit() -> None:
        structlog.get_logger("t").info("ready", url="u")
        structlog.get_logger("t").error("broken")

    shown = on_a_terminal(emit, level="WARNING")
    assert "broken" in shown
    assert "ready" not in shown


def test_every_exception_of_a_group_is_named_with_its_place() -> None:
    """Nested groups are unfolded; each exception shows its type and the lines it came through, but no message."""
    with structlog.testing.capture_logs() as entries:
        group = ExceptionGroup("secret", [ValueError("secret"), ExceptionGroup("", [KeyError("secret")])])
        logs.report("it_failed", group, path="/x")
    (entry,) = entries
    assert (entry["event"], entry["log_level"], entry["path"]) == ("it_failed", "error", "/x")
    assert [each.split()[0] for each in entry["errors"]] == ["ValueError", "KeyError"]
    assert "secret" not in str(entries)


def test_the_place_of_an_exception_is_the_way_it_came() -> None:
    """The stack is there as files and lines."""
    with structlog.testing.capture_logs() as entries:
        try:
            json.loads("{")
        except ValueError as error:
            logs.report("it_failed", error)
    assert entries[0]["errors"][0].startswith("JSONDecodeError at test_logs.py:")
    assert "decoder.py:" in entries[0]["errors"][0]
