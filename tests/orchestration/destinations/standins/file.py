"""Whoever reads the files: replays them in the order in which they were written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import fsspec

from tests.orchestration.destinations.standins import StandIn

Replayed = Iterable[tuple[str, str, Mapping[str, Any]]]


class FileStandIn(StandIn):
    """Files of one format in one place."""

    name = "file"
    spared: ClassVar[Mapping[str, str]] = {"poison": "a file takes every row", "token": "there is no token"}

    def __init__(self, fmt: str = "ndjson", place: str = "") -> None:
        super().__init__()
        self.format, self.path = fmt, place

    def declaration(self) -> dict[str, Any]:
        return {"destination": "file", "options": {"format": self.format, "path": self.path}}

    def environment(self) -> dict[str, str]:
        return {}

    @contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        self.path = self.path or str(folder)
        yield

    def files(self) -> list[tuple[str, bytes]]:
        """Name and content, the oldest first."""
        store, root = fsspec.url_to_fs(self.path)
        listed = store.find(root, withdirs=False)
        listed.sort(key=lambda path: store.modified(path))
        return [(path.removeprefix(root), store.cat_file(path)) for path in listed]

    def state(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for _, content in self.files():
            for identifier, action, fields in READ[self.format](content):
                if action == "delete":
                    found.pop(identifier, None)
                else:
                    found[identifier] = {name: value for name, value in fields.items() if value is not None}
        return found


def from_ndjson(content: bytes) -> Replayed:
    for line in content.decode().splitlines():
        said = json.loads(line)
        action = "delete" if said.get("deleted") else "upsert"
        yield said.get("identifier", said["entity_id"]), action, said["traits"]


def from_csv(content: bytes) -> Replayed:
    """Types are the reader's own: what reads as JSON is a number or a truth value."""
    for row in csv.DictReader(io.StringIO(content.decode(), newline="")):
        yield row["identifier"], row["action"], {name: plain(row[name]) for name in traits(row)}


def from_parquet(content: bytes) -> Replayed:
    store = fsspec.filesystem("memory")
    store.pipe_file("/read/one.parquet", content)
    with duckdb.connect() as connection:
        connection.register_filesystem(store)
        result = connection.execute("from 'memory://read/one.parquet'")
        names = [column[0] for column in result.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    store.rm("/read", recursive=True)
    for row in rows:
        yield row["identifier"], row["action"], {name: row[name] for name in traits(row)}


def traits(row: Mapping[str, Any]) -> list[str]:
    fixed = {"entity_type", "entity_id", "as_of", "build_id", "identifier", "action"}
    return [name for name in row if name not in fixed]


def plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text or None


READ: dict[str, Callable[[bytes], Replayed]] = {"ndjson": from_ndjson, "csv": from_csv, "parquet": from_parquet}
