"""What a process that speaks a text may do: little. It is for a library with faults, fed with what strangers worded.

Called by the process itself, before the library is loaded. What a system does not have, is left out: the fence that
always stands is the process of its own.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress

MOST_MEMORY = 512 * 2**20
"""Bytes of address space; the longest text takes less than a quarter of that."""

MOST_CPU = 20
"""Seconds of a core; the longest text takes half of one, and the engine waits for 30."""

_OPEN_FILES = 32
_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h


def confine() -> None:
    """Drop the right to much memory, CPU time, writing files, and on Linux the network and new privileges.

    It cannot be undone.
    """
    limits = {
        resource.RLIMIT_AS: MOST_MEMORY,
        resource.RLIMIT_CPU: MOST_CPU,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
    }
    for what, most in limits.items():
        # A stricter limit of the system's own stays.
        with suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # A network of its own has no way out. Containers and some distributions forbid it, which is no fault.
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
