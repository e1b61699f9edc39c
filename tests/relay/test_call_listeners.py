"""The one fan-out of what happens to calls."""

from __future__ import annotations

from actors.call_values import CallSummary, Reason
from actors.commands import By, NoteTurn, TurnOutcome
from actors.errors import StoreFailed
from actors.events import CallGone, CallNews, MessageLeft
from relay.call_listeners import CallListeners
from tests.fakes import RecordingObserver, call_info

CALL = call_info()


def test_every_observer_gets_every_report() -> None:
    """In the order in which it comes, whatever else listens."""
    observers = [RecordingObserver(), RecordingObserver()]
    listeners = CallListeners([*observers])
    listeners.turn_ended(CALL, NoteTurn(turn=1, by=By.CLIENT, outcome=TurnOutcome.ANSWERED, first_word=0.1))
    listeners.never_connected(CALL, is_placed=True)
    listeners.message_left(CALL, Reason.UNANSWERED, "m_1")
    listeners.frame_rejected(CALL, "not_json")
    listeners.frame_unknown(CALL, "video")
    listeners.carrier_failed(CALL, "Invalid voice")
    listeners.call_ended(CALL, CallSummary(outcome="completed"), 2.0)
    listeners.call_crashed(CALL, RuntimeError("bang"), "turn")
    listeners.call_taken(CALL)
    listeners.not_stored(CALL, StoreFailed("no room"), "record")
    for each in observers:
        assert (each.outcomes(), each.missed, each.left) == (["answered"], [("CA1", True)], [("m_1", "unanswered")])
        assert (each.rejected, each.unknown, each.refused) == (["not_json"], ["video"], ["Invalid voice"])
        assert ([seconds for _summary, seconds in each.ended], each.taken) == ([2.0], ["CA1"])
        assert ([stage for stage, _error in each.crashes], each.not_kept) == (["turn"], ["record"])
        assert each.changes == {}


def test_news_go_to_all_who_want_them() -> None:
    """Announcements, claims and transfers are listeners like any other."""
    listeners, first, second = CallListeners(), list[CallNews](), list[CallNews]()
    listeners.on_news(first.append)
    listeners.on_news(second.append)
    for news in (MessageLeft("my-client"), CallGone("my-client", "CA1")):
        listeners.publish(news)
    assert first == second == [MessageLeft("my-client"), CallGone("my-client", "CA1")]


def test_changes_go_to_who_watches_and_while_they_do() -> None:
    """Without a watcher a change is passed on to nobody."""
    listeners, seen, others = CallListeners(), set[str](), list[str]()
    listeners.changed("CA1")
    with listeners.watching(seen.add):
        listeners.changed("CA2")
        with listeners.watching(others.append):
            listeners.changed("CA2")
    listeners.changed("CA3")
    assert (seen, others) == ({"CA2"}, ["CA2"])
