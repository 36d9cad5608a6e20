"""``traithouse dev`` on a free port, and every process that belongs to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestration.home import PROJECT_ROOT, Home

SECONDS_TO_START = 300


@dataclass(frozen=True)
class Dev:
    """A Dagster UI that answers."""

    pid: int
    url: str
    home: Home

    def processes(self) -> dict[int, str]:
        """Every process that works for this home, by process id; zombies have ended."""
        wanted = f"TRAITHOUSE_HOME={self.home.root}".encode()
        found = {}
        for folder in Path("/proc").iterdir():
            # A process may end between these lines.
            with suppress(OSError):
                if (
                    folder.name.isdigit()
                    and wanted in (folder / "environ").read_bytes().split(b"\0")
                    and int(folder.name) != os.getpid()
                ):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found


@contextmanager
def dagster_ui(home: Home, log: Path) -> Iterator[Dev]:
    """Starts it as a background job of a script, which has SIGINT ignored, waits for it, and leaves nothing running."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = f'"{sys.executable}" -m orchestration dev --port {port} & echo $!; wait'
    environment = {**os.environ, "TRAITHOUSE_HOME": str(home.root), "PYTHONPATH": str(PROJECT_ROOT)}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            ["/bin/sh", "-c", script], stdout=subprocess.PIPE, stderr=output, env=environment, cwd=PROJECT_ROOT
        ) as shell,
    ):
        assert shell.stdout is not None
        dev = Dev(int(shell.stdout.readline()), f"http://127.0.0.1:{port}", home)
        try:
            _wait_for(dev, log)
            yield dev
        finally:
            with suppress(ProcessLookupError):
                os.kill(dev.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                shell.wait(60)
            for pid in dev.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _wait_for(dev: Dev, log: Path) -> None:
    """Until the web server has loaded the definitions."""
    query = b'{"query": "{ assetNodes { assetKey { path } } }"}'
    until = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until:
        with suppress(OSError):
            request = urllib.request.Request(f"{dev.url}/graphql", query, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                if b'"path"' in answer.read():
                    return
        if not Path(f"/proc/{dev.pid}").exists():
            break
        time.sleep(0.5)
    raise AssertionError(f"Dagster did not start: {log.read_text()[-3000:]}")
