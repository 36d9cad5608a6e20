"""Work in a fork of this process, so that it can be killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path


def start_child(work: Callable[[], object], error_file: Path | None = None) -> int:
    """Starts work in a child and gives its process id; an error is written to ``error_file``, or to stderr."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException as error:
        words = f"{type(error).__name__}: {error} {getattr(error, 'hint', '')}"
        if error_file:
            error_file.write_text(words, encoding="utf-8", errors="replace")
        else:
            print(words, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def in_child(work: Callable[[], object], error_file: Path | None = None, seconds: float = 300) -> int:
    """Runs work in a child to its end, and gives its wait status.

    Raises:
        TimeoutError: it did not end in time, and was killed.

    """
    child = start_child(work, error_file)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.01)
    kill_child(child)
    raise TimeoutError(f"a child did not end within {seconds} seconds")


def kill_child(child: int) -> None:
    """Kills a child and waits for its end."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def kill_at_call(number: int) -> Callable[[str], None]:
    """Progress that kills this very process when it is error_file something for the ``number``-th time."""
    counted = 0

    def count(_: str) -> None:
        nonlocal counted
        counted += 1
        if counted == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return count
