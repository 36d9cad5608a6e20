"""Runs the API in this process until it is told to end."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

import uvicorn
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from orchestration.errors import TraithouseError, UsageError
from orchestration.published.served_copy import ServedCopy
from orchestration.serving.app import Api
from orchestration.serving.metrics import LOG
from orchestration.serving.replica import Replica
from orchestration.serving.settings import ServeSettings
from orchestration.serving.tokens import Tokens, TokenSettings

_Read = TypeVar("_Read", bound=BaseSettings)
_GRACEFUL_SECONDS = 5
# A connection that nobody uses for so long is closed; proxies keep theirs shorter.
_KEEP_ALIVE_SECONDS = 75


class ApiServer(uvicorn.Server):
    """Ends the streams first, for nobody else would."""

    def __init__(self, config: uvicorn.Config, api: Api) -> None:
        super().__init__(config)
        self._api = api

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops to listen, ends streams, and waits for the answers that are under way."""
        self._api.announcer.close()
        await super().shutdown(sockets)


def serve(
    folder: Path, settings: ServeSettings, tokens: TokenSettings, ready: Callable[[str], None] = lambda url: None
) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        folder: ``serving/`` of a home; not read where a replica follows something else.
        settings: of the server.
        tokens: of browsers.
        ready: called with the address as soon as it listens.

    Raises:
        TraithouseError: the address cannot be listened on.

    """
    if not logging.getLogger().handlers:
        logging.basicConfig(stream=sys.stderr, format="%(message)s")
    LOG.setLevel(logging.INFO)
    with _source(folder, settings) as followed:
        api = Api(followed, settings, Tokens(tokens))
        config = uvicorn.Config(
            api.application(),
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=_GRACEFUL_SECONDS,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        listening = _listen(settings)
        host, port = listening.getsockname()[:2]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        # The server raises again the signal that has ended it; what is temporary is deleted on the way out.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            ApiServer(config, api).run([listening])


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_settings(kind: type[_Read]) -> _Read:
    """Settings of the environment.

    Raises:
        UsageError: a variable cannot be used; its value is not in the message.

    """
    try:
        return kind()
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False)[0]
        prefix = kind.model_config.get("env_prefix", "")
        name = str(first["loc"][0])
        name = name if name.startswith(prefix) else f"{prefix}{name.upper()}"
        raise UsageError(
            f"{name}: {first['msg'].removeprefix('Value error, ')}.", "Correct the environment variable."
        ) from None


@contextmanager
def _source(folder: Path, settings: ServeSettings) -> Iterator[Path]:
    """The folder that is served: the home's, or a replica's own, which is deleted at the end."""
    if not settings.source:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="traithouse-replica-") as own:
        replica = Replica(ServedCopy(settings.source, "TRAITHOUSE_SERVE_FROM"), Path(own))
        replica.start()
        try:
            yield Path(own)
        finally:
            replica.stop()


def _listen(settings: ServeSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise TraithouseError(
            f"Nothing can listen on {settings.host}, port {settings.port}: {error.strerror}.",
            "Set TRAITHOUSE_SERVE_HOST and TRAITHOUSE_SERVE_PORT to an address that is free.",
        ) from None
    listening.listen(2_048)
    return listening
