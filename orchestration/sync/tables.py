"""Copies published tables into another database: the changed rows alone, all tables of a publish in one transaction.

Which rows have changed, the published tables say themselves: each row names the build that wrote it. Where that cannot
be known (the first time, an earlier build, a forgotten person, a row that somebody else changed the number of), the
whole table there is compared. The table ``traithouse_copies`` there says which build each table holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pandas as pd
import sqlalchemy as sa

from orchestration.damage import served_folder
from orchestration.declarations.catalog import Catalog
from orchestration.declarations.table_copies import TableCopy
from orchestration.home import Home, Notify, silent, utc_now
from orchestration.landing.database import connected, server_words
from orchestration.landing.declared import environment
from orchestration.sync.copied_home import refuse_copied_home
from orchestration.sync.engine import one_sync_at_a_time
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.report import CopiedTableReport, CopyReport
from orchestration.sync.served_values import need_marks
from orchestration.sync.table_target import BATCH, CopiedColumn, TargetTable

_TEXTS = {
    "user_traits": "Published traits of users. Grain: one row a user. Written by Traithouse.",
    "account_traits": "Published traits of accounts. Grain: one row an account. Written by Traithouse.",
    "trait_changes": "Every change of a published trait. Grain: one row a change. Written by Traithouse.",
    "user_id": "The user.",
    "account_id": "The account.",
    "is_anonymous": "Whether it is a visitor who has never been identified.",
    "seq": "Number of the change, rising.",
    "entity_type": "user or account.",
    "entity_id": "The user or account.",
    "trait": "Name of the trait.",
    "old_value": "Value before, as text; null for none.",
    "new_value": "Value from then on, as text; null for none.",
    "old_since": "Since when the old value held; UTC.",
    "as_of": "Clock of the build: an exclusive upper bound; UTC.",
    "build_id": "Build that published the change.",
    "cause": "Behaviour, definition, waived, merged, identity, objection, rollback, backfill or retirement.",
}


def copy_tables(
    home: Home, catalog: Catalog, copy: TableCopy, *, dry_run: bool = False, notify: Notify = silent
) -> CopyReport:
    """Writes the published tables that have changed since the last time.

    Args:
        home: whose snapshot.
        catalog: what is declared, for the texts of columns.
        copy: which tables, and where to.
        dry_run: write nothing.
        notify: progress.

    Raises:
        UsageError: nothing is published yet, or the declaration cannot be used.
        WarehouseBusyError: another process is syncing.

    """
    why_dry = ""
    if not home.settings.is_production and not dry_run:
        why_dry = f"TRAITHOUSE_ENV is {home.settings.env}; remote destinations are served in production only"
    with one_sync_at_a_time(home), duckdb.connect() as local:
        database = str(served_folder(home.serving) / "traithouse.duckdb").replace("'", "''")
        local.execute(f"attach '{database}' as served (read_only)")
        local.execute("use served")
        need_marks(local)
        build_id, seq = _newest(local)
        for table in copy.tables:
            _select(local, table, copy)
        if dry_run or why_dry:
            counts = {table: _count(local, table) for table in copy.tables}
            tables = tuple(CopiedTableReport(table, count, 0, count, False) for table, count in counts.items())
            return CopyReport(copy.name, build_id, tables, True, why_dry)
        with SyncLedger(home) as ledger:
            refuse_copied_home(home, ledger, copy.where)
        address = environment(copy.url_env, f"{copy.where}: url_env")
        reports = []
        failure = ""
        with connected(address, f"{copy.where}: url_env", copy.url_env, writes=True) as connection:
            try:
                for table in copy.tables:
                    target = TargetTable(connection, copy.into, table, _TEXTS[table], _columns(local, table, catalog))
                    reports.append(_copy(local, target, table, build_id, seq))
                    notify(f"{copy.name}: {table}, {reports[-1].written} rows written")
                connection.commit()
            except sa.exc.SQLAlchemyError as error:
                failure = server_words(error, address)
        # Raised outside the except block, so that the driver's error, which may quote rows, is not its context.
        if failure:
            return CopyReport(copy.name, build_id, error=f"The database of {copy.url_env} refused: {failure}.")
    return CopyReport(copy.name, build_id, tuple(reports))


def _copy(
    local: duckdb.DuckDBPyConnection, target: TargetTable, table: str, build_id: str, seq: int
) -> CopiedTableReport:
    target.prepare()
    last, count = target.written(), _count(local, table)
    deleted = written = 0
    compared = last is None or last.build_id > build_id
    if last is not None and not compared:
        _note_changed(local, table, last.build_id, last.seq)
        deleted, written = _write(local, target, table)
        compared = target.count() != count
    if compared:
        _note_differing(local, table, target)
        more_deleted, more_written = _write(local, target, table)
        deleted, written = deleted + more_deleted, written + more_written
    target.note(build_id, seq, count, utc_now())
    return CopiedTableReport(table, written, deleted, count, compared)


def _newest(local: duckdb.DuckDBPyConnection) -> tuple[str, int]:
    """The build that is served, and its newest change."""
    row = local.execute(
        """
        select
            (select max(build_id) from traits.builds),
            (select coalesce(max(seq), 0) from traits.trait_changes)
        """
    ).fetchone()
    return (str(row[0]), int(row[1])) if row else ("", 0)


def _select(local: duckdb.DuckDBPyConnection, table: str, copy: TableCopy) -> None:
    """Makes the view ``copied_<table>``: the rows that the copy holds."""
    identified = "true" if copy.population == "everyone" else "is_anonymous is not true"
    condition = {"account_traits": "true"}.get(table, identified)
    local.execute(f"create temp view copied_{table} as select * from served.traits.{table} where {condition}")


def _columns(local: duckdb.DuckDBPyConnection, table: str, catalog: Catalog) -> list[CopiedColumn]:
    texts = dict(_TEXTS)
    for trait in catalog.traits:
        texts[trait.name] = f"{trait.title}. {trait.description}"[:1000]
        texts[f"{trait.name}_score"] = f"{trait.title}: the score behind the value."
        texts[f"{trait.name}_since"] = f"{trait.title}: since when the value holds; UTC."
    described = local.execute(f"describe copied_{table}").fetchall()
    return [CopiedColumn(name, kind, texts.get(name, "")) for name, kind, *_ in described]


def _note_changed(local: duckdb.DuckDBPyConnection, table: str, build_id: str, seq: int) -> None:
    """Makes ``changed``: keys of the rows that builds after one have written or ended."""
    if table == "trait_changes":
        local.execute(
            "create or replace temp table changed as select seq as key from copied_trait_changes where seq > $1", [seq]
        )
        return
    entity = table.removesuffix("_traits")
    local.execute(
        """
        create or replace temp table changed as
        select distinct entity_id as key from (
            select entity_id from served.traits.trait_values where entity_type = $entity and build_id > $build_id
            union all
            select entity_id from served.traits.trait_changes where entity_type = $entity and seq > $seq
        )
        """,
        {"entity": entity, "build_id": build_id, "seq": seq},
    )


def _note_differing(local: duckdb.DuckDBPyConnection, table: str, target: TargetTable) -> None:
    """Makes ``changed``: keys of the rows that are not the same on both sides."""
    described = local.execute(f"describe copied_{table}").fetchall()
    local.execute(f"create or replace temp table there as select * from copied_{table} limit 0")
    for batch in target.rows():
        frame = pd.DataFrame(batch, columns=[name for name, *_ in described], dtype=object)
        local.register("frame", frame)
        local.execute("insert into there select * from frame")
        local.unregister("frame")
    key = described[0][0]
    local.execute(
        f"""
        create or replace temp table changed as
        select {key} as key from (select * from copied_{table} except select * from there)
        union
        select {key} from there where {key} not in (select {key} from copied_{table})
        """
    )


def _write(local: duckdb.DuckDBPyConnection, target: TargetTable, table: str) -> tuple[int, int]:
    """Brings the rows of ``changed`` up to date there; how many were deleted, and how many written."""
    key = local.execute(f"describe copied_{table}").fetchall()[0][0]
    gone = local.execute(f"select key from changed where key not in (select {key} from copied_{table})").fetchall()
    deleted = target.delete(row[0] for row in gone)
    found = local.execute(
        f"select copied.* from copied_{table} as copied semi join changed on copied.{key} = changed.key"
    )
    return deleted, target.replace(_fetched(found))


def _fetched(found: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := found.fetchmany(10 * BATCH):
        yield from rows


def _count(local: duckdb.DuckDBPyConnection, table: str) -> int:
    row = local.execute(f"select count(*) from copied_{table}").fetchone()
    return int(row[0]) if row else 0
