"""The console's words for what calls are: phases, outcomes, speakers, reasons. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from actors.phases import Phase
from actors.transfer import Stage

PHASES = {
    Phase.SCREENING: "who picked up?",
    Phase.CLIENT_LISTENING: "listening",
    Phase.CLIENT_AWAITED: "waiting for a client",
    Phase.CLIENT_ANSWERING: "answering",
    Phase.ANSWERING_MACHINE_ANSWERING: "answering",
    Phase.ANSWERING_MACHINE_LISTENING: "listening",
    Phase.UNAVAILABLE: "says so",
    Phase.GOODBYE: "last words",
    Phase.MOVING: "moving",
    Phase.ENDING: "ending",
    Phase.OVER: "over",
}

# By the values of `actors.call_values.Speaker`.
SPEAKERS = {
    "caller": "caller",
    "agent": "client",
    "machine": "answering machine",
    "operator": "operator",
    "relay": "relay",
}

ONLY_LOOKS = "You may look, not act: your role is read."

# By the values of `actors.call_values.CallOutcome`.
OUTCOMES = {
    "completed": "the other party hung up",
    "ended": "we hung up",
    "transferred": "transferred",
    "moved": "went on in another session",
    "voicemail": "a voicemail picked up",
    "farewell": "a limit was reached, nothing was said any more, or the relay stopped",
    "unavailable": "unavailable was said",
    "failed": "the line broke, or something here did",
    "busy": "busy",
    "no_answer": "not answered",
    "canceled": "cancelled",
    "not_connected": "never connected",
    "relay_restarted": "cut off by a restart of the relay",
}

NO_OUTCOME = "not known yet"

# By the values of `actors.commands.TurnOutcome`.
TURN_OUTCOMES = {
    "answered": "answered",
    "interrupted": "talked over",
    "superseded": "given up for newer words",
    "hung_up": "hung up",
    "moved": "asked again after the move",
    "taken_over": "taken over",
    "handed_back": "handed back",
    "client_absent": "no client",
    "client_timeout": "client too slow",
    "client_failed": "client failed",
    "client_left": "client left",
    "machine_failed": "answering machine failed",
    "machine_timeout": "answering machine too slow",
    "human_timeout": "operator too slow",
}

# By the values of `Row.by`.
_ANSWERERS = {"client": "client", "machine": "answering machine", "human": "operator", "unavailable": "unavailable"}

# The parts of a turn's time (`actors.trace.TurnTimes.parts`): what each is called, and whose it is.
PARTS = {
    "storing": ("storing", "ours"),
    "asking": ("asking", "ours"),
    "thinking": ("client: first word", "thinking"),
    "sending": ("sending", "ours"),
    "speaking": ("client: rest", "speaking"),
    "playing": ("telephone", "telephone"),
}


_TRANSFERRING = frozenset(each.value for each in Stage if each is not Stage.SETTLED)


def away(transfer: str) -> str:
    """Return why a call has no session now, and is not over; `transfer` is how far its transfer is, if there is one."""
    return "being transferred" if transfer in _TRANSFERRING else "without a line, and may come back"


def outcome(value: str | None) -> str:
    """Return how a call ended; an outcome of a newer daemon as it is."""
    return OUTCOMES.get(value, value) if value else NO_OUTCOME


def answerer(by: str | None) -> str:
    """Return who answers a call, or has answered a turn; one of a newer daemon as it is."""
    return _ANSWERERS.get(by, by) if by else "none yet"


def day(at: datetime) -> str:
    """Return a wall-clock time in UTC with its date, to the second."""
    return f"{at.astimezone(UTC):%d %b %Y %H:%M:%S}"


def clock(at: datetime) -> str:
    """Return a wall-clock time of day in UTC, to the second."""
    return f"{at.astimezone(UTC):%H:%M:%S}"


def exact_clock(at: datetime) -> str:
    """Return a wall-clock time of day in UTC, to the millisecond."""
    return f"{clock(at)}.{at.microsecond // 1000:03}"


def on_clock(seconds: float) -> str:
    """Return a length of time as a clock shows it, such as `1:05` or `1:02:05`."""
    whole = max(0, int(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def in_units(seconds: float) -> str:
    """Return a length of time in its two largest units, such as `3 min 5 s` or `1 d 4 h`."""
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def age(seconds: float) -> str:
    """Return roughly how long ago something was, such as `12 min`."""
    if seconds < 60:
        return "less than a minute"
    if seconds < 3600:
        return f"{int(seconds // 60)} min"
    return f"{int(seconds // 3600)} h" if seconds < 172_800 else f"{int(seconds // 86_400)} days"


def milliseconds(value: float | None) -> str:
    """Return a number of milliseconds as one reads it; a dash for none."""
    if value is None:
        return "–"
    return f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"
