"""Things that are named on a command line by their id, or by as much of its beginning as tells them apart."""

from __future__ import annotations

from collections.abc import Sequence

from relay.errors import RelayError

MOST_SHOWN = 10
"""How many ids are listed when a beginning fits several."""


def find_id(given: str, ids: Sequence[str], *, what: str, command: str) -> str:
    """Return the one id that is `given`, or that begins so. Raises `RelayError` for none or several.

    `what` names the thing ("message"), `command` lists those that there are.
    """
    if given in ids:
        return given
    fitting = [each for each in ids if given and each.startswith(given)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise RelayError(f"There is no {what} {given!r}. See those that there are with: {command}")
    more = f", and {len(fitting) - MOST_SHOWN} more" if len(fitting) > MOST_SHOWN else ""
    raise RelayError(f"{given} begins {len(fitting)} ids: {', '.join(fitting[:MOST_SHOWN])}{more}. Give more of it.")
