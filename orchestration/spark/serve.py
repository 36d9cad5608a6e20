"""Serves to readers of Spark what is published: the snapshot of the home, in partitions that never change.

Schema ``traits_store`` holds every published table in partitions. ``part`` is a trait (values), a day of the clock
(ledger, verdicts) or ``all`` (other tables); ``written`` is the version that wrote the partition. A version is one
serving of one snapshot: its build and a rising number. ``manifests`` lists the partitions of each version. A part whose
rows equal those of a kept version is listed again and not written. The views ``traits.*`` show the version that the
view ``served`` names.

The steps, in this order; a process may be killed after any of them:

1. ``writing`` names the version that will be written. A version that is named there and not served was cut off: its
   partitions are dropped first, and its number is never used again, so that no cache of a reader is wrong.
2. Partitions that changed are written, then the manifest.
3. ``served`` names the version: one change of one view, so one call of the metastore. (Moving the location of a table
   would do as well, but a long-running reader keeps a table that it has looked up, and never a view.) A query sees all
   tables of one version, because a query looks a relation up once, however often it reads it.
4. Versions whose snapshot the home no longer keeps lose their manifests; then partitions that no manifest lists are
   dropped.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from orchestration.home import Home, Notify, silent
from orchestration.published.tables import FORMER_TABLES, TABLES, WIDE_TABLES, wide_query
from orchestration.publishing.snapshot import served_manifest
from orchestration.spark.session import (
    clear_leftovers,
    drop_partitions,
    exchange,
    open_session,
    read_parquet,
    replace_partitions,
    set_view,
)
from orchestration.transform.dbt import Project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

STORE, SERVED, WRITING = "traits_store", "traits_store.served", "traits_store.writing"
MANIFESTS = "traits_store.manifests"

# SQL of both engines.
_DAY = "cast(cast(as_of as date) as string)"
_PARTS = {"trait_values": "trait", "trait_changes": _DAY, "gate_verdicts": _DAY, "source_verdicts": _DAY}

_MANIFEST = "build_id string, snapshot string, table_name string, part string, content string, written string"


class Part(NamedTuple):
    """A part of a published table; the views are one part, too."""

    table: str
    name: str


ALL_VIEWS = Part("views", "all")


class Stored(NamedTuple):
    """Hash of the rows of a part, and the version that wrote them."""

    content: str
    written: str


@dataclass(frozen=True)
class _Version:
    """One serving: its name, the name of the snapshot's folder, and the parts that it consists of."""

    name: str
    snapshot: str
    parts: Mapping[Part, Stored]

    @property
    def number(self) -> int:
        return int(self.name.rpartition(".")[2])


def serve_on_spark(project: Project, *, notify: Notify = silent) -> str | None:
    """Serves the snapshot that the home serves; hold its lock. What is served already is not written again.

    Args:
        project: whose traits are columns of the wide views.
        notify: progress; called before each step.

    Returns:
        The version that Spark serves now; null when nothing has ever been published.

    """
    build_id = served_manifest(project.home).get("build_id")
    if build_id is None:
        return None
    snapshot = (project.home.serving / "current").resolve()
    spark = open_session()
    _prepare(spark)
    versions, served, begun = _versions(spark), _named(spark, SERVED), _named(spark, WRITING)
    if begun and begun != served:
        notify(f"Spark: {begun} was cut off, dropping what it wrote")
        _drop_cut_off(spark, begun)
        versions.pop(begun, None)
    contents = _contents(snapshot)
    views = _views(project, snapshot)
    contents[ALL_VIEWS] = hashlib.sha256("\n".join(views.values()).encode()).hexdigest()
    now = versions.get(served)
    if now is None or {part: stored.content for part, stored in now.parts.items()} != contents:
        number = max([0, *(int(name.rpartition(".")[2]) for name in (*versions, begun) if name)]) + 1
        now = _written(spark, project.home, snapshot, f"{build_id}.{number}", build_id, contents, versions, notify)
        if served not in versions or versions[served].parts[ALL_VIEWS] != now.parts[ALL_VIEWS]:
            notify("Spark: the views")
            for name, query in views.items():
                set_view(spark, f"traits.{name}", query)
        notify(f"Spark: serving {now.name}")
        _name(spark, SERVED, now.name)
        versions[now.name] = now
    _drop_expired(project.home, spark, versions, now, notify)
    return now.name


def _prepare(spark: SparkSession) -> None:
    for schema in (STORE, "traits"):
        spark.sql(f"create schema if not exists {schema}")
    if not spark.catalog.tableExists(MANIFESTS):
        clear_leftovers(spark, [MANIFESTS])
        spark.sql(f"create table {MANIFESTS} ({_MANIFEST}) using parquet partitioned by (version string)")
    if not spark.catalog.tableExists(SERVED):
        _name(spark, SERVED, "")


def _versions(spark: SparkSession) -> dict[str, _Version]:
    """What the manifests hold, by name, oldest first."""
    parts: dict[tuple[str, str], dict[Part, Stored]] = defaultdict(dict)
    for row in spark.table(MANIFESTS).collect():
        parts[row.version, row.snapshot][Part(row.table_name, row.part)] = Stored(row.content, row.written)
    found = sorted(
        (_Version(name, snapshot, held) for (name, snapshot), held in parts.items()),
        key=lambda version: version.number,
    )
    return {version.name: version for version in found}


def _named(spark: SparkSession, view: str) -> str:
    """The version that a view names; empty when there is none."""
    if not spark.catalog.tableExists(view):
        return ""
    return str(spark.sql(f"select max(version) from {view}").collect()[0][0] or "")


def _name(spark: SparkSession, view: str, version: str) -> None:
    query = (
        f"select * from {MANIFESTS} where version = '{version}'" if view == SERVED else f"select '{version}' as version"
    )
    set_view(spark, view, query)


def _contents(snapshot: Path) -> dict[Part, str]:
    """Of each part of each table, a hash of its rows that depends on every value and on no order."""
    found: dict[Part, str] = {}
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for table in TABLES:
            rows = connection.execute(
                f"""
                select
                    {_PARTS.get(table, "'all'")},
                    count(*) || ':' || sum(cast(md5_number_lower(cast(to_json(content) as varchar)) as hugeint))
                from read_parquet($parts) as content
                group by 1
                """,
                {"parts": str(snapshot / table / "*.parquet")},
            ).fetchall()
            found |= {Part(table, part): content for part, content in rows}
    return found


def _written(
    spark: SparkSession,
    home: Home,
    snapshot: Path,
    version: str,
    build_id: str,
    contents: Mapping[Part, str],
    versions: Mapping[str, _Version],
    notify: Notify,
) -> _Version:
    """Writes a version completely, its manifest last; nobody reads it yet."""
    known = {
        (part, stored.content): stored.written for kept in versions.values() for part, stored in kept.parts.items()
    }
    parts = {part: Stored(content, known.get((part, content), version)) for part, content in contents.items()}
    notify(f"Spark: intent to write {version}")
    _name(spark, WRITING, version)
    for table in TABLES:
        fresh = [part.name for part, stored in parts.items() if part.table == table and stored.written == version]
        if fresh or not spark.catalog.tableExists(f"{STORE}.{table}"):
            notify(f"Spark: {table}, {len(fresh)} parts")
            clear_leftovers(spark, [f"{STORE}.{table}"])
            frame = read_parquet(spark, snapshot / table)
            frame = frame.selectExpr(
                "*", f"{_PARTS.get(table, _quoted('all'))} as part", f"{_quoted(version)} as written"
            )
            frame = frame.where(f"part in ({', '.join(map(_quoted, fresh))})" if fresh else "false")
            replace_partitions(spark, f"{STORE}.{table}", frame, ["part", "written"])
    notify("Spark: the manifest")
    made = _Version(version, snapshot.name, parts)
    with exchange(home) as folder, duckdb.connect() as connection:
        file = folder / "manifest.parquet"
        connection.execute(
            f"""
            copy (
                select
                    $build_id as build_id, $snapshot as snapshot, unnest($tables) as table_name, unnest($parts) as part,
                    unnest($contents) as content, unnest($writers) as written, $version as version
            ) to '{str(file).replace("'", "''")}' (format parquet)
            """,
            {
                "build_id": build_id,
                "snapshot": snapshot.name,
                "tables": [part.table for part in parts],
                "parts": [part.name for part in parts],
                "contents": [stored.content for stored in parts.values()],
                "writers": [stored.written for stored in parts.values()],
                "version": version,
            },
        )
        replace_partitions(spark, MANIFESTS, read_parquet(spark, file), ["version"])
    return made


def _quoted(text: str) -> str:
    """SQL literal of a name."""
    return f"'{text}'"


def _views(project: Project, snapshot: Path) -> dict[str, str]:
    """Queries of the views, by name; the columns are the snapshot's."""
    queries = {}
    with duckdb.connect() as connection:
        for table in (*TABLES, *WIDE_TABLES.values()):
            described = connection.execute(
                "describe from read_parquet($parts)", {"parts": str(snapshot / table / "*.parquet")}
            )
            columns = [row[0] for row in described.fetchall()]
            for entity, wide in WIDE_TABLES.items():
                if wide == table:
                    shown = [trait for trait in project.catalog.traits if trait.name in columns]
                    queries[table] = wide_query(entity, shown).replace('"', "`")
            if table in TABLES:
                # A scalar subquery over partition columns: files of other versions are not read.
                queries[table] = f"""
                    select {", ".join(columns)} from {STORE}.{table}
                    where array_contains(
                        (select collect_list(concat(part, '/', written)) from {SERVED} where table_name = '{table}'),
                        concat(part, '/', written)
                    )
                """
    return queries | FORMER_TABLES


def _drop_cut_off(spark: SparkSession, version: str) -> None:
    for table in (*(f"{STORE}.{table}" for table in TABLES), MANIFESTS):
        clear_leftovers(spark, [table])
        if spark.catalog.tableExists(table):
            # Partitions that are in place and not in the metastore yet have to be added before they can be dropped.
            spark.sql(f"alter table {table} recover partitions")
            drop_partitions(spark, table, [{"version" if table == MANIFESTS else "written": version}])


def _drop_expired(
    home: Home, spark: SparkSession, versions: Mapping[str, _Version], now: _Version, notify: Notify
) -> None:
    """Drops versions whose snapshot is gone; forgetting deletes snapshots, too, and their names may come again.

    Manifests go first, so that what a manifest lists always exists. Then partitions that no manifest lists are dropped,
    also those that a killed process left.
    """
    newest = {version.snapshot: name for name, version in versions.items()}
    kept = {name for snapshot, name in newest.items() if (home.serving / "builds" / snapshot).is_dir()} | {now.name}
    expired = [name for name in versions if name not in kept]
    if expired:
        notify(f"Spark: dropping {', '.join(expired)}")
        drop_partitions(spark, MANIFESTS, [{"version": name} for name in expired])
    listed = {(part, stored.written) for name in kept for part, stored in versions[name].parts.items()}
    for table in TABLES:
        stored = [row[0].split("/") for row in spark.sql(f"show partitions {STORE}.{table}").collect()]
        specs = [dict(key.split("=", 1) for key in keys) for keys in stored]
        gone = [spec for spec in specs if (Part(table, spec["part"]), spec["written"]) not in listed]
        drop_partitions(spark, f"{STORE}.{table}", gone)
