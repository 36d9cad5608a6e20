"""Records as they stand in files."""

import gzip
import json
import unicodedata
from pathlib import Path

import duckdb
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.errors import UsageError
from orchestration.landing import csv_records, json_records
from orchestration.landing.readers import read_records


def records(path: Path) -> list[tuple[int, str | None]]:
    return [(record.number, record.error) for record in read_records(path)]


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(record.row) for record in read_records(path) if record.row]


def test_csv_names_line_and_reason_of_broken_rows_and_keeps_the_good_ones(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(b'a,b\n1,2\n3\n4,"x\ny"\n8,\xff\n9,10\n5,"stray\n6,7\n')
    assert records(path) == [
        (2, None),
        (3, "1 fields where the header has 2"),
        (4, None),
        (6, "not UTF-8 text"),
        (7, None),
        (8, "a quote is opened and not closed"),
    ]
    assert rows(path) == [{"a": "1", "b": "2"}, {"a": "4", "b": "x\ny"}, {"a": "9", "b": "10"}]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ('1,"hi\n{pasted}\nend",more', "3 fields where the header has 2"),
        ('1,"hi\n{pasted}\nend" she said "now"', "text behind a closing quote"),
        ('1,"K\udcf6ln\n{pasted}\nend"', "not UTF-8 text"),
        ("1,hi\r{pasted}", "a line break in a cell without quotes"),
        ('hi\rthere,"more\n{pasted}\nend"', "a line break in a cell without quotes"),
    ],
)
def test_a_record_is_refused_whole_and_nothing_in_it_becomes_another(tmp_path: Path, record: str, reason: str) -> None:
    path = tmp_path / "events.csv"
    text = "a,b\n0,first\n" + record.format(pasted="victim,bought") + "\n9,last\n"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert [error for _, error in records(path)] == [None, reason, None]
    assert rows(path) == [{"a": "0", "b": "first"}, {"a": "9", "b": "last"}]


def test_behind_a_wrong_quote_nothing_is_guessed(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text('a,b\n0,first\n1,"he said "hi"\nvictim,bought\nend"\n9,last\n')
    assert [error for _, error in records(path)] == [
        None,
        "text behind a closing quote; from here on it cannot be told what is quoted",
    ]
    assert [record.raw for record in read_records(path)][1].endswith("9,last")


def test_a_cell_of_many_lines_and_any_length_is_one_cell(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    message = "pasted,text\n" * 50_000
    path.write_text(f'a,b\n1,"{message}"\n2,x\n')
    assert rows(path) == [{"a": "1", "b": message}, {"a": "2", "b": "x"}]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_line_ends_and_delimiters_are_those_of_the_header(tmp_path: Path, delimiter: str, end: str) -> None:
    path = tmp_path / "events.csv"
    lines = [["a", '"b, c; d\t| e"'], ["1", '5" pipe'], ["2", '"x' + end + 'y"']]
    path.write_bytes(("\ufeff" + "".join(delimiter.join(cells) + end for cells in lines)).encode())
    name = "b, c; d | e"
    assert rows(path) == [{"a": "1", name: '5" pipe'}, {"a": "2", name: f"x{end}y"}]


@pytest.mark.parametrize("above", ["\n\r\n", "sep=;\r\n"])
def test_what_stands_above_the_header_is_passed_over(tmp_path: Path, above: str) -> None:
    path = tmp_path / "events.csv"
    path.write_text(above + "a;b\r\n1;2,5\r\n", newline="")
    assert rows(path) == [{"a": "1", "b": "2,5"}]


def test_a_json_array_is_read_like_an_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    path.write_text('[\n {"a": 1,\n  "b": "x\\ny"},\n 3, {"a": 12345678901234567890.0}\n]\n')
    assert records(path) == [(1, None), (2, "not a JSON object"), (3, None)]
    assert rows(path) == [{"a": 1, "b": "x\ny"}, {"a": 12345678901234567890}]
    path.write_text("[]")
    assert records(path) == []
    path.write_text("[" + ",".join(f'{{"a": {n}, "b": "{"x" * 1000}"}}' for n in range(3000)) + ']\n{"a": 0}')
    assert records(path) == [*((n, None) for n in range(1, 3001)), (3001, "text behind the end of the array")]
    path.write_text('[{"a": 1}, {"a": }, {"a": 3}]')
    assert records(path) == [(1, None), (2, "not valid JSON")]


@pytest.mark.parametrize(
    ("name", "text"), [("events.csv", 'a,b\n1,"'), ("events.json", '[{"a": "'), ("x.ndjson", '{"a": "' + "x" * 1000)]
)
def test_a_record_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    for module in (csv_records, json_records):
        monkeypatch.setattr(module, "MOST_CHARACTERS", 1000)
    monkeypatch.setattr(json_records, "CHUNK_CHARACTERS", 100)
    path = tmp_path / name
    path.write_text(text + "x\n" * 1000)
    with pytest.raises(UsageError, match="1,000 characters"):
        list(read_records(path))


def test_numbers_keep_their_digits(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_text('{"a": 0.1, "b": 12345678901234567890.0, "c": 0.1234567890123456789, "d": 19.99, "e": 1e3}\n')
    expected = {"a": 0.1, "b": 12345678901234567890, "c": "0.1234567890123456789", "d": 19.99, "e": 1000.0}
    assert rows(path) == [expected]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["events.csv", "events.ndjson"])
def test_an_encoding_that_cannot_be_read_is_named(tmp_path: Path, name: str, encoding: str) -> None:
    path = tmp_path / name
    text = "a,b\n1,x\n" if name.endswith("csv") else '{"a": "1", "b": "x"}\n'
    path.write_bytes(text.encode(encoding))
    with pytest.raises(UsageError, match=f"{name} is encoded in {encoding.upper()}, not in UTF-8"):
        list(read_records(path))
    assert [json.loads(record.row or "") for record in read_records(path, encoding)] == [{"a": "1", "b": "x"}]


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
@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), min_size=2, max_size=2)))
def test_whatever_a_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]]
) -> None:
    import csv

    path = tmp_path_factory.mktemp("csv") / "events.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(["a", "b"])
        writer.writerows(cells)
    texts = [[None if cell in ("", "\\N") else unicodedata.normalize("NFC", cell) for cell in row] for row in cells]
    expected = [{"a": a, "b": b} for a, b in texts]
    assert rows(path) == expected
