"""A local stand-in for Snowflake for tests: fakesnow's server on loopback, always stopped.

It needs another DuckDB than this project, so `make` installs it in an environment of its own (tests/fakesnow.lock).
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAM = Path(sys.prefix) / "fakesnow" / "bin" / "fakesnow"


@contextmanager
def running_snowflake() -> Iterator[str]:
    """The URL of a new server, until the context ends."""
    if not PROGRAM.exists():
        pytest.fail("There is no fakesnow: run `make .venv/fakesnow/installed`.")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": tempfile.gettempdir()}
    command = [PROGRAM, "--server", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline, "fakesnow did not start"
                    assert server.poll() is None, "fakesnow ended"
                    time.sleep(0.1)
            yield f"snowflake://reader:s3cr3t-word@127.0.0.1:{port}/SHOP/SALES?account=shop&warehouse=w"
        finally:
            server.kill()
