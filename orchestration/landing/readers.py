"""Reads CSV, NDJSON and Parquet files, plain or compressed, record by record.

A record that cannot be read is a record with an error, never an exception: good rows of the same file are kept.
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
from typing import Any

import duckdb
from backports import zstd

from orchestration.errors import UsageError

# A quoted field may span lines; past this many, the quote was a stray one and the first line alone is at fault.
LONGEST_RECORD_LINES = 100


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file.

    Attributes:
        number: line (text formats) or row (Parquet) in the file, from 1.
        raw: the text as it stands in the file; for Parquet the row as JSON.
        row: JSON object text with sorted keys, a blank cell as null; null when the record cannot be read.
        error: why it cannot be read.

    """

    number: int
    raw: str
    row: str | None
    error: str | None = None


def read_records(path: Path) -> Iterator[Record]:
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
            f"{path} cannot be read: {str(error).splitlines()[0]}", "Check that the file is whole."
        ) from None


def file_kind(path: Path) -> str:
    """``csv``, ``ndjson`` or ``parquet``, by the file's name."""
    kinds = {
        ".csv": "csv",
        ".tsv": "csv",
        ".ndjson": "ndjson",
        ".jsonl": "ndjson",
        ".json": "ndjson",
    }
    kinds[".parquet"] = "parquet"
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".zst"):
        suffixes.pop()
    kind = kinds.get(suffixes[-1]) if suffixes else None
    if kind is None:
        raise UsageError(
            f"{path} is of a kind that cannot be read.",
            "Files may be .csv, .tsv, .ndjson, .jsonl, .json (one object a line) or .parquet, also .gz and .zst.",
        )
    return kind


@contextmanager
def open_bytes(path: Path) -> Iterator[Any]:
    """The bytes of a file, decompressed as its name says."""
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
def _open_text(path: Path) -> Iterator[Iterator[tuple[int, str]]]:
    """Numbered lines; bytes that are no UTF-8 become lone surrogates, so that they stay visible."""
    with open_bytes(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="\n")
        yield enumerate(text, start=1)


def _is_utf8(text: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in text)


def _shown(text: str) -> str:
    return text.rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _ndjson(lines: Iterator[tuple[int, str]]) -> Iterator[Record]:
    for number, line in lines:
        if not line.strip():
            continue
        raw = _shown(line)
        if not line.isascii() and not _is_utf8(line):
            yield Record(number, raw, None, "not UTF-8 text")
            continue
        try:
            value = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            yield Record(number, raw, None, "not valid JSON")
            continue
        if not isinstance(value, dict):
            yield Record(number, raw, None, "not a JSON object")
            continue
        try:
            row = _as_json(value)
            row.encode()
        except UnicodeError:
            yield Record(number, raw, None, "half a character (a lone surrogate) in the text")
        except ValueError:
            yield Record(number, raw, None, "a number that is not finite")
        else:
            yield Record(number, raw, row)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _csv(lines: Iterator[tuple[int, str]], path: Path) -> Iterator[Record]:
    header_line = next(lines, (1, ""))[1]
    delimiter = max(",;\t|", key=header_line.count)
    header = next(csv.reader([header_line.rstrip("\r\n")], delimiter=delimiter), [])
    header = [name.strip() for name in header]
    if not any(header) or len(set(header)) != len(header):
        raise UsageError(
            f"{path} has no usable header line.",
            "The first line must name each column, and each name once.",
        )
    waiting: list[tuple[int, str]] = []
    while True:
        number, line = waiting.pop(0) if waiting else next(lines, (0, ""))
        if not number:
            return
        if not line.strip():
            continue
        text, taken = line, 0
        # An odd number of quotes means that a quoted field goes on in the next line.
        while text.count('"') % 2 and taken < LONGEST_RECORD_LINES:
            if taken == len(waiting):
                following = next(lines, None)
                if following is None:
                    break
                waiting.append(following)
            text += waiting[taken][1]
            taken += 1
        cells, error = _cells(text, delimiter, len(header))
        if error and taken:
            # The quote was a stray one: only its own line is refused, the lines after it are read anew.
            yield Record(number, _shown(line), None, "a quote is opened and not closed")
            continue
        del waiting[:taken]
        if error:
            yield Record(number, _shown(text), None, error)
            continue
        row: dict[str, object] = {name: cell or None for name, cell in zip(header, cells, strict=True)}
        yield Record(number, _shown(text), _as_json(row))


def _cells(text: str, delimiter: str, expected: int) -> tuple[list[str], str | None]:
    if not text.isascii() and not _is_utf8(text):
        return [], "not UTF-8 text"
    try:
        rows = list(csv.reader(io.StringIO(text.rstrip("\r\n"), newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        return [], f"not valid CSV: {error}"
    if len(rows) != 1 or len(rows[0]) != expected:
        found = len(rows[0]) if rows else 0
        return [], f"{found} fields where the header has {expected}"
    return rows[0], None


def _parquet(path: Path) -> Iterator[Record]:
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


def object_record(number: int, text: str) -> Record:
    """A record from the JSON object text that an engine made of a row."""
    try:
        row = _as_json(json.loads(text, parse_constant=_refuse_constant))
        row.encode()
    except UnicodeError:
        return Record(number, text, None, "half a character (a lone surrogate) in the text")
    except ValueError:
        return Record(number, text, None, "a number that is not finite")
    return Record(number, text, row)


def _as_json(row: dict[str, object]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
