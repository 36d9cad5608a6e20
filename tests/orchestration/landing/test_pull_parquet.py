"""A folder of Parquet files is followed file by file; what is declared wrongly is named."""

import os
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.landing.declared import declared_pulls
from orchestration.landing.pull import pull
from tests.conftest import NOW, queried
from tests.orchestration.landing.conftest import one_pull


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An export's folder, whose name is in SHOP_EXPORT; its name would mean something in a pattern."""
    folder = tmp_path / "export [1]"
    folder.mkdir()
    monkeypatch.setenv("SHOP_EXPORT", str(folder))
    return folder


def write(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = ", ".join(rows)
    duckdb.execute(f"copy (select * from (values {values}) as t (id, event, received_at)) to '{path}' (format parquet)")


TRACKS = one_pull({"parquet": "env:SHOP_EXPORT/tracks/**/*.parquet"}, table="tracks")


def test_each_file_is_read_once_and_again_when_it_changed(home: Home, export: Path) -> None:
    write(export / "tracks/day=1/a.parquet", "(1, 'Opened', timestamp '2025-06-01 10:00:00')")
    write(export / "tracks/day=2/b.parquet", "(2, 'Opened', timestamp '2025-06-02 10:00:00')")
    (first,) = pull(home, [TRACKS], now=NOW)
    (again,) = pull(home, [TRACKS], now=NOW)
    assert (first.load_id, first.files, first.accepted) == (1, 2, 2)
    assert (again.load_id, again.files, again.accepted, again.duplicates) == (None, 0, 0, 0)
    write(
        export / "tracks/day=2/b.parquet",
        "(2, 'Opened', timestamp '2025-06-02 10:00:00')",
        "(3, 'Closed', timestamp '2025-06-02 11:00:00')",
    )
    write(export / "tracks/day=3/c.parquet", "(2, 'Opened', timestamp '2025-06-02 10:00:00')")
    (third,) = pull(home, [TRACKS], now=NOW)
    assert (third.load_id, third.files, third.accepted, third.duplicates) == (2, 2, 2, 1)
    assert queried(home, "select id, event, day, load_id from raw_shop.tracks order by all") == [
        ("1", "Opened", "1", 1),
        ("2", "Opened", "2", 1),
        ("2", "Opened", "3", 2),
        ("3", "Closed", "2", 2),
    ]
    assert queried(home, "select count(*), count(distinct path) from raw.pulled_files") == [(3, 3)]
    loads = queried(home, "select source, table_name, len(files), accepted, newest_event_at::varchar from raw.loads")
    assert loads == [
        ("shop", "raw_shop.tracks", 2, 2, "2025-06-02 10:00:00"),
        ("shop", "raw_shop.tracks", 2, 2, "2025-06-02 11:00:00"),
    ]


def test_a_file_with_nothing_new_is_not_read_a_second_time(home: Home, export: Path) -> None:
    row = "(1, 'Opened', timestamp '2025-06-01 10:00:00')"
    write(export / "tracks/a.parquet", row)
    pull(home, [TRACKS], now=NOW)
    write(export / "tracks/b.parquet", row)
    (second,) = pull(home, [TRACKS], now=NOW)
    (third,) = pull(home, [TRACKS], now=NOW)
    assert (second.load_id, second.files, second.duplicates) == (None, 1, 1)
    assert third.files == 0


def test_a_touched_file_of_equal_rows_adds_nothing(home: Home, export: Path) -> None:
    write(export / "tracks/a.parquet", "(1, 'Opened', timestamp '2025-06-01 10:00:00')")
    pull(home, [TRACKS], now=NOW)
    os.utime(export / "tracks/a.parquet", ns=(1, 1))
    (report,) = pull(home, [TRACKS], now=NOW)
    assert (report.files, report.accepted, report.duplicates) == (1, 0, 1)


def test_a_file_that_cannot_be_read_holds_no_other_and_is_tried_again(home: Home, export: Path) -> None:
    write(export / "tracks/a.parquet", "(1, 'Opened', timestamp '2025-06-01 10:00:00')")
    broken = export / "tracks/b.parquet"
    broken.write_bytes(b"half a file")
    (first,) = pull(home, [TRACKS], now=NOW)
    assert (first.accepted, first.failed, list(first.refused)) == (1, True, [str(broken)])
    write(broken, "(2, 'Opened', timestamp '2025-06-01 10:00:00')")
    (second,) = pull(home, [TRACKS], now=NOW)
    assert (second.accepted, second.failed) == (1, False)


def test_one_table_that_cannot_be_had_holds_no_other(home: Home, export: Path) -> None:
    write(export / "tracks/a.parquet", "(1, 'Opened', timestamp '2025-06-01 10:00:00')")
    missing = one_pull({"parquet": "env:SHOP_EXPORT/pages/*.parquet"}, table="pages")
    first, second = pull(home, [missing, TRACKS], now=NOW)
    assert "table raw_shop.pages: pull.parquet: no file matches" in first.error
    assert second.accepted == 1


def test_files_of_events_pass_the_same_checks_as_a_load(home: Home, export: Path) -> None:
    write(export / "e.parquet", "('u1', 'Opened', timestamp '2025-06-01 10:00:00')", "(null, 'Opened', null)")
    declared = {
        "parquet": "env:SHOP_EXPORT/*.parquet",
        "map": {"user_id": "id", "event_name": "event", "occurred_at": "received_at"},
        "timezone": "Asia/Tokyo",
        "source": "app",
    }
    (report,) = pull(home, [one_pull(declared, source="raw", table="events")], now=NOW)
    assert (report.table, report.accepted, report.rejected) == ("raw.events", 1, 1)
    assert queried(home, "select user_id, source, occurred_at::varchar from raw.events") == [
        ("u1", "app", "2025-06-01 01:00:00")
    ]


def test_when_no_row_is_an_event_it_says_so_and_keeps_them(home: Home, export: Path) -> None:
    write(export / "e.parquet", "('u1', 'Opened', 'soon')")
    declared = {"parquet": "env:SHOP_EXPORT/*.parquet", "map": {"user_id": "id", "event_name": "event"}}
    nameless = one_pull(declared, source="raw", table="events")
    (report,) = pull(home, [nameless], now=NOW)
    assert "No column gives occurred_at" in report.error
    declared["map"] = {"user_id": "id", "event_name": "event", "occurred_at": "received_at"}
    (report,) = pull(home, [one_pull(declared, source="raw", table="events")], now=NOW)
    assert report.error.startswith("No row was accepted, most of all: occurred_at is not a time")
    assert queried(home, "select count(*) from raw.rejected_events") == [(1,)]


def test_a_variable_that_is_not_set_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_EXPORT", raising=False)
    (report,) = pull(home, [TRACKS], now=NOW)
    assert report.error == (
        "models/staging/shop/_shop.yml: table raw_shop.tracks: pull.parquet: the environment variable"
        " SHOP_EXPORT is not set. Set SHOP_EXPORT and pull again."
    )


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({}, "pull: give one of parquet, database and unload"),
        (
            {"parquet": "a", "postgres": {"dsn_env": "D", "table": "a.b", "cursor": "c"}},
            "give one of parquet, database and unload",
        ),
        ({"parqet": "a"}, "pull.parqet: it is not a key here"),
        ({"postgres": {"dsn_env": "D", "table": "a.b"}}, "pull.postgres.cursor: it is missing"),
        ({"postgres": {"dsn_env": "host=x password=y", "table": "a.b", "cursor": "c"}}, "pull.postgres.dsn_env"),
        ({"database": {"url_env": "D", "table": "a b", "cursor": "c"}}, "pull.database.table"),
        ({"database": {"table": "a.b", "cursor": "c"}}, "pull.database: give url_env"),
        (
            {"postgres": {"dsn_env": "D", "table": "a.b", "cursor": "c", "overlap": "soon"}},
            "pull.postgres.overlap: write an interval",
        ),
        ({"parquet": "a", "timezone": "Mars"}, "pull.timezone: it is not a time zone"),
        ({"parquet": "a", "map": {"when": "x"}}, "pull.map: when is not a field of an event"),
        ({"parquet": "a", "map": {"user_id": "x"}}, "pull.map is for raw.events alone"),
        ("a/*.parquet", "pull:"),
    ],
)
def test_a_wrong_declaration_names_file_table_and_field(declared: Any, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        one_pull(declared)
    assert raised.value.message.startswith("models/staging/shop/_shop.yml: table raw_shop.orders: ")
    assert message in raised.value.message
    assert "password=y" not in raised.value.message


def test_only_raw_schemas_are_filled(home: Home) -> None:
    node = {
        "identifier": "orders",
        "schema": "elsewhere",
        "original_file_path": "f.yml",
        "config": {"meta": {"pull": {"parquet": "a"}}},
    }
    with pytest.raises(UsageError, match="only raw schemas are filled"):
        declared_pulls({"sources": {"source.elsewhere": node}})
