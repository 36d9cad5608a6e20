"""Parts of Parquet: together they are the table, they stay while their rows stay, and they stay few."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from orchestration.published.tables import PUBLISHED_TABLES, WIDE_TABLES
from orchestration.publishing.parquet_files import ServedFiles, spans, write_parquet_files

MOST = 100
VALUES = """
    insert into traits.trait_values by name
    select
        'user' as entity_type, printf('user_%05d', n) as entity_id, unnest($traits) as trait, 'true' as value,
        printf('%06d-20260101T000000Z', $build) as build_id
    from range($first, $last) as r(n)
"""
CHANGES = """
    insert into traits.trait_changes by name
    select
        $build * 100000 + n as seq, 'user' as entity_type, printf('user_%05d', n) as entity_id, 'stuck' as trait,
        $build_id as build_id
    from range($rows) as r(n)
"""


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        made.execute(PUBLISHED_TABLES)
        for entity, table in WIDE_TABLES.items():
            made.execute(
                f"""
                create view traits.{table} as
                select entity_id as {entity}_id, max(value) as stuck, null as "_note"
                from traits.trait_values where entity_type = '{entity}' group by entity_id
                """
            )
        yield made


class Builds:
    """Folders of one build after another; each one's parts may be shared with the one before."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, root: Path) -> None:
        self.connection, self.root, self.number = connection, root, 0
        self.hashes: dict[str, str] = {}

    @property
    def folder(self) -> Path:
        """Of the newest build."""
        return self.root / str(self.number)

    def write(self, table: str) -> tuple[set[str], set[str]]:
        """Writes the next build; returns the parts that are shared with the one before, and the others."""
        before, said = self.folder, self.hashes
        self.number += 1
        self.folder.mkdir(parents=True)
        self.hashes = write_parquet_files(
            self.connection, "traits", table, self.folder, ServedFiles(before, said), MOST
        )
        written = {f"{table}/{path.name}" for path in (self.folder / table).iterdir()}
        assert written == self.hashes.keys()
        assert {path.name for path in self.folder.iterdir()} == {table}
        difference = self.connection.execute(
            f"""
            (from traits.{table} except all from '{self.folder}/{table}/*.parquet')
            union all (from '{self.folder}/{table}/*.parquet' except all from traits.{table})
            """
        ).fetchall()
        assert difference == [], "the parts are not the table"
        shared = {path for path in written if (self.folder / path).stat().st_nlink > 1}
        assert all((before / path).samefile(self.folder / path) for path in shared)
        return shared, written - shared


@pytest.fixture
def builds(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> Builds:
    return Builds(connection, tmp_path / "builds")


def filled(connection: duckdb.DuckDBPyConnection, users: int, build: int = 1) -> None:
    traits = ["stuck", "dormant"]
    connection.execute(VALUES, {"traits": traits, "first": 0, "last": users, "build": build})


@pytest.mark.parametrize("table", ["trait_values", "trait_changes", "account_traits", "sync_log", "trait_catalog"])
def test_an_empty_table_is_a_part_that_can_be_read_and_shared(builds: Builds, table: str) -> None:
    assert len(builds.write(table)[1]) == 1
    shared, new = builds.write(table)
    assert (len(shared), new) == (1, set())


@pytest.mark.parametrize("users", [1, 100, 101, 1000])
def test_a_trait_has_parts_of_its_own_with_its_name_in_them(
    connection: duckdb.DuckDBPyConnection, builds: Builds, users: int
) -> None:
    filled(connection, users)
    builds.write("trait_values")
    for trait in ("stuck", "dormant"):
        found = connection.execute(
            f"select distinct trait from '{builds.folder}/trait_values/{trait}-*.parquet'"
        ).fetchall()
        assert found == [(trait,)]


def test_only_the_trait_that_changed_is_written(connection: duckdb.DuckDBPyConnection, builds: Builds) -> None:
    filled(connection, 10)
    builds.write("trait_values")
    connection.execute(
        "update traits.trait_values set evidence = '{}' where trait = 'stuck' and entity_id = 'user_00003'"
    )
    shared, new = builds.write("trait_values")
    assert [path.split("-")[0] for path in (*shared, *new)] == ["trait_values/dormant", "trait_values/stuck"]


@pytest.mark.parametrize(("table", "entity"), [("trait_values", "entity_id"), ("user_traits", "user_id")])
def test_one_user_that_changes_leaves_the_parts_of_the_others(
    connection: duckdb.DuckDBPyConnection, builds: Builds, table: str, entity: str
) -> None:
    filled(connection, 3000)
    builds.write(table)
    connection.execute("delete from traits.trait_values where trait = 'stuck' and entity_id = 'user_00007'")
    connection.execute(VALUES, {"traits": ["stuck"], "first": 7, "last": 8, "build": 2})
    shared, new = builds.write(table)
    assert len(new) == 2, "the part that the user left, and that of what changed now"
    assert len(shared) >= 31
    held = f"select count(*) from '{builds.folder}/%s' where {entity} = 'user_00007'"
    assert sum(connection.execute(held % path).fetchone() == (1,) for path in new) == 1


def test_who_changes_often_does_not_touch_who_has_not_for_long(
    connection: duckdb.DuckDBPyConnection, builds: Builds
) -> None:
    filled(connection, 2000)
    written = []
    for build in range(2, 20):
        connection.execute("delete from traits.trait_values where trait = 'stuck' and entity_id < 'user_00150'")
        connection.execute(VALUES, {"traits": ["stuck"], "first": 0, "last": 150, "build": build})
        _, new = builds.write("trait_values")
        rows = connection.execute(
            f"select count(*) from read_parquet({[str(builds.folder / path) for path in new]})"
        ).fetchone()
        written.append(rows[0] if rows else 0)
    # The first build writes all; at 3 and 15 all spans become one, and with the next build its active users leave it.
    few = {build for build, rows in zip(range(2, 20), written, strict=True) if rows == 150}
    assert set(range(2, 20)) - few == {2, 3, 4, 15, 16}


def test_the_ledger_grows_by_parts_that_stay_and_stay_few(
    connection: duckdb.DuckDBPyConnection, builds: Builds
) -> None:
    written, most = [], 0
    for build in range(1, 35):
        build_id = f"{build:06d}-20260101T000000Z"
        connection.execute(CHANGES, {"build": build, "build_id": build_id, "rows": 50})
        shared, new = builds.write("trait_changes")
        written.append(len(new))
        most = max(most, len(shared) + len(new))
    assert written == [1] * 34
    assert most <= 10


def test_a_ledger_that_was_pruned_or_backfilled_keeps_its_younger_parts(
    connection: duckdb.DuckDBPyConnection, builds: Builds
) -> None:
    for build in range(1, 30):
        build_id = f"{build:06d}-20260101T000000Z"
        connection.execute(CHANGES, {"build": build, "build_id": build_id, "rows": 50})
    builds.write("trait_changes")
    connection.execute("delete from traits.trait_changes where build_id < '000003'")
    shared, new = builds.write("trait_changes")
    assert len(new) == 1 and len(shared) >= 2
    connection.execute(CHANGES, {"build": 40, "build_id": "backfill-20251231T000000Z", "rows": 50})
    again, new = builds.write("trait_changes")
    assert len(new) == 1 and again == shared


def test_a_part_that_was_harmed_is_written_anew(connection: duckdb.DuckDBPyConnection, builds: Builds) -> None:
    filled(connection, 10)
    builds.write("trait_values")
    harmed, gone = sorted((builds.folder / "trait_values").iterdir())
    content = bytearray(harmed.read_bytes())
    content[len(content) // 2] ^= 1
    harmed.write_bytes(content)
    gone.unlink()
    shared, new = builds.write("trait_values")
    assert (shared, len(new)) == (set(), 2)


def test_another_column_makes_all_parts_new(connection: duckdb.DuckDBPyConnection, builds: Builds) -> None:
    filled(connection, 1000)
    builds.write("trait_values")
    connection.execute("alter table traits.trait_values rename column score to points")
    assert builds.write("trait_values")[0] == set()


def test_many_parts_are_one_file_each(connection: duckdb.DuckDBPyConnection, builds: Builds) -> None:
    filled(connection, 7_000)
    _, new = builds.write("trait_values")
    assert len(new) == 2 * 128


def test_spans_cover_every_build_once_and_are_few() -> None:
    seen = set()
    for newest in range(5000):
        found = spans(newest)
        assert [first for first, _ in found] == [0, *(last + 1 for _, last in found[:-1])]
        assert found[-1][1] == newest
        assert len(found) <= 3 * 7
        seen |= set(found)
    # A build is part of another span at most once a length.
    assert max(sum(first <= build <= last for first, last in seen) for build in range(0, 5000, 37)) <= 7
