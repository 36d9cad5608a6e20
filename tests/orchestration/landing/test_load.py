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
        (10, "occurred_at is not a time"),
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


TIMES = {
    "2024-01-15T10:23:45.1234567Z": "2024-01-15 10:23:45.123456",
    "2024-01-15 10:23:45.123 Z": "2024-01-15 10:23:45.123",
    "2024-01-15t10:23:45z": "2024-01-15 10:23:45",
    "2024-01-15T10:23:45+05": "2024-01-15 05:23:45",
    "2024-01-15 10:23:45 +0530": "2024-01-15 04:53:45",
    "2024/01/15 10:23": "2024-01-15 15:23:00",
    "2024-01-15 10:23:45,5": "2024-01-15 15:23:45.5",
    "2024-01-15 10:00:00 Europe/Berlin": "2024-01-15 09:00:00",
    "2024-01-15 10:00:00": "2024-01-15 15:00:00",
    "2024-01-15": "2024-01-15 05:00:00",
    1705314225: "2024-01-15 10:23:45",
    1705314225.123: "2024-01-15 10:23:45.123",
    1705314225123.0: "2024-01-15 10:23:45.123",
    "1705314225123.456": "2024-01-15 10:23:45.123456",
    1705314225123456: "2024-01-15 10:23:45.123456",
    1705314225123456789: "2024-01-15 10:23:45.123456",
    "epoch": None,
    "today": None,
    "2024-01-15 10:00:00 Nowhere/Land": None,
    "2024-02-30": None,
    "2024-01-15 25:00:00": None,
    "170531422": None,
}


def test_times_are_read_as_exports_write_them(home: Home, events_file: EventsFile) -> None:
    """Each behind one with the name of a zone, which must change nothing for it."""
    zoned = event(event_name="zoned", occurred_at="2024-01-15 10:00:00 Asia/Tokyo")
    rows = [row for number, text in enumerate(TIMES) for row in (zoned, event(event_id=str(number), occurred_at=text))]
    load(home, [events_file(rows)], timezone="America/New_York")
    found = dict(queried(home, "select event_id, occurred_at from raw.events where event_name != 'zoned'"))
    assert {text: found.get(str(number)) for number, text in enumerate(TIMES)} == {
        text: read and datetime.fromisoformat(read) for text, read in TIMES.items()
    }


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


def test_a_file_that_cannot_be_read_is_named_and_holds_no_other(
    home: Home, events_file: EventsFile, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(b"\x1f\x8b\x08\x00cut")
    report = load(home, [cut, tmp_path / "gone.csv", events_file([event()]), tmp_path / "sheet.xlsx"])
    assert report.accepted == 1
    assert [Path(path).name for path in report.refused] == ["cut.csv.gz", "gone.csv", "sheet.xlsx"]
    assert queried(home, "select len(files) from raw.loads") == [(1,)]
    with pytest.raises(UsageError, match=r"cut\.csv\.gz"):
        load(home, [cut])


def test_columns_are_found_whatever_their_case(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "upper.csv"
    path.write_text("EVENT_NAME,Who,OCCURRED_AT,note\nopened,u1,2025-01-01,x\n")
    load(home, [path], mapping={"user_id": "who"})
    assert queried(home, "select event_name, user_id, properties->>'note' from raw.events") == [("opened", "u1", "x")]


def test_names_that_differ_in_case_only_are_one_column_or_refuse_the_record(
    home: Home, events_file: EventsFile
) -> None:
    path = events_file(
        [event(User_Id=None), event(USER_ID="u1"), event(user_Id="u2"), event(user_id=None, USER_ID="u3")]
    )
    report = load(home, [path])
    assert queried(home, "select distinct user_id from raw.events order by 1") == [("u1",), ("u3",)]
    assert report.reasons == {
        "columns user_id and user_Id, which differ in case only, hold different values": 1,
    }


def test_what_is_null_beside_the_properties_takes_nothing_from_them(home: Home, events_file: EventsFile) -> None:
    load(home, [events_file([event(plan=None, seats=3, properties={"plan": "pro", "seats": 2})])])
    assert queried(home, "select properties from raw.events") == [('{"plan":"pro","seats":3}',)]


IDS = [
    (1001, "1001"),
    (1001.0, "1001"),
    ("1001.0", "1001"),
    ("\t u\u00a0", "u"),
    ("\u2003u\u200b\ufeff", "u"),
    ("caf\u0065\u0301", "caf\u00e9"),
    ("1.50", "1.50"),
    ("v1.0.0", "v1.0.0"),
    (12345678901234567890, "12345678901234567890"),
]


def test_an_id_is_one_text_however_it_is_written(home: Home, events_file: EventsFile) -> None:
    ids = [{"user_id": written} for written, _ in IDS]
    load(home, [events_file([event(event_id=f"e{n}", **given) for n, given in enumerate(ids)])])
    load(
        home, [events_file([{"id": f"e{n}", **given} for n, given in enumerate(ids)])], source="segment", table="tracks"
    )
    expected = [(read,) for _, read in IDS]
    assert queried(home, "select user_id from raw.events order by event_id") == expected
    assert queried(home, "select user_id from raw_segment.tracks order by id") == expected


def test_null_markers_are_no_ids_and_no_times(home: Home, events_file: EventsFile) -> None:
    markers = ("", " ", "null", "NULL", "None", "undefined", "NaN", "NaT", "(null)", "\\N")
    rows = [
        event(event_id=f"e{n}", user_id=m, anonymous_id="a1", account_id=m, received_at=m)
        for n, m in enumerate(markers)
    ]
    load(home, [events_file(rows)])
    found = queried(home, "select user_id, account_id, received_at from raw.events")
    assert found == [(None, None, None)] * len(markers)


def test_an_id_that_a_spreadsheet_has_rounded_is_refused(home: Home, events_file: EventsFile) -> None:
    report = load(home, [events_file([event(), event(user_id="1.23457E+11")])])
    assert report.reasons == {"an id in scientific notation, which has lost digits": 1}


def test_a_file_in_another_encoding_is_read_when_it_is_named(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_text("event_name,user_id,occurred_at\nopened,K\u00f6ln,2025-01-01\n", encoding="utf-16")
    with pytest.raises(UsageError, match="encoded in UTF-16") as error:
        load(home, [path])
    assert "--encoding utf-16" in error.value.hint
    load(home, [path], encoding="utf-16")
    assert queried(home, "select user_id from raw.events") == [("K\u00f6ln",)]


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
