"""Files become rows of schema raw; nothing is lost, and loading again adds nothing."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.landing.load import load
from orchestration.simulator.bundled import SAMPLE
from orchestration.transform.build import begin_build
from tests.conftest import NOW, queried

EventsFile = Callable[..., Path]


def event(**fields: object) -> dict[str, object]:
    return {"user_id": "u1", "event_name": "opened", "occurred_at": "2025-01-01T10:00:00Z"} | fields


def test_the_sample_loads_once(home: Home) -> None:
    first = load(home, [SAMPLE.path], mapping=SAMPLE.mapping, source="shop")
    again = load(home, [SAMPLE.path], mapping=SAMPLE.mapping, source="shop")
    assert (first.accepted, first.duplicates, first.rejected) == (31_076, 30, 0)
    assert (again.load_id, again.accepted, again.duplicates) == (None, 0, 31_106)
    assert queried(home, "select count(*), count(distinct event_id) from raw.events") == [(31_076, 31_076)]


def test_rows_that_cannot_be_accepted_are_kept_with_their_reason(home: Home, events_file: EventsFile) -> None:
    path = events_file(
        [
            event(),
            event(user_id=None),
            event(event_name=" "),
            event(occurred_at="yesterday"),
            event(occurred_at=None),
            event(occurred_at="2026-01-03T00:00:01Z"),
            event(properties=[1]),
            event(event_type="click"),
            event(received_at="soon"),
            event(occurred_at="-infinity"),
            event(occurred_at="1969-12-31T23:59:59Z"),
            event(received_at="infinity"),
        ]
    )
    report = load(home, [path], now=NOW)
    again = load(home, [path], now=NOW)
    assert (report.accepted, report.rejected, again.accepted) == (1, 11, 0)
    assert queried(home, "select record_number, reason from raw.rejected_events order by 1") == [
        (2, "neither user_id nor anonymous_id"),
        (3, "no event_name"),
        (4, "occurred_at is not a time"),
        (5, "no occurred_at"),
        (6, "occurred_at is more than a day after loaded_at"),
        (7, "properties are not a JSON object"),
        (8, "unknown event_type"),
        (9, "received_at is not a time"),
        (10, "occurred_at is before 1970"),
        (11, "occurred_at is before 1970"),
        (12, "received_at is not a time"),
    ]
    assert '"user_id": null' in queried(home, "select raw_text from raw.rejected_events order by record_number")[0][0]


def test_columns_without_a_field_go_into_properties(home: Home, events_file: EventsFile) -> None:
    load(home, [events_file([event(properties={"path": "/pricing"}, plan="pro", empty=None)])])
    assert queried(home, "select properties ->> 'path', properties ->> 'plan' from raw.events") == [("/pricing", "pro")]


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2025-07-01 12:00:00", "UTC", datetime(2025, 7, 1, 12)),
        ("2025-07-01 12:00:00", "Europe/Berlin", datetime(2025, 7, 1, 10)),
        ("2025-07-01T12:00:00+05:30", "Europe/Berlin", datetime(2025, 7, 1, 6, 30)),
        ("2025-07-01T12:00:00.123456Z", "UTC", datetime(2025, 7, 1, 12, 0, 0, 123456)),
        ("1751371200", "Europe/Berlin", datetime(2025, 7, 1, 12)),
        ("2025-07-01T12:00+02:00", "UTC", datetime(2025, 7, 1, 10)),
        ("2025-07-01 12:00Z", "Europe/Berlin", datetime(2025, 7, 1, 12)),
        ("2025-07-01 12:00:00 +0200", "UTC", datetime(2025, 7, 1, 10)),
        ("1751371200.5", "UTC", datetime(2025, 7, 1, 12, 0, 0, 500000)),
        ("1751371200123", "UTC", datetime(2025, 7, 1, 12, 0, 0, 123000)),
    ],
)
def test_times_are_utc_unless_they_or_the_option_say_otherwise(
    home: Home, events_file: EventsFile, text: str, zone: str, expected: datetime
) -> None:
    load(home, [events_file([event(occurred_at=text)])], timezone=zone)
    assert queried(home, "select occurred_at from raw.events") == [(expected,)]


def test_repeats_collapse_and_are_counted(home: Home, events_file: EventsFile) -> None:
    report = load(home, [events_file([event(), event(), event(amount=1)])])
    assert (report.accepted, report.duplicates) == (2, 1)


def test_keep_repeats_keeps_them_and_is_still_safe_to_load_twice(home: Home, events_file: EventsFile) -> None:
    path = events_file([event(), event(), event()])
    first = load(home, [path], keep_repeats=True)
    again = load(home, [path], keep_repeats=True)
    assert (first.accepted, again.accepted, again.duplicates) == (3, 0, 3)
    assert load(home, [path]).accepted == 0


def test_a_second_version_of_an_event_id_is_kept_for_the_models_to_judge(home: Home, events_file: EventsFile) -> None:
    report = load(home, [events_file([event(event_id="e1"), event(event_id="e1", user_id="u2"), event(event_id="e1")])])
    assert (report.accepted, report.duplicates) == (2, 1)


def test_csv_ndjson_and_parquet_of_one_event_have_one_id(home: Home, events_file: EventsFile, tmp_path: Path) -> None:
    csv = tmp_path / "e.csv"
    csv.write_text("occurred_at,user_id,event_name,plan\n2025-01-01 10:00:00,u1,opened,pro\n")
    parquet = tmp_path / "e.parquet"
    duckdb.execute(f"copy (from '{csv}') to '{parquet}' (format parquet)")
    report = load(home, [csv, events_file([event(plan="pro")]), parquet])
    assert (report.accepted, report.duplicates) == (1, 2)


def test_load_ids_rise(home: Home, events_file: EventsFile) -> None:
    ids = [load(home, [events_file([event(user_id=f"u{n}")])]).load_id for n in range(3)]
    assert ids == [1, 2, 3]
    assert home.status()["loads"]["load_id"] == 3


def test_a_vendor_table_lands_as_it_is_and_grows_new_columns(home: Home, events_file: EventsFile) -> None:
    first = events_file([{"id": "1", "event": "Opened", "context": {"ip": "::1"}}])
    second = events_file([{"id": "1", "event": "Opened", "context": {"ip": "::1"}}, {"id": "2", "plan": "pro"}])
    assert load(home, [first], source="segment", table="tracks").accepted == 1
    report = load(home, [second], source="segment", table="tracks")
    assert (report.accepted, report.duplicates) == (1, 1)
    assert queried(home, "select id, event, context, plan, load_id from raw_segment.tracks order by id") == [
        ("1", "Opened", '{"ip":"::1"}', None, 1),
        ("2", None, None, "pro", 2),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mapping": {"when": "occurred_at"}}, "when is not a field"),
        ({"mapping": {"event_name": "evnt"}}, "no column evnt"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus is not a time zone"),
        ({"table": "tracks"}, "--table needs --source"),
        ({"source": "s", "table": "t", "keep_repeats": True}, "--keep-repeats does not go with --table"),
        ({"source": "se gment"}, "cannot be a name"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_loaded(
    home: Home, events_file: EventsFile, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load(home, [events_file([event()])], **arguments)  # type: ignore[arg-type]
    assert not home.status()


def test_a_missing_column_is_named_with_those_that_there_are(home: Home, events_file: EventsFile) -> None:
    with pytest.raises(UsageError, match="No column gives event_name") as error:
        load(home, [events_file([{"user_id": "u1", "what": "x", "occurred_at": "2025-01-01"}])])
    assert "what" in error.value.hint


def test_when_no_row_is_accepted_it_says_so_and_keeps_the_rejected(home: Home, events_file: EventsFile) -> None:
    with pytest.raises(UsageError, match="No row was accepted; 1 rejected, most of all: occurred_at is not a time"):
        load(home, [events_file([event(occurred_at="x")])])
    assert queried(home, "select count(*) from raw.rejected_events") == [(1,)]


def test_one_unreadable_file_leaves_nothing_of_the_others(home: Home, events_file: EventsFile, tmp_path: Path) -> None:
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(b"\x1f\x8b\x08\x00cut")
    with pytest.raises(UsageError, match=r"cut\.csv\.gz"):
        load(home, [events_file([event()]), cut])
    assert queried(home, "select count(*) from raw.events") == [(0,)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"timestamp": "2025-06-01T10:00:00Z", "received_at": "2025-06-02"}], datetime(2025, 6, 1, 10)),
        ([{"timestamp": "soon", "receivedAt": "2025-06-02"}], datetime(2025, 6, 2)),
        ([{"created_at": "1751371200"}, {"created_at": "2999-01-01"}], datetime(2025, 7, 1, 12)),
        (
            [{"derived_tstamp": "2025-06-01 10:00:00.5", "collector_tstamp": "2025-06-03"}],
            datetime(2025, 6, 1, 10, 0, 0, 500000),
        ),
        ([{"received_at": "2026-01-01T23:00:00Z"}], datetime(2026, 1, 1, 23)),
        ([{"id": "1"}], None),
    ],
)
def test_a_vendor_table_tells_how_new_it_is(
    home: Home, events_file: EventsFile, rows: list[dict[str, str]], expected: datetime | None
) -> None:
    load(home, [events_file(rows)], source="segment", table="tracks", now=NOW)
    assert queried(home, "select newest_event_at from raw.loads") == [(expected,)]
    assert home.status()["loads"]["accepted"] == len(rows)


def test_a_home_with_vendor_tables_only_has_a_clock(home: Home, events_file: EventsFile, project_in: Any) -> None:
    load(home, [events_file([{"id": "1", "timestamp": "2025-06-01T10:00:00Z"}])], source="segment", table="tracks")
    with home.lock("test"):
        build = begin_build(project_in(home), as_of=None, full_refresh=False)
    assert build.as_of == datetime(2025, 6, 2)


def test_a_vendor_column_named_like_our_own_is_kept(home: Home, events_file: EventsFile) -> None:
    load(home, [events_file([{"id": "1", "loaded_at": "2025-06-01"}])], source="segment", table="tracks")
    again = load(home, [events_file([{"id": "1", "loaded_at": "2025-06-01"}])], source="segment", table="tracks")
    assert (again.accepted, again.duplicates) == (0, 1)
    assert queried(home, "select id, vendor_loaded_at, load_id from raw_segment.tracks") == [("1", "2025-06-01", 1)]


def test_properties_that_are_text_and_no_json_reject_their_row_alone(
    home: Home, events_file: Callable[..., Path]
) -> None:
    event = {"event_name": "a", "user_id": "u1", "occurred_at": "2025-01-01T00:00:00Z"}
    made = load(home, [events_file([event | {"properties": text} for text in ("text", "NaN", '{"a": 1}')])])
    assert (made.accepted, made.reasons) == (1, {"properties are not a JSON object": 2})
