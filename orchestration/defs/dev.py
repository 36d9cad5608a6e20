"""Dagster's web server, daemon and code servers in the foreground, until a signal ends them all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

from orchestration.defs.instance import dagster_environment, write_instance
from orchestration.home import Home
from orchestration.pipeline.outbox import dagster_folder

# Dagster ends its processes one after the other; what is left then is ended, and killed.
SECONDS_TO_END, SECONDS_TO_KILL = 30.0, 5.0


def run_dagster(home: Home, port: int) -> int:
    """Runs ``dagster dev`` and returns its exit code; 0 when a signal ended it. Nothing of it is left running.

    A second one of the same home is possible, and leaves the runs of the first alone.
    """
    with ExitStack() as held:
        with suppress(Timeout):
            held.enter_context(FileLock(dagster_folder(home) / "dev.lock", timeout=0))
            fail_orphans(home)
        return _run(home, port)


def _run(home: Home, port: int) -> int:
    # A shell starts its background jobs with SIGINT ignored, and every process that they start inherits that. Here both
    # signals have handlers, and a process that is started then has the defaults again.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Who starts it with nohup wants it to outlive the terminal.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: stop.set())
    arguments = ["dev", "-m", "orchestration.definitions", "-h", "127.0.0.1", "-p", str(port)]
    # A session of its own: what a terminal sends to all goes to this process alone, which ends the others in order.
    process = subprocess.Popen(  # noqa: S603
        [str(Path(sys.executable).with_name("dagster")), *arguments],
        env=dagster_environment(home),
        cwd=home.settings.project,
        start_new_session=True,
    )
    try:
        while process.poll() is None and not stop.wait(0.1):
            pass
    finally:
        _end(process)
    return 0 if stop.is_set() else process.returncode


def fail_orphans(home: Home) -> None:
    """Marks runs as failed that ended with the Dagster that ran them: later runs would wait for them for ever."""
    going = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    with dg.DagsterInstance.from_config(str(write_instance(home))) as instance:
        for run in instance.get_runs(dg.RunsFilter(statuses=going)):
            instance.report_run_failed(run, "Dagster was stopped while this ran.")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and the whole group that it leads."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _signalled(process.pid, number):
            return
        until = time.monotonic() + SECONDS_TO_KILL
        while time.monotonic() < until and _signalled(process.pid, 0):
            process.poll()
            time.sleep(0.05)


def _signalled(group: int, number: int) -> bool:
    """Sends a signal to a group (0 only asks); whether anybody was there."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True
