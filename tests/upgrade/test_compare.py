"""A difference between two versions is found, and a rename is none."""

from pathlib import Path

import duckdb
import pytest

from tests.upgrade.tables import Difference, compare_tables

ROWS = {
    "traits.trait_values": [
        ("u1", "stuck", "true", 0.5, '{"rule": "failed", "features": {"failures": 3}}'),
        ("u2", "stuck", "false", float("nan"), '{"rule": "none", "features": {"failures": 0}}'),
        ("u2", "stuck", "false", float("nan"), '{"rule": "none", "features": {"failures": 0}}'),
    ]
}
COLUMNS = "entity_id varchar, trait varchar, value varchar, score double, evidence varchar"


def frozen(path: Path, *statements: str) -> Path:
    """Three rows of values, changed by the statements."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create schema traits; create table traits.trait_values ({COLUMNS})")
        connection.executemany("insert into traits.trait_values values (?, ?, ?, ?, ?)", ROWS["traits.trait_values"])
        for statement in statements:
            connection.execute(statement)
    return path


def found(tmp_path: Path, before: str, after: str) -> Difference:
    sides = [frozen(tmp_path / f"{name}.duckdb", sql) for name, sql in (("before", before), ("after", after))]
    (difference,) = [found for found in compare_tables("test", *sides) if found.differing] or [
        Difference("test", "", 0, 0, 0)
    ]
    return difference


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        ("update traits.trait_values set value = 'true' where entity_id = 'u2'", 4),
        ("update traits.trait_values set score = 0.5000000001 where entity_id = 'u1'", 2),
        ("update traits.trait_values set score = null where entity_id = 'u1'", 2),
        ("update traits.trait_values set evidence = replace(evidence, '3', '4') where entity_id = 'u1'", 2),
        ("delete from traits.trait_values where entity_id = 'u1'", 1),
        ("insert into traits.trait_values from traits.trait_values where entity_id = 'u1'", 1),
        ("alter table traits.trait_values alter score type varchar", 3),
        ("alter table traits.trait_values drop score", 3),
        ("alter table traits.trait_values add extra integer", 3),
        ("create table traits.more as select 1 as a", 2),
        ("drop table traits.trait_values", 4),
    ],
)
@pytest.mark.parametrize("side", ["before", "after"])
def test_what_differs_is_counted(tmp_path: Path, change: str, rows: int, side: str) -> None:
    difference = found(tmp_path, *((change, "select 1") if side == "before" else ("select 1", change)))
    assert difference.differing == rows
    assert difference.examples


def test_what_is_equal_does_not_differ(tmp_path: Path) -> None:
    shuffled = "create or replace table traits.trait_values as from traits.trait_values order by value"
    assert found(tmp_path, "select 1", shuffled).differing == 0


WAIVERS = """
    create table traits.{table} (trait varchar, checks varchar, reason varchar, {by} varchar, {at} timestamp);
    insert into traits.{table}
    values ('stuck', '[{{"name": "{check}", "severity": "{severity}"}}]', 'known', 'ann', {time});
"""


def test_a_declared_rename_is_no_difference(tmp_path: Path) -> None:
    before = {"table": "acceptances", "by": "accepted_by", "at": "accepted_at", "check": "needs"}
    before |= {"severity": "accepted", "time": "timestamp '2024-01-01'"}
    after = {"table": "waivers", "by": "waived_by", "at": "waived_at", "check": "required_behaviours"}
    after |= {"severity": "waived", "time": "timestamp '2025-01-01'"}
    assert found(tmp_path, WAIVERS.format(**before), WAIVERS.format(**after)).differing == 0
    (tmp_path / "again").mkdir()
    other = WAIVERS.format(**(after | {"check": "grain"}))
    assert found(tmp_path / "again", WAIVERS.format(**before), other).differing == 2


def test_a_value_is_renamed_in_its_own_column_only(tmp_path: Path) -> None:
    changes = "create table traits.trait_changes as select '{}' as cause, '{}' as new_value"
    assert found(tmp_path, changes.format("accepted", "a"), changes.format("waived", "a")).differing == 0
    (tmp_path / "again").mkdir()
    difference = found(tmp_path / "again", changes.format("a", "accepted"), changes.format("a", "waived"))
    assert difference.differing == 2


def test_a_view_by_the_former_name_is_beside_the_table(tmp_path: Path) -> None:
    before = {"table": "acceptances", "by": "accepted_by", "at": "accepted_at", "check": "grain"}
    before |= {"severity": "waived", "time": "timestamp '2024-01-01'"}
    after = before | {"table": "waivers", "by": "waived_by", "at": "waived_at"}
    view = "create view traits.acceptances as select waived_by as accepted_by from traits.waivers"
    assert found(tmp_path, WAIVERS.format(**before), WAIVERS.format(**after) + view).differing == 0
