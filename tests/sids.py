"""Call SIDs for tests, in the form that the doors ask for."""

from __future__ import annotations


def sid(number: int = 1) -> str:
    """Return the SID of the test's n-th call."""
    return f"CA{number:032x}"


NO_SIDS = (
    "",
    "CA",
    "CA1",
    sid()[:-1],
    f"{sid()}0",
    f"{sid()}\n",
    f" {sid()}",
    f"{sid()} ",
    sid().lower(),
    sid().replace("CA", "VX"),
    sid().replace("CA", "Ca"),
    f"{sid()[:-1]}g",
    f"{sid()[:-1]}\u0661",
    f"{sid()[:-1]}\uff11",
    f"{sid()[:-4]}../x",
    f"{sid()},{sid(2)}",
    "CA" + "0" * 10_000,
    "<CA>",
    "' OR 1=1 --",
)
"""What stands where a call SID should: too short, too long, of another kind, with blanks, foreign digits, a path."""
