"""What a warehouse unloads into an object store is pulled from there, on a local S3 server."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.landing.declared import Pull
from orchestration.landing.pull import pull
from orchestration.landing.unload import unload_statements
from tests.conftest import NOW, queried
from tests.object_store import Bucket, running_store
from tests.orchestration.landing.conftest import one_pull

FILES = "s3://exports/orders/**/*.parquet"
ROWS = "select {id} as id, timestamp '2025-06-01 {at}' as received_at"


@pytest.fixture(scope="module")
def store() -> Iterator[Bucket]:
    with running_store() as made:
        yield made


@pytest.fixture
def bucket(store: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    yield store
    for key in ("orders/a/1.parquet", "orders/b/2.parquet", "orders/bad.parquet"):
        store.remove(key)


def unloaded(engine: str, table: str, to: str = "s3://exports/orders", **changed: Any) -> Pull:
    return one_pull({"unload": {"engine": engine, "table": table, "cursor": "received_at", "to": to} | changed})


def test_only_new_and_changed_objects_are_read(home: Home, bucket: Bucket, tmp_path: Path) -> None:
    orders = one_pull({"parquet": FILES})
    bucket.put_rows("orders/a/1.parquet", ROWS.format(id=1, at="10:00"), tmp_path)
    bucket.put("orders/a/_SUCCESS", b"")
    (first,) = pull(home, [orders], now=NOW)
    (again,) = pull(home, [orders], now=NOW)
    assert [(report.error, report.files, report.rows, report.accepted) for report in (first, again)] == [
        ("", 1, 1, 1),
        ("", 0, 0, 0),
    ]
    assert first.bytes == (tmp_path / "object.parquet").stat().st_size
    # The same size, and within the same second: the ETag tells.
    bucket.put_rows("orders/a/1.parquet", ROWS.format(id=2, at="10:00"), tmp_path)
    bucket.put_rows("orders/b/2.parquet", ROWS.format(id=3, at="10:05"), tmp_path)
    (changed,) = pull(home, [orders], now=NOW)
    assert (changed.files, changed.rows, changed.accepted) == (2, 2, 2)
    assert changed.predicate == "2 of 2 files, which are new or changed"
    assert queried(home, "select id from raw_shop.orders order by 1") == [("1",), ("2",), ("3",)]
    assert queried(home, "select distinct files from raw.loads where load_id = 2") == [
        (["s3://exports/orders/a/1.parquet", "s3://exports/orders/b/2.parquet"],)
    ]


@pytest.mark.long
def test_an_object_that_cannot_be_read_is_named_and_tried_again(home: Home, bucket: Bucket, tmp_path: Path) -> None:
    bucket.put_rows("orders/a/1.parquet", ROWS.format(id=1, at="10:00"), tmp_path)
    bucket.put("orders/bad.parquet", b"half a file")
    (report,) = pull(home, [one_pull({"parquet": FILES})], now=NOW)
    assert report.accepted == 1
    assert list(report.refused) == ["s3://exports/orders/bad.parquet"]
    assert report.refused["s3://exports/orders/bad.parquet"].startswith("s3://exports/orders/bad.parquet cannot be")
    bucket.put_rows("orders/bad.parquet", ROWS.format(id=2, at="10:00"), tmp_path)
    assert pull(home, [one_pull({"parquet": FILES})], now=NOW)[0].accepted == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "cannot be read: nothing listens there."),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "cannot be read: no credentials were found."),
    ],
)
def test_a_store_that_cannot_be_reached_is_named_without_its_secrets(
    home: Home, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], message: str
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in change.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    (report,) = pull(home, [one_pull({"parquet": FILES})], now=NOW)
    assert report.error.startswith("models/staging/shop/_shop.yml: table raw_shop.orders: pull.parquet: s3://exports/")
    assert message in report.error
    assert "s3cr3t" not in report.error


def test_a_store_whose_library_is_missing_names_the_package(home: Home) -> None:
    (report,) = pull(home, [one_pull({"parquet": "gs://exports/*.parquet"})], now=NOW)
    assert "the library for gs:// is not installed. pip install gcsfs" in report.error


STATEMENTS = {
    "bigquery": (
        "acme-prod.analytics.tracks",
        "gs://exports/orders",
        """EXPORT DATA OPTIONS (uri = 'gs://exports/orders/{name}/*.parquet', format = 'PARQUET', overwrite = true) AS
SELECT * FROM `acme-prod.analytics.tracks`{where};""",
        "\nWHERE `received_at` >= TIMESTAMP '2025-06-01 09:00:00+00:00' OR `received_at` IS NULL",
    ),
    "redshift": (
        "analytics.tracks",
        "s3://exports/orders",
        """UNLOAD ('SELECT * FROM "analytics"."tracks"{where}')
TO 's3://exports/orders/{name}/' IAM_ROLE default FORMAT AS PARQUET ALLOWOVERWRITE;""",
        "\nWHERE \"received_at\" >= TIMESTAMP ''2025-06-01 09:00:00'' OR \"received_at\" IS NULL",
    ),
    "databricks": (
        "main.analytics.tracks",
        "s3://exports/orders/",
        """INSERT OVERWRITE DIRECTORY 's3://exports/orders/{name}/' USING PARQUET
SELECT * FROM `main`.`analytics`.`tracks`{where};""",
        "\nWHERE `received_at` >= TIMESTAMP '2025-06-01 09:00:00+00:00' OR `received_at` IS NULL",
    ),
}


@pytest.mark.parametrize("engine", STATEMENTS)
def test_the_plan_is_the_statement_that_unloads_what_is_new(
    home: Home, bucket: Bucket, tmp_path: Path, engine: str
) -> None:
    table, to, statement, where = STATEMENTS[engine]
    orders = unloaded(engine, table, to)
    assert unload_statements(home, [orders], NOW) == {"raw_shop.orders": statement.format(name="all", where="")}
    bucket.put_rows("orders/a/1.parquet", ROWS.format(id=1, at="10:00"), tmp_path)
    pull(home, [one_pull({"parquet": FILES})], now=NOW)
    expected = {"raw_shop.orders": statement.format(name="from_20250601T090000_000000", where=where)}
    assert unload_statements(home, [orders], NOW) == expected
    assert unload_statements(home, [orders], NOW) == expected


@pytest.mark.long
def test_unloading_and_pulling_by_turns_loses_and_doubles_nothing(home: Home, bucket: Bucket, tmp_path: Path) -> None:
    orders = unloaded("redshift", "sales.orders")
    for part, (key, hours) in enumerate(
        {"orders/a/1.parquet": ("10", "11"), "orders/b/2.parquet": ("11", "12")}.items()
    ):
        rows = " union all ".join(ROWS.format(id=int(hour), at=f"{hour}:00") for hour in hours)
        bucket.put_rows(key, rows, tmp_path)
        (report,) = pull(home, [orders], now=NOW)
        assert (report.error, report.rows, report.accepted) == ("", 2, 2 - part)
    assert queried(home, "select id from raw_shop.orders order by 1") == [("10",), ("11",), ("12",)]
    assert "2025-06-01 11:00:00" in unload_statements(home, [orders], NOW)["raw_shop.orders"]


@pytest.mark.long
def test_the_cursor_may_be_a_number_or_the_time_of_an_event(home: Home, bucket: Bucket, tmp_path: Path) -> None:
    bucket.put_rows("orders/a/1.parquet", ROWS.format(id=41, at="10:00"), tmp_path)
    numbered = unloaded("redshift", "sales.orders", cursor="id", overlap=2)
    pull(home, [numbered], now=NOW)
    assert 'WHERE "id" >= 39 OR "id" IS NULL' in unload_statements(home, [numbered], NOW)["raw_shop.orders"]
    declared: dict[str, Any] = {
        "unload": {"engine": "bigquery", "table": "a.b", "cursor": "sent", "to": "gs://exports/orders"},
        "map": {"received_at": "sent"},
    }
    events = one_pull(declared, source="raw", table="events")
    assert "/all/" in unload_statements(home, [events], NOW)["raw.events"]
    with pytest.raises(UsageError, match=r"pull\.unload\.cursor: sent is no time of an event"):
        unload_statements(home, [one_pull(declared | {"map": {}}, source="raw", table="events")], datetime.max)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("engine", "oracle"),
        ("table", "a.b; drop table c"),
        ("cursor", 'a"b'),
        ("to", "s3://bucket/it's"),
        ("to", "/tmp"),
    ],
)
def test_a_declaration_cannot_break_out_of_its_statement(field: str, value: str) -> None:
    with pytest.raises(UsageError, match=rf"pull\.unload\.{field}"):
        unloaded(**{"engine": "redshift", "table": "a.b", "to": "s3://b/c", field: value})
