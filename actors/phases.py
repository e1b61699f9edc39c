"""The phases of a call and every move between them, as data. Pure.

`Conversation` refuses a move that is not in `MOVES`, the tests take each one, and `scripts/state_diagram.py` draws it:
a diagram made from the table that the code obeys cannot lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Phase(StrEnum):
    """Where the call is: not yet known who picked up, the three response paths, and the ways out."""

    SCREENING = "screening"
    CLIENT_LISTENING = "client listening"
    CLIENT_AWAITED = "client awaited"
    CLIENT_ANSWERING = "client answering"
    ANSWERING_MACHINE_ANSWERING = "machine answering"
    ANSWERING_MACHINE_LISTENING = "machine listening"
    UNAVAILABLE = "unavailable"
    GOODBYE = "goodbye"
    ENDING = "ending"
    OVER = "over"


# From where, to where, and on what occasion.
MOVES: Mapping[Phase, Mapping[Phase, str]] = MappingProxyType(
    {
        Phase.SCREENING: {
            Phase.CLIENT_LISTENING: "somebody is there",
            Phase.GOODBYE: "a machine gets its message, a limit, or the client ends it",
            Phase.ENDING: "a machine is hung up on, or the carrier sends rubbish",
            Phase.OVER: "line gone",
        },
        Phase.CLIENT_LISTENING: {
            Phase.CLIENT_ANSWERING: "caller spoke or came back, client here",
            Phase.CLIENT_AWAITED: "caller spoke or came back, client just lost or asleep",
            Phase.ANSWERING_MACHINE_ANSWERING: "caller spoke or came back, client away",
            Phase.UNAVAILABLE: "caller spoke or came back, client away, no machine",
            Phase.GOODBYE: "a machine gets its message, a limit, or the client ends it",
            Phase.ENDING: "a machine is hung up on, or the carrier sends rubbish",
            Phase.OVER: "line gone",
        },
        Phase.CLIENT_AWAITED: {
            Phase.CLIENT_ANSWERING: "client is back",
            Phase.CLIENT_AWAITED: "caller spoke again",
            Phase.CLIENT_LISTENING: "interrupted",
            Phase.ANSWERING_MACHINE_ANSWERING: "limit, or client away",
            Phase.UNAVAILABLE: "limit, or client away, no machine",
            Phase.GOODBYE: "a machine gets its message, a limit, or the client ends it",
            Phase.ENDING: "a machine is hung up on, or the carrier sends rubbish",
            Phase.OVER: "line gone",
        },
        Phase.CLIENT_ANSWERING: {
            Phase.CLIENT_ANSWERING: "caller spoke again, or another session takes the turn",
            Phase.CLIENT_LISTENING: "answered, or interrupted",
            Phase.CLIENT_AWAITED: "client was lost before it got the turn",
            Phase.ANSWERING_MACHINE_ANSWERING: "client silent, failed or left",
            Phase.UNAVAILABLE: "client silent, failed or left, no machine",
            Phase.GOODBYE: "a machine gets its message, a limit, or the client ends it",
            Phase.ENDING: "a machine is hung up on, or the carrier sends rubbish",
            Phase.OVER: "line gone",
        },
        Phase.ANSWERING_MACHINE_ANSWERING: {
            Phase.ANSWERING_MACHINE_ANSWERING: "caller spoke again",
            Phase.ANSWERING_MACHINE_LISTENING: "answered, or interrupted",
            Phase.CLIENT_ANSWERING: "turn over, client has taken the call",
            Phase.CLIENT_AWAITED: "turn over, client has taken the call and was lost",
            Phase.CLIENT_LISTENING: "interrupted, client has taken the call",
            Phase.UNAVAILABLE: "machine silent or failed",
            Phase.GOODBYE: "machine said goodbye, a limit, or the client ends it",
            Phase.ENDING: "the carrier sends rubbish",
            Phase.OVER: "line gone",
        },
        Phase.ANSWERING_MACHINE_LISTENING: {
            Phase.ANSWERING_MACHINE_ANSWERING: "caller spoke",
            Phase.CLIENT_ANSWERING: "client takes the call",
            Phase.CLIENT_AWAITED: "client takes the call, but was lost",
            Phase.GOODBYE: "a limit, or the client ends it",
            Phase.ENDING: "the carrier sends rubbish",
            Phase.OVER: "line gone",
        },
        Phase.UNAVAILABLE: {
            Phase.GOODBYE: "a machine gets its message",
            Phase.ENDING: "sentence was heard, or a machine is hung up on",
            Phase.OVER: "line gone",
        },
        Phase.GOODBYE: {
            Phase.GOODBYE: "a machine gets its message",
            Phase.ENDING: "last words were heard, or a machine is hung up on",
            Phase.OVER: "line gone",
        },
        Phase.ENDING: {Phase.OVER: "line gone"},
        Phase.OVER: {},
    }
)
