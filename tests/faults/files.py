"""Mutated files through the readers: a record is read as another reader reads it, or refused; none is invented.

    python -m tests.faults.files                # 10,000 files, as a table
    python -m tests.faults.files --files 300 --seed 7

A file is written by a plain writer, with messages that hold pasted records, and then changed in a few bytes. The other
readers are pandas' parser of CSV and DuckDB's of JSON.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import random
import sys
import tempfile
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pandas as pd

from orchestration.errors import UsageError
from orchestration.landing.csv_records import NULL_CELLS
from orchestration.landing.readers import read_header, read_records
from tests.faults.fixture import table

COLUMNS = ("event_id", "user_id", "event_name", "message")
WORDS = ("hello", 'say "hi"', "a,b;c", "line\nbreak", "tab\tbar|", '6" pipe', "Köln", "", "null", "x" * 300, "cr\rhere")
BYTES = (b'"', b",", b"\n", b"\r", b"\xff", b"\\", b"{", b"}", b"[", b":", b"\x00", b";", b"x", b"")


@dataclass
class Found:
    """What was found in the files.

    Attributes:
        files: number of files of each kind.
        outcomes: number of records by outcome.
        wrong: what was read otherwise than by the other reader, or lost.

    """

    files: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def try_files(files: int, seed: int) -> Found:
    """Reads so many mutated files."""
    found = Found()
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        for number in range(files):
            chance = random.Random(f"{seed}-{number}")
            kind = chance.choice(("csv", "ndjson"))
            path = Path(folder) / f"events.{kind}"
            end = chance.choice(("\n", "\r\n", "\r")) if kind == "csv" else "\n"
            written = _csv(chance, end) if kind == "csv" else _ndjson(chance)
            path.write_bytes(_mutated(chance, written.encode()))
            found.files[kind] += 1
            _try_file(found, path, kind, connection, number)
    return found


def _messages(chance: random.Random) -> list[list[str]]:
    rows = [[f"e{n}", f"u{n}", "opened", chance.choice(WORDS)] for n in range(chance.randint(1, 8))]
    pasted = "\n".join(",".join((f"p{n}", "victim", "bought", "pasted")) for n in range(chance.randint(1, 4)))
    rows.insert(chance.randint(0, len(rows)), ["m", "u", "asked", f"my export:\n{pasted}\nend"])
    return rows


def _csv(chance: random.Random, end: str) -> str:
    out = io.StringIO()
    writer = csv.writer(
        out,
        delimiter=chance.choice(",;\t|"),
        lineterminator=end,
        quoting=chance.choice((csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)),
    )
    writer.writerows([COLUMNS, *_messages(chance)])
    return out.getvalue()


def _ndjson(chance: random.Random) -> str:
    return "".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in _messages(chance))


def _mutated(chance: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(len(changed) + 1)
        changed[at : at + chance.randint(0, 2)] = chance.choice(BYTES)
    return bytes(changed)


def _try_file(found: Found, path: Path, kind: str, connection: duckdb.DuckDBPyConnection, number: int) -> None:
    try:
        records = list(read_records(path))
    except UsageError as error:
        found.outcomes[f"{kind}: file refused, {error.message.split('events.' + kind)[-1].strip(' :')}"] += 1
        return
    content = path.read_bytes().decode("utf-8", "replace")
    kept = "".join(record.raw for record in records)
    body = content if kind == "ndjson" else content[len(content) - len(content.lstrip("\ufeff")) :]
    if not _holds_all(body, kept, with_header=kind == "csv"):
        found.wrong.append(f"file {number}: text was lost or added")
    for record in records:
        found.outcomes[f"{kind}: {record.error or 'read'}"] += 1
        if record.row is None:
            continue
        other = _other_csv(read_header(path), record.raw) if kind == "csv" else _other_json(connection, record.raw)
        if other != json.loads(record.row):
            found.wrong.append(f"file {number}: {record.raw!r} was read as {record.row}, elsewhere as {other}")


def _holds_all(content: str, kept: str, *, with_header: bool) -> bool:
    """Whether all but blanks (and the header) stands in the records, in its order."""
    whole, part = "".join(content.split()), "".join(kept.split())
    return whole.endswith(part) if with_header else whole == part


def _other_csv(header: str, raw: str) -> dict[str, object] | None:
    """The record as pandas reads it behind the header of its file."""
    delimiter = max(",;\t|", key=header.count)
    try:
        frame = pd.read_csv(
            io.StringIO(f"{header}\n{raw}\n", newline=""),
            sep=delimiter,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
        )
    except (pd.errors.ParserError, ValueError):
        return None
    if len(frame) != 1:
        return None
    # pandas gives a column without a name one.
    names = ["" if str(name).startswith("Unnamed: ") else " ".join(str(name).split()) for name in frame.columns]
    cells = dict(zip(names, map(str, frame.iloc[0]), strict=True))
    return {name: None if cell in NULL_CELLS else unicodedata.normalize("NFC", cell) for name, cell in cells.items()}


def _other_json(connection: duckdb.DuckDBPyConnection, raw: str) -> object:
    row = connection.execute("select try_cast($1 as json)", [raw]).fetchone()
    return json.loads(unicodedata.normalize("NFC", row[0])) if row and row[0] else None


def main() -> None:
    """Prints how many records were read and refused, and what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    found = try_files(arguments.files, arguments.seed)
    print(table(("outcome", "records"), [(name, f"{count:,}") for name, count in sorted(found.outcomes.items())]))
    print(f"{sum(found.files.values()):,} files, {len(found.wrong)} records read otherwise, lost or invented")
    for wrong in found.wrong[:10]:
        print(wrong)
    sys.exit(1 if found.wrong else 0)


if __name__ == "__main__":
    main()
