"""A program that forks others whose imports it has behind it: tests/forked_process.py starts it and asks it.

    python fork_server.py MODULE...

It imports these modules, and then waits on its standard input, a socket, for requests: what to run as JSON, with the
descriptors of the new process's standard input, output and error, and of a pipe on which it answers with the process's
id, and with its exit status when it is over. It ends with its socket. It runs on the interpreter of what it forks, and
so it uses nothing but the standard library.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from pathlib import Path

MOST_BYTES = 1 << 20


def serve() -> list[str]:
    """Fork what is asked for. Returns in each forked process, with the command that it is to run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which close the socket
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    answers: dict[int, int] = {}
    with socket.socket(fileno=os.dup(0)) as control, selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _events in selector.select()}
            if woken in ready:
                os.read(woken, 1024)
                report_ended(answers)
            if control not in ready:
                continue
            request, descriptors, _flags, _address = socket.recv_fds(control, MOST_BYTES, 4)
            if not request:
                os._exit(0)
            *standard, answer = descriptors
            child = os.fork()
            if child == 0:
                break
            for descriptor in standard:
                os.close(descriptor)
            os.write(answer, b"%d\n" % child)
            answers[child] = answer
    signal.set_wakeup_fd(-1)
    for descriptor in (woken, waker, answer, *answers.values()):
        os.close(descriptor)
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    given = json.loads(request)
    os.chdir(given["cwd"])
    os.environ.clear()
    os.environ.update(given["env"])
    command: list[str] = given["command"]
    return command


def report_ended(answers: dict[int, int]) -> None:
    """Send the exit status of each process that is over, negative if a signal ended it."""
    while answers:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == 0:
            return
        answer = answers.pop(ended)
        os.write(answer, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(answer)


def run(command: list[str]) -> None:
    """Run `-m module arguments` or `script arguments`, as an interpreter does that has just started."""
    if command[0] == "-m":
        sys.path[0] = str(Path.cwd())
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(command[0]).parent)
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    gc.disable()
    for module in sys.argv[1:]:
        importlib.import_module(module)
    gc.freeze()  # what a collection touches is copied in each process
    program = serve()
    gc.enable()
    run(program)
