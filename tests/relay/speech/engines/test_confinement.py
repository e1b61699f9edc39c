"""What a process that speaks a text may still do, tried by processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest


def confined(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program that is confined first."""
    whole = f"from relay.speech.engines.confinement import confine\nconfine()\n{program}"
    return subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, timeout=60, check=False)


def test_memory_is_bounded() -> None:
    """A request for a gigabyte fails in that process, and takes nothing from the calls."""
    assert "MemoryError" in confined("bytearray(2**30)").stderr


def test_nothing_is_written_to_a_file(tmp_path: Path) -> None:
    """Not a byte gets into a file; the answer goes out by a pipe."""
    done = confined(f"open({str(tmp_path / 'x')!r}, 'wb', buffering=0).write(b'x')")
    assert "File too large" in done.stderr
    assert confined("print('by a pipe')").stdout == "by a pipe\n"


def test_time_is_bounded() -> None:
    """The limits on CPU time and on core files are in force; the first ends the process by a signal."""
    done = confined(
        "import resource as r; print(r.getrlimit(r.RLIMIT_CPU)[0], r.getrlimit(r.RLIMIT_CORE)[0])\n"
        "r.setrlimit(r.RLIMIT_CPU, (1, 20))\nwhile True: pass"
    )
    assert done.stdout in {"20 0\n", ""}
    assert -done.returncode in {signal.SIGXCPU, signal.SIGKILL}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
def test_privileges_cannot_be_won() -> None:
    """The kernel's mark that no program started from there gains privileges is set."""
    assert "NoNewPrivs:\t1" in confined("print(open('/proc/self/status').read())").stdout


def _has_user_namespaces() -> bool:
    program = "import ctypes; print(ctypes.CDLL(None).unshare(0x50000000))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout.strip() == "0"


@pytest.mark.skipif(
    sys.platform != "linux" or not _has_user_namespaces(), reason="the system gives no process a network of its own"
)
def test_there_is_no_network() -> None:
    """Not even this machine's own loopback is there."""
    done = confined("import socket; socket.create_connection(('127.0.0.1', 9))")
    assert "unreachable" in done.stderr
