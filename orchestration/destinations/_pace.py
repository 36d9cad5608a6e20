"""How fast a destination may be called: limits and pauses that all workers share."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Who is called counts calls as they arrive, some of which were longer on their way than those after them.
MARGIN = 0.01
# Longer than this nobody is waited for in one run.
PATIENCE_SECONDS = 900.0


@dataclass(frozen=True)
class Rate:
    """At most so many calls in any window of so many seconds."""

    calls: int
    seconds: float


class StoppedError(Exception):
    """The run ends at once; nothing more is called."""


class Pace:
    """Thread-safe; a sliding window for each limit, so that no window ever holds more than the limit allows.

    Windows are a hundredth longer than the limit says.

    Args:
        rates: all of them hold.
        clock: seconds that only rise.
        sleep: waits; left out: it waits until ``stop``, if that comes first.

    """

    def __init__(
        self,
        rates: Sequence[Rate] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._windows = [(Rate(one.calls, one.seconds * (1 + MARGIN)), deque[float]()) for one in rates]
        self._stopped = threading.Event()
        self._clock, self._sleep = clock, sleep or self._stopped.wait
        self._lock = threading.Lock()
        self._paused_until = 0.0
        self._waits: list[tuple[float, float]] = []

    def take(self) -> None:
        """Waits until one more call is allowed, and counts it.

        Raises:
            StoppedError: somebody stopped the run.

        """
        while (seconds := self._try_take()) > 0:
            self._wait(seconds)
        self.check()

    def stop(self) -> None:
        """Nobody waits and nobody calls any more."""
        self._stopped.set()

    def check(self) -> None:
        """Raises StoppedError after a ``stop``."""
        if self._stopped.is_set():
            raise StoppedError

    def pause(self, seconds: float) -> None:
        """No worker calls before so many seconds have passed; who asks for too many is asked again, and left alone."""
        if seconds > PATIENCE_SECONDS:
            return
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def backoff(self, seconds: float) -> None:
        """Only the calling worker waits."""
        self._wait(min(seconds, PATIENCE_SECONDS))

    @property
    def waited_seconds(self) -> float:
        """How long at least one worker waited."""
        with self._lock:
            total, reached = 0.0, float("-inf")
            for begun, ended in sorted(self._waits):
                total += max(0.0, ended - max(begun, reached))
                reached = max(reached, ended)
            return total

    def _try_take(self) -> float:
        """Counts a call and gives 0, or gives the seconds after which to ask again."""
        with self._lock:
            now = self._clock()
            wait = self._paused_until - now
            for rate, taken in self._windows:
                # The same sum as below: rounded otherwise, a call could be neither over nor waited for.
                while taken and taken[0] + rate.seconds <= now:
                    taken.popleft()
                if len(taken) >= rate.calls:
                    wait = max(wait, taken[0] + rate.seconds - now)
            if wait > 0:
                return wait
            for _, taken in self._windows:
                taken.append(now)
            return 0.0

    def _wait(self, seconds: float) -> None:
        self.check()
        begun = self._clock()
        self._sleep(seconds)
        with self._lock:
            self._waits.append((begun, self._clock()))
