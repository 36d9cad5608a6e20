"""How fast a destination may be called: limits and pauses that all workers of a run share."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# The receiver counts calls as they arrive, and some are longer on their way than later ones.
MARGIN = 0.01
# A run waits no longer than this for a destination.
PATIENCE_SECONDS = 900.0


@dataclass(frozen=True)
class Rate:
    """A limit: at most so many calls in any window of so many seconds."""

    calls: int
    seconds: float


class StoppedError(Exception):
    """The run was stopped; nothing more is called."""


class Pace:
    """Limits and pauses; thread-safe. No window of time ever has more calls than a limit allows.

    Windows slide, and are a hundredth longer than the limit says.

    Args:
        rates: the limits; all of them hold.
        clock: seconds that only rise.
        sleep: waits so many seconds; left out: it waits so long or until ``stop``.

    """

    def __init__(
        self,
        rates: Sequence[Rate] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._windows = [(Rate(rate.calls, rate.seconds * (1 + MARGIN)), deque[float]()) for rate in rates]
        self._stopped = threading.Event()
        self._clock, self._sleep = clock, sleep or self._stopped.wait
        self._lock = threading.Lock()
        self._paused_until = 0.0
        self._waits: list[tuple[float, float]] = []

    def take(self) -> None:
        """Waits until one more call is allowed, and counts it.

        Raises:
            StoppedError: the run was stopped.

        """
        while (seconds := self._try_take()) > 0:
            self._wait(seconds)
        self.check()

    def stop(self) -> None:
        """Stops the run: from now on, no worker waits or calls."""
        self._stopped.set()

    def check(self) -> None:
        """Checks that the run goes on.

        Raises:
            StoppedError: the run was stopped.

        """
        if self._stopped.is_set():
            raise StoppedError

    def pause(self, seconds: float) -> None:
        """Lets no worker call before so many seconds have passed.

        A pause that is longer than a run waits is ignored: the next call fails, and the run ends.
        """
        if seconds > PATIENCE_SECONDS:
            return
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def backoff(self, seconds: float) -> None:
        """Lets only the calling worker wait."""
        self._wait(min(seconds, PATIENCE_SECONDS))

    @property
    def waited_seconds(self) -> float:
        """For how many seconds at least one worker waited."""
        with self._lock:
            total, reached = 0.0, float("-inf")
            for started, ended in sorted(self._waits):
                total += max(0.0, ended - max(started, reached))
                reached = max(reached, ended)
            return total

    def _try_take(self) -> float:
        """Counts a call and returns 0, or returns the seconds after which to try again."""
        with self._lock:
            now = self._clock()
            wait = self._paused_until - now
            for rate, taken in self._windows:
                # The same sum as below: rounded differently, a call could neither have expired nor be waited for.
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
        started = self._clock()
        self._sleep(seconds)
        with self._lock:
            self._waits.append((started, self._clock()))
