"""The statement by which a warehouse that is not read in place writes its new rows as Parquet into an object store.

Sources: Google Cloud documentation, "Export statements in GoogleSQL" (EXPORT DATA); Amazon Redshift Database Developer
Guide, "UNLOAD"; Databricks SQL language reference, "INSERT OVERWRITE DIRECTORY". They were not run against the vendors'
services.

The lower bound is the greatest cursor that has landed, minus the overlap. The rows go into a folder that is named after
the bound. So the same statement may be run again: until its rows have landed, it writes the same folder with the same
rows and those that came since.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import duckdb

from orchestration.errors import UsageError
from orchestration.home import Home, utc_now
from orchestration.landing.contract import RAW_TABLES
from orchestration.landing.declared import Pull
from orchestration.landing.places import UnloadedTable
from orchestration.landing.sql import instant, literal

_QUOTES = {"bigquery": "`", "databricks": "`", "redshift": '"'}
_STATEMENTS = {
    "bigquery": "EXPORT DATA OPTIONS (uri = '{folder}*.parquet', format = 'PARQUET', overwrite = true) AS\n{query};",
    "redshift": "UNLOAD ('{quoted_query}')\nTO '{folder}' IAM_ROLE default FORMAT AS PARQUET ALLOWOVERWRITE;",
    "databricks": "INSERT OVERWRITE DIRECTORY '{folder}' USING PARQUET\n{query};",
}


def unload_statements(home: Home, pulls: Sequence[Pull], now: datetime | None = None) -> dict[str, str]:
    """Table that is filled -> the statement to run in its warehouse; declarations of other kinds have none.

    Args:
        home: whose warehouse says what has landed.
        pulls: the declared pulls.
        now: naive UTC; a later cursor counts as now.

    Raises:
        UsageError: the cursor of raw.events is no time of an event.

    """
    with home.lock("traithouse pull --plan"), home.connect() as connection:
        connection.execute(RAW_TABLES)
        statements = {}
        for pulled in pulls:
            if declared := pulled.declared.unload:
                last = connection.execute(sql).fetchone() if (sql := _last(connection, pulled, declared)) else None
                statements[pulled.landed_in] = unload_statement(declared, last[0] if last else None, now or utc_now())
    return statements


def unload_statement(declared: UnloadedTable, last: datetime | int | None, now: datetime) -> str:
    """The statement that writes the rows above a cursor; null writes them all."""
    quote = _QUOTES[declared.engine]
    column = f"{quote}{declared.cursor}{quote}"
    # BigQuery's project may be quoted as a whole; the others want each part quoted.
    parts = [declared.table] if declared.engine == "bigquery" else declared.table.split(".")
    query = f"SELECT * FROM {'.'.join(f'{quote}{part}{quote}' for part in parts)}"
    name = "all"
    if isinstance(last, datetime):
        start = min(last, now) - (declared.overlap_time or timedelta())
        # UTC; Redshift's TIMESTAMP has no zone.
        stamp = f"TIMESTAMP '{start.isoformat(' ')}{'' if declared.engine == 'redshift' else '+00:00'}'"
        query += f"\nWHERE {column} >= {stamp} OR {column} IS NULL"
        name = f"from_{start:%Y%m%dT%H%M%S_%f}"
    elif last is not None:
        start_number = last - (declared.overlap_number or 0)
        query += f"\nWHERE {column} >= {start_number} OR {column} IS NULL"
        name = f"from_{start_number}"
    return _STATEMENTS[declared.engine].format(
        folder=f"{declared.to.rstrip('/')}/{name}/", query=query, quoted_query=query.replace("'", "''")
    )


def _last(connection: duckdb.DuckDBPyConnection, pulled: Pull, declared: UnloadedTable) -> str:
    """SQL for the greatest cursor that has landed; empty when nothing has."""
    if pulled.source != "raw":
        known = connection.execute(
            """
            select 1 from duckdb_columns()
            where schema_name = $1 and table_name = $2 and lower(column_name) = lower($3)
            """,
            [f"raw_{pulled.source}", pulled.table, declared.cursor],
        ).fetchone()
        column = f'"{declared.cursor}"'
        value = instant(column) if declared.overlap_time else f"try_cast({column} as bigint)"
        return f'select max({value}) from raw_{pulled.source}."{pulled.table}"' if known else ""
    mapped = {column: name for name, column in pulled.declared.map.items()}
    name = mapped.get(declared.cursor, declared.cursor)
    if name not in ("occurred_at", "received_at") or not declared.overlap_time:
        raise UsageError(
            f"{pulled.where}: pull.unload.cursor: {declared.cursor} is no time of an event.",
            "Name the column that is mapped to received_at or occurred_at, and an overlap such as '1 hour'.",
        )
    return f"select max({name}) from raw.events where source = {literal(pulled.declared.source)}"
