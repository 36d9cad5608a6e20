"""Connects to the database that an environment variable names, through SQLAlchemy.

The variable holds SQLAlchemy's URL (``mysql://reader:...@host/shop``), or what Postgres's own tools read: a URL or
``host=... dbname=...``. It has the password, so nothing of it is in an error, a log, a table or a file; an error of a
driver, whose text may quote it, is never the context of ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from psycopg import connect as connect_postgres
from psycopg.conninfo import conninfo_to_dict

from orchestration.errors import UsageError

CONNECT_SECONDS = 10
# The longest that one answer of a server may take; a server-side cursor asks for some rows at a time.
ANSWER_SECONDS = 600
# What a name alone means, and what else its driver is told.
_DRIVERS = {"mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
_OPTIONS: dict[str, dict[str, Any]] = {
    "pymysql": {"connect_timeout": CONNECT_SECONDS, "read_timeout": ANSWER_SECONDS, "write_timeout": ANSWER_SECONDS},
    "snowflake": {
        "login_timeout": CONNECT_SECONDS,
        "network_timeout": ANSWER_SECONDS,
        "session_parameters": {"TIMEZONE": "UTC"},
    },
}
_READ_ONLY = "set transaction read only"
# Equal rows must be equal texts whatever the settings of a server; and a reader writes nothing.
_SESSION = {
    "postgresql": (
        _READ_ONLY,
        "set local time zone 'UTC'",
        "set local datestyle to iso",
        "set local intervalstyle to postgres",
        f"set local statement_timeout to '{ANSWER_SECONDS}s'",
    ),
    "mysql": (
        _READ_ONLY,
        "set session time_zone = '+00:00'",
        f"set session net_write_timeout = {ANSWER_SECONDS}",
    ),
}
_SESSION["mariadb"] = _SESSION["mysql"]
_EXTRAS = ("snowflake",)
# Words of a server or a client library -> our message; the rest of their text may quote the address.
_UNREACHABLE = {
    "password authentication failed": "user or password is refused",
    "Access denied": "user or password is refused",
    "Incorrect username or password": "user or password is refused",
    "no password supplied": "it wants a password",
    "no pg_hba.conf entry": "it does not let this user in from here",
    "is not allowed to connect": "it does not let this user in from here",
    "could not translate host name": "its host is not known",
    "failed to resolve host": "its host is not known",
    "Name or service not known": "its host is not known",
    "Connection refused": "nothing listens there",
    "No such file or directory": "nothing listens there",
    "timeout": "it did not answer in time",
    "timed out": "it did not answer in time",
    "Unknown database": "it has no such database or user",
    "does not exist": "it has no such database or user",
    "SSL": "the encrypted connection failed",
}


@contextmanager
def connected(address: str, where: str, variable: str, *, writes: bool = False) -> Iterator[sa.Connection]:
    """A connection in a transaction that only reads, unless it is to write; times that it gives are in UTC.

    Args:
        address: what the environment variable holds.
        where: file, table and field, for errors.
        variable: name of the environment variable.
        writes: whether the transaction may write; the caller commits it.

    Raises:
        UsageError: the address cannot be used, its driver is missing, or the server cannot be reached.

    """
    problem, engine = _engine(address)
    connection = None
    if engine is not None:
        try:
            connection = engine.connect()
            for statement in _SESSION.get(engine.dialect.name, ()):
                if not (writes and statement == _READ_ONLY):
                    connection.exec_driver_sql(statement)
        # A driver may raise anything here, also what is no error of its own.
        except Exception as error:
            problem = _known(str(error), _UNREACHABLE) or (
                f"what {variable} says cannot be used, or the server does not answer"
            )
    # Raised outside the except block, so that the driver's error, which quotes the address, is not its context.
    if connection is None or problem:
        _close(connection, engine)
        raise UsageError(
            f"{where}: the database of {variable} cannot be reached: "
            f"{problem or f'what {variable} says cannot be used'}.",
            f"Check {variable}: DIALECT://USER:PASSWORD@HOST/DATABASE, or host=... user=... password=... dbname=...",
        )
    try:
        yield connection
    finally:
        _close(connection, engine)


def _close(connection: sa.Connection | None, engine: sa.Engine | None) -> None:
    if connection is not None:
        # A connection that broke cannot be rolled back, and need not be.
        with suppress(sa.exc.SQLAlchemyError):
            connection.close()
    if engine is not None:
        engine.dispose()


def server_words(error: Exception, address: str) -> str:
    """What the server says of an error, on one line; nothing of the address is in it."""
    cause = getattr(error, "orig", None) or error
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    arguments = [part for part in getattr(cause, "args", ()) if isinstance(part, str)]
    words = str(primary or (arguments[-1] if arguments else "")).strip().partition("\n")[0].rstrip(".")
    if not words or any(secret in words for secret in _secrets(address)):
        return "the connection broke"
    return words


def _engine(address: str) -> tuple[str, sa.Engine | None]:
    """Why there is none (empty when that would quote the address), or the engine."""
    scheme, separator, _ = address.partition("://")
    if not separator or scheme in ("postgres", "postgresql"):
        return "", sa.create_engine(
            "postgresql+psycopg://", creator=_postgres(address), poolclass=sa.NullPool, use_native_hstore=False
        )
    name = _DRIVERS.get(scheme, scheme)
    try:
        url = sa.make_url(address).set(drivername=name)
        options = _OPTIONS.get(url.get_driver_name(), {})
        new = {key: value for key, value in options.items() if key not in url.query}
        engine = sa.create_engine(url, connect_args=new, poolclass=sa.NullPool)
        sa.event.listen(engine, "handle_error", _stop_reading)
        return "", engine
    except (sa.exc.NoSuchModuleError, ImportError):
        # Letters only: what comes before :// in a wrong address may be anything.
        plain = scheme if scheme.replace("+", "").replace("_", "").isalnum() else "it"
        package = f"traithouse[{plain}]" if plain in _EXTRAS else f"the package that SQLAlchemy names for {plain}"
        return f"the driver of {plain} is not installed; pip install {package}", None
    except (sa.exc.ArgumentError, ValueError, TypeError):
        return "", None


def _stop_reading(context: sa.ExceptionContext) -> None:
    """PyMySQL would read on from a broken connection when its cursor is closed, and write a traceback for it."""
    cursor = getattr(context.execution_context, "cursor", None)
    unread = getattr(cursor, "_result", None)
    if context.is_disconnect and unread is not None:
        unread.unbuffered_active = False


def _postgres(address: str) -> Callable[[], Any]:
    """Connects as libpq does; what the address or libpq's own variables say goes before our bounds."""

    def connect() -> Any:
        bounds = {
            "connect_timeout": ("PGCONNECT_TIMEOUT", CONNECT_SECONDS),
            "application_name": ("PGAPPNAME", "traithouse"),
            "keepalives_idle": ("", 60),
            "tcp_user_timeout": ("", 60_000),
        }
        given = conninfo_to_dict(address)
        new = {
            key: value for key, (name, value) in bounds.items() if key not in given and not os.environ.get(name or key)
        }
        # Nothing is prepared: a pooler may stand between.
        return connect_postgres(address, prepare_threshold=None, **new)  # type: ignore[arg-type]

    return connect


def _known(text: str, messages: dict[str, str]) -> str:
    return next((message for words, message in messages.items() if words in text), "")


def _secrets(address: str) -> set[str]:
    """The address and its password, also as they are spelt within a URL."""
    found: set[str] = {address}
    try:
        password = (
            sa.make_url(address).password if "://" in address else str(conninfo_to_dict(address).get("password") or "")
        )
    except Exception:
        password = None
    if password:
        within_url = sa.URL.create("x", username="x", password=str(password)).render_as_string(hide_password=False)
        found |= {str(password), within_url.removeprefix("x://x:").removesuffix("@")}
    return found
