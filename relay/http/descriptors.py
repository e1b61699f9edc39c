"""The limit of file descriptors, and how many of them connections may use.

Each connection is one, and so is each file, each socket to the carrier or to a vendor, and each pipe to espeak-ng. When
none is left, nothing can be opened any more, so connections leave some for the others. Common defaults are 256 (macOS)
and 1,024 (Linux), and the soft limit may be raised up to the hard one without privileges.
"""

from __future__ import annotations

import contextlib

try:
    import resource
except ImportError:  # not a Unix: sockets are not limited by descriptors
    resource = None  # type: ignore[assignment]

ENOUGH = 65_536
"""More is of no use, and child processes that loop over all possible descriptors are slow with millions."""
MOST_CONNECTIONS = 20_000
"""Ten thousand calls, with their webhooks, their clients, and strangers. Each may hold a head of 16 kB."""
_FEWEST_FOR_THE_REST = 64
# Files, and one connection to a vendor for each fourth call that the answering machine has.
_SHARE_FOR_THE_REST = 4
_PER_CALL = 2


def limit() -> int:
    """Return how many descriptors this process may have open now."""
    if resource is None:
        return ENOUGH
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ENOUGH if soft == resource.RLIM_INFINITY else soft


def attainable() -> int:
    """Return how many it may have once it has raised its limit."""
    if resource is None:
        return ENOUGH
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(limit(), ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH))


def raise_limit() -> int:
    """Raise the limit as far as it helps and is allowed; return what it is then. Child processes inherit it."""
    if limit() < attainable():
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Some systems have a lower limit for all processes than they say here; then things stay as they are.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (attainable(), hard))
    return limit()


def connections_for(descriptors: int) -> int:
    """Return how many connections may be open with so many descriptors, at least one."""
    rest = max(_FEWEST_FOR_THE_REST, descriptors // _SHARE_FOR_THE_REST)
    return max(1, min(MOST_CONNECTIONS, descriptors - rest))


def needed_for(calls: int) -> int:
    """Return how many descriptors so many calls at once need: a socket each, one to the responder, and the rest."""
    return calls * _PER_CALL + 4 * _FEWEST_FOR_THE_REST
