"""Records as they stand in files."""

import gzip
import json
from pathlib import Path

import duckdb
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.errors import UsageError
from orchestration.landing.readers import read_records


def records(path: Path) -> list[tuple[int, str | None]]:
    return [(record.number, record.error) for record in read_records(path)]


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(record.row) for record in read_records(path) if record.row]


def test_csv_names_line_and_reason_of_broken_rows_and_keeps_the_good_ones(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(b'a,b\n1,2\n3\n4,"x\ny"\n5,"stray\n6,7\n8,\xff\n9,10\n')
    assert records(path) == [
        (2, None),
        (3, "1 fields where the header has 2"),
        (4, None),
        (6, "a quote is opened and not closed"),
        (7, None),
        (8, "not UTF-8 text"),
        (9, None),
    ]
    assert rows(path) == [{"a": "1", "b": "2"}, {"a": "4", "b": "x\ny"}, {"a": "6", "b": "7"}, {"a": "9", "b": "10"}]


def test_the_raw_text_of_a_broken_row_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("a,b\n1,2,3\r\n")
    assert [record.raw for record in read_records(path)] == ["1,2,3"]


def test_ndjson_refuses_what_is_no_object_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_text('{"a": 1}\n\n[1]\n{"a": NaN}\nnope\n{"a": "ü"}\n{"a": "\\ud83d"}\n{"a": 1e400}\n')
    assert [error for _, error in records(path)] == [
        None,
        "not a JSON object",
        "not valid JSON",
        "not valid JSON",
        None,
        "half a character (a lone surrogate) in the text",
        "a number that is not finite",
    ]
    assert rows(path) == [{"a": 1}, {"a": "ü"}]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
def test_every_kind_reads_the_same_plain_and_compressed(tmp_path: Path, kind: str, suffix: str) -> None:
    plain = tmp_path / f"plain.{kind}"
    if kind == "parquet":
        duckdb.execute(f"copy (select '1' as a, 'x' as b) to '{plain}' (format parquet)")
    else:
        plain.write_text("a,b\n1,x\n" if kind == "csv" else '{"a": "1", "b": "x"}\n')
    path = tmp_path / f"events.{kind}{suffix}"
    data = plain.read_bytes()
    packed = {"": lambda d: d, ".gz": gzip.compress, ".zst": zstd.compress}[suffix](data)
    path.write_bytes(packed)
    assert rows(path) == [{"a": "1", "b": "x"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.csv", None),
        ("events.xlsx", b"x"),
        ("cut.csv.gz", b"\x1f\x8b\x08"),
        ("cut.csv.zst", zstd.compress(b"a,b\n" + bytes(range(256)) * 2000)[:-20]),
        ("no.parquet", b"x"),
        ("h.csv", b"a,a\n"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=name):
        list(read_records(path))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r")), min_size=2, max_size=2)))
def test_whatever_a_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]]
) -> None:
    import csv

    path = tmp_path_factory.mktemp("csv") / "events.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(["a", "b"])
        writer.writerows(cells)
    expected = [{"a": a or None, "b": b or None} for a, b in cells]
    assert rows(path) == expected
