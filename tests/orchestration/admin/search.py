"""Looks for texts in a whole home: bytes of every file, decompressed, and every text column of every table."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import duckdb
from backports import zstd

PAT = "u-pat-secret"
PAT_IDS = (PAT, "u-pat-former", "dev-pat-phone")


def places(root: Path, ids: Sequence[str] = PAT_IDS) -> set[str]:
    """Where one of the ids stands below a folder: files, and tables of DuckDB files."""
    found = set()
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if any(known in path.name for known in ids):
            found.add(name)
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        openers = {".gz": gzip.open, ".zst": zstd.open}
        if path.suffix in openers:
            with openers[path.suffix](path, "rb") as stream:
                content += stream.read()
        if any(known.encode() in content for known in ids):
            found.add(name)
        if path.suffix == ".duckdb":
            found |= {f"{name}: {table}" for table in _tables(path, ids)}
        if path.suffix == ".parquet":
            with duckdb.connect() as connection:
                if _holds(connection, f"read_parquet('{path}')", ids):
                    found.add(name)
    return found


def _tables(path: Path, ids: Sequence[str]) -> set[str]:
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = connection.execute(
            "select schema_name || '.\"' || table_name || '\"' from duckdb_tables() where not internal"
        ).fetchall()
        return {table for (table,) in tables if _holds(connection, table, ids)}


def _holds(connection: duckdb.DuckDBPyConnection, relation: str, ids: Sequence[str]) -> bool:
    found = connection.execute(
        f"select 1 from {relation} as t where list_bool_or([contains(cast(t as varchar), x) for x in $ids]) limit 1",
        {"ids": list(ids)},
    ).fetchone()
    return found is not None
