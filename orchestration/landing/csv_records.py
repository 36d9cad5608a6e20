"""Reads CSV record by record with Python's own reader; a record that is refused is refused whole.

What a quoted cell holds never becomes a record of its own, whatever else is wrong with the record around it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from orchestration.errors import UsageError
from orchestration.landing.records import NOT_UTF8, RawRecord, row_record

DELIMITERS = ",;\t|"
# A blank cell, and what databases write for null.
NULL_CELLS = ("", "\\N")
# A quote that nothing closes takes all that follows into its record: so much of it is read before the file is refused.
MOST_CHARACTERS = 64 * 1024 * 1024

csv.field_size_limit(MOST_CHARACTERS)


def csv_records(text: Iterator[str], path: Path) -> Iterator[RawRecord]:
    """Yields the records below the header; ``text`` gives lines with whatever ends them.

    Raises:
        UsageError: the header cannot be used, or a record does not end.

    """
    lines = _Lines(text, path)
    header, delimiter = _header(lines, path)
    lines.end = "\r" if lines.taken[-1].endswith("\r") else "\n"
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.taken.clear()
        number = lines.number + 1
        error = None
        cells: list[str] = []
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            error = lines.take_refused(delimiter, str(problem))
        raw = "".join(lines.taken)
        if not raw.strip():
            continue
        if not error and not raw.isascii() and not is_utf8(raw):
            error = NOT_UTF8
        elif not error and len(cells) != len(header):
            error = f"{len(cells)} fields where the header has {len(header)}"
        if error:
            yield RawRecord(number, shown(raw), None, error)
        else:
            yield row_record(
                number, shown(raw), ((n, None if c in NULL_CELLS else c) for n, c in zip(header, cells, strict=True))
            )


def header_text(text: Iterator[str], path: Path) -> str:
    """The header as it stands in the file, without its line end.

    Raises:
        UsageError: it cannot be used.

    """
    lines = _Lines(text, path)
    _header(lines, path)
    return "".join(lines.taken).rstrip("\r\n")


class _Lines(Iterator[str]):
    """Lines of a file, counted, and those of the record that is being read.

    Attributes:
        end: what ends a line; another line end outside quotes is a mistake in the record and ends nothing.
        number: of the last line, from 1.
        taken: lines of this record.

    """

    def __init__(self, text: Iterator[str], path: Path) -> None:
        self._text, self._path = text, path
        self.end = ""
        self.number, self.is_finished = 0, False
        self.taken: list[str] = []
        self._characters = 0

    def __next__(self) -> str:
        line = self._line()
        if self.end:
            while not line.endswith((self.end, "\r\n")) and not self.is_finished:
                try:
                    line += self._line()
                except StopIteration:
                    break
        self._characters = len(line) + (self._characters if self.taken else 0)
        if self._characters > MOST_CHARACTERS:
            raise UsageError(
                f"{self._path}: a record before line {self.number} has more than {MOST_CHARACTERS:,} characters.",
                "Close its quote, then load the file again.",
            )
        self.taken.append(line)
        return line

    def _line(self) -> str:
        try:
            line = next(self._text)
        except StopIteration:
            self.is_finished = True
            raise
        self.number += 1
        return line

    def take_record(self, delimiter: str) -> None:
        """Takes lines until no quote is open."""
        quotes = _Quotes(delimiter)
        quotes.pass_over("".join(self.taken))
        while quotes.is_open:
            line = next(self, None)
            if line is None:
                return
            quotes.pass_over(line)

    def take_refused(self, delimiter: str, problem: str) -> str:
        """Takes the rest of a record that Python's reader refuses, and says why it is refused.

        Behind a wrong quote nobody can tell cells from what stands in them, unless the quotes of its line match.
        """
        if "new-line" in problem:
            self.take_record(delimiter)
            return "a line break in a cell without quotes"
        if "unexpected end" in problem:
            return "a quote is opened and not closed"
        quotes = _Quotes(delimiter)
        quotes.pass_over("".join(self.taken))
        if not quotes.is_open:
            return "text behind a closing quote"
        for _ in self:
            pass
        return "text behind a closing quote; from here on it cannot be told what is quoted"


class _Quotes:
    """Follows the quotes of a record, broken or not, to tell where it ends.

    A quote opens a cell only at the cell's start. In a cell that goes on behind its closing quote, each further quote
    opens and closes again.

    Attributes:
        is_open: whether the record goes on behind the text so far.
        stray: quotes that open nothing, because they stand within a cell.
        cells: that have ended.

    """

    def __init__(self, delimiter: str) -> None:
        self._ends = (delimiter, "\r", "\n")
        self._is_start, self._was_quoted = True, False
        self.is_open = False
        self.stray = self.cells = 0

    def pass_over(self, text: str) -> None:
        """Goes to the end of the text."""
        for character in text:
            if character == '"' and (self._is_start or self._was_quoted):
                self.is_open = not self.is_open
                self._was_quoted = True
            elif not self.is_open and character in self._ends:
                self._is_start, self._was_quoted = True, False
                self.cells += 1
                continue
            elif character == '"' and not self.is_open:
                self.stray += 1
            self._is_start = False


def _header(lines: _Lines, path: Path) -> tuple[list[str], str]:
    """Names of the columns, and what separates them: whatever leaves fewest stray quotes and gives most columns."""

    def fit(delimiter: str) -> tuple[int, int]:
        quotes = _Quotes(delimiter)
        quotes.pass_over(first)
        return -quotes.stray, quotes.cells

    first = next((line for line in lines if line.strip()), "")
    del lines.taken[:-1]
    is_tsv = ".tsv" in (suffix.lower() for suffix in path.suffixes)
    delimiter = max(sorted(DELIMITERS, key=lambda d: d != "\t") if is_tsv else DELIMITERS, key=fit)
    # Excel may name the delimiter in a line of its own.
    if named := re.fullmatch(r"sep=(.)", first.rstrip("\r\n")):
        delimiter = named[1]
        lines.taken.clear()
        next(lines, None)
    lines.take_record(delimiter)
    try:
        cells = next(csv.reader(lines.taken, delimiter=delimiter, strict=True), [])
    except csv.Error:
        cells = []
    header = [" ".join(name.split()) for name in cells]
    text = "".join(lines.taken)
    if not text.isascii() and not is_utf8(text):
        raise UsageError(
            f"{path}: the header is not UTF-8 text.",
            "Name its encoding, for example --encoding windows-1252, or save the file as UTF-8.",
        )
    if not any(header) or len(set(header)) != len(header):
        raise UsageError(
            f"{path} has no usable header line.",
            "Write the name of each column into the first line, each name once.",
        )
    return header, delimiter


def is_utf8(text: str) -> bool:
    """Whether all bytes of a text were UTF-8; others were read as lone surrogates."""
    return not any("\udc80" <= character <= "\udcff" for character in text)


def shown(text: str) -> str:
    """The text as it is kept: without its line end, bytes that are not UTF-8 replaced."""
    return text.rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
