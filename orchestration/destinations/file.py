"""Files: NDJSON, CSV or Parquet, one a batch, in the home's outbox, a folder of this machine, or an object store.

``<path>/<sync>/<build>-<content>.<format>``; ``path`` is the outbox, an absolute path, or a URL that fsspec knows
(``s3://bucket/prefix``). A file appears whole or not at all, and its name follows from its content, so a repeated
delivery overwrites itself. Files that are read in the order in which they were written give what the destination has.

=======  =========================================================================================================
format   a row
=======  =========================================================================================================
ndjson   the record with what changed and why; a record that is to be removed has ``"deleted": true``
csv      entity_type, entity_id, as_of, build_id, a column a trait, identifier, action; null is empty; an apostrophe
         stands before a text that begins with = + - @, a tab or a line end, unless ``escape_formulas`` is false
parquet  the same columns, typed: as_of is a timestamp in UTC, traits are boolean, double or text
=======  =========================================================================================================

An action is upsert, clear (the cleared values stand in the row) or delete. Limits: none; 10,000 rows a file.
Authentication: whatever the store's own package reads from the environment, and settings of it as fsspec reads them
(``FSSPEC_S3_ENDPOINT_URL``); a URL with a password is refused. Stores need that package (s3fs, gcsfs, adlfs, ...),
which is not part of this project; fsspec names it.

==========================================  ========================================================================
what goes wrong                             what is done
==========================================  ========================================================================
a local folder cannot be written            tried again
a store says no (right, bucket, read-only)  nothing more is sent
a store does not answer, or anything else   tried again
==========================================  ========================================================================

Sources: filesystem_spec documentation ("Built-in implementations", AbstractFileSystem), Amazon S3 user guide (an object
is there once its upload is complete), Apache Parquet format. Verified on local disk and on fsspec's store in memory,
not against a live object store.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import duckdb
import fsspec
from pydantic import field_validator

from orchestration.declarations.syncs import Sync
from orchestration.destinations import (
    ClosedError,
    Destination,
    ObjectKind,
    Options,
    Outcomes,
    Record,
    UnavailableError,
)
from orchestration.destinations._csv import csv_text
from orchestration.destinations._pace import Pace
from orchestration.errors import UsageError
from orchestration.home import write_atomically

_FIRST, _LAST = ("entity_type", "entity_id", "as_of", "build_id"), ("identifier", "action")
_FIELD = rf"(?!({'|'.join(_FIRST + _LAST)})$)\w+"
_HERE = ("", "memory")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Stores where an object appears once its upload is complete; in others, a draft is renamed.
_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "oci", "oss", "memory"})
_PARQUET = {bool: "boolean", int: "double", float: "double", str: "varchar"}


class FileOptions(Options):
    """How rows are written, and where.

    Attributes:
        format: ndjson, csv or parquet.
        path: an absolute path or a URL; the home's outbox when it is left out.
        escape_formulas: whether texts in CSV that a spreadsheet would run get an apostrophe before them.

    """

    tuning: ClassVar[frozenset[str]] = frozenset({"format", "escape_formulas"})
    format: Literal["ndjson", "csv", "parquet"] = "ndjson"
    path: str = ""
    escape_formulas: bool = True

    @property
    def protocol(self) -> str:
        """Protocol of the URL; empty for a folder of this machine."""
        return self.path.partition("://")[0] if "://" in self.path else ""

    @field_validator("path")
    @classmethod
    def _usable(cls, path: str) -> str:
        if urlsplit(path).password:
            raise ValueError("remove the password: the store's package reads it from the environment")
        path = path.removeprefix("file://").removeprefix("local://").rstrip("/")
        if path and "://" not in path and not Path(path).is_absolute():
            raise ValueError("write an absolute path, or a URL")
        return path


class FileDestination(Destination):
    """Acknowledged once the file has its name."""

    remote: ClassVar[bool] = False
    objects: ClassVar[Mapping[str, ObjectKind]] = {
        "users": ObjectKind("user", "user_id", field_pattern=_FIELD, deletes=True),
        "accounts": ObjectKind("account", "account_id", field_pattern=_FIELD, deletes=True),
    }
    batch_size: ClassVar[int] = 10_000
    options_type: ClassVar[type[Options]] = FileOptions

    def __init__(self, sync: Sync, outbox: Path, pace: Pace | None = None) -> None:
        super().__init__(sync, outbox, pace)
        self._store = _store(sync, self.options.protocol) if self.options.protocol else None

    @classmethod
    def is_remote(cls, sync: Sync) -> bool:
        """Whether the path is a URL of another machine."""
        return FileOptions.model_validate(sync.options).protocol not in _HERE

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """Writes a file with the batch."""
        content = self._content(records)
        digest = hashlib.sha256(content).hexdigest()[:8]
        name = f"{records[0].build_id}-{digest}.{self.options.format}"
        if self._store:
            self._write_to_store(self._store, f"{self.options.path}/{self.sync.name}", name, content)
        else:
            self._write_to_folder(Path(self.options.path or self.outbox) / self.sync.name, name, content)
        return [None] * len(records)

    def _content(self, records: Sequence[Record]) -> bytes:
        if self.options.format == "csv":
            return _csv(records, escape_formulas=self.options.escape_formulas)
        return _parquet(records) if self.options.format == "parquet" else _ndjson(records)

    def _write_to_folder(self, folder: Path, name: str, content: bytes) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / name, content)
        except OSError as error:
            raise UnavailableError(f"{folder} cannot be written: {error.strerror}") from None

    def _write_to_store(self, store: Any, folder: str, name: str, content: bytes) -> None:
        try:
            if self.options.protocol in _WHOLE:
                store.pipe_file(f"{folder}/{name}", content)
            else:
                store.makedirs(folder, exist_ok=True)
                store.pipe_file(f"{folder}/.{name}.draft", content)
                store.mv(f"{folder}/.{name}.draft", f"{folder}/{name}")
        except (PermissionError, FileNotFoundError, NotImplementedError) as error:
            raise ClosedError(
                f"{self.options.path} takes no file: {type(error).__name__} (does it exist, and may it be written?)"
            ) from None
        # Each store's package raises its own exceptions, some with keys in their text.
        except Exception as error:
            raise UnavailableError(f"{self.options.path} cannot be written: {type(error).__name__}") from None


def _store(sync: Sync, protocol: str) -> Any:
    """The store of a protocol.

    Raises:
        UsageError: there is none, or its package is not installed.

    """
    try:
        return fsspec.filesystem(protocol)
    except ValueError:
        raise UsageError(
            f"{sync.where}: options.path: no store is known by {protocol}://.",
            "Write a URL of s3://, gs://, abfs:// or another store that fsspec knows.",
        ) from None
    except ImportError as error:
        # The text of fsspec names the package.
        raise UsageError(f"{sync.where}: options.path: {protocol}:// needs a package.", f"{error}.") from None


def _ndjson(records: Sequence[Record]) -> bytes:
    return "".join(json.dumps(record.message(), sort_keys=True) + "\n" for record in records).encode()


def _columns(records: Sequence[Record]) -> list[str]:
    traits = sorted({name for record in records for name in record.fields})
    return [*_FIRST, *traits, *_LAST]


def _row(record: Record, columns: Sequence[str]) -> dict[str, Any]:
    """Column -> value, in the order of the columns; a trait that the record does not have is null."""
    values = record.fields | {
        "entity_type": record.entity_type,
        "entity_id": record.entity_id,
        "as_of": f"{record.as_of.isoformat()}Z",
        "build_id": record.build_id,
        "identifier": record.identifier,
        "action": record.action,
    }
    return {column: values.get(column) for column in columns}


def _csv(records: Sequence[Record], *, escape_formulas: bool) -> bytes:
    columns = _columns(records)
    rows = (_row(record, columns).values() for record in records)
    cells = ([_cell(value, escape_formulas) for value in row] for row in rows)
    return csv_text([columns, *cells]).encode()


def _cell(value: Any, escape_formulas: bool) -> Any:
    """A cell; a text that a spreadsheet would take for a formula is shown as a text (OWASP, "CSV Injection")."""
    if isinstance(value, bool):
        return json.dumps(value)
    if escape_formulas and isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def _parquet(records: Sequence[Record]) -> bytes:
    columns = _columns(records)
    types = dict.fromkeys(columns, "varchar") | {"as_of": "timestamp"}
    for record in records:
        # The earlier value of a field gives the type where the new value is null.
        for values in (record.changed, record.fields):
            types |= {
                name: _PARQUET[type(value)] for name, value in values.items() if value is not None and name in types
            }
    schema = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in types.items())
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        source, target = Path(folder) / "rows.ndjson", Path(folder) / "rows.parquet"
        source.write_text("".join(json.dumps(_row(record, columns)) + "\n" for record in records))
        connection.execute(
            f"copy (from read_json({_quoted(source)}, format = 'newline_delimited', columns = {{{schema}}}))"
            f" to {_quoted(target)} (format parquet, compression zstd)"
        )
        return target.read_bytes()


def _quoted(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"
