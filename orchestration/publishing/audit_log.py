"""Copies the audit log into the published tables."""

from __future__ import annotations

import duckdb

from orchestration.home import Home
from orchestration.published.audit_log import opened_acts, plays_file


def copy_audit_log(connection: duckdb.DuckDBPyConnection, home: Home) -> None:
    """Publishes the acts that are not published yet; call it in a transaction."""
    if not plays_file(home).exists():
        return
    last = connection.execute("select coalesce(max(act_id), 0) from traits.audit_log").fetchone() or (0,)
    with opened_acts(home) as log:
        rows = log.execute(
            "select act_id, acted_at, actor, role, act, object, detail from audit_log where act_id > ? order by act_id",
            last,
        ).fetchall()
    if rows:
        connection.executemany("insert into traits.audit_log values (?, ?, ?, ?, ?, ?, ?)", rows)
