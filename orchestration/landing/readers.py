"""Reads CSV, JSON and Parquet files, plain or compressed, record by record.

A record that cannot be read becomes a record with an error, never an exception, so good rows of the file are kept.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from backports import zstd

from orchestration.errors import UsageError
from orchestration.landing.csv_records import csv_records, header_text
from orchestration.landing.json_records import array_records, json_records
from orchestration.landing.records import RawRecord, object_record

FETCHED_ROWS = 10_000
# What a file in another encoding than UTF-8 begins with; the longer marks first.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LOOKED_AT_BYTES = 1024


def read_records(path: Path, encoding: str | None = None) -> Iterator[RawRecord]:
    """Yields the records of a file, in file order.

    Args:
        path: of the file.
        encoding: of its text, as Python names it; UTF-8 by default. Parquet has none.

    Raises:
        UsageError: the file is missing, of an unknown kind or encoding, or unreadable as a whole.

    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", "Check the path.")
    kind = file_kind(path)
    if encoding and kind == "parquet":
        raise UsageError(f"{path} is Parquet, which has no encoding.", "Leave --encoding out.")
    try:
        if kind == "parquet":
            yield from _parquet(path)
            return
        _check_encoding(path, encoding)
        with _open_text(path, encoding) as text:
            if kind == "csv":
                yield from csv_records(text, path)
            else:
                yield from array_records(text, path) if _is_array(path, encoding) else json_records(text, path)
    except (OSError, EOFError, zstd.ZstdError, duckdb.Error, UnicodeError, csv.Error) as error:
        raise UsageError(
            f"{path} cannot be read: {str(error).splitlines()[0]}",
            "Check that the file is complete, then load it again.",
        ) from None


def read_header(path: Path) -> str:
    """The header of a CSV file as it stands there.

    Raises:
        UsageError: it cannot be used.

    """
    with _open_text(path, None) as text:
        return header_text(text, path)


def file_kind(path: Path) -> str:
    """``csv``, ``json`` or ``parquet``, by the file's name.

    Raises:
        UsageError: it is none of these.

    """
    kinds = {
        ".csv": "csv",
        ".tsv": "csv",
        ".ndjson": "json",
        ".jsonl": "json",
        ".json": "json",
        ".parquet": "parquet",
    }
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".zst"):
        suffixes.pop()
    kind = kinds.get(suffixes[-1]) if suffixes else None
    if kind is None:
        raise UsageError(
            f"{path} is of a kind that cannot be read.",
            "Name a .csv, .tsv, .ndjson, .jsonl, .json (an object a line, or one array) or .parquet file;"
            " .gz or .zst may follow.",
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
def _open_text(path: Path, encoding: str | None) -> Iterator[io.TextIOWrapper]:
    """Lines of a file with whatever ends them; bytes that are not UTF-8 become lone surrogates, to be found."""
    errors = "strict" if encoding else "surrogateescape"
    with open_bytes(path) as stream:
        yield io.TextIOWrapper(stream, encoding=encoding or "utf-8-sig", errors=errors, newline="")


def _check_encoding(path: Path, encoding: str | None) -> None:
    """Refuses a file whose first bytes say that it is not in UTF-8, unless its encoding is named."""
    if encoding:
        return
    with open_bytes(path) as stream:
        start = stream.read(LOOKED_AT_BYTES)
    found = next((name for mark, name in BYTE_ORDER_MARKS if start.startswith(mark)), None)
    if found is None and b"\x00" in start[:2] and start.count(0) > len(start) / 4:
        found = "utf-16-be" if start[:1] == b"\x00" else "utf-16-le"
    if found:
        raise UsageError(
            f"{path} is encoded in {found.upper()}, not in UTF-8.",
            f"Load it with --encoding {found}, or save it as UTF-8.",
        )


def _is_array(path: Path, encoding: str | None) -> bool:
    if ".json" not in (suffix.lower() for suffix in path.suffixes):
        return False
    with _open_text(path, encoding) as text:
        return text.read(LOOKED_AT_BYTES).lstrip().startswith("[")


@contextmanager
def _plain_parquet(path: Path) -> Iterator[str]:
    if path.suffix.lower() not in (".gz", ".zst"):
        yield str(path)
        return
    with tempfile.NamedTemporaryFile(suffix=".parquet") as plain, open_bytes(path) as stream:
        shutil.copyfileobj(stream, plain)
        plain.flush()
        yield plain.name


def _parquet(path: Path) -> Iterator[RawRecord]:
    with _plain_parquet(path) as plain, duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        rows = connection.execute("select to_json(t) from read_parquet(?) as t", [plain])
        number = 0
        while batch := rows.fetchmany(FETCHED_ROWS):
            for (text,) in batch:
                number += 1
                yield object_record(number, text)
