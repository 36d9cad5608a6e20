"""Reads CSV, NDJSON and Parquet files, plain or compressed, record by record.

A record that cannot be read becomes a record with an error, never an exception, so good rows of the file are kept.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
from backports import zstd

from orchestration.errors import UsageError

# A quoted field may span lines. After so many lines the quote was a stray one, and only its first line is refused.
LONGEST_RECORD_LINES = 100


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record of a file, or a row of a table.

    Attributes:
        number: line (text formats) or row (Parquet) in the file, from 1; 0 for a row of a table, which has no number.
        raw: the text as it stands in the file; for Parquet and tables the row as JSON.
        row: JSON object text with sorted keys, a blank cell as null; null when the record cannot be read.
        error: why it cannot be read.

    """

    number: int
    raw: str
    row: str | None
    error: str | None = None


class _Line(NamedTuple):
    """A line of a text file, numbered from 1."""

    number: int
    text: str


class _Cells(NamedTuple):
    """Cells of a CSV record, or why it cannot be read."""

    values: list[str]
    error: str | None = None


def read_records(path: Path) -> Iterator[RawRecord]:
    """Yields the records of a file, in file order.

    Raises:
        UsageError: the file is missing, of an unknown kind, or unreadable as a whole.

    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", "Check the path.")
    kind = file_kind(path)
    try:
        if kind == "parquet":
            yield from _parquet(path)
        else:
            with _open_text(path) as lines:
                yield from (_ndjson(lines) if kind == "ndjson" else _csv(lines, path))
    except (OSError, EOFError, zstd.ZstdError, duckdb.Error, UnicodeError) as error:
        raise UsageError(
            f"{path} cannot be read: {str(error).splitlines()[0]}",
            "Check that the file is complete, then load it again.",
        ) from None


def file_kind(path: Path) -> str:
    """``csv``, ``ndjson`` or ``parquet``, by the file's name.

    Raises:
        UsageError: it is none of these.

    """
    kinds = {
        ".csv": "csv",
        ".tsv": "csv",
        ".ndjson": "ndjson",
        ".jsonl": "ndjson",
        ".json": "ndjson",
        ".parquet": "parquet",
    }
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".zst"):
        suffixes.pop()
    kind = kinds.get(suffixes[-1]) if suffixes else None
    if kind is None:
        raise UsageError(
            f"{path} is of a kind that cannot be read.",
            "Name a .csv, .tsv, .ndjson, .jsonl, .json (an object a line) or .parquet file; .gz or .zst may follow.",
        )
    return kind


@contextmanager
def open_bytes(path: Path) -> Iterator[Any]:
    """The bytes of a file; one that ends in .gz or .zst is decompressed."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        with gzip.open(path, "rb") as stream:
            yield stream
    elif suffix == ".zst":
        with zstd.open(path, "rb") as stream:
            yield stream
    else:
        with path.open("rb") as stream:
            yield stream


@contextmanager
def _open_text(path: Path) -> Iterator[Iterator[_Line]]:
    """Lines of a file; bytes that are not UTF-8 become lone surrogates, so that they can be found."""
    with open_bytes(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="\n")
        yield (_Line(number, line) for number, line in enumerate(text, start=1))


def _is_utf8(text: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in text)


def _shown(text: str) -> str:
    """The text as it is kept: without its line end, bytes that are not UTF-8 replaced."""
    return text.rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _ndjson(lines: Iterator[_Line]) -> Iterator[RawRecord]:
    for number, line in lines:
        if not line.strip():
            continue
        raw = _shown(line)
        if not line.isascii() and not _is_utf8(line):
            yield RawRecord(number, raw, None, "not UTF-8 text")
            continue
        try:
            value = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            yield RawRecord(number, raw, None, "not valid JSON")
            continue
        if not isinstance(value, dict):
            yield RawRecord(number, raw, None, "not a JSON object")
            continue
        try:
            row = _as_json(value)
            row.encode()
        except UnicodeError:
            yield RawRecord(number, raw, None, "half a character (a lone surrogate) in the text")
        except ValueError:
            yield RawRecord(number, raw, None, "a number that is not finite")
        else:
            yield RawRecord(number, raw, row)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _csv(lines: Iterator[_Line], path: Path) -> Iterator[RawRecord]:
    header_line = next(lines, _Line(1, "")).text
    delimiter = max(",;\t|", key=header_line.count)
    header = next(csv.reader([header_line.rstrip("\r\n")], delimiter=delimiter), [])
    header = [name.strip() for name in header]
    if not any(header) or len(set(header)) != len(header):
        raise UsageError(
            f"{path} has no usable header line.",
            "Write the name of each column into the first line, each name once.",
        )
    waiting: list[_Line] = []
    while line := waiting.pop(0) if waiting else next(lines, None):
        if not line.text.strip():
            continue
        text, taken = line.text, 0
        # An odd number of quotes means that a quoted field continues on the next line.
        while text.count('"') % 2 and taken < LONGEST_RECORD_LINES:
            if taken == len(waiting):
                following = next(lines, None)
                if following is None:
                    break
                waiting.append(following)
            text += waiting[taken].text
            taken += 1
        cells = _cells(text, delimiter, len(header))
        if cells.error and taken:
            # The quote was a stray one: only its own line is refused, and the lines after it are read again.
            yield RawRecord(line.number, _shown(line.text), None, "a quote is opened and not closed")
            continue
        del waiting[:taken]
        if cells.error:
            yield RawRecord(line.number, _shown(text), None, cells.error)
            continue
        row: dict[str, object] = {name: cell or None for name, cell in zip(header, cells.values, strict=True)}
        yield RawRecord(line.number, _shown(text), _as_json(row))


def _cells(text: str, delimiter: str, expected: int) -> _Cells:
    if not text.isascii() and not _is_utf8(text):
        return _Cells([], "not UTF-8 text")
    try:
        rows = list(csv.reader(io.StringIO(text.rstrip("\r\n"), newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        return _Cells([], f"not valid CSV: {error}")
    if len(rows) != 1 or len(rows[0]) != expected:
        found = len(rows[0]) if rows else 0
        return _Cells([], f"{found} fields where the header has {expected}")
    return _Cells(rows[0])


def _parquet(path: Path) -> Iterator[RawRecord]:
    with tempfile.NamedTemporaryFile(suffix=".parquet") as plain:
        source = str(path)
        if path.suffix.lower() in (".gz", ".zst"):
            with open_bytes(path) as stream:
                shutil.copyfileobj(stream, plain)
            plain.flush()
            source = plain.name
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            rows = connection.execute("select to_json(t) from read_parquet(?) as t", [source])
            number = 0
            while batch := rows.fetchmany(10_000):
                for (text,) in batch:
                    number += 1
                    yield object_record(number, text)


def object_record(number: int, text: str) -> RawRecord:
    """A record from the JSON object text that a database engine made of a row."""
    try:
        row = _as_json(json.loads(text, parse_constant=_refuse_constant))
        row.encode()
    except UnicodeError:
        return RawRecord(number, text, None, "half a character (a lone surrogate) in the text")
    except ValueError:
        return RawRecord(number, text, None, "a number that is not finite")
    return RawRecord(number, text, row)


def _as_json(row: dict[str, object]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
