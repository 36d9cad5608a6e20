"""One step, one process: wall time, CPU time and peak memory of that step alone.

``run_step`` starts ``python -m benchmarks.steps``. There a step prepares first, and then does what is measured inside a
``Stopwatch``, so that starting Python, importing and parsing the project are not counted.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Measured:
    """What a step cost, and facts that it reports.

    Attributes:
        step: its name and the size of the history.
        seconds: wall time.
        cpu_seconds: user and system time of all threads.
        peak_gb: largest resident memory of the process, Python and imports included.
        facts: what else the step reports.

    """

    step: str
    seconds: float
    cpu_seconds: float
    peak_gb: float
    facts: dict[str, Any]


class StepError(Exception):
    """A step failed."""


class Stopwatch:
    """Wall and CPU time of a block."""

    def __enter__(self) -> Stopwatch:
        self._began, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.cpu_seconds = time.perf_counter() - self._began, time.process_time() - self._cpu


def run_step(label: str, step: str, /, **arguments: Any) -> Measured:
    """Runs one step of benchmarks/steps.py in a process of its own.

    Raises:
        StepError: the step failed; the message has the end of its output.

    """
    command = [sys.executable, "-m", "benchmarks.steps", step, json.dumps(arguments, default=str)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        # A process that the system killed because memory ran out writes nothing.
        words = (done.stderr or done.stdout).strip()[-2000:] or "it wrote nothing; perhaps memory ran out"
        raise StepError(f"{label} ended with {done.returncode}: {words}")
    return Measured(step=label, **json.loads(done.stdout.splitlines()[-1]))


def print_measure(watch: Stopwatch, facts: dict[str, Any]) -> None:
    """Prints what ``run_step`` reads: the last line that a step's process writes."""
    # Linux counts the memory of a child from its parent's at the fork, so the parent stays small.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    measure = {"seconds": watch.seconds, "cpu_seconds": watch.cpu_seconds, "peak_gb": peak / 1e9, "facts": facts}
    print(json.dumps(measure))
