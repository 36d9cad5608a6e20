"""Work in a fork of this process, so that it can be killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path


def forked(work: Callable[[], object], told: Path | None = None) -> int:
    """Begins something in a child and gives its process id; what it raises is written to ``told``, or to stderr."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException as error:
        words = f"{type(error).__name__}: {error} {getattr(error, 'hint', '')}"
        if told:
            told.write_text(words, encoding="utf-8", errors="replace")
        else:
            print(words, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def in_child(work: Callable[[], object], told: Path | None = None, seconds: float = 300) -> int:
    """Runs something in a child to its end, and gives its wait status.

    Raises:
        TimeoutError: it did not end in time, and was killed.

    """
    child = forked(work, told)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.01)
    killed(child)
    raise TimeoutError(f"a child did not end within {seconds} seconds")


def killed(child: int) -> None:
    """Kills a child and waits for its end."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def killing_at(number: int) -> Callable[[str], None]:
    """Progress that kills this very process when it is told something for the ``number``-th time."""
    counted = 0

    def count(_: str) -> None:
        nonlocal counted
        counted += 1
        if counted == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return count
