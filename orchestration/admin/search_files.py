"""Looks for a data subject in the bytes of a file, also within archives and compressed files, whatever they are called.

What a file is, its first bytes say. Texts in UTF-16 and UTF-32 are found where the id is ASCII.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import sqlite3
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import duckdb
from backports import zstd

from orchestration.admin.subject import Subject
from orchestration.landing.mentions import Redactor, mentioned, sql_pattern

_CHUNK = 1 << 22
_OVERLAP = 1 << 12
_MOST_BYTES = 8 << 30
_DEEPEST = 6
_HEAD = 512
SQLITE, PARQUET = b"SQLite format 3\x00", b"PAR1"
COMPRESSED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"\x28\xb5\x2f\xfd": zstd.open}
_ARCHIVED: dict[bytes, Callable[..., Any]] = {b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_CLOSED = (b"7z\xbc\xaf\x27\x1c", b"Rar!", b"\x04\x22\x4d\x18", b"age-encryption", b"-----BEGIN PGP", b"Salted__")


class UnsearchableError(Exception):
    """A file whose content cannot be looked at; the text says why."""


class FileSearch:
    """Looks for the ids and identifiers of a subject.

    Attributes:
        subject: whom.

    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._redactor = Redactor(subject.texts)
        self._read = 0

    def redacted(self, content: bytes) -> bytes:
        """The bytes with the word ``forgotten`` in place of every id."""
        return self._redactor.redacted(content)

    def redacted_name(self, name: bytes) -> bytes:
        """The name of a file or folder without ids."""
        # A name is a segment of a path, which short ids are found as.
        return self._redactor.redacted(b"/" + self._redactor.redacted_name(name))[1:]

    def is_in(self, content: bytes) -> bool:
        """Whether an id is in some bytes."""
        # The second is a text in UTF-16 or UTF-32.
        return self._redactor.is_in(content) or (b"\x00" in content and self.is_in(content.replace(b"\x00", b"")))

    def is_in_file(self, path: Path) -> bool:
        """Whether an id is in a file.

        Raises:
            UnsearchableError: the file cannot be looked into.

        """
        self._read = 0
        with path.open("rb") as stream:
            return self._is_in_stream(stream, 0)

    def parquet_mentions(self, path: Path) -> str:
        """SQL condition of the rows ``t`` of a Parquet file that mention an id; empty for none."""
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            literal = str(path).replace("'", "''")
            source = f"read_parquet('{literal}') as r"
            connection.execute(f"create view t as select cast(to_json(r) as varchar) as c from {source}")
            pattern = sql_pattern(mentioned(connection, "t", "c", self.subject.texts))
            if not pattern:
                return ""
            quoted = pattern.replace("'", "''")
            found = connection.execute(f"select 1 from t where regexp_matches(c, '{quoted}') limit 1").fetchone()
        return f"regexp_matches(cast(to_json(t) as varchar), '{quoted}')" if found else ""

    def _is_in_stream(self, stream: IO[bytes], depth: int) -> bool:
        if depth > _DEEPEST:
            raise UnsearchableError(f"it is packed more than {_DEEPEST} times")
        head = stream.read(_HEAD)
        for mark, opener in (COMPRESSED | _ARCHIVED).items():
            if head.startswith(mark):
                # The header of a compressed file may hold its earlier name.
                return self.is_in(head) or self._unpacked(_Rejoined(head, stream), opener, depth)
        if head.startswith(_CLOSED):
            raise UnsearchableError("it is encrypted, or packed in a way that cannot be read here")
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return self._spooled(head, stream, lambda path: self._is_in_zip(path, depth))
        if head[257:262] == b"ustar":
            return self._spooled(head, stream, lambda path: self._is_in_tar(path, depth))
        if head.startswith(PARQUET) and depth:
            return self._spooled(head, stream, lambda path: bool(self.parquet_mentions(path)))
        if head.startswith(SQLITE) and depth:
            return self._spooled(head, stream, self._is_in_sqlite)
        if head[8:12] == b"DUCK" and depth:
            raise UnsearchableError("it holds a DuckDB database")
        return self._is_in_bytes(head, stream)

    def _is_in_bytes(self, before: bytes, stream: IO[bytes]) -> bool:
        while chunk := stream.read(_CHUNK):
            self._read += len(chunk)
            if self._read > _MOST_BYTES:
                raise UnsearchableError("it is larger than what is searched")
            if self.is_in(before + chunk):
                return True
            before = (before + chunk)[-_OVERLAP:]
        return self.is_in(before)

    def _unpacked(self, stream: Any, opener: Callable[..., Any], depth: int) -> bool:
        try:
            with opener(stream, "rb") as inner:
                return self._is_in_stream(inner, depth + 1)
        except (OSError, EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError, ValueError) as error:
            raise UnsearchableError("it is compressed, and damaged") from error

    def _spooled(self, head: bytes, stream: IO[bytes], search: Callable[[Path], bool]) -> bool:
        """Searches a copy: what has to be read from several places is not read from a stream."""
        with tempfile.NamedTemporaryFile() as copy:
            copy.write(head)
            while chunk := stream.read(_CHUNK):
                copy.write(chunk)
            copy.flush()
            return search(Path(copy.name))

    def _is_in_zip(self, path: Path, depth: int) -> bool:
        try:
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    if self.is_in(f"/{entry.filename}".encode() + b"\n" + entry.comment):
                        return True
                    if entry.flag_bits & 1:
                        raise UnsearchableError("it is encrypted")
                    with archive.open(entry) as inner:
                        if self._is_in_stream(inner, depth + 1):
                            return True
                return self.is_in(archive.comment)
        except (zipfile.BadZipFile, NotImplementedError, zlib.error, RuntimeError, OSError, EOFError) as error:
            raise UnsearchableError("it is an archive, and damaged") from error

    def _is_in_tar(self, path: Path, depth: int) -> bool:
        try:
            with tarfile.open(path) as archive:
                for entry in archive:
                    if self.is_in(f"/{entry.name}\n/{entry.linkname}".encode("utf-8", "surrogateescape")):
                        return True
                    inner = archive.extractfile(entry) if entry.isfile() else None
                    if inner and self._is_in_stream(inner, depth + 1):
                        return True
                return False
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            raise UnsearchableError("it is an archive, and damaged") from error

    def _is_in_sqlite(self, path: Path) -> bool:
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
                return self.is_in("\n".join(connection.iterdump()).encode("utf-8", "surrogateescape"))
        except (sqlite3.Error, UnicodeError) as error:
            raise UnsearchableError("it is a SQLite database, and damaged") from error


class _Rejoined:
    """A stream with the bytes that were read from it put back."""

    def __init__(self, head: bytes, stream: IO[bytes]) -> None:
        self._head, self._stream = head, stream

    def read(self, size: int = -1) -> bytes:
        """As of any stream."""
        if not self._head:
            return self._stream.read(size)
        given = self._head if size < 0 else self._head[:size]
        self._head = self._head[len(given) :]
        return given + self._stream.read() if size < 0 else given

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is read once, in order."""
        return False

    def close(self) -> None:
        """Whoever opened the stream closes it."""
