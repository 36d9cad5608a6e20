"""A real MariaDB for tests: Debian's server on a loopback port, always stopped."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymysql
import pytest

from tests.postgres import PASSWORD


@dataclass(frozen=True)
class MariaServer:
    """A running server; ``url`` is what its user puts into the environment, ``socket`` is for the server's owner."""

    url: str
    socket: Path

    @property
    def owner_url(self) -> str:
        """Connects as one who may write; times are in UTC."""
        return f"mariadb+pymysql://root@/sales?unix_socket={self.socket}&init_command=set time_zone='%2B00:00'"

    def execute(self, *statements: str) -> None:
        """Runs SQL in the server."""
        with _as_root(self.socket) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


@contextmanager
def running_mariadb() -> Iterator[MariaServer]:
    """A new server, until the context ends."""
    programs = [shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") for name in PROGRAMS]
    if None in programs:
        pytest.fail("No MariaDB server: install Debian's package mariadb-server (apt-get install mariadb-server).")
    install, server = map(str, programs)
    folder = Path(tempfile.mkdtemp(prefix="traithouse-maria"))
    user = ["--user=root"] if os.geteuid() == 0 else []
    try:
        subprocess.run(
            [
                install,
                "--no-defaults",
                f"--datadir={folder / 'data'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                *user,
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = {
            "datadir": folder / "data",
            "socket": folder / "socket",
            "pid-file": folder / "pid",
            "bind-address": "127.0.0.1",
            "port": port,
            "default-time-zone": "+09:00",
            "innodb-flush-log-at-trx-commit": 0,
            "max-allowed-packet": "64M",
        }
        with _running(
            [server, "--no-defaults", "--skip-name-resolve", *(f"--{k}={v}" for k, v in settings.items()), *user],
            folder,
        ):
            made = MariaServer(f"mariadb://reader:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/sales", folder / "socket")
            written = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
            made.execute(
                "create database sales character set utf8mb4",
                f"create user reader@'127.0.0.1' identified by '{written}'",
                "grant select, show view on *.* to reader@'127.0.0.1'",
            )
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


PROGRAMS = ("mariadb-install-db", "mariadbd")


def _as_root(path: Path) -> Any:
    return pymysql.connect(unix_socket=str(path), user="root", autocommit=True)


@contextmanager
def _running(called: list[str], folder: Path) -> Iterator[None]:
    """The server, until this ends or this process does, even by a kill: then the pipe that the shell reads closes."""
    until_closed = 'exec 3<&0; "$@" </dev/null 3<&- & cat <&3 >/dev/null; kill -TERM $!; wait $!'
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            ["/bin/sh", "-c", until_closed, "sh", *called],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        ),
    ):
        deadline = time.monotonic() + 60
        while True:
            try:
                _as_root(folder / "socket").close()
                break
            except pymysql.Error:
                assert time.monotonic() < deadline, f"MariaDB did not start: {(folder / 'log').read_text()[-2000:]}"
                time.sleep(0.1)
        yield
