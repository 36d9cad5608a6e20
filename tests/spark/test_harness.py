"""The comparison sees what differs."""

from pathlib import Path

import duckdb
import pytest

from tests.spark.harness import compare

ROWS = "select 1 as id, timestamp '1969-12-31 23:59:59.999999' as instant union all select 1, null"


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create schema s; create table s.t as {ROWS}")
    return path


def exported(folder: Path, query: str) -> dict[str, Path]:
    (folder / "t").mkdir()
    duckdb.sql(f"copy ({query}) to '{folder}/t/part.parquet' (format parquet)")
    return {"s.t": folder / "t"}


def test_the_same_rows_in_another_order_are_equal(warehouse: Path, tmp_path: Path) -> None:
    turned = f"select instant at time zone 'UTC' as instant, cast(id as bigint) as id from ({ROWS}) order by instant"
    assert compare(warehouse, exported(tmp_path, turned)) == {}


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (f"{ROWS} union all select 1, null", 1),
        ("select 1 as id, timestamp '1969-12-31 23:59:59.999999' as instant", 1),
        ("select 1 as id, timestamp '1969-12-31 23:59:59.999998' as instant union all select 1, null", 2),
    ],
)
def test_every_row_that_differs_counts(warehouse: Path, tmp_path: Path, query: str, count: int) -> None:
    assert compare(warehouse, exported(tmp_path, query)) == {"s.t": count}


def test_other_columns_are_an_error(warehouse: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"s\.t has other columns on Spark"):
        compare(warehouse, exported(tmp_path, f"select id from ({ROWS})"))
