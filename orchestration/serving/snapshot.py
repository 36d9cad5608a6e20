"""The served snapshot, opened read-only: what is published can be read while a refresh runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

from orchestration.damage import WRITES_ANOTHER, is_damage, served_folder
from orchestration.errors import DamagedFileError
from orchestration.home import Home
from orchestration.publishing.snapshot import served_build


@contextmanager
def snapshot(home: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens the snapshot that is served now, read-only.

    Raises:
        UsageError: nothing is published yet.
        DamagedFileError: the link to it was lost, or the file is damaged.

    """
    folder = served_folder(home.serving)
    with duckdb.connect(str(folder / "traithouse.duckdb"), read_only=True) as connection:
        try:
            yield connection
        except duckdb.Error as error:
            if is_damage(error):
                raise DamagedFileError(f"The snapshot {folder} is damaged: {error}.", WRITES_ANOTHER) from None
            raise


def rows(connection: duckdb.DuckDBPyConnection, sql: str, parameters: object = None) -> list[dict[str, Any]]:
    """Rows of a query as dictionaries."""
    cursor = connection.execute(sql, parameters)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def says_who_is_anonymous(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether a snapshot says it; one that an earlier version wrote does not."""
    says = "select 1 from duckdb_columns() where table_name = 'trait_values' and column_name = 'is_anonymous'"
    return connection.execute(says).fetchone() is not None


def published_traits(home: Home) -> list[dict[str, Any]]:
    """The published catalogue, one row a trait; empty before the first publish.

    ``population``, ``members`` and ``prevalence`` are counted in what is served, of those who count;
    ``values_build_id`` is the newest build that changed a value, null where the trait was never published.
    """
    if served_build(home) is None:
        return []
    with snapshot(home) as connection:
        counts = "(v.is_anonymous is not true or c.everyone)" if says_who_is_anonymous(connection) else "true"
        return rows(
            connection,
            f"""
            select
                c.* replace (
                    coalesce(v.population, 0) as population,
                    coalesce(v.members, 0) as members,
                    coalesce(v.members / nullif(v.population, 0), 0) as prevalence
                ),
                v.build_id as values_build_id
            from traits.trait_catalog as c
            left join (
                select
                    v.trait, max(v.build_id) as build_id, count(*) filter ({counts}) as population,
                    count(*) filter (v.value != 'false' and {counts}) as members
                from traits.trait_values as v
                left join traits.trait_catalog as c on v.trait = c.trait
                group by v.trait
            ) as v on c.trait = v.trait
            order by c.trait
            """,
        )
