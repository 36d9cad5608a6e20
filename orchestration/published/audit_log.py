"""The audit log: who did what to keys, published builds and people's data.

``plays.sqlite`` holds it, so that an act is written down at any time, also while a refresh holds the warehouse; each
publish copies it to ``traits.audit_log``.

Grain: act_id. acted_at is UTC. object names what was acted on: a key, a trait, a build; never a person.
"""

from __future__ import annotations

import getpass
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from orchestration.home import Home, utc_now

_TABLE = """
create table if not exists audit_log (
    act_id integer primary key autoincrement, acted_at text not null, actor text not null, role text not null,
    act text not null, object text not null, detail text not null
)
"""
PLAYS = "plays.sqlite"
_WAIT_SECONDS = 10


def plays_file(home: Home) -> Path:
    """Where acts, and what was decided about plays, are kept."""
    return home.root / PLAYS


def record_act(home: Home, act: str, of: str, detail: str = "", *, actor: str | None = None, role: str = "") -> None:
    """Writes down an act; it is on the disk when this returns.

    Args:
        home: where.
        act: what was done, for example ``key added``.
        of: what it was done to.
        detail: more, in words.
        actor: who did it; by default the user of this process (TRAITHOUSE_USER).
        role: of the key that was used; empty on the command line.

    """
    who = actor or user_name()
    row = (utc_now().isoformat(timespec="microseconds"), who, role, act, of, detail)
    with opened_acts(home) as connection:
        connection.execute(
            "insert into audit_log (acted_at, actor, role, act, object, detail) values (?, ?, ?, ?, ?, ?)", row
        )


def user_name() -> str:
    """Who runs this process, as people and logs name them."""
    return os.environ.get("TRAITHOUSE_USER") or getpass.getuser()


@contextmanager
def opened_acts(home: Home) -> Iterator[sqlite3.Connection]:
    """The file, in one transaction; it is made where there is none."""
    with closing(sqlite3.connect(plays_file(home), timeout=_WAIT_SECONDS)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        with connection:
            connection.execute(_TABLE)
            yield connection
