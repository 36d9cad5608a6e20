"""The API in tests: in this process, or as the command that people run; and what is published in a moment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
from pydantic import SecretStr
from starlette.testclient import TestClient

from orchestration.home import PROJECT_ROOT, Home, utc_now
from orchestration.publishing.lookup import write_lookup
from orchestration.serving.app import Api
from orchestration.serving.keys import add_key
from orchestration.serving.settings import ServeSettings
from orchestration.serving.tokens import Tokens, TokenSettings

SECRET = "a secret of thirty-two bytes, or more"
_START_SECONDS = 60


class Client:
    """A client in this process, of the API of a home, with a key."""

    def __init__(self, home: Home, tokens: TokenSettings | None = None, **settings: Any) -> None:
        self.home = home
        self.key = add_key(home.serving, "tests", "approver")
        self.api = Api(
            home.serving,
            ServeSettings(**settings),
            Tokens(tokens or TokenSettings(token_secret=SecretStr(SECRET))),
        )
        self.http = TestClient(self.api.application(), raise_server_exceptions=False)

    def get(self, path: str, credential: str | None = None, **query: Any) -> Any:
        """The response to a GET with the key, or with another credential."""
        return self.http.get(path, params=query, headers=bearer(self.key if credential is None else credential))

    def flag(self, key: str, user_id: str, credential: str | None = None, **context: Any) -> Any:
        """The response to a single evaluation."""
        body = {"context": {"targetingKey": user_id, **context}}
        headers = bearer(self.key if credential is None else credential)
        return self.http.post(f"/ofrep/v1/evaluate/flags/{key}", json=body, headers=headers)

    def flags(self, user_id: str, credential: str | None = None, **headers: str) -> Any:
        """The response to a bulk evaluation."""
        body = {"context": {"targetingKey": user_id}}
        given = bearer(self.key if credential is None else credential) | headers
        return self.http.post("/ofrep/v1/evaluate/flags", json=body, headers=given)

    def publish(self, *statements: str) -> None:
        """Changes what is published, and serves it."""
        republish(self.home, *statements)
        self.api.look()


@contextmanager
def client_of(home: Home, tokens: TokenSettings | None = None, **settings: Any) -> Iterator[Client]:
    """The API of a home, in this process."""
    client = Client(home, tokens, **settings)
    with client.http:
        yield client


def bearer(credential: str) -> dict[str, str]:
    """The header of a credential."""
    return {"Authorization": f"Bearer {credential}"}


def token(subject: str, seconds: int = 600, secret: str = SECRET, **claims: Any) -> str:
    """A token as a backend signs it."""
    given = {"sub": subject, "aud": "traithouse", "exp": int(time.time()) + seconds, **claims}
    return jwt.encode({name: value for name, value in given.items() if value is not None}, secret, algorithm="HS256")


def republish(home: Home, *statements: str) -> str:
    """Changes the published tables, and writes the lookup of another build of the same clock; returns the build."""
    with home.lock("a test"), home.connect() as connection:
        for statement in statements:
            connection.execute(statement)
        build = connection.execute(
            "select printf('%06d', cast(max(substr(build_id, 1, 6)) as bigint) + 1) || substr(max(build_id), 7)"
            " from traits.builds"
        ).fetchone()
        assert build
        connection.execute(
            "insert into traits.builds by name select * replace ($1 as build_id, $2::timestamp as published_at)"
            " from traits.builds order by build_id desc limit 1",
            [build[0], utc_now()],
        )
        write_lookup(home, connection, build[0])
    return str(build[0])


class Process:
    """``traithouse serve`` as a process."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._stream = log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orchestration", "serve", *arguments],
            cwd=PROJECT_ROOT,
            env={**os.environ, "TRAITHOUSE_TOKEN_SECRET": SECRET, "TRAITHOUSE_SERVE_PORT": "0", **environment},
            stdout=subprocess.DEVNULL,
            stderr=self._stream,
        )
        self.url = self._started()

    def _started(self) -> str:
        ends = time.monotonic() + _START_SECONDS
        while time.monotonic() < ends and self.process.poll() is None:
            if found := re.search(r"Serving on (http://[\d.:]+)", self.log.read_text()):
                return found[1]
            time.sleep(0.05)
        raise AssertionError(f"the API did not start: {self.log.read_text()}")

    def end(self, *, kill: bool = False) -> None:
        """Ends it, at once or as an operator does."""
        if self.process.poll() is None:
            self.process.kill() if kill else self.process.terminate()
        self.process.wait(timeout=30)
        self._stream.close()


@contextmanager
def serving(home: Home | None, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """``traithouse serve`` until the context ends; without a home it follows what its environment names."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"serve-{threading.get_ident()}-{time.monotonic_ns()}.log"
    started = Process(["--home", str(home.root)] if home else [], environment or {}, log)
    try:
        yield started
    finally:
        started.end()
